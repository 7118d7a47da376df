//! The one thread that accepts, and gives each connection to a core.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use meter::Class;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::warn;

use super::Stop;
use super::clients::{Clients, Seat};
use super::listeners::{Kind, Listening, Open, QUEUE};
use super::refusals::{Refusals, Why};
use crate::descriptors::Descriptors;
use crate::routing::Reader;

/// A connection on its way to its core, counted from the moment it was accepted.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) stream: AcceptedStream,
    /// None for a Unix socket.
    pub(super) peer: Option<SocketAddr>,
    pub(super) kind: Kind,
    pub(super) counted: Counted,
    /// Its client's seat, where its client is known already and counted.
    pub(super) seat: Option<Seat>,
}

/// A socket between two runtimes.
#[derive(Debug)]
pub(super) enum AcceptedStream {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl AsRawFd for AcceptedStream {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

/// Counts a connection, for its core and in all, until it ends, however it ends.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicU64>, Arc<AtomicU64>);

impl Counted {
    fn new(load: &Arc<AtomicU64>, open: &Arc<AtomicU64>) -> Self {
        load.fetch_add(1, Ordering::Relaxed);
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(load), Arc::clone(open))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A core as the acceptor sees it.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) hand_over: mpsc::Sender<Accepted>,
    pub(super) load: Arc<AtomicU64>,
}

/// What gives connections to cores.
#[derive(Debug)]
pub(super) struct Acceptor {
    pub(super) cores: Vec<Core>,
    pub(super) reader: Reader,
    pub(super) clients: Clients,
    /// Connections that are open.
    pub(super) open: Arc<AtomicU64>,
    /// As many as the system can carry.
    pub(super) most: u64,
    /// Connections that were refused.
    pub(super) refusals: Arc<Refusals>,
}

impl Acceptor {
    /// Accepts on all sockets until the end begins.
    pub(super) fn run(self, runtime: &Runtime, sockets: Vec<Open>, mut stopped: watch::Receiver<Stop>) {
        let acceptor = Arc::new(self);
        runtime.block_on(async {
            let mut accepting = JoinSet::new();
            for open in sockets {
                let address = open.address.clone();
                match Socket::new(open.socket) {
                    Ok(socket) => {
                        let (acceptor, stopped) = (Arc::clone(&acceptor), stopped.clone());
                        drop(accepting.spawn(async move { acceptor.accept(socket, open.kind, stopped).await }));
                    }
                    Err(error) => warn!(%address, %error, "cannot accept"),
                }
            }
            // An error means that the data plane was dropped.
            let _ = stopped.wait_for(|stop| *stop > Stop::Serve).await;
            accepting.join_all().await;
        });
    }

    async fn accept(&self, socket: Socket, kind: Kind, mut stopped: watch::Receiver<Stop>) {
        let mut fails = false;
        loop {
            tokio::select! {
                accepted = socket.accept() => match accepted {
                    Ok((stream, peer)) => {
                        fails = false;
                        self.hand_over(stream, peer, &kind);
                    }
                    Err(error) => {
                        // Out of descriptors, most likely: wait for some to be given back, and do not spin. Told once,
                        // however long it goes on.
                        if !std::mem::replace(&mut fails, true) {
                            warn!(%error, "cannot accept a connection");
                        }
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                () = ending(&mut stopped) => break,
            }
        }
        // An error means that there is no socket to be emptied.
        if let Ok(socket) = socket.into_std() {
            self.empty(&socket, &kind);
        }
    }

    /// Who connected before the end waits in the queue, and would be reset with it. The system is asked itself: the
    /// runtime may not have heard of the latest yet. A process that has taken over the socket accepts there too, so what
    /// comes meanwhile is left to it.
    fn empty(&self, socket: &Listening, kind: &Kind) {
        for _ in 0..QUEUE {
            match socket.accept() {
                Ok((stream, peer)) => self.hand_over(stream, peer, kind),
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => return,
            }
        }
    }

    /// Gives a connection to the core that has the fewest, unless there are too many.
    fn hand_over(&self, stream: AcceptedStream, peer: Option<SocketAddr>, kind: &Kind) {
        let routing = self.reader.routing.load();
        let limits = &routing.rules.limits;
        if self.open.load(Ordering::Relaxed) >= self.most.min(limits.connections) {
            self.refusals.tell(Why::All(self.most.min(limits.connections)), Instant::now());
            return self.refused();
        }
        let descriptors = Descriptors::of_this_process();
        if !descriptors.is_for_a_client(stream.as_raw_fd()) {
            self.refusals.tell(Why::Descriptors(descriptors.all()), Instant::now());
            return self.refused();
        }
        // Who may speak for others is counted when it has said for whom.
        let client = peer.map(|peer| peer.ip()).filter(|_| !announces(kind, peer));
        let seat = match client.filter(|client| !routing.rules.trusted.iter().any(|range| range.contains(*client))) {
            None => None,
            Some(client) => match self.clients.admit(client, limits.connections_per_client) {
                Some(seat) => Some(seat),
                None => {
                    self.refusals.tell(Why::Client(client, limits.connections_per_client), Instant::now());
                    return self.refused();
                }
            },
        };
        let Some(core) = self.cores.iter().min_by_key(|core| core.load.load(Ordering::Relaxed)) else { return };
        let counted = Counted::new(&core.load, &self.open);
        let accepted = Accepted { stream, peer, kind: kind.clone(), counted, seat };
        // A core that takes no connection does not keep the others from theirs.
        if core.hand_over.try_send(accepted).is_err() {
            warn!(?peer, "connection refused: its core is overloaded");
            self.refused();
        }
    }

    fn refused(&self) {
        self.reader.unmatched.count(0, Class::Local);
    }
}

/// Whether this peer must begin with a PROXY protocol header. The peers of a Unix socket have no address to be listed by.
pub(super) fn announces(kind: &Kind, peer: Option<SocketAddr>) -> bool {
    peer.is_some_and(|peer| kind.written.proxy_protocol.iter().any(|range| range.contains(peer.ip())))
}

/// Whether it is one connection that cannot be accepted, and others may.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Waits for the end to begin.
async fn ending(stopped: &mut watch::Receiver<Stop>) {
    // An error means that the data plane was dropped, which is an end too.
    drop(stopped.wait_for(|stop| *stop > Stop::Serve).await);
}

/// A listening socket of the acceptor's runtime.
#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Socket {
    fn new(listening: Listening) -> std::io::Result<Self> {
        match listening {
            Listening::Tcp(socket) => TcpListener::from_std(socket).map(Self::Tcp),
            Listening::Unix(socket) => UnixListener::from_std(socket).map(Self::Unix),
        }
    }

    fn into_std(self) -> std::io::Result<Listening> {
        match self {
            Self::Tcp(socket) => socket.into_std().map(Listening::Tcp),
            Self::Unix(socket) => socket.into_std().map(Listening::Unix),
        }
    }

    async fn accept(&self) -> std::io::Result<(AcceptedStream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                Ok((AcceptedStream::Tcp(stream.into_std()?), Some(peer)))
            }
            Self::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                Ok((AcceptedStream::Unix(stream.into_std()?), None))
            }
        }
    }
}
