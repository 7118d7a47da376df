//! A running data plane, and clients for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use config::{Configuration, Listener, Name, PathPrefix, Retries, Rules, Timeouts, Weight};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use loadtest::Origin;
use meter::{Attempt, Class, MirrorCounts, Tally, VersionMeter, Window};
use proxy::client_stream::ClientTimeouts;
use proxy::mirror::Ledger;
use proxy::routing::{Addresses, Routing, Wanted};
use proxy::tls::SecureListeners;
use proxy::{DataPlane, Limits, Listeners, Publisher};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than anything here takes; a test that waits so long has failed.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A service `shop` with the versions v1 (stable) and v2, served by a real data plane. Dropped in this order, so that
/// the books are looked at when every request is over.
pub(crate) struct Shop {
    pub(crate) publisher: Publisher,
    pub(crate) data: DataPlane,
    pub(crate) secure: SecureListeners,
    _books: Books,
}

/// Sees to it at the end of every test that each request that was drawn is over and has its first attempt on record.
struct Books(Arc<ArcSwap<Routing>>);

impl Drop for Books {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let routing = self.0.load_full();
        let shop = routing.service(&name("shop")).unwrap();
        let meters = shop.versions.iter().map(|version| (version.name.as_str(), &version.meter));
        for (what, meter) in meters.chain(shop.slice.iter().map(|slice| ("the slice", &slice.meter))) {
            meter.take(&mut Window::default());
            let (drawn, firsts) =
                meter.with_tally(|t| (t.drawn, t.attempts[Attempt::First as usize].iter().sum::<u64>()));
            assert_eq!(drawn.lost, 0, "{what} lost a request");
            assert_eq!((drawn.ended, meter.in_flight()), (drawn.all, 0), "a request on {what} is not over");
            assert!(firsts >= drawn.all, "{what}: {firsts} first attempts of {} requests", drawn.all);
        }
    }
}

impl Shop {
    /// Serves with v2 at this weight in per cent.
    pub(crate) fn open(v1: &[SocketAddr], v2: &[SocketAddr], percent: u16) -> Self {
        Self::open_with(v1, v2, percent, "", Timeouts::default(), ClientTimeouts::default())
    }

    /// Serves v1 alone, under rules that are changed so.
    pub(crate) fn under(v1: &[SocketAddr], change: impl FnOnce(&mut Rules)) -> Self {
        Self::with(v1, "", change)
    }

    /// The same, with further lines for the service. On one core, so that there is one pool.
    pub(crate) fn with(v1: &[SocketAddr], more: &str, change: impl FnOnce(&mut Rules)) -> Self {
        let mut rules = Rules::default();
        change(&mut rules);
        let (upstream, client) = (rules.timeouts, ClientTimeouts::from(&rules.timeouts));
        Self::assemble(1, v1, &[nobody()], 0, more, upstream, client, rules)
    }

    /// Serves v1 alone, on so many cores.
    pub(crate) fn open_on(cores: usize, v1: &[SocketAddr], v2: &[SocketAddr]) -> Self {
        let (upstream, client) = (Timeouts::default(), ClientTimeouts::default());
        Self::assemble(cores, v1, v2, 0, "", upstream, client, Rules::default())
    }

    /// The same, with further lines for the service and times of the caller's choice.
    pub(crate) fn open_with(
        v1: &[SocketAddr],
        v2: &[SocketAddr],
        percent: u16,
        more: &str,
        upstream: Timeouts,
        client: ClientTimeouts,
    ) -> Self {
        Self::assemble(2, v1, v2, percent, more, upstream, client, Rules::default())
    }

    #[expect(clippy::too_many_arguments, reason = "each is another test's")]
    fn assemble(
        cores: usize,
        v1: &[SocketAddr],
        v2: &[SocketAddr],
        percent: u16,
        more: &str,
        upstream: Timeouts,
        client: ClientTimeouts,
        rules: Rules,
    ) -> Self {
        let mut configuration = configuration(v1, v2, more);
        configuration.rules = Arc::new(Rules { timeouts: upstream, ..rules });
        Self::serve(cores, percent, &configuration, client)
    }

    /// Serves a configuration with a service `shop` that has v1 and v2.
    pub(crate) fn serve(cores: usize, percent: u16, configuration: &Configuration, client: ClientTimeouts) -> Self {
        let rules = Rules::clone(&configuration.rules);
        let ClientTimeouts { head, idle: keepalive, body, write } = client;
        let timeouts = Timeouts { head, keepalive, body, write, ..rules.timeouts };
        let configuration = Configuration { rules: Arc::new(Rules { timeouts, ..rules }), ..configuration.clone() };
        let mut shop = Self::serve_at(cores, &[Listener::plain("127.0.0.1:0".parse().unwrap())], &configuration);
        shop.split(percent);
        shop
    }

