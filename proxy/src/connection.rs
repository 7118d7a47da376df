//! What is known of a client's connection from its beginning: the listener, the peer, the client it speaks for, TLS.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;
use pingora_core::protocols::Stream;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_proxy::Session;

use crate::told::Last;

/// A client's connection. Known to every request on it, HTTP/2 included.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Who is at the other end of the socket; none for a Unix socket.
    pub peer: Option<SocketAddr>,
    /// The client that a PROXY protocol header named.
    pub announced: Option<SocketAddr>,
    /// The listener it came by.
    pub listener: Arc<config::Listener>,
    /// Whether TLS is spoken.
    pub secure: bool,
    /// The name that the client asked for in its TLS handshake, lower case.
    pub server_name: Option<String>,
    /// What was agreed on, where TLS is spoken.
    pub tls: Option<TlsFacts>,
    /// When its life is over: from then on it ends with the response under way.
    pub ends: Instant,
}

/// What a TLS handshake led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The cipher suite by its registered name, like `TLS_AES_128_GCM_SHA256`.
    pub cipher: String,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// Whom the client proved to be, where it was asked and had a certificate.
    pub client: Option<ClientCertificate>,
}

/// A client's certificate, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its subject, like `O=Example, CN=reporting`; at most 512 bytes of it.
    pub subject: String,
    /// The SHA-256 of the certificate, in lower case hexadecimal digits.
    pub sha256: String,
}

impl Connection {
    /// The connection's client as far as the connection itself tells: whom the PROXY protocol names, else the peer.
    #[must_use]
    pub fn client(&self) -> Option<IpAddr> {
        self.announced.or(self.peer).map(|address| address.ip().to_canonical())
    }

    /// Whether its life is over, and it ends with the response under way.
    #[must_use]
    pub fn is_over(&self, now: Instant) -> bool {
        now >= self.ends
    }

    /// For pingora to carry to every request: the only thing of a connection that it hands on as it is.
    pub(crate) fn into_digest(self) -> Arc<ProxyDigest> {
        // Its head is that of a CONNECT proxy's answer, of which there is none here.
        let (unused, ()) = http::Response::new(()).into_parts();
        let known = Known {
            connection: self,
            under_way: UnderWay::default(),
            last_told: Last::default(),
            kept: Mutex::default(),
            asking: OnceLock::new(),
        };
        Arc::new(ProxyDigest::new(Box::new(unused.into()), Some(Box::new(known))))
    }

    /// The connection that a request came by.
    pub(crate) fn of(session: &Session) -> Option<&Self> {
        Some(&Known::of(session.digest()?.proxy_digest.as_ref()?)?.connection)
    }

    /// pingora has taken a request on the session's connection for one. It is under way until what is returned is
    /// dropped.
    pub(crate) fn begin_request(session: &Session) -> Option<UnderWay> {
        let known = Known::of(session.digest()?.proxy_digest.as_ref()?)?;
        known.under_way.0.fetch_add(1, Ordering::Relaxed);
        Some(known.under_way.clone())
    }

    /// A request on a connection was refused before anybody saw it, which is counted by whoever says so.
    pub(crate) fn refused(digest: &ProxyDigest) {
        if let Some(known) = Known::of(digest) {
            known.under_way.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was told last to origins on the connection that a request came by.
    pub(crate) fn last_told(session: &Session) -> Option<&Last> {
        Some(&Known::of(session.digest()?.proxy_digest.as_ref()?)?.last_told)
    }

    /// What is under way on a connection.
    pub(crate) fn under_way(digest: &ProxyDigest) -> Option<UnderWay> {
        Known::of(digest).map(|known| known.under_way.clone())
    }

    /// The connection's client is one whose requests are counted, together with those on its other connections.
    pub(crate) fn counts(digest: &ProxyDigest, asking: &Asking) {
        if let Some(known) = Known::of(digest) {
            // Once a connection.
            let _ = known.asking.set(asking.clone());
        }
    }

    /// The requests of the session's client, where they are counted.
    pub(crate) fn asking(session: &Session) -> Option<&Asking> {
        Known::of(session.digest()?.proxy_digest.as_ref()?)?.asking.get()
    }

    /// The connection goes on behind a request that failed: its stream waits for whoever serves it.
    pub(crate) fn keep(digest: &ProxyDigest, stream: Stream) {
        if let Some(known) = Known::of(digest) {
            *known.kept.lock() = Some(stream);
        }
    }

    /// What goes on of a connection that pingora has done with; nothing where it has ended.
    pub(crate) fn take_kept(digest: &ProxyDigest) -> Option<Stream> {
        Known::of(digest)?.kept.lock().take()
    }

    /// When a connection's life is over.
    pub(crate) fn ends(digest: &ProxyDigest) -> Option<Instant> {
        Known::of(digest).map(|known| known.connection.ends)
    }

    /// How many requests began on a connection.
    pub(crate) fn begun(digest: &ProxyDigest) -> Option<u64> {
        Known::of(digest).map(|known| known.under_way.begun())
    }
}

/// The requests that one client has under way, on all its connections. Clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asking(Arc<AtomicU64>);

/// A request among those of its client, until this is dropped.
#[derive(Debug)]
pub(crate) struct Asked(Asking);

impl Asking {
    /// Another request, where fewer than `most` are under way.
    pub(crate) fn begin(&self, most: u64) -> Option<Asked> {
        let asked = Asked(self.clone());
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        (before < most).then_some(asked)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let Asking(count) = &self.0;
        count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Stands for what is under way on a connection of HTTP/2: each request holds one. It counts the requests that pingora
/// told of.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnderWay(Arc<AtomicU64>);

impl UnderWay {
    /// How many requests began.
    pub(crate) fn begun(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether nobody holds one but the connection, and whoever asks.
    pub(crate) fn is_nothing(&self) -> bool {
        Arc::strong_count(&self.0) <= 2
    }
}

/// What pingora carries.
#[derive(Debug)]
struct Known {
    connection: Connection,
    under_way: UnderWay,
    last_told: Last,
    kept: Mutex<Option<Stream>>,
    /// Of a client that is one of many: none of a hop that speaks for many.
    asking: OnceLock<Asking>,
}

impl Known {
    fn of(digest: &ProxyDigest) -> Option<&Self> {
        digest.user_data.as_ref()?.downcast_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_as_many_requests_as_it_may_and_one_again_for_each_that_ends() {
        let asking = Asking::default();
        let first = asking.begin(2);
        let second = asking.begin(2);
        assert!(first.is_some() && second.is_some() && asking.begin(2).is_none());
        drop(first);
        let third = asking.begin(2);
        assert!(third.is_some() && asking.begin(2).is_none(), "what was refused is not counted");
    }
}
