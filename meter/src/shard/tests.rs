use super::*;
use crate::latency::LatencyCounts;
use crate::outcome::{Attempt, Class};
use crate::tally::{Clients, Drawn, GroupCounts};
use proptest::prelude::*;

fn outcome(class: Class) -> Outcome {
    Outcome {
        attempt: Attempt::First,
        class,
        judged: true,
        endpoint: Some(0),
        group: 0,
        keyed: true,
        paths: 0,
        total_us: None,
        latency_us: Some(1_000),
    }
}

fn taken(meter: &VersionMeter) -> Window {
    let mut window = Window::default();
    meter.take(&mut window);
    window
}

#[test]
fn a_window_holds_what_came_since_the_last_one_and_the_tally_holds_all() {
    let meter = VersionMeter::new(2);
    meter.record(0, &outcome(Class::Success));
    assert_eq!(taken(&meter).requests(), 1);
    meter.record(1, &outcome(Class::ServerError));
    let second = taken(&meter);
    assert_eq!((second.requests(), second.bad()), (1, 1));
    assert_eq!(taken(&meter).requests(), 0);
    assert_eq!(meter.with_tally(|tally| (tally.requests(), tally.bad())), (2, 1));
}

#[test]
fn keyed_requests_say_how_bursty_clients_are_and_which_there_were() {
    let meter = VersionMeter::new(1);
    meter.record(0, &Outcome { group: 3, ..outcome(Class::ServerError) });
    meter.record(0, &Outcome { group: 5, ..outcome(Class::Success) });
    let window = taken(&meter);
    let keyed = window.groups.map(|group| group.requests);
    assert_eq!((keyed.iter().sum::<u64>(), keyed[3], keyed[5]), (2, 1, 1));
    assert_eq!(window.clients, Clients { seen: 1 << 3 | 1 << 5, bad: 1 << 3 });
    assert_eq!(taken(&meter).clients, Clients::default());
}

#[test]
fn each_request_without_a_key_is_a_client_of_its_own() {
    let meter = VersionMeter::new(1);
    for _ in 0..2 {
        meter.record(0, &Outcome { group: 3, keyed: false, ..outcome(Class::ServerError) });
        let all = meter.exposure();
        meter.record_under(0, all, &Outcome { group: 3, keyed: false, ..outcome(Class::ServerError) });
    }
    let window = taken(&meter);
    assert_eq!((window.clients.seen.count_ones(), window.clients.bad.count_ones()), (4, 4));
    assert_eq!(window.groups.map(|group| group.requests).iter().sum::<u64>(), 0);
}

#[test]
fn a_retry_a_shield_and_an_unjudged_attempt_are_counted_and_not_judged() {
    let meter = VersionMeter::new(1);
    meter.record(0, &Outcome { attempt: Attempt::Retry, ..outcome(Class::ServerError) });
    meter.record(0, &Outcome { attempt: Attempt::Shield, ..outcome(Class::Success) });
    meter.record(0, &Outcome { judged: false, ..outcome(Class::ServerError) });
    let window = taken(&meter);
    assert_eq!(window.requests(), 0);
    assert!(window.latency_good.is_empty() && window.latency_bad.is_empty());
    assert_eq!(window.attempts.iter().flatten().sum::<u64>(), 3);
}

#[test]
fn an_abort_is_a_latency_and_no_failure() {
    let meter = VersionMeter::new(1);
    meter.record(0, &Outcome { latency_us: Some(500_000), ..outcome(Class::ClientAbort) });
    let window = taken(&meter);
    assert_eq!(window.bad(), 0);
    assert_eq!(window.over_or_failed(300_000), 1);
}

#[test]
fn a_failure_counts_once_whether_it_was_fast_or_slow() {
    let meter = VersionMeter::new(1);
    meter.record(0, &Outcome { latency_us: Some(10), ..outcome(Class::ServerError) });
    meter.record(0, &Outcome { latency_us: Some(900_000), ..outcome(Class::Timeout) });
    meter.record(0, &Outcome { latency_us: None, endpoint: None, ..outcome(Class::ConnectError) });
    assert_eq!(taken(&meter).over_or_failed(300_000), 3);
}

