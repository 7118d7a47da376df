//! The listeners and the cores: one thread accepts, one thread a core serves, each core with a proxy of its own.
//!
//! Connections go to the core that has the fewest. There is one listening socket an address, so a port that is in use
//! is an error and no connection can wait in a queue that is about to close (docs/decisions/0004).

mod worker;

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use futures::FutureExt;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use self::worker::{Accepted, Counted, Worker};
use crate::client_stream::ClientTimeouts;
use crate::routing::Reader;

/// What the data plane may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How many cores serve; at least 1.
    pub cores: usize,
    /// How many client connections are open at most; more are closed as they come.
    pub connections: u64,
    /// How long clients may take.
    pub client: ClientTimeouts,
}

impl Default for Limits {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { cores, connections: 100_000, client: ClientTimeouts::default() }
    }
}

/// Why a data plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be opened.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address wanted.
        address: SocketAddr,
        /// Why not, and what to do.
        reason: String,
    },
    /// The system gives no thread, or no descriptors for its runtime.
    #[error("cannot start the data plane's threads: {0}")]
    Thread(io::Error),
}

/// Addresses that are taken: clients may connect, and wait until a data plane accepts them.
#[derive(Debug)]
pub struct Listeners(Vec<(StdListener, SocketAddr)>);

impl Listeners {
    /// Takes all of these addresses, or none.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, StartError> {
        addresses.iter().map(|address| bind(*address)).collect::<Result<_, _>>().map(Self)
    }
}

/// The running data plane. Dropping it ends it at once; [`drain`](Self::drain) ends it gently.
#[derive(Debug)]
pub struct DataPlane {
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<Stop>,
    leaving: Arc<AtomicBool>,
    open: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Stop {
    /// Not at all.
    Serve,
    /// Accept no more, end idle connections, ask the others to end.
    Drain,
    /// End now.
    Now,
}

impl DataPlane {
    /// Starts serving what is published to `reader`, now and later, on listeners that are open.
    pub fn start(listeners: Listeners, limits: &Limits, reader: &Reader) -> Result<Self, StartError> {
        let Listeners(sockets) = listeners;
        let addresses = sockets.iter().map(|(_, address)| *address).collect();
        let (stop, stopped) = watch::channel(Stop::Serve);
        let open = Arc::new(AtomicU64::new(0));
        let leaving = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        let mut cores = Vec::new();
        for core in 0..limits.cores.max(1) {
            let (hand_over, connections) = mpsc::channel(1024);
            let load = Arc::new(AtomicU64::new(0));
            let worker = Worker { core, reader: reader.clone(), client: limits.client, leaving: Arc::clone(&leaving) };
            let stopped = stopped.clone();
            let name = format!("tidegate-core-{core}");
            threads.push(spawn(name, move |runtime| worker.serve(&runtime, connections, stopped))?);
            cores.push(Core { hand_over, load });
        }
        let cores = Arc::new(cores);
        let most = limits.connections;
        let (accepted, accepting) = (Arc::clone(&open), stopped);
        let accept = move |runtime: Runtime| accept_all(&runtime, sockets, &cores, most, &accepted, accepting);
        threads.push(spawn("tidegate-accept".into(), accept)?);
        Ok(Self { addresses, stop, leaving, open, threads })
    }

