use libm::{erfc, exp, log, sqrt};

use super::specified::{COARSE_LEVELS, finely};
use super::*;
use crate::statistics::START_SHARE;
use crate::statistics::exact::{arms, mean_after, multinomial};
use crate::statistics::golden::{self, assert_close};
use crate::statistics::increment::ll_levels;

/// The shapes of every rollout, and those of the golden vectors.
fn both() -> [&'static Harms; 2] {
    [Harms::usual(), specified::harms()]
}

#[test]
fn the_edges_are_those_quantiles_of_the_normal_law_and_rise() {
    for (z, quantile) in EDGE_NORMALS.into_iter().zip(EDGE_QUANTILES) {
        assert!((0.5 * erfc(z / sqrt(2.0)) - (1.0 - quantile)).abs() < 1e-15, "{quantile}: {z}");
        assert_eq!(EDGE_QUANTILES[edge_at(quantile)], quantile);
    }
    assert!(EDGE_QUANTILES.is_sorted() && EDGE_NORMALS.is_sorted());
    for quantile in specified::COARSE_QUANTILES {
        assert!(EDGE_QUANTILES.contains(&quantile), "the levels of the vectors are made of whole levels");
    }
}

#[test]
fn against_the_shapes_of_the_golden_vectors_it_is_the_test_of_the_golden_vectors() {
    let vectors = golden::increments();
    assert_eq!((vectors.shapes.len(), vectors.shape_priors.len()), (29, 29));
    assert_eq!(specified::harms().priors(), vectors.shape_priors);
    let scores: Vec<f64> = vectors.shapes.iter().map(|h| log(h.iter().copied().fold(0.0, f64::max))).collect();
    let cap = Cap { alpha: 0.0036, blocks: BLOCKS };
    let mut theirs = Mixture::new(&vectors.shape_priors, &scores, START_SHARE, Some(cap));
    let mut ours = Shape::against(specified::harms(), 0.0036);
    assert_close(ours.mixture().log_evidence(), theirs.log_evidence(), "evidence at the start");
    for row in vectors.ll_levels_shaped {
        let coarse = |counts: &[u64]| finely(counts.try_into().unwrap());
        let levels = Arms { stable: coarse(&row.b), canary: coarse(&row.c) };
        let increments: Vec<f64> = specified::harms().increments(&levels).collect();
        assert_eq!(increments.len(), row.ll.len());
        for (ours, theirs) in increments.iter().zip(&row.ll) {
            assert_close(*ours, *theirs, &format!("{levels:?}"));
        }
        ours.add(&levels, 1.7);
        theirs.add(row.ll.iter().copied(), 1.7);
        assert_close(ours.mixture().log_evidence(), theirs.log_evidence(), "evidence after a batch");
    }
}

#[test]
fn counts_on_coarse_levels_are_the_same_counts_on_fine_ones() {
    let coarse: [u64; COARSE_LEVELS] = std::array::from_fn(|level| level as u64 + 1);
    let fine = finely(coarse);
    assert_eq!(fine.iter().sum::<u64>(), coarse.iter().sum::<u64>());
    for (level, quantile) in specified::COARSE_QUANTILES.into_iter().enumerate() {
        assert_eq!(fine[edge_at(quantile) + 1..].iter().sum::<u64>(), coarse[level + 1..].iter().sum::<u64>());
    }
}

