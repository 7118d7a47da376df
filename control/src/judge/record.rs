//! What a judge remembers beside what its tests do.

use meter::{Drawn, GROUPS, GroupCounts};
use serde::{Deserialize, Serialize};

use super::Tick;
use super::background::Size;
use super::settings::Settings;
use super::sightings::{BadRun, Rises, Sighting, add};
use crate::view::{Arms, GateEstimate};

/// Counts, moments and what was established. Moments are seconds in which there was a tick, counted from the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The wall-clock second of the last tick.
    second: Option<i64>,
    pub(super) seconds: u64,
    /// When the present step began.
    step_at: u64,
    /// When the canary had its first traffic, or was last found cold.
    cold_at: Option<u64>,
    /// Everything since the rollout began.
    pub(super) total: Sighting,
    pub(super) step_requests: Arms<u64>,
    /// All of stable's requests since the step began, whoever the baseline is.
    of_stable_in_step: u64,
    endpoints: Arms<u32>,
    drawn: Tickets,
    groups: CanaryGroups,
    /// Whether a batch was judged since the step began.
    pub(super) judged_in_step: bool,
    /// Of each gate.
    pub(super) gates: Vec<GateRecord>,
    pub(super) bad_run: BadRun,
    /// By a guardrail or the breaker.
    pub(super) established: Option<Established>,
    /// By a signal.
    pub(super) signalled: Option<Established>,
    /// How often a dry run began anew after harm was established.
    pub(super) dry_rollbacks: u64,
}

/// What is remembered of one gate.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct GateRecord {
    /// Everything since the rollout began.
    pub(super) counts: Sighting,
    pub(super) rises: Rises,
    pub(super) estimate: Option<GateEstimate>,
}

/// Harm, as it was when it was established. It stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Established {
    /// The gate's place; none for the breaker.
    pub(super) gate: Option<usize>,
    pub(super) log_evidence: f64,
    pub(super) explain: String,
}

/// How many requests were drawn, and how many of them each by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Tickets {
    all: u64,
    at_random: u64,
}

/// The groups of clients that the canary's requests came from: a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct CanaryGroups {
    seen: u16,
    bad: u16,
}

const _: () = assert!(GROUPS <= u16::BITS as usize);

impl Record {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            second: None,
            seconds: 0,
            step_at: 0,
            cold_at: None,
            total: Sighting::default(),
            step_requests: Arms::default(),
            of_stable_in_step: 0,
            endpoints: Arms { stable: 1, canary: 1 },
            drawn: Tickets::default(),
            groups: CanaryGroups::default(),
            judged_in_step: false,
            gates: vec![GateRecord::default(); settings.gates.len()],
            bad_run: BadRun::default(),
            established: None,
            signalled: None,
            dry_rollbacks: 0,
        }
    }

    /// Whether it belongs to so many gates, and is made of numbers.
    pub(super) fn fits(&self, gates: usize) -> bool {
        let place =
            |harm: &Option<Established>| harm.as_ref().and_then(|harm| harm.gate).is_none_or(|gate| gate < gates);
        self.gates.len() == gates
            && place(&self.established)
            && place(&self.signalled)
            && self.gates.iter().all(|gate| gate.rises.are_sound())
    }

    /// A tick came in this wall-clock second; says whether it is another one than the last tick's. Any other will do:
    /// a clock that is set back must not stop the blocks.
    pub(super) fn turn_to(&mut self, second: i64) -> bool {
        let turned = self.second.is_some_and(|last| last != second);
        self.second = Some(second);
        self.seconds = self.seconds.saturating_add(u64::from(turned));
        turned
    }

    pub(super) fn count(&mut self, tick: &Tick<'_>) {
        let requests = Arms { stable: tick.baseline.requests(), canary: tick.canary.requests() };
        let bad = Arms { stable: tick.baseline.bad(), canary: tick.canary.bad() };
        self.total.merge(Sighting { requests, events: bad });
        add(&mut self.step_requests, requests);
        self.of_stable_in_step = self.of_stable_in_step.saturating_add(tick.stable.requests());
        self.endpoints = tick.endpoints;
        self.drawn.add(tick.stable.drawn);
        self.drawn.add(tick.canary.drawn);
        self.groups.add(&tick.canary.groups);
        if requests.canary > 0 && self.cold_at.is_none() {
            self.cold_at = Some(self.seconds);
        }
    }

    /// A step begins.
    pub(super) fn begin_step(&mut self) {
        self.judged_in_step = false;
        self.step_at = self.seconds;
        self.step_requests = Arms::default();
        self.of_stable_in_step = 0;
        self.gates.iter_mut().for_each(|gate| gate.estimate = None);
    }

    /// The canary has endpoints that had no traffic yet.
    pub(super) fn cool(&mut self) {
        if self.cold_at.is_some() {
            self.cold_at = Some(self.seconds);
        }
    }

    /// For how many seconds the canary still warms up; none where it had no traffic yet.
    pub(super) fn cold_for(&self, warmup_seconds: u64) -> Option<u64> {
        let since = self.seconds.saturating_sub(self.cold_at?);
        Some(warmup_seconds.saturating_sub(since))
    }

    /// How the canary's instances compare with stable's, by the traffic of the present step.
    pub(super) fn size(&self) -> Size {
        let Arms { stable, canary } = self.endpoints;
        let (stable, canary) = (f64::from(stable.max(1)), f64::from(canary.max(1)));
        let (of_canary, of_stable) = (self.step_requests.canary as f64, self.of_stable_in_step as f64);
        let load = if of_stable > 0.0 { of_canary / canary / (of_stable / stable) } else { 1.0 };
        let grouped = (stable / GROUPS as f64).max(1.0) / canary;
        Size { load, grouped, keyed: self.drawn.are_keyed() }
    }

    /// Whether failures of the canary came from more than one group of clients, as far as there is more than one.
    pub(super) const fn is_widespread(&self) -> bool {
        self.groups.seen.count_ones() < 2 || self.groups.bad.count_ones() >= 2
    }

    /// The seconds of the present step so far.
    pub(super) const fn step_seconds(&self) -> u64 {
        self.seconds.saturating_sub(self.step_at)
    }

    /// The seconds from a moment to now, both included.
    pub(super) const fn seconds_since(&self, moment: u64) -> u64 {
        self.seconds.saturating_sub(moment).saturating_add(1)
    }
}

impl Tickets {
    const fn add(&mut self, drawn: Drawn) {
        self.all = self.all.saturating_add(drawn.all);
        self.at_random = self.at_random.saturating_add(drawn.at_random);
    }

    /// Whether most requests have a key that keeps them on their version.
    const fn are_keyed(self) -> bool {
        self.all.saturating_sub(self.at_random) > self.at_random
    }
}

impl CanaryGroups {
    fn add(&mut self, groups: &[GroupCounts; GROUPS]) {
        for (place, group) in groups.iter().enumerate() {
            self.seen |= u16::from(group.requests > 0) << place;
            self.bad |= u16::from(group.bad > 0) << place;
        }
    }
}
