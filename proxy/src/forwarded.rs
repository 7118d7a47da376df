//! Who the client is, and what is told of it: `X-Forwarded-*`, `Forwarded`, and the headers of a single hop.
//!
//! A peer's word on the client is believed where the peer is one of the trusted hops, and nowhere else: whatever
//! another peer says of itself is taken away before anybody reads it. What is told to the origin comes from one list,
//! so that `X-Forwarded-For` and `Forwarded` never disagree.

mod chain;
mod claims;
mod hop;

use std::net::IpAddr;

use config::Rules;
use http::request::Parts;
use http::{HeaderMap, HeaderName, header};
use pingora_http::{RequestHeader, ResponseHeader};

use self::chain::{Chain, Node};
use crate::connection::Connection;
use crate::request_head::host_of;
use crate::told::{Last, Told};

static FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// Host names are at most 255 bytes long; a port comes on top.
const LONGEST_HOST: usize = 262;

/// The client's address: the connection's, unless that is a trusted hop. Then it is the first address from the right
/// of `X-Forwarded-For` (where there is none, of `Forwarded`) that is no trusted hop. An element that is no address
/// ends the walk at the last good one. `socket` is the peer where the connection is not known.
pub fn client_of(
    connection: Option<&Connection>,
    socket: Option<IpAddr>,
    request: &RequestHeader,
    rules: &Rules,
) -> Option<IpAddr> {
    let mut client = peer_of(connection, socket)?;
    if is_trusted(client, rules) {
        for address in Chain::of(request).nearest_first() {
            let Some(address) = address else { break };
            client = address;
            if !is_trusted(client, rules) {
                break;
            }
        }
    }
    Some(client)
}

/// Takes from a request what its `Connection` header names, and, where no trusted hop sent it, what it claims of who the
/// client is and how it came, before anybody reads the rest: no route, match or key goes by such a claim. What Tidegate
/// and origins rely on cannot be named away. `trusted`: it [came by](comes_by_trusted) such a hop.
pub fn from_client(request: &mut RequestHeader, trusted: bool) {
    hop::nominated_by_client(request);
    if trusted {
        return;
    }
    // Where there is none, nothing is allocated.
    let is_claim = |name: &&HeaderName| claims::is_claim(name.as_str());
    let claimed: Vec<HeaderName> = request.headers.keys().filter(is_claim).cloned().collect();
    for name in &claimed {
        request.remove_header(name);
    }
}

/// Whether a request comes by a trusted hop, and what it says of itself is believed. `socket` as for [`client_of`].
pub fn comes_by_trusted(connection: Option<&Connection>, socket: Option<IpAddr>, rules: &Rules) -> bool {
    peer_of(connection, socket).is_some_and(|peer| is_trusted(peer, rules))
}

/// Whether a client says in a further `Connection` that its connection ends with this request: pingora reads the first.
pub(crate) fn is_last_of_client(request: &RequestHeader) -> bool {
    let mut said = request.headers.get_all(header::CONNECTION).iter().skip(1);
    said.any(|value| value.as_bytes().split(|b| *b == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(b"close")))
}

/// Tells the origin who the client is: without a trusted hop the headers that clients may not set are told anew, behind
/// one they are continued. Takes from the request what was meant for this hop, and what its origin is told otherwise, by
/// whomever: to be called last. `socket` as for [`client_of`]; `last` is what was told on the same connection, where
/// that is known.
pub fn to_origin(
    told: &mut Told,
    request: &mut Parts,
    connection: Option<&Connection>,
    socket: Option<IpAddr>,
    rules: &Rules,
    last: Option<&Last>,
) {
    let peer = peer_of(connection, socket);
    let trusted = comes_by_trusted(connection, socket, rules);
    let hop = Hop { peer, secure: connection.is_some_and(|connection| connection.secure) };
    match last.filter(|_| !trusted) {
        // Of a request without trusted hops it depends on the host alone, beside its connection.
        Some(last) => last.tell(told, host_of(request), |told| hop.tell(told, request, false)),
        None => hop.tell(told, request, trusted),
    }
    hop::to_origin(request, |name| told.replaces(name) || (!trusted && claims::is_claim(name)));
}

/// Takes away what the origin meant for this hop, what only we say (`tidegate-*`), and what would frame a body where the
/// status says that there is none.
pub fn to_client(response: &mut ResponseHeader) {
    hop::to_client(response);
}

