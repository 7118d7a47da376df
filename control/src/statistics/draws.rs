//! Do random draws follow the split?

use libm::{log, log1p};

use super::START_SHARE;
use super::mixture::Mixture;

/// How many times the weight's odds the draws' may be, to both sides: the grid of alternatives, all of one weight.
const ODDS: [f64; 10] = [0.5, 0.8, 0.9, 0.95, 0.98, 1.02, 1.05, 1.1, 1.25, 2.0];

/// The test of "each draw goes to the canary with the chance that its weight says, independently": Wald's likelihood
/// ratio of the binomial law, mixed over both sides.
///
/// The dice are the proxy's own, so there is no dispersion to temper for and no cap: a finding says that the split
/// or the count is wrong, and that no comparison of the two versions can be trusted.
#[derive(Debug, Clone, PartialEq)]
pub struct Draws {
    mixture: Mixture,
}

impl Default for Draws {
    fn default() -> Self {
        Self { mixture: Mixture::new(&[1.0; ODDS.len()], &ODDS.map(log), START_SHARE, None) }
    }
}

impl Draws {
    /// A test that saw no draw yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds draws that were made at one weight (a fraction): `canary` of `all` went to the canary. At a weight of 0 or
    /// 1 nothing is drawn, and nothing is said.
    pub fn add(&mut self, canary: u64, all: u64, weight: f64) {
        if !(weight > 0.0 && weight < 1.0) {
            return;
        }
        self.mixture.add(ODDS.iter().map(|odds| ll_odds(canary, all, weight, *odds)), 1.0);
    }

    /// The stake behind the test.
    #[must_use]
    pub const fn mixture(&self) -> &Mixture {
        &self.mixture
    }

    /// The stake behind the test, to invest. Without a cap there are no blocks to end.
    pub const fn mixture_mut(&mut self) -> &mut Mixture {
        &mut self.mixture
    }
}

/// The one-sample increment where the alternative has `odds` times the odds of `p`.
fn ll_odds(events: u64, all: u64, p: f64, odds: f64) -> f64 {
    events as f64 * log(odds) - all as f64 * log1p(p * (odds - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::golden::assert_close;
    use crate::statistics::increment::ll_bern;

    #[test]
    fn the_increment_is_the_one_sample_increment_in_odds() {
        for (canary, all, weight) in [(0, 10, 0.05), (3, 50, 0.05), (500, 1_000, 0.5), (7, 7, 0.9999)] {
            for odds in ODDS {
                let rate = weight * odds / (1.0 - weight + weight * odds);
                let what = format!("{canary} of {all} at {weight}, odds {odds}");
                assert_close(ll_odds(canary, all, weight, odds), ll_bern(canary, all, weight, rate), &what);
            }
        }
    }

    #[test]
    fn draws_that_miss_the_split_to_either_side_are_found_and_fair_ones_are_not() {
        for (canary, found) in [(500, false), (505, false), (450, true), (550, true)] {
            let mut test = Draws::new();
            for _ in 0..10 {
                test.add(canary, 10_000, 0.05);
            }
            assert_eq!(test.mixture().log_evidence() >= log(100.0), found, "{canary} of 10000 at 5 %");
        }
    }

    #[test]
    fn where_nothing_is_drawn_nothing_is_said() {
        let mut test = Draws::new();
        for weight in [0.0, 1.0, f64::NAN] {
            test.add(40, 100, weight);
        }
        assert_eq!(test, Draws::new());
    }
}
