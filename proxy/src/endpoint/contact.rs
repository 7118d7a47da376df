//! How the endpoints of a version are spoken to: protocol, TLS, and how long a connection may take.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::Protocol;
use pingora_core::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy, Scheme};
use xxhash_rust::xxh3::Xxh3;

use super::{Address, Credentials};
use crate::upstream_stream::For;

/// An endpoint that speaks HTTP/2 has a connection for each request, up to so many requests at a time: one that hangs
/// or breaks takes no other with it, and can be ended alone (docs/decisions/0021).
pub(super) const OWN_CONNECTIONS: u64 = 128;
/// Beyond that, so many requests share a connection.
const STREAMS: usize = 100;
/// What an endpoint may send ahead on a stream while its client takes nothing: this much is held for a slow client.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The window of a connection is never smaller, though a stream cannot fill it: what small DATA frames that nobody has read
/// yet may take together is half of it, at 256 bytes less their length for each, and beyond that h2 ends the connection. So
/// a stream of gRPC may be some 20 000 messages of ten bytes ahead of its client.
const LEAST_WINDOW: u32 = 10 * 1024 * 1024;

/// How the endpoints of a version are spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    protocol: Protocol,
    /// For a connection, TLS included.
    pub(super) connect: Duration,
    /// How long an unused connection is kept.
    idle: Duration,
    server_name: Option<String>,
    credentials: Option<Arc<Credentials>>,
    /// The service and version, whose connections no other has.
    scope: u64,
}

impl Contact {
    /// How the endpoints of a version of this service are spoken to. `credentials` are those of its `tls`.
    #[must_use]
    pub fn new(
        service: &config::Name,
        version: &config::Version,
        timeouts: &config::Timeouts,
        credentials: Option<Arc<Credentials>>,
    ) -> Self {
        Self {
            protocol: version.protocol,
            connect: timeouts.connect,
            idle: timeouts.upstream_idle,
            server_name: version.tls.as_ref().and_then(|tls| tls.server_name.clone()),
            credentials,
            scope: hash_of(&[service.as_str().as_bytes(), version.name.as_str().as_bytes()]),
        }
    }

    /// What is spoken.
    pub(super) const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// HTTP/1.1 without TLS.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        let timeouts = config::Timeouts::default();
        let (connect, idle) = (timeouts.connect, timeouts.upstream_idle);
        Self { protocol: Protocol::H1, connect, idle, server_name: None, credentials: None, scope: 0 }
    }

    /// What pingora connects to.
    pub(super) fn peer(&self, written: &config::Endpoint, address: &Address) -> HttpPeer {
        let (host, tls) = match written {
            config::Endpoint::Tcp { host, tls, .. } => (host.as_str(), *tls),
            config::Endpoint::Unix(_) => ("", false),
        };
        // Never empty where TLS is spoken: pingora would then believe every certificate.
        let name = self.server_name.clone().unwrap_or_else(|| host.to_owned());
        let mut peer = match address {
            Address::Tcp(address) => HttpPeer::new(*address, tls, name),
            Address::Unix(path) => path
                .to_str()
                .and_then(|path| HttpPeer::new_uds(path, tls, name).ok())
                // Refused when the configuration was read; nothing listens there.
                .unwrap_or_else(|| HttpPeer::new(NOWHERE, false, String::new())),
        };
        peer.options.connection_timeout = Some(self.connect);
        peer.options.total_connection_timeout = Some(self.connect);
        peer.options.idle_timeout = Some(self.idle);
        peer.options.custom_l4 = Some(For::Requests.connector());
        // What is meant for one hop is taken away by `forwarded`, once.
        peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::preserve();
        match self.protocol {
            Protocol::H1 => {}
            Protocol::H2 | Protocol::H2c => {
                // At least 2: what does not agree on it is no endpoint of this version (see `edge`).
                peer.options.set_http_version(2, 2);
                // No PING: gRPC servers end connections that have more of them than one in five minutes
                // (docs/decisions/0063). That a peer is gone the system finds out (`upstream_stream`).
                peer.options.h2_ping_interval = None;
                limit_streams(&mut peer, 1);
            }
        }
        if tls && let Some(credentials) = &self.credentials {
            peer.options.ca = credentials.authorities();
            peer.client_cert_key = credentials.identity();
        }
        peer.group_key = self.group(&peer.sni);
        peer
    }

    /// What pingora is told to connect to where the connection is made by a [`Link`](crate::upstream_stream::Link): the
    /// address alone, since TLS and all times are the link's.
    pub(super) fn outer(&self, dialled: &HttpPeer) -> Option<HttpPeer> {
        match self.protocol {
            Protocol::H1 => {}
            Protocol::H2 | Protocol::H2c => return None,
        }
        let mut outer = dialled.clone();
        (outer.scheme, outer.sni, outer.client_cert_key) = (Scheme::HTTP, String::new(), None);
        outer.options.ca = None;
        (outer.options.connection_timeout, outer.options.total_connection_timeout) = (None, None);
        Some(outer)
    }

    /// How long an unused connection is kept.
    pub(super) const fn patience(&self) -> Duration {
        self.idle
    }

    /// Lets a request to an endpoint that has very many share its connection with others.
    pub(super) fn share(&self, peer: &mut HttpPeer) {
        match self.protocol {
            Protocol::H1 => {}
            Protocol::H2 | Protocol::H2c => limit_streams(peer, STREAMS),
        }
    }

    /// What keeps connections apart: pingora's own key knows the address and the server's name, and of certificates the
    /// serial number alone.
    fn group(&self, server_name: &str) -> u64 {
        let protocol = match self.protocol {
            Protocol::H1 => 1_u8,
            Protocol::H2 => 2,
            Protocol::H2c => 3,
        };
        let print = self.credentials.as_ref().map_or(0, |credentials| credentials.print());
        hash_of(&[&self.scope.to_le_bytes(), &print.to_le_bytes(), &[protocol], server_name.as_bytes()])
    }
}

/// The unspecified address with port 0, which nobody can connect to.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// Whether a connection to this peer carries one request at a time.
pub(crate) const fn is_for_one_request(peer: &HttpPeer) -> bool {
    peer.options.max_h2_streams == 1
}

fn limit_streams(peer: &mut HttpPeer, streams: usize) {
    peer.options.max_h2_streams = streams;
    peer.options.h2_stream_window_size = Some(STREAM_WINDOW);
    // As much as all streams together, so that those whose clients take nothing hold up no other.
    peer.options.h2_connection_window_size = Some((STREAM_WINDOW * streams as u32).max(LEAST_WINDOW));
}

/// Of these parts and where one ends and the next begins.
pub(super) fn hash_of(parts: &[&[u8]]) -> u64 {
    let mut hasher = Xxh3::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.digest()
}
