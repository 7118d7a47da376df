use meter::{Class, GROUPS, Window};

use super::*;

/// So many requests in each of these groups, so many of them failed; the groups are endpoints and clients alike.
fn window(groups: &[(u64, u64)]) -> Window {
    let mut window = Window::default();
    for (place, (requests, bad)) in groups.iter().enumerate() {
        let counts =
            GroupCounts { requests: *requests, bad: *bad, timed: *requests, over: [requests / 2, requests / 10] };
        window.endpoints[place] = counts;
        window.groups[place] = counts;
        window.judged[Class::Success as usize] += requests - bad;
        window.judged[Class::ServerError as usize] += bad;
        (0..*requests).for_each(|nth| window.latency_good.record_us(10_000 + 100 * (nth % 100)));
    }
    window
}

const EVEN: Size = Size { load: 1.0, grouped: 1.0 };

/// Eight groups; every twentieth second all requests of one of them fail.
fn bursty(seconds: i64) -> Background {
    let mut background = Background::default();
    for second in 0..seconds {
        let mut groups = [(50, 0); 8];
        groups[(second % 8) as usize].1 = 1;
        if second % 20 == 0 {
            groups[(second / 20 % 8) as usize].1 = 50;
        }
        background.observe(second, &window(&groups));
    }
    background
}

#[test]
fn before_there_was_traffic_nothing_is_known() {
    let background = Background::default();
    assert_eq!(background.watched_us(), None);
    assert!(!background.is_measured());
    let temper = background.bursts().temper(EVEN);
    assert_eq!(temper, Temper { errors: 1.0, latency: 1.0, ratio: 1.0 });
}

#[test]
fn a_second_with_any_number_of_ticks_is_one_block_and_so_is_any_gap_and_a_clock_that_wavers_ends_none() {
    let (mut whole, mut parts) = (Background::default(), Background::default());
    for second in [0, 1, 2, 500, 499, 501] {
        whole.observe(second, &window(&[(40, 4), (60, 2)]));
        (0..2).for_each(|_| parts.observe(second, &window(&[(20, 2), (30, 1)])));
    }
    assert_eq!(whole.endpoints, parts.endpoints);
    assert_eq!(whole.seconds, 4, "499 comes within 500");
}

#[test]
fn bursts_of_one_group_are_dispersion_and_an_incident_of_all_is_not() {
    let bursty = bursty(300);
    assert!(bursty.is_measured());
    assert!(bursty.bursts().phi()[0] > 5.0, "{:?}", bursty.bursts());

    let mut shared = Background::default();
    for second in 0..300 {
        let failing = if second % 20 < 3 { 25 } else { 1 };
        shared.observe(second, &window(&[(50, failing); 8]));
    }
    assert!(shared.is_measured());
    assert!((shared.bursts().phi()[0] - 1.0).abs() < 1e-12, "{:?}", shared.bursts());
}

#[test]
fn a_canary_on_bigger_instances_has_bigger_bursts() {
    let bursts = bursty(300).bursts();
    let [phi, _] = bursts.phi();
    assert!((bursts.temper(EVEN).errors - phi).abs() < 1e-9);
    let mut bursts_of_endpoints = bursts;
    bursts_of_endpoints.keys.errors = 1.0;
    let bigger = bursts_of_endpoints.temper(Size { load: 4.0, ..EVEN });
    assert!((bigger.errors - (1.0 + 4.0 * (phi - 1.0))).abs() < 1e-9, "{bigger:?}");
    let mut bursts_of_clients = bursts;
    bursts_of_clients.endpoints.errors = 1.0;
    let temper = bursts_of_clients.temper(Size { load: 4.0, ..EVEN });
    assert!((temper.errors - phi).abs() < 1e-9, "what hits a client does not depend on instances: {temper:?}");
}

#[test]
fn instances_that_differ_for_good_widen_what_is_tolerated() {
    let mut background = Background::default();
    for second in 0..400 {
        let mut groups = [(100, 1); 8];
        groups[3].1 = 2;
        background.observe(second, &window(&groups));
    }
    let bursts = background.bursts();
    assert!(bursts.temper(EVEN).ratio > 1.5, "{bursts:?}");
    let mut keys_differ = bursts;
    keys_differ.spread[0] = 0.0;
    assert!(keys_differ.temper(EVEN).ratio > 1.5, "keys stay on the version they drew");
}

