//! Proof that harm of the margin's size is not there.

use super::clients::{Answers, Rollout};
use super::*;

fn every_kind() -> [GateRule; 5] {
    let GateRule::Latency { tolerance, margin, of, .. } = GateRule::LATENCY else { panic!() };
    let quantile = GateRule::Latency { quantile: Some(Quantile::new(0.9).unwrap()), tolerance, margin, of };
    [errors(DEFAULT_TOLERANCE), GateRule::LATENCY, quantile, error_limit(0.05), latency_limit(0.99, 2_000)]
}

#[test]
fn a_good_canary_is_proven_once_every_gate_passes_and_must_be_proven_anew_in_each_step() {
    let mut rollout = Rollout::warm(1, &every_kind());
    for _ in 0..2 {
        assert!(!rollout.judge.judgement().proven);
        let seconds = (1..300).find(|_| {
            rollout.seconds(1, Answers::WELL, Answers::WELL);
            rollout.judge.judgement().proven
        });
        assert!(seconds.is_some_and(|seconds| seconds > 3), "{:?}: {:?}", seconds, rollout.judge.gates());
        let gates = rollout.judge.gates();
        assert!(gates.iter().all(|gate| gate.verdict == Verdict::Pass && gate.proof == Some(1.0)), "{gates:?}");
        rollout.judge.new_step();
        let gates = rollout.judge.gates();
        assert!(gates.iter().all(|gate| gate.verdict != Verdict::Pass && gate.proof.is_none()), "{gates:?}");
    }
}

#[test]
fn what_was_proven_must_still_hold() {
    let mut rollout = Rollout::warm(2, &[error_limit(0.05)]);
    rollout.seconds(25, Answers::WELL, Answers::WELL);
    assert!(rollout.judge.judgement().proven);
    // An incident of both versions: no harm of the canary's, and no time to give it more traffic.
    let incident = Answers { failing: 0.5, ..Answers::WELL };
    rollout.seconds(1, incident, incident);
    let judgement = rollout.judge.judgement();
    assert_eq!((judgement.proven, judgement.suspicion, &judgement.harm, &judgement.hold), (false, false, &None, &None));
    assert_eq!(rollout.gate("errors-limit").verdict, Verdict::Inconclusive);
    let seconds = (1..600).find(|_| {
        rollout.seconds(1, Answers::WELL, Answers::WELL);
        rollout.judge.judgement().proven
    });
    assert!(seconds.is_some_and(|seconds| seconds > 5), "it is over in {seconds:?} s");
}

#[test]
fn nothing_passes_while_the_canary_is_suspected_to_be_over_its_limit() {
    let mut rollout = Rollout::warm(2, &[error_limit(0.05)]);
    // So much proof that the incident alone does not use it up.
    rollout.seconds(600, Answers::WELL, Answers::WELL);
    let mut suspected = false;
    for _ in 0..8 {
        let over = Answers { failing: 0.14, ..Answers::WELL };
        rollout.seconds(1, over, over);
        let (judgement, view) = (rollout.judge.judgement(), rollout.gate("errors-limit"));
        let over_limit = rollout.judge.family.reading(0).over_limit.unwrap();
        assert_eq!(judgement.proven, over_limit < log(10.0), "{over_limit}: {view:?}");
        suspected |= view.proof == Some(1.0) && over_limit >= log(10.0) && judgement.hold.is_none();
    }
    assert!(suspected);
}

/// Since the canary is exposed like this it hangs a tenth of its requests for 15 s. Those that were in flight before
/// are not judged, so of the others only the fast ones end at first.
fn exposed_to_hang(rollout: &mut Rollout) -> Option<i64> {
    rollout.judge.new_step();
    for second in 0..40 {
        let hanging = if second < 15 { Answers::WELL } else { Answers { hanging: 0.1, ..Answers::WELL } };
        rollout.requests.canary = if second < 15 { 900 } else { 1_000 };
        rollout.seconds(1, Answers::WELL, hanging);
        if rollout.judge.judgement().proven {
            return Some(second);
        }
    }
    None
}

#[test]
fn nothing_is_proven_by_the_fast_answers_of_a_new_step() {
    for seed in 0..10 {
        let mut rollout = Rollout::warm(seed, &default_gates());
        rollout.requests = Arms { stable: 4_000, canary: 1_000 };
        rollout.seconds(30, Answers::WELL, Answers::WELL);
        assert_eq!(exposed_to_hang(&mut rollout), None, "seed {seed}");
        assert!(rollout.judge.judgement().harm.is_some());
    }
}

