//! The listeners and the cores: one thread accepts, one thread a core serves, each core with a proxy of its own.
//!
//! Connections go to the core that has the fewest. There is one listening socket an address, so a port that is in use
//! is an error and no connection can wait in a queue that is about to close (docs/decisions/0004).

mod acceptor;
mod arrival;
mod clients;
mod handing;
mod listeners;
pub(crate) mod refusals;
mod served;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use config::{ListenAddress, Name};
use pingora_core::connectors::TransportConnector;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use self::acceptor::{Acceptor, Core};
use self::clients::Clients;
pub use self::handing::Handed;
use self::handing::Kept;
pub use self::listeners::{Listeners, why_not_bound};
use self::refusals::Refusals;
use self::worker::Worker;
use crate::checks;
use crate::mirror;
use crate::passes::Instance;
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
    listening: Vec<Kept>,
    reader: Reader,
    stop: watch::Sender<Stop>,
    leaving: Arc<AtomicBool>,
    open: Arc<AtomicU64>,
    /// None once it accepts no more.
    acceptor: Option<JoinHandle<()>>,
    threads: Vec<JoinHandle<()>>,
    watch: Option<tls::Watch>,
}

/// What is not over yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Left {
    /// Client connections that are open, idle ones among them.
    pub connections: u64,
    /// Requests and tunnels of each service that has any, in the order of the file.
    pub requests: Vec<(Name, u64)>,
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Stop {
    /// Not at all.
    Serve,
    /// Accept no more.
    Accepting,
    /// End idle connections, ask the others to end.
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
        let listening = sockets.iter_mut().map(Kept::of).collect::<io::Result<_>>().map_err(StartError::Thread)?;
        let tls = sockets.iter().filter_map(|open| open.kind.tls.clone()).collect();
        let (stop, stopped) = watch::channel(Stop::Serve);
        let open = Arc::new(AtomicU64::new(0));
        let leaving = Arc::new(AtomicBool::new(false));
        let clients = Clients::default();
        let (refusals, instance) = (Arc::new(Refusals::default()), Instance::new());
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
                refusals: Arc::clone(&refusals),
                instance: instance.clone(),
            };
            let stopped = stopped.clone();
            // From now on, before the thread itself has begun.
            let to_warm = reader.warmers.join();
            let name = format!("tidegate-core-{core}");
            threads.push(spawn(name, move |runtime| worker.serve(&runtime, connections, to_warm, stopped))?);
            cores.push(Core { hand_over, load: Arc::default() });
        }
        let most = limits.connections;
        let acceptor = Acceptor { cores, reader: reader.clone(), clients, open: Arc::clone(&open), most, refusals };
        let acceptor = Some(spawn("tidegate-accept".into(), move |runtime| acceptor.run(&runtime, sockets, stopped))?);
        threads.push(spawn_beside("tidegate-checks", stop.subscribe(), checks::run(reader.clone()))?);
        threads.push(spawn_beside("tidegate-mirror", stop.subscribe(), mirror::run(deliveries))?);
        let watch = Some(tls::Watch::begin(tls).map_err(StartError::Thread)?);
        Ok(Self { listening, reader: reader.clone(), stop, leaving, open, acceptor, threads, watch })
    }

    /// Where it listens, in the order given; port 0 has become a real one.
    pub fn listening(&self) -> impl Iterator<Item = &ListenAddress> {
        self.listening.iter().map(|kept| &kept.bound)
    }

    /// The TCP addresses among them.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listening().filter_map(ListenAddress::tcp).collect()
    }

    /// Client connections that are open.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// What is not over yet.
    #[must_use]
    pub fn left(&self) -> Left {
        let routing = self.reader.routing.load();
        let mut requests: Vec<(Name, u64)> = Vec::new();
        for (service, version) in routing.versions() {
            let there = version.meter.in_flight();
            match requests.last_mut().filter(|(last, _)| last == service) {
                Some((_, of_service)) => *of_service += there,
                None => requests.push((service.clone(), there)),
            }
        }
        requests.retain(|(_, there)| *there > 0);
        Left { connections: self.connections(), requests }
    }

    /// The times of a drain, by the rules in force.
    #[must_use]
    pub fn drain_times(&self) -> config::Drain {
        self.reader.routing.load().rules.drain
    }

    /// The listening sockets, in the order given, for another process. This one goes on accepting on them.
    ///
    /// # Errors
    /// Where the system has no further descriptor.
    pub fn hand_over(&self) -> io::Result<Vec<Handed>> {
        self.listening.iter().enumerate().filter_map(|(place, kept)| kept.hand(place).transpose()).collect()
    }

    /// The files of its Unix sockets at these places are another process's now: they are not removed at the end.
    pub fn leave_files(&mut self, places: &[usize]) {
        for place in places {
            if let Some(kept) = self.listening.get_mut(*place) {
                kept.leave_file();
            }
        }
    }

    /// The files of Unix sockets that another process handed over are this one's now: they are removed at the end.
    pub fn own_files(&mut self) {
        self.listening.iter_mut().for_each(Kept::own_file);
    }

    /// From now on every response ends its HTTP/1.1 connection, and says so: busy clients leave before they are cut.
    /// No connection is opened ahead any more.
    pub fn announce_drain(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.reader.warmers.end();
    }

    /// Asks everything that lasts (tunnels, streams of events, whatever else has streamed for 5 s) to end now, in a way
    /// that clients try again: a WebSocket is sent a close frame and has 5 s to answer, a gRPC call its status, anything
    /// else is cut. Says how many were asked by this.
    pub fn end_all_lasting(&self) -> u64 {
        self.reader.under_way.end_all(Instant::now())
    }

    /// Accepts no more. Whoever had connected by now is among the [`connections`](Self::connections) when this returns,
    /// so that nobody takes for nothing what has only not been counted yet.
    pub fn stop_accepting(&mut self) {
        self.listening.iter_mut().for_each(Kept::close);
        self.advance(Stop::Accepting);
        if let Some(acceptor) = self.acceptor.take() {
            // It empties the queues and ends. A thread that panicked has said so.
            let _ = acceptor.join();
        }
    }

    /// Accepts no more, ends idle connections, and lets requests in flight end (HTTP/2 gets a GOAWAY).
    pub fn begin_drain(&mut self) {
        self.announce_drain();
        self.stop_accepting();
        self.advance(Stop::Drain);
    }

    /// Drains, and returns how many connections were still open at the deadline: 0 where all ended.
    pub fn drain(mut self, deadline: Duration) -> u64 {
        self.begin_drain();
        let until = Instant::now() + deadline;
        while self.connections() > 0 && Instant::now() < until {
            #[expect(clippy::disallowed_methods, reason = "a bounded poll: pingora offers nothing to wait for")]
            thread::sleep(Duration::from_millis(5));
        }
        self.connections()
    }

    fn advance(&self, to: Stop) {
        // No receiver means that every thread has ended already.
        self.stop.send_if_modified(|stop| {
            let goes_on = *stop < to;
            if goes_on {
                *stop = to;
            }
            goes_on
        });
    }

    fn end(&mut self) {
        self.advance(Stop::Now);
        drop(self.watch.take());
        self.listening.clear();
        for thread in self.acceptor.take().into_iter().chain(self.threads.drain(..)) {
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
