//! T2 at one quantile: is the canary's latency at a quantile longer than the tolerance over stable's allows?

use libm::log;

use super::increment::TwoLevels;
use super::mixture::{Cap, Mixture};
use super::{BLOCKS, START_SHARE};
use crate::view::Arms;

/// How many times stable's part beyond the edge the canary's may be, from p90 on.
const TAIL_RATIOS: [f64; 4] = [1.4, 2.5, 6.0, 20.0];
/// How many times the odds of being beyond the edge the canary's may be, below p90: there no ratio of 2.5 is possible.
const BODY_ODDS: [f64; 4] = [1.2, 1.7, 3.0, 9.0];
/// From here on [`TAIL_RATIOS`] are tried.
const TAIL_FROM: f64 = 0.9;
/// No more than this part of the canary's requests is ever supposed to be beyond the edge.
const MOST_BEYOND: f64 = 0.9;

/// The test of "the canary's part beyond its (shifted) edge is at most stable's beyond its own, at all times", at the
/// edge of one quantile.
///
/// Two levels, below the edge and beyond it, with the density ratios `h = ((1 - (1 - q) r) / q, r)` of a canary that
/// has `r` times what stable has beyond its quantile `q`. The grid of `r`:
/// - from p90 on 1.4, 2.5, 6 and 20, as far as `r (1 - q) <= 0.9` (p90 and p95: up to 6);
/// - below p90, where hardly any of those is possible, what 1.2, 1.7, 3 and 9 times the odds come to: at the median
///   1.09, 1.26, 1.5 and 1.8.
///
/// Why it is valid: `h` is positive and rises (`r > 1` gives `(1 - (1 - q) r) / q < 1`), and the increment on ordered
/// levels has a mean of at most 1 for every such `h`, whether or not the edge really is at the quantile `q`. With
/// `g(l) = (n_c h(l) + n_b) / n`, if both versions have one law of levels, then `n_c ln E[h/g] + n_b ln E[1/g] <=
/// n ln E[((n_c/n) h + n_b/n) / g] = 0` by Jensen's inequality; and `h/g` rises while `1/g` falls in `h`, so a canary
/// with less beyond the edge only lowers the mean.
#[derive(Debug, Clone, PartialEq)]
pub struct OverQuantile {
    /// Density ratios below the edge and beyond it.
    weights: Vec<[f64; 2]>,
    levels: Vec<TwoLevels>,
    mixture: Mixture,
}

impl OverQuantile {
    /// A test at the edge of this quantile (strictly between 0 and 1) that, alone, would act at level `alpha`.
    #[must_use]
    pub fn new(quantile: f64, alpha: f64) -> Self {
        let beyond = 1.0 - quantile;
        let ratios: Vec<f64> = if quantile >= TAIL_FROM {
            TAIL_RATIOS.into_iter().filter(|ratio| ratio * beyond <= MOST_BEYOND).collect()
        } else {
            BODY_ODDS.into_iter().map(|odds| odds / (quantile + odds * beyond)).collect()
        };
        let weights: Vec<_> = ratios.iter().map(|ratio| two_levels(quantile, *ratio)).collect();
        let scores: Vec<f64> = ratios.iter().map(|ratio| log(*ratio)).collect();
        let prior = vec![1.0; ratios.len()];
        let cap = Cap { alpha, blocks: BLOCKS };
        let levels = weights.iter().copied().map(TwoLevels::new).collect();
        Self { weights, levels, mixture: Mixture::new(&prior, &scores, START_SHARE, Some(cap)) }
    }

    /// Density ratios below the edge and beyond it, of each alternative; all of one weight.
    pub(crate) fn weights(&self) -> &[[f64; 2]] {
        &self.weights
    }

    /// Adds one batch: how many latencies were beyond the edge, of how many. `phi` (at least 1) is their dispersion.
    pub fn add(&mut self, over: Arms<u64>, requests: Arms<u64>, phi: f64) {
        let Self { levels, mixture, .. } = self;
        mixture.add(levels.iter().map(|h| h.ll(over, requests)), phi);
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

/// The density ratios below and beyond the edge of a quantile, of a canary with `ratio` times stable's part beyond.
pub(crate) fn two_levels(quantile: f64, ratio: f64) -> [f64; 2] {
    [(1.0 - (1.0 - quantile) * ratio) / quantile, ratio]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quantile_has_alternatives_and_all_of_them_rise() {
        for thousandths in 10..=9_999 {
            let quantile = f64::from(thousandths) / 10_000.0;
            let test = OverQuantile::new(quantile.max(0.01), 0.004);
            assert!((3..=4).contains(&test.weights.len()), "p{quantile}");
            for [below, beyond] in test.weights {
                assert!(0.0 < below && below < 1.0 && beyond > 1.0, "p{quantile}: {below}, {beyond}");
            }
        }
    }

    #[test]
    fn the_grid_is_what_the_documentation_says() {
        let ratios = |quantile| OverQuantile::new(quantile, 0.004).weights.iter().map(|h| h[1]).collect::<Vec<_>>();
        assert_eq!(ratios(0.99), [1.4, 2.5, 6.0, 20.0]);
        assert_eq!(ratios(0.95), [1.4, 2.5, 6.0]);
        assert_eq!(ratios(0.9), [1.4, 2.5, 6.0]);
        let rounded: Vec<f64> = ratios(0.5).iter().map(|ratio| (ratio * 100.0).round() / 100.0).collect();
        assert_eq!(rounded, [1.09, 1.26, 1.5, 1.8]);
    }
}
