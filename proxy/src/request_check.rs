//! What a request's head must be like before it is routed, for HTTP/1.1 and HTTP/2 alike; and its path made plain.
//!
//! What must be found in the bytes, before they are parsed, is found in [`client_stream`](crate::client_stream).

pub(crate) mod path;

use config::{Handling, Rules};
use http::{HeaderValue, Method, Uri, Version, header, uri};
use pingora_http::RequestHeader;

use crate::client_stream::characters::{is_target, run};
use crate::client_stream::head_check::{NO_TUNNELS, NOT_ENCODED, Refused};

/// Why a request is answered without being routed, or without its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What the client gets.
    pub(crate) status: u16,
    /// In plain words.
    pub(crate) why: &'static str,
    /// It is certain what was asked, and where it ends: what follows it is another request.
    pub(crate) is_sound: bool,
}

impl Refusal {
    /// Of a request that may be other than it seems, and what follows it as well.
    pub(crate) const fn in_doubt(status: u16, why: &'static str) -> Self {
        Self { status, why, is_sound: false }
    }

    /// Of a request that says clearly what it wants.
    pub(crate) const fn of_sound(status: u16, why: &'static str) -> Self {
        Self { status, why, is_sound: true }
    }
}

const fn bad(why: &'static str) -> Refusal {
    Refusal::in_doubt(400, why)
}

/// Of a path that is a legal one, and does not go further all the same.
const fn no_path(why: &'static str) -> Refusal {
    Refusal::of_sound(400, why)
}

impl From<Refused> for Refusal {
    fn from(Refused { status, why }: Refused) -> Self {
        Self::in_doubt(status, why)
    }
}

/// Checks a head and makes its path plain: what is routed is what is passed on. Dot segments are resolved, the target is
/// a path, an HTTP/2 client's cookies are one header. Empty segments (`//`) are kept: they may mean something.
pub(crate) fn check(request: &mut RequestHeader, rules: &Rules) -> Result<(), Refusal> {
    // Of HTTP/1.1 none comes so far. Its target is no path, so nothing below holds for it.
    if request.method == Method::CONNECT {
        return Err(NO_TUNNELS.into());
    }
    if crate::request_head::lacks_host(request) {
        return Err(bad("this HTTP/1.1 request has no Host header"));
    }
    if rules.requests.underscores == Handling::Refuse
        && request.headers.keys().any(|name| name.as_str().as_bytes().contains(&b'_'))
    {
        return Err(bad("the name of a header has an underscore, which many servers cannot tell from a hyphen"));
    }
    if request.version == Version::HTTP_2 {
        check_http2(request, rules)?;
    }
    make_plain(request, rules.requests.encoded_slashes)
}

/// What HTTP/1.1 was checked for in its bytes.
fn check_http2(request: &mut RequestHeader, rules: &Rules) -> Result<(), Refusal> {
    if list_size(request) > rules.limits.http2_header_list.get() {
        return Err(Refusal::in_doubt(431, "the request head is too large"));
    }
    let host = request.headers.get(header::HOST).map(HeaderValue::as_bytes);
    let authority = request.uri.authority().map(|authority| authority.as_str().as_bytes());
    match (authority, host) {
        (None, None) => return Err(bad("this request names no host")),
        (Some(authority), Some(host)) if authority != host => {
            return Err(bad("the Host header and the authority of this request name different hosts"));
        }
        (Some(name), _) | (None, Some(name)) if !crate::client_stream::host::is_host(name) => {
            return Err(bad("the authority of this request is not the name of one host"));
        }
        (Some(_), _) | (None, Some(_)) => {}
    }
    let lengths = request.headers.get_all(header::CONTENT_LENGTH);
    if lengths.iter().any(|length| !length.as_bytes().iter().all(u8::is_ascii_digit)) || lengths.iter().count() > 1 {
        return Err(bad("the Content-Length is not one number"));
    }
    // On the HTTP/1.1 line to an endpoint they would be no part of the value any more, which a route may have been chosen
    // by (RFC 9113, section 8.2.1).
    let is_padded =
        |value: &[u8]| [value.first(), value.last()].into_iter().flatten().any(|b| matches!(b, b' ' | b'\t'));
    if request.headers.values().any(|value| is_padded(value.as_bytes())) {
        return Err(bad("the value of a header begins or ends with a blank"));
    }
    if !request.uri.scheme_str().is_none_or(|scheme| matches!(scheme, "http" | "https")) {
        return Err(bad("the scheme of this request is neither http nor https"));
    }
    check_target(request, rules)?;
    join_cookies(request);
    if request.headers.len() as u64 > rules.limits.headers {
        return Err(Refusal::in_doubt(431, "the request has too many headers"));
    }
    Ok(())
}

