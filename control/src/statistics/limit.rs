//! T3: does an event happen more often on the canary than a limit allows, whatever stable does?

use libm::log;

use super::increment::OneSample;
use super::mixture::{Cap, Mixture};
use super::{BLOCKS, START_SHARE};

/// How many times the limit's odds the canary's may be: the grid of alternatives, all of one weight.
pub const ODDS: [f64; 6] = [1.3, 1.7, 2.5, 4.0, 8.0, 30.0];
/// How near to 0 and 1 a limit may come.
const NEAREST: f64 = 1e-9;

/// The nearest rate to this one that can be bet against.
pub(super) const fn within_odds(rate: f64) -> f64 {
    rate.clamp(NEAREST, 1.0 - NEAREST)
}

/// The test of "canary rate <= limit, at all times": Wald's likelihood ratio, mixed over a grid of odds.
///
/// By itself it cannot tell a bad canary from a bad day: a limit is held against the canary only together with a
/// relative test, as the smaller of the two (the smaller of two e-processes is one for "either null is true").
#[derive(Debug, Clone, PartialEq)]
pub struct OverLimit {
    rates: [OneSample; ODDS.len()],
    mixture: Mixture,
}

impl OverLimit {
    /// A test of this limit (a rate, strictly between 0 and 1) that, alone, would act at level `alpha`. There is no bet
    /// against 0 or 1: the nearest rate that has odds stands in for them.
    #[must_use]
    pub fn new(limit: f64, alpha: f64) -> Self {
        let limit = within_odds(limit);
        let odds = limit / (1.0 - limit);
        let rates = ODDS.map(|times| odds * times / (1.0 + odds * times));
        let scores = rates.map(|rate| log(rate / limit));
        let cap = Cap { alpha, blocks: BLOCKS };
        Self {
            rates: rates.map(|rate| OneSample::new(limit, rate)),
            mixture: Mixture::new(&[1.0; ODDS.len()], &scores, START_SHARE, Some(cap)),
        }
    }

    /// Adds one batch of the canary's requests. `phi` (at least 1) is the dispersion of the events.
    pub fn add(&mut self, events: u64, requests: u64, phi: f64) {
        let Self { rates, mixture } = self;
        mixture.add(rates.iter().map(|rate| rate.ll(events, requests)), phi);
    }

    /// The stake behind the test.
    #[must_use]
    pub const fn mixture(&self) -> &Mixture {
        &self.mixture
    }

    /// The stake behind the test, to end blocks and invest.
    pub const fn mixture_mut(&mut self) -> &mut Mixture {
        &mut self.mixture
    }
}