#[test]
fn clients_without_a_key_blind_no_test_however_bursty_they_are() {
    let mut background = Background::default();
    for second in 0..400 {
        let mut window = window(&[(100, 1); 8]);
        // One client without a key that always fails: no group has it.
        window.judged[Class::ServerError as usize] += 50;
        window.groups = Default::default();
        window.clients = meter::Clients { seen: u16::MAX, bad: u16::MAX };
        background.observe(second, &window);
    }
    assert_eq!(background.bursts().temper(EVEN), Temper { errors: 1.0, latency: 1.0, ratio: 1.0 });
}

#[test]
fn dispersion_is_measured_by_two_endpoints_and_by_nothing_else() {
    let learnt = |endpoints: usize, clients: usize| {
        let mut background = Background::default();
        for second in 0..300 {
            let mut window = window(&[(100, 2); 8]);
            window.endpoints[endpoints..].fill(GroupCounts::default());
            window.groups[clients..].fill(GroupCounts::default());
            background.observe(second, &window);
        }
        background.dispersion().is_some()
    };
    assert_eq!([learnt(0, 8), learnt(1, 8), learnt(2, 8), learnt(2, 0)], [false, false, true, true]);
}

#[test]
fn the_watched_latencies_are_the_median_and_the_p95_of_late() {
    let mut background = Background::default();
    background.observe(0, &window(&[(100, 0)]));
    background.observe(1, &window(&[(100, 0)]));
    assert_eq!(background.watched_us(), None, "100 are too few");
    background.observe(2, &window(&[]));
    let [median, high] = background.watched_us().unwrap();
    assert!((14_000..16_000).contains(&median) && (19_000..21_000).contains(&high), "{median} {high}");
    // What is longer than what is watched begins with a bucket.
    assert_eq!(latency_bound_us(meter::latency_bucket_of(median + 1)), median + 1);
}

#[test]
fn little_traffic_is_not_forgotten_before_there_is_enough() {
    let mut background = Background::default();
    (0..400).for_each(|second| background.observe(second, &window(&[(1, 0)])));
    assert!(background.watched_us().is_some());
    assert!(background.latencies().total() >= 399.0);
    (400..2_000).for_each(|second| background.observe(second, &window(&[(200, 0)])));
    assert!(background.latencies().total() < 60.0 / 0.69 * 200.0 * 1.1, "{}", background.latencies().total());
}

#[test]
fn it_is_kept_to_the_last_bit_also_within_a_second() {
    let mut background = bursty(90);
    let mut twin = background.clone();
    for second in 90..150 {
        for part in 0..3 {
            let counts = window(&[(30 + part, part), (20, 1), (7, 0)]);
            background.observe(second, &counts);
            twin.observe(second, &counts);
            twin = serde_json::from_str(&serde_json::to_string(&twin).unwrap()).unwrap();
            assert_eq!(twin, background);
            assert_eq!(twin.bursts(), background.bursts());
        }
    }
}

#[test]
fn a_state_of_other_groups_is_refused() {
    let mut saved = serde_json::to_value(bursty(3)).unwrap();
    saved["keys"]["present"] = serde_json::json!([[1, 2, 3, 4, 5]]);
    let refused = serde_json::from_value::<Background>(saved).unwrap_err().to_string();
    assert_eq!(refused, "the state of stable traffic has other groups than this Tidegate");
}

#[test]
fn more_events_than_requests_make_no_figure_that_is_no_number() {
    let mut background = Background::default();
    let mut odd = Window::default();
    odd.groups[0] = GroupCounts { requests: 1, bad: u64::MAX, timed: 0, over: [u64::MAX, 7] };
    odd.endpoints[GROUPS - 1] = GroupCounts { requests: u64::MAX, bad: 3, timed: 1, over: [2, 2] };
    for second in 0..200 {
        background.observe(second, &odd);
        let Temper { errors, latency, ratio } = background.bursts().temper(Size { load: f64::MAX, grouped: f64::MAX });
        assert!([errors, latency, ratio].iter().all(|figure| figure.is_finite() && *figure >= 1.0));
    }
}
