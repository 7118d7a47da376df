//! Endpoints: where a version's requests go, how many are there, and which are down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pingora_core::upstreams::peer::HttpPeer;

/// Connect failures in a row after which an endpoint is down.
const FAILURES_TO_DOWN: u32 = 3;
/// How long an endpoint is left alone when it goes down; doubled with each failed try after it.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
/// The longest that it is left alone.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

/// One endpoint of a version, with its peer built beforehand. Kept over reloads while its address stays.
#[derive(Debug)]
pub struct Endpoint {
    /// As the operator wrote it.
    pub written: config::Endpoint,
    /// What that resolved to.
    pub address: SocketAddr,
    /// Its place in its version, as outcomes name it.
    pub place: u16,
    peer: HttpPeer,
    in_flight: AtomicU64,
    health: Health,
}

/// Connect failures in a row, and until when to leave the endpoint alone.
#[derive(Debug)]
struct Health {
    began: Instant,
    failures: AtomicU32,
    /// Milliseconds after `began`; 0 while the endpoint is up.
    down_until_ms: AtomicU64,
}

/// A request that is at an endpoint; counted until this is dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Endpoint>);

impl InFlight {
    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.0
    }

    /// The endpoint, to keep.
    #[must_use]
    pub fn shared(&self) -> Arc<Endpoint> {
        Arc::clone(&self.0)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Endpoint {
    /// An endpoint that is up. `now` is when it came to be.
    #[must_use]
    pub fn new(
        written: config::Endpoint,
        address: SocketAddr,
        place: u16,
        timeouts: &UpstreamTimeouts,
        now: Instant,
    ) -> Self {
        let mut peer = HttpPeer::new(address, false, String::new());
        peer.options.connection_timeout = Some(timeouts.connect);
        peer.options.total_connection_timeout = Some(timeouts.connect);
        peer.options.read_timeout = Some(timeouts.first_byte);
        peer.options.write_timeout = Some(timeouts.first_byte);
        peer.options.idle_timeout = Some(timeouts.idle);
        let health = Health { began: now, failures: AtomicU32::new(0), down_until_ms: AtomicU64::new(0) };
        Self { written, address, place, peer, in_flight: AtomicU64::new(0), health }
    }

    /// What pingora connects to. A clone costs a few hundred instructions; building one would parse and resolve.
    #[must_use]
    pub fn peer(&self) -> Box<HttpPeer> {
        Box::new(self.peer.clone())
    }

    /// Requests that are there now.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether it is up, or its back-off is over so that it may be tried.
    #[must_use]
    pub fn may_be_tried(&self, now: Instant) -> bool {
        self.health.millis(now) >= self.health.down_until_ms.load(Ordering::Relaxed)
    }

    /// Whether its last connections did not fail.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.health.down_until_ms.load(Ordering::Relaxed) == 0
    }

    /// A connection was made, or an old one still worked.
    pub fn connected(&self) {
        if self.health.failures.load(Ordering::Relaxed) != 0 {
            self.health.failures.store(0, Ordering::Relaxed);
            self.health.down_until_ms.store(0, Ordering::Relaxed);
        }
    }

    /// No connection could be made.
    pub fn failed_to_connect(&self, now: Instant) {
        let failures = self.health.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if let Some(tries_when_down) = failures.checked_sub(FAILURES_TO_DOWN) {
            let back_off = FIRST_BACK_OFF.saturating_mul(1 << tries_when_down.min(8)).min(LONGEST_BACK_OFF);
            self.health.leave_alone(now, back_off);
        }
    }
}

impl Health {
    fn millis(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_millis() as u64
    }

    fn leave_alone(&self, now: Instant, back_off: Duration) {
        // At least 1: 0 means up.
        self.down_until_ms.store((self.millis(now) + back_off.as_millis() as u64).max(1), Ordering::Relaxed);
    }
}

/// How long to wait for endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// For a connection; 2 s.
    pub connect: Duration,
    /// For the response head, and for each further byte; 15 s.
    pub first_byte: Duration,
    /// How long an unused connection is kept; below the usual 60 s or 75 s of origins, so that we close first.
    pub idle: Duration,
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), first_byte: Duration::from_secs(15), idle: Duration::from_secs(50) }
    }
}

/// The endpoint for the next request: of two live ones at random, the one with fewer requests in flight ("power of
/// two choices", Mitzenmacher 2001). `None` where none may be tried. An endpoint whose back-off is over is claimed by
/// the one request that tries it: the others go on avoiding it until that try has succeeded.
#[must_use]
pub fn pick(endpoints: &[Arc<Endpoint>], avoid: Option<&Endpoint>, now: Instant) -> Option<InFlight> {
    let avoided = |endpoint: &Endpoint| avoid.is_some_and(|other| std::ptr::eq(other, endpoint));
    let live = |endpoint: &Arc<Endpoint>| endpoint.may_be_tried(now) && !avoided(endpoint);
    let chosen = if let [only] = endpoints {
        live(only).then_some(only)?
    } else {
        let count = endpoints.iter().filter(|endpoint| live(endpoint)).count();
        let nth = |n: usize| endpoints.iter().filter(|endpoint| live(endpoint)).nth(n);
        match count {
            0 => return None,
            1 => nth(0)?,
            _ => {
                let first = fastrand::usize(0..count);
                let second = (first + 1 + fastrand::usize(0..count - 1)) % count;
                let (first, second) = (nth(first)?, nth(second)?);
                if second.in_flight() < first.in_flight() { second } else { first }
            }
        }
    };
    if !chosen.is_up() {
        chosen.health.leave_alone(now, FIRST_BACK_OFF);
    }
    Some(enter(chosen))
}

