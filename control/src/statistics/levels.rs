//! T2: are the canary's latencies longer than the tolerance over stable's allows, anywhere in their distribution?
//!
//! Latencies are sorted into [`LEVELS`] levels at [`EDGE_QUANTILES`] of stable's recent past; the canary's edges are
//! stretched by what is tolerated. The null hypothesis is that at every edge the canary's part above is at most
//! stable's. Where exactly the edges lie costs or brings power and never touches validity.

use std::sync::LazyLock;

use libm::log;

use super::mixture::{Cap, Mixture};
use super::{BLOCKS, START_SHARE};
use crate::view::Arms;

/// The quantiles of stable's latency that are the edges between levels.
pub const EDGE_QUANTILES: [f64; 10] = [0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.98, 0.99, 0.997, 0.999];
/// How many levels there are.
pub const LEVELS: usize = EDGE_QUANTILES.len() + 1;
/// How many requests fell into each level, the fastest first.
pub type LevelCounts = [u64; LEVELS];

/// How many alternatives the test mixes.
const SHAPES: usize = BODY.len() + STRETCH.len() + TAIL_SHAPES;
/// How many of them are a jump of the tail.
const TAIL_SHAPES: usize = 19;
/// Stretches begin at this level: the first above p90.
const STRETCH_FROM: usize = LEVELS - STRETCH[0].len();

/// Density ratios of canary to stable where the logarithm of a log-normal latency moves by 0.05, 0.1, 0.2, 0.4, 0.8
/// and 1.6 standard deviations.
pub(crate) const BODY: [[f64; LEVELS]; 6] = [
    [
        0.9150379483557101,
        0.9525250929164031,
        0.9827145415543842,
        1.0151432240990985,
        1.047297855099046,
        1.0737167144407458,
        1.0941334600485695,
        1.113588358740735,
        1.1317764614581851,
        1.1540922686780186,
        1.1819786702759172,
    ],
    [
        0.8355471719060246,
        0.9051059760651122,
        0.9634061964904068,
        1.0280384798891662,
        1.0941758440608693,
        1.1500200896452533,
        1.194179225336984,
        1.2370014907087101,
        1.277764214885155,
        1.3286341425589032,
        1.393826756833859,
    ],
    [
        0.6922982732177754,
        0.811306483515938,
        0.9192579628469151,
        1.0467374269182743,
        1.1856628979844,
        1.3095283179392232,
        1.4120652254541164,
        1.5150393061143062,
        1.6166618681015608,
        1.7478665154839186,
        1.9247861824679395,
    ],
    [
        0.4632791465828809,
        0.633158023053319,
        0.8131065610935595,
        1.0542704076266403,
        1.352296407906365,
        1.6483379753045857,
        1.9167836528443174,
        2.205879445906243,
        2.512524943220912,
        2.936343176288045,
        3.5701147529656443,
    ],
    [
        0.1869172469429714,
        0.34322108674745966,
        0.5667220435079224,
        0.9528176277364477,
        1.5658528293525706,
        2.3193197149635223,
        3.137654742863347,
        4.150501611420428,
        5.391580345250331,
        7.358318357426501,
        11.003926799719611,
    ],
    [
        0.019786123897512376,
        0.06326443966671984,
        0.17332405343919516,
        0.4902039423467359,
        1.3181474965139475,
        2.85631216527058,
        5.236907015319235,
        9.11920106677591,
        15.469051003540903,
        28.72391474804795,
        68.08158232491829,
    ],
];

/// Density ratios above p90 where the logarithm of what lies beyond p90 is stretched by a factor of 1.12, 1.3, 1.8
/// and 3; raised to 1 where they would be lower, so that they rise everywhere. Below p90 they are 1.
const STRETCH: [[f64; 6]; 4] = [
    [1.0, 1.0, 1.0960715479560559, 1.23017142493715, 1.451084011906688, 1.8870834600706026],
    [1.0, 1.0, 1.1834868115190622, 1.5049683655528518, 2.1141895047563346, 3.760555888898006],
    [1.0, 1.0, 1.228012867802707, 1.895194393745222, 3.4597109512759485, 11.116188204054678],
    [1.0, 1.0, 1.0338078854249746, 1.8901529977767901, 4.293312335134021, 29.752394033088354],
];

/// Density ratios above one edge, where it is 1 below.
const RATIOS: [f64; 13] = [1.4, 1.6, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0, 15.0, 20.0, 40.0, 100.0];
/// Which of [`RATIOS`] is tried at which edge, by their places: the rarer what lies beyond, the larger.
const TAILS: [(usize, &[usize]); 6] =
    [(4, &[0, 3]), (5, &[0, 3, 6]), (6, &[0, 3, 6, 10]), (7, &[1, 5, 8, 11]), (8, &[2, 7, 11]), (9, &[4, 9, 12])];

/// How the stake is spread over moves of the body, stretches, and jumps of the tail.
pub(crate) const PRIOR: [f64; 3] = [0.45, 0.25, 0.30];

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
        let fits = increments(levels).into_iter().zip(priors()).map(|(increment, prior)| increment + log(prior));
        let best = |best: (usize, f64), fit: (usize, f64)| if fit.1 > best.1 { fit } else { best };
        let (shape, _) = fits.enumerate().fold((0, f64::NEG_INFINITY), best);
        if shape < BODY.len() {
            return Self::Body;
        }
        let tail = shape.checked_sub(BODY.len() + STRETCH.len()).and_then(|place| tail_shapes().nth(place));
        let edge = tail.map_or(STRETCH_FROM - 1, |(place, _)| TAILS[place].0);
        Self::Tail { beyond: EDGE_QUANTILES[edge] }
    }
}