#[test]
fn in_flight_is_what_began_and_did_not_end() {
    let meter = VersionMeter::new(2);
    meter.begin(0, true);
    meter.begin(1, false);
    meter.end(1, Some(10), true);
    assert_eq!(meter.in_flight(), 1);
}

#[test]
fn a_window_says_what_was_drawn_and_what_became_of_it() {
    let meter = VersionMeter::new(2);
    meter.begin(0, true);
    meter.begin(1, false);
    meter.begin(1, true);
    meter.end(1, Some(10), true);
    assert_eq!(taken(&meter).drawn, Drawn { all: 3, at_random: 2, ended: 1, lost: 0 });
    meter.end(0, None, false);
    assert_eq!(taken(&meter).drawn, Drawn { all: 0, at_random: 0, ended: 1, lost: 1 });
    assert_eq!(meter.with_tally(|tally| tally.drawn), Drawn { all: 3, at_random: 2, ended: 2, lost: 1 });
    assert_eq!(meter.in_flight(), 1);
}

#[test]
fn a_window_says_how_many_requests_another_version_answered() {
    let meter = VersionMeter::new(2);
    (0..3).for_each(|core| meter.saved(core));
    assert_eq!((taken(&meter).saved, taken(&meter).saved), (3, 0));
    assert_eq!(meter.with_tally(|tally| tally.saved), 3);
}

#[test]
fn the_total_latency_is_counted_beside_the_one_of_the_head() {
    let meter = VersionMeter::new(1);
    meter.record(0, &Outcome { total_us: Some(50_000), ..outcome(Class::Success) });
    meter.record(0, &Outcome { total_us: Some(70_000), ..outcome(Class::Reset) });
    meter.record(0, &Outcome { total_us: Some(90_000), attempt: Attempt::Retry, ..outcome(Class::Success) });
    let window = taken(&meter);
    let counts = [&window.total_good, &window.total_bad, &window.latency_good, &window.latency_bad];
    assert_eq!(counts.map(LatencyCounts::total), [1; 4]);
    assert_eq!((window.total_good.above_us(40_000), window.total_good.above_us(60_000)), (1, 0));
    assert_eq!((window.total_bad.above_us(60_000), window.total_bad.above_us(80_000)), (1, 0));
    assert_eq!(window.latency_good.above_us(2_000), 0);
}

#[test]
fn groups_and_endpoints_count_latencies_longer_than_those_watched() {
    let meter = VersionMeter::new(1);
    meter.record(0, &outcome(Class::Success));
    meter.watch([1_000, 5_000]);
    for us in [900, 1_000, 1_001, 5_000, 5_001] {
        meter.record(0, &Outcome { latency_us: Some(us), group: 3, endpoint: Some(1), ..outcome(Class::Success) });
    }
    // It waited for nothing that counts as a latency: an upgrade, and a failure at once. A timeout waited.
    meter.record(0, &Outcome { latency_us: None, group: 3, endpoint: None, ..outcome(Class::Upgrade) });
    meter.record(0, &Outcome { latency_us: Some(10), group: 3, endpoint: None, ..outcome(Class::ServerError) });
    meter.record(0, &Outcome { latency_us: Some(9_000), group: 3, endpoint: Some(1), ..outcome(Class::Timeout) });
    let window = taken(&meter);
    assert_eq!(window.groups[0], GroupCounts { requests: 1, bad: 0, timed: 1, over: [0, 0] }, "not watched yet");
    assert_eq!(window.groups[3], GroupCounts { requests: 8, bad: 2, timed: 6, over: [4, 2] });
    assert_eq!(window.endpoints[1], GroupCounts { requests: 6, bad: 1, timed: 6, over: [4, 2] });
}