    /// Serves v1 alone, at these listeners and under these rules.
    pub(crate) fn listening(listeners: &[Listener], rules: Rules, v1: SocketAddr) -> Self {
        let mut configuration = configuration(&[v1], &[nobody()], "");
        configuration.rules = Arc::new(rules);
        Self::serve_at(2, listeners, &configuration)
    }

    /// Serves a configuration with a service `shop` at these listeners, as it stands.
    pub(crate) fn serve_at(cores: usize, listeners: &[Listener], configuration: &Configuration) -> Self {
        let mut publisher = Publisher::new(cores);
        publisher.install(configuration, &addresses(configuration), |_| None, Instant::now());
        let limits = Limits { cores, ..Limits::default() };
        let listeners = Listeners::bind(listeners).unwrap();
        let secure = listeners.secured();
        let data = DataPlane::start(listeners, &limits, &publisher.reader()).unwrap();
        let books = Books(publisher.shared());
        Self { publisher, data, secure, _books: books }
    }

    /// Gives v2 this weight in per cent.
    pub(crate) fn split(&mut self, percent: u16) {
        self.compare(percent, None, &[]);
    }

    /// Gives v2 this weight in per cent, compares it with a baseline of the same weight, and counts these paths.
    pub(crate) fn compare(&mut self, percent: u16, baseline: Option<&str>, paths: &[&str]) {
        let (v1, v2, baseline) = (name("v1"), name("v2"), baseline.map(name));
        let weight = Weight::from_basis_points(percent * 100).unwrap();
        let paths: Vec<_> = paths.iter().map(|path| PathPrefix::new(path).unwrap()).collect();
        let wanted = Wanted {
            stable: &v1,
            canary: Some((&v2, weight)),
            baseline: baseline.as_ref().map(|baseline| (baseline, weight)),
            matched: None,
            mirror: None,
            paths: &paths,
            generation: 1,
        };
        self.publisher.steer(&name("shop"), &wanted);
    }

    /// Gives v2 no requests, and copies of all that v1 gets.
    pub(crate) fn mirror(&mut self) {
        let (v1, v2) = (name("v1"), name("v2"));
        let wanted = Wanted {
            stable: &v1,
            canary: Some((&v2, Weight::ZERO)),
            baseline: None,
            matched: None,
            mirror: Some(Weight::FULL),
            paths: &[],
            generation: 1,
        };
        self.publisher.steer(&name("shop"), &wanted);
    }

    /// What became of the copies that v2 was sent.
    pub(crate) fn ledger(&self) -> Arc<Ledger> {
        let routing = self.publisher.shared().load_full();
        Arc::clone(&routing.service(&name("shop")).unwrap().version(&name("v2")).unwrap().mirror)
    }

