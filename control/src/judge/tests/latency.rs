//! Latencies against stable's.

use expect_test::expect;

use super::clients::{Answers, Clients, Rollout};
use super::*;

const SLOWER: Answers = Answers { slower: 1.3, ..Answers::WELL };
const SLOWER_TAIL: Answers = Answers { slower_beyond_p95: 2.0, ..Answers::WELL };

fn latency_at(quantile: f64, of: LatencyOf) -> GateRule {
    let GateRule::Latency { tolerance, margin, .. } = GateRule::LATENCY else { panic!() };
    GateRule::Latency { quantile: Some(Quantile::new(quantile).unwrap()), tolerance, margin, of }
}

#[test]
fn a_canary_that_is_slower_is_caught_by_its_shape_and_told_by_its_median() {
    let mut rollout = Rollout::warm(1, &default_gates());
    rollout.seconds(10, Answers::WELL, Answers::WELL);
    let seconds = rollout.until_harm(20, SLOWER).unwrap();
    assert!(seconds <= 15, "{seconds} s");
    let harm = rollout.judge.judgement().harm.unwrap();
    assert_eq!(harm.gate, "latency");
    expect!["v2's p50 is about 24 ms, v1's 20 ms (at most 5 % more is tolerated; in the 7 s before, 599 requests against 2 398): harm is established (chance of seeing this without harm: at most 1 in 260)"].assert_eq(&harm.explain);
}

#[test]
fn a_canary_whose_tail_is_slower_is_told_by_the_quantile_at_which_it_is() {
    let mut rollout = Rollout::warm(2, &default_gates());
    rollout.seconds(5, Answers::WELL, Answers::WELL);
    rollout.until_harm(60, SLOWER_TAIL).unwrap();
    let harm = rollout.judge.judgement().harm.unwrap();
    assert_eq!(harm.gate, "latency");
    expect!["v2's p99 is about 188 ms, v1's 96 ms (at most 5 % more is tolerated; in the 6 s before, 500 requests against 1 997): harm is established (chance of seeing this without harm: at most 1 in 120)"].assert_eq(&harm.explain);
}

#[test]
fn a_canary_that_times_out_is_slower_than_everything() {
    let mut rollout = Rollout::warm(3, &[GateRule::LATENCY]);
    let hanging = Answers { hanging: 0.06, ..Answers::WELL };
    rollout.until_harm(30, hanging).unwrap();
    expect!["v2's p99 is a timeout, v1's 102 ms (at most 5 % more is tolerated; in the 5 s before, 500 requests against 1 996): harm is established (chance of seeing this without harm: at most 1 in 110)"].assert_eq(&rollout.judge.judgement().harm.unwrap().explain);
}

#[test]
fn a_canary_that_fails_fast_is_no_faster_nor_slower_for_the_gate_of_latency() {
    let mut rollout = Rollout::warm(4, &[GateRule::LATENCY]);
    rollout.seconds(30, Answers::WELL, Answers { failing: 0.08, ..Answers::WELL });
    assert_eq!(rollout.judge.judgement().harm, None);
    let latency = rollout.gate("latency");
    assert_eq!(latency.verdict, Verdict::Pass, "{latency:?}");
}

#[test]
fn a_gate_of_one_quantile_sees_that_quantile_alone() {
    let rules = [latency_at(0.99, LatencyOf::Head), latency_at(0.5, LatencyOf::Head)];
    let mut rollout = Rollout::warm(5, &rules);
    rollout.until_harm(120, SLOWER_TAIL).unwrap();
    let harm = rollout.judge.judgement().harm.unwrap();
    assert_eq!(harm.gate, "latency");
    expect!["v2's p99 is about 180 ms, v1's 90 ms (at most 5 % more is tolerated; in the 3 s before, 300 requests against 1 200): harm is established (chance of seeing this without harm: at most 1 in 330)"].assert_eq(&harm.explain);
    rollout.seconds(40, Answers::WELL, Answers { slower_beyond_p95: 1.5, ..Answers::WELL });
    assert_eq!(rollout.gate("latency-2").verdict, Verdict::Pass);
    let counts = rollout.gate("latency").counts.unwrap();
    assert!(counts.events.canary * counts.requests.stable > 2 * counts.events.stable * counts.requests.canary);
}