    /// The addresses that it listens on, in the order given; port 0 has become a real one.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Client connections that are open.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// From now on every response ends its HTTP/1.1 connection, and says so: busy clients leave before they are cut.
    pub fn announce_drain(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Stops accepting, ends idle connections, lets requests in flight end (HTTP/2 gets a GOAWAY), and returns how
    /// many connections were still open at the deadline: 0 where all ended.
    pub fn drain(mut self, deadline: Duration) -> u64 {
        self.announce_drain();
        // No receiver means that every thread has ended already.
        let _ = self.stop.send(Stop::Drain);
        let until = Instant::now() + deadline;
        while self.connections() > 0 && Instant::now() < until {
            #[expect(clippy::disallowed_methods, reason = "a bounded poll: pingora offers nothing to wait for")]
            thread::sleep(Duration::from_millis(5));
        }
        let left = self.connections();
        self.end();
        left
    }

    fn end(&mut self) {
        let _ = self.stop.send(Stop::Now);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so; there is nothing left to end.
            let _ = thread.join();
        }
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.end();
    }
}

/// A thread with a runtime of its own. Both are had before anything is served, or nothing is.
fn spawn(name: String, run: impl FnOnce(Runtime) + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    thread::Builder::new().name(name).spawn(move || run(runtime)).map_err(StartError::Thread)
}

fn bind(address: SocketAddr) -> Result<(StdListener, SocketAddr), StartError> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restart may take the address while old connections linger. Not SO_REUSEPORT: see the module's head.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        let listener = StdListener::from(socket);
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    open().map_err(|error: io::Error| StartError::Listen { address, reason: why_not_bound(&error) })
}

/// Why an address cannot be taken, and what to do.
#[must_use]
#[expect(clippy::wildcard_enum_match_arm, reason = "the standard library's kinds of errors are open")]
pub fn why_not_bound(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is in use by another process; stop that one (ss -ltnp shows it) or choose another port".into()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address; 0.0.0.0 means all that it has".into(),
        io::ErrorKind::PermissionDenied => {
            "not permitted; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE".into()
        }
        _ => error.to_string(),
    }
}

/// A core as the acceptor sees it.
#[derive(Debug)]
struct Core {
    hand_over: mpsc::Sender<Accepted>,
    load: Arc<AtomicU64>,
}

fn accept_all(
    runtime: &Runtime,
    sockets: Vec<(StdListener, SocketAddr)>,
    cores: &Arc<Vec<Core>>,
    most: u64,
    open: &Arc<AtomicU64>,
    mut stopped: watch::Receiver<Stop>,
) {
    runtime.block_on(async {
        let mut accepting = JoinSet::new();
        for (socket, address) in sockets {
            let stopped = stopped.clone();
            match TcpListener::from_std(socket) {
                Ok(listener) => {
                    drop(accepting.spawn(accept(listener, Arc::clone(cores), most, Arc::clone(open), stopped)));
                }
                Err(error) => warn!(%address, %error, "cannot accept"),
            }
        }
        // An error means that the data plane was dropped.
        let _ = stopped.wait_for(|stop| *stop > Stop::Serve).await;
        accepting.join_all().await;
    });
}

async fn accept(
    listener: TcpListener,
    cores: Arc<Vec<Core>>,
    most: u64,
    open: Arc<AtomicU64>,
    mut stopped: watch::Receiver<Stop>,
) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => hand_over(stream, peer, &cores, most, &open),
                Err(error) => {
                    // Out of descriptors, most likely: wait for some to be given back, and do not spin.
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            () = ending(&mut stopped) => break,
        }
    }
    // Who connected before the end waits in the queue, and would be reset with it.
    while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
        hand_over(stream, peer, &cores, most, &open);
    }
}

/// Waits for the end to begin.
async fn ending(stopped: &mut watch::Receiver<Stop>) {
    // An error means that the data plane was dropped, which is an end too.
    drop(stopped.wait_for(|stop| *stop > Stop::Serve).await);
}

/// Gives a connection to the core that has the fewest.
fn hand_over(stream: TcpStream, peer: SocketAddr, cores: &[Core], most: u64, open: &Arc<AtomicU64>) {
    if open.load(Ordering::Relaxed) >= most {
        debug!(%peer, most, "connection refused: too many are open");
        return;
    }
    let Ok(stream) = stream.into_std() else { return };
    let Some(core) = cores.iter().min_by_key(|core| core.load.load(Ordering::Relaxed)) else { return };
    let counted = Counted::new(&core.load, open);
    // A core that takes no connection does not keep the others from theirs.
    if core.hand_over.try_send((stream, peer, counted)).is_err() {
        warn!(%peer, "connection refused: its core is overloaded");
    }
}
