//! A canary that fails in one second after the other, after stable has failed in bursts.

use expect_test::expect;
use meter::GroupCounts;

use super::*;

const SECONDS: i64 = 300;

/// Stable traffic of three endpoints, one of which fails a fifth of what it gets for a minute.
fn begun(rules: &[GateRule]) -> Judge {
    let mut background = Background::default();
    for second in 0..SECONDS {
        let mut window = window(300, 0);
        for (place, group) in window.endpoints.iter_mut().take(3).enumerate() {
            let bad = if (100..160).contains(&second) && place == 1 { 20 } else { 0 };
            *group = GroupCounts { requests: 100, bad, ..GroupCounts::default() };
        }
        background.observe(second, &window);
    }
    Judge::new(Trial { background, ..Trial::of(&plan(rules), "v1", "v2") })
}

/// So many seconds in each of which so many of the canary's hundred requests fail, and so many of stable's thousand.
fn seconds(judge: &mut Judge, from: i64, seconds: i64, of_stable: u64, of_canary: u64) {
    (0..seconds).for_each(|second| {
        judge.tick(&Tick::of(SECONDS + from + second, &window(1_000, of_stable), &window(100, of_canary)));
    });
}

#[test]
fn who_fails_more_than_the_margin_for_seconds_on_end_gets_nobody_else_though_the_tests_believe_little() {
    let mut judge = begun(&default_gates());
    seconds(&mut judge, 0, 10, 0, 0);
    assert!(judge.dispersion().unwrap().errors > 20.0, "{:?}", judge.dispersion());
    seconds(&mut judge, 10, 4, 0, 10);
    assert_eq!(judge.judgement().beyond, None, "a burst may last for four seconds");
    seconds(&mut judge, 14, 20, 0, 10);
    let judgement = judge.judgement();
    assert_eq!((judgement.harm, judgement.suspicion), (None, false), "the tests see next to nothing");
    let beyond = judgement.beyond.unwrap();
    assert_eq!(
        beyond,
        "errors: v2 fails 7.1 % of its requests in this step, v1 0 %, which is beyond the margin; a verdict takes longer, as v1's failures came in bursts (dispersion 226)"
    );
    judge.new_step();
    assert_eq!(judge.judgement().beyond, None, "of the step before");
}

#[test]
fn one_burst_however_large_and_failures_within_the_margin_hold_nobody_up() {
    let mut judge = begun(&default_gates());
    seconds(&mut judge, 0, 10, 0, 0);
    seconds(&mut judge, 10, 2, 0, 100);
    seconds(&mut judge, 12, 5, 0, 0);
    assert_eq!(judge.beyond_a_guardrail(), None);
    expect!["v2 failed 200 of its last 700 requests, v1 0 of its last 7 000 requests: it looks broken"]
        .assert_eq(&judge.judgement().beyond.unwrap());
    seconds(&mut judge, 17, 30, 0, 0);
    assert_eq!(judge.judgement().beyond, None, "and then it does not");
    let mut judge = begun(&default_gates());
    seconds(&mut judge, 0, 60, 10, 1);
    assert_eq!(judge.judgement().beyond, None, "as stable");
}

#[test]
fn a_limit_that_stable_keeps_and_the_canary_does_not_holds_too() {
    let mut judge = begun(&[error_limit(0.05)]);
    seconds(&mut judge, 0, 30, 0, 6);
    assert_eq!(
        judge.judgement().beyond.unwrap(),
        "errors-limit: v2 fails 6 % of its requests in this step, v1 0 %, which is beyond the limit of 5 %; a verdict takes longer, as v1's failures came in bursts (dispersion 226)"
    );
    let mut judge = begun(&[error_limit(0.05)]);
    seconds(&mut judge, 0, 30, 60, 6);
    assert_eq!(judge.judgement().beyond, None, "stable does not keep it either");
}

/// Whoever writes that twenty points more than stable are no matter means it of the limit beside that, too.
#[test]
fn a_limit_tolerates_what_the_plan_tolerates_whatever_the_role_or_path_of_that_gate() {
    let points = |points: f64| Tolerance { ratio: 1.0, points: fraction(points) };
    let lenient = GateRule::Errors { tolerance: points(0.2), margin: points(0.3) };
    let paused = |role: GateRole, path: Option<&str>| {
        let mut plan = plan(&[lenient, error_limit(0.03)]);
        plan.gates[0].role = role;
        plan.gates[0].path = path.map(|path| path.parse().unwrap());
        let mut judge = Judge::new(Trial::of(&plan, "v1", "v2"));
        seconds(&mut judge, 0, 30, 3, 6);
        let judgement = judge.judgement();
        (judgement.harm.map(|harm| harm.gate), judgement.hold.is_some())
    };
    assert_eq!(paused(GateRole::Guardrail, None), (None, true));
    assert_eq!(paused(GateRole::Signal, None), (None, true));
    assert_eq!(paused(GateRole::Guardrail, Some("/x")), (None, true));
}
