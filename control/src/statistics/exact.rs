//! Means over every possible outcome, computed exactly.

use libm::exp;

use super::levels::{LEVELS, LevelCounts};
use crate::view::Arms;

pub(super) fn arms<T>(stable: T, canary: T) -> Arms<T> {
    Arms { stable, canary }
}

/// In how many ways `k` of `n` are chosen.
pub(super) fn choose(n: u64, k: u64) -> f64 {
    (0..k).map(|i| (n - i) as f64 / (i + 1) as f64).product()
}

/// The chances of 0 to n successes.
pub(super) fn binomial(n: u64, p: f64) -> Vec<f64> {
    let mut chances = vec![1.0];
    for _ in 0..n {
        let mut next = vec![0.0; chances.len() + 1];
        for (k, chance) in chances.iter().enumerate() {
            next[k] += chance * (1.0 - p);
            next[k + 1] += chance * p;
        }
        chances = next;
    }
    chances
}

/// Every way in which `n` requests fall into levels of these chances, with its chance.
pub(super) fn multinomial(n: u64, levels: &[f64; LEVELS]) -> Vec<(f64, LevelCounts)> {
    let mut outcomes = Vec::new();
    fill(n, 0, levels, 1.0, [0; LEVELS], &mut outcomes);
    outcomes
}

fn fill(
    left: u64,
    level: usize,
    levels: &[f64; LEVELS],
    chance: f64,
    mut counts: LevelCounts,
    into: &mut Vec<(f64, LevelCounts)>,
) {
    if level == LEVELS - 1 {
        counts[level] = left;
        into.push((chance * levels[level].powi(left as i32), counts));
        return;
    }
    for here in 0..=left {
        counts[level] = here;
        let ways = choose(left, here) * levels[level].powi(here as i32);
        fill(left - here, level + 1, levels, chance * ways, counts, into);
    }
}

/// Every outcome of two independent versions' events, with its chance.
pub(super) fn outcomes(n: Arms<u64>, p: Arms<f64>) -> Vec<(f64, Arms<u64>)> {
    let (of_stable, of_canary) = (binomial(n.stable, p.stable), binomial(n.canary, p.canary));
    let mut outcomes = Vec::new();
    for (stable, chance_b) in of_stable.iter().enumerate() {
        for (canary, chance_c) in of_canary.iter().enumerate() {
            outcomes.push((chance_b * chance_c, arms(stable as u64, canary as u64)));
        }
    }
    outcomes
}

/// The mean of e^ll over every outcome of two independent versions.
pub(super) fn mean_of(n: Arms<u64>, p: Arms<f64>, ll: impl Fn(Arms<u64>) -> f64) -> f64 {
    outcomes(n, p).into_iter().map(|(chance, events)| chance * exp(ll(events))).sum()
}

/// The mean of `e^evidence` after `rounds` rounds, each of which takes one of these outcomes by its chance.
pub(super) fn mean_after<T: Clone, O>(
    rounds: u32,
    test: &T,
    outcomes: &[(f64, O)],
    round: &impl Fn(&mut T, &O),
    evidence: &impl Fn(&T) -> f64,
) -> f64 {
    if rounds == 0 {
        return exp(evidence(test));
    }
    let after = |outcome: &O| {
        let mut test = test.clone();
        round(&mut test, outcome);
        mean_after(rounds - 1, &test, outcomes, round, evidence)
    };
    outcomes.iter().map(|(chance, outcome)| chance * after(outcome)).sum()
}