#[test]
fn an_attempt_is_counted_on_each_of_its_paths() {
    let meter = VersionMeter::new(1);
    meter.record(0, &Outcome { paths: 0b101, total_us: Some(7_000), ..outcome(Class::Success) });
    meter.record(0, &Outcome { paths: 0b100, ..outcome(Class::ServerError) });
    meter.record(0, &Outcome { paths: 0b100, attempt: Attempt::Retry, ..outcome(Class::ServerError) });
    meter.record(0, &Outcome { paths: 0b100, judged: false, ..outcome(Class::ServerError) });
    meter.record(0, &outcome(Class::ServerError));
    let window = taken(&meter);
    let counts: Vec<_> = window.paths.iter().map(|path| (path.requests(), path.bad())).collect();
    assert_eq!(counts, [(1, 0), (0, 0), (2, 1)]);
    assert_eq!((window.paths[2].latency_good.total(), window.paths[2].latency_bad.total()), (1, 1));
    assert_eq!((window.paths[2].total_good.total(), window.paths[2].total_bad.total()), (1, 0));
    assert_eq!((window.requests(), window.bad()), (3, 2));
    assert!(taken(&meter).paths.iter().all(|path| path.requests() == 0));
}

#[test]
fn what_was_drawn_before_a_comparison_began_is_counted_and_not_judged() {
    let meter = VersionMeter::new(1);
    let before = meter.exposure();
    let after = meter.begin_exposure();
    assert_eq!(meter.exposure(), after);
    meter.record_under(0, before, &Outcome { paths: 1, ..outcome(Class::ServerError) });
    meter.record_under(0, after, &outcome(Class::Success));
    let window = taken(&meter);
    assert_eq!((window.requests(), window.bad()), (1, 0));
    assert_eq!(window.attempts[Attempt::First as usize][Class::ServerError as usize], 1);
    assert!(window.paths.is_empty());
}

#[test]
fn no_path_of_an_old_list_is_counted_under_a_new_one() {
    let meter = VersionMeter::new(2);
    let on_path = Outcome { paths: 1, ..outcome(Class::ServerError) };
    let old = meter.exposure();
    // One is in each of the two buffers that a shard swaps, and one is not taken yet when the lists change.
    for _ in 0..2 {
        meter.record_under(0, old, &on_path);
        assert_eq!(taken(&meter).paths[0].requests(), 1);
    }
    meter.record_under(1, old, &on_path);
    let new = meter.begin_paths();
    meter.record_under(0, old, &on_path);
    let window = taken(&meter);
    assert!(window.paths.is_empty(), "{:?}", window.paths);
    assert_eq!(window.requests(), 2, "they are judged all the same, as requests of the service");
    meter.record_under(0, new, &on_path);
    assert_eq!(taken(&meter).paths[0].requests(), 1);
    assert!(meter.with_tally(|tally| tally.paths.is_empty()));
}

proptest! {
    #[test]
    fn it_does_not_matter_which_core_records_nor_when_the_tick_comes(
        events in prop::collection::vec((0usize..4, 0usize..12, 0u64..1_000_000, any::<bool>()), 0..200),
    ) {
        let (spread, single) = (VersionMeter::new(4), VersionMeter::new(1));
        let mut sum = Tally::default();
        for (core, class, us, tick) in &events {
            let paths = *us as u16 & 0b101;
            let (latency_us, total_us) = (Some(*us), Some(us + 3));
            let outcome = Outcome { paths, latency_us, total_us, ..outcome(Class::ALL[*class]) };
            spread.record(*core, &outcome);
            single.record(*core, &outcome);
            if *tick {
                sum.merge(&taken(&spread));
            }
        }
        sum.merge(&taken(&spread));
        let whole = taken(&single);
        prop_assert_eq!(sum.judged, whole.judged);
        prop_assert_eq!(sum.attempts, whole.attempts);
        prop_assert_eq!(sum.groups, whole.groups);
        prop_assert_eq!(sum.clients, whole.clients);
        prop_assert_eq!(sum.latency_good.iter().collect::<Vec<_>>(), whole.latency_good.iter().collect::<Vec<_>>());
        prop_assert_eq!(spread.with_tally(|tally| tally.judged), whole.judged);
    }
}
