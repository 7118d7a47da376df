//! Latencies as people are told of them: a coarse histogram, from which quantiles are read.
//!
//! Nothing is judged by it. Its buckets are eight of a [`LatencyCounts`](meter::LatencyCounts) each: from 256 microseconds on sixteen to a
//! doubling, about 4 % wide.

use meter::{LATENCY_BUCKETS, latency_bound_us};
use serde::{Deserialize, Serialize};

/// So many buckets of a [`LatencyCounts`](meter::LatencyCounts) are one here.
const WIDTH: usize = 8;
const BUCKETS: usize = LATENCY_BUCKETS.div_ceil(WIDTH);

/// How many latencies fell where, and how many requests timed out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub(super) struct Profile {
    /// Empty before the first latency.
    counts: Box<[u64]>,
    timeouts: u64,
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

impl PartialEq for Profile {
    /// Memory that was kept is no difference.
    fn eq(&self, other: &Self) -> bool {
        let (mine, theirs) = (&self.counts, &other.counts);
        let same = match (mine.is_empty(), theirs.is_empty()) {
            (false, false) => mine == theirs,
            (true, _) => theirs.iter().all(|count| *count == 0),
            (_, true) => mine.iter().all(|count| *count == 0),
        };
        same && self.timeouts == other.timeouts
    }
}

impl Profile {
    /// Adds latencies (numbers of buckets of a [`LatencyCounts`](meter::LatencyCounts), and counts) and requests that
    /// timed out.
    pub(super) fn add(&mut self, latencies: &[(usize, u64)], timeouts: u64) {
        self.timeouts = self.timeouts.saturating_add(timeouts);
        if latencies.is_empty() {
            return;
        }
        self.need_counts();
        for (bucket, count) in latencies {
            let mine = &mut self.counts[bucket / WIDTH];
            *mine = mine.saturating_add(*count);
        }
    }

    /// Adds another.
    pub(super) fn merge(&mut self, other: &Self) {
        self.timeouts = self.timeouts.saturating_add(other.timeouts);
        if other.counts.is_empty() {
            return;
        }
        self.need_counts();
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    /// Forgets everything and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.counts.fill(0);
        self.timeouts = 0;
    }

    fn need_counts(&mut self) {
        if self.counts.is_empty() {
            self.counts = vec![0; BUCKETS].into_boxed_slice();
        }
    }

    /// How many requests there were.
    pub(super) fn total(&self) -> u64 {
        self.counts.iter().fold(self.timeouts, |sum, count| sum.saturating_add(*count))
    }

    /// What a part `q` of the requests is at or below; none where there was none.
    pub(super) fn quantile(&self, q: f64) -> Option<Reach> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        let (wanted, mut below) = (q * total as f64, 0.0);
        for (bucket, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let count = *count as f64;
            if below + count >= wanted {
                let [low, high] = [bucket, bucket + 1].map(|bucket| latency_bound_us(bucket * WIDTH) as f64);
                return Some(Reach::Us(low + (high - low) * ((wanted - below) / count).clamp(0.0, 1.0)));
            }
            below += count;
        }
        Some(Reach::Timeout)
    }
}

/// Counts of successive buckets, each run with the number of its first; and the timeouts.
#[derive(Debug, Serialize, Deserialize)]
struct Saved(Vec<(usize, Vec<u64>)>, u64);

impl From<Profile> for Saved {
    fn from(profile: Profile) -> Self {
        let mut runs: Vec<(usize, Vec<u64>)> = Vec::new();
        for (bucket, count) in profile.counts.iter().copied().enumerate().filter(|(_, count)| *count > 0) {
            match runs.last_mut() {
                Some((first, run)) if *first + run.len() == bucket => run.push(count),
                Some(_) | None => runs.push((bucket, vec![count])),
            }
        }
        Self(runs, profile.timeouts)
    }
}

/// A saved profile with buckets that do not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("saved latencies lie in a bucket that does not exist")]
pub(super) struct NoBucket;

impl TryFrom<Saved> for Profile {
    type Error = NoBucket;

    fn try_from(Saved(runs, timeouts): Saved) -> Result<Self, NoBucket> {
        let mut profile = Self { counts: Box::default(), timeouts };
        for (first, run) in runs {
            profile.need_counts();
            let end = first.checked_add(run.len()).ok_or(NoBucket)?;
            profile.counts.get_mut(first..end).ok_or(NoBucket)?.copy_from_slice(&run);
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
        profile.add(&latencies.iter().collect::<Vec<_>>(), timeouts);
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
