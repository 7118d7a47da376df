//! What a page says of one version, gathered from its tally.

use std::sync::LazyLock;

use meter::{Attempt, Class, LATENCY_BUCKETS, LatencyCounts, Tally, latency_bound_us};

/// Upper bounds of the histograms' buckets, in microseconds.
pub(super) const BOUNDS_US: [u64; 15] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000,
];

/// What a version did since the process began. A hundredth of the size of its tally, so that a snapshot of a thousand
/// services costs little.
#[derive(Debug, Clone, Default)]
pub struct VersionCounts {
    /// First attempts that may be judged, by class.
    pub judged: [u64; Class::ALL.len()],
    /// Every attempt, by kind and class.
    pub attempts: [[u64; Class::ALL.len()]; Attempt::ALL.len()],
    /// Requests that another version answered well in this one's stead.
    pub saved: u64,
    /// Whole requests, from their head to their last byte.
    pub duration: Histogram,
    /// Judged latencies.
    pub first_byte: Histogram,
}

/// Latencies in the buckets of a page.
#[derive(Debug, Clone, Copy, Default)]
pub struct Histogram {
    /// How many fell into each bucket; the last one has no bound.
    pub(super) in_bucket: [u64; BOUNDS_US.len() + 1],
    /// The sum of all, each taken as the middle of its fine bucket.
    pub(super) sum_us: f64,
}

impl VersionCounts {
    /// Gathers a tally.
    #[must_use]
    pub fn of(tally: &Tally) -> Self {
        Self {
            judged: tally.judged,
            attempts: tally.attempts,
            saved: tally.saved,
            duration: Histogram::of(&[&tally.duration]),
            first_byte: Histogram::of(&[&tally.latency_good, &tally.latency_bad]),
        }
    }
}

/// Where a fine bucket goes: the bucket of the page, and the middle of its latencies.
#[derive(Debug, Clone, Copy)]
struct Place {
    bucket: usize,
    middle_us: f64,
}

impl Histogram {
    /// The sum of these parts.
    fn of(parts: &[&LatencyCounts]) -> Self {
        static PLACES: LazyLock<Vec<Place>> = LazyLock::new(|| (0..LATENCY_BUCKETS).map(Place::of).collect());
        let mut sum = Self::default();
        for (fine, count) in parts.iter().flat_map(|part| part.iter()) {
            let Some(place) = PLACES.get(fine) else { continue };
            sum.in_bucket[place.bucket] += count;
            sum.sum_us += count as f64 * place.middle_us;
        }
        sum
    }
}

impl Place {
    fn of(fine: usize) -> Self {
        let lower = latency_bound_us(fine);
        let width = latency_bound_us(fine + 1) - lower;
        let bucket = BOUNDS_US.partition_point(|bound| *bound < lower);
        Self { bucket, middle_us: lower as f64 + (width - 1) as f64 / 2.0 }
    }
}
