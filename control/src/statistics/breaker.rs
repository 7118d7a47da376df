//! T4: is the canary broken outright?

use libm::{exp, log};

use super::increment::{OneSample, TwoLevels, ll_bern};
use super::mixture::{Misfit, Mixture, Wealth};
use super::{INVEST_AT_STEP, START_SHARE};
use crate::view::Arms;

/// A canary that fails more than this is broken, if stable does not.
const LIMIT: f64 = 0.10;
/// The alternatives to [`LIMIT`].
const RATES: [f64; 2] = [0.5, 0.95];
/// The alternatives to "no worse than stable": failure rates of stable and canary.
const PAIRS: [(f64, f64); 3] = [(0.02, 0.5), (0.02, 0.95), (0.3, 0.95)];

/// Divided by `k + 1`: the part of the cash that is staked anew after the `k`-th batch of a step, whatever was seen.
/// Little of it, so that there is cash left when it is needed.
const INVEST_BY_CLOCK: f64 = 0.05;
/// The odds, before a batch, that it is the first of a canary that has just broken. What they are after it decides
/// which part of the cash is staked on the next.
const ODDS: f64 = 0.02;
/// Where a batch gains less than this, in nats, its odds are not looked at: in good times nothing is staked.
const SUSPICIOUS: f64 = 1.0;

/// The breaker: the smaller of a test of "the canary fails at most one request in ten" and one of "it fails no more
/// than stable". It has no cap and ends its block with every batch, so that a canary that breaks outright is seen
/// within a handful of requests, also in the middle of a good second.
///
/// Stakes that were made in good times are lost by the time a canary breaks. So cash is kept for that moment: after a
/// batch in which the canary looks broken, a part of the cash as large as the odds that it is (a thousandth to nearly
/// all of it) is staked on the next. What is staked is decided by the past and gains nothing from it, so both tests
/// stay e-processes. A burst that was no break costs cash, and so speed, but no alpha.
#[derive(Debug, Clone, PartialEq)]
pub struct Breaker {
    rates: [OneSample; RATES.len()],
    absolute: Mixture,
    pairs: [TwoLevels; PAIRS.len()],
    relative: Mixture,
    /// Since the step began.
    batches: u64,
    staking: Staking,
    /// The gain of the batch whose verdict is yet to be read, of the test that it was smaller in.
    gain: f64,
}

/// When cash is staked.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Staking {
    /// Divided by `k + 1`, after the `k`-th batch.
    by_clock: f64,
    /// Before each batch, that a canary has just broken; 0 where suspicion changes nothing.
    odds: f64,
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
            staking: Staking { by_clock: INVEST_BY_CLOCK, odds: ODDS },
            gain: 0.0,
        }
    }
}

impl Breaker {
    /// Adds one batch. `phi` (at least 1) is the dispersion of the failures.
    pub fn add(&mut self, bad: Arms<u64>, requests: Arms<u64>, phi: f64) {
        let Self { rates, absolute, pairs, relative, .. } = self;
        let absolute = absolute.add(rates.iter().map(|rate| rate.ll(bad.canary, requests.canary)), phi);
        let relative = relative.add(pairs.iter().map(|pair| pair.ll(bad, requests)), phi);
        self.gain = absolute.min(relative);
    }

    /// One that stakes by the clock alone, as the golden vectors have it.
    #[cfg(test)]
    pub(crate) fn by_the_clock() -> Self {
        Self { staking: Staking { by_clock: super::INVEST_LATER, odds: 0.0 }, ..Self::default() }
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
        let share = self.staking.by_clock / (self.batches as f64 + 1.0);
        for mixture in self.mixtures_mut() {
            mixture.invest(share);
        }
        if let Some(share) = self.suspicion() {
            for mixture in self.mixtures_mut() {
                mixture.invest(share);
            }
        }
        self.gain = 0.0;
    }

    /// The chance that the latest batch was the first of a broken canary, where it looks so.
    fn suspicion(&self) -> Option<f64> {
        // All of the cash would leave none for the next time, nor a logarithm.
        const MOST: f64 = 0.999;
        let looks_so = self.staking.odds > 0.0 && self.gain >= SUSPICIOUS;
        looks_so.then(|| (1.0 / (1.0 + exp(-self.gain) / self.staking.odds)).min(MOST))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds batches of five requests of the canary beside 95 of stable, until the evidence is a thousand to one:
    /// how many bad batches that took.
    fn bad_batches(mut breaker: Breaker, good: usize, bad: u64) -> usize {
        let requests = Arms { stable: 95, canary: 5 };
        let mut add = |bad: u64| {
            breaker.add(Arms { stable: 0, canary: bad }, requests, 1.0);
            let evidence = breaker.log_evidence();
            breaker.end_batch();
            evidence
        };
        (0..good).for_each(|_| assert!(add(0) < log(1_000.0)));
        (1..100).find(|_| add(bad) >= log(1_000.0)).unwrap()
    }

    #[test]
    fn a_canary_that_dies_after_an_hour_is_found_as_soon_as_one_that_dies_after_a_minute() {
        assert_eq!(bad_batches(Breaker::default(), 0, 5), 1);
        for good in [40, 600, 6_000, 36_000] {
            assert_eq!(bad_batches(Breaker::default(), good, 5), 2, "after {good} good batches");
        }
        for good in [600, 36_000] {
            let [suspicious, clock] = [Breaker::default(), Breaker::by_the_clock()].map(|b| bad_batches(b, good, 3));
            assert!(suspicious < clock, "{suspicious} is not sooner than {clock} where half fail after {good}");
        }
    }

    #[test]
    fn cash_is_staked_where_the_canary_looks_broken_and_kept_where_it_does_not() {
        let cash_after = |bad: Arms<u64>| {
            let mut breaker = Breaker::default();
            let before = breaker.saved().1.map(|wealth| wealth.cash().unwrap());
            breaker.add(bad, Arms { stable: 95, canary: 5 }, 1.0);
            breaker.end_batch();
            let [absolute, relative] = breaker.saved().1.map(|wealth| wealth.cash().unwrap());
            assert!((absolute - relative).abs() < 1e-12);
            exp(absolute - before[0])
        };
        let by_clock = 1.0 - INVEST_BY_CLOCK / 2.0;
        let of = |stable, canary| cash_after(Arms { stable, canary }) / by_clock;
        assert!((of(0, 0) - 1.0).abs() < 1e-12 && (of(0, 1) - 1.0).abs() < 1e-12, "one of five is no suspicion");
        assert!((of(95, 5) - 1.0).abs() < 1e-12, "nor is what happens to both");
        assert!((0.5..0.99).contains(&of(0, 2)), "{}", of(0, 2));
        assert!((0.0..0.05).contains(&of(0, 5)) && of(0, 5) > 0.0, "{}", of(0, 5));
    }
}
