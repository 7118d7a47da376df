use super::*;
use crate::statistics::exact::{arms, mean_after, multinomial};
use crate::statistics::golden::{self, assert_close};
use libm::{erfc, exp, sqrt};

/// The z-values of [`EDGE_QUANTILES`].
const EDGE_Z: [f64; 10] = [
    -1.2815515655446004,
    -0.6744897501960817,
    0.0,
    0.6744897501960817,
    1.2815515655446004,
    1.6448536269514722,
    2.0537489106318225,
    2.3263478740408408,
    2.7477813854449926,
    3.090232306167813,
];
const MOVES: [f64; 6] = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6];
const STRETCHES: [f64; 4] = [0.12, 0.3, 0.8, 2.0];

/// All shapes written out, in the order of the components.
fn shapes() -> Vec<[f64; LEVELS]> {
    let stretched = STRETCH.iter().map(|h| {
        let mut shape = [1.0; LEVELS];
        shape[STRETCH_FROM..].copy_from_slice(h);
        shape
    });
    let tails = tail_shapes().map(|(place, ratio)| {
        let mut shape = [1.0; LEVELS];
        shape[TAILS[place].0 + 1..].fill(RATIOS[ratio]);
        shape
    });
    BODY.into_iter().chain(stretched).chain(tails).collect()
}

/// Density ratios per level where a standard normal's values move as `to_stable` says.
fn ratios(to_stable: impl Fn(f64) -> f64) -> [f64; LEVELS] {
    let cdf = |z: f64| 0.5 * erfc(-z / sqrt(2.0));
    let at = |edge: usize| if edge == EDGE_Z.len() { 1.0 } else { cdf(to_stable(EDGE_Z[edge])) };
    let q = |edge: usize| EDGE_QUANTILES.get(edge).copied().unwrap_or(1.0);
    std::array::from_fn(|level| {
        let (low, from) = if level == 0 { (0.0, 0.0) } else { (at(level - 1), q(level - 1)) };
        (at(level) - low) / (q(level) - from)
    })
}

#[test]
fn the_tables_are_what_their_formulas_give() {
    for (h, k) in BODY.iter().zip(MOVES) {
        for (ours, computed) in h.iter().zip(ratios(|z| z - k)) {
            assert_close(*ours, computed, &format!("moved by {k}"));
        }
    }
    for (h, s) in STRETCH.iter().zip(STRETCHES) {
        let p90 = EDGE_Z[STRETCH_FROM - 1];
        let computed = ratios(|z| if z <= p90 { z } else { p90 + (z - p90) / (1.0 + s) });
        for (ours, computed) in h.iter().zip(&computed[STRETCH_FROM..]) {
            assert_close(*ours, computed.max(1.0), &format!("stretched by {s}"));
        }
    }
}

#[test]
fn shapes_priors_and_quantiles_agree_with_the_golden_vectors() {
    let vectors = golden::increments();
    assert_eq!(vectors.shape_quantiles, EDGE_QUANTILES);
    assert_eq!((vectors.shapes.len(), vectors.shape_priors.len(), shapes().len()), (29, 29, SHAPES));
    for (ours, theirs) in shapes().iter().zip(&vectors.shapes) {
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert_close(*ours, *theirs, "density ratio");
        }
    }
    let scores: Vec<f64> = vectors.shapes.iter().map(|h| log(h.iter().copied().fold(0.0, f64::max))).collect();
    let cap = Cap { alpha: 0.0036, blocks: BLOCKS };
    let theirs = Mixture::new(&vectors.shape_priors, &scores, START_SHARE, Some(cap));
    assert_close(Shape::new(0.0036).mixture().log_evidence(), theirs.log_evidence(), "evidence at the start");
    // Where no batch brought anything, the stake is spread as the priors say.
    let (mut ours, mut theirs) = (Shape::new(0.0036), theirs);
    ours.add(&arms([1; LEVELS], [2; LEVELS]), 1.7);
    theirs.add(increments(&arms([1; LEVELS], [2; LEVELS])).into_iter(), 1.7);
    assert_close(ours.mixture().log_evidence(), theirs.log_evidence(), "evidence after a batch");
}

#[test]
fn every_shape_rises() {
    for shape in shapes() {
        assert!(shape.is_sorted() && shape[0] > 0.0, "{shape:?}");
    }
}

#[test]
fn the_increments_of_all_shapes_agree_with_the_golden_vectors() {
    let rows = golden::increments().ll_levels_shaped;
    assert_eq!(rows.len(), 5);
    for row in rows {
        let levels = Arms { stable: row.b[..].try_into().unwrap(), canary: row.c[..].try_into().unwrap() };
        for (ours, theirs) in increments(&levels).iter().zip(&row.ll) {
            assert_close(*ours, *theirs, &format!("{levels:?}"));
        }
    }
}

