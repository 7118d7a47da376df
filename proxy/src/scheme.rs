//! The scheme that an HTTP/2 endpoint is told: what is spoken to it, whatever its client spoke to us.
//!
//! What a client of HTTP/2 says would go on as it is. An endpoint without TLS that is told `https` may take that for a
//! fault, or for proof that its connection is private. What the client speaks is said by `x-forwarded-proto`.

use http::Uri;
use http::uri::Scheme;
use pingora_core::upstreams::peer::HttpPeer;

/// Makes the scheme of an absolute target that of the connection to this peer. Any other target is left alone: pingora
/// gives it the same scheme when it makes it absolute.
pub(crate) fn speak(target: &mut Uri, peer: &HttpPeer) {
    let spoken = if peer.is_tls() { Scheme::HTTPS } else { Scheme::HTTP };
    if target.scheme().is_none_or(|said| *said == spoken) {
        return;
    }
    let mut parts = target.clone().into_parts();
    parts.scheme = Some(spoken);
    // With another scheme in place of the one it had, a target is as legal as it was.
    if let Ok(said) = Uri::from_parts(parts) {
        *target = said;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_that_of_the_connection_and_nothing_else_changes() {
        for (tls, target, spoken) in [
            (false, "https://shop.example:8443/a?b=c", "http://shop.example:8443/a?b=c"),
            (false, "http://shop.example/a", "http://shop.example/a"),
            (true, "http://shop.example/a", "https://shop.example/a"),
            (true, "https://shop.example/a", "https://shop.example/a"),
            (true, "/a?b=c", "/a?b=c"),
            (false, "*", "*"),
        ] {
            let mut uri: Uri = target.parse().unwrap();
            speak(&mut uri, &HttpPeer::new("127.0.0.1:1", tls, "shop.example".to_owned()));
            assert_eq!(uri.to_string(), spoken, "{tls} {target}");
        }
    }
}
