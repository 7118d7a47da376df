//! How a window becomes what each gate counts.

use std::sync::LazyLock;

use meter::{Class, LatencyCounts, PathTally, Window, latency_bucket_of};
use serde::{Deserialize, Serialize};

use super::settings::{Of, Rule, margin_beside, tolerated};
use super::sightings::{self, Sighting};
use crate::statistics::edges::{over, shift_edge, shift_edge_down};
use crate::statistics::levels::{EDGES, LEVELS, LevelCounts, edge_at};
use crate::statistics::{Batch, Latencies};
use crate::view::Arms;

/// The edges at which the whole shape passes: p50, p95 and p99.
pub(super) const PROVEN_EDGES: [usize; 3] = [edge_at(0.5), edge_at(0.95), edge_at(0.99)];
/// The first of [`PROVEN_EDGES`] that has the margin of the tail.
const FIRST_OF_TAIL: usize = 2;
/// The whole shape counts what is beyond stable's p95, for people.
const SHOWN_EDGE: usize = edge_at(0.95);

/// Judged traffic of one version in one window: of the whole service, or on one path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traffic<'a> {
    judged: &'a [u64; Class::ALL.len()],
    head: &'a LatencyCounts,
    total: &'a LatencyCounts,
}

impl<'a> Traffic<'a> {
    /// Of all requests, or on the path at this place. A window without that path counted nothing on it.
    pub(super) fn of(window: &'a Window, path: Option<usize>) -> Self {
        static NOTHING: LazyLock<PathTally> = LazyLock::new(PathTally::default);
        let Some(place) = path else {
            let Window { judged, latency_good, total_good, .. } = window;
            return Self { judged, head: latency_good, total: total_good };
        };
        let path = window.paths.get(place).unwrap_or(&NOTHING);
        Self { judged: &path.judged, head: &path.latency_good, total: &path.total_good }
    }

    pub(super) fn requests(self) -> u64 {
        self.judged.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    pub(super) fn bad(self) -> u64 {
        let bad = Class::ALL.iter().filter(|class| class.is_bad());
        bad.fold(0, |sum, class| sum.saturating_add(self.judged[*class as usize]))
    }

    /// Latencies of requests that did not fail.
    pub(super) const fn latencies(self, of: Of) -> &'a LatencyCounts {
        match of {
            Of::Head => self.head,
            Of::Total => self.total,
        }
    }

    /// Requests that were slower than everything that has a latency.
    pub(super) const fn timeouts(self) -> u64 {
        self.judged[Class::Timeout as usize]
    }

    /// Requests over a limit, or failed. `over` is how many are over it.
    fn or_failed(self, over: u64) -> u64 {
        over.saturating_add(self.bad()).min(self.requests())
    }
}

/// The first bucket that begins above a latency: what is in it or beyond is surely above.
fn first_above(us: u64) -> usize {
    latency_bucket_of(us) + 1
}

/// Latencies of one version in one tick, ascending, without the buckets that hold nothing. Every gate asks for what is
/// beyond its edges, so this is written once for all.
#[derive(Debug, Clone, Default)]
pub(super) struct Ascending {
    /// Number of the bucket, how many latencies are in it, and how many before it.
    buckets: Vec<(usize, u64, u64)>,
    total: u64,
}

impl Ascending {
    #[cfg(test)]
    pub(super) fn of(latencies: &LatencyCounts) -> Self {
        let mut ascending = Self::default();
        ascending.take(latencies);
        ascending
    }

    fn take(&mut self, latencies: &LatencyCounts) {
        self.buckets.clear();
        self.total = 0;
        for (bucket, count) in latencies.iter() {
            self.buckets.push((bucket, count, self.total));
            self.total = self.total.saturating_add(count);
        }
    }

    /// Numbers of buckets, and counts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.buckets.iter().map(|(bucket, count, _)| (*bucket, *count))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// The lowest and the highest bucket that hold something.
    pub(super) fn reach(&self) -> Option<(usize, usize)> {
        Some((self.buckets.first()?.0, self.buckets.last()?.0))
    }

