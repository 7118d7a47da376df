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
fn what_was_proven_in_a_step_stays_proven_while_nothing_is_suspected() {
    let mut rollout = Rollout::warm(2, &[error_limit(0.05)]);
    rollout.seconds(20, Answers::WELL, Answers::WELL);
    assert!(rollout.judge.judgement().proven);
    // Two seconds just over the limit undo the evidence, not the proof; a limit that is broken outweighs both.
    let over = Answers { failing: 0.12, ..Answers::WELL };
    let mut outweighed = false;
    for _ in 0..20 {
        rollout.seconds(1, over, over);
        let judgement = rollout.judge.judgement();
        assert_eq!(judgement.proven, judgement.hold.is_none() && !judgement.suspicion && judgement.harm.is_none());
        outweighed |= judgement.hold.is_some();
    }
    assert!(outweighed);
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
    rollout.seconds(30, Answers::WELL, Answers::WELL);
    assert!(rollout.judge.judgement().proven);
    rollout.requests.canary = 0;
    rollout.seconds(30, Answers::WELL, Answers::WELL);
    assert!(!rollout.judge.judgement().proven);
    assert_eq!(rollout.gate("errors-limit").verdict, Verdict::NoData);
}
