//! Random draws, so that whole ticks are drawn and never single requests where counts will do.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Binomial, Distribution, Exp1, Poisson, StandardNormal};

/// A stream of chance that belongs to one rollout. The same seed, name and number give the same rollout whatever else
/// is simulated and on however many threads.
pub(crate) struct Chance(Xoshiro256PlusPlus);

impl Chance {
    /// The stream of rollout `number` of the row called `name`.
    pub(crate) fn of(seed: u64, name: &str, number: u64) -> Self {
        // FNV-1a, so that rows whose names differ have nothing in common.
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let bytes = seed.to_le_bytes().into_iter().chain(name.bytes()).chain(number.to_le_bytes());
        Self(Xoshiro256PlusPlus::seed_from_u64(bytes.fold(0xcbf2_9ce4_8422_2325, hash)))
    }

    /// From 0 up to 1.
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0.random()
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// One of `0..count`.
    pub(crate) fn one_of(&mut self, count: usize) -> usize {
        scaled(self.bits() >> 32, count)
    }

    /// Of mean 0 and variance 1.
    pub(crate) fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }

    /// Exponential with this mean.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        let unit: f64 = Exp1.sample(&mut self.0);
        mean * unit
    }

    /// 1, 2, 3, ... with this mean (at least 1), each further one as likely as the one before.
    pub(crate) fn geometric(&mut self, mean: f64) -> u64 {
        1 + ((1.0 - self.uniform()).ln() / (1.0 - 1.0 / mean).ln()) as u64
    }

    /// How many of `all`, each with this chance of its own.
    pub(crate) fn binomial(&mut self, all: u64, chance: f64) -> u64 {
        Binomial::new(all, chance.clamp(0.0, 1.0)).map_or(0, |draw| draw.sample(&mut self.0))
    }
}

/// A number from 32 random bits, below `count`.
pub(crate) fn scaled(bits: u64, count: usize) -> usize {
    ((bits * count as u64) >> 32) as usize
}

/// How many events come where so many are expected: a Poisson draw that remembers what it worked out for its mean.
#[derive(Default)]
pub(crate) struct Arrivals {
    mean: f64,
    draw: Option<Poisson<f64>>,
}

impl Arrivals {
    /// Draws with this mean.
    pub(crate) fn draw(&mut self, mean: f64, chance: &mut Chance) -> u64 {
        if self.draw.is_none() || mean.to_bits() != self.mean.to_bits() {
            *self = Self { mean, draw: Poisson::new(mean).ok() };
        }
        self.draw.as_ref().map_or(0, |draw| draw.sample(&mut chance.0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(mut draw: impl FnMut(&mut Chance) -> f64) -> (f64, f64) {
        let mut chance = Chance::of(1, "moments", 0);
        let draws: Vec<f64> = (0..200_000).map(|_| draw(&mut chance)).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        (mean, draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64)
    }

    fn assert_moments((mean, variance): (f64, f64), expected: (f64, f64)) {
        let near = |ours: f64, theirs: f64| (ours - theirs).abs() < 0.02 * theirs.max(0.1);
        assert!(near(mean, expected.0) && near(variance, expected.1), "{mean} {variance} is not {expected:?}");
    }

    #[test]
    fn draws_have_the_mean_and_the_variance_of_their_distributions() {
        for mean in [0.005, 0.3, 5.0, 95.0, 950.0] {
            let mut arrivals = Arrivals::default();
            assert_moments(moments(|chance| arrivals.draw(mean, chance) as f64), (mean, mean));
        }
        for (all, p) in [(5, 0.3), (950, 1.0 / 16.0), (950, 0.9)] {
            let n = all as f64;
            assert_moments(moments(|chance| chance.binomial(all, p) as f64), (n * p, n * p * (1.0 - p)));
        }
        assert_moments(moments(|chance| chance.geometric(6.0) as f64), (6.0, 30.0));
        assert_moments(moments(|chance| 1.0 + chance.normal()), (1.0, 1.0));
        assert_moments(moments(|chance| chance.exponential(3.0)), (3.0, 9.0));
    }

    #[test]
    fn a_rollout_has_its_own_stream_and_always_the_same() {
        let first = |seed, name, number| Chance::of(seed, name, number).bits();
        assert_eq!(first(1, "row", 2), first(1, "row", 2));
        let others = [first(2, "row", 2), first(1, "rows", 2), first(1, "row", 3)];
        assert!(others.iter().all(|other| *other != first(1, "row", 2)));
    }
}
