//! Whole rollouts against vectors of an independent implementation.

use super::*;
use crate::statistics::golden::{self, Scenario, assert_close};

/// Errors with the tolerance that the spread asks for, the shape of latency, and at most 5 % errors.
fn family_of(scenario: &Scenario) -> Family {
    let ratio = (1.0 + scenario.spread).powf(2.5);
    let plan = plan(&[errors((ratio, 0.0)), GateRule::LATENCY, error_limit(0.05)]);
    Family::new(&Settings::new(&plan, "v1", "v2"))
}

#[test]
fn the_evidence_of_whole_rollouts_agrees_with_the_golden_vectors() {
    let mut rows = 0;
    for scenario in golden::rollouts().scenarios {
        let mut family = family_of(&scenario);
        for (at, row) in scenario.rows.iter().enumerate() {
            if at == scenario.step_before_batch {
                family.begin_step();
            }
            let batch = Batch { requests: row.requests(), bad: row.bad(), over: Vec::new() };
            family.add(&batch, scenario.phi_errors);
            let readings: Vec<_> = family.readings().collect();
            let what = |test: &str| format!("{test} in batch {at} of '{}'", scenario.name);
            let (errors, limit) = (readings[0].unwrap(), readings[2].unwrap());
            assert_close(errors.harm, row.t1, &what("T1"));
            assert_close(limit.over_limit.unwrap(), row.t3, &what("T3"));
            assert_close(limit.harm, row.t1.min(row.t3), &what("the smaller of both"));
            assert_close(family.breaker().log_evidence(), row.breaker, &what("T4"));
            assert_eq!(readings[1], None);
            family.end_batch();
            if (at + 1) % scenario.batches_per_block == 0 {
                family.end_block();
            }
            rows += 1;
        }
    }
    assert_eq!(rows, 268 + 58 + 1 + 51 + 60 + 14 + 84 + 46 + 97);
}
