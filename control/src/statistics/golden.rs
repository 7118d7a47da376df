//! Vectors computed once by an independent implementation of the same formulas.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::levels::LevelCounts;
use super::levels::specified::{COARSE_LEVELS, finely};
use crate::view::Arms;

#[derive(Debug, Deserialize)]
pub(crate) struct Increments {
    pub(crate) ll_count: Vec<CountRow>,
    pub(crate) ll_bern: Vec<BernRow>,
    pub(crate) shape_quantiles: Vec<f64>,
    pub(crate) shape_priors: Vec<f64>,
    /// Weights that `ll_levels_shaped` is computed for.
    pub(crate) shapes: Vec<Vec<f64>>,
    pub(crate) ll_levels_shaped: Vec<ShapedRow>,
    pub(crate) ll_levels: Vec<LevelsRow>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CountRow {
    pub(crate) kc: u64,
    pub(crate) kb: u64,
    pub(crate) nc: u64,
    pub(crate) nb: u64,
    pub(crate) rho0: f64,
    pub(crate) delta: f64,
    pub(crate) rho1: f64,
    pub(crate) ll: f64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct BernRow {
    pub(crate) k: u64,
    pub(crate) n: u64,
    pub(crate) p0: f64,
    pub(crate) p1: f64,
    pub(crate) ll: f64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ShapedRow {
    pub(crate) c: Vec<u64>,
    pub(crate) b: Vec<u64>,
    pub(crate) ll: Vec<f64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct LevelsRow {
    pub(crate) c: Vec<u64>,
    pub(crate) b: Vec<u64>,
    pub(crate) h: Vec<f64>,
    pub(crate) ll: f64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct MixtureScript {
    pub(crate) prior: Vec<f64>,
    pub(crate) r: Vec<f64>,
    pub(crate) start_share: f64,
    pub(crate) alpha: f64,
    pub(crate) min_blocks: f64,
    pub(crate) invest_share: f64,
    pub(crate) cap: Vec<f64>,
    pub(crate) kappa: Vec<f64>,
    pub(crate) steps: Vec<MixtureStep>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct MixtureStep {
    pub(crate) kc: u64,
    pub(crate) kb: u64,
    pub(crate) nc: u64,
    pub(crate) nb: u64,
    pub(crate) phi: f64,
    /// `b`: the block ends; `i`: cash is invested.
    pub(crate) then: String,
    pub(crate) log_e: f64,
    pub(crate) log_e_after: f64,
    pub(crate) log_reserve: f64,
}

/// Counts here are canary requests, stable requests, bad of canary, bad of stable.
#[derive(Debug, Deserialize)]
pub(crate) struct BatcherScript {
    pub(crate) min_total: u64,
    pub(crate) ticks: Vec<BatcherStep>,
    pub(crate) flush: Option<[u64; 4]>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct BatcherStep {
    pub(crate) tick: [u64; 4],
    pub(crate) batch: Option<[u64; 4]>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Rollouts {
    pub(crate) scenarios: Vec<Scenario>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) step_before_batch: usize,
    pub(crate) phi_errors: f64,
    pub(crate) phi_latency: f64,
    pub(crate) spread: f64,
    pub(crate) batches_per_block: usize,
    pub(crate) rows: Vec<RolloutRow>,
}

/// The counts of a batch, and `ln E` of each test after it.
#[derive(Debug, Deserialize)]
pub(crate) struct RolloutRow {
    pub(crate) n_canary: u64,
    pub(crate) n_stable: u64,
    pub(crate) bad_canary: u64,
    pub(crate) bad_stable: u64,
    pub(crate) levels_canary: [u64; COARSE_LEVELS],
    pub(crate) levels_stable: [u64; COARSE_LEVELS],
    pub(crate) t1: f64,
    pub(crate) t2: f64,
    pub(crate) t3: f64,
    pub(crate) breaker: f64,
    pub(crate) proof_errors: f64,
    /// At p50, p95 and p99.
    pub(crate) proof_latency: [f64; 3],
    pub(crate) family: f64,
    pub(crate) verdict: Verdict,
}

impl RolloutRow {
    pub(crate) fn requests(&self) -> Arms<u64> {
        Arms { stable: self.n_stable, canary: self.n_canary }
    }

    pub(crate) fn bad(&self) -> Arms<u64> {
        Arms { stable: self.bad_stable, canary: self.bad_canary }
    }

    pub(crate) fn levels(&self) -> Arms<LevelCounts> {
        Arms { stable: finely(self.levels_stable), canary: finely(self.levels_canary) }
    }

    /// Levels at the edges of the proof: the canary's moved down by one.
    pub(crate) fn proof_levels(&self) -> Arms<LevelCounts> {
        let [lowest, rest @ ..] = self.levels_canary;
        let mut canary = [0; COARSE_LEVELS];
        canary[..rest.len()].copy_from_slice(&rest);
        canary[0] += lowest;
        Arms { stable: finely(self.levels_stable), canary: finely(canary) }
    }
}

/// What is to be done after a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Verdict {
    Hold,
    Promote,
    Rollback,
    RollbackBreaker,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Placebos {
    pub(crate) scripts: Vec<PlaceboScript>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PlaceboScript {
    pub(crate) name: String,
    pub(crate) groups: usize,
    pub(crate) scales: usize,
    pub(crate) decay: f64,
    pub(crate) blocks: Vec<PlaceboBlock>,
}

/// Requests and events of each group; the inflation and the spread after the block.
#[derive(Debug, Deserialize)]
pub(crate) struct PlaceboBlock {
    pub(crate) requests: Vec<u64>,
    pub(crate) events: Vec<u64>,
    pub(crate) phi: f64,
    pub(crate) spread: f64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct EdgeScript {
    /// Lower bounds of the buckets.
    pub(crate) bounds: Vec<f64>,
    pub(crate) counts: Vec<u64>,
    pub(crate) edges: [usize; 10],
    pub(crate) stretch: f64,
    pub(crate) shifted: [usize; 10],
    pub(crate) levels: [u64; COARSE_LEVELS],
    pub(crate) levels_shifted: [u64; COARSE_LEVELS],
}

fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).expect("the golden vectors parse")
}

pub(crate) fn increments() -> Increments {
    read(include_str!("../../tests/golden/increments.json"))
}

pub(crate) fn mixture() -> MixtureScript {
    read(include_str!("../../tests/golden/mixture.json"))
}

pub(crate) fn batcher() -> BatcherScript {
    read(include_str!("../../tests/golden/batcher.json"))
}

pub(crate) fn rollouts() -> Rollouts {
    read(include_str!("../../tests/golden/rollouts.json"))
}

pub(crate) fn placebos() -> Placebos {
    read(include_str!("../../tests/golden/placebo.json"))
}

pub(crate) fn edges() -> EdgeScript {
    read(include_str!("../../tests/golden/edges.json"))
}

/// Equal to a relative 1e-9.
#[track_caller]
pub(crate) fn assert_close(ours: f64, theirs: f64, what: &str) {
    assert!((ours - theirs).abs() <= 1e-12 + 1e-9 * theirs.abs(), "{what}: {ours} is not {theirs}");
}
