//! What operators read, and what the state machine is told beside it.

use expect_test::expect;

use super::*;

/// So many ticks of 100 ms, from the start of this second on.
fn ticks(judge: &mut Judge, second: i64, ticks: i64, stable: &Window, canary: &Window) {
    (0..ticks).for_each(|tick| judge.tick(&Tick::of(second + tick / 10, stable, canary)));
}

#[test]
fn harm_in_errors_is_told_with_the_rates_of_the_time_in_which_it_showed() {
    let mut judge = judge_of(&default_gates());
    ticks(&mut judge, 0, 600, &window(95, 0), &window(5, 0));
    for second in 60..75 {
        ticks(&mut judge, second, 9, &window(95, 0), &window(5, 0));
        ticks(&mut judge, second, 1, &window(95, 1), &window(5, 2));
    }
    let judgement = judge.judgement();
    let harm = judgement.harm.unwrap();
    assert_eq!(harm.gate, "errors");
    expect!["v2 fails 5.2 % of requests, v1 0.14 % (in the 4 s before, 8 of 155 against 4 of 2 945): harm is established (chance of seeing this without harm: at most 1 in 180; dispersion unmeasured: failures in bursts could explain it)"].assert_eq(&harm.explain);
    assert!(judgement.suspicion && judgement.hold.is_none());
    let gates = judge.gates();
    let errors = gate(&gates, "errors");
    assert_eq!((errors.verdict, errors.progress, &errors.explain), (Verdict::Fail, 1.0, &harm.explain));
    assert_eq!(gates.len(), 2, "the breaker did not fire: {gates:?}");
}

#[test]
fn established_harm_stays_whatever_comes_after() {
    let mut judge = judge_of(&default_gates());
    ticks(&mut judge, 0, 20, &window(95, 0), &window(5, 5));
    let harm = judge.judgement().harm;
    assert!(harm.is_some());
    ticks(&mut judge, 2, 6_000, &window(95, 0), &window(5, 0));
    judge.new_step();
    assert_eq!(judge.judgement().harm, harm);
}

#[test]
fn the_breaker_counts_the_requests_it_saw_fail() {
    let mut judge = judge_of(&default_gates());
    ticks(&mut judge, 0, 600, &window(95, 0), &window(5, 0));
    // The canary breaks in the middle of a tick.
    ticks(&mut judge, 60, 1, &window(95, 1), &window(5, 3));
    ticks(&mut judge, 60, 2, &window(95, 0), &window(5, 5));
    let harm = judge.judgement().harm.unwrap();
    assert_eq!(harm.gate, "breaker");
    expect!["8 of the last 10 requests to v2 failed while v1 is well (1 of 190): it is broken (chance of seeing this without harm: at most 1 in 5 200)"].assert_eq(&harm.explain);
    let gates = judge.gates();
    let breaker = gate(&gates, "breaker");
    assert_eq!((breaker.verdict, breaker.progress, &breaker.explain), (Verdict::Fail, 1.0, &harm.explain));
    assert!((breaker.threshold - 1_000.0_f64.ln()).abs() < 1e-9);
    assert_eq!(gate(&gates, "errors").verdict, Verdict::Inconclusive);
}

#[test]
fn the_breaker_does_not_call_a_stable_well_that_fails_too() {
    let mut judge = judge_of(&default_gates());
    ticks(&mut judge, 0, 10, &window(95, 10), &window(5, 5));
    let harm = judge.judgement().harm.unwrap();
    assert_eq!(harm.gate, "breaker");
    expect!["10 of the last 10 requests to v2 failed while v1 failed 20 of 190: it is broken (chance of seeing this without harm: at most 1 in 3 000 000)"].assert_eq(&harm.explain);
}