    /// Waits until what became of the copies is as wanted.
    pub(crate) async fn mirrored_until(&self, wanted: impl Fn(&MirrorCounts) -> bool) -> MirrorCounts {
        let (until, ledger) = (Instant::now() + LONG, self.ledger());
        loop {
            let counts = ledger.counts();
            if wanted(&counts) {
                return counts;
            }
            assert!(Instant::now() < until, "the copies never got there: {counts:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.data.addresses()[0]
    }

    /// What a version did so far.
    pub(crate) fn tally(&self, version: &str) -> Tally {
        let meter = self.meter(version);
        meter.take(&mut Window::default());
        meter.with_tally(Tally::clone)
    }

    /// Waits until a version's tally is as wanted: an attempt may be recorded a moment after its last byte is read.
    pub(crate) async fn tally_until(&self, version: &str, wanted: impl Fn(&Tally) -> bool) -> Tally {
        let until = Instant::now() + LONG;
        loop {
            let tally = self.tally(version);
            if wanted(&tally) {
                return tally;
            }
            assert!(Instant::now() < until, "{version} never got there: {tally:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The meter of a version.
    pub(crate) fn meter(&self, version: &str) -> Arc<VersionMeter> {
        let routing = self.publisher.shared().load_full();
        Arc::clone(&routing.service(&name("shop")).unwrap().version(&name(version)).unwrap().meter)
    }

    /// The meter of the slice.
    pub(crate) fn slice(&self) -> Arc<VersionMeter> {
        let routing = self.publisher.shared().load_full();
        Arc::clone(&routing.service(&name("shop")).unwrap().slice.as_ref().unwrap().meter)
    }

    /// A comparison of a version begins.
    pub(crate) fn begin_exposure(&mut self, version: &str) {
        self.publisher.begin_exposure(&name("shop"), &name(version));
    }

    pub(crate) fn responses(&self, class: Class) -> u64 {
        let routing = self.publisher.shared().load_full();
        routing.service(&name("shop")).unwrap().meter.responses()[class as usize]
    }

    /// Retries that there was no budget for.
    pub(crate) fn refused_retries(&self) -> u64 {
        let routing = self.publisher.shared().load_full();
        routing.service(&name("shop")).unwrap().meter.refused_retries()
    }

    /// What was answered in the name of no service.
    pub(crate) fn unmatched(&self) -> u64 {
        self.publisher.unmatched().responses()[Class::Local as usize]
    }

    /// Waits until so much was answered in the name of no service: it is counted as its connection ends.
    pub(crate) async fn unmatched_until(&self, wanted: u64) {
        let until = Instant::now() + LONG;
        while self.unmatched() < wanted {
            assert!(Instant::now() < until, "{} of {wanted} refusals were counted", self.unmatched());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until nothing is in flight on a version: a request is over a moment after its last byte is read.
    pub(crate) async fn idle(&self, version: &str) {
        let until = Instant::now() + LONG;
        let routing = self.publisher.shared().load_full();
        let version = routing.service(&name("shop")).unwrap().version(&name(version)).unwrap();
        while version.meter.in_flight() + version.endpoints.iter().map(|e| e.in_flight()).sum::<u64>() > 0 {
            assert!(Instant::now() < until, "a request never ended");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A service `shop` with these endpoints and further lines. Failures are passed on, so that a test sees what a version
/// does; what users are spared is the subject of `sparing.rs`.
pub(crate) fn configuration(v1: &[SocketAddr], v2: &[SocketAddr], more: &str) -> Configuration {
    let list = |addresses: &[SocketAddr]| addresses.iter().map(|a| format!("'{a}'")).collect::<Vec<_>>().join(", ");
    let text = format!(
        "services:\n  shop:\n    stable: v1\n    versions:\n      v1: {{ endpoints: [{}] }}\n      v2: {{ endpoints: [{}] }}\n{more}\n",
        list(v1),
        list(v2),
    );
    let mut configuration = config::parse(&text, "shop.yaml").unwrap().configuration;
    for service in &mut configuration.services {
        service.shield = false;
        // Nobody connects but for the requests of a test.
        service.versions.iter_mut().for_each(|version| version.warm_start = 0);
        if service.retries != Retries::off() {
            service.retries = Retries { unavailable: false, broken: false, ..Retries::default() };
        }
    }
    configuration
}

/// What its endpoints resolve to: every name is this machine.
pub(crate) fn addresses(configuration: &Configuration) -> Addresses {
    let endpoints = configuration.services.iter().flat_map(|s| &s.versions).flat_map(|v| v.endpoints.clone());
    endpoints
        .filter_map(|endpoint| match &endpoint {
            config::Endpoint::Tcp { host, port, .. } => {
                let host = host.parse().unwrap_or(IpAddr::from([127, 0, 0, 1]));
                Some((endpoint.clone(), Arc::from([SocketAddr::new(host, *port)])))
            }
            config::Endpoint::Unix(_) => None,
        })
        .collect()
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Judged attempts of a class.
pub(crate) fn judged(tally: &Tally, class: Class) -> u64 {
    tally.judged[class as usize]
}

/// Sends bytes on a connection of their own and reads until the other side closes.
pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is no concern of these tests.
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.expect("an answer in time");
    String::from_utf8_lossy(&answer).into_owned()
}

/// A GET on a connection of its own.
pub(crate) async fn get(address: SocketAddr) -> String {
    exchange(address, b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").await
}

/// The status of an answer; 0 where there is none.
pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// An HTTP/2 connection with prior knowledge.
pub(crate) async fn http2(address: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    drop(tokio::spawn(connection));
    sender
}

/// An address where nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    // Bound and closed again: the system does not give the port to anybody else soon.
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Waits until so many requests have come to an origin.
pub(crate) async fn origin_has(origin: &Origin, requests: u64) {
    let until = Instant::now() + LONG;
    while origin.arrivals().requests < requests {
        assert!(Instant::now() < until, "requests never arrived");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
