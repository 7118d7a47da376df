//! What a version did: since it began (a tally), or between two moments (a window).

use crate::latency::LatencyCounts;
use crate::outcome::{Attempt, Class, GROUPS};

/// First, judged attempts of one group of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupCounts {
    /// How many ended.
    pub requests: u64,
    /// How many of them failed.
    pub bad: u64,
}

/// Counts of what a version did. As a tally they only grow.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// First attempts that may be judged, by class.
    pub judged: [u64; Class::ALL.len()],
    /// Every attempt, by kind and class.
    pub attempts: [[u64; Class::ALL.len()]; Attempt::ALL.len()],
    /// Latencies of judged attempts that did not fail (client aborts at their age among them).
    pub latency_good: LatencyCounts,
    /// Latencies of judged attempts that failed, where there was one.
    pub latency_bad: LatencyCounts,
    /// Whole requests drawn to this version, from their head to their last byte.
    pub duration: LatencyCounts,
    /// Judged attempts by hash group of the affinity key or client connection.
    pub groups: [GroupCounts; GROUPS],
    /// Judged attempts by endpoint (its place in the version, modulo [`GROUPS`]).
    pub endpoints: [GroupCounts; GROUPS],
}

/// What a version did between two moments: the difference of two tallies.
pub type Window = Tally;

impl Tally {
    /// How many judged attempts ended.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.judged.iter().sum()
    }

    /// How many judged attempts failed.
    #[must_use]
    pub fn bad(&self) -> u64 {
        Class::ALL.iter().filter(|class| class.is_bad()).map(|class| self.judged[*class as usize]).sum()
    }

    /// How many judged attempts took longer than `us` microseconds, or failed: the event that a latency limit counts.
    #[must_use]
    pub fn over_or_failed(&self, us: u64) -> u64 {
        self.latency_good.above_us(us) + self.bad()
    }

    /// Forgets every count and keeps the memory.
    pub fn clear(&mut self) {
        self.judged = Default::default();
        self.attempts = Default::default();
        self.groups = Default::default();
        self.endpoints = Default::default();
        self.latency_good.clear();
        self.latency_bad.clear();
        self.duration.clear();
    }

    /// Adds a window.
    pub fn merge(&mut self, window: &Window) {
        add(&mut self.judged, &window.judged);
        for (mine, theirs) in self.attempts.iter_mut().zip(&window.attempts) {
            add(mine, theirs);
        }
        merge_groups(&mut self.groups, &window.groups);
        merge_groups(&mut self.endpoints, &window.endpoints);
        self.latency_good.merge(&window.latency_good);
        self.latency_bad.merge(&window.latency_bad);
        self.duration.merge(&window.duration);
    }
}

fn add(mine: &mut [u64], theirs: &[u64]) {
    for (m, t) in mine.iter_mut().zip(theirs) {
        *m += t;
    }
}

fn merge_groups(mine: &mut [GroupCounts], theirs: &[GroupCounts]) {
    for (m, t) in mine.iter_mut().zip(theirs) {
        m.requests += t.requests;
        m.bad += t.bad;
    }
}