#[test]
fn three_failures_are_too_few_for_the_breaker() {
    // At this alpha the evidence of three failures would do.
    let plan = Plan { alpha: Alpha::new(0.1).unwrap(), ..plan(&default_gates()) };
    let mut judge = Judge::new(Trial::of(&plan, "v1", "v2"));
    ticks(&mut judge, 0, 3, &window(1_000, 0), &window(1, 1));
    assert_eq!(judge.judgement().harm, None);
    assert!(judge.family.breaker().log_evidence() > judge.breaker_threshold());
    judge.tick(&Tick::of(0, &window(1_000, 0), &window(1, 1)));
    assert!(judge.judgement().harm.is_some());
}

#[test]
fn without_a_gate_the_breaker_still_guards() {
    let mut judge = judge_of(&[]);
    ticks(&mut judge, 0, 10, &window(95, 0), &window(5, 0));
    assert!(judge.gates().is_empty() && !judge.judgement().suspicion);
    ticks(&mut judge, 1, 10, &window(95, 0), &window(5, 5));
    assert_eq!(judge.judgement().harm.unwrap().gate, "breaker");
}

#[test]
fn too_little_evidence_is_told_with_the_rates_of_the_whole_rollout() {
    let mut judge = judge_of(&default_gates());
    ticks(&mut judge, 0, 99, &window(950, 1), &window(50, 0));
    ticks(&mut judge, 10, 1, &window(950, 2), &window(50, 3));
    let gates = judge.gates();
    let errors = gate(&gates, "errors");
    assert_eq!(errors.verdict, Verdict::Inconclusive);
    expect!["v2 fails 0.06 % of requests, v1 0.11 %: no harm seen yet; v2 warms up and is not judged for proof for another 20 s"].assert_eq(&errors.explain);
    assert!(errors.log_evidence.is_some() && !judge.judgement().suspicion);
}

#[test]
fn suspicion_is_told_before_harm_is_established() {
    let mut judge = judge_of(&default_gates());
    ticks(&mut judge, 0, 50, &window(95, 0), &window(5, 0));
    let mut second = 5;
    while !judge.judgement().suspicion {
        ticks(&mut judge, second, 1, &window(950, 1), &window(50, 2));
        second += 1;
        assert!(second < 100, "{:?}", judge.gates());
    }
    assert_eq!(judge.judgement().harm, None);
    let gates = judge.gates();
    let errors = gate(&gates, "errors");
    assert_eq!(errors.verdict, Verdict::Inconclusive);
    expect!["v2 fails 4 % of requests, v1 0.11 % (in the last 3 s, 4 of 100 against 2 of 1 900): harm is suspected, not established"].assert_eq(&errors.explain);
}

#[test]
fn a_limit_that_both_break_is_told_as_a_hold() {
    let mut judge = judge_of(&[errors(DEFAULT_TOLERANCE), error_limit(0.05), latency_limit(0.99, 300)]);
    ticks(&mut judge, 0, 100, &window(95, 14), &window(10, 2));
    let judgement = judge.judgement();
    assert_eq!(judgement.harm, None);
    let hold = judgement.hold.unwrap();
    expect!["v2 fails 20 % of requests (the limit is 5 %), v1 15 % (in the last 10 s, 200 of 1 000 against 1 400 of 9 500): v2 is over the limit, but it is not established that it is worse than v1, so it is not taken back; look at what both depend on"].assert_eq(&hold);
    let gates = judge.gates();
    assert_eq!(gate(&gates, "errors-limit").explain, hold);
    expect!["20 % of requests to v2 fail or take over 300 ms (the limit allows 1 %), 15 % to v1 (in the last 10 s, 200 of 1 000 against 1 400 of 9 500): v2 is over the limit, but it is not established that it is worse than v1, so it is not taken back; look at what both depend on"].assert_eq(&gate(&gates, "latency-limit").explain);
}

#[test]
fn a_limit_that_stable_keeps_is_no_reason_to_look_elsewhere() {
    let mut judge = judge_of(&[error_limit(0.05)]);
    // Too little traffic of stable's to establish that the canary is worse.
    for second in 0..200 {
        judge.tick(&Tick::of(second, &window(200, 9), &window(1_000, 65)));
        if judge.judgement().hold.is_some() {
            break;
        }
    }
    expect!["v2 fails 6.5 % of requests (the limit is 5 %), v1 4.5 % (in the last 4 s, 260 of 4 000 against 36 of 800): v2 is over the limit, but it is not established that it is worse than v1, so it is not taken back"].assert_eq(&judge.judgement().hold.unwrap());
}

