//! Vectors computed once by an independent implementation of the same formulas.

use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Debug, Deserialize)]
pub(crate) struct Increments {
    pub(crate) ll_count: Vec<CountRow>,
    pub(crate) ll_bern: Vec<BernRow>,
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
    pub(crate) phi: f64,
    pub(crate) spread: f64,
    pub(crate) batches_per_block: usize,
    pub(crate) rows: Vec<RolloutRow>,
}

/// n canary, n stable, bad canary, bad stable; ln E of T1, T3 and the breaker.
#[derive(Debug, Deserialize)]
pub(crate) struct RolloutRow(
    pub(crate) u64,
    pub(crate) u64,
    pub(crate) u64,
    pub(crate) u64,
    pub(crate) f64,
    pub(crate) f64,
    pub(crate) f64,
);

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

/// Equal to a relative 1e-9.
#[track_caller]
pub(crate) fn assert_close(ours: f64, theirs: f64, what: &str) {
    assert!((ours - theirs).abs() <= 1e-12 + 1e-9 * theirs.abs(), "{what}: {ours} is not {theirs}");
}
