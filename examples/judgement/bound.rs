//! How soon any test at all can know: the information that a request carries.
//!
//! A test that is wrong at most once in `1/alpha` needs, on average, at least `ln(1/alpha)` nats of evidence (Wald
//! 1945). A request of the canary carries `KL(canary || stable)` nats where stable's law is known beforehand. Where it
//! is not, requests of both versions only tell that the two differ: `w KL(canary || mix) + (1-w) KL(stable || mix)` nats
//! a request, `mix` being what all requests together look like at the split `w`.

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
        let mix = self.weight * canary + (1.0 - self.weight) * stable;
        let two = self.weight * bernoulli(canary, mix) + (1.0 - self.weight) * bernoulli(stable, mix);
        self.bound(bernoulli(canary, stable), two)
    }

    /// The canary's latencies are distributed so, stable's so.
    pub(crate) fn of_latencies(self, stable: &Latency, canary: &Latency) -> Bound {
        let mix = |c: f64, s: f64| self.weight * c + (1.0 - self.weight) * s;
        let known = canary.integrate(stable, nats);
        let two = canary
            .integrate(stable, |c, s| self.weight * nats(c, mix(c, s)) + (1.0 - self.weight) * nats(s, mix(c, s)));
        self.bound(known, two)
    }
}

/// One point's part of a divergence; where the other law has nothing this is infinite.
fn nats(of: f64, from: f64) -> f64 {
    if of > 0.0 { of * (of / from).ln() } else { 0.0 }
}

fn bernoulli(of: f64, from: f64) -> f64 {
    nats(of, from) + nats(1.0 - of, 1.0 - from)
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
    fn a_canary_with_nearly_all_traffic_learns_no_sooner_than_one_with_a_little() {
        let lopsided = Stream { weight: 0.99, ..STREAM }.of_errors(0.01, 0.02);
        assert!(lopsided.two_sample > STREAM.of_errors(0.01, 0.02).two_sample);
    }
}
