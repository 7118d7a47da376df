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
    /// How many of them have a latency that counts: those that did not fail, and timeouts at their age.
    pub timed: u64,
    /// How many of those were longer than each of the watched latencies
    /// ([`VersionMeter::watch`](crate::VersionMeter::watch)).
    pub over: [u64; 2],
}

/// Judged attempts on one of the paths that gates judge by themselves.
#[derive(Debug, Clone, Default)]
pub struct PathTally {
    /// First attempts, by class.
    pub judged: [u64; Class::ALL.len()],
    /// As in [`Tally`].
    pub latency_good: LatencyCounts,
    /// As in [`Tally`].
    pub latency_bad: LatencyCounts,
    /// As in [`Tally`].
    pub total_good: LatencyCounts,
    /// As in [`Tally`].
    pub total_bad: LatencyCounts,
}

/// Which groups of clients were seen, as bit masks over the [`GROUPS`] groups of their keys. Where there is no key each
/// request is a client of its own: it has its own coin, whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clients {
    /// Those with a judged attempt.
    pub seen: u16,
    /// Those with one that failed.
    pub bad: u16,
}

impl Clients {
    /// Adds those of another window.
    pub const fn merge(&mut self, other: Self) {
        self.seen |= other.seen;
        self.bad |= other.bad;
    }
}

/// What became of requests that were drawn to a version, whatever their outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drawn {
    /// Requests drawn.
    pub all: u64,
    /// How many of them by a random ticket; the others have an affinity key.
    pub at_random: u64,
    /// Requests that are over.
    pub ended: u64,
    /// Requests that are over without a first attempt on record: answers that nobody counted. Always 0 unless something
    /// is wrong with the proxy.
    ///
    /// Every ending has its record. One that the version had no part in (the client left before anything was sent, the
    /// proxy answered in its own name after the draw, or it ended with the request in flight) is a first attempt of
    /// [`Class::ClientAbort`] or [`Class::Local`] that is counted and not judged. What is left is a request that broke
    /// in the proxy's hands: a panic, or a way out that nobody thought of.
    pub lost: u64,
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
    /// As `latency_good`, but to the last byte of the response.
    pub total_good: LatencyCounts,
    /// As `latency_bad`, but to the last byte of the response, or to where it broke off.
    pub total_bad: LatencyCounts,
    /// Whole requests drawn to this version, from their head to their last byte.
    pub duration: LatencyCounts,
    /// Judged attempts of requests with an affinity key, by hash group of the key.
    pub groups: [GroupCounts; GROUPS],
    /// Which groups of clients there were. A request without a key is a client of its own.
    pub clients: Clients,
    /// Judged attempts by endpoint (its place in the version, modulo [`GROUPS`]).
    pub endpoints: [GroupCounts; GROUPS],
    /// What was drawn, and what became of it.
    pub drawn: Drawn,
    /// Requests drawn here that another version answered well in this one's stead: what its users did not notice.
    pub saved: u64,
    /// Judged attempts by path, in the order of the split's paths. One that is missing at the end counted nothing, and
    /// a surplus one is empty.
    pub paths: Vec<PathTally>,
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
        bad(&self.judged)
    }

    /// Of how many judged attempts the client left before the response was whole.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.judged[Class::ClientAbort as usize]
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
        self.drawn = Drawn::default();
        self.saved = 0;
        self.clients = Clients::default();
        self.paths.iter_mut().for_each(PathTally::clear);
        self.total_good.clear();
        self.total_bad.clear();
        self.latency_good.clear();
        self.latency_bad.clear();
        self.duration.clear();
    }

    /// Adds a window.
    pub fn merge(&mut self, window: &Window) {
        self.merge_without_paths(window);
        if self.paths.len() < window.paths.len() {
            self.paths.resize_with(window.paths.len(), PathTally::default);
        }
        for (mine, theirs) in self.paths.iter_mut().zip(&window.paths) {
            mine.merge(theirs);
        }
    }

    pub(crate) fn merge_without_paths(&mut self, window: &Window) {
        add(&mut self.judged, &window.judged);
        for (mine, theirs) in self.attempts.iter_mut().zip(&window.attempts) {
            add(mine, theirs);
        }
        merge_groups(&mut self.groups, &window.groups);
        merge_groups(&mut self.endpoints, &window.endpoints);
        self.latency_good.merge(&window.latency_good);
        self.latency_bad.merge(&window.latency_bad);
        self.duration.merge(&window.duration);
        self.total_good.merge(&window.total_good);
        self.total_bad.merge(&window.total_bad);
        self.drawn.merge(&window.drawn);
        self.saved += window.saved;
        self.clients.merge(window.clients);
    }
}

impl PathTally {
    /// How many judged attempts ended.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.judged.iter().sum()
    }

    /// How many judged attempts failed.
    #[must_use]
    pub fn bad(&self) -> u64 {
        bad(&self.judged)
    }

    /// Forgets every count and keeps the memory.
    pub fn clear(&mut self) {
        self.judged = Default::default();
        self.latency_good.clear();
        self.latency_bad.clear();
        self.total_good.clear();
        self.total_bad.clear();
    }

    fn merge(&mut self, window: &Self) {
        add(&mut self.judged, &window.judged);
        self.latency_good.merge(&window.latency_good);
        self.latency_bad.merge(&window.latency_bad);
        self.total_good.merge(&window.total_good);
        self.total_bad.merge(&window.total_bad);
    }
}

impl Drawn {
    pub(crate) fn merge(&mut self, window: &Self) {
        self.all += window.all;
        self.at_random += window.at_random;
        self.ended += window.ended;
        self.lost += window.lost;
    }
}

fn bad(judged: &[u64; Class::ALL.len()]) -> u64 {
    Class::ALL.iter().filter(|class| class.is_bad()).map(|class| judged[*class as usize]).sum()
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
        m.timed += t.timed;
        add(&mut m.over, &t.over);
    }
}
