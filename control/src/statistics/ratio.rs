//! How many times as often an event happens on the canary as on stable: an interval that holds at every moment.
//!
//! For display alone. Each ratio of a grid is a hypothesis, and the test of T1 without a tolerance, turned both ways, is
//! an e-process against it: the likelihood that the canary has so many of all events, against a mixture of the same over
//! the whole grid (Lindon & Malek 2022). A ratio is left out once that evidence is `1/alpha`, so the chance that the
//! true one is ever left out is at most `alpha`, however often one looks (Ville 1939).
//!
//! The likelihood is one concave hill over the logarithm of the ratio: what is not left out is an interval, and the ends
//! that are given are the nearest ratios of the grid that are. A true ratio between two of the grid is never lost.

use libm::log;
use serde::{Deserialize, Serialize};

use super::log_sum_exp;
use super::packed::{pack_floats, unpack_floats};
use crate::view::Arms;

/// The ratios that are told apart.
pub const GRID: [f64; 31] = [
    0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0,
    5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0, 200.0,
];

/// What each ratio of [`GRID`] makes of the events so far, as logarithms of likelihoods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ratio {
    likelihoods: [f64; GRID.len()],
}

/// Where the true ratio lies. An end that is none is not known: 0, or without bounds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Between {
    /// It is above this ratio.
    pub low: Option<f64>,
    /// It is below this ratio.
    pub high: Option<f64>,
}

impl Default for Ratio {
    fn default() -> Self {
        Self { likelihoods: [0.0; GRID.len()] }
    }
}

impl Ratio {
    /// Adds what both versions did at the same time. `phi` (at least 1) is the dispersion of the events: what comes in
    /// bursts says so much less. With one version absent it says nothing.
    pub fn add(&mut self, events: Arms<u64>, requests: Arms<u64>, phi: f64) {
        let (canary, stable) = (requests.canary as f64, requests.stable as f64);
        let (of_canary, of_both) = (events.canary as f64, (events.canary as f64) + (events.stable as f64));
        if requests.canary == 0 || requests.stable == 0 || of_both == 0.0 {
            return;
        }
        for (likelihood, ratio) in self.likelihoods.iter_mut().zip(GRID) {
            let gain = of_canary * log(ratio) - of_both * log((canary * ratio + stable) / (canary + stable));
            *likelihood += gain / phi;
        }
    }

    /// The ratios that are not left out at level `alpha` (above 0, below 1), with the nearest that are.
    #[must_use]
    pub fn between(&self, alpha: f64) -> Between {
        let mixture = log_sum_exp(self.likelihoods.iter().copied()) - log(GRID.len() as f64);
        let threshold = log(1.0 / alpha);
        let is_left_out = |likelihood: &f64| mixture - likelihood >= threshold;
        // The most likely one never is: the mixture is no likelier.
        let first = self.likelihoods.iter().position(|likelihood| !is_left_out(likelihood)).unwrap_or(0);
        let last = self.likelihoods.iter().rposition(|likelihood| !is_left_out(likelihood)).unwrap_or(GRID.len() - 1);
        Between { low: first.checked_sub(1).map(|place| GRID[place]), high: GRID.get(last + 1).copied() }
    }
}

/// A saved ratio that is of another grid, or no numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the saved ratio of errors has another form, or a figure that is none")]
pub struct Unfit;

impl From<Ratio> for String {
    fn from(Ratio { likelihoods }: Ratio) -> Self {
        if likelihoods.iter().all(|likelihood| likelihood.to_bits() == 0) {
            return Self::new();
        }
        pack_floats(&likelihoods)
    }
}

impl TryFrom<String> for Ratio {
    type Error = Unfit;

