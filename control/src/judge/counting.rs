//! How a window becomes what each gate counts.

use std::sync::LazyLock;

use meter::{Class, LatencyCounts, PathTally, Window};
use serde::{Deserialize, Serialize};

use super::settings::{Of, Rule};
use super::sightings::{self, Sighting};
use crate::statistics::edges::{levels, over, shift_edge, shift_edge_down};
use crate::statistics::levels::{EDGE_QUANTILES, LEVELS, LevelCounts};
use crate::statistics::{Batch, Latencies};
use crate::view::Arms;

/// The places in [`EDGE_QUANTILES`] at which the whole shape passes: p50, p95 and p99.
pub(super) const PROVEN_EDGES: [usize; 3] = [2, 5, 7];
/// The first of [`PROVEN_EDGES`] that has the margin of the tail.
const FIRST_OF_TAIL: usize = 2;
/// The whole shape counts what is beyond stable's p95, for people.
const SHOWN_EDGE: usize = 5;

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

    fn over_or_failed(self, us: u64, of: Of) -> u64 {
        self.latencies(of).above_us(us).saturating_add(self.bad()).min(self.requests())
    }
}

/// Latencies of one tick: numbers of buckets and counts, ascending, without the buckets that hold nothing. They are
/// gone through once for each gate, so this is written once for all. What is kept of it is the memory alone.
#[derive(Debug, Clone, Default)]
pub(super) struct TickLatencies {
    pub(super) latencies: Arms<Vec<(usize, u64)>>,
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
        let Arms { stable, canary } = &mut self.latencies;
        for (mine, traffic) in [(stable, traffic.stable), (canary, traffic.canary)] {
            mine.clear();
            mine.extend(traffic.latencies(of).iter());
        }
        self.timeouts = Arms { stable: traffic.stable.timeouts(), canary: traffic.canary.timeouts() };
    }
}

/// Where the latencies of a gate are divided: bucket numbers, frozen while a batch is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Edges {
    /// At all quantiles: of stable, and of the canary, longer by what is tolerated; and at those that pass, longer by
    /// the margin.
    Shape { stable: [usize; 10], canary: [usize; 10], margin: [usize; 3] },
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
                    shift_edge_down(stable[edge], margin)
                });
                Some(Self::Shape { stable, canary: stable.map(|edge| shift_edge(edge, tolerance)), margin })
            }
            Rule::Quantile { quantile, tolerance, margin, .. } => {
                let stable = latencies.edge(quantile);
                let (canary, margin) = (shift_edge(stable, tolerance), shift_edge_down(stable, margin));
                Some(Self::Quantile { stable, canary, margin })
            }
            Rule::Errors { .. } | Rule::ErrorLimit { .. } | Rule::LatencyLimit { .. } => None,
        }
    }
}

/// What one gate counted, beside requests and failures, since the last batch closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Counted {
    /// Nothing: failures are counted with the requests.
    Failures,
    /// Requests over the limit, or failed.
    Over(Arms<u64>),
    /// Latencies by level; and the canary's beyond the edges of the margin.
    Levels { levels: Arms<LevelCounts>, beyond_margin: [u64; 3] },
    /// Latencies; how many were beyond the edge; and the canary's beyond the edge of the margin.
    Beyond { timed: Arms<u64>, over: Arms<u64>, beyond_margin: u64 },
}

impl Counted {
    /// Nothing yet.
    pub(super) fn nothing(rule: &Rule) -> Self {
        match rule {
            Rule::Errors { .. } | Rule::ErrorLimit { .. } => Self::Failures,
            Rule::LatencyLimit { .. } => Self::Over(Arms::default()),
            Rule::Shape { .. } => Self::Levels { levels: Arms::default(), beyond_margin: [0; 3] },
            Rule::Quantile { .. } => Self::Beyond { timed: Arms::default(), over: Arms::default(), beyond_margin: 0 },
        }
    }

    /// Whether it is of this kind of gate.
    pub(super) fn fits(&self, rule: &Rule) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(&Self::nothing(rule))
    }

    /// Counts requests against a limit.
    pub(super) fn count_over(&mut self, traffic: Arms<Traffic<'_>>, limit_us: u64, of: Of) {
        if let Self::Over(events) = self {
            add(&mut events.stable, traffic.stable.over_or_failed(limit_us, of));
            add(&mut events.canary, traffic.canary.over_or_failed(limit_us, of));
        }
    }

    /// Sorts the latencies of a tick by the edges in force. A timeout is beyond every edge.
    pub(super) fn count_latencies(&mut self, tick: &TickLatencies, edges: &Edges) {
        let TickLatencies { latencies, timeouts } = tick;
        let beyond = |edge: &Arms<usize>| Arms {
            stable: over(latencies.stable.iter().copied(), edge.stable).saturating_add(timeouts.stable),
            canary: over(latencies.canary.iter().copied(), edge.canary).saturating_add(timeouts.canary),
        };
        match (self, edges) {
            (Self::Levels { levels: counted, beyond_margin }, Edges::Shape { stable, canary, margin }) => {
                let of = |latencies: &[(usize, u64)], edges| levels(latencies.iter().copied(), edges);
                add_levels(&mut counted.stable, of(&latencies.stable, stable), timeouts.stable);
                add_levels(&mut counted.canary, of(&latencies.canary, canary), timeouts.canary);
                for (mine, edge) in beyond_margin.iter_mut().zip(margin) {
                    add(mine, over(latencies.canary.iter().copied(), *edge).saturating_add(timeouts.canary));
                }
            }
            (Self::Beyond { timed, over, beyond_margin }, Edges::Quantile { stable, canary, margin }) => {
                // Every latency is beyond the first edge of all.
                sightings::add(timed, beyond(&Arms { stable: 0, canary: 0 }));
                sightings::add(over, beyond(&Arms { stable: *stable, canary: *canary }));
                add(beyond_margin, beyond(&Arms { stable: *stable, canary: *margin }).canary);
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

const _: () = assert!(PROVEN_EDGES[2] < EDGE_QUANTILES.len());
