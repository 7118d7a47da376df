//! What is known of a service's stable traffic, rollout or not.
//!
//! Where its latencies lie, and how bursty its failures are: the tests of a rollout need both from before it begins.
//! It is learnt from stable traffic alone and one second late, so nothing that is judged has a part in how it is
//! judged.

use libm::log;
use meter::{GROUPS, GroupCounts, LatencyCounts, Window, latency_bound_us};
use serde::{Deserialize, Serialize};

use super::counting::Ascending;
use super::second::Latest;
use crate::statistics::Latencies;
use crate::statistics::placebo::{Cell, Placebo, scale_phi, tolerance_ratio};
use crate::view::Dispersion;

/// So many latencies must be remembered before anything is said of where they lie.
pub(super) const ENOUGH_LATENCIES: f64 = 200.0;
/// While fewer than these are remembered, none is forgotten: at a request a second, half a minute's would never do.
const KEPT_LATENCIES: f64 = 1_000.0;
/// After so many seconds the watched latencies, and the edges of the tests, are looked at anew.
pub(super) const REFRESH_SECONDS: u64 = 10;
/// Blocks of 1, 2, 4 ... 64 seconds.
const SCALES: usize = 7;
/// Half after an hour: 0.5^(1/3600).
const DECAY: f64 = 0.999_807_477_651_317_4;

/// Learnt from stable traffic alone, so that nothing in it depends on the canary.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub struct Background {
    second: Latest,
    /// Seconds in which there was a tick.
    seconds: u64,
    latencies: Recent,
    watched_us: Option<[u64; 2]>,
    endpoints: Grouping,
    keys: Grouping,
}

/// A decayed histogram that does not forget what it needs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Recent(Latencies);

/// One way to divide stable traffic into groups: by endpoint, or by hash of the key.
#[derive(Debug, Clone, PartialEq)]
struct Grouping {
    /// What the groups did in the present second.
    present: [GroupCounts; GROUPS],
    errors: Placebo,
    /// Of latencies over the watched ones.
    over: [Placebo; 2],
}

/// How much more events vary than if requests were independent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bursts {
    endpoints: Phi,
    keys: Phi,
    /// By how much endpoints, and keys, differ for good in their failures.
    spread: [f64; 2],
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Phi {
    errors: f64,
    latency: f64,
}

/// How the canary's instances compare with those that the bursts were measured on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Size {
    /// Requests a second of a canary endpoint over those of a stable one.
    pub(super) load: f64,
    /// Stable endpoints in a group for each of the canary's.
    pub(super) grouped: f64,
}

/// What the evidence of a batch is tempered by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Temper {
    /// The dispersion of failures, at least 1.
    pub(super) errors: f64,
    /// Of slow requests, at least 1.
    pub(super) latency: f64,
    /// The ratio to stable's rate that has to be tolerated because instances differ, at least 1.
    pub(super) ratio: f64,
}

impl Default for Grouping {
    fn default() -> Self {
        let placebo = || Placebo::new(GROUPS, SCALES, DECAY);
        Self { present: Default::default(), errors: placebo(), over: [placebo(), placebo()] }
    }
}

impl Background {
    /// Adds what the stable version did in the wall-clock second `second`; several times a second or once. A later
    /// second is the next one, however far away; so is one that lies two or more before (the clock was set back).
    pub fn observe(&mut self, second: i64, stable: &Window) {
        self.turn_to(second);
        self.add(stable, None);
    }

    /// The latencies, in microseconds, that the groups of stable traffic are to be counted over: its median and its
    /// p95. None before there was enough traffic.
    #[must_use]
    pub const fn watched_us(&self) -> Option<[u64; 2]> {
        self.watched_us
    }

    /// How bursty stable's events are, up to the last full second; none before it was measured.
    #[must_use]
    pub fn dispersion(&self) -> Option<Dispersion> {
        let [errors, latency] = self.bursts().phi();
        self.is_measured().then_some(Dispersion { errors, latency })
    }

    /// Ends the second before this one, where it is another; says whether it is.
    pub(super) fn turn_to(&mut self, second: i64) -> bool {
        let turned = self.second.turn_to(second);
        if turned {
            self.end_second();
        }
        turned
    }

