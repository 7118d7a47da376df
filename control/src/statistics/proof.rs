//! T5: is harm of a gate's margin ruled out?
//!
//! The tests of T1 to T3 turned round: the null hypothesis is that the canary is worse by the margin or more, and
//! evidence against it is proof that it is not. A step passes a gate once that evidence reaches `1/beta`; all gates must
//! pass, so a canary that is worse at any of them passes a step with a chance of at most `beta`, without a
//! correction. They begin anew at each step, stake everything at once and have no cap.

use libm::log;

use super::increment::{OneSample, TwoLevels, ll_count_of};
use super::limit::within_odds;
use super::mixture::Mixture;
use super::quantile::two_levels;
use crate::view::Arms;

/// How many times the margin's rate the canary's may really be: the grid of alternatives, all of one weight.
pub const RATIOS: [f64; 8] = [0.9, 0.8, 0.65, 0.5, 0.35, 0.2, 0.08, 0.02];

fn stake() -> Mixture {
    Mixture::new(&[1.0; RATIOS.len()], &RATIOS.map(log), 1.0, None)
}

/// Refutes "canary rate >= `ratio` x stable's rate + `points`".
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorProof {
    ratio: f64,
    points: f64,
    /// Of [`RATIOS`].
    logs: [f64; RATIOS.len()],
    mixture: Mixture,
}

impl ErrorProof {
    /// With this margin: `ratio` above 0, `points` a fraction of requests.
    #[must_use]
    pub fn new(ratio: f64, points: f64) -> Self {
        Self { ratio, points, logs: RATIOS.map(log), mixture: stake() }
    }

    /// Adds one batch's events. `phi` (at least 1) is their dispersion.
    pub fn add(&mut self, events: Arms<u64>, requests: Arms<u64>, phi: f64) {
        let Self { ratio, points, logs, mixture } = self;
        let null = (*ratio, *points);
        let increments = RATIOS.iter().zip(logs).map(|(r, log)| ll_count_of(events, requests, null, *r, *log));
        mixture.add(increments, phi);
    }

    /// The stake behind the test.
    #[must_use]
    pub const fn mixture(&self) -> &Mixture {
        &self.mixture
    }

    /// The stake behind the test, to end blocks.
    pub const fn mixture_mut(&mut self) -> &mut Mixture {
        &mut self.mixture
    }
}

/// Refutes "the canary's part beyond its edge is at least stable's beyond its own", the canary's edge being that of
/// stable's quantile, longer by the margin.
///
/// The canary's edge must be rounded down to a bucket ([`shift_edge_down`](super::edges::shift_edge_down)): rounded up
/// it would prove a little less than the margin.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantileProof {
    /// Density ratios below the edge and beyond it: they fall.
    weights: [TwoLevels; RATIOS.len()],
    mixture: Mixture,
}

impl QuantileProof {
    /// At the edge of this quantile, strictly between 0 and 1.
    #[must_use]
    pub fn new(quantile: f64) -> Self {
        Self { weights: RATIOS.map(|ratio| TwoLevels::new(two_levels(quantile, ratio))), mixture: stake() }
    }

    /// Adds one batch: how many latencies were beyond the edge, of how many. `phi` (at least 1) is their dispersion.
    pub fn add(&mut self, over: Arms<u64>, requests: Arms<u64>, phi: f64) {
        let Self { weights, mixture } = self;
        mixture.add(weights.iter().map(|h| h.ll(over, requests)), phi);
    }

    /// The stake behind the test.
    #[must_use]
    pub const fn mixture(&self) -> &Mixture {
        &self.mixture
    }

    /// The stake behind the test, to end blocks.
    pub const fn mixture_mut(&mut self) -> &mut Mixture {
        &mut self.mixture
    }
}

/// Refutes "canary rate >= limit", whatever stable does.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitProof {
    rates: [OneSample; RATIOS.len()],
    mixture: Mixture,
}

impl LimitProof {
    /// For this limit, a rate strictly between 0 and 1; the nearest rate that has odds stands in for 0 and 1.
    #[must_use]
    pub fn new(limit: f64) -> Self {
        let limit = within_odds(limit);
        Self { rates: RATIOS.map(|ratio| OneSample::new(limit, limit * ratio)), mixture: stake() }
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

    /// The stake behind the test, to end blocks.
    pub const fn mixture_mut(&mut self) -> &mut Mixture {
        &mut self.mixture
    }
}
