//! What is in force for one service: the part of a release that survives a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::{Baseline, Match, Name, Plan, Service, Step, Weight};
use jiff::Timestamp;

use crate::judge::Copies;
use crate::plane::Split;
use crate::view::{Arms, Dispersion, GateView, Matched, Phase, RolloutView};

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
            canary: self.canary.clone().or_else(|| Some((self.waiting()?.clone(), Weight::ZERO))),
            baseline: self.baseline(),
            matched: self.running().and_then(Rollout::matched).cloned().map(Arc::new),
            mirror: self.running().and_then(Rollout::mirror),
            paths: self.running().map(|rollout| rollout.plan.paths().into()).unwrap_or_default(),
            generation: self.generation,
        }
    }

    /// The version that is the canary for those who ask for it, while it has no weight: the one under test; where
    /// nothing is tested, the file's, until a rollout of it ended. One that was taken back is nobody's canary.
    fn waiting(&self) -> Option<&Name> {
        if let Some(rollout) = self.running() {
            return Some(&rollout.canary);
        }
        let (canary, _) = self.file.canary.as_ref()?;
        let was_tested = self.history.iter().any(|rollout| rollout.canary == canary.as_str());
        (*canary != self.stable && !was_tested).then_some(canary)
    }

    /// Whether the data plane must be told when this state follows the other.
    pub(super) fn steers_from(&self, before: &Self) -> bool {
        Split { generation: 0, ..self.split() } != Split { generation: 0, ..before.split() }
    }

    /// Whom the canary is compared with where that is not all of stable, and its weight. Only while a rollout runs and
    /// its canary has traffic: a slice of stable as large as the canary where so much is left, or another version with
    /// as much, at most half of what the canary leaves.
    #[must_use]
    pub fn baseline(&self) -> Option<(Name, Weight)> {
        let rollout = self.running()?;
        let (_, weight) = self.canary.as_ref()?;
        let left = weight.complement();
        let (version, weight) = match &rollout.plan.baseline {
            Baseline::Stable => return None,
            Baseline::Equal => (&self.stable, (*weight).min(left)),
            Baseline::Version(version) => {
                let half = Weight::from_basis_points(left.basis_points() / 2).ok()?;
                (version, (*weight).min(half))
            }
        };
        (weight > Weight::ZERO).then(|| (version.clone(), weight))
    }

    /// A version's share of the traffic. They sum to 100 % over a service's versions.
    #[must_use]
    pub fn share_of(&self, version: &Name) -> Weight {
        // A slice of stable is stable's traffic.
        let elsewhere = self.baseline().filter(|(baseline, _)| *baseline != self.stable);
        match (&elsewhere, &self.canary) {
            (Some((baseline, weight)), _) if baseline == version => *weight,
            (_, Some((canary, weight))) if canary == version => *weight,
            (_, canary) if *version == self.stable => {
                let taken = [canary, &elsewhere].into_iter().flatten().map(|(_, weight)| weight.basis_points()).sum();
                Weight::from_basis_points(Weight::FULL.basis_points().saturating_sub(taken)).unwrap_or(Weight::ZERO)
            }
            (_, _) => Weight::ZERO,
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
    /// What a person is asked while it is paused; none where a person paused it.
    pub asks: Option<Question>,
    /// How often a person has acknowledged what was signalled: so often the alpha of that family was spent again.
    pub acknowledged: u64,
    /// In a dry run: how often the gates would have rolled back.
    pub would_have_rolled_back: u64,
    /// A person set its weight to 0, which is to take it from those who match, and from copies of requests, as well: until
    /// the plan is resumed.
    pub withdrawn: bool,
    /// It has no users yet, not even those who match, since none of its endpoints was well when they were to come.
    pub awaits_endpoints: bool,
    /// What was seen of it, as of its end.
    pub reading: Reading,
}

/// Why a rollout is paused that no person paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// A limit is broken on both versions.
    Limit,
    /// Something was signalled.
    Found {
        /// By a gate whose role that is.
        signal: bool,
        /// By the check of the traffic.
        traffic: bool,
    },
    /// The step did not end by its deadline.
    Deadline,
    /// A dry run is at its end.
    DryRunOver,
}

impl Question {
    /// Whether its answer acknowledges what was signalled.
    pub(super) const fn is_of_findings(&self) -> bool {
        match self {
            Self::Found { .. } => true,
            Self::Limit | Self::Deadline | Self::DryRunOver => false,
        }
    }
}

impl Rollout {
    /// The versions that it needs: the two that it compares, and one that its plan names as baseline.
    pub fn versions(&self) -> impl Iterator<Item = &Name> {
        let baseline = match &self.plan.baseline {
            Baseline::Version(version) => Some(version),
            Baseline::Stable | Baseline::Equal => None,
        };
        [&self.canary, &self.stable].into_iter().chain(baseline)
    }

    /// The weight that the plan gives the canary in the present step: an approval keeps that of the step before, and a
    /// mirror is for a canary without users. None before the first of these.
    #[must_use]
    pub fn planned_weight(&self) -> Option<Weight> {
        self.plan.steps.iter().take(self.step + 1).rev().find_map(|step| match step {
            Step::Weight { weight, .. } => Some(*weight),
            Step::Mirror { .. } => Some(Weight::ZERO),
            Step::Match { .. } | Step::Approval => None,
        })
    }

    /// Who goes to the canary whatever its weight, in the present step: whom the last match so far says. None where that
    /// is nobody, or it was withdrawn.
    #[must_use]
    pub fn matched(&self) -> Option<&Match> {
        let last = self.plan.steps.iter().take(self.step + 1).rev().find_map(|step| match step {
            Step::Match { who, .. } => Some(who.as_ref()),
            Step::Weight { .. } | Step::Mirror { .. } | Step::Approval => None,
        });
        last.flatten().filter(|_| !self.withdrawn && !self.awaits_endpoints)
    }

    /// The share of stable's requests that the canary gets copies of. It belongs to the present step alone: nothing that
    /// follows a mirror keeps it on. None where it was withdrawn.
    #[must_use]
    pub fn mirror(&self) -> Option<Weight> {
        match self.plan.steps.get(self.step)? {
            Step::Mirror { share, .. } => Some(*share).filter(|_| !self.withdrawn),
            Step::Weight { .. } | Step::Match { .. } | Step::Approval => None,
        }
    }

    /// The phase of the present step while nobody holds it.
    #[must_use]
    pub fn phase_of_step(&self) -> Phase {
        match self.plan.steps.get(self.step) {
            Some(Step::Approval) => Phase::AwaitingApproval,
            Some(Step::Weight { .. } | Step::Match { .. } | Step::Mirror { .. }) | None => Phase::Progressing,
        }
    }
}

/// What a canary is compared with under this plan, in words for the judge's sentences: the stable, a slice of it, or
/// the plan's baseline.
#[must_use]
pub fn name_of_compared(plan: &Plan, stable: &str) -> String {
    match &plan.baseline {
        Baseline::Stable => stable.to_owned(),
        Baseline::Equal => format!("{stable} (slice)"),
        Baseline::Version(version) => version.to_string(),
    }
}

/// What the tests have seen of a rollout.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// Judged first attempts since the rollout began.
    pub requests: Arms<u64>,
    /// How many of them failed.
    pub failed: Arms<u64>,
    /// Those who went to the canary whatever its weight, where they were counted apart.
    pub matched: Matched,
    /// What became of copies of requests.
    pub copies: Copies,
    /// The gates.
    pub gates: Vec<GateView>,
    /// How bursty stable's events are, where that was measured.
    pub dispersion: Option<Dispersion>,
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