/// Nobody would wait for two hundred answers of a service that is all tunnels but for a few.
#[test]
fn where_most_requests_have_no_latency_none_is_waited_for() {
    let mut judge = judge_of(&[GateRule::LATENCY]);
    let mut window = window_of(5, Class::Success, 10);
    window.judged[Class::Upgrade as usize] = 95;
    judge.tick(&Tick::of(1, &window, &window));
    assert_eq!(judge.judgement().uncompared, None);
    let mut judge = judge_of(&[GateRule::LATENCY]);
    judge.tick(&Tick::of(1, &window_of(100, Class::Success, 10), &window));
    assert!(judge.judgement().uncompared.is_some());
}

#[test]
fn a_gate_to_the_last_byte_learns_where_those_latencies_lie_and_then_judges() {
    let mut rollout = Rollout::warm(6, &[latency_at(0.5, LatencyOf::Total)]);
    let Arms { stable, .. } = rollout.requests;
    rollout.requests = Arms { stable: 50, canary: 10 };
    rollout.seconds(3, Answers::WELL, Answers::WELL);
    let young = rollout.gate("latency");
    assert_eq!((young.verdict, young.log_evidence, young.proof), (Verdict::Inconclusive, None, None));
    expect!["v1 has had 149 answers with a latency so far: 200 are needed before any are compared"]
        .assert_eq(&young.explain);
    assert_eq!(rollout.judge.judgement().uncompared, Some(young.explain), "a guardrail that compared nothing yet");
    rollout.requests = Arms { stable, canary: 100 };
    rollout.seconds(2, Answers::WELL, Answers::WELL);
    assert_eq!(rollout.judge.judgement().uncompared, None);
    rollout.until_harm(30, SLOWER).unwrap();
    expect!["v2's p50 to the last byte is about 53 ms, v1's 40 ms (at most 5 % more is tolerated; in the 16 s before, 1 498 requests against 5 996): harm is established (chance of seeing this without harm: at most 1 in 220)"].assert_eq(&rollout.judge.judgement().harm.unwrap().explain);
}

#[test]
fn a_quarter_of_a_millisecond_more_is_no_harm_and_half_a_millisecond_is() {
    let mut rollout = Rollout::warm(13, &[GateRule::LATENCY]);
    // p50 is 0.1 ms. A version with little traffic finds everything cold: 30 % more, and nobody minds.
    let [fast, cold, slow] = [0.005, 0.0065, 0.03].map(|slower| Answers { slower, ..Answers::WELL });
    rollout.seconds(300, fast, fast);
    rollout.seconds(240, fast, cold);
    assert_eq!(rollout.judge.judgement().harm, None);
    let latency = rollout.gate("latency");
    assert_eq!(latency.verdict, Verdict::Pass, "{latency:?}");
    expect!["v2's p50 is about 0.11 ms, v1's 0.10 ms; its p95 0.36 ms, v1's 0.32 ms; its p99 0.59 ms, v1's 0.51 ms: that v2 takes 25 % or 0.50 ms longer at p50 or p95, or 50 % or 0.50 ms longer at p99, is ruled out"].assert_eq(&latency.explain);
    let harm = (0..30).find_map(|_| {
        rollout.seconds(1, fast, slow);
        rollout.judge.judgement().harm
    });
    expect!["v2's p99 is about 3.3 ms, v1's 0.53 ms (at most 5 % or 0.25 ms more is tolerated; in the 6 s before, 500 requests against 1 999): harm is established (chance of seeing this without harm: at most 1 in 1 600)"].assert_eq(&harm.unwrap().explain);
}

#[test]
fn where_nothing_is_tolerated_a_cold_canary_is_slower() {
    let GateRule::Latency { quantile, margin, of, .. } = GateRule::LATENCY else { panic!() };
    let nothing = GateRule::Latency { quantile, tolerance: config::Stretch::ZERO, margin, of };
    let mut rollout = Rollout::warm(13, &[nothing]);
    let [fast, cold] = [0.005, 0.0065].map(|slower| Answers { slower, ..Answers::WELL });
    rollout.seconds(300, fast, fast);
    rollout.seconds(240, fast, cold);
    assert_eq!(rollout.judge.judgement().harm.map(|harm| harm.gate), Some("latency".to_owned()));
}