#[test]
fn every_shape_rises_and_is_made_for_stable_at_its_edges() {
    for harms in both() {
        assert!((harms.priors().iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(harms.bets().iter().all(|bet| bet.prior > 0.0 && bet.ratios.is_sorted() && bet.ratios[0] > 0.0));
    }
    for bet in Harms::usual().of_the_body() {
        let [at_edges, ..] = laws();
        let sum: f64 = at_edges.iter().zip(&bet.ratios).map(|(chance, ratio)| chance * ratio).sum();
        assert!((sum - 1.0).abs() < 1e-12, "a ratio of densities has a mean of 1: {sum}");
    }
}

#[test]
fn increments_are_those_of_the_formula_however_levels_are_put_together() {
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..50 {
        let mut counts = || std::array::from_fn(|_| random.u64(..4) * random.u64(..9));
        let levels = arms(counts(), counts());
        for harms in both() {
            for (increment, bet) in harms.increments(&levels).zip(harms.bets()) {
                assert_close(increment, ll_levels(&levels.canary, &levels.stable, &bet.ratios), "increment");
            }
        }
    }
    let nobody = arms([3; LEVELS], [0; LEVELS]);
    assert!(Harms::usual().increments(&nobody).all(|increment| increment == 0.0));
}

/// Chances of the levels: as they should be, edges far off, and nearly everything in one bucket.
fn laws() -> [[f64; LEVELS]; 3] {
    let q = |edge: usize| EDGE_QUANTILES.get(edge).copied().unwrap_or(1.0);
    let mut atom = [0.001; LEVELS];
    atom[9] = 1.0 - 0.001 * (LEVELS - 1) as f64;
    let meant = std::array::from_fn(|level| if level == 0 { q(0) } else { q(level) - q(level - 1) });
    [meant, [1.0 / LEVELS as f64; LEVELS], atom]
}

/// Laws of a canary whose latencies are stochastically shorter than those of `law`: a little everywhere, all of one
/// level, and a tail that is gone.
fn shorter(law: &[f64; LEVELS]) -> [[f64; LEVELS]; 3] {
    let (mut everywhere, mut one, mut tail) = (*law, *law, *law);
    for level in 1..LEVELS {
        everywhere[level - 1] += 0.2 * law[level];
        everywhere[level] -= 0.2 * law[level];
    }
    one[3] += std::mem::take(&mut one[11]);
    for level in 14..LEVELS {
        tail[0] += std::mem::take(&mut tail[level]);
    }
    [everywhere, one, tail]
}

/// The mean of `e^increment` of every shape.
fn means(stable: (u64, &[f64; LEVELS]), canary: (u64, &[f64; LEVELS])) -> Vec<f64> {
    let harms = Harms::usual();
    let mut means = vec![0.0; harms.bets().len()];
    let of_canary = multinomial(canary.0, canary.1);
    for (chance_b, stable) in multinomial(stable.0, stable.1) {
        for (chance_c, canary) in &of_canary {
            for (mean, ll) in means.iter_mut().zip(harms.increments(&arms(stable, *canary))) {
                *mean += chance_b * chance_c * exp(ll);
            }
        }
    }
    means
}

#[test]
fn where_both_versions_have_one_law_or_the_canary_is_faster_every_shape_has_a_mean_of_at_most_one() {
    for law in laws() {
        for sizes in [(1, 1), (2, 1), (1, 2)] {
            for (place, of_canary) in [law].into_iter().chain(shorter(&law)).enumerate() {
                for (shape, mean) in means((sizes.0, &law), (sizes.1, &of_canary)).into_iter().enumerate() {
                    assert!(
                        mean <= 1.0 + 1e-12,
                        "{mean} for shape {shape}, {sizes:?} requests, canary {place}, {law:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_canary_that_is_slower_is_gained_on() {
    let [law, ..] = laws();
    let [faster, ..] = shorter(&law);
    assert!(means((2, &faster), (1, &law)).iter().any(|mean| *mean > 1.0 + 1e-3), "or the test above sees nothing");
}

#[test]
fn when_the_version_makes_no_difference_to_any_request_tails_have_a_mean_of_at_most_one() {
    // The levels are fixed; which of these requests go to the canary is a random subset of fixed size.
    let [top, last] = [LEVELS - 1, LEVELS - 2];
    for requests in
        [&[0, top][..], &[3, 9, 11, last, top], &[2, 6, 6, 17, 17, top, top], &[0, 0, 9, 12, 12, 12, 20, top]]
    {
        for canary in 1..requests.len() {
            let (mut means, mut subsets) = (vec![0.0; Harms::usual().bets().len()], 0.0);
            for subset in (0..1_u32 << requests.len()).filter(|subset| subset.count_ones() as usize == canary) {
                let mut levels = arms([0; LEVELS], [0; LEVELS]);
                for (place, level) in requests.iter().enumerate() {
                    let arm = if subset >> place & 1 == 1 { &mut levels.canary } else { &mut levels.stable };
                    arm[*level] += 1;
                }
                means.iter_mut().zip(Harms::usual().increments(&levels)).for_each(|(mean, ll)| *mean += exp(ll));
                subsets += 1.0;
            }
            let tails = Harms::usual().bets().iter().zip(&means).filter(|(bet, _)| bet.ratios[0] == 1.0);
            assert_eq!(tails.clone().count(), 20);
            for (bet, mean) in tails {
                assert!(mean / subsets <= 1.0 + 1e-12, "{} for {bet:?}: {requests:?}", mean / subsets);
            }
        }
    }
}

#[test]
fn over_two_blocks_and_an_investment_the_mean_stays_at_most_one() {
    let mut few = [0.0; LEVELS];
    for (level, chance) in [(0, 0.5), (5, 0.3), (9, 0.1), (12, 0.07), (17, 0.02), (LEVELS - 1, 0.01)] {
        few[level] = chance;
    }
    let mut outcomes = Vec::new();
    for (chance_b, stable) in multinomial(1, &few) {
        for (chance_c, canary) in multinomial(1, &few) {
            outcomes.push((chance_b * chance_c, arms(stable, canary)));
        }
    }
    outcomes.retain(|(chance, _)| *chance > 0.0);
    for phi in [1.0, 3.0] {
        let round = |test: &mut Shape, levels: &Arms<LevelCounts>| {
            test.add(levels, phi);
            test.mixture_mut().end_block();
            test.mixture_mut().invest(0.2);
        };
        let mean = mean_after(2, &Shape::new(0.004), &outcomes, &round, &|test: &Shape| test.mixture().log_evidence());
        assert!(mean <= 1.0 + 1e-12, "{mean} at phi {phi}");
    }
}

#[test]
fn levels_say_where_the_latencies_moved_however_obvious_it_is() {
    let stable = [950, 1_425, 2_375, 2_375, 1_425, 475, 285, 95, 67, 19, 9];
    let beyond_p99 = [50, 75, 125, 125, 75, 25, 15, 5, 30, 10, 5];
    for (canary, body) in [
        ([25, 50, 100, 120, 95, 40, 30, 15, 12, 8, 5], true),
        (beyond_p99, false),
        (beyond_p99.map(|count| count * 1_000), false),
        ([500, 750, 1_250, 1_250, 750, 250, 165, 61, 50, 20, 17], false),
    ] {
        let moved = Moved::of(&arms(finely(stable), finely(canary)));
        assert_eq!(moved == Moved::Body, body, "{canary:?}: {moved:?}");
    }
}
