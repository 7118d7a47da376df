//! What a judge remembers beside the wealth of its tests.

use meter::Window;
use serde::{Deserialize, Serialize};

use super::settings::Settings;
use super::sightings::{BadRun, FRESH_SECONDS, Rises, Sighting};
use crate::statistics::Batch;
use crate::view::Arms;

/// Counts, moments and what was established. Moments are seconds in which there was a tick, counted from the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The wall-clock second of the last tick.
    second: Option<i64>,
    pub(super) seconds: u64,
    /// Everything since the rollout began.
    pub(super) total: Batch,
    pub(super) step_requests: Arms<u64>,
    /// When each version last had a request.
    seen_at: Arms<Option<u64>>,
    /// When a batch last closed.
    pub(super) batch_at: Option<u64>,
    /// Whether a batch was judged since the step began.
    pub(super) judged_in_step: bool,
    /// Of each gate.
    pub(super) rises: Vec<Rises>,
    pub(super) bad_run: BadRun,
    pub(super) established: Option<Established>,
}

/// Harm, as it was when it was established. It stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Established {
    /// The gate's place; none for the breaker.
    pub(super) gate: Option<usize>,
    pub(super) log_evidence: f64,
    pub(super) explain: String,
}

impl Record {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            second: None,
            seconds: 0,
            total: Batch { over: vec![Arms::default(); settings.latency_limits_us().count()], ..Batch::default() },
            step_requests: Arms::default(),
            seen_at: Arms::default(),
            batch_at: None,
            judged_in_step: false,
            rises: vec![Rises::default(); settings.gates.len()],
            bad_run: BadRun::default(),
            established: None,
        }
    }

    /// Whether it belongs to so many gates, of which so many limit latency.
    pub(super) fn fits(&self, gates: usize, latency_limits: usize) -> bool {
        let place_fits = self.established.as_ref().and_then(|harm| harm.gate).is_none_or(|gate| gate < gates);
        self.rises.len() == gates && self.total.over.len() == latency_limits && place_fits
    }

    /// A tick came in this wall-clock second; says whether it is another one than the last tick's. Any other will do:
    /// a clock that is set back must not stop the blocks.
    pub(super) fn turn_to(&mut self, second: i64) -> bool {
        let turned = self.second.is_some_and(|last| last != second);
        self.second = Some(second);
        self.seconds = self.seconds.saturating_add(u64::from(turned));
        turned
    }

    pub(super) fn count(&mut self, tick: &Batch) {
        self.total.merge(tick);
        self.step_requests.stable = self.step_requests.stable.saturating_add(tick.requests.stable);
        self.step_requests.canary = self.step_requests.canary.saturating_add(tick.requests.canary);
        if tick.requests.stable > 0 {
            self.seen_at.stable = Some(self.seconds);
        }
        if tick.requests.canary > 0 {
            self.seen_at.canary = Some(self.seconds);
        }
    }

    /// Whether a batch closed lately.
    pub(super) fn has_data(&self) -> bool {
        self.batch_at.is_some_and(|at| self.seconds - at < FRESH_SECONDS)
    }

    /// For how many seconds each version had no request.
    pub(super) fn unseen_for(&self) -> Arms<Option<u64>> {
        let since = |at: Option<u64>| at.map(|at| self.seconds - at);
        Arms { stable: since(self.seen_at.stable), canary: since(self.seen_at.canary) }
    }

    /// The seconds from a moment to now, both included.
    pub(super) const fn seconds_since(&self, moment: u64) -> u64 {
        self.seconds.saturating_sub(moment).saturating_add(1)
    }
}

/// What the versions did in one tick, as far as the gates of `settings` need it.
pub(super) fn batch_of(settings: &Settings, stable: &Window, canary: &Window) -> Batch {
    let requests = Arms { stable: stable.requests(), canary: canary.requests() };
    let over = |us| Arms {
        stable: stable.over_or_failed(us).min(requests.stable),
        canary: canary.over_or_failed(us).min(requests.canary),
    };
    Batch {
        requests,
        bad: Arms { stable: stable.bad(), canary: canary.bad() },
        over: settings.latency_limits_us().map(over).collect(),
    }
}

/// What a gate sees of a batch: failures, or what is over the `n`-th latency limit.
pub(super) fn sighting_of(batch: &Batch, latency_limit: Option<usize>) -> Sighting {
    let events = match latency_limit {
        None => batch.bad,
        Some(place) => batch.over.get(place).copied().unwrap_or_default(),
    };
    Sighting { requests: batch.requests, events }
}
