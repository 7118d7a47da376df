//! The evidence of one batch, in nats: logarithms of e-values, whose mean is at most 1 under the null.

use libm::{expm1, log, log1p};

use crate::view::Arms;

/// Two-sample increment on event counts. `rho1 > rho0` bets against "canary rate <= rho0 x stable's rate + delta";
/// `rho1 < rho0` bets against "canary rate >= rho0 x stable's rate + delta".
///
/// Valid for any rate of the stable, even one that moves as it likes: there is nothing to estimate. With `delta` 0 it
/// is the likelihood ratio of the canary's part of all events (Lindon & Malek, Anytime-Valid Inference for
/// Multinomial Count Data, NeurIPS 2022); the term with `delta` makes room for the tolerance by bounding the
/// Bernoulli moment generating function with the Poisson one. With one version absent it says nothing: 0.
#[must_use]
pub fn ll_count(events: Arms<u64>, requests: Arms<u64>, rho0: f64, delta: f64, rho1: f64) -> f64 {
    ll_count_of(events, requests, (rho0, delta), rho1 / rho0, log(rho1 / rho0))
}

/// [`ll_count`] where `rho1` is `ratio` times `rho0`, and the logarithm of that is known.
pub(super) fn ll_count_of(
    events: Arms<u64>,
    requests: Arms<u64>,
    (rho0, delta): (f64, f64),
    ratio: f64,
    log_ratio: f64,
) -> f64 {
    if requests.canary == 0 || requests.stable == 0 {
        return 0.0;
    }
    let (canary, stable) = (requests.canary as f64, requests.stable as f64);
    let for_stable = log((canary * rho0 + stable) / (canary * rho0 * ratio + stable));
    let for_canary = log_ratio + for_stable;
    events.canary as f64 * for_canary + events.stable as f64 * for_stable - canary * delta * expm1(for_canary)
}

/// Two-sample increment on ordered levels: `canary[l]` and `stable[l]` requests in level `l`, weight `h[l] > 0`.
/// A non-decreasing `h` bets against "the canary is stochastically at or below the stable", a non-increasing one
/// against the opposite.
///
/// The k-sample e-variable of Turner, Ly & Grünwald (Generic E-variables for exact sequential k-sample tests, JSPI
/// 230, 2024), made one-sided by the monotone `h`. The best `h` is the ratio of the densities, any monotone one is
/// valid. With one version absent it says nothing: 0.
#[must_use]
pub fn ll_levels(canary: &[u64], stable: &[u64], h: &[f64]) -> f64 {
    let (of_canary, of_stable) = (canary.iter().sum::<u64>() as f64, stable.iter().sum::<u64>() as f64);
    if of_canary == 0.0 || of_stable == 0.0 {
        return 0.0;
    }
    let all = of_canary + of_stable;
    let mut sum = 0.0;
    for ((&c, &b), &weight) in canary.iter().zip(stable).zip(h) {
        if c > 0 || b > 0 {
            let (c, b) = (c as f64, b as f64);
            sum += c * log(weight) - (c + b) * log((of_canary * weight + of_stable) / all);
        }
    }
    sum
}

/// One-sample increment: `p1 > p0` bets against "rate <= p0", `p1 < p0` against "rate >= p0". The likelihood ratio of
/// Wald's sequential test (1945). Both rates are strictly between 0 and 1.
#[must_use]
pub fn ll_bern(events: u64, requests: u64, p0: f64, p1: f64) -> f64 {
    events as f64 * log(p1 / p0) + requests.saturating_sub(events) as f64 * log1p((p0 - p1) / (1.0 - p0))
}

/// [`ll_bern`] for one pair of rates, with their logarithms taken once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct OneSample {
    of_event: f64,
    of_other: f64,
}

impl OneSample {
    /// Bets on `p1` against `p0`, both strictly between 0 and 1.
    pub(super) fn new(p0: f64, p1: f64) -> Self {
        Self { of_event: log(p1 / p0), of_other: log1p((p0 - p1) / (1.0 - p0)) }
    }

    pub(super) fn ll(self, events: u64, requests: u64) -> f64 {
        events as f64 * self.of_event + requests.saturating_sub(events) as f64 * self.of_other
    }
}

