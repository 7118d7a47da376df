//! Latencies as people are told of them: a coarse histogram, from which quantiles are read.
//!
//! Nothing is judged by it. Its buckets are eight of a [`LatencyCounts`](meter::LatencyCounts) each: from 256
//! microseconds on sixteen to a doubling, about 4 % wide. On a path they are twice that: a plan may have many.

use std::ops::Range;

use meter::{LATENCY_BUCKETS, latency_bound_us};
use serde::{Deserialize, Serialize};

use super::counting::Ascending;
use crate::statistics::packed::{pack_counts, unpack_counts};

/// So many buckets of a [`LatencyCounts`](meter::LatencyCounts) are one here; and where little room is to be taken.
const WIDTHS: [usize; 2] = [8, 16];
const _: () = assert!(LATENCY_BUCKETS.is_multiple_of(WIDTHS[0]) && LATENCY_BUCKETS.is_multiple_of(WIDTHS[1]));
const _: () = assert!(WIDTHS[0].is_power_of_two() && WIDTHS[1].is_power_of_two());

/// How many latencies fell where, and how many requests timed out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub(super) struct Profile {
    /// One of [`WIDTHS`].
    width: usize,
    /// Empty before the first latency.
    counts: Box<[u64]>,
    /// What is not in this range of buckets is 0.
    touched: Range<usize>,
    timeouts: u64,
    /// With the timeouts.
    total: u64,
}

/// A quantile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Reach {
    /// So many microseconds.
    Us(f64),
    /// Longer than anybody waited.
    Timeout,
}

impl Reach {
    /// As a number to compare by.
    pub(super) fn us(self) -> f64 {
        match self {
            Self::Us(us) => us,
            Self::Timeout => latency_bound_us(LATENCY_BUCKETS) as f64,
        }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self { width: WIDTHS[0], counts: Box::default(), touched: 0..0, timeouts: 0, total: 0 }
    }
}

impl PartialEq for Profile {
    /// Memory that was kept is no difference.
    fn eq(&self, other: &Self) -> bool {
        self.width == other.width
            && self.timeouts == other.timeouts
            && self.total == other.total
            && self.iter().eq(other.iter())
    }
}

impl Profile {
    /// In half the room.
    pub(super) fn coarse() -> Self {
        Self { width: WIDTHS[1], ..Self::default() }
    }

    /// Nothing yet, as coarse as this one.
    pub(super) fn like(other: &Self) -> Self {
        Self { width: other.width, ..Self::default() }
    }

    pub(super) const fn is_like(&self, other: &Self) -> bool {
        self.width == other.width
    }

    /// Adds latencies and requests that timed out.
    pub(super) fn add(&mut self, latencies: &Ascending, timeouts: u64) {
        self.add_timeouts(timeouts);
        if latencies.is_empty() {
            return;
        }
        self.need_counts();
        let (shift, last) = (self.width.trailing_zeros(), self.counts.len() - 1);
        let place_of = |bucket: usize| (bucket >> shift).min(last);
        if let Some((lowest, highest)) = latencies.reach() {
            self.touch(place_of(lowest)..place_of(highest) + 1);
        }
        for (bucket, count) in latencies.iter() {
            let mine = &mut self.counts[place_of(bucket)];
            *mine = mine.saturating_add(count);
        }
        self.total = self.total.saturating_add(latencies.total());
    }

    /// Adds another, which must be [as coarse](Self::is_like).
    pub(super) fn merge(&mut self, other: &Self) {
        self.timeouts = self.timeouts.saturating_add(other.timeouts);
        self.total = self.total.saturating_add(other.total);
        if other.touched.is_empty() {
            return;
        }
        self.need_counts();
        self.touch(other.touched.clone());
        let range = other.touched.clone();
        for (mine, theirs) in self.counts[range.clone()].iter_mut().zip(&other.counts[range]) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    /// Forgets everything and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.counts[self.touched.clone()].fill(0);
        (self.touched, self.timeouts, self.total) = (0..0, 0, 0);
    }

    fn add_timeouts(&mut self, timeouts: u64) {
        self.timeouts = self.timeouts.saturating_add(timeouts);
        self.total = self.total.saturating_add(timeouts);
    }

