//! What a canary that is slower may look like: the shapes of harm that the stake is spread over.

use std::sync::LazyLock;

use libm::{erfc, log, pow, sqrt};

use super::{EDGE_NORMALS, EDGE_QUANTILES, EDGES, LEVELS, LevelCounts, Moved, edge_at};
use crate::view::Arms;

/// The part of the stake that is bet from the start. More than in other tests: harm of latency is mostly there from
/// the first request on, and the many shapes leave each little.
const START_SHARE: f64 = 0.85;

/// One way in which latencies may be longer.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Harm {
    /// All are longer: were they log-normal, by so many standard deviations of the logarithm. From p95 on all levels
    /// have one ratio. That loses 1 % of the power where the law is log-normal, and where a second hump lies in the
    /// tail it is closer to what happens there.
    Longer(f64),
    /// The tail is fatter: the chance of exceeding what lies beyond the edge at this quantile is raised to a power
    /// lower by so much, so that the ratio grows with the rarity. Raised to 1 where it would be lower.
    Fatter { beyond: f64, by: f64 },
    /// So many times as many lie beyond the edge at this quantile.
    More { beyond: f64, times: f64 },
}

use Harm::{Fatter, Longer, More};

/// All shapes of harm, and which part of the stake each has.
///
/// Chosen by simulation: of the shapes that services show (everything slower, a tail that stretches, a slow path that
/// takes longer or is taken more often, a few requests that hang), none should be found much later than any test of
/// this kind could; more of the stake is on what is common. The decision in `docs/decisions` has the figures.
const USUAL: [(Harm, f64); 25] = [
    (Longer(0.06), 0.07),
    (Longer(0.12), 0.135),
    (Longer(0.22), 0.14),
    (Longer(0.5), 0.01),
    (Longer(1.2), 0.01),
    (Fatter { beyond: 0.90, by: 0.08 }, 0.11),
    (Fatter { beyond: 0.90, by: 0.15 }, 0.04),
    (Fatter { beyond: 0.90, by: 0.25 }, 0.085),
    (Fatter { beyond: 0.90, by: 0.6 }, 0.05),
    (Fatter { beyond: 0.95, by: 0.04 }, 0.01),
    (Fatter { beyond: 0.95, by: 0.1 }, 0.015),
    (Fatter { beyond: 0.95, by: 0.2 }, 0.03),
    (Fatter { beyond: 0.98, by: 0.08 }, 0.03),
    (Fatter { beyond: 0.98, by: 0.2 }, 0.01),
    (Fatter { beyond: 0.98, by: 0.6 }, 0.025),
    (More { beyond: 0.90, times: 1.5 }, 0.025),
    (More { beyond: 0.95, times: 1.2 }, 0.015),
    (More { beyond: 0.95, times: 2.0 }, 0.02),
    (More { beyond: 0.98, times: 1.5 }, 0.075),
    (More { beyond: 0.98, times: 2.0 }, 0.05),
    (More { beyond: 0.994, times: 1.2 }, 0.005),
    (More { beyond: 0.994, times: 3.0 }, 0.01),
    (More { beyond: 0.999, times: 2.0 }, 0.015),
    (More { beyond: 0.9998, times: 10.0 }, 0.01),
    (More { beyond: 0.9998, times: 100.0 }, 0.005),
];

/// From this edge on what is [longer](Harm::Longer) has one ratio.
const ONE_RATIO_FROM: usize = edge_at(0.95);

impl Harm {
    /// The density ratios of canary to stable, level by level, where stable's edges are where they are meant to be.
    fn ratios(self) -> [f64; LEVELS] {
        let above = |z: f64| 0.5 * erfc(z / sqrt(2.0));
        match self {
            Longer(by) => {
                let beyond = |edge: usize| above(EDGE_NORMALS[edge] - by);
                let last = beyond(ONE_RATIO_FROM) / (1.0 - EDGE_QUANTILES[ONE_RATIO_FROM]);
                let ratios = ratios(beyond);
                std::array::from_fn(|level| if level > ONE_RATIO_FROM { last } else { ratios[level] })
            }
            Fatter { beyond, by } => {
                let (from, part) = (edge_at(beyond), 1.0 - beyond);
                let raised = |edge: usize| {
                    let beyond = 1.0 - EDGE_QUANTILES[edge];
                    if edge <= from { beyond } else { part * pow(beyond / part, 1.0 - by) }
                };
                ratios(raised).map(|ratio| ratio.max(1.0))
            }
            More { beyond, times } => {
                let from = edge_at(beyond);
                std::array::from_fn(|level| if level > from { times } else { 1.0 })
            }
        }
    }

    const fn moved(self) -> Moved {
        match self {
            Longer(_) => Moved::Body,
            Fatter { beyond, .. } | More { beyond, .. } => Moved::Tail { beyond },
        }
    }
}

/// Density ratios of the levels where the canary has this part beyond each edge.
fn ratios(beyond: impl Fn(usize) -> f64) -> [f64; LEVELS] {
    let between = |level: usize, beyond: &dyn Fn(usize) -> f64| {
        let low = if level == 0 { 1.0 } else { beyond(level - 1) };
        let high = if level == EDGES { 0.0 } else { beyond(level) };
        low - high
    };
    std::array::from_fn(|level| between(level, &beyond) / between(level, &|edge| 1.0 - EDGE_QUANTILES[edge]))
}

