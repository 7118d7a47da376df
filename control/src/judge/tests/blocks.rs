//! A canary that fails all the time after stable had a bad hour: what its blocks of time say.

use expect_test::expect;
use meter::{Clients, GroupCounts};

use super::*;

const BEGIN: i64 = 600;

/// Stable traffic of three endpoints, one of which failed a fifth of what it got for five minutes.
fn after_a_bad_hour() -> Background {
    let mut background = Background::default();
    for second in 0..BEGIN {
        let mut window = window(300, 0);
        for (place, group) in window.endpoints.iter_mut().take(3).enumerate() {
            let bad = if (100..400).contains(&second) && place == 1 { 20 } else { 0 };
            *group = GroupCounts { requests: 100, bad, ..GroupCounts::default() };
        }
        background.observe(second, &window);
    }
    background
}

fn begun(plan: &Plan) -> Judge {
    Judge::new(Trial { background: after_a_bad_hour(), ..Trial::of(plan, "v1", "v2") })
}

/// Goes on for so many seconds, of a thousand requests to stable and a hundred to the canary each, of which so many fail in
/// the second that is given. Clients of three groups fail. Says when harm was established.
fn go_on(judge: &mut Judge, from: i64, seconds: i64, bad: impl Fn(i64) -> Arms<u64>) -> Option<i64> {
    (from..from + seconds).find(|second| {
        let Arms { stable, canary } = bad(*second);
        let mut of_canary = window(100, canary);
        of_canary.clients = Clients { seen: u16::MAX, bad: if canary > 0 { 0b111 } else { 0 } };
        let endpoints = Arms { stable: 3, canary: 1 };
        judge.tick(&Tick { endpoints, ..Tick::of(BEGIN + second, &window(1_000, stable), &of_canary) });
        judge.judgement().harm.is_some()
    })
}

fn harm(judge: &Judge) -> String {
    judge.judgement().harm.unwrap().explain
}

#[test]
fn steady_failures_are_taken_back_within_minutes_though_dispersion_makes_the_other_tests_blind() {
    let plan = plan(&default_gates());
    for canary in [5, 25] {
        let mut judge = begun(&plan);
        let at = go_on(&mut judge, 0, 600, |_| Arms { stable: 0, canary }).unwrap();
        assert!((120..=160).contains(&at), "{canary} %: after {at} s");
        assert!(judge.dispersion().unwrap().errors > 100.0, "{:?}", judge.dispersion());
    }
    let mut judge = begun(&plan);
    go_on(&mut judge, 0, 600, |_| Arms { stable: 0, canary: 5 });
    expect!["v2 fails 5 % of requests, v1 0 % (in the 3 min before, 705 of 14 100 against 0 of 141 000): in 14 of the last 14 blocks of 10 s v2 failed more than 3.3 times v1's rate plus 1.05 points, and no burst lasts like that: harm is established (chance of seeing this without harm: at most 1 in 150)"].assert_eq(&harm(&judge));

    let mut without = begun(&plan);
    without.settings.blocks = false;
    without.family = Family::new(&without.settings);
    assert_eq!(go_on(&mut without, 0, 600, |_| Arms { stable: 0, canary: 5 }), None);
}

#[test]
fn on_the_way_the_gate_says_in_how_many_blocks_the_canary_failed_far_more() {
    let mut judge = begun(&plan(&default_gates()));
    assert_eq!(go_on(&mut judge, 0, 25, |_| Arms { stable: 0, canary: 5 }), None);
    assert!(!gate(&judge.gates(), "errors").explain.contains("blocks"), "two are nothing yet");
    assert_eq!(go_on(&mut judge, 25, 50, |_| Arms { stable: 0, canary: 5 }), None);
    expect!["v2 fails 5 % of requests, v1 0 %: worse so far, not enough evidence of harm (evidence counts 1/1822, as v1's came in bursts); in 7 of the last 7 blocks of 10 s v2 failed more than 3.3 times v1's rate plus 1.05 points"].assert_eq(&gate(&judge.gates(), "errors").explain);
    let evidence = judge.evidence();
    let blocks = evidence.iter().find(|test| test.test == "errors/blocks").unwrap();
    let errors = evidence.iter().find(|test| test.test == "errors").unwrap();
    assert!(blocks.log_evidence > 2.0 && blocks.log_evidence < blocks.threshold, "{blocks:?}");
    assert!((blocks.threshold - errors.threshold - 10.0_f64.ln()).abs() < 1e-12);
}

#[test]
fn bursts_and_incidents_of_both_are_no_steady_failures() {
    let plan = plan(&default_gates());
    let burst = |second: i64| if second % 60 < 20 { 25 } else { 0 };
    let mut judge = begun(&plan);
    assert_eq!(go_on(&mut judge, 0, 900, |second| Arms { stable: 0, canary: burst(second) }), None);
    assert!(judge.family.blocks(0).unwrap().mixture().log_evidence() < 0.0);
    let mut judge = begun(&plan);
    assert_eq!(go_on(&mut judge, 0, 1_800, |_| Arms { stable: 300, canary: 30 }), None);
    assert!(judge.family.blocks(0).unwrap().mixture().log_evidence() < 0.0);
}

#[test]
fn failures_of_one_client_among_many_and_of_a_step_that_is_over_are_none_either() {
    let plan = plan(&default_gates());
    let mut judge = begun(&plan);
    for second in 0..600 {
        let mut of_canary = window(100, 5);
        of_canary.clients = Clients { seen: u16::MAX, bad: 0b100 };
        judge.tick(&Tick::of(BEGIN + second, &window(1_000, 0), &of_canary));
    }
    assert_eq!(judge.family.blocks(0).unwrap().run().blocks, 0);
    let mut judge = begun(&plan);
    for step in 0..60 {
        go_on(&mut judge, step * 9, 9, |_| Arms { stable: 0, canary: 5 });
        judge.new_step();
    }
    assert_eq!(judge.family.blocks(0).unwrap().run().blocks, 0, "no block was whole");
}
