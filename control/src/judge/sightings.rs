//! What was seen, beside the evidence: counts and recent spans, for the sentences.

use serde::{Deserialize, Serialize};

use super::counting::{Counted, packed};
use super::family::Reading;
use super::profile::Profile;
use crate::statistics::levels::{LevelCounts, Moved};
use crate::statistics::{Batch, Breaker};
use crate::view::{Arms, GateCounts};

/// Requests, and how many of them were events of the kind that a gate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "[u64; 4]", into = "[u64; 4]")]
pub(super) struct Sighting {
    pub(super) requests: Arms<u64>,
    pub(super) events: Arms<u64>,
}

impl Sighting {
    pub(super) const fn of(batch: &Batch) -> Self {
        Self { requests: batch.requests, events: batch.bad }
    }

    pub(super) const fn merge(&mut self, other: Self) {
        add(&mut self.requests, other.requests);
        add(&mut self.events, other.events);
    }
}

/// There are many of them, so they are saved without names: requests, then events, stable first.
impl From<Sighting> for [u64; 4] {
    fn from(Sighting { requests, events }: Sighting) -> Self {
        [requests.stable, requests.canary, events.stable, events.canary]
    }
}

impl From<[u64; 4]> for Sighting {
    fn from(counts: [u64; 4]) -> Self {
        let [requests_stable, requests_canary, events_stable, events_canary] = counts;
        let requests = Arms { stable: requests_stable, canary: requests_canary };
        Self { requests, events: Arms { stable: events_stable, canary: events_canary } }
    }
}

impl From<Sighting> for GateCounts {
    fn from(Sighting { requests, events }: Sighting) -> Self {
        Self { requests, events }
    }
}

/// Adds counts.
pub(super) const fn add(mine: &mut Arms<u64>, theirs: Arms<u64>) {
    mine.stable = mine.stable.saturating_add(theirs.stable);
    mine.canary = mine.canary.saturating_add(theirs.canary);
}

/// What was seen since evidence was last at its lowest: the span that made it rise, without the good time before.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "(f64, u64, Sighting)", into = "(f64, u64, Sighting)")]
pub(super) struct Rise {
    lowest: f64,
    /// The second, counted from the rollout's beginning, in which it was lowest.
    pub(super) since: u64,
    pub(super) seen: Sighting,
}

/// Saved without names: one a gate, or two.
impl From<Rise> for (f64, u64, Sighting) {
    fn from(Rise { lowest, since, seen }: Rise) -> Self {
        (lowest, since, seen)
    }
}

impl From<(f64, u64, Sighting)> for Rise {
    fn from((lowest, since, seen): (f64, u64, Sighting)) -> Self {
        Self { lowest, since, seen }
    }
}

impl Rise {
    /// Of evidence that begins in this second.
    pub(super) fn from_second(second: u64) -> Self {
        Self { since: second, ..Self::default() }
    }

    /// A batch was judged, and the evidence is now this. Says whether it is above its lowest.
    pub(super) fn observe(&mut self, second: u64, batch: Sighting, log_evidence: f64) -> bool {
        let rises = log_evidence > self.lowest;
        if rises {
            self.seen.merge(batch);
        } else {
            *self = Self { lowest: log_evidence, since: second, seen: Sighting::default() };
        }
        rises
    }

    /// Whether it is a number in every part.
    pub(super) fn is_sound(&self) -> bool {
        self.lowest.is_finite()
    }
}

/// Both versions' in little room: stable's, then the canary's.
pub(super) mod pair {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::view::Arms;

    pub(in crate::judge) fn serialize<T: Serialize, S: Serializer>(
        Arms { stable, canary }: &Arms<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        [stable, canary].serialize(to)
    }

    pub(in crate::judge) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Arms<T>, D::Error> {
        let [stable, canary] = Deserialize::deserialize(from)?;
        Ok(Arms { stable, canary })
    }
}

