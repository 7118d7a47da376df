//! Where stable's latencies lie, and how latencies are sorted by it.
//!
//! An **edge** is the number of a bucket of [`meter::LatencyCounts`]: what is in it or above is beyond the edge. Edges
//! are taken from the past alone and frozen in between, so nothing that is judged had a part in them.

use meter::{LATENCY_BUCKETS, LatencyCounts, latency_bound_us};
use serde::{Deserialize, Serialize};

use super::levels::{EDGE_QUANTILES, EDGES, LEVELS, LevelCounts};
use super::packed::{pack_counts, unpack_counts};

/// A latency counts for so much when it is new: whole numbers decay to the same bits everywhere.
const UNIT: u64 = 1024;
/// The same where latencies are remembered coarsely: more of them share a bucket, so less is lost by rounding.
const COARSE_UNIT: u64 = 64;
/// What is left of a count after a second, in parts of 2^32: half after 60 s, as 0.5^(1/60) = 0.988514...
const KEPT: u64 = 4_245_635_389;

/// So many buckets are one where latencies are remembered coarsely: each at most 6 % wide, or 8 microseconds.
const COARSE: usize = 8;
const _: () = assert!(LATENCY_BUCKETS.is_multiple_of(COARSE) && COARSE.is_power_of_two());

/// A histogram of latencies in which older ones count less: half after 60 s.
///
/// Counts are whole numbers of 1/1024 (1/64 where it is coarse) and round down as they decay, so what was rare and long ago is forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub struct Latencies {
    /// So many buckets of [`LatencyCounts`] are one here.
    width: usize,
    /// Empty where nothing is counted, otherwise one for each bucket.
    counts: Box<[u64]>,
    /// Of all counts.
    sum: u128,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { width: 1, counts: Box::default(), sum: 0 }
    }
}

impl Latencies {
    /// Remembers coarsely, in an eighth of the room. Edges lie at the ends of its buckets: a little higher, which costs
    /// power and nothing else.
    #[must_use]
    pub fn coarse() -> Self {
        Self { width: COARSE, ..Self::default() }
    }

    /// Adds latencies of the present second.
    pub fn observe(&mut self, latencies: &LatencyCounts) {
        self.observe_all(latencies.iter());
    }

    /// Adds latencies of the present second: numbers of buckets of [`LatencyCounts`], and counts.
    pub fn observe_all(&mut self, latencies: impl Iterator<Item = (usize, u64)>) {
        let unit = self.unit();
        let Self { width, counts, sum } = self;
        // A width is a power of two, and this is done for each latency of each tick: a division would be most of it.
        let shift = width.trailing_zeros();
        for (bucket, count) in latencies {
            if counts.is_empty() {
                *counts = vec![0; LATENCY_BUCKETS / *width].into_boxed_slice();
            }
            let place = (bucket >> shift).min(counts.len() - 1);
            let mine = &mut counts[place];
            let before = *mine;
            *mine = before.saturating_add(count.saturating_mul(unit));
            *sum += u128::from(*mine - before);
        }
    }

    /// Ends a second: what was counted counts a little less.
    pub fn end_second(&mut self) {
        self.sum = 0;
        // Most of the buckets hold nothing: they are passed over many at once.
        for counts in self.counts.chunks_mut(16).filter(|counts| counts.iter().fold(0, |all, count| all | count) > 0) {
            for count in counts.iter_mut().filter(|count| **count > 0) {
                // At most 2^64 x 2^32, and the result is below the count.
                *count = ((u128::from(*count) * u128::from(KEPT)) >> 32) as u64;
                self.sum += u128::from(*count);
            }
        }
        if self.sum == 0 {
            self.counts = Box::default();
        }
    }

    /// How many latencies are remembered, older ones counting less.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.sum as f64 / self.unit() as f64
    }

    const fn unit(&self) -> u64 {
        if self.is_coarse() { COARSE_UNIT } else { UNIT }
    }

    /// Whether they are remembered [coarsely](Self::coarse).
    #[must_use]
    pub const fn is_coarse(&self) -> bool {
        self.width > 1
    }

    /// The edge of a quantile (0 to 1).
    #[must_use]
    pub fn edge(&self, quantile: f64) -> usize {
        let [edge] = pick_edges(&self.counts, &[quantile]);
        edge * self.width
    }

    /// The edges of [`EDGE_QUANTILES`], ascending.
    #[must_use]
    pub fn edges(&self) -> [usize; EDGES] {
        pick_edges(&self.counts, &EDGE_QUANTILES).map(|edge| edge * self.width)
    }
}

