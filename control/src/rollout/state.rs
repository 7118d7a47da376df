//! What is in force for one service: the part of a release that survives a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::{Name, Plan, Service, Step, Weight};
use jiff::Timestamp;

use crate::plane::Split;
use crate::view::{Arms, GateView, Phase, RolloutView};

/// How many ended rollouts of a service are kept.
pub const HISTORY: usize = 20;

/// Everything about one service's release that a restart must find again. The journal holds these whole, so that the
/// last one of a service is all that is needed.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Grows by one with every state that is proposed, whether or not it comes into force.
    pub revision: u64,
    /// Grows by one with every change of the split or the configuration.
    pub generation: u64,
    /// The version that serves users.
    pub stable: Name,
    /// The other version with a weight above 0.
    pub canary: Option<(Name, Weight)>,
    /// The latest rollout, running or ended.
    pub rollout: Option<Rollout>,
    /// What the file said when it was last taken over, so that a later change of it can be told from what it
    /// always said.
    pub file: FileValues,
    /// How many rollouts have ended, by the phase they ended in.
    pub outcomes: BTreeMap<Phase, u64>,
    /// Ended rollouts, newest first; at most [`HISTORY`].
    pub history: Vec<Arc<RolloutView>>,
}

impl State {
    /// What the file alone says.
    #[must_use]
    pub fn from_file(service: &Service) -> Self {
        let file = FileValues::of(service);
        Self {
            revision: 0,
            generation: 1,
            stable: file.stable.clone(),
            canary: file.exposed(),
            rollout: None,
            file,
            outcomes: BTreeMap::new(),
            history: Vec::new(),
        }
    }

    /// The split as the data plane takes it.
    #[must_use]
    pub fn split(&self) -> Split {
        Split {
            stable: self.stable.clone(),
            canary: self.canary.clone(),
            baseline: None,
            paths: Arc::default(),
            generation: self.generation,
        }
    }

    /// The weight of a version that is not the stable.
    #[must_use]
    pub fn weight_of(&self, version: &Name) -> Weight {
        match &self.canary {
            Some((canary, weight)) if canary == version => *weight,
            Some(_) | None => Weight::ZERO,
        }
    }

    /// The rollout, while it runs.
    #[must_use]
    pub fn running(&self) -> Option<&Rollout> {
        self.rollout.as_ref().filter(|rollout| !rollout.phase.has_ended())
    }

    /// Sets a version's weight; a weight of 0 leaves the stable alone.
    pub(super) fn expose(&mut self, version: &Name, weight: Weight) {
        self.canary = (weight > Weight::ZERO).then(|| (version.clone(), weight));
    }
}

/// One attempt to make a canary the stable.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    /// ULID.
    pub id: String,
    /// The stable when it began.
    pub stable: Name,
    /// The version under test.
    pub canary: Name,
    /// The plan's name.
    pub plan_name: String,
    /// The plan as it was when the rollout began. A reload does not change it.
    pub plan: Plan,
    /// Where it stands. Never `promoting`: that is a promotion which waits for the disk and is not in force.
    pub phase: Phase,
    /// Why it is paused or has ended.
    pub reason: Option<String>,
    /// The present step, counted from 0; below the number of steps.
    pub step: usize,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What made its start safe to repeat.
    pub idempotency_key: Option<String>,
    /// What was seen of it, as of its end.
    pub reading: Reading,
}

impl Rollout {
    /// The weight that the plan gives the canary in the present step: an approval keeps that of the step before.
    /// None before the first weight.
    #[must_use]
    pub fn planned_weight(&self) -> Option<Weight> {
        self.plan.steps.iter().take(self.step + 1).rev().find_map(|step| match step {
            Step::Weight { weight, .. } => Some(*weight),
            Step::Approval => None,
        })
    }

    /// The phase of the present step while nobody holds it.
    #[must_use]
    pub fn phase_of_step(&self) -> Phase {
        match self.plan.steps.get(self.step) {
            Some(Step::Approval) => Phase::AwaitingApproval,
            Some(Step::Weight { .. }) | None => Phase::Progressing,
        }
    }
}

/// What the tests have seen of a rollout.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// Judged first attempts since the rollout began.
    pub requests: Arms<u64>,
    /// How many of them failed.
    pub failed: Arms<u64>,
    /// The gates.
    pub gates: Vec<GateView>,
}

/// What the file says about a service's split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileValues {
    /// Its stable.
    pub stable: Name,
    /// Its canary and weight.
    pub canary: Option<(Name, Weight)>,
}

impl FileValues {
    /// The values that a service's configuration holds.
    #[must_use]
    pub fn of(service: &Service) -> Self {
        let canary = service.canary.as_ref().map(|canary| (canary.version.clone(), canary.weight));
        Self { stable: service.stable.clone(), canary }
    }

    /// The canary, where the file gives it traffic.
    pub(super) fn exposed(&self) -> Option<(Name, Weight)> {
        self.canary.clone().filter(|(_, weight)| *weight > Weight::ZERO)
    }
}
