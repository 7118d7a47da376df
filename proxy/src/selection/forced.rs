//! Requests that ask for a version.

use std::net::IpAddr;

use config::Forced;
use pingora_http::RequestHeader;

use crate::request_head::cookie;
use crate::routing::Service;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `always`: the canary, whatever its weight; the stable version where there is no canary.
    Canary,
    /// `never`: the stable version.
    Stable,
    /// The version at this place, by its name.
    Named(usize),
}

/// What a request asks for, where it may. The header goes before the cookie; a value that means nothing is as good as
/// none.
pub(super) fn target(
    rule: &Forced,
    service: &Service,
    request: &RequestHeader,
    client: Option<IpAddr>,
) -> Option<Target> {
    let header = || request.headers.get(rule.header.as_deref()?).map(|value| value.as_bytes());
    let cookie = || cookie(request, rule.cookie.as_deref()?);
    let meaning = |value: &[u8]| meaning(service, value);
    let target = header().and_then(meaning).or_else(|| cookie().and_then(meaning))?;
    may(rule, service, request, client).then_some(target)
}

/// `always` and `never` mean what they say even where a version has that name.
fn meaning(service: &Service, value: &[u8]) -> Option<Target> {
    match value {
        b"always" => Some(Target::Canary),
        b"never" => Some(Target::Stable),
        name => {
            let place = service.versions.iter().position(|version| version.name.as_str().as_bytes() == name);
            place.map(Target::Named)
        }
    }
}

fn may(rule: &Forced, service: &Service, request: &RequestHeader, client: Option<IpAddr>) -> bool {
    let is_listed = client.is_some_and(|client| rule.from.iter().any(|range| range.contains(client)));
    let knows_secret = || {
        service
            .secret
            .as_ref()
            .zip(request.headers.get(Forced::SECRET_HEADER))
            .is_some_and(|(secret, said)| secret.is(said))
    };
    is_listed || knows_secret()
}