/// Any endpoint, for a version that must be tried although all of its endpoints are down: the one that is due first.
#[must_use]
pub fn pick_any(endpoints: &[Arc<Endpoint>]) -> Option<InFlight> {
    endpoints.iter().min_by_key(|endpoint| endpoint.health.down_until_ms.load(Ordering::Relaxed)).map(enter)
}

fn enter(endpoint: &Arc<Endpoint>) -> InFlight {
    endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
    InFlight(Arc::clone(endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(count: u16) -> (Vec<Arc<Endpoint>>, Instant) {
        let now = Instant::now();
        let endpoint = |place| {
            let written = config::Endpoint { host: "127.0.0.1".into(), port: 1 + place };
            Arc::new(Endpoint::new(
                written,
                ([127, 0, 0, 1], 1 + place).into(),
                place,
                &UpstreamTimeouts::default(),
                now,
            ))
        };
        ((0..count).map(endpoint).collect(), now)
    }

    fn take_down(endpoint: &Endpoint, now: Instant) {
        (0..FAILURES_TO_DOWN).for_each(|_| endpoint.failed_to_connect(now));
    }

    #[test]
    fn of_two_endpoints_the_less_busy_one_is_picked() {
        let (endpoints, now) = endpoints(2);
        let busy = enter(&endpoints[0]);
        for _ in 0..20 {
            assert_eq!(pick(&endpoints, None, now).unwrap().endpoint().place, 1);
        }
        drop(busy);
        assert_eq!(endpoints[0].in_flight(), 0);
        assert_eq!(endpoints[1].in_flight(), 0);
    }

    #[test]
    fn every_live_endpoint_gets_its_turn() {
        let (endpoints, now) = endpoints(5);
        let mut seen = [false; 5];
        (0..1_000).for_each(|_| seen[usize::from(pick(&endpoints, None, now).unwrap().endpoint().place)] = true);
        assert_eq!(seen, [true; 5]);
    }

    #[test]
    fn an_endpoint_is_down_after_three_connect_failures_in_a_row() {
        let (endpoints, now) = endpoints(1);
        endpoints[0].failed_to_connect(now);
        endpoints[0].failed_to_connect(now);
        endpoints[0].connected();
        endpoints[0].failed_to_connect(now);
        endpoints[0].failed_to_connect(now);
        assert!(pick(&endpoints, None, now).is_some());
        endpoints[0].failed_to_connect(now);
        assert!(!endpoints[0].is_up());
        assert!(pick(&endpoints, None, now).is_none());
    }

    #[test]
    fn after_the_back_off_one_request_tries_and_the_others_wait_for_it() {
        let (endpoints, now) = endpoints(1);
        take_down(&endpoints[0], now);
        let later = now + FIRST_BACK_OFF;
        assert!(pick(&endpoints, None, later).is_some());
        assert!(pick(&endpoints, None, later).is_none());
        endpoints[0].connected();
        assert!(pick(&endpoints, None, later).is_some());
    }

    #[test]
    fn the_back_off_doubles_up_to_its_longest() {
        let (endpoints, now) = endpoints(1);
        take_down(&endpoints[0], now);
        endpoints[0].failed_to_connect(now);
        assert!(!endpoints[0].may_be_tried(now + Duration::from_millis(1_999)));
        assert!(endpoints[0].may_be_tried(now + Duration::from_secs(2)));
        (0..100).for_each(|_| endpoints[0].failed_to_connect(now));
        assert!(!endpoints[0].may_be_tried(now + Duration::from_millis(29_999)));
        assert!(endpoints[0].may_be_tried(now + LONGEST_BACK_OFF));
    }

    #[test]
    fn a_version_whose_endpoints_are_all_down_can_still_be_tried_on_purpose() {
        let (endpoints, now) = endpoints(2);
        take_down(&endpoints[0], now + Duration::from_secs(5));
        take_down(&endpoints[1], now);
        assert!(pick(&endpoints, None, now).is_none());
        assert_eq!(pick_any(&endpoints).unwrap().endpoint().place, 1);
    }

    #[test]
    fn an_avoided_endpoint_is_not_picked() {
        let (endpoints, now) = endpoints(2);
        assert!((0..50).all(|_| pick(&endpoints, Some(&endpoints[0]), now).unwrap().endpoint().place == 1));
    }
}
