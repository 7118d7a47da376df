//! Whom the canary is compared with, and on which requests.

use expect_test::expect;
use meter::PathTally;

use super::clients::{Answers, Clients};
use super::*;

fn on_checkout(rules: &[GateRule]) -> Plan {
    let path = config::PathPrefix::new("/checkout");
    let mut plan = Plan { warmup: Duration::ZERO, ..plan(rules) };
    if let Some(last) = plan.gates.last_mut() {
        last.path = path;
    }
    plan
}

/// What a version did to requests of which these are on the path.
fn with_path(mut window: Window, path: &Window) -> Window {
    window.paths = vec![PathTally {
        judged: path.judged,
        latency_good: path.latency_good.clone(),
        total_good: path.total_good.clone(),
        ..PathTally::default()
    }];
    window
}

#[test]
fn one_broken_path_is_found_by_the_gate_that_judges_it() {
    let plan = on_checkout(&[errors(DEFAULT_TOLERANCE), errors(DEFAULT_TOLERANCE)]);
    let mut judge = Judge::new(Trial::of(&plan, "v1", "v2"));
    for tick in 0..100 {
        // Half of the canary's few requests on the path fail: of all its requests one in a thousand.
        let broken = u64::from(tick % 2 == 0);
        let stable = with_path(window(5_000, 50), &window(9, 0));
        let canary = with_path(window(500, 5 + broken), &window(1, broken));
        judge.tick(&Tick::of(tick / 10, &stable, &canary));
        if judge.judgement().harm.is_some() {
            break;
        }
    }
    let harm = judge.judgement().harm.unwrap();
    assert_eq!(harm.gate, "errors-2");
    expect!["on /checkout: v2 fails 50 % of requests, v1 0 % (in the 3 s before, 11 of 22 against 0 of 198): harm is established (chance of seeing this without harm: at most 1 in 200; dispersion unmeasured: failures in bursts could explain it)"].assert_eq(&harm.explain);
    let gates = judge.gates();
    assert_eq!(gate(&gates, "errors-2").path.as_deref(), Some("/checkout"));
    assert_eq!(gate(&gates, "errors").path, None);
}

#[test]
fn a_quiet_path_gathers_its_batches_by_itself() {
    let plan = on_checkout(&[errors(DEFAULT_TOLERANCE), errors(DEFAULT_TOLERANCE)]);
    let mut judge = Judge::new(Trial::of(&plan, "v1", "v2"));
    let quiet = with_path(window(950, 0), &window(0, 0));
    // One request on the path in each tick: of stable, of the canary, of stable ...
    for tick in 0..38 {
        let on_path = [window(u64::from(tick % 2 == 0), 0), window(u64::from(tick % 2 == 1), 0)];
        let (stable, canary) = (with_path(window(950, 0), &on_path[0]), with_path(window(50, 0), &on_path[1]));
        judge.tick(&Tick::of(tick / 10, &stable, &canary));
    }
    let gates = judge.gates();
    assert_eq!(gate(&gates, "errors-2").counts.unwrap().requests, Arms { stable: 10, canary: 10 });
    assert_eq!(gate(&gates, "errors").counts.unwrap().requests, Arms { stable: 38 * 950, canary: 38 * 50 });
    assert!(judge.judgement().has_data);
    // Then nothing more on the path, while the service goes on.
    for tick in 38..400 {
        judge.tick(&Tick::of(tick / 10, &quiet, &quiet));
    }
    let gates = judge.gates();
    assert_ne!(gate(&gates, "errors").verdict, Verdict::NoData);
    assert_eq!(gate(&gates, "errors-2").verdict, Verdict::NoData);
    expect!["on /checkout: v2 has answered no request in the last 36 s: nothing to judge"]
        .assert_eq(&gate(&gates, "errors-2").explain);
    assert!(!judge.judgement().has_data, "nothing advances while a gate has no data");
}

#[test]
fn a_path_that_is_not_counted_is_no_data() {
    let plan = on_checkout(&[errors(DEFAULT_TOLERANCE), errors(DEFAULT_TOLERANCE)]);
    let mut judge = Judge::new(Trial::of(&plan, "v1", "v2"));
    (0..50).for_each(|tick| judge.tick(&Tick::of(tick / 10, &window(95, 0), &window(5, 0))));
    assert_eq!(gate(&judge.gates(), "errors-2").verdict, Verdict::NoData);
}