/// The edges of ascending quantiles: each the bucket after the first up to which that part of all counts lies.
fn pick_edges<const N: usize>(counts: &[u64], quantiles: &[f64; N]) -> [usize; N] {
    // Most of the buckets hold nothing, which changes no bit of a sum: they are passed over many at once.
    let held = counts.chunks(16).filter(|counts| counts.iter().fold(0, |all, count| all | count) > 0).flatten();
    let total: f64 = held.map(|count| *count as f64).sum();
    let (mut below, mut bucket) = (0.0, 0);
    quantiles.map(|quantile| {
        while bucket < counts.len() && below + (counts[bucket] as f64) < quantile * total {
            below += counts[bucket] as f64;
            bucket += 1;
        }
        (bucket + 1).min(counts.len().max(1))
    })
}

/// How much longer latencies are than others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Longer {
    /// By this fraction of them; at least 0.
    pub stretch: f64,
    /// By so many microseconds at the least, where the fraction is less; at least 0.
    pub at_least_us: f64,
}

impl Longer {
    /// By this fraction, however little that is.
    #[must_use]
    pub const fn by(stretch: f64) -> Self {
        Self { stretch, at_least_us: 0.0 }
    }

    /// What a latency becomes, in microseconds.
    #[must_use]
    pub fn than(self, us: f64) -> f64 {
        (us * (1.0 + self.stretch)).max(us + self.at_least_us)
    }
}

/// The edge of latencies that much longer than those of `edge`, rounded up to a bucket: the safe side where the canary's
/// edge is to find harm.
#[must_use]
pub fn shift_edge(edge: usize, longer: Longer) -> usize {
    shift_up(edge, longer, LATENCY_BUCKETS, bound)
}

/// As [`shift_edge`], but rounded down: the safe side where the canary's edge is to prove that there is no harm.
#[must_use]
pub fn shift_edge_down(edge: usize, longer: Longer) -> usize {
    shift_down(edge, longer, LATENCY_BUCKETS, bound)
}

fn bound(bucket: usize) -> f64 {
    latency_bound_us(bucket) as f64
}

/// Room for the rounding of a product, so that an edge which is met exactly is met.
const ROUNDING: f64 = 1e-12;

/// The first of `buckets` buckets from `edge` on whose lower bound is at least that much longer than that of `edge`.
fn shift_up(edge: usize, longer: Longer, buckets: usize, bound: impl Fn(usize) -> f64) -> usize {
    if edge >= buckets {
        return edge;
    }
    let longer = longer.than(bound(edge)) * (1.0 - ROUNDING);
    first_where(edge, buckets, |bucket| bound(bucket) >= longer)
}

/// The last of `buckets` buckets from `edge` on whose lower bound is at most that much longer than that of `edge`.
fn shift_down(edge: usize, longer: Longer, buckets: usize, bound: impl Fn(usize) -> f64) -> usize {
    if edge >= buckets {
        return edge;
    }
    let longer = longer.than(bound(edge)) * (1.0 + ROUNDING);
    first_where(edge + 1, buckets, |bucket| bound(bucket) > longer) - 1
}