    fn need_counts(&mut self) {
        if self.counts.is_empty() {
            self.counts = vec![0; LATENCY_BUCKETS / self.width].into_boxed_slice();
        }
    }

    fn touch(&mut self, range: Range<usize>) {
        self.touched = if self.touched.is_empty() {
            range
        } else {
            self.touched.start.min(range.start)..self.touched.end.max(range.end)
        };
    }

    /// The buckets that hold something: number and count, ascending.
    fn iter(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let touched = self.touched.clone().zip(&self.counts[self.touched.clone()]);
        touched.map(|(bucket, count)| (bucket, *count)).filter(|(_, count)| *count > 0)
    }

    /// How many requests there were.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// What a part `q` of the requests is at or below; none where there was none.
    pub(super) fn quantile(&self, q: f64) -> Option<Reach> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        let (wanted, mut below) = (q * total as f64, 0.0);
        for (bucket, count) in self.iter() {
            let count = count as f64;
            if below + count >= wanted {
                let [low, high] = [bucket, bucket + 1].map(|bucket| latency_bound_us(bucket * self.width) as f64);
                return Some(Reach::Us(low + (high - low) * ((wanted - below) / count).clamp(0.0, 1.0)));
            }
            below += count;
        }
        Some(Reach::Timeout)
    }
}

/// The width, the packed counts, and the timeouts.
#[derive(Debug, Serialize, Deserialize)]
struct Saved(usize, String, u64);

impl From<Profile> for Saved {
    fn from(profile: Profile) -> Self {
        Self(profile.width, pack_counts(&profile.counts), profile.timeouts)
    }
}

/// A saved profile with buckets that do not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("saved latencies are damaged, or lie in a bucket that does not exist")]
pub(super) struct NoBucket;

impl TryFrom<Saved> for Profile {
    type Error = NoBucket;

    fn try_from(Saved(width, packed, timeouts): Saved) -> Result<Self, NoBucket> {
        if !WIDTHS.contains(&width) {
            return Err(NoBucket);
        }
        let mut profile = Self { width, ..Self::default() };
        profile.add_timeouts(timeouts);
        if !packed.is_empty() {
            profile.need_counts();
            unpack_counts(&packed, &mut profile.counts).map_err(|_| NoBucket)?;
            profile.touch(0..profile.counts.len());
            profile.total = profile.counts.iter().fold(timeouts, |sum, count| sum.saturating_add(*count));
        }
        Ok(profile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn profile(us: &[u64], timeouts: u64) -> Profile {
        let mut latencies = meter::LatencyCounts::default();
        us.iter().for_each(|us| latencies.record_us(*us));
        let mut profile = Profile::default();
        profile.add(&Ascending::of(&latencies), timeouts);
        profile
    }

    #[test]
    fn timeouts_are_longer_than_everything_else() {
        let profile = profile(&[1_000; 90], 10);
        assert_eq!(profile.total(), 100);
        assert!(matches!(profile.quantile(0.5), Some(Reach::Us(us)) if (990.0..1_060.0).contains(&us)));
        assert_eq!(profile.quantile(0.95), Some(Reach::Timeout));
        assert_eq!(Profile::default().quantile(0.5), None);
    }

    proptest! {
        #[test]
        fn quantiles_are_within_a_bucket_of_the_exact_ones(
            mut us in prop::collection::vec(300u64..60_000_000, 1..200), q in 0.01..0.99f64,
        ) {
            let Some(Reach::Us(said)) = profile(&us, 0).quantile(q) else { panic!() };
            us.sort_unstable();
            let exact = us[((us.len() as f64 * q).ceil() as usize).clamp(1, us.len()) - 1] as f64;
            prop_assert!((said / exact - 1.0).abs() < 0.07, "{said} is not {exact}");
        }

        #[test]
        fn a_profile_survives_json(us in prop::collection::vec(0u64..100_000_000, 0..50), timeouts in 0u64..9) {
            let profile = profile(&us, timeouts);
            let restored: Profile = serde_json::from_str(&serde_json::to_string(&profile).unwrap()).unwrap();
            prop_assert_eq!(restored, profile);
        }
    }
}
