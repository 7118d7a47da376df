//! T4: is the canary broken outright?

use libm::log;

use super::increment::{OneSample, TwoLevels, ll_bern};
use super::mixture::{Misfit, Mixture, Wealth};
use super::{INVEST_AT_STEP, INVEST_LATER, START_SHARE};
use crate::view::Arms;

/// A canary that fails more than this is broken, if stable does not.
const LIMIT: f64 = 0.10;
/// The alternatives to [`LIMIT`].
const RATES: [f64; 2] = [0.5, 0.95];
/// The alternatives to "no worse than stable": failure rates of stable and canary.
const PAIRS: [(f64, f64); 3] = [(0.02, 0.5), (0.02, 0.95), (0.3, 0.95)];

/// The breaker: the smaller of a test of "the canary fails at most one request in ten" and one of "it fails no more
/// than stable". It has no cap and ends its block with every batch, so that a canary that breaks outright is seen
/// within a handful of requests, also in the middle of a good second.
#[derive(Debug, Clone, PartialEq)]
pub struct Breaker {
    rates: [OneSample; RATES.len()],
    absolute: Mixture,
    pairs: [TwoLevels; PAIRS.len()],
    relative: Mixture,
    /// Since the step began.
    batches: u64,
}

impl Default for Breaker {
    fn default() -> Self {
        let absolute = RATES.map(|rate| log(rate / LIMIT));
        let relative = PAIRS.map(|(stable, canary)| log(canary / stable));
        let weights = |(stable, canary): (f64, f64)| [(1.0 - canary) / (1.0 - stable), canary / stable];
        Self {
            rates: RATES.map(|rate| OneSample::new(LIMIT, rate)),
            pairs: PAIRS.map(|pair| TwoLevels::new(weights(pair))),
            absolute: Mixture::new(&[1.0; RATES.len()], &absolute, START_SHARE, None),
            relative: Mixture::new(&[1.0; PAIRS.len()], &relative, START_SHARE, None),
            batches: 0,
        }
    }
}

impl Breaker {
    /// Adds one batch. `phi` (at least 1) is the dispersion of the failures.
    pub fn add(&mut self, bad: Arms<u64>, requests: Arms<u64>, phi: f64) {
        let Self { rates, absolute, pairs, relative, .. } = self;
        absolute.add(rates.iter().map(|rate| rate.ll(bad.canary, requests.canary)), phi);
        relative.add(pairs.iter().map(|pair| pair.ll(bad, requests)), phi);
    }

    /// The evidence that the canary is broken, in nats.
    #[must_use]
    pub fn log_evidence(&self) -> f64 {
        self.absolute.log_evidence().min(self.relative.log_evidence())
    }

    /// What one batch says of "fails half of its requests" against "fails one in ten", in nats: above 0 where the
    /// canary looks broken in this batch.
    #[must_use]
    pub fn leaning(bad: u64, requests: u64) -> f64 {
        ll_bern(bad, requests, LIMIT, RATES[0])
    }

    /// Ends the block. After every batch, once its verdict is read.
    pub fn end_batch(&mut self) {
        self.batches = self.batches.saturating_add(1);
        for mixture in self.mixtures_mut() {
            mixture.end_block();
        }
        let share = INVEST_LATER / (self.batches as f64 + 1.0);
        for mixture in self.mixtures_mut() {
            mixture.invest(share);
        }
    }

    /// A step began. Only after [`end_batch`](Self::end_batch).
    pub fn begin_step(&mut self) {
        self.batches = 0;
        for mixture in self.mixtures_mut() {
            mixture.invest(INVEST_AT_STEP);
        }
    }

    /// How many batches ended since the step began, and what the tests have won and lost.
    #[must_use]
    pub fn saved(&self) -> (u64, [Wealth; 2]) {
        (self.batches, [self.absolute.wealth().clone(), self.relative.wealth().clone()])
    }

    /// Goes on from what was saved.
    ///
    /// # Errors
    /// [`Misfit`] where it is of another shape or not finite.
    pub fn restored(batches: u64, [absolute, relative]: [Wealth; 2]) -> Result<Self, Misfit> {
        let mut breaker = Self { batches, ..Self::default() };
        breaker.absolute.restore(absolute)?;
        breaker.relative.restore(relative)?;
        Ok(breaker)
    }

    fn mixtures_mut(&mut self) -> [&mut Mixture; 2] {
        [&mut self.absolute, &mut self.relative]
    }
}
