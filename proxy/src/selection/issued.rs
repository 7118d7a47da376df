//! The cookie that we issue, so that its bearer stays on one version.

use std::time::Duration;

use config::Affinity;
use http::header::SET_COOKIE;
use pingora_error::Result;
use pingora_http::{RequestHeader, ResponseHeader};

/// A cookie that a client shall keep.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Issued {
    pub(super) value: String,
    /// A trusted hop says that it has the request by HTTPS.
    is_https: bool,
}

impl Issued {
    /// A cookie for a client that has none: 128 random bits, which say nothing of it, and which nobody has who does not
    /// see its cookies. None where we issue no cookie, or the system gives no random bits: then the request draws at
    /// random. `trusted` tells whether the peer is a hop whose word is believed.
    pub(super) fn to(affinity: &Affinity, request: &RequestHeader, trusted: bool) -> Option<Self> {
        let Affinity::Cookie { issue: Some(_), .. } = affinity else { return None };
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).ok()?;
        // Of a list, the first is how the client came.
        let said =
            request.headers.get("x-forwarded-proto").and_then(|said| said.as_bytes().split(|b| *b == b',').next());
        let is_https = trusted && said.is_some_and(|said| said.trim_ascii().eq_ignore_ascii_case(b"https"));
        Some(Self { value: format!("{:032x}", u128::from_ne_bytes(bits)), is_https })
    }

    /// Gives it to the client. Where the origin sets a cookie of that name, the name is the application's, and so is the
    /// value that the client shall keep.
    pub(super) fn set(&self, response: &mut ResponseHeader, name: &str, max_age: Duration, secure: bool) -> Result<()> {
        let is_same = |cookie: &[u8]| cookie.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="));
        if response.headers.get_all(SET_COOKIE).iter().any(|cookie| is_same(cookie.as_bytes())) {
            return Ok(());
        }
        let secure = if secure || self.is_https { "; Secure" } else { "" };
        let (value, seconds) = (&self.value, max_age.as_secs());
        let cookie = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        response.append_header(SET_COOKIE, cookie).map(drop)
    }
}
