//! Connections that are opened ahead, so that the first users whom a version gets do not wait for handshakes.
//!
//! Whoever publishes asks each core to top up what waits at a version's endpoints: where it goes from nothing to a share,
//! or to a share at least twice as large, and where it has new endpoints. Nothing waits for that: neither the split nor a
//! request. Of HTTP/1.1, connections go into the core's [`Pool`]. Those of HTTP/2 are pingora's own, which gives no way
//! to put any there: a request of our own goes as far as its connection, and lets that go unused ([`Errand`]).

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use config::{Name, Protocol};
use meter::Class;
use parking_lot::Mutex;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use pingora_error::{Error, ErrorType};
use pingora_proxy::HttpProxy;
use tokio::sync::{Barrier, mpsc, watch};
use tracing::warn;

use crate::attempt::class_of_connect;
use crate::edge::Edge;
use crate::endpoint::{Endpoint, Unreachable};
use crate::routing::Version;
use crate::upstream_stream::{Line, Pool};

/// Versions that wait for a core to warm them, at most: what is too much is served cold.
const MOST_WAITING: usize = 64;

tokio::task_local! {
    static PRESENT: Arc<Errand>;
}

/// The cores that open connections ahead. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Warmers {
    cores: Arc<Mutex<Vec<mpsc::Sender<Warming>>>>,
    /// What is asked and not done.
    under_way: Arc<()>,
}

/// One core's part of a version's warm start.
#[derive(Debug, Clone)]
pub(crate) struct Warming {
    service: Name,
    version: Arc<Version>,
    core: usize,
    cores: usize,
    /// It was said that a connection could not be made.
    is_told: Arc<AtomicBool>,
    /// Held by whoever has something of it to do.
    _under_way: Arc<()>,
}

/// A request of our own that goes to an endpoint for the sake of the connection alone. Nothing of it is sent, and nothing
/// counted.
#[derive(Debug)]
pub(crate) struct Errand {
    at: Arc<Endpoint>,
    /// All that were sent at once. Each keeps its connection until the last has one: else the next would get the same.
    together: Arc<Barrier>,
    has_met: AtomicBool,
    /// Why there is no connection; none where there is.
    failed: Mutex<Option<Failed>>,
}

/// Why a connection could not be opened ahead.
#[derive(Debug)]
struct Failed {
    why: String,
    /// For our own want of descriptors or ports, which says nothing of the endpoint.
    is_ours: bool,
}

impl Failed {
    /// The endpoint remembers what connections to it fail for, unless that is ours.
    fn of(error: &Error, at: &Endpoint) -> Self {
        let is_ours = class_of_connect(error) == Class::Local;
        if !is_ours {
            at.is_unreachable(Unreachable::of(error));
        }
        Self { why: error.to_string(), is_ours }
    }
}

/// What opens connections ahead on one core.
#[derive(Clone)]
pub(crate) struct Warmer {
    pool: Arc<Pool>,
    proxy: Arc<HttpProxy<Edge>>,
    /// How many are being opened, by endpoint.
    opening: Arc<Mutex<HashMap<usize, usize>>>,
}

impl Warmers {
    /// A core's turn to hear what it is asked.
    pub(crate) fn join(&self) -> mpsc::Receiver<Warming> {
        let (send, receive) = mpsc::channel(MOST_WAITING);
        self.cores.lock().push(send);
        receive
    }

    /// Has connections opened to the endpoints of this version. Never waits.
    pub(crate) fn warm(&self, service: &Name, version: &Arc<Version>) {
        if version.warm_start == 0 {
            return;
        }
        let mut warmers = self.cores.lock();
        warmers.retain(|warmer| !warmer.is_closed());
        let (cores, is_told) = (warmers.len(), Arc::new(AtomicBool::new(false)));
        for (core, warmer) in warmers.iter().enumerate() {
            let (service, version, is_told) = (service.clone(), Arc::clone(version), Arc::clone(&is_told));
            let _under_way = Arc::clone(&self.under_way);
            // A core that has so much to warm is busy enough.
            let _ = warmer.try_send(Warming { service, version, core, cores, is_told, _under_way });
        }
    }