/// Chances of the levels: as they should be, edges far off, and nearly everything in one bucket.
fn laws() -> [[f64; LEVELS]; 3] {
    let q = |edge: usize| EDGE_QUANTILES.get(edge).copied().unwrap_or(1.0);
    let mut atom = [0.002; LEVELS];
    atom[4] = 0.98;
    let meant = std::array::from_fn(|level| if level == 0 { q(0) } else { q(level) - q(level - 1) });
    [meant, [1.0 / LEVELS as f64; LEVELS], atom]
}

#[test]
fn where_both_versions_have_one_law_every_shape_has_a_mean_of_at_most_one() {
    for law in laws() {
        for (stable, canary) in [(1, 1), (3, 1), (2, 2), (1, 3)] {
            let mut means = [0.0; SHAPES];
            for (chance_b, stable) in multinomial(stable, &law) {
                for (chance_c, canary) in multinomial(canary, &law) {
                    for (mean, ll) in means.iter_mut().zip(increments(&arms(stable, canary))) {
                        *mean += chance_b * chance_c * exp(ll);
                    }
                }
            }
            for (shape, mean) in means.iter().enumerate() {
                assert!(*mean <= 1.0 + 1e-12, "{mean} for shape {shape}, {stable} and {canary} requests, {law:?}");
            }
        }
    }
}

#[test]
fn when_the_version_makes_no_difference_to_any_request_stretches_and_tails_have_a_mean_of_at_most_one() {
    // The levels are fixed; which of these requests go to the canary is a random subset of fixed size.
    for requests in [&[0, 10][..], &[3, 5, 7, 9, 10], &[2, 6, 6, 9, 9, 10, 10], &[0, 0, 4, 8, 8, 8, 10, 10]] {
        for canary in 1..requests.len() {
            let (mut means, mut subsets) = ([0.0; SHAPES], 0.0);
            for subset in (0..1_u32 << requests.len()).filter(|subset| subset.count_ones() as usize == canary) {
                let mut levels = arms([0; LEVELS], [0; LEVELS]);
                for (place, level) in requests.iter().enumerate() {
                    let arm = if subset >> place & 1 == 1 { &mut levels.canary } else { &mut levels.stable };
                    arm[*level] += 1;
                }
                means.iter_mut().zip(increments(&levels)).for_each(|(mean, ll)| *mean += exp(ll));
                subsets += 1.0;
            }
            for (shape, mean) in means.iter().enumerate().skip(BODY.len()) {
                assert!(mean / subsets <= 1.0 + 1e-12, "{} for shape {shape}: {requests:?}", mean / subsets);
            }
        }
    }
}

#[test]
fn over_two_blocks_and_an_investment_the_mean_stays_at_most_one() {
    for law in laws() {
        let mut outcomes = Vec::new();
        for (chance_b, stable) in multinomial(1, &law) {
            for (chance_c, canary) in multinomial(1, &law) {
                outcomes.push((chance_b * chance_c, arms(stable, canary)));
            }
        }
        for phi in [1.0, 3.0] {
            let round = |test: &mut Shape, levels: &Arms<LevelCounts>| {
                test.add(levels, phi);
                test.mixture_mut().end_block();
                test.mixture_mut().invest(0.2);
            };
            let mean =
                mean_after(2, &Shape::new(0.004), &outcomes, &round, &|test: &Shape| test.mixture().log_evidence());
            assert!(mean <= 1.0 + 1e-12, "{mean} at phi {phi}, {law:?}");
        }
    }
}

#[test]
fn levels_say_where_the_latencies_moved_however_obvious_it_is() {
    let stable = [950, 1_425, 2_375, 2_375, 1_425, 475, 285, 95, 67, 19, 9];
    let beyond_p99 = [50, 75, 125, 125, 75, 25, 15, 5, 30, 10, 5];
    for (canary, expected) in [
        ([25, 50, 100, 120, 95, 40, 30, 15, 12, 8, 5], Moved::Body),
        (beyond_p99, Moved::Tail { beyond: 0.99 }),
        (beyond_p99.map(|count| count * 1_000), Moved::Tail { beyond: 0.99 }),
        ([500, 750, 1_250, 1_250, 750, 250, 165, 61, 50, 20, 17], Moved::Tail { beyond: 0.9 }),
    ] {
        assert_eq!(Moved::of(&arms(stable, canary)), expected, "{canary:?}");
    }
}