/// Shapes of harm, and how the stake is spread over them.
#[derive(Debug, PartialEq)]
pub(crate) struct Harms {
    bets: Vec<Bet>,
    start_share: f64,
}

/// A shape that a part of the stake is bet on.
#[derive(Debug, PartialEq)]
pub(crate) struct Bet {
    moved: Moved,
    /// Which part of the stake, before they are made to sum to 1.
    pub(crate) prior: f64,
    /// The density ratio of each level: above 0, and rising.
    pub(crate) ratios: [f64; LEVELS],
    /// Levels beside each other that have one ratio, without those where it is 1: they say nothing.
    cells: Vec<Cell>,
}

/// Levels `from..to` have this ratio, with its logarithm taken once.
#[derive(Debug, PartialEq)]
struct Cell {
    from: usize,
    to: usize,
    ratio: f64,
    log: f64,
}

impl Bet {
    fn new(moved: Moved, ratios: [f64; LEVELS], prior: f64) -> Self {
        let mut cells: Vec<Cell> = Vec::new();
        for (level, ratio) in ratios.into_iter().enumerate() {
            match cells.last_mut() {
                Some(last) if last.ratio == ratio => last.to = level + 1,
                Some(_) | None => cells.push(Cell { from: level, to: level + 1, ratio, log: log(ratio) }),
            }
        }
        cells.retain(|cell| cell.ratio != 1.0);
        Self { moved, prior, ratios, cells }
    }

    /// What [`ll_levels`](crate::statistics::increment::ll_levels) gives for this shape.
    fn increment(&self, Sums { before, totals }: &Sums) -> f64 {
        let Arms { stable, canary } = *totals;
        if stable == 0.0 || canary == 0.0 {
            return 0.0;
        }
        let gain = |Cell { from, to, ratio, log: of_ratio }: &Cell| {
            let in_cell = |of: &[f64; LEVELS + 1]| of[*to] - of[*from];
            let (c, b) = (in_cell(&before.canary), in_cell(&before.stable));
            let both = c + b;
            if both == 0.0 { 0.0 } else { c * of_ratio - both * log((canary * ratio + stable) / (canary + stable)) }
        };
        self.cells.iter().map(gain).sum()
    }
}

impl Harms {
    /// Those that every rollout is tested for.
    pub(crate) fn usual() -> &'static Self {
        static HARMS: LazyLock<Harms> = LazyLock::new(|| {
            Harms::new(USUAL.iter().map(|(harm, prior)| (harm.moved(), harm.ratios(), *prior)), START_SHARE)
        });
        &HARMS
    }

    /// Shapes, each with its density ratios (above 0, rising) and its part of the stake, of which `start_share` is bet
    /// from the start.
    pub(crate) fn new(shapes: impl Iterator<Item = (Moved, [f64; LEVELS], f64)>, start_share: f64) -> Self {
        Self { bets: shapes.map(|(moved, ratios, prior)| Bet::new(moved, ratios, prior)).collect(), start_share }
    }

    pub(crate) const fn start_share(&self) -> f64 {
        self.start_share
    }

    #[cfg(test)]
    pub(super) fn bets(&self) -> &[Bet] {
        &self.bets
    }

    pub(crate) fn priors(&self) -> Vec<f64> {
        self.bets.iter().map(|bet| bet.prior).collect()
    }

    /// The logarithm of each shape's largest ratio: that of the top level, as every shape rises.
    pub(crate) fn scores(&self) -> Vec<f64> {
        self.bets.iter().map(|bet| log(bet.ratios[LEVELS - 1])).collect()
    }

    /// Those in which all latencies are longer.
    pub(crate) fn of_the_body(&self) -> impl Iterator<Item = &Bet> {
        self.bets.iter().filter(|bet| bet.moved == Moved::Body)
    }

    /// The increments of all shapes for one batch; 0 with one version absent.
    pub(super) fn increments(&self, levels: &Arms<LevelCounts>) -> impl Iterator<Item = f64> {
        let sums = Sums::of(levels);
        self.bets.iter().map(move |bet| bet.increment(&sums))
    }

    /// What these levels look most like.
    pub(super) fn best(&self, levels: &Arms<LevelCounts>) -> Moved {
        let fits =
            self.increments(levels).zip(&self.bets).map(|(increment, bet)| (increment + log(bet.prior), bet.moved));
        let better = |best: (f64, Moved), fit: (f64, Moved)| if fit.0 > best.0 { fit } else { best };
        fits.fold((f64::NEG_INFINITY, Moved::Body), better).1
    }
}

/// How many requests lie before each level, and in all.
struct Sums {
    before: Arms<[f64; LEVELS + 1]>,
    totals: Arms<f64>,
}

impl Sums {
    fn of(levels: &Arms<LevelCounts>) -> Self {
        let before = |levels: &LevelCounts| {
            let mut sums = [0.0; LEVELS + 1];
            for (level, count) in levels.iter().enumerate() {
                sums[level + 1] = sums[level] + *count as f64;
            }
            sums
        };
        let before = Arms { stable: before(&levels.stable), canary: before(&levels.canary) };
        let totals = Arms { stable: before.stable[LEVELS], canary: before.canary[LEVELS] };
        Self { before, totals }
    }
}
