//! How long requests take.

use crate::chance::Chance;

/// The 90th percentile of the standard normal distribution.
const Z90: f64 = 1.281_551_565_544_600_4;
/// Its 99th.
const Z99: f64 = 2.326_347_874_040_841;

/// A distribution of latencies: one or two log-normal humps, the first perhaps with a stretched tail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Latency {
    fast: Hump,
    slow: Hump,
    /// Which part of the requests is in the slow hump.
    slow_share: f64,
    /// Beyond its p90 the fast hump's logarithm is stretched by so much.
    stretch: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Hump {
    /// Logarithm of the median in microseconds.
    median: f64,
    /// Standard deviation of the logarithm.
    sd: f64,
}

impl Hump {
    fn of(median_ms: f64, sd: f64) -> Self {
        Self { median: (median_ms * 1_000.0).ln(), sd }
    }

    fn slower(self, by: f64) -> Self {
        Self { median: self.median + by.ln_1p(), ..self }
    }
}

impl Latency {
    /// Log-normal: median 20 ms, standard deviation of the logarithm 0.7.
    pub(crate) fn log_normal() -> Self {
        let hump = Hump::of(20.0, 0.7);
        Self { fast: hump, slow: hump, slow_share: 0.0, stretch: 0.0 }
    }

    /// 98 % about 10 ms (deviation 0.4), 2 % about 300 ms (deviation 0.5): a cache, and what misses it.
    pub(crate) fn bimodal() -> Self {
        Self { fast: Hump::of(10.0, 0.4), slow: Hump::of(300.0, 0.5), slow_share: 0.02, stretch: 0.0 }
    }

    /// Every request takes this part longer.
    pub(crate) fn slower(self, by: f64) -> Self {
        Self { fast: self.fast.slower(by), slow: self.slow.slower(by), ..self }
    }

    /// The p99 of the fast hump is this part longer, by a smooth stretch of all beyond its p90.
    pub(crate) fn longer_tail(self, by: f64) -> Self {
        Self { stretch: by.ln_1p() / (self.fast.sd * (Z99 - Z90)), ..self }
    }

    /// The slow hump takes this part longer, the fast one stays.
    pub(crate) fn slower_path(self, by: f64) -> Self {
        Self { slow: self.slow.slower(by), ..self }
    }

    /// So many requests are in the slow hump.
    pub(crate) fn slow_share(self, slow_share: f64) -> Self {
        Self { slow_share, ..self }
    }

    /// One latency, in microseconds.
    pub(crate) fn draw(&self, chance: &mut Chance) -> f64 {
        let hump = if self.slow_share > 0.0 && chance.uniform() < self.slow_share { self.slow } else { self.fast };
        let z = chance.normal();
        let z = if self.stretch > 0.0 && z > Z90 { Z90 + (z - Z90) * (1.0 + self.stretch) } else { z };
        (hump.median + hump.sd * z).exp()
    }

    /// The density of the logarithm of the latency in microseconds.
    fn density(&self, log_us: f64) -> f64 {
        let normal = |z: f64| (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
        let of = |hump: Hump, stretch: f64| {
            let z = (log_us - hump.median) / hump.sd;
            if z > Z90 {
                normal(Z90 + (z - Z90) / (1.0 + stretch)) / (1.0 + stretch) / hump.sd
            } else {
                normal(z) / hump.sd
            }
        };
        (1.0 - self.slow_share) * of(self.fast, self.stretch) + self.slow_share * of(self.slow, self.stretch)
    }

    /// The chances of this and of another in steps so small that what is within them does not matter, from 10 microseconds to 10
    /// minutes.
    pub(crate) fn chances<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (f64, f64)> + 'a {
        let (low, high, steps) = (10f64.ln(), 6e8f64.ln(), 200_000);
        let step = (high - low) / f64::from(steps);
        let at = move |place: i32| low + (f64::from(place) + 0.5) * step;
        (0..steps).map(move |place| (step * self.density(at(place)), step * other.density(at(place))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn densities_sum_to_one() {
        let (log_normal, bimodal) = (Latency::log_normal(), Latency::bimodal());
        for latency in [log_normal, log_normal.longer_tail(1.0), bimodal, bimodal.slower_path(1.0)] {
            let sum: f64 = latency.chances(&latency).map(|(chance, _)| chance).sum();
            assert!((sum - 1.0).abs() < 1e-5, "{latency:?}: {sum}");
        }
    }

    #[test]
    fn a_longer_tail_moves_the_p99_as_named_and_leaves_the_median() {
        let mut chance = Chance::of(1, "tail", 0);
        let latency = Latency::log_normal().longer_tail(0.25);
        let mut drawn: Vec<f64> = (0..400_000).map(|_| latency.draw(&mut chance)).collect();
        drawn.sort_by(f64::total_cmp);
        let quantile = |q: f64| drawn[(q * drawn.len() as f64) as usize];
        let p99 = 20_000.0 * (0.7 * Z99).exp();
        assert!((quantile(0.5) / 20_000.0 - 1.0).abs() < 0.01, "{}", quantile(0.5));
        assert!((quantile(0.99) / p99 / 1.25 - 1.0).abs() < 0.03, "{}", quantile(0.99) / p99);
    }
}
