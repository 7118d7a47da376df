//! Which endpoint a request goes to.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{Endpoint, InFlight};

/// The endpoint for the next request: of two at random, the one with fewer requests in flight ("power of two choices",
/// Mitzenmacher 2001), of those that are up and well. `None` where none may be tried.
///
/// - An endpoint whose back-off is over is claimed by the one request that tries it: the others go on avoiding it until
///   that try has succeeded.
/// - One that came back takes part in a part of the choices alone, at first (slow start).
/// - Where fewer than half are well, all that may be connected to are used ([`is_panicking`]).
#[must_use]
pub fn pick(endpoints: &[Arc<Endpoint>], avoid: Option<&Endpoint>, now: Instant) -> Option<InFlight> {
    let avoided = |endpoint: &Endpoint| avoid.is_some_and(|other| other.is_same_place(endpoint));
    let panics = is_panicking(endpoints, now);
    let live = || {
        let may = move |e: &&Arc<Endpoint>| e.may_be_tried(now) && (panics || e.is_fit(now)) && !avoided(e);
        endpoints.iter().filter(may)
    };
    let chosen = least_busy(live().filter(|e| e.takes_part(now))).or_else(|| least_busy(live()))?;
    let tries = !chosen.is_up();
    if tries {
        chosen.known.health.leave_alone(now, chosen.claim());
    }
    Some(enter(chosen, tries, now))
}

/// Whether fewer than half of these endpoints are up and well: then health checks and ejections are ignored, since what
/// is wrong with so many is more likely wrong with the checks, or with all, and a few would not bear all of the traffic
/// (Envoy's panic threshold). Endpoints that cannot be connected to are left alone all the same.
#[must_use]
pub fn is_panicking(endpoints: &[Arc<Endpoint>], now: Instant) -> bool {
    endpoints.iter().filter(|endpoint| endpoint.is_up() && endpoint.is_fit(now)).count() * 2 < endpoints.len()
}

fn least_busy<'a>(endpoints: impl Iterator<Item = &'a Arc<Endpoint>>) -> Option<&'a Arc<Endpoint>> {
    two_of(endpoints).into_iter().flatten().reduce(
        |one, other| {
            if other.in_flight() < one.in_flight() { other } else { one }
        },
    )
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

/// Any endpoint, for a version that must be tried although there is none to pick: a well one before others, and then
/// the one that is due first.
#[must_use]
pub fn pick_any(endpoints: &[Arc<Endpoint>], now: Instant) -> Option<InFlight> {
    let first = endpoints.iter().min_by_key(|endpoint| (!endpoint.is_fit(now), endpoint.known.health.due()));
    first.map(|endpoint| enter(endpoint, false, now))
}

pub(super) fn enter(endpoint: &Arc<Endpoint>, tries: bool, now: Instant) -> InFlight {
    endpoint.known.in_flight.fetch_add(1, Ordering::Relaxed);
    InFlight { at: Arc::clone(endpoint), tries, began: now }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::endpoint::health::{FAILURES_TO_DOWN, FIRST_BACK_OFF, LONGEST_BACK_OFF};
    use crate::endpoint::{Address, Care, Contact};

    fn endpoints(count: u16) -> (Vec<Arc<Endpoint>>, Instant) {
        let now = Instant::now();
        let care = Arc::new(Care::usual(usize::from(count)));
        let endpoint = |place| {
            let written = config::Endpoint::Tcp { host: "127.0.0.1".into(), port: 1 + place, tls: false };
            let address = Address::Tcp(([127, 0, 0, 1], 1 + place).into());
            Arc::new(Endpoint::new(written, address, place, &Contact::plain(), &care, now))
        };
        ((0..count).map(endpoint).collect(), now)
    }

    /// One request that cannot connect.
    fn fail(endpoint: &Arc<Endpoint>, now: Instant) {
        enter(endpoint, false, now).failed_to_connect(now);
    }

    fn take_down(endpoint: &Arc<Endpoint>, now: Instant) {
        (0..FAILURES_TO_DOWN).for_each(|_| fail(endpoint, now));
    }

    #[test]
    fn of_two_endpoints_the_less_busy_one_is_picked() {
        let (endpoints, now) = endpoints(2);
        let busy = enter(&endpoints[0], false, now);
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
        endpoints[0].connected(now);
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
        endpoints[0].connected(now);
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
        pick(&endpoints, None, now + LONGEST_BACK_OFF).unwrap().endpoint().connected(now);
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
        endpoints[0].connected(now);
        // As when another core has seen it down a moment ago.
        endpoints[0].known.health.leave_alone(now, FIRST_BACK_OFF);
        endpoints[0].connected(now);
        assert!(endpoints[0].is_up());
    }

    #[test]
    fn a_version_whose_endpoints_are_all_down_can_still_be_tried_on_purpose() {
        let (endpoints, now) = endpoints(2);
        take_down(&endpoints[0], now + Duration::from_secs(5));
        take_down(&endpoints[1], now);
        assert!(pick(&endpoints, None, now).is_none());
        assert_eq!(pick_any(&endpoints, now).unwrap().endpoint().place, 1);
    }

    #[test]
    fn an_avoided_endpoint_is_not_picked() {
        let (endpoints, now) = endpoints(2);
        assert!((0..50).all(|_| pick(&endpoints, Some(&endpoints[0]), now).unwrap().endpoint().place == 1));
    }
}
