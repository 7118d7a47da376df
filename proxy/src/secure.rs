//! What a listener asks of its clients beside requests: HTTPS instead of HTTP, and to remember it.

use config::Hsts;
use http::header::STRICT_TRANSPORT_SECURITY;
use http::uri::Authority;
use pingora_http::{RequestHeader, ResponseHeader};

use crate::connection::Connection;
use crate::request_check::Refusal;
use crate::request_head::host_of;

/// What is done with a request instead of routing it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Instead {
    /// The client is sent to this place.
    Redirect(String),
    /// It is refused.
    Refuse(Refusal),
}

/// What is done with a request on a listener that redirects: the client is sent to the same place over HTTPS. None
/// where it is served here. Challenges of ACME (`/.well-known/acme-challenge/`) are redirected as well: authorities
/// follow, and whoever answers them stands behind the HTTPS listener.
pub(crate) fn redirect(connection: Option<&Connection>, request: &RequestHeader) -> Option<Instead> {
    let port = connection?.listener.redirect?;
    let Some(host) = host_without_port(host_of(request)) else {
        let why = "without a host that can be understood there is no place to redirect to";
        return Some(Instead::Refuse(Refusal::in_doubt(400, why)));
    };
    let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
    let path = if path.starts_with('/') { path } else { "/" };
    Some(Instead::Redirect(match port {
        // What `https` means without a port.
        443 => format!("https://{host}{path}"),
        port => format!("https://{host}:{port}{path}"),
    }))
}

fn host_without_port(host: &str) -> Option<String> {
    let authority = host.parse::<Authority>().ok()?;
    Some(authority.host().to_owned()).filter(|host| !host.is_empty())
}

/// Tells browsers to come back over HTTPS alone (RFC 6797), where the listener says so. It goes before what the service
/// says itself, and is never said without TLS, where it would mean nothing.
pub(crate) fn to_client(response: &mut ResponseHeader, connection: Option<&Connection>) {
    let Some(connection) = connection.filter(|connection| connection.secure) else { return };
    if let Some(hsts) = connection.listener.tls.as_ref().and_then(|tls| tls.hsts) {
        // A number and two words are a legal value.
        let _ = response.insert_header(STRICT_TRANSPORT_SECURITY, value_of(hsts));
    }
}

fn value_of(Hsts { max_age, subdomains, preload }: Hsts) -> String {
    let mut value = format!("max-age={}", max_age.as_secs());
    if subdomains {
        value.push_str("; includeSubDomains");
    }
    if preload {
        value.push_str("; preload");
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Listener;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    fn connection(port: u16) -> Connection {
        let listener = Listener { redirect: Some(port), ..Listener::DEFAULT };
        Connection {
            peer: None,
            announced: None,
            listener: Arc::new(listener),
            secure: false,
            server_name: None,
            tls: None,
            ends: Instant::now(),
        }
    }

    /// Where a request for this path on this host is sent by a listener that redirects to this port.
    fn sent(host: Option<&str>, path: &str, port: u16) -> Option<Instead> {
        let mut request = RequestHeader::build("GET", path.as_bytes(), None).unwrap();
        if let Some(host) = host {
            request.insert_header("host", host).unwrap();
        }
        redirect(Some(&connection(port)), &request)
    }

    fn to(place: &str) -> Option<Instead> {
        Some(Instead::Redirect(place.into()))
    }

    #[test]
    fn a_request_is_sent_to_the_same_place_over_https() {
        assert_eq!(sent(Some("shop.example"), "/a?b=c", 443), to("https://shop.example/a?b=c"));
        assert_eq!(sent(Some("shop.example:8080"), "/", 8443), to("https://shop.example:8443/"));
        assert_eq!(sent(Some("[::1]:80"), "/x", 443), to("https://[::1]/x"));
        let challenge = "/.well-known/acme-challenge/x";
        assert_eq!(sent(Some("a.b"), challenge, 443), to(&format!("https://a.b{challenge}")));
        assert_eq!(sent(Some("shop.example"), "*", 443), to("https://shop.example/"));
    }

    #[test]
    fn a_host_that_could_lead_elsewhere_is_refused() {
        for host in [None, Some(""), Some(":80"), Some("a b"), Some("a/b"), Some("a\\b"), Some("a?b")] {
            let sent = sent(host, "/", 443);
            assert!(matches!(sent, Some(Instead::Refuse(Refusal { status: 400, .. }))), "{host:?}: {sent:?}");
        }
    }

    #[test]
    fn hsts_is_written_as_rfc_6797_has_it() {
        let hsts =
            |subdomains, preload| value_of(Hsts { max_age: Duration::from_secs(63_072_000), subdomains, preload });
        assert_eq!(hsts(false, false), "max-age=63072000");
        assert_eq!(hsts(true, true), "max-age=63072000; includeSubDomains; preload");
    }
}
