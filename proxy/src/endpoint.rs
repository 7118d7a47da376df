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
    /// While it is up.
    failures: AtomicU32,
    /// How often it was tried in vain since it went down.
    vain_tries: AtomicU32,
    /// Milliseconds after `began`; 0 while the endpoint is up.
    down_until_ms: AtomicU64,
    /// How long one request's try may take, while the others wait for what comes of it.
    claim: Duration,
}

/// A request that is at an endpoint; counted until this is dropped.
#[derive(Debug)]
pub struct InFlight {
    at: Arc<Endpoint>,
    /// The one request that tries an endpoint after its back-off.
    tries: bool,
}

impl InFlight {
    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.at
    }

    /// The endpoint, to keep.
    #[must_use]
    pub fn shared(&self) -> Arc<Endpoint> {
        Arc::clone(&self.at)
    }

    /// No connection could be made. A third failure in a row takes the endpoint down; the back-off doubles only when a
    /// try after it was in vain, so that many requests that fail in one moment count as one.
    pub fn failed_to_connect(&self, now: Instant) {
        self.at.health.failed(now, self.tries);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.at.in_flight.fetch_sub(1, Ordering::Relaxed);
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
        let health = Health {
            began: now,
            failures: AtomicU32::new(0),
            vain_tries: AtomicU32::new(0),
            down_until_ms: AtomicU64::new(0),
            claim: timeouts.connect + FIRST_BACK_OFF / 2,
        };
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
        let health = &self.health;
        // Read before they are written: in the common case nothing is, and no cache line moves between cores. Both are
        // looked at, since another core may have claimed a try in between.
        if health.failures.load(Ordering::Relaxed) != 0 || health.down_until_ms.load(Ordering::Relaxed) != 0 {
            health.failures.store(0, Ordering::Relaxed);
            health.vain_tries.store(0, Ordering::Relaxed);
            health.down_until_ms.store(0, Ordering::Relaxed);
        }
    }
}

impl Health {
    fn millis(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_millis() as u64
    }

    fn failed(&self, now: Instant, tried: bool) {
        let is_up = self.down_until_ms.load(Ordering::Relaxed) == 0;
        if is_up {
            if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_TO_DOWN {
                self.leave_alone(now, FIRST_BACK_OFF);
            }
        } else if tried {
            let doublings = self.vain_tries.fetch_add(1, Ordering::Relaxed).saturating_add(1).min(8);
            self.leave_alone(now, FIRST_BACK_OFF.saturating_mul(1 << doublings).min(LONGEST_BACK_OFF));
        }
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
    let live = endpoints.iter().filter(|endpoint| endpoint.may_be_tried(now) && !avoided(endpoint));
    let chosen = two_of(live)
        .into_iter()
        .flatten()
        .reduce(|one, other| if other.in_flight() < one.in_flight() { other } else { one })?;
    let tries = !chosen.is_up();
    if tries {
        chosen.health.leave_alone(now, chosen.health.claim);
    }
    Some(enter(chosen, tries))
}

/// Two of them at random, in random order; fewer where there are fewer. One pass, so that an endpoint which goes down
/// meanwhile changes nothing (reservoir sampling, Vitter's algorithm R).
fn two_of<T>(all: impl Iterator<Item = T>) -> [Option<T>; 2] {
    let mut two = [None, None];
    for (seen, one) in all.enumerate() {
        match seen {
            0 => two[0] = Some(one),
            1 if fastrand::bool() => two[1] = Some(one),
            1 => two[1] = two[0].replace(one),
            _ => {
                let place = fastrand::usize(0..=seen);
                if place < 2 {
                    two[place] = Some(one);
                }
            }
        }
    }
    two
}

/// Any endpoint, for a version that must be tried although all of its endpoints are down: the one that is due first.
#[must_use]
pub fn pick_any(endpoints: &[Arc<Endpoint>]) -> Option<InFlight> {
    endpoints
        .iter()
        .min_by_key(|endpoint| endpoint.health.down_until_ms.load(Ordering::Relaxed))
        .map(|e| enter(e, false))
}

fn enter(endpoint: &Arc<Endpoint>, tries: bool) -> InFlight {
    endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
    InFlight { at: Arc::clone(endpoint), tries }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(count: u16) -> (Vec<Arc<Endpoint>>, Instant) {
        let now = Instant::now();
        let endpoint = |place| {
            let written = config::Endpoint::Tcp { host: "127.0.0.1".into(), port: 1 + place, tls: false };
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

    /// One request that cannot connect.
    fn fail(endpoint: &Arc<Endpoint>, now: Instant) {
        enter(endpoint, false).failed_to_connect(now);
    }

    fn take_down(endpoint: &Arc<Endpoint>, now: Instant) {
        (0..FAILURES_TO_DOWN).for_each(|_| fail(endpoint, now));
    }

    #[test]
    fn of_two_endpoints_the_less_busy_one_is_picked() {
        let (endpoints, now) = endpoints(2);
        let busy = enter(&endpoints[0], false);
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
        fail(&endpoints[0], now);
        fail(&endpoints[0], now);
        endpoints[0].connected();
        fail(&endpoints[0], now);
        fail(&endpoints[0], now);
        assert!(pick(&endpoints, None, now).is_some());
        fail(&endpoints[0], now);
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
    fn the_back_off_doubles_with_each_try_in_vain_up_to_its_longest() {
        let (endpoints, mut now) = endpoints(1);
        take_down(&endpoints[0], now);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            assert!(pick(&endpoints, None, now + Duration::from_millis(seconds * 1_000 - 1)).is_none(), "{seconds} s");
            now += Duration::from_secs(seconds);
            pick(&endpoints, None, now).unwrap().failed_to_connect(now);
        }
        pick(&endpoints, None, now + LONGEST_BACK_OFF).unwrap().endpoint().connected();
        take_down(&endpoints[0], now);
        assert!(pick(&endpoints, None, now + FIRST_BACK_OFF).is_some(), "it begins anew");
    }

    #[test]
    fn many_requests_that_fail_in_one_moment_count_as_one() {
        let (endpoints, now) = endpoints(1);
        let burst: Vec<_> = (0..60).map(|_| pick(&endpoints, None, now).unwrap()).collect();
        burst.iter().for_each(|request| request.failed_to_connect(now));
        assert!(pick(&endpoints, None, now + FIRST_BACK_OFF).is_some());
    }

    #[test]
    fn a_try_that_was_claimed_while_another_connection_was_made_keeps_nobody_out() {
        let (endpoints, now) = endpoints(1);
        endpoints[0].connected();
        // As when another core has seen it down a moment ago.
        endpoints[0].health.leave_alone(now, FIRST_BACK_OFF);
        endpoints[0].connected();
        assert!(endpoints[0].is_up());
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
