//! The cookie that we issue, so that its bearer stays on one version.

use std::sync::Arc;
use std::time::Duration;

use config::Affinity;
use http::header::SET_COOKIE;
use pingora_error::Result;
use pingora_http::ResponseHeader;

/// A value for a client that has none: 128 random bits, which say nothing of it, and which nobody has who does not see
/// its cookies. None where we issue no cookie, or the system gives no random bits: then the request draws at random.
pub(super) fn value_for(affinity: &Affinity) -> Option<Arc<str>> {
    let Affinity::Cookie { issue: Some(_), .. } = affinity else { return None };
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).ok()?;
    Some(format!("{:032x}", u128::from_ne_bytes(bits)).into())
}

/// Gives a client the cookie. Where the origin sets one of that name, the name is the application's, and so is the
/// value that the client shall keep.
pub(super) fn set(
    response: &mut ResponseHeader,
    name: &str,
    value: &str,
    max_age: Duration,
    secure: bool,
) -> Result<()> {
    let is_same = |cookie: &[u8]| cookie.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="));
    if response.headers.get_all(SET_COOKIE).iter().any(|cookie| is_same(cookie.as_bytes())) {
        return Ok(());
    }
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{secure}", max_age.as_secs());
    response.append_header(SET_COOKIE, cookie).map(drop)
}