    fn end_second(&mut self) {
        self.seconds = self.seconds.saturating_add(1);
        self.latencies.end_second();
        self.endpoints.end_block();
        self.keys.end_block();
        if self.watched_us.is_none() || self.seconds.is_multiple_of(REFRESH_SECONDS) {
            self.watched_us = self.latencies.enough().map(|latencies| {
                [0.5, 0.95].map(|quantile| latency_bound_us(latencies.edge(quantile)).saturating_sub(1))
            });
        }
    }

    /// Adds stable traffic of the present second. `ascending` is its latencies to the head of the response, where they
    /// were gone through already.
    pub(super) fn add(&mut self, stable: &Window, ascending: Option<&Ascending>) {
        match ascending {
            Some(ascending) => self.latencies.observe_all(ascending.iter()),
            None => self.latencies.observe(&stable.latency_good),
        }
        self.endpoints.add(&stable.endpoints);
        self.keys.add(&stable.groups);
    }

    /// Where stable's latencies lie, to the head of the response.
    pub(super) const fn latencies(&self) -> &Recent {
        &self.latencies
    }

    /// How bursty stable traffic was up to the last full second.
    pub(super) fn bursts(&self) -> Bursts {
        Bursts {
            endpoints: self.endpoints.phi(),
            keys: self.keys.phi(),
            spread: [self.endpoints.errors.spread(), self.keys.errors.spread()],
        }
    }

    /// Whether two or more endpoints had enough failures, or enough slow requests, to say anything of the bursts of one.
    /// Groups of clients say nothing of what an instance does by itself.
    pub(super) fn is_measured(&self) -> bool {
        let Grouping { errors, over, .. } = &self.endpoints;
        errors.is_measured() || over.iter().any(Placebo::is_measured)
    }
}

impl Recent {
    /// Remembers in little room: a plan may compare latencies on many paths.
    pub(super) fn coarse() -> Self {
        Self(Latencies::coarse())
    }

    pub(super) const fn is_coarse(&self) -> bool {
        self.0.is_coarse()
    }

    pub(super) fn observe(&mut self, latencies: &LatencyCounts) {
        self.0.observe(latencies);
    }

    /// Adds numbers of buckets and counts.
    pub(super) fn observe_all(&mut self, latencies: impl Iterator<Item = (usize, u64)>) {
        self.0.observe_all(latencies);
    }

    pub(super) fn end_second(&mut self) {
        if self.0.total() >= KEPT_LATENCIES {
            self.0.end_second();
        }
    }

    /// How many are remembered.
    pub(super) fn total(&self) -> f64 {
        self.0.total()
    }

    /// The standard deviation of their logarithm, as their median and p90 have it; none where there are too few, or all
    /// are alike.
    pub(super) fn spread(&self) -> Option<f64> {
        /// Where a standard normal variable has its p90.
        const P90: f64 = 1.281_551_565_544_6;
        let latencies = self.enough()?;
        let [median, high] = [0.5, 0.9].map(|quantile| latency_bound_us(latencies.edge(quantile)) as f64);
        let spread = log(high / median.max(1.0)) / P90;
        (spread > 0.0).then_some(spread)
    }

    /// Where there are enough to say where they lie.
    pub(super) fn enough(&self) -> Option<&Latencies> {
        (self.0.total() >= ENOUGH_LATENCIES).then_some(&self.0)
    }
}

impl Grouping {
    fn add(&mut self, groups: &[GroupCounts; GROUPS]) {
        // There is room for more groups than most services have, in every rollout of many: what is not there is not
        // touched.
        let seen = |(_, theirs): &(&mut GroupCounts, &GroupCounts)| **theirs != GroupCounts::default();
        for (mine, theirs) in self.present.iter_mut().zip(groups).filter(seen) {
            let GroupCounts { requests, bad, timed, over: [median, high] } = theirs;
            mine.requests = mine.requests.saturating_add(*requests);
            mine.bad = mine.bad.saturating_add(*bad);
            mine.timed = mine.timed.saturating_add(*timed);
            mine.over[0] = mine.over[0].saturating_add(*median);
            mine.over[1] = mine.over[1].saturating_add(*high);
        }
    }