    /// How many there are.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// How many lie before an edge.
    fn before(&self, edge: usize) -> u64 {
        self.before_at(self.place_of(edge, 0))
    }

    /// The first of the buckets from this place on that lies at an edge or beyond it.
    fn place_of(&self, edge: usize, from: usize) -> usize {
        from + self.buckets[from..].partition_point(|(bucket, ..)| *bucket < edge)
    }

    fn before_at(&self, place: usize) -> u64 {
        self.buckets.get(place).map_or(self.total, |(_, _, before)| *before)
    }

    /// How many lie at an edge or beyond it.
    fn beyond(&self, edge: usize) -> u64 {
        self.total - self.before(edge)
    }

    /// How many lie in each level between these edges (ascending).
    fn levels(&self, edges: &[usize; EDGES]) -> LevelCounts {
        let (mut levels, mut last, mut place) = ([0; LEVELS], 0, 0);
        for (level, edge) in levels.iter_mut().zip(edges) {
            place = self.place_of(*edge, place);
            let before = self.before_at(place);
            *level = before.saturating_sub(last);
            last = before;
        }
        levels[LEVELS - 1] = self.total.saturating_sub(last);
        levels
    }
}

/// Latencies of both versions in one tick. What is kept of it is the memory alone.
#[derive(Debug, Clone, Default)]
pub(super) struct TickLatencies {
    pub(super) latencies: Arms<Ascending>,
    pub(super) timeouts: Arms<u64>,
}

impl PartialEq for TickLatencies {
    /// Whatever was in there is over.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl TickLatencies {
    /// Overwrites it with those of another tick.
    pub(super) fn take(&mut self, traffic: Arms<Traffic<'_>>, of: Of) {
        self.latencies.stable.take(traffic.stable.latencies(of));
        self.latencies.canary.take(traffic.canary.latencies(of));
        self.timeouts = Arms { stable: traffic.stable.timeouts(), canary: traffic.canary.timeouts() };
    }
}

/// The levels of both versions in little room.
pub(super) mod packed {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::statistics::levels::{LEVELS, LevelCounts};
    use crate::statistics::packed::{pack_counts, unpack_counts};
    use crate::view::Arms;

    pub(in crate::judge) fn serialize<S: Serializer>(levels: &Arms<LevelCounts>, to: S) -> Result<S::Ok, S::Error> {
        pack_counts([levels.stable, levels.canary].as_flattened()).serialize(to)
    }

    pub(in crate::judge) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arms<LevelCounts>, D::Error> {
        let text = String::deserialize(from)?;
        let mut levels = [[0; LEVELS]; 2];
        unpack_counts(&text, levels.as_flattened_mut()).map_err(D::Error::custom)?;
        let [stable, canary] = levels;
        Ok(Arms { stable, canary })
    }
}

/// Ascending numbers in little room: by how much each is above the one before.
mod ascending {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::statistics::packed::{pack_counts, unpack_counts};

    pub(super) fn serialize<const N: usize, S: Serializer>(numbers: &[usize; N], to: S) -> Result<S::Ok, S::Error> {
        let mut last = 0;
        let steps = numbers.map(|number| (number.saturating_sub(std::mem::replace(&mut last, number))) as u64);
        pack_counts(&steps).serialize(to)
    }

    pub(super) fn deserialize<'de, const N: usize, D: Deserializer<'de>>(from: D) -> Result<[usize; N], D::Error> {
        let mut steps = [0; N];
        unpack_counts(&String::deserialize(from)?, &mut steps).map_err(D::Error::custom)?;
        let mut last = 0_usize;
        Ok(steps.map(|step| {
            last = last.saturating_add(usize::try_from(step).unwrap_or(usize::MAX));
            last
        }))
    }
}