    /// Opens no more: this process ends, whatever becomes of the split.
    pub(crate) fn end(&self) {
        self.cores.lock().clear();
    }

    /// How much is under way: 0 when all that was asked is done.
    pub(crate) fn under_way(&self) -> usize {
        // The warmers themselves hold one, here and at each reader.
        let warmers = Arc::strong_count(&self.cores);
        Arc::strong_count(&self.under_way).saturating_sub(warmers)
    }
}

impl Warming {
    /// The endpoints, each with how many connections are to wait there on this core.
    fn wanted(&self) -> impl Iterator<Item = (&Arc<Endpoint>, usize)> {
        let endpoints = &self.version.endpoints;
        let most = self.version.warm_start as usize * self.cores * endpoints.len();
        let all = most.min(config::Version::MOST_WARM as usize);
        let part = move |place| part_of(all, place, endpoints.len(), self.core, self.cores);
        endpoints.iter().enumerate().map(move |(place, endpoint)| (endpoint, part(place))).filter(|(_, part)| *part > 0)
    }

    /// No connection could be made. The endpoint remembers it as that of a request; people are told once.
    fn failed(&self, at: &Endpoint, Failed { why, is_ours }: &Failed) {
        if !is_ours {
            at.failed_ahead(Instant::now());
        }
        if !self.is_told.swap(true, Ordering::Relaxed) {
            let (service, version, endpoint) = (&self.service, &self.version.name, &at.written);
            warn!(%service, %version, %endpoint, why, "no connection could be opened ahead");
        }
    }
}

/// How many of so many connections belong to this endpoint and core: each endpoint gets one before any gets another, and
/// they go to the cores in turn.
fn part_of(all: usize, endpoint: usize, endpoints: usize, core: usize, cores: usize) -> usize {
    let of_endpoint = all.saturating_sub(endpoint).div_ceil(endpoints.max(1));
    of_endpoint.saturating_sub(core).div_ceil(cores.max(1))
}

impl Warmer {
    /// Fills this pool, and that of `proxy`.
    pub(crate) fn new(pool: Arc<Pool>, proxy: &Arc<HttpProxy<Edge>>) -> Self {
        Self { pool, proxy: Arc::clone(proxy), opening: Arc::default() }
    }

    /// Does what the core is asked, until nobody can ask any more.
    pub(crate) async fn run(self, mut asked: mpsc::Receiver<Warming>) {
        while let Some(warming) = asked.recv().await {
            for (at, wanted) in warming.wanted() {
                let missing = self.missing(at, wanted);
                let together = Arc::new(Barrier::new(missing.max(1)));
                for _ in 0..missing {
                    let together = Arc::clone(&together);
                    drop(tokio::spawn(self.clone().open(warming.clone(), Arc::clone(at), together)));
                }
            }
        }
    }

    /// How many connections to this endpoint are to be opened, so that so many wait.
    fn missing(&self, at: &Endpoint, wanted: usize) -> usize {
        let opening = self.opening.lock().get(&at.identity()).copied().unwrap_or(0);
        match at.protocol() {
            Protocol::H1 => wanted.saturating_sub(opening + self.pool.waiting(at.pool_key())),
            // What waits already is taken by some of them, and waits on.
            Protocol::H2 | Protocol::H2c if opening == 0 => wanted,
            Protocol::H2 | Protocol::H2c => 0,
        }
    }