    fn end_block(&mut self) {
        // An event more than requests would be a fault of whoever counted: it must not make figures that are none.
        let cell = |requests: u64, events: u64| Cell { requests, events: events.min(requests) };
        self.errors.end_block(&self.present.map(|group| cell(group.requests, group.bad)));
        for (level, placebo) in self.over.iter_mut().enumerate() {
            placebo.end_block(&self.present.map(|group| cell(group.timed, group.over[level])));
        }
        self.present = Default::default();
    }

    fn phi(&self) -> Phi {
        let latency = self.over.iter().map(Placebo::phi).fold(1.0, f64::max);
        Phi { errors: self.errors.phi(), latency }
    }
}

impl Bursts {
    /// The dispersion that was measured, the larger of both groupings: of failures and of slow requests.
    pub(super) const fn phi(&self) -> [f64; 2] {
        [self.endpoints.errors.max(self.keys.errors), self.endpoints.latency.max(self.keys.latency)]
    }

    /// What evidence about such a canary is tempered by. What hits an instance hits the more requests the more that
    /// instance has; what hits a client does not.
    ///
    /// Clients are those with a key alone ([`Window::groups`]): their requests all go where the key drew once, so what
    /// happens to one of them happens to one version. Requests without a key have a coin each. Given how each would end
    /// on either version, the mean of `e^l` is then a product over coins, whoever sent them: however a client's requests
    /// hang together, they fall on both versions by chance, and there is nothing to temper. One client that fails all
    /// the time would only blind the tests.
    pub(super) fn temper(&self, size: Size) -> Temper {
        let Self { endpoints, keys, spread } = self;
        let of_endpoints = tolerance_ratio(1.0, spread[0], size.grouped);
        let of_keys = tolerance_ratio(1.0, spread[1], 1.0);
        Temper {
            errors: scale_phi(endpoints.errors, size.load).max(keys.errors),
            latency: scale_phi(endpoints.latency, size.load).max(keys.latency),
            ratio: of_endpoints.max(of_keys),
        }
    }
}

/// Groups of the present second: requests, failed, with a latency, over each watched latency.
type SavedGroups = Vec<[u64; 5]>;

/// The form of a [`Background`] that is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    second: Latest,
    seconds: u64,
    latencies: Recent,
    watched_us: Option<[u64; 2]>,
    endpoints: SavedGrouping,
    keys: SavedGrouping,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedGrouping {
    present: SavedGroups,
    errors: Placebo,
    over: [Placebo; 2],
}

/// What was saved is of other groups than these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the state of stable traffic has other groups than this Tidegate")]
pub(super) struct OtherGroups;

impl From<Background> for Saved {
    fn from(background: Background) -> Self {
        let Background { second, seconds, latencies, watched_us, endpoints, keys } = background;
        Self { second, seconds, latencies, watched_us, endpoints: endpoints.into(), keys: keys.into() }
    }
}

impl From<Grouping> for SavedGrouping {
    fn from(Grouping { present, errors, over }: Grouping) -> Self {
        let counts = |GroupCounts { requests, bad, timed, over: [median, high] }| [requests, bad, timed, median, high];
        Self { present: present.map(counts).to_vec(), errors, over }
    }
}

impl TryFrom<Saved> for Background {
    type Error = OtherGroups;

    fn try_from(saved: Saved) -> Result<Self, OtherGroups> {
        let Saved { second, seconds, latencies, watched_us, endpoints, keys } = saved;
        Ok(Self { second, seconds, latencies, watched_us, endpoints: endpoints.try_into()?, keys: keys.try_into()? })
    }
}

impl TryFrom<SavedGrouping> for Grouping {
    type Error = OtherGroups;

    fn try_from(SavedGrouping { present, errors, over }: SavedGrouping) -> Result<Self, OtherGroups> {
        let present: [[u64; 5]; GROUPS] = present.try_into().map_err(|_| OtherGroups)?;
        let counts =
            |[requests, bad, timed, median, high]: [u64; 5]| GroupCounts { requests, bad, timed, over: [median, high] };
        Ok(Self { present: present.map(counts), errors, over })
    }
}

#[cfg(test)]
mod tests;
