//! Headers that are meant for a single hop (RFC 9110, section 7.6.1), and those that `Connection` names.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use pingora_http::{RequestHeader, ResponseHeader};

use super::claims::is_claim;

/// Fields that frame a message, name its content or its place, or are relied on by whoever reads it: meant for every
/// recipient, whatever `Connection` says. A client that could have them taken away behind the hop that checked them
/// would speak with another's voice.
const FOR_EVERYBODY: [&str; 16] = [
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "host",
    "location",
    "set-cookie",
    "strict-transport-security",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "via",
];

const NOT_IN_TRAILERS: [&str; 21] = [
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "host",
    "http2-settings",
    "keep-alive",
    "location",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
];

/// Whether `Connection` cannot name it away.
fn is_protected(name: &str) -> bool {
    FOR_EVERYBODY.contains(&name) || name.starts_with("tidegate-") || is_claim(name)
}

/// What `Connection` says beside the names of other headers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    /// Headers that are to be taken away. Empty in nearly every message.
    named: Vec<HeaderName>,
    /// It says something that the next reader should not see.
    odd: bool,
}

impl Options {
    fn of(headers: &HeaderMap<HeaderValue>) -> Self {
        let mut options = Self::default();
        let mut tokens = 0;
        let values = headers.get_all(header::CONNECTION);
        for token in values.iter().flat_map(|value| value.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii) {
            tokens += 1;
            if token.eq_ignore_ascii_case(b"close") {
                options.close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                options.keep_alive = true;
            } else if token.eq_ignore_ascii_case(b"upgrade") {
                options.upgrade = true;
            } else {
                options.odd = true;
                // What is no name, or not there, names nothing.
                if let Ok(name) = HeaderName::from_bytes(token)
                    && headers.contains_key(&name)
                    && !is_protected(name.as_str())
                {
                    options.named.push(name);
                }
            }
        }
        // pingora refuses a request whose Connection has ten.
        options.odd |= tokens > 4;
        options
    }

    /// What is left of the header.
    const fn rest(&self) -> Option<&'static str> {
        match (self.close, self.keep_alive, self.upgrade) {
            (true, _, true) => Some("close, Upgrade"),
            (true, _, false) => Some("close"),
            (false, true, true) => Some("keep-alive, Upgrade"),
            (false, true, false) => Some("keep-alive"),
            (false, false, true) => Some("Upgrade"),
            (false, false, false) => None,
        }
    }
}

/// Takes away what a request's `Connection` names, and leaves of that header what concerns the connection. pingora,
/// which does the same later, would take whatever is named, or refuse the request where that is `Host`.
pub(super) fn nominated_by_client(request: &mut RequestHeader) {
    let options = Options::of(&request.headers);
    if !options.odd {
        return;
    }
    for name in &options.named {
        request.remove_header(name);
    }
    request.remove_header(&header::CONNECTION);
    if let Some(rest) = options.rest() {
        // An error means too many headers, of which one was just removed.
        let _ = request.insert_header(header::CONNECTION, HeaderValue::from_static(rest));
    }
}

/// Takes from a request what is meant for this hop, and what `goes_too` tells. What an upgrade needs is told anew by
/// whoever lets one through.
pub(super) fn to_origin(request: &mut Parts, goes_too: impl Fn(&str) -> bool) {
    let goes = |name: &&HeaderName| is_of_one_hop(name.as_str()) || goes_too(name.as_str());
    // Where there is none, nothing is allocated.
    let found: Vec<HeaderName> = request.headers.keys().filter(goes).cloned().collect();
    for name in &found {
        let removed = request.headers.remove(name);
        if *name == header::TE && request.version == Version::HTTP_2 && removed.as_ref().is_some_and(wants_trailers) {
            // The one value that HTTP/2 knows (RFC 9113, section 8.2.2), without which gRPC servers refuse to answer.
            request.headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
    }
}

/// Whether a field of a request is meant for us alone. Tidegate frames what it passes on by itself.
fn is_of_one_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

fn wants_trailers(te: &HeaderValue) -> bool {
    te.as_bytes().split(|b| *b == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// Whether only we say it to clients. An endpoint's would pass for ours.
fn is_ours(name: &str) -> bool {
    name.starts_with("tidegate-")
}

/// Takes from trailers what is meant for this hop or is ours to say, and what frames, routes or authorises a message or
/// says what its content is: all that must come before the content (RFC 9110, section 6.5.1).
pub(super) fn trailers_to_client(trailers: &mut HeaderMap) {
    // Where there is none, as nearly always, nothing is allocated.
    let ours: Vec<HeaderName> = trailers.keys().filter(|name| is_ours(name.as_str())).cloned().collect();
    for name in &ours {
        trailers.remove(name);
    }
    for name in NOT_IN_TRAILERS {
        trailers.remove(name);
    }
}

/// Takes from a response what is meant for this hop, and what its `Connection` names. `Transfer-Encoding` stays: it
/// says how the body is framed on the way to the client, and pingora reads it there. So does a plain `Connection`, in the
/// place of which pingora writes its own.
pub(super) fn to_client(response: &mut ResponseHeader) {
    let status = response.status.as_u16();
    // 426 says what the client should upgrade to (RFC 9110, section 15.5.22).
    let upgrades = matches!(status, 101 | 426);
    // No body follows, whatever these say (RFC 9110, sections 8.6 and 15.2; RFC 9112, section 6.1). A 304 may say how
    // long the body would be.
    let without_body = matches!(status, 100..=199 | 204);
    // Where there is none, as nearly always, nothing is allocated.
    let mut found = Vec::new();
    let mut nominates = false;
    for (name, value) in &response.headers {
        let text = name.as_str();
        let goes = match text {
            "connection" if is_plain(value) && status >= 200 => false,
            "connection" => {
                nominates = true;
                true
            }
            _ => {
                (is_of_one_hop_back(text) && !(upgrades && *name == header::UPGRADE))
                    || is_ours(text)
                    || (without_body && matches!(text, "content-length" | "transfer-encoding"))
                    || (status == 304 && text == "transfer-encoding")
            }
        };
        if goes {
            found.push(name.clone());
        }
    }
    if nominates {
        found.append(&mut Options::of(&response.headers).named);
    }
    for name in &found {
        response.remove_header(name);
    }
    if status == 101 {
        let _ = response.insert_header(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    }
}

/// Whether a `Connection` says nothing but whether the connection is kept.
fn is_plain(connection: &HeaderValue) -> bool {
    let said = connection.as_bytes();
    said.eq_ignore_ascii_case(b"keep-alive") || said.eq_ignore_ascii_case(b"close")
}

/// Whether a field of a response is meant for us alone.
fn is_of_one_hop_back(name: &str) -> bool {
    name == "proxy-authentication-info" || (is_of_one_hop(name) && name != "transfer-encoding")
}