/// The test of "the canary's latency is stochastically at most stable's at every (shifted) edge, at all times"
/// (Turner, Ly & Grünwald 2024, made one-sided), mixed over 29 shapes of harm.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    mixture: Mixture,
}

impl Shape {
    /// A test that, alone, would act at level `alpha`.
    #[must_use]
    pub fn new(alpha: f64) -> Self {
        // The score of a shape is the logarithm of its largest ratio: that of the top level, as every shape rises.
        let tops = (BODY.iter().map(|h| h[LEVELS - 1]))
            .chain(STRETCH.iter().map(|h| h[h.len() - 1]))
            .chain(tail_shapes().map(|(_, ratio)| RATIOS[ratio]));
        let cap = Cap { alpha, blocks: BLOCKS };
        let (priors, scores): (Vec<f64>, Vec<f64>) = (priors().collect(), tops.map(log).collect());
        Self { mixture: Mixture::new(&priors, &scores, START_SHARE, Some(cap)) }
    }

    /// Adds one batch's latencies by level. `phi` (at least 1) is their dispersion. With one version absent it says
    /// nothing.
    pub fn add(&mut self, levels: &Arms<LevelCounts>, phi: f64) {
        self.mixture.add(increments(levels).into_iter(), phi);
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

/// How the stake is spread over all shapes.
fn priors() -> impl Iterator<Item = f64> {
    let [body, stretch, tail] = PRIOR;
    let of_tail = move |(place, _): (usize, usize)| {
        let (_, ratios) = TAILS[place];
        tail / TAILS.len() as f64 / ratios.len() as f64
    };
    (BODY.iter().map(move |_| body / BODY.len() as f64))
        .chain(STRETCH.iter().map(move |_| stretch / STRETCH.len() as f64))
        .chain(tail_shapes().map(of_tail))
}

/// The jumps of the tail: places in [`TAILS`] and in [`RATIOS`].
fn tail_shapes() -> impl Iterator<Item = (usize, usize)> {
    TAILS.iter().enumerate().flat_map(|(place, (_, ratios))| ratios.iter().map(move |ratio| (place, *ratio)))
}

/// Logarithms of the density ratios.
struct Logs {
    body: [[f64; LEVELS]; BODY.len()],
    stretch: [[f64; STRETCH[0].len()]; STRETCH.len()],
    ratios: [f64; RATIOS.len()],
}

static LOGS: LazyLock<Logs> = LazyLock::new(|| Logs {
    body: BODY.map(|h| h.map(log)),
    stretch: STRETCH.map(|h| h.map(log)),
    ratios: RATIOS.map(log),
});

/// The increments of all shapes, as [`ll_levels`](super::increment::ll_levels) has them one by one. Levels that a
/// shape leaves alone cost nothing, and jumps of one ratio at several edges share a logarithm.
fn increments(levels: &Arms<LevelCounts>) -> [f64; SHAPES] {
    let mut sums = [0.0; SHAPES];
    let (of_canary, of_stable) = (total(&levels.canary), total(&levels.stable));
    if of_canary == 0.0 || of_stable == 0.0 {
        return sums;
    }
    let all = of_canary + of_stable;
    let fair = |ratio: f64| log((of_canary * ratio + of_stable) / all);
    let counts = |level: usize| (levels.canary[level] as f64, levels.stable[level] as f64);
    let gain = |level: usize, ratio: f64, of_ratio: f64| {
        let (canary, stable) = counts(level);
        if canary + stable == 0.0 || ratio == 1.0 {
            return 0.0;
        }
        canary * of_ratio - (canary + stable) * fair(ratio)
    };
    let gains = |from: usize, h: &[f64], logs: &[f64]| -> f64 {
        h.iter().zip(logs).enumerate().map(|(level, (ratio, log))| gain(from + level, *ratio, *log)).sum()
    };
    let known = &*LOGS;
    let (body, rest) = sums.split_at_mut(BODY.len());
    let (stretch, tail) = rest.split_at_mut(STRETCH.len());
    for (sum, (h, logs)) in body.iter_mut().zip(BODY.iter().zip(&known.body)) {
        *sum = gains(0, h, logs);
    }
    for (sum, (h, logs)) in stretch.iter_mut().zip(STRETCH.iter().zip(&known.stretch)) {
        *sum = gains(STRETCH_FROM, h, logs);
    }
    let fairs = RATIOS.map(fair);
    let beyond = TAILS.map(|(edge, _)| (total(&levels.canary[edge + 1..]), total(&levels.stable[edge + 1..])));
    for (sum, (place, ratio)) in tail.iter_mut().zip(tail_shapes()) {
        let ((canary, stable), of_ratio, fair) = (beyond[place], known.ratios[ratio], fairs[ratio]);
        *sum = canary * of_ratio - (canary + stable) * fair;
    }
    sums
}

fn total(counts: &[u64]) -> f64 {
    counts.iter().map(|count| *count as f64).sum()
}

#[cfg(test)]
mod tests;
