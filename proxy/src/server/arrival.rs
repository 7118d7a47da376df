//! A connection from its arrival to its end: whom it speaks for, TLS, its requests, and its life.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::Rules;
use meter::Class;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::l4::socket::SocketAddr as PingoraAddress;
use pingora_core::protocols::{GetProxyDigest, SocketDigest, Stream};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, sleep_until, timeout};
use tracing::debug;

use super::acceptor::announces;
use super::clients::{Clients, Seat};
use super::listeners::Kind;
use super::served::Served;
use crate::client_stream::{BegunHeads, ClientStream, ClientTimeouts, Unmatched};
use crate::connection::{Connection, UnderWay};
use crate::proxy_protocol::{self, Announced, Malformed, Reading};
use crate::tls::HandshakeFailed;
use crate::transport::{Socket, Transport};

/// A connection that was accepted as the process ends has so long to begin.
const MOMENT: Duration = Duration::from_secs(1);

/// How long a client of HTTP/2 may take to answer a farewell, twice.
const LAST_WORD: Duration = Duration::from_secs(2);

/// A connection that has come to its core.
pub(super) struct Arrival {
    pub(super) socket: Socket,
    /// None for a Unix socket.
    pub(super) peer: Option<SocketAddr>,
    pub(super) kind: Kind,
    /// Its client's seat, where it was known whose it is.
    pub(super) seat: Option<Seat>,
    pub(super) unmatched: Unmatched,
    /// The heads that have begun on its core.
    pub(super) heads: BegunHeads,
    pub(super) clients: Clients,
}

