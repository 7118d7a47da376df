//! T2: are the canary's latencies longer than the tolerance over stable's allows, anywhere in their distribution?
//!
//! Latencies are sorted into [`LEVELS`] levels at [`EDGE_QUANTILES`] of stable's recent past; the canary's edges are
//! stretched by what is tolerated. The null hypothesis is that at every edge the canary's part above is at most
//! stable's. Where exactly the edges lie costs or brings power and never touches validity.

mod harms;

pub(crate) use self::harms::Harms;
use super::BLOCKS;
use super::mixture::{Cap, Mixture};
use crate::view::Arms;

/// How many edges there are.
pub const EDGES: usize = 21;
/// The quantiles of stable's latency that are the edges between levels.
pub const EDGE_QUANTILES: [f64; EDGES] = [
    0.05, 0.10, 0.25, 0.37, 0.50, 0.63, 0.75, 0.83, 0.90, 0.93, 0.95, 0.965, 0.98, 0.985, 0.99, 0.994, 0.997, 0.9985,
    0.999, 0.9995, 0.9998,
];
/// Where a standard normal variable has these quantiles.
pub(crate) const EDGE_NORMALS: [f64; EDGES] = [
    -1.6448536269514729,
    -1.2815515655446004,
    -0.6744897501960817,
    -0.33185334643681663,
    0.0,
    0.33185334643681663,
    0.6744897501960817,
    0.9541652531461943,
    1.2815515655446004,
    1.475791028179171,
    1.6448536269514722,
    1.8119106729525973,
    2.0537489106318225,
    2.17009037758456,
    2.3263478740408408,
    2.5121443279304616,
    2.7477813854449926,
    2.9677379253417944,
    3.090232306167813,
    3.2905267314919255,
    3.540083799206175,
];
/// How many levels there are.
pub const LEVELS: usize = EDGES + 1;
/// How many requests fell into each level, the fastest first.
pub type LevelCounts = [u64; LEVELS];

/// The place in [`EDGE_QUANTILES`] of the first edge at or beyond a quantile; such an edge there must be.
#[must_use]
pub const fn edge_at(quantile: f64) -> usize {
    let mut edge = 0;
    while EDGE_QUANTILES[edge] < quantile {
        edge += 1;
    }
    edge
}

/// What kind of harm the latencies look like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moved {
    /// All of them are longer.
    Body,
    /// Those beyond this quantile of stable's are longer, or more.
    Tail {
        /// The quantile, one of [`EDGE_QUANTILES`].
        beyond: f64,
    },
}

impl Moved {
    /// What these levels look most like: the shape that explains them best, given how the stake is spread.
    ///
    /// From counts, not from the stake: where harm is obvious the cap makes all shapes equally rich.
    #[must_use]
    pub fn of(levels: &Arms<LevelCounts>) -> Self {
        Harms::usual().best(levels)
    }
}

/// The test of "the canary's latency is stochastically at most stable's at every (shifted) edge, at all times"
/// (Turner, Ly & Grünwald 2024, made one-sided), mixed over shapes of harm.
///
/// Why it is valid: every shape is a density ratio `h > 0` that rises from level to level, and the increment
/// [`ll_levels`](super::increment::ll_levels) has a mean of at most 1 for every such `h`, whatever the levels are.
/// With `g(l) = (n_c h(l) + n_b) / n`, if both versions have one law of levels, then `n_c ln E[h/g] + n_b ln E[1/g] <=
/// n ln E[((n_c/n) h + n_b/n) / g] = 0` by Jensen's inequality; and `h/g` rises while `1/g` falls in `h`, so a canary
/// whose latencies are stochastically shorter only lowers the mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    harms: &'static Harms,
    mixture: Mixture,
}

impl Shape {
    /// A test that, alone, would act at level `alpha`.
    #[must_use]
    pub fn new(alpha: f64) -> Self {
        Self::against(Harms::usual(), alpha)
    }

    /// The same, against harm of these shapes.
    pub(crate) fn against(harms: &'static Harms, alpha: f64) -> Self {
        let cap = Cap { alpha, blocks: BLOCKS };
        let (priors, scores) = (harms.priors(), harms.scores());
        Self { harms, mixture: Mixture::new(&priors, &scores, harms.start_share(), Some(cap)) }
    }

    /// Adds one batch's latencies by level. `phi` (at least 1) is their dispersion. With one version absent it says
    /// nothing.
    pub fn add(&mut self, levels: &Arms<LevelCounts>, phi: f64) {
        self.mixture.add(self.harms.increments(levels), phi);
    }

    /// The stake behind the test.
    #[must_use]
    pub const fn mixture(&self) -> &Mixture {
        &self.mixture
    }

    /// The stake behind the test, to end blocks and invest.
    pub const fn mixture_mut(&mut self) -> &mut Mixture {
        &mut self.mixture
    }
}

#[cfg(test)]
pub(crate) mod specified;
#[cfg(test)]
mod tests;