#[test]
fn edges_to_the_last_byte_follow_stable_as_it_changes() {
    let mut rollout = Rollout::warm(12, &[latency_at(0.5, LatencyOf::Total)]);
    rollout.seconds(30, Answers::WELL, Answers::WELL);
    let slower = Answers { slower: 3.0, ..Answers::WELL };
    rollout.seconds(300, slower, slower);
    let before = rollout.gate("latency").counts.unwrap();
    rollout.seconds(10, slower, slower);
    let after = rollout.gate("latency").counts.unwrap();
    let (events, requests) =
        (after.events.stable - before.events.stable, after.requests.stable - before.requests.stable);
    let beyond = events as f64 / requests as f64;
    assert!((0.4..0.6).contains(&beyond), "{beyond} of stable's latencies are beyond its median");
}

#[test]
fn while_the_canary_warms_up_its_latencies_are_not_compared_and_nothing_is_proven() {
    let mut rollout = Rollout::of(7, &plan(&default_gates()));
    rollout.seconds(10, Answers::WELL, Answers { slower: 3.0, ..Answers::WELL });
    let (errors, latency) = (rollout.gate("errors"), rollout.gate("latency"));
    assert_eq!((latency.verdict, latency.log_evidence, latency.counts), (Verdict::Inconclusive, None, None));
    expect!["v2 warms up: its latencies are compared in 21 s"].assert_eq(&latency.explain);
    assert!(errors.log_evidence.is_some());
    assert_eq!((errors.proof, latency.proof), (None, None));
    rollout.seconds(22, Answers::WELL, Answers::WELL);
    let (errors, latency) = (rollout.gate("errors"), rollout.gate("latency"));
    assert!(latency.log_evidence.is_some() && errors.proof.is_some() && latency.proof.is_some());
}

#[test]
fn a_canary_that_got_more_endpoints_warms_up_again() {
    let mut rollout = Rollout::of(8, &plan(&default_gates()));
    rollout.seconds(40, Answers::WELL, Answers::WELL);
    rollout.judge.warm_up_again();
    rollout.seconds(20, Answers::WELL, Answers { slower: 5.0, ..Answers::WELL });
    assert_eq!(rollout.judge.judgement().harm, None);
    rollout.seconds(11, Answers::WELL, Answers::WELL);
    assert!(rollout.until_harm(20, SLOWER).is_some());
}

#[test]
fn gates_warm_up_again_once_in_a_step_and_prove_nothing_meanwhile() {
    let mut rollout = Rollout::of(8, &plan(&default_gates()));
    let says = |rollout: &Rollout| {
        let judgement = rollout.judge.judgement();
        (judgement.warms_up_for, judgement.proven)
    };
    rollout.seconds(10, Answers::WELL, Answers::WELL);
    assert_eq!((says(&rollout), rollout.judge.may_warm_up_again()), ((0, false), false), "the first holds up no step");
    rollout.seconds(400, Answers::WELL, Answers::WELL);
    assert_eq!((says(&rollout), rollout.judge.may_warm_up_again()), ((0, true), true));
    rollout.judge.warm_up_again();
    assert_eq!(
        (says(&rollout), rollout.judge.may_warm_up_again()),
        ((30, false), false),
        "what was proven must wait, too"
    );
    let restored: Judge = serde_json::from_str(&serde_json::to_string(&rollout.judge).unwrap()).unwrap();
    assert!(!restored.may_warm_up_again(), "a restart buys no other warm-up");
    rollout.seconds(31, Answers::WELL, Answers::WELL);
    assert_eq!((says(&rollout).0, rollout.judge.may_warm_up_again()), (0, false));
    rollout.judge.new_step();
    rollout.seconds(20, Answers::WELL, Answers::WELL);
    assert!(!rollout.judge.may_warm_up_again(), "it was compared for 20 s, and a warm-up takes 30 s");
    rollout.seconds(10, Answers::WELL, Answers::WELL);
    assert!(rollout.judge.may_warm_up_again());
}

#[test]
fn however_long_a_step_lasts_gates_warm_up_again_once_in_it() {
    let mut rollout = Rollout::of(8, &plan(&default_gates()));
    rollout.seconds(61, Answers::WELL, Answers::WELL);
    assert!(rollout.judge.may_warm_up_again());
    rollout.judge.warm_up_again();
    rollout.seconds(120, Answers::WELL, Answers::WELL);
    assert!(!rollout.judge.may_warm_up_again());
    rollout.judge.new_step();
    assert!(rollout.judge.may_warm_up_again());
}