/// Where the latencies of a gate are divided: bucket numbers, frozen while a batch is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "a gate has one, and most gates of latency judge the whole shape")]
pub(super) enum Edges {
    /// At all quantiles: of stable, and of the canary, longer by what is tolerated; and at those that pass, longer by
    /// the margin.
    Shape {
        #[serde(with = "ascending")]
        stable: [usize; EDGES],
        #[serde(with = "ascending")]
        canary: [usize; EDGES],
        #[serde(with = "ascending")]
        margin: [usize; 3],
    },
    /// The same at one quantile.
    Quantile { stable: usize, canary: usize, margin: usize },
}

impl Edges {
    /// Of a gate that compares latencies, where stable's lie like this; none for other gates.
    pub(super) fn of(rule: &Rule, latencies: &Latencies) -> Option<Self> {
        match *rule {
            Rule::Shape { tolerance, body, tail, .. } => {
                let stable = latencies.edges();
                let mut place = 0..;
                let margin = PROVEN_EDGES.map(|edge| {
                    let margin = if place.next() < Some(FIRST_OF_TAIL) { body } else { tail };
                    shift_edge_down(stable[edge], margin_beside(tolerance, margin))
                });
                let canary = stable.map(|edge| shift_edge(edge, tolerated(tolerance)));
                Some(Self::Shape { stable, canary, margin })
            }
            Rule::Quantile { quantile, tolerance, margin, .. } => {
                let stable = latencies.edge(quantile);
                let canary = shift_edge(stable, tolerated(tolerance));
                let margin = shift_edge_down(stable, margin_beside(tolerance, margin));
                Some(Self::Quantile { stable, canary, margin })
            }
            Rule::Errors { .. } | Rule::ErrorLimit { .. } | Rule::LatencyLimit { .. } | Rule::Copies { .. } => None,
        }
    }
}

/// What one gate counted, beside requests and failures, since the last batch closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "a gate has one, which is cleared in every batch: no allocation")]
pub(super) enum Counted {
    /// Nothing: failures are counted with the requests.
    Failures,
    /// Requests over the limit, or failed.
    Over(Arms<u64>),
    /// Latencies by level; and the canary's beyond the edges of the margin.
    Levels {
        #[serde(with = "packed")]
        levels: Arms<LevelCounts>,
        beyond_margin: [u64; 3],
    },
    /// Latencies; how many were beyond the edge; and the canary's beyond the edge of the margin.
    Beyond { timed: Arms<u64>, over: Arms<u64>, beyond_margin: u64 },
}

impl Counted {
    /// Nothing yet.
    pub(super) fn nothing(rule: &Rule) -> Self {
        match rule {
            Rule::Errors { .. } | Rule::ErrorLimit { .. } | Rule::Copies { .. } => Self::Failures,
            Rule::LatencyLimit { .. } => Self::Over(Arms::default()),
            Rule::Shape { .. } => Self::Levels { levels: Arms::default(), beyond_margin: [0; 3] },
            Rule::Quantile { .. } => Self::Beyond { timed: Arms::default(), over: Arms::default(), beyond_margin: 0 },
        }
    }