/// Takes from the trailers of a response what has no place there, and what was meant for this hop.
pub fn trailers_to_client(trailers: &mut HeaderMap) {
    hop::trailers_to_client(trailers);
}

/// Who is at the other end as far as the connection itself tells.
fn peer_of(connection: Option<&Connection>, socket: Option<IpAddr>) -> Option<IpAddr> {
    let peer = match connection {
        Some(connection) => connection.client(),
        None => socket,
    };
    peer.map(|address| address.to_canonical())
}

fn is_trusted(address: IpAddr, rules: &Rules) -> bool {
    rules.trusted.iter().any(|range| range.contains(address))
}

/// What is known of the hop that a request came by.
struct Hop {
    peer: Option<IpAddr>,
    secure: bool,
}

impl Hop {
    /// Tells the origin of a request that came by it. `trusted`: what the hop says of those before it is believed.
    fn tell(&self, told: &mut Told, request: &Parts, trusted: bool) {
        let chain = trusted.then(|| Chain::of(request));
        let said = chain.as_ref().map_or_else(Said::default, |chain| Said::of(request, chain));
        let own_proto = if self.secure { "https" } else { "http" };
        let own_host = Some(host_of(request)).filter(|host| !host.is_empty() && host.len() <= LONGEST_HOST);
        let (proto, host) = (said.proto.unwrap_or(own_proto), said.host.or(own_host));
        let peer = self.peer.map_or(Node::Unknown, Node::Address);

        told.tell(&FOR, |value| {
            if let Some(chain) = &chain {
                chain.write_hops(value);
            }
            peer.write(value);
        });
        told.tell(&PROTO, |value| value.extend_from_slice(proto.as_bytes()));
        let port = said.port.or_else(|| host.and_then(port_of));
        let port = port.unwrap_or(if proto == "https" || proto == "wss" { 443 } else { 80 });
        told.tell(&PORT, |value| match port {
            80 => value.extend_from_slice(b"80"),
            443 => value.extend_from_slice(b"443"),
            other => value.extend_from_slice(other.to_string().as_bytes()),
        });
        told.tell(&header::FORWARDED, |value| {
            if let Some(chain) = &chain {
                chain.write_forwarded(value, said.proto, said.host);
            }
            value.extend_from_slice(b"for=");
            peer.write_quoted(value);
            chain::write_host_and_proto(value, own_host, Some(own_proto));
        });
        match host {
            Some(host) => told.tell(&HOST, |value| value.extend_from_slice(host.as_bytes())),
            None => told.leave_out(&HOST),
        }
    }
}

/// What a trusted hop said of the request that it got.
#[derive(Default)]
struct Said<'a> {
    proto: Option<&'static str>,
    host: Option<&'a str>,
    port: Option<u16>,
}

impl<'a> Said<'a> {
    fn of(request: &'a Parts, chain: &Chain<'a>) -> Self {
        let first = |name: &HeaderName| {
            let text = request.headers.get(name)?.to_str().ok()?;
            // A list has one for each hop, the outermost first.
            text.split(',').next().map(str::trim)
        };
        let parameter = |name| chain.said_by_the_nearest(name);
        let host = first(&HOST).or_else(|| parameter("host"));
        Self {
            proto: first(&PROTO).or_else(|| parameter("proto")).and_then(proto_of),
            host: host.filter(|host| is_host(host)),
            port: first(&PORT).and_then(|port| port.parse().ok()).filter(|port| *port > 0),
        }
    }
}

/// A scheme that a hop may name.
fn proto_of(text: &str) -> Option<&'static str> {
    ["https", "http", "wss", "ws"].into_iter().find(|proto| text.eq_ignore_ascii_case(proto))
}

/// Whether a text may be told as a host: nothing in it can end a value, or be taken for another header's syntax.
fn is_host(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    (1..=LONGEST_HOST).contains(&text.len()) && text.bytes().all(legal)
}

/// The port that a host names.
fn port_of(host: &str) -> Option<u16> {
    let (name, port) = host.rsplit_once(':')?;
    // Within the brackets of an IPv6 address there are colons too, and no port.
    let is_port = !name.contains(':') || name.ends_with(']');
    port.parse().ok().filter(|port| is_port && *port > 0)
}

#[cfg(test)]
mod tests;