#[test]
fn nobody_waits_for_a_warm_up_where_no_gate_compares_latencies() {
    let mut rollout = Rollout::of(8, &plan(&[errors(DEFAULT_TOLERANCE), latency_limit(0.99, 500)]));
    rollout.seconds(10, Answers::WELL, Answers::WELL);
    assert_eq!(rollout.judge.judgement().warms_up_for, 0);
}

#[test]
fn a_limit_on_latency_holds_while_the_canary_warms_up_too() {
    let mut rollout = Rollout::of(9, &plan(&[latency_limit(0.99, 500)]));
    assert!(rollout.until_harm(10, Answers { slower: 30.0, ..Answers::WELL }).is_some());
}

#[test]
fn what_the_gate_of_latency_says_is_in_plain_figures() {
    let mut rollout = Rollout::warm(10, &default_gates());
    rollout.seconds(2, Answers::WELL, Answers::WELL);
    expect!["v2's p50 is about 19 ms, v1's 19 ms; its p99 90 ms, v1's 90 ms: no harm seen yet; v2 is not judged for proof in the first 15 s of a step"]
        .assert_eq(&rollout.gate("latency").explain);
    rollout.seconds(60, Answers::WELL, Answers::WELL);
    let latency = rollout.gate("latency");
    assert_eq!(latency.verdict, Verdict::Pass, "{latency:?} {:?}", rollout.judge.dispersion());
    expect!["v2's p50 is about 20 ms, v1's 20 ms; its p95 62 ms, v1's 64 ms; its p99 102 ms, v1's 101 ms: that v2 takes 25 % longer at p50 or p95, or 50 % longer at p99, is ruled out"].assert_eq(&latency.explain);
    rollout.seconds(300, Answers::WELL, Answers::WELL);
    let errors = rollout.gate("errors");
    assert_eq!(errors.verdict, Verdict::Pass, "{errors:?}");
    expect!["v2 fails 0.13 % of requests, v1 0.095 %: more than 1.5 times v1's rate plus 0.1 points is ruled out"]
        .assert_eq(&errors.explain);
}

#[test]
fn edges_are_of_the_past_alone() {
    // Stable becomes slower in the very second in which the canary does: with edges of that second, neither would be
    // beyond them.
    const P95: usize = crate::statistics::levels::edge_at(0.95);
    let mut clients = Clients::new(11);
    let background = clients.background(60, 300);
    let edges = background.latencies().enough().unwrap().edges();
    let plan = Plan { warmup: Duration::ZERO, ..plan(&[GateRule::LATENCY]) };
    let mut judge = Judge::new(Trial { background, ..Trial::of(&plan, "v1", "v2") });
    let slow = Answers { slower: 4.0, ..Answers::WELL };
    let (stable, canary) = (clients.ask(300, slow), clients.ask(100, slow));
    judge.tick(&Tick::of(0, &stable, &canary));
    let beyond_p95 = stable.latency_good.iter().filter(|(bucket, _)| *bucket >= edges[P95]).map(|(_, count)| count);
    assert_eq!(gate(&judge.gates(), "latency").counts.unwrap().events.stable, beyond_p95.sum::<u64>());
    assert!(judge.background().latencies().enough().unwrap().edges()[P95] > edges[P95]);
}

#[test]
fn versions_of_the_same_latencies_are_rolled_back_in_at_most_two_of_a_hundred_rollouts() {
    let strict = |quantile| {
        let GateRule::Latency { margin, of, .. } = GateRule::LATENCY else { panic!() };
        GateRule::Latency { quantile, tolerance: config::Stretch::ZERO, margin, of }
    };
    let mut false_rollbacks = 0;
    for seed in 0..100 {
        let mut rollout = Rollout::warm(seed, &[errors((1.0, 0.0)), strict(None), strict(Some(Quantile::P99))]);
        rollout.requests = Arms { stable: 150, canary: 50 };
        for minute in 0..4 {
            // Both are slower at times, and fail more.
            let slower = [1.0, 1.5, 0.8, 3.0][(seed as usize + minute) % 4];
            let both = Answers { slower, failing: 0.002 * slower, ..Answers::WELL };
            rollout.seconds(20, both, both);
            rollout.judge.new_step();
        }
        false_rollbacks += u32::from(rollout.judge.judgement().harm.is_some());
    }
    assert!(false_rollbacks <= 2, "{false_rollbacks} of 100");
}