/// The first bucket in this range that meets a condition which all after it meet, too; its end where none does.
fn first_where(mut from: usize, mut to: usize, met: impl Fn(usize) -> bool) -> usize {
    while from < to {
        let middle = from.midpoint(to);
        if met(middle) {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    from
}

/// Sorts counts by bucket (ascending, as [`LatencyCounts::iter`] gives them) into levels at these edges (ascending).
#[must_use]
pub fn levels(counts: impl Iterator<Item = (usize, u64)>, edges: &[usize; EDGES]) -> LevelCounts {
    let mut levels = [0; LEVELS];
    sort(counts, edges, &mut levels);
    levels
}

/// Adds counts to `levels`, of which there is one more than edges.
fn sort(counts: impl Iterator<Item = (usize, u64)>, edges: &[usize], levels: &mut [u64]) {
    let mut level = 0;
    for (bucket, count) in counts {
        while level < edges.len() && bucket >= edges[level] {
            level += 1;
        }
        levels[level] += count;
    }
}

/// How many are beyond an edge.
#[must_use]
pub fn over(counts: impl Iterator<Item = (usize, u64)>, edge: usize) -> u64 {
    counts.filter(|(bucket, _)| *bucket >= edge).map(|(_, count)| count).sum()
}

/// A saved histogram that cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the saved latencies are damaged, or lie in buckets beyond the last")]
pub struct Unfit;

/// The width of the buckets, and the packed counts.
#[derive(Serialize, Deserialize)]
struct Saved(usize, String);

impl From<Latencies> for Saved {
    fn from(latencies: Latencies) -> Self {
        Self(latencies.width, pack_counts(&latencies.counts))
    }
}

impl TryFrom<Saved> for Latencies {
    type Error = Unfit;

    fn try_from(Saved(width, packed): Saved) -> Result<Self, Unfit> {
        let empty = match width {
            1 => Self::default(),
            COARSE => Self::coarse(),
            _ => return Err(Unfit),
        };
        let mut counts = vec![0; LATENCY_BUCKETS / width].into_boxed_slice();
        unpack_counts(&packed, &mut counts).map_err(|_| Unfit)?;
        let sum = counts.iter().map(|count| u128::from(*count)).sum();
        Ok(if sum == 0 { empty } else { Self { counts, sum, ..empty } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::golden;
    use crate::statistics::levels::specified::{COARSE_LEVELS, COARSE_QUANTILES};
    use meter::latency_bucket_of;
    use proptest::prelude::*;

    fn latencies(us: impl IntoIterator<Item = u64>) -> LatencyCounts {
        let mut counts = LatencyCounts::default();
        us.into_iter().for_each(|us| counts.record_us(us));
        counts
    }

    fn of(counts: &LatencyCounts) -> Latencies {
        let mut latencies = Latencies::default();
        latencies.observe(counts);
        latencies
    }

    #[test]
    fn edges_and_levels_agree_with_the_golden_vectors() {
        let vectors = golden::edges();
        let (bounds, buckets) = (&vectors.bounds, vectors.bounds.len());
        let edges = pick_edges(&vectors.counts, &COARSE_QUANTILES);
        assert_eq!(edges, vectors.edges);
        let shifted = edges.map(|edge| shift_up(edge, Longer::by(vectors.stretch), buckets, |bucket| bounds[bucket]));
        assert_eq!(shifted, vectors.shifted);
        let counts = || vectors.counts.iter().copied().enumerate();
        for (edges, expected) in [(edges, vectors.levels), (shifted, vectors.levels_shifted)] {
            let mut levels = [0; COARSE_LEVELS];
            sort(counts(), &edges, &mut levels);
            assert_eq!(levels, expected);
        }
        for (place, edge) in edges.into_iter().enumerate() {
            assert_eq!(over(counts(), edge), vectors.levels[place + 1..].iter().sum::<u64>());
        }
    }

    #[test]
    fn at_an_edge_the_part_beyond_is_what_its_quantile_says() {
        let latencies = of(&latencies((1..=1_000).map(|i| i * 100)));
        for (edge, quantile) in latencies.edges().into_iter().zip(EDGE_QUANTILES) {
            assert_eq!(latencies.edge(quantile), edge);
            let us = quantile * 100_000.0;
            let (below, above) = (latency_bound_us(edge - 1) as f64, latency_bound_us(edge) as f64);
            assert!(below <= us && us < above * 1.001, "{quantile}: {us} is not from {below} to {above}");
        }
    }

    #[test]
    fn without_latencies_there_are_edges_all_the_same() {
        assert_eq!(Latencies::default().edges(), [1; EDGES]);
        assert_eq!(Latencies::default().total(), 0.0);
    }

    #[test]
    fn half_of_what_was_counted_is_left_after_a_minute_and_nothing_after_an_hour() {
        let mut latencies = of(&latencies([5_000; 1_000]));
        assert_eq!(latencies.total(), 1_000.0);
        (0..60).for_each(|_| latencies.end_second());
        assert!((latencies.total() - 500.0).abs() < 0.1, "{}", latencies.total());
        (0..3_540).for_each(|_| latencies.end_second());
        assert_eq!(latencies, Latencies::default());
    }

    #[test]
    fn an_edge_that_is_stretched_rounds_to_its_safe_side() {
        let edge = latency_bucket_of(10_000);
        let at = latency_bound_us(edge) as f64;
        for stretch in [0.0, 0.001, 0.05, 0.25, 0.5, 3.0] {
            let (up, down) = (shift_edge(edge, Longer::by(stretch)), shift_edge_down(edge, Longer::by(stretch)));
            let target = at * (1.0 + stretch);
            assert!(bound(up) >= target * 0.999_999 && bound(up - 1) < target, "{stretch}");
            assert!(bound(down) <= target * 1.000_001 && bound(down + 1) > target, "{stretch}");
        }
        assert_eq!((shift_edge(edge, Longer::by(0.0)), shift_edge_down(edge, Longer::by(0.0))), (edge, edge));
        assert_eq!((shift_edge(0, Longer::by(0.5)), shift_edge_down(0, Longer::by(0.5))), (0, 0));
    }

    #[test]
    fn where_the_fraction_is_less_it_is_the_time_that_counts() {
        let longer = Longer { stretch: 0.05, at_least_us: 250.0 };
        for us in [1, 100, 900, 4_900, 5_100, 40_000] {
            let edge = latency_bucket_of(us);
            let target = (bound(edge) * 1.05).max(bound(edge) + 250.0);
            let (up, down) = (shift_edge(edge, longer), shift_edge_down(edge, longer));
            assert!(bound(up) >= target * 0.999_999 && bound(up - 1) < target, "{us}");
            assert!(bound(down) <= target * 1.000_001 && bound(down + 1) > target, "{us}");
        }
    }

    #[test]
    fn beyond_the_range_harm_is_not_seen_and_its_absence_not_proven() {
        let edge = latency_bucket_of(60_000_000);
        let all_slow = latencies([66_900_000; 9]);
        assert_eq!(over(all_slow.iter(), shift_edge(edge, Longer::by(0.25))), 0);
        assert_eq!(over(all_slow.iter(), shift_edge_down(edge, Longer::by(0.25))), 9);
        assert_eq!(
            (shift_edge(LATENCY_BUCKETS, Longer::by(0.5)), shift_edge_down(LATENCY_BUCKETS, Longer::by(0.5))),
            (2_560, 2_560)
        );
    }

    proptest! {
        #[test]
        fn levels_do_not_depend_on_the_order_in_which_counts_are_merged(
            ticks in prop::collection::vec(prop::collection::vec(1u64..5_000_000, 0..40), 1..6),
            past in prop::collection::vec(1u64..5_000_000, 1..200),
            stretch in 0.0..2.0f64,
        ) {
            let edges = of(&latencies(past)).edges().map(|edge| shift_edge(edge, Longer::by(stretch)));
            prop_assert!(edges.is_sorted());
            let ticks: Vec<_> = ticks.into_iter().map(latencies).collect();
            let merged = |order: &mut dyn Iterator<Item = &LatencyCounts>| {
                let mut all = LatencyCounts::<u64>::default();
                order.for_each(|tick| all.merge(tick));
                levels(all.iter(), &edges)
            };
            let (forth, back) = (merged(&mut ticks.iter()), merged(&mut ticks.iter().rev()));
            prop_assert_eq!(forth, back);
            let mut sum = [0; LEVELS];
            for tick in &ticks {
                sum.iter_mut().zip(levels(tick.iter(), &edges)).for_each(|(sum, count)| *sum += count);
            }
            prop_assert_eq!(sum, forth);
        }

        #[test]
        fn restored_latencies_go_on_with_the_same_counts(
            seconds in prop::collection::vec(prop::collection::vec((0usize..3_000, 0u64..=1_000_000_000_000), 0..20), 1..8),
            saved_at in any::<prop::sample::Index>(),
        ) {
            let saved_at = saved_at.index(seconds.len());
            let (mut all, mut restored) = (Latencies::default(), Latencies::default());
            for (at, second) in seconds.iter().enumerate() {
                let mut counts = LatencyCounts::<u64>::default();
                second.iter().for_each(|(bucket, count)| counts.add(*bucket, *count));
                all.observe(&counts);
                restored.observe(&counts);
                if at == saved_at {
                    restored = serde_json::from_str(&serde_json::to_string(&all).unwrap()).unwrap();
                }
                all.end_second();
                restored.end_second();
                prop_assert_eq!(&restored, &all);
                prop_assert!(all.total().is_finite() && all.edges().is_sorted());
            }
        }
    }

    #[test]
    fn coarse_edges_lie_at_the_ends_of_buckets_at_or_above_the_fine_ones() {
        let (mut fine, mut coarse) = (Latencies::default(), Latencies::coarse());
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..30 {
            let second = latencies((0..400).map(|_| (1e3 * 10f64.powf(3.0 * random.f64())) as u64));
            for of in [&mut fine, &mut coarse] {
                of.observe(&second);
                of.end_second();
            }
        }
        assert!((coarse.total() / fine.total() - 1.0).abs() < 0.02);
        for (coarse, fine) in coarse.edges().into_iter().zip(fine.edges()) {
            assert!(coarse.is_multiple_of(COARSE) && (fine..=fine + COARSE).contains(&coarse), "{coarse}, {fine}");
        }
        let restored: Latencies = serde_json::from_str(&serde_json::to_string(&coarse).unwrap()).unwrap();
        assert_eq!(restored, coarse);
    }

    #[test]
    fn saved_latencies_that_cannot_be_are_refused() {
        for damaged in [r#"[2,""]"#, r#"[1,"!"]"#, r#"[0,"B"]"#] {
            assert!(serde_json::from_str::<Latencies>(damaged).is_err(), "{damaged}");
        }
        let beyond = |room: usize| format!(r#"[8,"{}"]"#, pack_counts(&vec![1; room]));
        assert!(serde_json::from_str::<Latencies>(&beyond(LATENCY_BUCKETS / COARSE)).is_ok());
        assert!(serde_json::from_str::<Latencies>(&beyond(LATENCY_BUCKETS / COARSE + 1)).is_err());
    }
}