    fn try_from(text: String) -> Result<Self, Unfit> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let numbers = unpack_floats(&text).map_err(|_| Unfit)?;
        let likelihoods: [f64; GRID.len()] = numbers.try_into().map_err(|_| Unfit)?;
        if likelihoods.iter().all(|likelihood| likelihood.is_finite()) { Ok(Self { likelihoods }) } else { Err(Unfit) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::exact::{arms, mean_of};

    /// Evidence against a ratio that need not be on the grid, after one batch.
    fn evidence(events: Arms<u64>, requests: Arms<u64>, against: f64) -> f64 {
        let mut ratio = Ratio::default();
        ratio.add(events, requests, 1.0);
        let (canary, stable) = (requests.canary as f64, requests.stable as f64);
        let likelihood = events.canary as f64 * log(against)
            - (events.canary + events.stable) as f64 * log((canary * against + stable) / (canary + stable));
        log_sum_exp(ratio.likelihoods.iter().copied()) - log(GRID.len() as f64) - likelihood
    }

    #[test]
    fn evidence_against_the_true_ratio_is_worth_nothing_on_average() {
        for requests in [arms(4, 1), arms(6, 3), arms(2, 5)] {
            for (of_stable, ratio) in [(0.01, 1.0), (0.2, 0.37), (0.2, 1.0), (0.1, 4.5), (0.02, 40.0)] {
                let rates = arms(of_stable, of_stable * ratio);
                let mean = mean_of(requests, rates, |events| evidence(events, requests, ratio));
                assert!(mean <= 1.0 + 1e-12, "{requests:?}, {rates:?}: {mean}");
            }
        }
    }

    /// Seconds of a rollout: 95 requests to stable and 5 to the canary in each, or more.
    fn events(random: &mut fastrand::Rng, requests: u64, rate: f64) -> u64 {
        (0..requests).filter(|_| random.f64() < rate).count() as u64
    }

    #[test]
    fn the_true_ratio_is_hardly_ever_left_out_at_any_moment() {
        const ROLLOUTS: usize = 300;
        let mut random = fastrand::Rng::with_seed(20_261_122);
        // Ratios of the grid and between, and a rate of stable that moves as it likes.
        for true_ratio in [0.45, 1.0, 1.6, 6.0] {
            let mut lost = 0;
            for _ in 0..ROLLOUTS {
                let mut ratio = Ratio::default();
                let mut is_lost = false;
                for second in 0..200 {
                    let of_stable = if second / 50 % 2 == 0 { 0.01 } else { 0.1 };
                    let requests = arms(40 + random.u64(..30), 10);
                    let failed = arms(
                        events(&mut random, requests.stable, of_stable),
                        events(&mut random, requests.canary, of_stable * true_ratio),
                    );
                    ratio.add(failed, requests, 1.0);
                    let Between { low, high } = ratio.between(0.05);
                    is_lost |= low.is_some_and(|low| low >= true_ratio) || high.is_some_and(|high| high <= true_ratio);
                }
                lost += usize::from(is_lost);
            }
            // 5 % of 300 are 15.
            assert!(lost <= 15, "{true_ratio}: {lost} of {ROLLOUTS}");
        }
    }

    #[test]
    fn the_interval_narrows_about_what_is_seen() {
        let after = |batches: u64, of_canary: u64| {
            let mut ratio = Ratio::default();
            (0..batches).for_each(|_| ratio.add(arms(19, of_canary), arms(1_900, 100), 1.0));
            ratio.between(0.01)
        };
        assert_eq!(after(0, 1), Between::default(), "nothing is known before anything was seen");
        let Between { low: Some(low), high: Some(high) } = after(200, 1) else { panic!() };
        assert!(low < 1.0 && 1.0 < high && low >= 0.6 && high <= 1.5, "{low} to {high}");
        let Between { low: Some(low), high: Some(high) } = after(200, 5) else { panic!() };
        assert!(low < 5.0 && 5.0 < high && low >= 3.0 && high <= 7.0, "{low} to {high}");
        assert_eq!(after(3, 0).low, None, "a canary that never failed may be as good as it likes");
        assert!(after(60, 0).high < Some(1.0));
    }

    #[test]
    fn what_comes_in_bursts_says_less() {
        let between = |phi| {
            let mut ratio = Ratio::default();
            (0..100).for_each(|_| ratio.add(arms(19, 3), arms(1_900, 100), phi));
            ratio.between(0.01)
        };
        let (single, bursts) = (between(1.0), between(5.0));
        assert!(bursts.low < single.low && bursts.high > single.high, "{single:?}, {bursts:?}");
    }

    #[test]
    fn a_ratio_is_saved_to_the_last_bit_and_another_form_is_refused() {
        let mut ratio = Ratio::default();
        let again = |ratio: &Ratio| serde_json::from_str::<Ratio>(&serde_json::to_string(ratio).unwrap()).unwrap();
        assert_eq!(again(&ratio), ratio);
        ratio.add(arms(3, 1), arms(97, 5), 1.3);
        assert_eq!(again(&ratio), ratio);
        assert!(serde_json::from_str::<Ratio>(&serde_json::to_string(&pack_floats(&[1.0])).unwrap()).is_err());
    }
}
