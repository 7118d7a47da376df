//! What was seen, beside the evidence: counts and recent spans, for the sentences.

use serde::{Deserialize, Serialize};

use super::family::Reading;
use crate::statistics::Breaker;
use crate::view::Arms;

/// How many seconds without a batch make "no data".
pub(super) const FRESH_SECONDS: u64 = 30;

/// Requests, and how many of them were events of the kind that a gate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Sighting {
    pub(super) requests: Arms<u64>,
    pub(super) events: Arms<u64>,
}

impl Sighting {
    fn merge(&mut self, other: Self) {
        let add = |mine: &mut Arms<u64>, theirs: Arms<u64>| {
            mine.stable = mine.stable.saturating_add(theirs.stable);
            mine.canary = mine.canary.saturating_add(theirs.canary);
        };
        add(&mut self.requests, other.requests);
        add(&mut self.events, other.events);
    }
}

/// What was seen since evidence was last at its lowest: the span that made it rise, without the good time before.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Rise {
    lowest: f64,
    /// The second, counted from the rollout's beginning, in which it was lowest.
    pub(super) since: u64,
    pub(super) seen: Sighting,
}

impl Rise {
    /// A batch was judged, and the evidence is now this.
    pub(super) fn observe(&mut self, second: u64, batch: Sighting, log_evidence: f64) {
        if log_evidence <= self.lowest {
            *self = Self { lowest: log_evidence, since: second, seen: Sighting::default() };
        } else {
            self.seen.merge(batch);
        }
    }
}

/// The rises of one gate.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Rises {
    /// Of its evidence for harm.
    pub(super) harm: Rise,
    /// Of its evidence that the canary is over the limit.
    pub(super) over_limit: Rise,
}

impl Rises {
    pub(super) fn observe(&mut self, second: u64, batch: Sighting, reading: Reading) {
        self.harm.observe(second, batch, reading.harm);
        if let Some(over_limit) = reading.over_limit {
            self.over_limit.observe(second, batch, over_limit);
        }
    }
}

/// The latest run of batches in which the canary looked broken: a cumulative sum that starts anew at 0 (Page 1954).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct BadRun {
    leaning: f64,
    pub(super) seen: Sighting,
}

impl BadRun {
    pub(super) fn observe(&mut self, batch: Sighting) {
        self.leaning += Breaker::leaning(batch.events.canary, batch.requests.canary);
        if self.leaning <= 0.0 {
            *self = Self::default();
        } else {
            self.seen.merge(batch);
        }
    }
}
