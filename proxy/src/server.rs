//! The listeners and the cores: one thread accepts, one thread a core serves, each core with a proxy of its own.
//!
//! Connections go to the core that has the fewest. There is one listening socket an address, so a port that is in use
//! is an error and no connection can wait in a queue that is about to close (docs/decisions/0004).

mod acceptor;
mod arrival;
mod clients;
mod listeners;
mod served;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use config::ListenAddress;
use pingora_core::connectors::TransportConnector;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use self::acceptor::{Acceptor, Core};
use self::clients::Clients;
use self::listeners::SocketFile;
pub use self::listeners::{Listeners, why_not_bound};
use self::worker::Worker;
use crate::checks;
use crate::lasting::UnderWay;
use crate::mirror;
use crate::routing::Reader;
use crate::tls::{self, Finding};

/// What the data plane may use of the machine. Everything else is in the rules, and may change while it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How many cores serve; at least 1.
    pub cores: usize,
    /// How many client connections the system can carry; where the rules allow fewer, they hold.
    pub connections: u64,
}

impl Default for Limits {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { cores, connections: u64::MAX }
    }
}

/// Why a data plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be opened.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address wanted.
        address: ListenAddress,
        /// Why not, and what to do.
        reason: String,
    },
    /// Certificates or keys cannot be used: everything that is wrong with them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Certificates(Vec<Finding>),
    /// The system gives no thread, or no descriptors for its runtime.
    #[error("cannot start the data plane's threads: {0}")]
    Thread(io::Error),
}

/// The running data plane. Dropping it ends it at once; [`drain`](Self::drain) ends it gently.
#[derive(Debug)]
pub struct DataPlane {
    addresses: Vec<ListenAddress>,
    stop: watch::Sender<Stop>,
    leaving: Arc<AtomicBool>,
    open: Arc<AtomicU64>,
    under_way: UnderWay,
    threads: Vec<JoinHandle<()>>,
    watch: Option<tls::Watch>,
    /// Removed at the end.
    files: Vec<SocketFile>,
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
        let Listeners(mut sockets) = listeners;
        // Before any core asks for the one that pingora would install.
        drop(tls::provider());
        let addresses = sockets.iter().map(|open| open.address.clone()).collect();
        let files = sockets.iter_mut().filter_map(|open| open.file.take()).collect();
        let tls = sockets.iter().filter_map(|open| open.kind.tls.clone()).collect();
        let (stop, stopped) = watch::channel(Stop::Serve);
        let open = Arc::new(AtomicU64::new(0));
        let leaving = Arc::new(AtomicBool::new(false));
        let clients = Clients::default();
        let (outbox, deliveries) = mirror::outbox();
        // Of all cores: it knows the system's authorities, and keeps no connection.
        let connector = Arc::new(TransportConnector::new(None));
        let mut threads = Vec::new();
        let mut cores = Vec::new();
        for core in 0..limits.cores.max(1) {
            let (hand_over, connections) = mpsc::channel(1024);
            let worker = Worker {
                core,
                reader: reader.clone(),
                clients: clients.clone(),
                leaving: Arc::clone(&leaving),
                outbox: outbox.clone(),
                connector: Arc::clone(&connector),
            };
            let stopped = stopped.clone();
            // From now on, before the thread itself has begun.
            let to_warm = reader.warmers.join();
            let name = format!("tidegate-core-{core}");
            threads.push(spawn(name, move |runtime| worker.serve(&runtime, connections, to_warm, stopped))?);
            cores.push(Core { hand_over, load: Arc::default() });
        }
        let most = limits.connections;
        let acceptor = Acceptor { cores, reader: reader.clone(), clients, open: Arc::clone(&open), most };
        threads.push(spawn("tidegate-accept".into(), move |runtime| acceptor.run(&runtime, sockets, stopped))?);
        threads.push(spawn_beside("tidegate-checks", stop.subscribe(), checks::run(reader.clone()))?);
        threads.push(spawn_beside("tidegate-mirror", stop.subscribe(), mirror::run(deliveries))?);
        let watch = Some(tls::Watch::begin(tls).map_err(StartError::Thread)?);
        let under_way = reader.under_way.clone();
        Ok(Self { addresses, stop, leaving, open, under_way, threads, watch, files })
    }

    /// Where it listens, in the order given; port 0 has become a real one.
    #[must_use]
    pub fn listening(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// The TCP addresses among them.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.iter().filter_map(ListenAddress::tcp).collect()
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

    /// Asks everything that lasts (tunnels, streams of events, whatever else has streamed for 5 s) to end now, in a way
    /// that clients try again: a WebSocket is sent a close frame and has 5 s to answer, a gRPC call its status, anything
    /// else is cut. Says how many were asked by this.
    pub fn end_all_lasting(&self) -> u64 {
        self.under_way.end_all(Instant::now())
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
        drop(self.watch.take());
        self.files.clear();
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

/// A thread for what is done beside the serving, until the end.
fn spawn_beside(
    name: &str,
    mut stopped: watch::Receiver<Stop>,
    work: impl Future<Output = ()> + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    let run = move |runtime: Runtime| {
        runtime.block_on(async {
            tokio::select! {
                () = work => {}
                _ = stopped.wait_for(|stop| *stop == Stop::Now) => {}
            }
        });
    };
    spawn(name.into(), run)
}

/// A thread with a runtime of its own. Both are had before anything is served, or nothing is.
fn spawn(name: String, run: impl FnOnce(Runtime) + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    thread::Builder::new().name(name).spawn(move || run(runtime)).map_err(StartError::Thread)
}
