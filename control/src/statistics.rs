//! Sequential tests whose reading may be acted upon at any moment.
//!
//! Everything here is one object, the **e-process**: a running product `E` of fair (or losing) bets against a null
//! hypothesis. While the null is true the chance that `E` ever reaches `1/alpha` is at most `alpha`, however often one
//! looks (Ville 1939). So a verdict may be read after every batch, over all steps of a rollout, for ever, and costs no
//! correction for looking.
//!
//! | what | null hypothesis | where |
//! |---|---|---|
//! | T1, [`Excess`] | the canary's event rate is at most `ratio` times stable's plus `points` | [`excess`] |
//! | T2, [`Shape`] | the canary's latency is at most stable's, stretched by the tolerance, all along its distribution | [`levels`] |
//! | T2, [`OverQuantile`] | the same at one quantile | [`quantile`] |
//! | T3, [`OverLimit`] | the canary's event rate is at most a limit | [`limit`] |
//! | T4, [`Breaker`] | the canary fails at most one request in ten, or no more than stable | [`breaker`] |
//! | T5, [`ErrorProof`], [`QuantileProof`], [`LimitProof`] | the canary is worse by the margin, or more | [`proof`] |
//! | T6, [`Blocks`] | endpoints fail alike, so the canary fails far more in no more than half of all blocks of time | [`blocks`] |
//! | [`draws::Draws`] | each random draw goes to the canary with the chance that its weight says | [`mod@draws`] |
//!
//! The evidence of one batch is an [`increment`]: a function of the batch's counts alone. It uses the split that was
//! realised, so a change of weights needs nothing, and it compares traffic of the same moment, so drift and incidents
//! that both versions share cancel. [`Batcher`] gathers ticks until there is something to compare, and looks at how
//! many requests there were, never at how they ended. The size of the harm is not known beforehand: a [`Mixture`]
//! spreads its stake over a grid of sizes or shapes, and keeps part of it as cash for harm that begins late. Averages
//! of e-processes are e-processes under any dependence (Vovk & Wang, Annals of Statistics 49, 2021), which is how gates
//! share one alpha; the smaller of two is one for "either null is true", which is how a limit spares a canary on a bad
//! day.
//!
//! # What is promised
//!
//! - Whatever the traffic does (bursts, incidents of both versions, drift): if each request is sent to the canary by an
//!   independent coin and the version makes no difference to any request, T1 without a tolerance and T2's tails act
//!   with a chance of at most `alpha`. Given all outcomes, which of them fall to the canary is then drawn without
//!   replacement, and that is dominated in convex order by independent draws (Hoeffding 1963, theorem 4).
//! - For requests that are independent within a batch given the past, all tests keep their level exactly, at any number
//!   of requests; rates may jump from batch to batch.
//! - Failures that come in bursts on one instance or for one client are no independent requests. Two measures are
//!   taken, neither of them a theorem about any given service: evidence is tempered by a dispersion that [`placebo`]
//!   learns from groups of stable's own traffic (valid for bursts of geometric size, [`mixture::kappa`]), and no test
//!   but the breaker can reach its threshold within fewer than three distinct seconds. T6 looks at long bursts and at
//!   harm that does not end from another side: it counts blocks of time, not failures.
//!
//! Where stable's latencies lie is learnt from the past alone ([`edges`]). An edge that is off costs power; no
//! estimate of a quantile enters into what is promised.
//!
//! All logarithms are natural: evidence is in nats. `ln`, `exp` and their kin come from the crate `libm`, so that the
//! same counts give the same bits on every platform.

pub mod batch;
pub mod blocks;
pub mod breaker;
pub mod draws;
pub mod edges;
pub mod excess;
pub mod increment;
pub mod levels;
pub mod limit;
pub mod mixture;
pub(crate) mod packed;
pub mod placebo;
pub mod proof;
pub mod quantile;
pub mod ratio;

pub use batch::{Batch, Batcher, Gather};
pub use blocks::Blocks;
pub use breaker::Breaker;
pub use edges::Latencies;
pub use excess::Excess;
pub use levels::{LevelCounts, Shape};
pub use limit::OverLimit;
pub use mixture::{Mixture, Wealth};
pub use placebo::Placebo;
pub use proof::{ErrorProof, LimitProof, QuantileProof};
pub use quantile::OverQuantile;

use libm::{exp, log, log1p};

/// The part of the stake that is bet from the start; the rest is cash.
pub(crate) const START_SHARE: f64 = 0.6;
/// In how many distinct blocks, at the least, a capped test may reach its threshold. Guards against one bad moment.
const BLOCKS: f64 = 3.0;
/// The part of the cash that is staked anew at each step.
pub(crate) const INVEST_AT_STEP: f64 = 0.2;
/// Divided by `k + 1`: the part of the cash that is staked anew at the `k`-th late epoch of a step.
pub(crate) const INVEST_LATER: f64 = 0.25;

/// `ln(e^a + e^b)`, without overflow.
pub(crate) fn log_add_exp(a: f64, b: f64) -> f64 {
    let (high, low) = if a < b { (b, a) } else { (a, b) };
    if low == f64::NEG_INFINITY { high } else { high + log1p(exp(low - high)) }
}

/// `ln(sum e^x)`, without overflow; minus infinity where there is nothing to sum.
pub(crate) fn log_sum_exp(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let highest = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if highest == f64::NEG_INFINITY {
        return highest;
    }
    // Less than e^-45 of the largest term is less than the last bit of the sum, also where there are many.
    let part = |term: f64| if term - highest > -45.0 { exp(term - highest) } else { 0.0 };
    highest + log(terms.map(part).sum())
}

#[cfg(test)]
mod exact;
#[cfg(test)]
pub(crate) mod golden;
#[cfg(test)]
mod tests;
