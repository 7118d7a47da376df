//! On the boundary of its null no test gains on average: computed over every outcome of two small batches.

use crate::statistics::draws::Draws;
use crate::statistics::exact::{arms, binomial, mean_after, outcomes};
use crate::statistics::{Breaker, ErrorProof, Excess, LimitProof, Mixture, OverLimit, OverQuantile, QuantileProof};
use crate::view::Arms;

const SIZES: [(u64, u64); 3] = [(4, 1), (3, 3), (1, 4)];
const RATES: [f64; 6] = [0.001, 0.02, 0.1, 0.3, 0.6, 0.95];
const PHIS: [f64; 2] = [1.0, 3.0];

fn settle(mixture: &mut Mixture) {
    mixture.end_block();
    mixture.invest(0.2);
}

/// The mean of E after two batches, each its own block.
fn mean<T: Clone>(
    test: &T,
    n: Arms<u64>,
    p: Arms<f64>,
    add: impl Fn(&mut T, Arms<u64>),
    mixture: impl Fn(&mut T) -> &mut Mixture,
) -> f64 {
    let round = |test: &mut T, events: &Arms<u64>| {
        add(test, *events);
        settle(mixture(test));
    };
    mean_after(2, test, &outcomes(n, p), &round, &|test: &T| mixture(&mut test.clone()).log_evidence())
}

#[track_caller]
fn assert_fair(mean: f64, what: &str) {
    assert!(mean <= 1.0 + 1e-12, "{what}: {mean}");
}

#[test]
fn the_error_test_and_its_proof_with_and_without_tolerance() {
    let mut cases = 0;
    for (stable, canary) in SIZES {
        let n = arms(stable, canary);
        for p_b in [0.0].into_iter().chain(RATES) {
            for (ratio, points) in [(1.0, 0.0), (1.1, 0.0005), (1.5, 0.001), (2.0, 0.05)] {
                let p = arms(p_b, ratio * p_b + points);
                if p.canary > 1.0 {
                    continue;
                }
                for phi in PHIS {
                    let what = format!("{n:?} {p:?} {ratio} {points} phi {phi}");
                    let test = Excess::new(ratio, points, 0.005);
                    assert_fair(mean(&test, n, p, |t, k| t.add(k, n, phi), Excess::mixture_mut), &what);
                    let proof = ErrorProof::new(ratio, points);
                    assert_fair(mean(&proof, n, p, |t, k| t.add(k, n, phi), ErrorProof::mixture_mut), &what);
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 144);
}

#[test]
fn the_quantile_test_and_its_proof_wherever_the_edge_really_lies() {
    for (stable, canary) in SIZES {
        let n = arms(stable, canary);
        for quantile in [0.01, 0.5, 0.8, 0.9, 0.95, 0.99, 0.9999] {
            for beyond in RATES.into_iter().chain([1.0 - quantile]) {
                let p = arms(beyond, beyond);
                for phi in PHIS {
                    let what = format!("{n:?} {beyond} beyond p{quantile} phi {phi}");
                    let test = OverQuantile::new(quantile, 0.004);
                    assert_fair(mean(&test, n, p, |t, k| t.add(k, n, phi), OverQuantile::mixture_mut), &what);
                    let proof = QuantileProof::new(quantile);
                    assert_fair(mean(&proof, n, p, |t, k| t.add(k, n, phi), QuantileProof::mixture_mut), &what);
                }
            }
        }
    }
}

#[test]
fn inside_the_null_no_test_gains_either() {
    let n = arms(3, 3);
    for (better, worse) in [(0.0, 0.02), (0.1, 0.3), (0.3, 0.95)] {
        let canary_better = arms(worse, better);
        let test = Excess::new(1.0, 0.0, 0.005);
        assert_fair(mean(&test, n, canary_better, |t, k| t.add(k, n, 1.0), Excess::mixture_mut), "errors");
        let test = OverQuantile::new(0.9, 0.004);
        assert_fair(mean(&test, n, canary_better, |t, k| t.add(k, n, 1.0), OverQuantile::mixture_mut), "quantile");
        let canary_worse = arms(better, worse);
        let proof = ErrorProof::new(1.0, 0.0);
        assert_fair(mean(&proof, n, canary_worse, |t, k| t.add(k, n, 1.0), ErrorProof::mixture_mut), "error proof");
        let proof = QuantileProof::new(0.9);
        assert_fair(mean(&proof, n, canary_worse, |t, k| t.add(k, n, 1.0), QuantileProof::mixture_mut), "proof");
    }
}

#[test]
fn the_limit_test_and_its_proof() {
    for requests in [1, 7, 20] {
        for limit in RATES {
            let n = arms(0, requests);
            for (phi, rate) in PHIS.into_iter().map(|phi| (phi, limit)).chain([(1.0, limit * 0.5)]) {
                let test = OverLimit::new(limit, 0.001);
                let over = |t: &mut OverLimit, k: Arms<u64>| t.add(k.canary, requests, phi);
                let what = format!("limit {limit}, rate {rate}, {requests} requests, phi {phi}");
                assert_fair(mean(&test, n, arms(0.0, rate), over, OverLimit::mixture_mut), &what);
            }
            for (phi, rate) in PHIS.into_iter().map(|phi| (phi, limit)).chain([(1.0, 0.5 + limit * 0.5)]) {
                let proof = LimitProof::new(limit);
                let over = |t: &mut LimitProof, k: Arms<u64>| t.add(k.canary, requests, phi);
                let what = format!("proof of limit {limit}, rate {rate}, {requests} requests, phi {phi}");
                assert_fair(mean(&proof, n, arms(0.0, rate), over, LimitProof::mixture_mut), &what);
            }
        }
    }
}

#[test]
fn the_breaker_on_either_of_its_nulls() {
    for (stable, canary) in SIZES {
        let n = arms(stable, canary);
        let like_stable = RATES.map(|rate| arms(rate, rate));
        let one_in_ten = RATES.map(|rate| arms(rate, 0.1));
        for p in like_stable.into_iter().chain(one_in_ten) {
            for phi in PHIS {
                let round = |test: &mut Breaker, events: &Arms<u64>| {
                    test.add(*events, n, phi);
                    test.end_batch();
                };
                let mean = mean_after(2, &Breaker::default(), &outcomes(n, p), &round, &Breaker::log_evidence);
                assert_fair(mean, &format!("{n:?} {p:?} phi {phi}"));
            }
        }
    }
}

#[test]
fn random_draws_that_follow_the_split_give_exactly_one() {
    for weight in [0.0001, 0.05, 0.5, 0.97] {
        for draws in [1, 6, 15] {
            let outcomes: Vec<(f64, u64)> = binomial(draws, weight).into_iter().zip(0..).collect();
            let round = |test: &mut Draws, canary: &u64| {
                test.add(*canary, draws, weight);
                settle(test.mixture_mut());
            };
            let mean = mean_after(2, &Draws::new(), &outcomes, &round, &|t: &Draws| t.mixture().log_evidence());
            assert!((mean - 1.0).abs() <= 1e-12, "{mean} at {weight}, {draws} draws");
        }
    }
}