#[test]
fn the_canary_is_compared_with_the_baseline_and_bursts_are_learnt_from_stable() {
    let mut clients = Clients::new(1);
    let plan = Plan { warmup: Duration::ZERO, ..plan(&default_gates()) };
    let mut judge = Judge::new(Trial::of(&plan, "v1", "v2"));
    // Stable is well; the baseline and the canary, both freshly started, are not.
    let cold = Answers { failing: 0.05, slower: 1.5, ..Answers::WELL };
    for second in 0..60 {
        let (stable, baseline, canary) =
            (clients.ask(300, Answers::WELL), clients.ask(100, cold), clients.ask(100, cold));
        judge.tick(&Tick { baseline: &baseline, ..Tick::of(second, &stable, &canary) });
    }
    let judgement = judge.judgement();
    assert_eq!(judgement.harm, None);
    assert_eq!(judgement.requests, Arms { stable: 6_000, canary: 6_000 });
    let learnt = {
        let (mut clients, mut background) = (Clients::new(1), Background::default());
        for second in 0..60 {
            background.observe(second, &clients.ask(300, Answers::WELL));
            clients.ask(100, cold);
            clients.ask(100, cold);
        }
        background
    };
    assert_eq!(*judge.background(), learnt);
}

/// Requests, and failed ones, of these groups of clients.
fn from(groups: &[(usize, u64, u64)]) -> Window {
    let (mut requests, mut bad) = (0, 0);
    groups.iter().for_each(|(_, of, failed)| (requests, bad) = (requests + of, bad + failed));
    let mut window = window(requests, bad);
    for (group, requests, bad) in groups {
        window.clients.seen |= u16::from(*requests > 0) << group;
        window.clients.bad |= u16::from(*bad > 0) << group;
    }
    window
}

#[test]
fn the_breaker_waits_for_a_second_group_of_clients_where_there_is_one() {
    let fires = |first: &Window, then: &Window| {
        let mut judge = judge_of(&[]);
        judge.tick(&Tick::of(0, &window(95, 0), first));
        (0..5).for_each(|_| judge.tick(&Tick::of(0, &window(95, 0), then)));
        judge.judgement().harm.is_some()
    };
    let (well, one_client, two_clients) =
        (from(&[(1, 3, 0), (2, 2, 0)]), from(&[(1, 10, 10)]), from(&[(1, 5, 5), (2, 5, 5)]));
    assert!(!fires(&well, &one_client), "only one of two clients fails");
    assert!(fires(&well, &two_clients));
    assert!(fires(&one_client, &one_client), "there is no other client");
    assert!(fires(&window(5, 0), &window(10, 10)), "clients are not known");
}

#[test]
fn what_other_clients_saw_fail_before_the_bad_run_is_no_reason_for_the_breaker() {
    for early in [0, 1] {
        let mut judge = judge_of(&[]);
        judge.tick(&Tick::of(0, &window(95, 0), &from(&[(1, 3, 0), (2, 2, early)])));
        for second in 1..600 {
            judge.tick(&Tick::of(second, &window(140, 0), &from(&[(1, 3, 0), (2, 2, 0)])));
        }
        (600..606).for_each(|second| judge.tick(&Tick::of(second, &window(95, 0), &from(&[(1, 5, 5)]))));
        assert_eq!(judge.judgement().harm, None, "{early} failures of the other client ten minutes before");
        judge.tick(&Tick::of(606, &window(95, 0), &from(&[(2, 5, 5)])));
        assert!(judge.judgement().harm.is_some());
    }
}

#[test]
fn a_client_that_is_long_gone_does_not_keep_the_breaker_from_the_last_one() {
    let mut judge = judge_of(&[]);
    (0..10).for_each(|second| judge.tick(&Tick::of(second, &window(95, 0), &from(&[(1, 3, 0), (2, 2, 0)]))));
    (10..100).for_each(|second| judge.tick(&Tick::of(second, &window(95, 0), &from(&[(1, 5, 0)]))));
    (100..105).for_each(|second| judge.tick(&Tick::of(second, &window(95, 0), &from(&[(1, 5, 5)]))));
    assert!(judge.judgement().harm.is_some());
}