    /// Whether it is of this kind of gate.
    pub(super) fn fits(&self, rule: &Rule) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(&Self::nothing(rule))
    }

    /// Counts requests against a limit. `tick` has the latencies it is of, where they were gone through already.
    pub(super) fn count_over(
        &mut self,
        traffic: Arms<Traffic<'_>>,
        tick: Option<&TickLatencies>,
        (limit_us, of): (u64, Of),
    ) {
        let Self::Over(events) = self else { return };
        let first = first_above(limit_us);
        let beyond = |traffic: Traffic<'_>| over(traffic.latencies(of).iter(), first);
        let over = match tick {
            Some(TickLatencies { latencies: Arms { stable, canary }, .. }) => {
                Arms { stable: stable.beyond(first), canary: canary.beyond(first) }
            }
            None => Arms { stable: beyond(traffic.stable), canary: beyond(traffic.canary) },
        };
        add(&mut events.stable, traffic.stable.or_failed(over.stable));
        add(&mut events.canary, traffic.canary.or_failed(over.canary));
    }

    /// Sorts the latencies of a tick by the edges in force. A timeout is beyond every edge.
    pub(super) fn count_latencies(&mut self, tick: &TickLatencies, edges: &Edges) {
        let TickLatencies { latencies: Arms { stable: of_stable, canary: of_canary }, timeouts } = tick;
        let beyond = |edge: &Arms<usize>| Arms {
            stable: of_stable.beyond(edge.stable).saturating_add(timeouts.stable),
            canary: of_canary.beyond(edge.canary).saturating_add(timeouts.canary),
        };
        match (self, edges) {
            (Self::Levels { levels: counted, beyond_margin }, Edges::Shape { stable, canary, margin }) => {
                add_levels(&mut counted.stable, of_stable.levels(stable), timeouts.stable);
                add_levels(&mut counted.canary, of_canary.levels(canary), timeouts.canary);
                for (mine, edge) in beyond_margin.iter_mut().zip(margin) {
                    add(mine, of_canary.beyond(*edge).saturating_add(timeouts.canary));
                }
            }
            (Self::Beyond { timed, over, beyond_margin }, Edges::Quantile { stable, canary, margin }) => {
                // Every latency is beyond the first edge of all.
                sightings::add(timed, beyond(&Arms { stable: 0, canary: 0 }));
                sightings::add(over, beyond(&Arms { stable: *stable, canary: *canary }));
                add(beyond_margin, of_canary.beyond(*margin).saturating_add(timeouts.canary));
            }
            // Edges belong to the rule that the counts belong to, so there is no other pair; it would count nothing.
            (Self::Failures | Self::Over(_), _)
            | (Self::Levels { .. }, Edges::Quantile { .. })
            | (Self::Beyond { .. }, Edges::Shape { .. }) => {}
        }
    }

    /// What people are told: requests, and how many of them were what the gate counts. For the whole shape that is
    /// what was beyond stable's p95.
    pub(super) fn sighting(&self, batch: &Batch) -> Sighting {
        match self {
            Self::Failures => Sighting { requests: batch.requests, events: batch.bad },
            Self::Over(events) => Sighting { requests: batch.requests, events: *events },
            Self::Levels { levels, .. } => Sighting {
                requests: Arms { stable: sum(&levels.stable), canary: sum(&levels.canary) },
                events: Arms {
                    stable: sum(&levels.stable[SHOWN_EDGE + 1..]),
                    canary: sum(&levels.canary[SHOWN_EDGE + 1..]),
                },
            },
            Self::Beyond { timed, over, .. } => Sighting { requests: *timed, events: *over },
        }
    }
}

fn add(mine: &mut u64, theirs: u64) {
    *mine = mine.saturating_add(theirs);
}

fn add_levels(mine: &mut LevelCounts, theirs: LevelCounts, timeouts: u64) {
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        add(mine, theirs);
    }
    add(&mut mine[LEVELS - 1], timeouts);
}

/// The sum of counts.
pub(super) fn sum(counts: &[u64]) -> u64 {
    counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
}

#[cfg(test)]
mod tests {
    use meter::{LATENCY_BUCKETS, latency_bound_us};
    use proptest::prelude::*;

    use super::*;
    use crate::statistics::edges;

    proptest! {
        #[test]
        fn what_is_beyond_edges_is_found_as_by_counting(
            us in prop::collection::vec(0u64..100_000_000, 0..80),
            mut at in prop::array::uniform::<_, EDGES>(0usize..LATENCY_BUCKETS + 2),
        ) {
            let mut counts = LatencyCounts::default();
            us.iter().for_each(|us| counts.record_us(*us));
            let ascending = Ascending::of(&counts);
            at.sort_unstable();
            prop_assert_eq!(ascending.levels(&at), edges::levels(counts.iter(), &at));
            for edge in at {
                prop_assert_eq!(ascending.beyond(edge), over(counts.iter(), edge));
            }
            for limit in us.into_iter().chain([latency_bound_us(LATENCY_BUCKETS), u64::MAX]) {
                prop_assert_eq!(ascending.beyond(first_above(limit)), counts.above_us(limit));
            }
        }
    }
}