#[test]
fn what_is_over_a_limit_and_not_established_is_told_against_the_limit() {
    let mut judge = judge_of(&[error_limit(0.05), latency_limit(0.99, 300)]);
    ticks(&mut judge, 0, 4, &window(95, 8), &window(10, 1));
    let explain = |judge: &Judge, name: &str| gate(&judge.gates(), name).explain.clone();
    expect!["v2 fails 10 % of requests, over the limit of 5 %, v1 8.4 %, too: not established yet; v2 warms up and is not judged for proof for another 30 s"].assert_eq(&explain(&judge, "errors-limit"));
    expect!["10 % of requests to v2 fail or take over 300 ms, over the 1 % that the limit allows, 8.4 % to v1, too: not established yet; v2 warms up and is not judged for proof for another 30 s"].assert_eq(&explain(&judge, "latency-limit"));
    let mut judge = judge_of(&[error_limit(0.05)]);
    ticks(&mut judge, 0, 4, &window(95, 1), &window(10, 1));
    expect!["v2 fails 10 % of requests, over the limit of 5 %, v1 1.1 %: not established yet; v2 warms up and is not judged for proof for another 30 s"].assert_eq(&explain(&judge, "errors-limit"));
    // Worse than stable, and under the limit: that is what the gate is for.
    let mut judge = judge_of(&[error_limit(0.5)]);
    ticks(&mut judge, 0, 4, &window(95, 0), &window(10, 1));
    expect!["v2 fails 10 % of requests (the limit is 50 %), v1 0 %: no harm seen yet; v2 warms up and is not judged for proof for another 30 s"].assert_eq(&explain(&judge, "errors-limit"));
}

#[test]
fn what_passes_is_told_with_the_rates_of_the_step() {
    let plan = Plan { warmup: Duration::ZERO, ..plan(&[errors(DEFAULT_TOLERANCE)]) };
    let mut judge = Judge::new(Trial::of(&plan, "v1", "v2"));
    ticks(&mut judge, 0, 300, &window(950, 30), &window(500, 12));
    judge.new_step();
    ticks(&mut judge, 30, 300, &window(950, 2), &window(500, 1));
    expect!["v2 fails 0.2 % of requests, v1 0.21 %: more than 1.5 times v1's rate plus 0.1 points is ruled out"]
        .assert_eq(&gate(&judge.gates(), "errors").explain);
}

#[test]
fn harm_in_latency_names_the_limit() {
    let mut judge = judge_of(&[latency_limit(0.99, 300)]);
    ticks(&mut judge, 0, 40, &window_of(95, Class::Success, 20), &window_of(5, Class::ClientAbort, 500));
    let harm = judge.judgement().harm.unwrap();
    assert_eq!(harm.gate, "latency-limit");
    expect!["100 % of requests to v2 fail or take over 300 ms (the limit allows 1 %), 0 % to v1 (in the 3 s before, 105 of 105 against 0 of 1 995): harm is established (chance of seeing this without harm: at most 1 in 590; dispersion unmeasured: slow answers in bursts could explain it)"].assert_eq(&harm.explain);
}

#[test]
fn each_latency_limit_counts_what_is_over_itself() {
    let mut judge = judge_of(&[latency_limit(0.99, 300), latency_limit(0.99, 5_000)]);
    ticks(&mut judge, 0, 40, &window_of(95, Class::Success, 20), &window_of(5, Class::ClientAbort, 500));
    assert_eq!(judge.judgement().harm.unwrap().gate, "latency-limit");
    let gates = judge.gates();
    let patient = gate(&gates, "latency-limit-2");
    assert_eq!((patient.verdict, patient.progress), (Verdict::Inconclusive, 0.0));
    expect!["0 % of requests to v2 fail or take over 5 s (the limit allows 1 %), 0 % to v1: no harm seen yet; v2 warms up and is not judged for proof for another 27 s"]
        .assert_eq(&patient.explain);
}