/// The size of its list of fields (RFC 9113, section 6.5.2).
fn list_size(request: &RequestHeader) -> u64 {
    /// What each field counts beside its name and its value.
    const EACH: usize = 32;
    let size = |name: &str, value: usize| name.len() + value + EACH;
    let fields = request.headers.iter().map(|(name, value)| size(name.as_str(), value.len()));
    let line = [
        size(":method", request.method.as_str().len()),
        size(":path", request.raw_path().len()),
        request.uri.scheme_str().map_or(0, |scheme| size(":scheme", scheme.len())),
        request.uri.authority().map_or(0, |authority| size(":authority", authority.as_str().len())),
    ];
    line.into_iter().chain(fields).sum::<usize>() as u64
}

/// What would be its request line in HTTP/1.1, by the rules for that. (A fragment is not among it: h2 cuts it off.)
fn check_target(request: &RequestHeader, rules: &Rules) -> Result<(), Refusal> {
    /// What the line has beside the method and the target.
    const REST: usize = "  HTTP/1.1".len();
    let target = request.raw_path();
    let line = request.method.as_str().len() + target.len() + REST;
    if line as u64 > rules.limits.request_line.get() {
        return Err(Refusal::in_doubt(414, "the method and path of this request are too long"));
    }
    if run(target, is_target) < target.len() {
        return Err(NOT_ENCODED.into());
    }
    // A query alone (`?x=1`) would be read as that of `/` here, and passed on as it is.
    if !(target.starts_with(b"/") || target == b"*" && request.method == Method::OPTIONS) {
        return Err(bad("the path of this request does not begin with a slash"));
    }
    Ok(())
}

/// HTTP/2 clients may send each cookie in a field of its own; elsewhere there is but one (RFC 9113, section 8.2.3).
fn join_cookies(request: &mut RequestHeader) {
    let cookies = request.headers.get_all(header::COOKIE);
    if cookies.iter().nth(1).is_none() {
        return;
    }
    let joined = cookies.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b"; "[..]);
    // Legal values make a legal value.
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        let _ = request.insert_header(header::COOKIE, joined);
    }
}

/// Makes the target a plain path, with its query.
fn make_plain(request: &mut RequestHeader, slashes: Handling) -> Result<(), Refusal> {
    let path = request.uri.path();
    if path == "*" && request.method == Method::OPTIONS {
        return Ok(());
    }
    let plain = path::plain(path, slashes == Handling::Pass)?;
    let is_absolute = !request.raw_path().starts_with(b"/") && request.version != Version::HTTP_2;
    if plain.is_none() && !is_absolute {
        return Ok(());
    }
    if is_absolute && !request.headers.contains_key(header::HOST) {
        name_host(request);
    }
    let query = request.uri.query();
    let mut target = plain.unwrap_or_else(|| request.uri.path().to_owned());
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    const INVALID: Refusal = bad("the path of this request is not valid");
    let mut parts = uri::Parts::default();
    if request.version == Version::HTTP_2 {
        parts.scheme = request.uri.scheme().cloned();
        parts.authority = request.uri.authority().cloned();
    }
    parts.path_and_query = Some(target.parse().map_err(|_| INVALID)?);
    request.set_uri(Uri::from_parts(parts).map_err(|_| INVALID)?);
    Ok(())
}

/// A request of HTTP/1.0 in absolute form may name its host in the target alone, which it is about to lose.
fn name_host(request: &mut RequestHeader) {
    let target: Option<Uri> = Uri::try_from(request.raw_path()).ok();
    if let Some(authority) = target.as_ref().and_then(Uri::authority) {
        // An authority that was parsed is a legal value.
        let _ = request.insert_header(header::HOST, authority.as_str());
    }
}

#[cfg(test)]
mod tests;
