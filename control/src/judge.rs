//! Judges one rollout: folds windows into the sequential tests and says what they establish.
//!
//! Pure: time is an argument, and the same windows give the same evidence to the last bit. What is decided from a
//! [`Judgement`] is the state machine's business.

use config::Plan;
use meter::Window;
use serde::{Deserialize, Serialize};

use crate::view::{Arms, GateView};

/// The tests of one rollout and all that they remember. Its serialised form is what survives a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judge {}

/// What the tests say now.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Harm beyond the tolerance is established: take the canary back. The sentence says what was seen.
    pub harm: Option<Harm>,
    /// A limit is broken on both versions: hold and alert, no rollback. In a sentence.
    pub hold: Option<String>,
    /// The family's evidence is at 10 or above: no step forward.
    pub suspicion: bool,
    /// Judged first attempts since the rollout began.
    pub requests: Arms<u64>,
    /// How many of them failed.
    pub failed: Arms<u64>,
    /// Judged first attempts since the present step began.
    pub step_requests: Arms<u64>,
    /// Whether a batch closed in the last 30 s.
    pub has_data: bool,
}

/// Established harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Harm {
    /// The gate that established it; `breaker` for the circuit breaker that is always on.
    pub gate: String,
    /// What was seen, in a sentence for the operator.
    pub explain: String,
}

impl Judge {
    /// Begins the tests of a rollout under `plan`. `stable` and `canary` are the versions' names, for the sentences.
    #[must_use]
    pub fn new(plan: &Plan, stable: &str, canary: &str) -> Self {
        let _ = (plan, stable, canary);
        Self {}
    }

    /// Folds in what the two versions did since the last tick. `second` is the wall-clock second (blocks of evidence
    /// end where it changes).
    pub fn tick(&mut self, second: i64, stable: &Window, canary: &Window) {
        let _ = (second, stable, canary);
    }

    /// The canary's weight changed, or a step began: closes the batch and the block, and invests anew.
    pub fn new_step(&mut self) {}

    /// What the tests say now.
    #[must_use]
    pub fn judgement(&self) -> Judgement {
        Judgement {
            harm: None,
            hold: None,
            suspicion: false,
            requests: Arms::default(),
            failed: Arms::default(),
            step_requests: Arms::default(),
            has_data: false,
        }
    }

    /// The gates as users see them.
    #[must_use]
    pub fn gates(&self) -> Vec<GateView> {
        Vec::new()
    }
}