#[test]
fn before_the_first_request_there_is_no_data_and_no_evidence() {
    let judge = judge_of(&default_gates());
    let gates = judge.gates();
    let errors = gate(&gates, "errors");
    assert_eq!((errors.verdict, errors.log_evidence, errors.progress), (Verdict::NoData, None, 0.0));
    expect!["v2 has answered no request yet: nothing to judge"].assert_eq(&errors.explain);
    // The family acts at .009; errors has 5/9 of it.
    assert!((errors.threshold - (1.0 / 0.005_f64).ln()).abs() < 1e-9, "{}", errors.threshold);
    let judgement = judge.judgement();
    assert!(!judgement.has_data && !judgement.suspicion && judgement.harm.is_none());
}

#[test]
fn a_canary_that_gets_no_more_requests_has_no_data_after_thirty_seconds() {
    let mut judge = judge_of(&default_gates());
    ticks(&mut judge, 0, 10, &window(95, 0), &window(5, 0));
    ticks(&mut judge, 1, 290, &window(95, 0), &window(0, 0));
    assert!(judge.judgement().has_data);
    ticks(&mut judge, 30, 10, &window(95, 0), &window(0, 0));
    assert!(!judge.judgement().has_data);
    let gates = judge.gates();
    assert_eq!(gate(&gates, "errors").verdict, Verdict::NoData);
    expect!["v2 has answered no request in the last 30 s: nothing to judge"].assert_eq(&gate(&gates, "errors").explain);
    assert!(gate(&gates, "errors").log_evidence.is_some());
}

#[test]
fn requests_of_one_version_alone_are_no_data_also_where_a_step_ends() {
    let mut judge = judge_of(&default_gates());
    judge.tick(&Tick::of(0, &window(0, 0), &window(50, 0)));
    judge.new_step();
    assert!(!judge.judgement().has_data);
    judge.tick(&Tick::of(0, &window(1, 0), &window(50, 0)));
    assert!(judge.judgement().has_data);
}

#[test]
fn no_data_says_what_is_missing() {
    let mut judge = judge_of(&default_gates());
    judge.tick(&Tick::of(0, &window(0, 0), &window(3, 0)));
    let explain = |judge: &Judge| gate(&judge.gates(), "errors").explain.clone();
    expect!["v1 has answered no request yet: nothing to compare v2 with"].assert_eq(&explain(&judge));
    judge.tick(&Tick::of(0, &window(2, 0), &window(0, 0)));
    expect!["3 requests to v2 and 2 to v1 wait to be judged: 20 are needed, at least one of each"]
        .assert_eq(&explain(&judge));
}

#[test]
fn requests_are_counted_for_the_rollout_and_for_the_step() {
    let mut judge = judge_of(&default_gates());
    ticks(&mut judge, 0, 10, &window(95, 1), &window(5, 0));
    judge.new_step();
    ticks(&mut judge, 1, 3, &window(90, 0), &window(10, 1));
    let judgement = judge.judgement();
    assert_eq!(judgement.requests, Arms { stable: 1_220, canary: 80 });
    assert_eq!(judgement.failed, Arms { stable: 10, canary: 3 });
    assert_eq!(judgement.step_requests, Arms { stable: 270, canary: 30 });
}

#[test]
fn steps_without_traffic_cost_no_cash() {
    let mut idle = judge_of(&default_gates());
    (0..50).for_each(|_| idle.new_step());
    assert_eq!(idle, judge_of(&default_gates()));
    let mut unused = judge_of(&default_gates());
    for judge in [&mut idle, &mut unused] {
        judge.tick(&Tick::of(0, &window(0, 0), &window(0, 0)));
    }
    idle.new_step();
    assert_eq!(idle.family, unused.family, "nor does a tick in which nothing came");
}
