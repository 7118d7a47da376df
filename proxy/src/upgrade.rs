//! Connections that become another protocol's: WebSocket, and what else a service allows.

use std::sync::Arc;

use config::Protocol;
use http::request::Parts;
use http::{HeaderValue, Version, header};
use pingora_error::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use crate::exchange::Exchange;
use crate::parting::Parting;
use crate::request::Request;

/// Whether a client asks for another protocol. What `Upgrade` says counts where `Connection` names it, and nowhere else
/// (RFC 9110, section 7.8): without that it was meant for another hop.
pub(crate) fn is_asked(session: &Session) -> bool {
    let names_it = |value: &HeaderValue| {
        value.as_bytes().split(|byte| *byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    };
    session.is_upgrade_req() && session.req_header().headers.get_all(header::CONNECTION).iter().any(names_it)
}

/// Why an upgrade that the service allows is not possible: the endpoints of the version drawn speak HTTP/2, in which
/// there is none.
pub(crate) fn refusal(request: &Request) -> Option<&'static str> {
    let matched = request.found().filter(|_| request.exchange.is_tunnel())?;
    match matched.drawn.protocol {
        Protocol::H1 => None,
        Protocol::H2 | Protocol::H2c => {
            Some("this service speaks HTTP/2 to its endpoints, where a connection cannot be upgraded")
        }
    }
}

/// Asks the origin for the protocol that the client wants, where the service allows it; else the request is an ordinary
/// one. What the client said of it has been taken away.
pub(crate) fn to_origin(request: &mut Parts, asked: &Request) {
    let Exchange::Tunnel(place) = asked.exchange else { return };
    let protocol = asked.found().and_then(|matched| matched.service.written.upgrades.get(place));
    // Where it is HTTP/2, stable stands in for a canary of another protocol.
    if let Some(protocol) = protocol.and_then(|protocol| HeaderValue::from_str(protocol).ok())
        && request.version != Version::HTTP_2
    {
        request.headers.insert(header::CONNECTION, const { HeaderValue::from_static("upgrade") });
        request.headers.insert(header::UPGRADE, protocol);
    }
}

/// The origin agrees (101): from now on the client may be silent as long as a tunnel may. An error is the origin's: it
/// switches to another protocol than the one that it was asked for.
pub(crate) fn begin(session: &mut Session, asked: &Request, response: &ResponseHeader) -> Result<()> {
    if !is_asked_for(asked, response) {
        return Err(Error::explain(ErrorType::InvalidHTTPHeader, "a tunnel that nobody asked for").into_up());
    }
    let silence = asked.patience().map(|patience| patience.tunnel);
    session.set_read_timeout(silence);
    Ok(())
}

/// How the tunnel that began is asked to close, where it is a WebSocket.
pub(crate) fn parting(request: &mut Request) -> Option<Arc<Parting>> {
    let Exchange::Tunnel(place) = request.exchange else { return None };
    let protocol = request.found().and_then(|matched| matched.service.written.upgrades.get(place));
    if protocol.is_none_or(|protocol| !protocol.eq_ignore_ascii_case("websocket")) {
        request.lasts();
        return None;
    }
    let parting = Arc::new(Parting::default());
    request.parts_by(&parting);
    Some(parting)
}

/// Whether this response names the one protocol that was asked for (RFC 9110, section 7.8).
fn is_asked_for(asked: &Request, response: &ResponseHeader) -> bool {
    let Exchange::Tunnel(place) = asked.exchange else { return false };
    let protocol = asked.found().and_then(|matched| matched.service.written.upgrades.get(place));
    let mut named = response.headers.get_all(header::UPGRADE).iter();
    let is_it = named.next().is_some_and(|named| {
        protocol.is_some_and(|protocol| named.as_bytes().eq_ignore_ascii_case(protocol.as_bytes()))
    });
    is_it && named.next().is_none()
}
