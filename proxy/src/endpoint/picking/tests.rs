mod choosing;

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
fn nobody_tries_an_endpoint_that_is_down_while_another_is_up() {
    let (endpoints, now) = endpoints(30);
    endpoints[1..].iter().for_each(|endpoint| take_down(endpoint, now));
    let later = now + LONGEST_BACK_OFF;
    for avoid in [None, Some(&*endpoints[1])] {
        assert!((0..50).all(|_| pick(&endpoints, avoid, later).unwrap().endpoint().place == 0));
    }
    // It has just failed, and there is nobody else.
    assert_ne!(pick(&endpoints, Some(&endpoints[0]), later).unwrap().endpoint().place, 0);
}

#[test]
fn a_request_that_was_in_vain_goes_where_connections_are_made_and_then_where_none_failed() {
    let (endpoints, now) = endpoints(30);
    let (in_vain, known) = (&*endpoints[0], &endpoints[7]);
    known.connected(now);
    let again = || usize::from(pick(&endpoints, Some(in_vain), now).unwrap().endpoint().place);
    assert!((0..50).all(|_| again() == 7));
    let first = (0..200).filter(|_| pick(&endpoints, None, now).unwrap().endpoint().place != 7).count();
    assert!(first > 150, "a first attempt goes anywhere: {first} of 200");
    fail(known, now);
    endpoints[3..29].iter().for_each(|endpoint| fail(endpoint, now));
    assert!((0..50).all(|_| [1, 2, 29].contains(&again())));
    // Over TLS 1.3 the connection of one that wants a certificate is made, and then ended.
    endpoints[29].connected(now);
    enter(&endpoints[29], false, now).was_refused(now);
    assert!((0..50).all(|_| [1, 2].contains(&again())));
    [1, 2].iter().for_each(|place| take_down(&endpoints[*place], now));
    assert!((0..50).all(|_| (3..30).contains(&again())), "up, though connections failed");
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
    let any = |avoid| {
        let ask = Ask { key: None, avoid, repeats: avoid.is_some(), now };
        Balancer::usual(now).pick_any(&endpoints, &ask).unwrap().endpoint().place
    };
    assert_eq!(any(None), 1);
    assert_eq!(any(Some(&*endpoints[1])), 0, "it has just failed");
}

#[test]
fn an_avoided_endpoint_is_not_picked() {
    let (endpoints, now) = endpoints(2);
    assert!((0..50).all(|_| pick(&endpoints, Some(&endpoints[0]), now).unwrap().endpoint().place == 1));
}
