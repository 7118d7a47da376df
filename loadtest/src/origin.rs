//! A real HTTP/1.1 server with dialled faults.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use http::HeaderValue;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time;

use crate::background::{Background, Stop};
use crate::dial::{Behaviour, Dial, Setting};
use crate::port::Port;

mod answer;
mod arrivals;
mod connection;

use arrivals::Log;
pub use arrivals::{Arrivals, Incident};

/// How long requests in progress may take once the origin is stopped.
const DRAIN: Duration = Duration::from_secs(2);
/// How long to wait before accepting again after an error, which is mostly a want of file descriptors.
const PAUSE: Duration = Duration::from_millis(20);

/// How an origin starts.
#[derive(Debug, Clone, Copy)]
pub struct OriginOptions {
    /// Where it listens; port 0 picks a free one.
    pub address: SocketAddr,
    /// What its dial is set to.
    pub setting: Setting,
    /// What draws the errors and latencies.
    pub seed: u64,
}

impl Default for OriginOptions {
    /// A free port of 127.0.0.1, answering at once and without errors.
    fn default() -> Self {
        Self { address: (Ipv4Addr::LOCALHOST, 0).into(), setting: Setting::default(), seed: 1 }
    }
}

/// A real HTTP/1.1 server on a thread of its own, whose faults are turned while it runs. Dropping it ends it at once.
///
/// It answers `{name}` and a line feed with status 200 and the header `x-version: {name}`. Some paths differ:
/// `/echo` returns the request's body, `/headers` the request's head as text, `/chunked` a body of unknown length in
/// three parts, `/sse` an event each 100 ms without end, and `/sse/N` only N of them. The dial holds for all of them.
#[derive(Debug)]
pub struct Origin {
    shared: Arc<Shared>,
    background: Background,
    address: SocketAddr,
    listening: watch::Receiver<bool>,
}

/// What the connections of one origin share.
#[derive(Debug)]
struct Shared {
    name: String,
    version: HeaderValue,
    dial: Dial,
    log: Log,
    rng: Mutex<Rng>,
}

impl Origin {
    /// Starts an origin and returns once it listens (unless its dial says to refuse).
    ///
    /// # Errors
    /// Where the address cannot be had, the name is no legal header value, or the system has no thread left.
    pub async fn start(name: &str, options: OriginOptions) -> io::Result<Self> {
        let version = HeaderValue::from_str(name).map_err(|_| {
            let problem = format!("an origin cannot be named {name:?}: it must be printable ASCII");
            io::Error::new(io::ErrorKind::InvalidInput, problem)
        })?;
        let port = Port::reserve(options.address)?;
        let address = port.address();
        // The first listener is opened here, so that its error reaches the caller.
        let first = if options.setting.behaviour.is_away() { None } else { Some(port.listen()?) };
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            version,
            dial: Dial::new(options.setting),
            log: Log::start(Instant::now()),
            rng: Mutex::new(Rng::with_seed(options.seed)),
        });
        let (listens, listening) = watch::channel(false);
        let doors = Doors { port, shared: Arc::clone(&shared), listens, connections: JoinSet::new() };
        let background =
            Background::start(format!("origin-{name}"), move |stop| async move { doors.keep(first, stop).await })?;
        let origin = Self { shared, background, address, listening };
        origin.settled().await;
        Ok(origin)
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its name, which is also the value of `x-version`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// What sets its faults.
    #[must_use]
    pub fn dial(&self) -> &Dial {
        &self.shared.dial
    }

    /// What arrived so far.
    #[must_use]
    pub fn arrivals(&self) -> Arrivals {
        self.shared.log.read()
    }

    /// The moment that the times of [`Arrivals`] count from.
    #[must_use]
    pub fn started_at(&self) -> Instant {
        self.shared.log.started_at()
    }

    /// Forgets the first bad response, so that the next one begins a new incident.
    pub fn begin_incident(&self) {
        self.shared.log.begin_incident();
    }

    /// Returns once the listener is as the dial says: closed for [`Behaviour::Refuse`] and [`Behaviour::Leave`], open for
    /// all others.
    pub async fn settled(&self) {
        let mut setting = self.shared.dial.watch();
        let mut listening = self.listening.clone();
        loop {
            let wanted = !setting.borrow_and_update().behaviour.is_away();
            if *listening.borrow_and_update() == wanted {
                return;
            }
            // Errors mean that the origin is over, and nothing changes any more.
            tokio::select! {
                changed = setting.changed() => if changed.is_err() { return },
                changed = listening.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Closes the listener, lets requests in progress end (2 s at most) and ends.
    pub async fn stop(self) {
        self.background.stop();
        self.background.over().await;
    }
}

/// Accepts connections while the dial allows it.
struct Doors {
    port: Port,
    shared: Arc<Shared>,
    listens: watch::Sender<bool>,
    connections: JoinSet<()>,
}

impl Doors {
    /// Opens and closes the listener as the dial says, until told to stop.
    async fn keep(mut self, mut first: Option<std::net::TcpListener>, stop: Stop) {
        let mut setting = self.shared.dial.watch();
        let mut closing = stop.clone();
        let work = async {
            loop {
                if setting.borrow_and_update().behaviour.is_away() {
                    self.listens.send_replace(false);
                    if setting.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                let listener = first.take().map_or_else(|| self.port.listen(), Ok).and_then(TcpListener::from_std);
                match listener {
                    Ok(listener) => {
                        self.listens.send_replace(true);
                        let (leaves, leaving) = Stop::sign();
                        let how = self.accept(&listener, &mut setting, [&stop, &leaving]).await;
                        drop(listener);
                        if how == Behaviour::Leave {
                            leaves.send_replace(true);
                            self.drained().await;
                        }
                        // A killed process takes its connections along.
                        self.connections.shutdown().await;
                    }
                    Err(_) => time::sleep(PAUSE).await,
                }
            }
        };
        tokio::select! {
            () = work => (),
            () = closing.wanted() => (),
        }
        self.drained().await;
    }

    /// Returns once the connections are over. What is left after some time is cut.
    async fn drained(&mut self) {
        let drained = async { while self.connections.join_next().await.is_some() {} };
        drop(time::timeout(DRAIN, drained).await);
    }

    /// Accepts connections until the dial says to be away, and returns how.
    async fn accept(
        &mut self,
        listener: &TcpListener,
        setting: &mut watch::Receiver<Setting>,
        ends: [&Stop; 2],
    ) -> Behaviour {
        loop {
            tokio::select! {
                changed = setting.wait_for(|setting| setting.behaviour.is_away()) => {
                    return changed.map_or(Behaviour::Refuse, |setting| setting.behaviour);
                }
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.admit(stream, ends.map(Stop::clone)),
                    Err(_) => time::sleep(PAUSE).await,
                },
                Some(_) = self.connections.join_next() => (),
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, ends: [Stop; 2]) {
        self.shared.log.connection();
        // Without it answers wait for acknowledgements; a socket that cannot is slow, not wrong.
        drop(stream.set_nodelay(true));
        self.connections.spawn(connection::serve(stream, Arc::clone(&self.shared), ends));
    }
}