    /// Opens a connection, which then waits for its first request.
    fn open(self, warming: Warming, at: Arc<Endpoint>, together: Arc<Barrier>) -> impl Future<Output = ()> + Send {
        // Counted from now on, whenever it is begun.
        let opening = Opening::begin(&self.opening, at.identity());
        async move {
            let opened = match at.protocol() {
                Protocol::H1 => self.connect(&at).await,
                Protocol::H2 | Protocol::H2c => self.send_errand(&at, together).await,
            };
            match opened {
                Ok(()) => at.connected(Instant::now()),
                Err(why) => warming.failed(&at, &why),
            }
            drop(opening);
        }
    }

    async fn connect(&self, at: &Endpoint) -> Result<(), Failed> {
        let line = Line::to(at.dialled(), self.pool.connector()).await;
        let line = line.map_err(|error| Failed::of(&error.into_up(), at))?;
        self.pool.put(at.pool_key(), line, at.patience());
        Ok(())
    }

    async fn send_errand(&self, at: &Arc<Endpoint>, together: Arc<Barrier>) -> Result<(), Failed> {
        let (has_met, failed) = (AtomicBool::new(false), Mutex::default());
        let errand = Arc::new(Errand { at: Arc::clone(at), together, has_met, failed });
        let head = b"GET / HTTP/1.1\r\nhost: nobody\r\n\r\n".to_vec();
        let session = ServerSession::new_http1(Box::new(Cursor::new(head)));
        let (_goes_on, shutdown) = watch::channel(false);
        PRESENT.scope(Arc::clone(&errand), self.proxy.process_new_http(session, &shutdown)).await;
        errand.meet().await;
        let failed = errand.failed.lock().take();
        failed.map_or(Ok(()), Err)
    }
}

/// A connection is being opened until this is dropped.
struct Opening(Arc<Mutex<HashMap<usize, usize>>>, usize);

impl Opening {
    fn begin(opening: &Arc<Mutex<HashMap<usize, usize>>>, endpoint: usize) -> Self {
        *opening.lock().entry(endpoint).or_default() += 1;
        Self(Arc::clone(opening), endpoint)
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let mut opening = self.0.lock();
        if let Some(count) = opening.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                opening.remove(&self.1);
            }
        }
    }
}

impl Errand {
    /// That which this task runs; none where it serves a client.
    pub(crate) fn present() -> Option<Arc<Self>> {
        PRESENT.try_with(Arc::clone).ok()
    }

    /// Where it goes.
    pub(crate) fn at(&self) -> &Endpoint {
        &self.at
    }

    /// It has its connection, or none: waits for the others, once.
    pub(crate) async fn meet(&self) {
        if !self.has_met.swap(true, Ordering::Relaxed) {
            self.together.wait().await;
        }
    }

    /// It has come to its connection: that is all.
    pub(crate) fn done() -> Box<Error> {
        Error::new_in(ErrorType::Custom("a connection was wanted, and nothing else"))
    }

    /// There is none.
    pub(crate) fn failed(&self, error: &Error) {
        *self.failed.lock() = Some(Failed::of(error, &self.at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_divided_among_endpoints_and_cores_and_none_is_left_out_or_counted_twice() {
        for (all, endpoints, cores) in
            [(8, 1, 2), (64, 3, 4), (64, 100, 4), (5, 2, 3), (1, 1, 1), (0, 3, 2), (64, 1, 64)]
        {
            let part = |endpoint, core| part_of(all, endpoint, endpoints, core, cores);
            let of_endpoint = |endpoint| (0..cores).map(|core| part(endpoint, core)).sum::<usize>();
            let each: Vec<usize> = (0..endpoints).map(of_endpoint).collect();
            assert_eq!(each.iter().sum::<usize>(), all, "{all} {endpoints} {cores}");
            let even = |parts: &[usize]| parts.iter().max().unwrap() - parts.iter().min().unwrap() <= 1;
            assert!(even(&each), "{each:?}");
            for endpoint in 0..endpoints {
                let cores: Vec<usize> = (0..cores).map(|core| part(endpoint, core)).collect();
                assert!(even(&cores), "{cores:?}");
            }
        }
    }
}
