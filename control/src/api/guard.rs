//! Who may ask: the Host and the token of a request, and the headers that every response carries.

use std::hint::black_box;
use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, HOST, X_CONTENT_TYPE_OPTIONS};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::nearest::quoted;
use super::problem::{Kind, Problem};

/// Paths that need no token: probes carry none.
const PROBES: [&str; 2] = ["/livez", "/readyz"];

/// Lets a request through to its route, or answers in its place.
pub(super) async fn admit(State(api): State<Api>, request: Request, next: Next) -> Response {
    let mut response = match refusal(&api, &request) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn refusal(api: &Api, request: &Request) -> Option<Problem> {
    let token = api.options.token.as_deref();
    let presented = bearer(request.headers());
    if let (Some(token), Some(presented)) = (token, presented)
        && equal(presented, token.as_bytes())
    {
        // Whoever has the token is no page that a browser was lured into loading, so any name will do: scrapers
        // reach a remote Tidegate by names that it cannot know.
        return None;
    }
    if let Err(problem) = host(request) {
        return Some(problem);
    }
    if token.is_none() || PROBES.contains(&request.uri().path()) {
        return None;
    }
    Some(if presented.is_some() {
        Problem::new(Kind::Unauthorized, "the token is not known here; set TIDEGATE_TOKEN to the token of this server")
            .challenging("Bearer realm=\"tidegate\", error=\"invalid_token\"")
    } else {
        Problem::new(Kind::Unauthorized, "this server wants the header Authorization: Bearer TOKEN; the command line takes the token from TIDEGATE_TOKEN")
            .challenging("Bearer realm=\"tidegate\"")
    })
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Compares in a time that depends on lengths alone, so that a guess cannot be improved by timing it.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0, |differing, (x, y)| black_box(differing | (x ^ y)));
    (a.len() == b.len()) & (differing == 0)
}

/// Refuses names that a foreign DNS server could have pointed at this address: with one of those, a page in the
/// operator's browser could talk to us as if to itself.
fn host(request: &Request) -> Result<(), Problem> {
    let mut named = request.headers().get_all(HOST).iter();
    let (first, second) = (named.next(), named.next());
    if second.is_some() {
        return Err(Problem::new(Kind::Malformed, "the request has more than one Host"));
    }
    let authority = match (request.uri().authority(), first) {
        (Some(authority), _) => authority.clone(),
        (None, Some(value)) => Authority::try_from(value.as_bytes())
            .map_err(|_| Problem::new(Kind::Malformed, "the Host header is not a host with an optional port"))?,
        // Every browser sends one, so its absence is no attack.
        (None, None) if request.version() == Version::HTTP_10 => return Ok(()),
        (None, None) => return Err(Problem::new(Kind::Malformed, "the request has no Host header")),
    };
    let name = authority.host();
    let name = name.strip_suffix('.').unwrap_or(name);
    let literal = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    if literal || name.eq_ignore_ascii_case("localhost") {
        return Ok(());
    }
    Err(Problem::new(
        Kind::Misdirected,
        format!("{} is not a name of this server; use its IP address or localhost, or present the token", quoted(name)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn asked(host: &str) -> Result<(), Problem> {
        let request = Request::builder().uri("/livez").header(HOST, host).body(Body::empty()).unwrap();
        super::host(&request)
    }

    #[test]
    fn addresses_and_localhost_are_hosts_of_ours() {
        for ours in ["127.0.0.1", "127.0.0.1:9900", "[::1]:9900", "[::1]", "localhost", "LOCALHOST:1", "localhost."] {
            assert!(asked(ours).is_ok(), "{ours}");
        }
    }

    #[test]
    fn other_names_and_lookalikes_are_not() {
        for foreign in
            ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "xlocalhost", "tide.example.org"]
        {
            assert!(asked(foreign).is_err(), "{foreign}");
        }
    }

    #[test]
    fn a_token_is_known_by_every_byte_of_it() {
        assert!(equal(b"sesame", b"sesame"));
        for wrong in [&b""[..], b"s", b"sesam", b"sesamE", b"sesame ", b"sesamesesame"] {
            assert!(!equal(wrong, b"sesame"), "{wrong:?}");
        }
    }
}
