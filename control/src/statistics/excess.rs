//! T1: does an event happen more often on the canary than the tolerance over stable allows?

use libm::log;

use super::increment::ll_count_of;
use super::mixture::{Cap, Mixture};
use super::{BLOCKS, START_SHARE};
use crate::view::Arms;

/// How many times the tolerated rate the canary's may be: the grid of alternatives.
pub const RATIOS: [f64; 8] = [1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 150.0];
/// How the stake is spread over [`RATIOS`].
pub const PRIOR: [f64; 8] = [0.06, 0.11, 0.16, 0.19, 0.18, 0.14, 0.10, 0.06];

/// The test of "canary rate <= `ratio` x stable's rate + `points`, at all times" (Lindon & Malek 2022, with a
/// tolerance).
#[derive(Debug, Clone, PartialEq)]
pub struct Excess {
    ratio: f64,
    points: f64,
    /// Of [`RATIOS`].
    logs: [f64; RATIOS.len()],
    mixture: Mixture,
}

impl Excess {
    /// A test with this tolerance (`ratio` at least 1, `points` a fraction of requests) that, alone, would act at
    /// level `alpha`.
    #[must_use]
    pub fn new(ratio: f64, points: f64, alpha: f64) -> Self {
        let cap = Cap { alpha, blocks: BLOCKS };
        let logs = RATIOS.map(log);
        Self { ratio, points, logs, mixture: Mixture::new(&PRIOR, &logs, START_SHARE, Some(cap)) }
    }

    /// Adds one batch's events. `phi` (at least 1) is their dispersion.
    pub fn add(&mut self, events: Arms<u64>, requests: Arms<u64>, phi: f64) {
        self.add_tolerating(self.ratio, events, requests, phi);
    }

    /// Adds one batch's events, tolerating this ratio to stable's rate where it is larger than the test's own:
    /// [`tolerance_ratio`](super::placebo::tolerance_ratio).
    pub fn add_tolerating(&mut self, ratio: f64, events: Arms<u64>, requests: Arms<u64>, phi: f64) {
        let Self { ratio: own, points, logs, mixture } = self;
        let null = (ratio.max(*own), *points);
        let increments = RATIOS.iter().zip(logs).map(|(r, log)| ll_count_of(events, requests, null, *r, *log));
        mixture.add(increments, phi);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_ratio_is_tolerated_for_a_batch_and_a_narrower_one_is_not() {
        let (events, requests) = (Arms { stable: 10, canary: 9 }, Arms { stable: 950, canary: 50 });
        let tolerating = |ratio| {
            let mut test = Excess::new(1.1, 0.0005, 0.005);
            test.add_tolerating(ratio, events, requests, 1.0);
            test.mixture().log_evidence()
        };
        let mut own = Excess::new(1.1, 0.0005, 0.005);
        own.add(events, requests, 1.0);
        assert_eq!(tolerating(0.5).to_bits(), own.mixture().log_evidence().to_bits());
        assert_eq!(tolerating(1.1).to_bits(), own.mixture().log_evidence().to_bits());
        assert!(tolerating(8.0) < tolerating(1.1));
    }
}
