//! Whole rollouts against vectors of an independent implementation: every test, the family, and the verdict.

use super::*;
use crate::judge::background::Temper;
use crate::judge::counting::{Counted, PROVEN_EDGES, sum};
use crate::statistics::blocks::Second;
use crate::statistics::golden::{self, RolloutRow, Scenario, assert_close};

/// Errors without a tolerance, the shape of latency, and at most 5 % errors.
fn settings() -> Settings {
    Settings::new(&plan(&[errors((1.0, 0.0)), GateRule::LATENCY, error_limit(0.05)]), "v1", "v2")
}

fn temper(scenario: &Scenario) -> Temper {
    let ratio = crate::statistics::placebo::tolerance_ratio(1.0, scenario.spread, 1.0);
    Temper { errors: scenario.phi_errors, latency: scenario.phi_latency, ratio }
}

/// The vectors have the levels at the margin's edges; a gate counts what of the canary is beyond those that prove.
fn counted(row: &RolloutRow) -> Counted {
    let at_margin = row.proof_levels();
    let beyond_margin = PROVEN_EDGES.map(|edge| sum(&at_margin.canary[edge + 1..]));
    Counted::Levels { levels: row.levels(), beyond_margin }
}

#[test]
fn the_evidence_and_verdicts_of_whole_rollouts_agree_with_the_golden_vectors() {
    let settings = settings();
    let (mut rows, mut verdicts) = (0, Vec::new());
    for scenario in golden::rollouts().scenarios {
        let (mut family, temper) = (Family::specified(&settings), temper(&scenario));
        let (mut failed, mut highest) = (0, f64::NEG_INFINITY);
        for (at, row) in scenario.rows.iter().enumerate() {
            if at == scenario.step_before_batch {
                family.begin_step();
                family.prove_anew(&settings.gates);
            }
            let batch = Batch { requests: row.requests(), bad: row.bad(), left: Arms::default() };
            for (gate, counted) in [Counted::Failures, counted(row), Counted::Failures].iter().enumerate() {
                family.add(gate, &batch, counted, temper, true);
            }
            family.read(0..3);
            family.add_to_breaker(&batch, temper);
            failed += row.bad_canary;

            let what = |test: &str| format!("{test} in batch {at} of '{}'", scenario.name);
            let [errors, latency, limit] = [0, 1, 2].map(|gate| *family.reading(gate));
            assert_close(errors.harm, row.t1, &what("T1"));
            assert_close(latency.harm, row.t2, &what("T2"));
            assert_close(limit.over_limit.unwrap(), row.t3, &what("T3"));
            assert_close(limit.harm, row.t1.min(row.t3), &what("the smaller of both"));
            assert_close(family.breaker().log_evidence(), row.breaker, &what("T4"));
            assert_close(family.log_evidence(Role::Guardrail), row.family, &what("the family"));
            assert_eq!(family.proof_now(0).len(), 1);
            assert_close(family.proof_now(0)[0], row.proof_errors, &what("T5 of errors"));
            for (ours, theirs) in family.proof_now(1).into_iter().zip(row.proof_latency) {
                assert_close(ours, theirs, &what("T5 of latency"));
            }

            highest = highest.max(row.family);
            let proven = [0, 1].iter().all(|gate| family.proof_now(*gate).iter().all(|nats| *nats >= log(20.0)));
            let verdict = if family.breaker().log_evidence() >= log(1_000.0) && failed >= BREAKER_MIN_EVENTS {
                golden::Verdict::RollbackBreaker
            } else if highest >= log(1.0 / settings.alpha_family()) {
                golden::Verdict::Rollback
            } else if proven && row.family < log(SUSPICION) {
                golden::Verdict::Promote
            } else {
                golden::Verdict::Hold
            };
            assert_eq!(verdict, row.verdict, "{}", what("the verdict"));
            if verdict == golden::Verdict::Promote {
                let proven = |gate: usize| family.proven(gate).log_evidence >= log(1.0 / settings.beta);
                assert!(proven(0) && proven(1), "what is proven now has been proven in this step");
            }
            if at + 1 == scenario.rows.len() {
                verdicts.push(verdict);
            }
            family.end_batch();
            if (at + 1) % scenario.batches_per_block == 0 {
                family.end_block(Second::default());
            }
            rows += 1;
        }
    }
    assert_eq!(rows, 268 + 58 + 1 + 51 + 60 + 14 + 84 + 46 + 97);
    for verdict in [golden::Verdict::Promote, golden::Verdict::Rollback, golden::Verdict::RollbackBreaker] {
        assert!(verdicts.contains(&verdict), "{verdicts:?}");
    }
}
