//! Whatever is counted, evidence is a number; and what was saved goes on with the same bits.

use proptest::prelude::*;

use crate::statistics::draws::Draws;
use crate::statistics::placebo::{scale_phi, tolerance_ratio};
use crate::statistics::{
    Breaker, ErrorProof, Excess, LevelCounts, LimitProof, Mixture, OverLimit, OverQuantile, QuantileProof, Shape,
    Wealth,
};
use crate::view::Arms;

const MOST: u64 = 1_000_000_000_000;

/// One of each.
#[derive(Debug, Clone, PartialEq)]
struct Tests {
    excess: Excess,
    shape: Shape,
    quantile: OverQuantile,
    limit: OverLimit,
    breaker: Breaker,
    error_proof: ErrorProof,
    quantile_proof: QuantileProof,
    limit_proof: LimitProof,
    draws: Draws,
}

/// What the tests are made with.
#[derive(Debug, Clone, Copy)]
struct Rules {
    ratio: f64,
    points: f64,
    quantile: f64,
    limit: f64,
    weight: f64,
    alpha: f64,
}

#[derive(Debug, Clone, Copy)]
struct Batch {
    requests: Arms<u64>,
    events: Arms<u64>,
    levels: Arms<LevelCounts>,
    phi: f64,
    ends_block: bool,
}

impl Tests {
    fn new(rules: Rules) -> Self {
        let Rules { ratio, points, quantile, limit, alpha, .. } = rules;
        Self {
            excess: Excess::new(ratio, points, alpha),
            shape: Shape::new(alpha),
            quantile: OverQuantile::new(quantile, alpha),
            limit: OverLimit::new(limit, alpha),
            breaker: Breaker::default(),
            error_proof: ErrorProof::new(ratio, points),
            quantile_proof: QuantileProof::new(quantile),
            limit_proof: LimitProof::new(limit),
            draws: Draws::new(),
        }
    }

    fn add(&mut self, batch: &Batch, rules: Rules) {
        let Batch { requests, events, levels, phi, ends_block } = batch;
        self.excess.add(*events, *requests, *phi);
        self.shape.add(levels, *phi);
        self.quantile.add(*events, *requests, *phi);
        self.limit.add(events.canary, requests.canary, *phi);
        self.breaker.add(*events, *requests, *phi);
        self.error_proof.add(*events, *requests, *phi);
        self.quantile_proof.add(*events, *requests, *phi);
        self.limit_proof.add(events.canary, requests.canary, *phi);
        self.draws.add(events.canary, requests.canary, rules.weight);
        self.breaker.end_batch();
        if *ends_block {
            for mixture in self.mixtures_mut() {
                mixture.end_block();
                mixture.invest(0.2);
            }
        }
    }

    fn mixtures_mut(&mut self) -> [&mut Mixture; 8] {
        [
            self.excess.mixture_mut(),
            self.shape.mixture_mut(),
            self.quantile.mixture_mut(),
            self.limit.mixture_mut(),
            self.error_proof.mixture_mut(),
            self.quantile_proof.mixture_mut(),
            self.limit_proof.mixture_mut(),
            self.draws.mixture_mut(),
        ]
    }

    fn evidence(&self) -> Vec<f64> {
        let mixtures = self.clone().mixtures_mut().map(|mixture| mixture.log_evidence());
        mixtures.into_iter().chain([self.breaker.log_evidence()]).collect()
    }

    /// As after a restart: made anew, and given what was saved as JSON.
    fn restarted(&self, rules: Rules) -> Self {
        let json =
            |wealth: &Wealth| -> Wealth { serde_json::from_str(&serde_json::to_string(wealth).unwrap()).unwrap() };
        let mut restarted = Self::new(rules);
        for (fresh, old) in restarted.mixtures_mut().into_iter().zip(self.clone().mixtures_mut()) {
            fresh.restore(json(old.wealth())).unwrap();
        }
        let (batches, wealth) = self.breaker.saved();
        restarted.breaker = Breaker::restored(batches, wealth.each_ref().map(json)).unwrap();
        restarted
    }
}

/// A fraction, its ends as likely as all between them.
fn any_fraction() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), 0.0..=1.0f64, Just(1.0)]
}

fn any_rules() -> impl Strategy<Value = Rules> {
    (1.0..100.0f64, any_fraction(), 0.01..=0.9999f64, any_fraction(), any_fraction(), 1e-9..0.5f64).prop_map(
        |(ratio, points, quantile, limit, weight, alpha)| Rules { ratio, points, quantile, limit, weight, alpha },
    )
}

/// Small, large and absurd counts alike.
fn any_count() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0u64..50, 0u64..100_000, 0..=MOST, Just(MOST)]
}

fn any_batch() -> impl Strategy<Value = Batch> {
    let arms = || (any_count(), any_count());
    let levels = || prop::array::uniform(any_count());
    (arms(), arms(), levels(), levels(), prop_oneof![Just(1.0), 1.0..1e9f64], any::<bool>()).prop_map(
        |((nb, nc), (kb, kc), stable, canary, phi, ends_block)| Batch {
            requests: Arms { stable: nb, canary: nc },
            events: Arms { stable: kb.min(nb), canary: kc.min(nc) },
            levels: Arms { stable, canary },
            phi,
            ends_block,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn evidence_is_finite_and_a_restart_changes_no_bit(
        rules in any_rules(),
        batches in prop::collection::vec(any_batch(), 1..20),
        restart_at in any::<prop::sample::Index>(),
    ) {
        let restart_at = restart_at.index(batches.len());
        let mut tests = Tests::new(rules);
        let mut restarted = tests.clone();
        for (at, batch) in batches.iter().enumerate() {
            tests.add(batch, rules);
            restarted.add(batch, rules);
            if at == restart_at {
                restarted = tests.restarted(rules);
            }
            let (ours, theirs) = (tests.evidence(), restarted.evidence());
            for (place, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
                prop_assert!(ours.is_finite(), "test {place} says {ours} after {batch:?}");
                prop_assert_eq!(ours.to_bits(), theirs.to_bits());
            }
        }
        prop_assert_eq!(tests, restarted);
    }

    #[test]
    fn tolerances_and_dispersions_are_finite_whatever_the_sizes(
        phi in 1.0..1e12f64,
        spread in 0.0..1e3f64,
        ratio in 1.0..1e3f64,
        size in prop_oneof![Just(f64::INFINITY), Just(0.0), 0.0..1e15f64],
    ) {
        prop_assert!(scale_phi(phi, size).is_finite() && scale_phi(phi, size) >= phi * (1.0 - 1e-12));
        prop_assert!(tolerance_ratio(ratio, spread, size).is_finite() && tolerance_ratio(ratio, spread, size) >= ratio);
    }
}