/// Why a connection ends before its first request.
#[derive(Debug, thiserror::Error)]
enum NotBegun {
    /// It said nothing: a probe of the port, or the end of the process.
    #[error("it said nothing")]
    Silent,
    #[error("its PROXY protocol header: {0}")]
    Malformed(#[from] Malformed),
    #[error("no PROXY protocol header in time")]
    LateHeader,
    #[error("the client {0} has too many")]
    TooMany(IpAddr),
    #[error("no TLS: {0}")]
    Tls(#[from] HandshakeFailed),
    #[error("{0}")]
    Lost(#[from] io::Error),
}

impl Arrival {
    /// Serves its requests until it ends. `ending` tells the end of the process.
    pub(super) async fn serve(self, served: &Arc<Served>, ending: watch::Receiver<bool>) {
        let (peer, unmatched) = (self.peer, self.unmatched.clone());
        let begun = self.begin(served.rules(), ending.clone()).await;
        let (stream, seat, ends) = match begun {
            Ok(begun) => begun,
            Err(NotBegun::Silent) => return,
            Err(why) => {
                debug!(?peer, %why, "connection ended before its first request");
                unmatched.meter.count(unmatched.core, Class::Local);
                return;
            }
        };
        let digest = stream.get_proxy_digest();
        if let (Some(seat), Some(digest)) = (&seat, &digest) {
            Connection::counts(digest, &seat.asking);
        }
        let under_way = stream.under_way();
        let Some(under_way) = under_way else {
            // Its stream and the edge know when its life is over. Nothing is waited for beside it, since all of that would
            // be looked at each time that the connection has something to do.
            let mut goes_on: Option<Stream> = Some(Box::new(stream));
            while let Some(stream) = goes_on {
                served.process_new(stream, &ending).await;
                goes_on = digest.as_deref().and_then(Connection::take_kept);
            }
            return;
        };
        let ends_gently = stream.ends_gently();
        // A GOAWAY is sent when this turns.
        let (end, shutdown) = watch::channel(false);
        let serving = Arc::clone(served).serve_http2(Box::new(stream), ends_gently.clone(), unmatched, shutdown);
        let mut serving = Box::pin(serving);
        tokio::select! {
            biased;
            _ = &mut serving => return,
            () = ended(ending) => {}
            () = sleep_until(ends.into()) => {}
            () = idled(&under_way, served.rules().timeouts.http2_idle) => {}
            () = asked_to_end(ends_gently) => {}
        }
        // It listens: it is being served.
        let _ = end.send(true);
        // A client of HTTP/2 is asked whether it has heard. One that does not answer, and has nothing under way, is left.
        let mut was_idle = false;
        while timeout(LAST_WORD, &mut serving).await.is_err() {
            if was_idle && under_way.is_nothing() {
                debug!(?peer, "connection ended: its client does not answer our farewell");
                return;
            }
            was_idle = under_way.is_nothing();
        }
    }

    /// All that comes before the first request. The connection's life ends at the moment returned.
    async fn begin(
        mut self,
        rules: &Rules,
        ending: watch::Receiver<bool>,
    ) -> Result<(ClientStream<Transport>, Option<Seat>, Instant), NotBegun> {
        let id = self.socket.as_raw_fd();
        let digest = SocketDigest::from_raw_fd(id);
        if let Some(peer) = self.peer {
            // Known already: pingora need not ask the system.
            let _ = digest.peer_addr.set(Some(PingoraAddress::Inet(peer)));
        }
        let announced = if announces(&self.kind, self.peer) {
            let announced = within(rules.timeouts.head, &ending, announcement(&mut self.socket));
            let announced = announced.await?.unwrap_or(Err(NotBegun::LateHeader))?;
            self.seat = self.seat_for(announced, rules)?;
            match announced {
                Announced::Client(client) => Some(client),
                Announced::Nobody => None,
            }
        } else {
            None
        };
        let (transport, tls, server_name) = match self.kind.tls.as_ref().map(Arc::clone) {
            None => (Transport::Plain(self.socket), None, None),
            Some(tls) => {
                // One time for all of it, its first byte included.
                let longest = rules.timeouts.handshake;
                let since = Instant::now();
                if self.socket.early().is_empty() {
                    let first = within(longest, &ending, self.socket.read_early());
                    if first.await?.unwrap_or(Ok(0))? == 0 {
                        return Err(NotBegun::Silent);
                    }
                }
                let (secured, facts, name) = tls.accept(self.socket, longest.saturating_sub(since.elapsed())).await?;
                (Transport::Tls(secured), Some(facts), name)
            }
        };
        let ends = Instant::now() + life(rules.timeouts.connection);
        let connection = Connection {
            peer: self.peer,
            announced,
            listener: self.kind.written,
            secure: tls.is_some(),
            server_name,
            tls,
            ends,
        };
        let client = ClientTimeouts::from(&rules.timeouts);
        let stream = ClientStream::new(transport, id, Some(Arc::new(digest)), client, self.unmatched);
        let mut stream = stream.with_limits(&rules.limits).with_connection(connection).with_heads(self.heads);
        if self.seat.is_none() {
            stream = stream.for_many();
        }
        // Its first bytes are waited for as long as a connection may idle; the stream keeps that time itself.
        match within(Duration::MAX, &ending, stream.learn_protocol()).await? {
            Some(Ok(())) => Ok((stream, self.seat, ends)),
            // The stream has counted what is worth it.
            Some(Err(_)) | None => Err(NotBegun::Silent),
        }
    }

    /// The seat of a client that was announced. Trusted hops have none: they carry many.
    fn seat_for(&self, announced: Announced, rules: &Rules) -> Result<Option<Seat>, NotBegun> {
        let Announced::Client(client) = announced else { return Ok(None) };
        let client = client.ip();
        if rules.trusted.iter().any(|range| range.contains(client)) {
            return Ok(None);
        }
        let seat = self.clients.admit(client, rules.limits.connections_per_client);
        seat.map(Some).ok_or(NotBegun::TooMany(client))
    }
}

/// Reads the header that names the client, and nothing else.
async fn announcement(socket: &mut Socket) -> Result<Announced, NotBegun> {
    loop {
        match proxy_protocol::read(socket.early())? {
            Reading::Whole(announced, length) => {
                socket.skip_early(length);
                return Ok(announced);
            }
            Reading::Partial => {
                let silent = socket.early().is_empty();
                if socket.read_early().await? == 0 {
                    return Err(if silent { NotBegun::Silent } else { Malformed::NoHeader.into() });
                }
            }
        }
    }
}

/// Waits for what a client does before its first request; none where it takes longer than this. A connection that waits
/// as the process ends is idle, and ends with it; one that comes later has a moment.
async fn within<T>(
    longest: Duration,
    ending: &watch::Receiver<bool>,
    done: impl Future<Output = T>,
) -> Result<Option<T>, NotBegun> {
    let is_ending = *ending.borrow();
    let longest = if is_ending { longest.min(MOMENT) } else { longest };
    tokio::select! {
        biased;
        done = timeout(longest, done) => Ok(done.ok()),
        () = ended(ending.clone()), if !is_ending => Err(NotBegun::Silent),
    }
}

/// Waits until nothing has been under way on a connection of HTTP/2 for so long, less up to an eighth of it. Its client is
/// to hear of it (GOAWAY) before the connection is closed: a request that it sends in that moment it could not repeat
/// otherwise, since nobody would say that it was not touched (RFC 9113, section 6.8).
async fn idled(under_way: &UnderWay, longest: Duration) {
    const LOOKS: u32 = 8;
    let (mut begun, mut quiet) = (under_way.begun(), 0);
    while quiet < LOOKS {
        sleep(longest / LOOKS).await;
        let now = under_way.begun();
        quiet = if now == begun && under_way.is_nothing() { quiet + 1 } else { 0 };
        begun = now;
    }
}

/// Waits until a client that speaks for many has done too much.
async fn asked_to_end(ends_gently: Option<Arc<Notify>>) {
    match ends_gently {
        Some(ends) => ends.notified().await,
        None => std::future::pending().await,
    }
}

/// Waits for the end of the process.
async fn ended(mut ending: watch::Receiver<bool>) {
    // An error means that it has ended.
    drop(ending.wait_for(|ending| *ending).await);
}

/// Up to a tenth less than the time set: clients that came together after a restart do not all come again together.
fn life(most: Duration) -> Duration {
    /// Longer than any process lives, and short enough to be added to any moment.
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    most.min(CENTURY).mul_f64(1.0 - fastrand::f64() / 10.0)
}