/// The rises of one gate.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Rises {
    /// Of its evidence for harm.
    pub(super) harm: Rise,
    /// Of its evidence that the canary is over the limit, where it has one.
    pub(super) over_limit: Option<Rise>,
    /// Where a gate compares latencies: those of the time in which its evidence for harm rose.
    pub(super) latencies: Option<RisenLatencies>,
}

/// Latencies of the time in which evidence rose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RisenLatencies {
    #[serde(with = "pair")]
    pub(super) profiles: Arms<Profile>,
    /// By level, where the whole shape is judged.
    #[serde(with = "packed")]
    levels: Arms<LevelCounts>,
}

impl RisenLatencies {
    fn like(Arms { stable, canary }: &Arms<Profile>) -> Self {
        let profiles = Arms { stable: Profile::like(stable), canary: Profile::like(canary) };
        Self { profiles, levels: Arms::default() }
    }

    /// Whether such latencies can be added to these.
    pub(super) fn are_like(&self, profile: &Profile) -> bool {
        self.profiles.stable.is_like(profile) && self.profiles.canary.is_like(profile)
    }

    fn merge(&mut self, profiles: &Arms<Profile>, counted: &Counted) {
        self.profiles.stable.merge(&profiles.stable);
        self.profiles.canary.merge(&profiles.canary);
        if let Counted::Levels { levels, .. } = counted {
            for (mine, theirs) in [(&mut self.levels.stable, levels.stable), (&mut self.levels.canary, levels.canary)] {
                mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine = mine.saturating_add(theirs));
            }
        }
    }

    fn clear(&mut self) {
        self.profiles.stable.clear();
        self.profiles.canary.clear();
        self.levels = Arms::default();
    }

    /// Which part of them is longer.
    pub(super) fn moved(&self) -> Moved {
        Moved::of(&self.levels)
    }
}

impl Rises {
    /// Of tests that begin in this second. What was seen before is none of theirs.
    pub(super) fn from_second(second: u64, has_limit: bool) -> Self {
        let rise = Rise::from_second(second);
        Self { harm: rise, over_limit: has_limit.then_some(rise), latencies: None }
    }

    /// A batch was judged, in which the gate counted this, with these latencies where it compares any, and its evidence
    /// is now this.
    pub(super) fn observe(
        &mut self,
        second: u64,
        (batch, counted): (&Batch, &Counted),
        profiles: Option<&Arms<Profile>>,
        reading: &Reading,
    ) {
        let sighting = counted.sighting(batch);
        let rises = self.harm.observe(second, sighting, reading.harm);
        if let Some(profiles) = profiles {
            let mine = self.latencies.get_or_insert_with(|| RisenLatencies::like(profiles));
            if rises {
                mine.merge(profiles, counted);
            } else {
                mine.clear();
            }
        }
        if let Some(over_limit) = reading.over_limit {
            self.over_limit.get_or_insert_default().observe(second, sighting, over_limit);
        }
    }

    pub(super) fn are_sound(&self) -> bool {
        self.harm.is_sound() && self.over_limit.is_none_or(|rise| rise.is_sound())
    }
}

/// The latest run of batches in which the canary looked broken: a cumulative sum that starts anew at 0 (Page 1954).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct BadRun {
    leaning: f64,
    pub(super) seen: Sighting,
    /// The groups of clients whose requests to the canary failed: a bit each.
    pub(super) failed: u16,
}

impl BadRun {
    /// A batch closed, in which requests of these groups of clients failed on the canary.
    pub(super) fn observe(&mut self, batch: Sighting, failed: u16) {
        self.leaning += Breaker::leaning(batch.events.canary, batch.requests.canary);
        if self.leaning <= 0.0 {
            *self = Self::default();
        } else {
            self.seen.merge(batch);
            self.failed |= failed;
        }
    }

    /// How much likelier its failures are if half of the requests fail than if one in ten does, in nats.
    pub(super) const fn leaning(&self) -> f64 {
        self.leaning
    }

    /// Whether it is a number in every part.
    pub(super) fn is_sound(&self) -> bool {
        self.leaning.is_finite()
    }
}
