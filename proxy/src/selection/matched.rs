//! Requests that a plan's step gives to the canary whatever its weight: of people who choose themselves, so nobody is
//! asked whether they may.

use pingora_http::RequestHeader;

use super::Judged;
use crate::request_head::cookie;
use crate::routes::has;
use crate::routing::{Draw, Service};
use crate::selection::Target;

/// The canary, where the request is of those who go there; and who judges it.
pub(super) fn draw<'a>(service: &'a Service, request: &RequestHeader) -> Option<(Draw<'a>, Judged)> {
    let wanted = service.split.matched.as_deref()?;
    let has_cookie = wanted.cookie.as_ref().is_none_or(|wanted| {
        let sent = cookie(request, &wanted.name);
        sent.is_some_and(|sent| wanted.value.as_ref().is_none_or(|value| value.as_bytes() == sent))
    });
    if !has_cookie || !wanted.headers.iter().all(|header| has(&request.headers, header)) {
        return None;
    }
    let (slice, judged) = if wanted.judged {
        (None, Judged::Fully)
    } else {
        // Without a slice there is nowhere to be counted apart.
        (service.apart.as_ref(), if service.apart.is_some() { Judged::Apart } else { Judged::Not })
    };
    Some((Draw { version: service.target(Target::Canary), slice, at_random: false }, judged))
}
