//! All tests together over whole rollouts, against vectors of an independent implementation.

use libm::log;

use crate::statistics::golden::{self, RolloutRow, Scenario, Verdict, assert_close};
use crate::statistics::levels::{edge_at, specified};
use crate::statistics::placebo::tolerance_ratio;
use crate::statistics::{
    Breaker, ErrorProof, Excess, INVEST_AT_STEP, INVEST_LATER, LevelCounts, Mixture, OverLimit, QuantileProof, Shape,
    log_sum_exp,
};
use crate::view::Arms;

const ALPHA: f64 = 0.009;
const ALPHA_BREAKER: f64 = 0.001;
const BETA: f64 = 0.05;
const SHARES: [f64; 3] = [0.5, 0.4, 0.1];
const BREAKER_MIN_EVENTS: u64 = 4;
/// Quantiles of the proof, and the number of the level edge that lies there.
const PROVEN: [(f64, usize); 3] = [(0.5, edge_at(0.5)), (0.95, edge_at(0.95)), (0.99, edge_at(0.99))];

/// The smallest judge that uses every test.
struct Monitor {
    errors: Excess,
    latency: Shape,
    limit: OverLimit,
    breaker: Breaker,
    error_proof: ErrorProof,
    latency_proof: [QuantileProof; 3],
    blocks: u32,
    bad: u64,
    highest: f64,
}

impl Monitor {
    fn new(scenario: &Scenario) -> Self {
        let [errors, latency, limit] = SHARES.map(|share| ALPHA * share);
        let (error_proof, latency_proof) = Self::proofs();
        Self {
            errors: Excess::new(tolerance_ratio(1.0, scenario.spread, 1.0), 0.0, errors),
            latency: Shape::against(specified::harms(), latency),
            limit: OverLimit::new(0.05, limit),
            breaker: Breaker::by_the_clock(),
            error_proof,
            latency_proof,
            blocks: 0,
            bad: 0,
            highest: f64::NEG_INFINITY,
        }
    }

    fn proofs() -> (ErrorProof, [QuantileProof; 3]) {
        (ErrorProof::new(1.5, 0.001), PROVEN.map(|(quantile, _)| QuantileProof::new(quantile)))
    }

    fn begin_step(&mut self) {
        self.guards().into_iter().for_each(|mixture| mixture.invest(INVEST_AT_STEP));
        self.breaker.begin_step();
        (self.error_proof, self.latency_proof) = Self::proofs();
        self.blocks = 0;
    }

    fn add(&mut self, row: &RolloutRow, scenario: &Scenario) {
        let (requests, bad) = (row.requests(), row.bad());
        self.bad += bad.canary;
        self.errors.add(bad, requests, scenario.phi_errors);
        self.limit.add(bad.canary, requests.canary, scenario.phi_errors);
        self.breaker.add(bad, requests, scenario.phi_errors);
        self.error_proof.add(bad, requests, scenario.phi_errors);
        self.latency.add(&row.levels(), scenario.phi_latency);
        let levels = row.proof_levels();
        for (proof, (_, edge)) in self.latency_proof.iter_mut().zip(PROVEN) {
            let over = |levels: &LevelCounts| levels[edge + 1..].iter().sum();
            let over = Arms { stable: over(&levels.stable), canary: over(&levels.canary) };
            proof.add(over, requests, scenario.phi_latency);
        }
    }

    fn verdict(&mut self) -> Verdict {
        let family = self.family();
        self.highest = self.highest.max(family);
        if self.breaker.log_evidence() >= log(1.0 / ALPHA_BREAKER) && self.bad >= BREAKER_MIN_EVENTS {
            return Verdict::RollbackBreaker;
        }
        if self.highest >= log(1.0 / ALPHA) {
            return Verdict::Rollback;
        }
        let mut proofs = self.latency_proof.iter().map(QuantileProof::mixture).chain([self.error_proof.mixture()]);
        if family < log(10.0) && proofs.all(|proof| proof.log_evidence() >= log(1.0 / BETA)) {
            return Verdict::Promote;
        }
        Verdict::Hold
    }

    fn family(&self) -> f64 {
        let errors = self.errors.mixture().log_evidence();
        let parts = [errors, self.latency.mixture().log_evidence(), self.limit.mixture().log_evidence().min(errors)];
        log_sum_exp(SHARES.into_iter().zip(parts).map(|(share, part)| log(share) + part))
    }

    fn end_block(&mut self) {
        self.blocks += 1;
        let late = self.blocks.is_multiple_of(10).then(|| INVEST_LATER / (f64::from(self.blocks / 10) + 1.0));
        for mixture in self.guards() {
            mixture.end_block();
            late.into_iter().for_each(|share| mixture.invest(share));
        }
        self.error_proof.mixture_mut().end_block();
        self.latency_proof.iter_mut().for_each(|proof| proof.mixture_mut().end_block());
    }

    fn guards(&mut self) -> [&mut Mixture; 3] {
        [self.errors.mixture_mut(), self.latency.mixture_mut(), self.limit.mixture_mut()]
    }
}

#[test]
fn every_test_and_every_verdict_of_whole_rollouts_agrees_with_the_golden_vectors() {
    let mut rows = 0;
    let mut said = Vec::new();
    for scenario in golden::rollouts().scenarios {
        let mut monitor = Monitor::new(&scenario);
        for (at, row) in scenario.rows.iter().enumerate() {
            if at == scenario.step_before_batch {
                monitor.begin_step();
            }
            monitor.add(row, &scenario);
            let verdict = monitor.verdict();
            let what = |test: &str| format!("{test} in batch {at} of '{}'", scenario.name);
            assert_close(monitor.errors.mixture().log_evidence(), row.t1, &what("T1"));
            assert_close(monitor.latency.mixture().log_evidence(), row.t2, &what("T2"));
            assert_close(monitor.limit.mixture().log_evidence(), row.t3, &what("T3"));
            assert_close(monitor.breaker.log_evidence(), row.breaker, &what("T4"));
            assert_close(monitor.error_proof.mixture().log_evidence(), row.proof_errors, &what("T5 errors"));
            for (proof, expected) in monitor.latency_proof.iter().zip(row.proof_latency) {
                assert_close(proof.mixture().log_evidence(), expected, &what("T5 latency"));
            }
            assert_close(monitor.family(), row.family, &what("the family"));
            assert_eq!(verdict, row.verdict, "{}", what("the verdict"));
            monitor.breaker.end_batch();
            if (at + 1) % scenario.batches_per_block == 0 {
                monitor.end_block();
            }
            rows += 1;
        }
        said.extend(scenario.rows.last().map(|row| row.verdict));
    }
    assert_eq!(rows, 268 + 58 + 1 + 51 + 60 + 14 + 84 + 46 + 97);
    let [hold, promote, rollback, breaker] =
        [Verdict::Hold, Verdict::Promote, Verdict::Rollback, Verdict::RollbackBreaker];
    assert_eq!(said, [promote, rollback, breaker, breaker, hold, rollback, rollback, breaker, rollback]);
}
