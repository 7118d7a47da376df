//! A `shop` with listeners of every kind.

use std::net::SocketAddr;

use loadtest::Origin;

use crate::shop::{Place, Server, origin, shop};

/// A `shop` with one version behind these listeners.
pub(crate) struct Edge {
    pub(crate) server: Server,
    _place: Place,
    _origin: Origin,
}

impl Edge {
    /// Serves behind a first listener without TLS, and further ones.
    pub(crate) fn serve(place: Place, listeners: &[String]) -> Self {
        let origin = origin("v1");
        place.write(&(head(&place, listeners) + &shop("v1", &[("v1", &[origin.address()])], "{}")));
        Self { server: place.serve(), _place: place, _origin: origin }
    }

    /// The address of a listener, by its place in the configuration.
    pub(crate) fn address(&self, place: usize) -> SocketAddr {
        address(&self.server, place)
    }
}

/// Free ports, a first listener without TLS and these further ones, and the state in this place.
pub(crate) fn head(place: &Place, listeners: &[String]) -> String {
    const PLAIN: &str = "{ address: '127.0.0.1:0' }";
    let listeners = std::iter::once(PLAIN).chain(listeners.iter().map(String::as_str)).collect::<Vec<_>>().join(", ");
    place.head().replace(&format!("[{PLAIN}]"), &format!("[{listeners}]"))
}

/// The address of a listener, by its place in the configuration.
pub(crate) fn address(server: &Server, place: usize) -> SocketAddr {
    server.process.all_said("serving address=").get(place).unwrap().parse().unwrap()
}

/// A listener with these certificates, in YAML.
pub(crate) fn listener(certificates: &[String], more: &str) -> String {
    format!("{{ address: '127.0.0.1:0', tls: {{ certificates: [{}]{more} }} }}", certificates.join(", "))
}