#[test]
fn the_first_fifteen_seconds_of_a_step_prove_nothing_and_say_so() {
    let mut rollout = Rollout::warm(5, &default_gates());
    rollout.requests = Arms { stable: 4_000, canary: 1_000 };
    for _ in 0..2 {
        rollout.seconds(15, Answers::WELL, Answers::WELL);
        let (errors, latency) = (rollout.gate("errors"), rollout.gate("latency"));
        assert_eq!((errors.proof, latency.proof, rollout.judge.judgement().proven), (None, None, false));
        for explain in [errors.explain, latency.explain] {
            let ending = ": no harm seen yet; v2 is not judged for proof in the first 15 s of a step";
            assert!(explain.ends_with(ending), "{explain}");
        }
        rollout.seconds(3, Answers::WELL, Answers::WELL);
        let (errors, latency) = (rollout.gate("errors"), rollout.gate("latency"));
        assert!(errors.proof.is_some() && latency.proof.is_some() && !errors.explain.contains("15 s"), "{errors:?}");
        rollout.judge.new_step();
    }
}

#[test]
fn where_the_service_waits_longer_for_an_answer_nothing_is_proven_for_as_long() {
    let plan = Plan { warmup: Duration::ZERO, ..plan(&[errors(DEFAULT_TOLERANCE)]) };
    let mut rollout = Rollout::of(5, &plan);
    let first_byte = Duration::from_millis(39_500);
    rollout.judge = Judge::new(Trial { first_byte, ..Trial::of(&plan, "v1", "v2") });
    rollout.seconds(40, Answers::WELL, Answers::WELL);
    let errors = rollout.gate("errors");
    assert_eq!(errors.proof, None);
    assert!(errors.explain.ends_with("v2 is not judged for proof in the first 40 s of a step"), "{}", errors.explain);
    rollout.judge = serde_json::from_str(&serde_json::to_string(&rollout.judge).unwrap()).unwrap();
    rollout.judge.settle();
    rollout.seconds(40, Answers::WELL, Answers::WELL);
    let errors = rollout.gate("errors");
    assert!(errors.explain.ends_with("in the first 40 s after a restart"), "{}", errors.explain);
    rollout.seconds(3, Answers::WELL, Answers::WELL);
    assert!(rollout.gate("errors").proof.is_some());
}

#[test]
fn a_gate_of_errors_says_that_its_proof_waits_for_the_warm_up() {
    let mut rollout = Rollout::of(6, &plan(&[errors(DEFAULT_TOLERANCE)]));
    rollout.seconds(20, Answers::WELL, Answers::WELL);
    let explain = rollout.gate("errors").explain;
    let ending = ": no harm seen yet; v2 warms up and is not judged for proof for another 11 s";
    assert!(explain.ends_with(ending), "{explain}");
}

#[test]
fn a_canary_that_is_worse_by_the_margin_is_seldom_proven() {
    let mut proven = 0;
    for seed in 0..100 {
        let mut rollout = Rollout::warm(seed, &[errors(DEFAULT_TOLERANCE)]);
        let (stable, canary) =
            (Answers { failing: 0.01, ..Answers::WELL }, Answers { failing: 0.016, ..Answers::WELL });
        rollout.seconds(60, stable, canary);
        proven += u32::from(rollout.gate("errors").proof == Some(1.0));
    }
    assert!(proven <= 10, "{proven} of 100 at a beta of 5 %");
}

#[test]
fn without_a_gate_nothing_is_proven() {
    let mut rollout = Rollout::warm(3, &[]);
    rollout.seconds(60, Answers::WELL, Answers::WELL);
    assert!(!rollout.judge.judgement().proven);
}

#[test]
fn a_canary_without_traffic_is_not_proven_however_well_it_did_before() {
    let mut rollout = Rollout::warm(4, &[error_limit(0.05)]);
    rollout.seconds(40, Answers::WELL, Answers::WELL);
    assert!(rollout.judge.judgement().proven);
    rollout.requests.canary = 0;
    rollout.seconds(30, Answers::WELL, Answers::WELL);
    assert!(!rollout.judge.judgement().proven);
    assert_eq!(rollout.gate("errors-limit").verdict, Verdict::NoData);
}