/// [`ll_levels`] for one pair of weights, of what is below an edge and what is beyond it, with their logarithms taken
/// once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TwoLevels {
    weights: [f64; 2],
    logs: [f64; 2],
}

impl TwoLevels {
    pub(super) fn new(weights: [f64; 2]) -> Self {
        Self { weights, logs: weights.map(log) }
    }

    /// Of how many there were, and how many were beyond the edge.
    pub(super) fn ll(&self, over: Arms<u64>, requests: Arms<u64>) -> f64 {
        if requests.canary == 0 || requests.stable == 0 {
            return 0.0;
        }
        let (of_canary, of_stable) = (requests.canary as f64, requests.stable as f64);
        let all = of_canary + of_stable;
        let below = |over: u64, requests: u64| requests.saturating_sub(over) as f64;
        let levels = [
            (below(over.canary, requests.canary), below(over.stable, requests.stable)),
            (over.canary as f64, over.stable as f64),
        ];
        let mut sum = 0.0;
        for (((canary, stable), weight), of_weight) in levels.into_iter().zip(self.weights).zip(self.logs) {
            if canary + stable > 0.0 {
                sum += canary * of_weight - (canary + stable) * log((of_canary * weight + of_stable) / all);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::exact::{arms, binomial, choose, mean_of};
    use crate::statistics::golden::{self, assert_close};
    use libm::exp;
    use proptest::prelude::*;

    #[test]
    fn counts_agree_with_the_golden_vectors() {
        let rows = golden::increments().ll_count;
        assert_eq!(rows.len(), 52);
        for row in rows {
            let ll = ll_count(arms(row.kb, row.kc), arms(row.nb, row.nc), row.rho0, row.delta, row.rho1);
            assert_close(ll, row.ll, &format!("{row:?}"));
        }
    }

    #[test]
    fn one_sample_counts_agree_with_the_golden_vectors() {
        let rows = golden::increments().ll_bern;
        assert_eq!(rows.len(), 7);
        for row in rows {
            assert_close(ll_bern(row.k, row.n, row.p0, row.p1), row.ll, &format!("{row:?}"));
        }
    }

    #[test]
    fn levels_agree_with_the_golden_vectors() {
        let vectors = golden::increments();
        assert_eq!((vectors.ll_levels.len(), vectors.ll_levels_shaped.len(), vectors.shapes.len()), (3, 5, 29));
        for row in vectors.ll_levels {
            assert_close(ll_levels(&row.c, &row.b, &row.h), row.ll, &format!("{row:?}"));
        }
        for row in vectors.ll_levels_shaped {
            for (h, expected) in vectors.shapes.iter().zip(&row.ll) {
                assert_close(ll_levels(&row.c, &row.b, h), *expected, &format!("{row:?}"));
            }
        }
    }

    #[test]
    fn with_logarithms_taken_before_the_increments_are_the_same() {
        for (over, requests) in [((3, 9), (190, 10)), ((0, 0), (5, 7)), ((190, 10), (190, 10)), ((0, 1), (0, 4))] {
            let (over, requests) = (arms(over.0, over.1), arms(requests.0, requests.1));
            for weights in [[0.9, 1.4], [0.3, 20.0], [1.05, 0.2]] {
                let levels = |of: u64, all: u64| [all - of.min(all), of];
                let (canary, stable) = (levels(over.canary, requests.canary), levels(over.stable, requests.stable));
                assert_close(
                    TwoLevels::new(weights).ll(over, requests),
                    ll_levels(&canary, &stable, &weights),
                    "levels",
                );
            }
            for (p0, p1) in [(0.1, 0.5), (0.05, 0.01)] {
                let ours = OneSample::new(p0, p1).ll(over.canary, requests.canary);
                assert_close(ours, ll_bern(over.canary, requests.canary, p0, p1), "one sample");
            }
        }
    }

    const SIZES: [(u64, u64); 6] = [(1, 1), (19, 1), (12, 3), (5, 5), (1, 6), (8, 12)];

    #[test]
    fn on_the_boundary_of_the_null_a_count_increment_has_a_mean_of_at_most_one() {
        let mut cases = 0;
        for (stable, canary) in SIZES {
            for p_b in [0.0, 0.001, 0.02, 0.1, 0.3, 0.6] {
                for (rho0, delta, rho1) in [
                    (1.0, 0.0, 2.0),
                    (1.0, 0.0, 150.0),
                    (1.1, 0.0005, 5.5),
                    (1.1, 0.05, 1.3),
                    (1.5, 0.001, 0.75),
                    (1.5, 0.1, 0.03),
                ] {
                    let p_c = rho0 * p_b + delta;
                    if p_c > 1.0 {
                        continue;
                    }
                    let n = arms(stable, canary);
                    let mean = mean_of(n, Arms { stable: p_b, canary: p_c }, |k| ll_count(k, n, rho0, delta, rho1));
                    assert!(mean <= 1.0 + 1e-12, "{mean} at n {n:?}, p_b {p_b}, {rho0} {delta} {rho1}");
                    cases += 1;
                }
            }
        }
        assert_eq!(cases, 216);
    }

    #[test]
    fn when_the_version_makes_no_difference_to_any_request_a_count_increment_has_a_mean_of_at_most_one() {
        // Outcomes are fixed; which requests go to the canary is a random subset of fixed size: the hypergeometric law.
        for (stable, canary) in SIZES {
            for bad in 0..=stable + canary {
                let tolerances = [(1.0, 0.0), (1.0, 0.0005), (1.1, 0.0005), (1.0, 0.05), (2.0, 0.0), (8.0, 0.0)];
                let ratios = tolerances.into_iter().flat_map(|(r, d)| [1.2, 3.0, 150.0].map(|rho1| (r, d, r * rho1)));
                for (rho0, delta, rho1) in ratios {
                    let n = arms(stable, canary);
                    let mean: f64 = (bad.saturating_sub(stable)..=bad.min(canary))
                        .map(|k| {
                            choose(canary, k) * choose(stable, bad - k) / choose(stable + canary, bad)
                                * exp(ll_count(arms(bad - k, k), n, rho0, delta, rho1))
                        })
                        .sum();
                    assert!(mean <= 1.0 + 1e-12, "{mean} at n {n:?}, {bad} bad, {rho0} {delta} {rho1}");
                }
            }
        }
    }

    #[test]
    fn on_the_boundary_of_the_null_a_one_sample_increment_has_a_mean_of_one() {
        for n in [1, 7, 20] {
            for (p0, p1) in [(0.01, 0.0129), (0.05, 0.6), (0.1, 0.95), (0.5, 0.2), (0.99, 0.9996)] {
                let mean: f64 = binomial(n, p0)
                    .iter()
                    .enumerate()
                    .map(|(k, chance)| chance * exp(ll_bern(k as u64, n, p0, p1)))
                    .sum();
                assert!((mean - 1.0).abs() <= 1e-12, "{mean} at n {n}, p0 {p0}, p1 {p1}");
            }
        }
    }

    #[test]
    fn on_the_boundary_of_the_null_a_level_increment_has_a_mean_of_at_most_one() {
        for (stable, canary) in SIZES {
            for p in [0.001, 0.02, 0.3, 0.7, 0.99] {
                for h in [[0.51 / 0.98, 25.0], [0.05 / 0.98, 47.5], [0.05 / 0.7, 0.95 / 0.3], [1.3, 0.7]] {
                    let n = arms(stable, canary);
                    let mean = mean_of(n, Arms { stable: p, canary: p }, |k| {
                        ll_levels(&[canary - k.canary, k.canary], &[stable - k.stable, k.stable], &h)
                    });
                    assert!(mean <= 1.0 + 1e-12, "{mean} at n {n:?}, p {p}, h {h:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn two_levels_without_tolerance_are_the_count_increment(
            n_c in 1u64..100, n_b in 1u64..100, k_c in 0u64..100, k_b in 0u64..100, rho in 1.01f64..50.0,
        ) {
            let (k_c, k_b) = (k_c.min(n_c), k_b.min(n_b));
            let levels = ll_levels(&[n_c - k_c, k_c], &[n_b - k_b, k_b], &[1.0, rho]);
            // Without the good requests: with h = 1 they say nothing.
            let counts = ll_count(arms(k_b, k_c), arms(n_b, n_c), 1.0, 0.0, rho);
            prop_assert!((levels - counts).abs() <= 1e-9 * (1.0 + counts.abs()), "{levels} {counts}");
        }
    }
}
