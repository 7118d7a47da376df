//! Endpoints: where a version's requests go, how many are there, and which are down.

mod contact;
mod credentials;
mod health;
mod picking;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pingora_core::upstreams::peer::HttpPeer;

pub use self::contact::Contact;
pub(crate) use self::contact::is_for_one_request;
pub use self::credentials::{Credentials, check};
use self::health::{FIRST_BACK_OFF, Health};
pub use self::picking::{pick, pick_any};

/// Where an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// What a name resolved to.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One endpoint of a version, with its peer built beforehand. What is known of it is kept over reloads while its
/// address stays.
#[derive(Debug)]
pub struct Endpoint {
    /// As the operator wrote it.
    pub written: config::Endpoint,
    /// What that resolved to.
    pub address: Address,
    /// Its place in its version, as outcomes name it.
    pub place: u16,
    contact: Contact,
    peer: HttpPeer,
    known: Arc<Known>,
}

/// What is known of an endpoint, however it is spoken to.
#[derive(Debug)]
struct Known {
    in_flight: AtomicU64,
    health: Health,
}

/// A request that is at an endpoint; counted until this is dropped.
#[derive(Debug)]
pub struct InFlight {
    at: Arc<Endpoint>,
    /// The one request that tries an endpoint after its back-off.
    tries: bool,
}

impl InFlight {
    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.at
    }

    /// The endpoint, to keep.
    #[must_use]
    pub fn shared(&self) -> Arc<Endpoint> {
        Arc::clone(&self.at)
    }

    /// No connection could be made. A third failure in a row takes the endpoint down; the back-off doubles only when a
    /// try after it was in vain, so that many requests that fail in one moment count as one.
    pub fn failed_to_connect(&self, now: Instant) {
        self.at.known.health.failed(now, self.tries);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.at.known.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Endpoint {
    /// An endpoint that is up. `now` is when it came to be.
    #[must_use]
    pub fn new(written: config::Endpoint, address: Address, place: u16, contact: &Contact, now: Instant) -> Self {
        let known = Arc::new(Known { in_flight: AtomicU64::new(0), health: Health::new(now) });
        Self::with(written, address, place, contact, known)
    }

    /// The same endpoint under what is written now: itself where nothing changed; else another that knows all it knew.
    #[must_use]
    pub fn under(self: &Arc<Self>, contact: &Contact) -> Arc<Self> {
        if self.contact == *contact {
            return Arc::clone(self);
        }
        let (written, address) = (self.written.clone(), self.address.clone());
        Arc::new(Self::with(written, address, self.place, contact, Arc::clone(&self.known)))
    }

    fn with(written: config::Endpoint, address: Address, place: u16, contact: &Contact, known: Arc<Known>) -> Self {
        let peer = contact.peer(&written, &address);
        Self { written, address, place, contact: contact.clone(), peer, known }
    }

    /// What pingora connects to. A clone costs a few hundred instructions; building one would parse and resolve.
    #[must_use]
    pub fn peer(&self) -> Box<HttpPeer> {
        let mut peer = Box::new(self.peer.clone());
        if self.in_flight() > contact::OWN_CONNECTIONS {
            self.contact.share(&mut peer);
        }
        peer
    }

    /// Requests that are there now.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.known.in_flight.load(Ordering::Relaxed)
    }

    /// Whether it is up, or its back-off is over so that it may be tried.
    #[must_use]
    pub fn may_be_tried(&self, now: Instant) -> bool {
        self.known.health.may_be_tried(now)
    }

    /// Whether its last connections did not fail.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.known.health.is_up()
    }

    /// A connection was made, or an old one still worked.
    pub fn connected(&self) {
        self.known.health.connected();
    }

    /// Whether the other is this endpoint, before or after a reload.
    fn is_same_place(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.known, &other.known)
    }

    /// How long one request's try may take, while the others wait for what comes of it.
    fn claim(&self) -> Duration {
        self.contact.connect + FIRST_BACK_OFF / 2
    }
}
