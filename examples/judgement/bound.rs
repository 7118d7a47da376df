//! How soon any test at all can know: the information that a request carries.
//!
//! A test that is wrong at most once in `1/alpha` needs, on average, at least `ln(1/alpha)` nats of evidence (Wald
//! 1945). A request of the canary carries `KL(canary || stable)` nats where stable's law is known beforehand. Where it
//! is not, requests of both versions only tell that the two differ: `w KL(canary || mix) + (1-w) KL(stable || mix)` nats
//! a request, `mix` being what all requests together look like at the split `w`.

use control::statistics::levels::{EDGE_QUANTILES, LEVELS};

use crate::timing::Latency;

/// Seconds until `ln(1/alpha)` nats, on average and at the best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bound {
    /// Were stable's law known beforehand.
    pub(crate) known: f64,
    /// Learning it from the same traffic.
    pub(crate) two_sample: f64,
}

/// Traffic that a bound is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream {
    /// Requests a second, of both versions.
    pub(crate) rate: f64,
    /// The canary's part of them, 0 to 1.
    pub(crate) weight: f64,
    /// The chance of a false alarm.
    pub(crate) alpha: f64,
}

impl Stream {
    fn bound(self, known_nats: f64, two_sample_nats: f64) -> Bound {
        let needed = (1.0 / self.alpha).ln();
        Bound {
            known: needed / (self.rate * self.weight * known_nats),
            two_sample: needed / (self.rate * two_sample_nats),
        }
    }

    /// The canary fails with chance `canary`, stable with chance `stable`.
    pub(crate) fn of_errors(self, stable: f64, canary: f64) -> Bound {
        self.of_chances([(canary, stable), (1.0 - canary, 1.0 - stable)].into_iter())
    }

    /// The canary's latencies are distributed so, stable's so.
    pub(crate) fn of_latencies(self, stable: &Latency, canary: &Latency) -> Bound {
        self.of_chances(canary.chances(stable))
    }

    /// The same for a test of stochastic order on levels: all that it sees of a latency is its level between stable's
    /// quantiles, and all that it can bet on is that higher levels have become likelier, the more the higher.
    pub(crate) fn of_levels(self, stable: &Latency, canary: &Latency) -> Bound {
        let mut levels = [(0.0, 0.0); LEVELS];
        let (mut level, mut below) = (0, 0.0);
        for (c, s) in canary.chances(stable) {
            while EDGE_QUANTILES.get(level).is_some_and(|edge| below >= *edge) {
                level += 1;
            }
            levels[level].0 += c;
            levels[level].1 += s;
            below += s;
        }
        self.of_chances(rising(&levels).into_iter())
    }

    /// Of whatever can happen to a request, the chance of each for the canary and for stable.
    fn of_chances(self, chances: impl Iterator<Item = (f64, f64)>) -> Bound {
        let (mut known, mut two) = (0.0, 0.0);
        for (c, s) in chances {
            let mix = self.weight * c + (1.0 - self.weight) * s;
            known += nats(c, s);
            two += self.weight * nats(c, mix) + (1.0 - self.weight) * nats(s, mix);
        }
        self.bound(known, two)
    }
}

/// Pools adjacent levels until the canary's chance over stable's rises from each to the next.
fn rising(levels: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut pooled: Vec<(f64, f64)> = Vec::new();
    for level in levels {
        let (mut c, mut s) = *level;
        while let Some((before_c, before_s)) = pooled.pop_if(|(before_c, before_s)| *before_c * s >= c * *before_s) {
            (c, s) = (c + before_c, s + before_s);
        }
        pooled.push((c, s));
    }
    pooled
}

/// One point's part of a divergence; where the other law has nothing this is infinite.
fn nats(of: f64, from: f64) -> f64 {
    if of > 0.0 { of * (of / from).ln() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: Stream = Stream { rate: 1_000.0, weight: 0.05, alpha: 0.01 };

    fn assert_near(ours: f64, theirs: f64) {
        assert!((ours / theirs - 1.0).abs() < 0.01, "{ours} is not {theirs}");
    }

    #[test]
    fn the_bound_of_two_rates_is_the_divergence_worked_out_by_hand() {
        let bound = STREAM.of_errors(0.001, 0.005);
        assert_near(bound.known, 100f64.ln() / (50.0 * (0.005 * 5f64.ln() + 0.995 * (0.995f64 / 0.999).ln())));
        assert!(bound.two_sample > bound.known);
        assert_eq!(STREAM.of_errors(0.0, 1.0).known, 0.0);
    }

    #[test]
    fn the_bound_of_a_shifted_log_normal_is_the_known_formula() {
        let latency = Latency::log_normal();
        let shift = 1.1f64.ln() / 0.7;
        assert_near(
            STREAM.of_latencies(&latency, &latency.slower(0.1)).known,
            100f64.ln() / (50.0 * shift * shift / 2.0),
        );
    }

    #[test]
    fn levels_know_less_than_latencies_and_not_much_less_of_a_shift() {
        let latency = Latency::log_normal();
        let slower = latency.slower(0.1);
        let (whole, levels) = (STREAM.of_latencies(&latency, &slower), STREAM.of_levels(&latency, &slower));
        let lost = levels.two_sample / whole.two_sample;
        assert!((1.0..1.1).contains(&lost), "{lost}");
    }

    #[test]
    fn levels_are_pooled_until_their_ratios_rise() {
        assert_eq!(rising(&[(1.0, 1.0), (2.0, 4.0), (3.0, 1.0)]), [(3.0, 5.0), (3.0, 1.0)]);
        assert_eq!(rising(&[(1.0, 2.0), (2.0, 2.0)]), [(1.0, 2.0), (2.0, 2.0)]);
        assert_eq!(rising(&[(2.0, 1.0), (1.0, 1.0), (1.0, 2.0)]), [(4.0, 4.0)]);
    }

    #[test]
    fn a_canary_with_nearly_all_traffic_learns_no_sooner_than_one_with_a_little() {
        let lopsided = Stream { weight: 0.99, ..STREAM }.of_errors(0.01, 0.02);
        assert!(lopsided.two_sample > STREAM.of_errors(0.01, 0.02).two_sample);
    }
}
