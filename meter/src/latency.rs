//! Counts of latencies in fixed log-linear buckets.
//!
//! The buckets are those of an HDR histogram of two significant digits: exact below 256 microseconds, then 128
//! buckets for each doubling, so a bucket is at most 0.8 % wide. The last one ends at 2^26 microseconds (67 s) and
//! takes everything above. Why not the crate `hdrhistogram`: docs/decisions/0002.

use std::ops::AddAssign;

/// Values below this have a bucket each.
const EXACT: u64 = 256;
/// log2 of [`EXACT`].
const EXACT_BITS: u32 = 8;
/// Buckets for each doubling above [`EXACT`].
const PER_DOUBLING: usize = 128;
/// Values are clamped to below two to this power: 67 s in microseconds.
const TOP_BITS: u32 = 26;
/// How many buckets there are.
pub const LATENCY_BUCKETS: usize = EXACT as usize + (TOP_BITS - EXACT_BITS) as usize * PER_DOUBLING;

/// The bucket that a latency in microseconds falls into; below [`LATENCY_BUCKETS`].
#[inline]
#[must_use]
pub fn latency_bucket_of(us: u64) -> usize {
    let us = us.min((1 << TOP_BITS) - 1);
    if us < EXACT {
        return us as usize;
    }
    let exponent = 63 - us.leading_zeros();
    let within = (us >> (exponent - (EXACT_BITS - 1))) as usize - PER_DOUBLING;
    EXACT as usize + (exponent - EXACT_BITS) as usize * PER_DOUBLING + within
}

/// The smallest latency of a bucket, in microseconds; one past the last bucket gives the end of the range.
#[inline]
#[must_use]
pub fn latency_bound_us(bucket: usize) -> u64 {
    if bucket < EXACT as usize {
        return bucket as u64;
    }
    let above = bucket - EXACT as usize;
    let doubling = above / PER_DOUBLING;
    ((PER_DOUBLING + above % PER_DOUBLING) as u64) << (doubling + 1)
}

/// The lower bounds of all buckets in microseconds, ascending.
#[must_use]
pub fn latency_bounds_us() -> Vec<u64> {
    (0..LATENCY_BUCKETS).map(latency_bound_us).collect()
}

/// How many latencies fell into each bucket. Takes no memory until the first one; knows the range it touched, so
/// that merging and clearing cost what was used.
#[derive(Debug, Clone)]
pub struct LatencyCounts<C = u64> {
    counts: Box<[C]>,
    low: usize,
    /// One past the highest touched bucket.
    high: usize,
}

impl<C> Default for LatencyCounts<C> {
    fn default() -> Self {
        Self { counts: Box::default(), low: usize::MAX, high: 0 }
    }
}

impl<C: Copy + Default + PartialEq + AddAssign + From<u8>> LatencyCounts<C> {
    /// Counts one latency. Allocates at the first.
    #[inline]
    pub fn record_us(&mut self, us: u64) {
        let bucket = latency_bucket_of(us);
        self.touch(bucket, bucket + 1);
        self.counts[bucket] += C::from(1);
    }

    fn touch(&mut self, low: usize, high: usize) {
        if self.counts.is_empty() {
            self.counts = vec![C::default(); LATENCY_BUCKETS].into_boxed_slice();
        }
        self.low = self.low.min(low);
        self.high = self.high.max(high);
    }

    /// Forgets every count and keeps the memory.
    pub fn clear(&mut self) {
        if self.low < self.high {
            self.counts[self.low..self.high].fill(C::default());
        }
        self.low = usize::MAX;
        self.high = 0;
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.low >= self.high
    }

    /// The buckets that hold something: number and count, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (usize, C)> + '_ {
        let (low, high) = if self.is_empty() { (0, 0) } else { (self.low, self.high) };
        Held { counts: &self.counts[..high], from: low, to: low, holding: 0 }
    }
}

/// Goes through the buckets that hold something.
///
/// Which of them do is no pattern that a processor could foresee, and a range has several empty ones for each that
/// holds something: so they are looked up 64 at a time without a branch.
struct Held<'a, C> {
    /// All buckets up to the highest touched one.
    counts: &'a [C],
    /// Where the 64 buckets begin that are being gone through, and where they end.
    from: usize,
    to: usize,
    /// Which of them hold something and were not given yet: a bit each.
    holding: u64,
}

impl<C: Copy + Default + PartialEq> Iterator for Held<'_, C> {
    type Item = (usize, C);

    #[inline]
    fn next(&mut self) -> Option<(usize, C)> {
        while self.holding == 0 {
            if self.to >= self.counts.len() {
                return None;
            }
            self.from = self.to;
            self.to = (self.from + u64::BITS as usize).min(self.counts.len());
            let bit = |(place, count): (usize, &C)| u64::from(*count != C::default()) << place;
            self.holding = self.counts[self.from..self.to].iter().enumerate().map(bit).fold(0, |all, bit| all | bit);
        }
        let bucket = self.from + self.holding.trailing_zeros() as usize;
        self.holding &= self.holding - 1;
        Some((bucket, self.counts[bucket]))
    }
}

impl LatencyCounts<u64> {
    /// Counts `count` latencies of this bucket; one beyond the last is the last.
    pub fn add(&mut self, bucket: usize, count: u64) {
        let bucket = bucket.min(LATENCY_BUCKETS - 1);
        self.touch(bucket, bucket + 1);
        self.counts[bucket] = self.counts[bucket].saturating_add(count);
    }

    /// Adds the counts of another, of either width.
    pub fn merge<C: Copy + Into<u64>>(&mut self, other: &LatencyCounts<C>) {
        if other.low >= other.high {
            return;
        }
        self.touch(other.low, other.high);
        let range = other.low..other.high;
        for (mine, theirs) in self.counts[range.clone()].iter_mut().zip(&other.counts[range]) {
            *mine += (*theirs).into();
        }
    }

    /// How many latencies were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }

    /// How many latencies were surely above `us`: those in buckets that begin above it.
    #[must_use]
    pub fn above_us(&self, us: u64) -> u64 {
        self.iter().filter(|(bucket, _)| latency_bound_us(*bucket) > us).map(|(_, count)| count).sum()
    }

    /// The latency in microseconds that a fraction `q` of the counts is at or below (the upper end of its bucket);
    /// `None` where nothing was counted.
    #[must_use]
    pub fn quantile_us(&self, q: f64) -> Option<u64> {
        let total = self.total();
        let rank = ((total as f64) * q.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.iter() {
            seen += count;
            if seen >= rank {
                return Some(latency_bound_us(bucket + 1) - 1);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::Histogram;
    use proptest::prelude::*;

    #[test]
    fn every_bucket_begins_where_the_one_before_it_ends() {
        let bounds = latency_bounds_us();
        assert_eq!(bounds.len(), LATENCY_BUCKETS);
        for (bucket, bound) in bounds.iter().enumerate() {
            assert_eq!(latency_bucket_of(*bound), bucket);
            assert_eq!(latency_bucket_of(latency_bound_us(bucket + 1) - 1), bucket);
        }
        assert_eq!(latency_bound_us(LATENCY_BUCKETS), 1 << TOP_BITS);
    }

    #[test]
    fn a_latency_beyond_the_range_lands_in_the_last_bucket() {
        assert_eq!(latency_bucket_of(u64::MAX), LATENCY_BUCKETS - 1);
    }

    #[test]
    fn nothing_counted_has_no_quantile() {
        assert_eq!(LatencyCounts::<u64>::default().quantile_us(0.5), None);
    }

    proptest! {
        #[test]
        fn every_bucket_that_holds_something_is_gone_through_once_and_no_other(
            buckets in prop::collection::btree_map(0..LATENCY_BUCKETS, 1u64..5, 0..300),
        ) {
            let mut counts = LatencyCounts::<u64>::default();
            buckets.iter().for_each(|(bucket, count)| counts.add(*bucket, *count));
            prop_assert_eq!(counts.iter().collect::<Vec<_>>(), buckets.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn quantiles_agree_with_an_hdr_histogram(
            values in prop::collection::vec(1u64..60_000_000, 1..300),
            q in 0.0..=1.0f64,
        ) {
            let mut ours = LatencyCounts::<u64>::default();
            let mut theirs = Histogram::<u64>::new_with_bounds(1, (1 << TOP_BITS) - 1, 2).unwrap();
            for value in &values {
                ours.record_us(*value);
                theirs.record(*value).unwrap();
            }
            prop_assert_eq!(ours.quantile_us(q).unwrap(), theirs.value_at_quantile(q));
        }

        #[test]
        fn merging_in_any_order_gives_the_same_counts(
            a in prop::collection::vec(0u64..100_000_000, 0..50),
            b in prop::collection::vec(0u64..100_000_000, 0..50),
        ) {
            let of = |values: &[u64]| {
                let mut counts = LatencyCounts::<u32>::default();
                values.iter().for_each(|v| counts.record_us(*v));
                counts
            };
            let (mut ab, mut ba) = (LatencyCounts::<u64>::default(), LatencyCounts::<u64>::default());
            ab.merge(&of(&a));
            ab.merge(&of(&b));
            ba.merge(&of(&b));
            ba.merge(&of(&a));
            prop_assert_eq!(ab.iter().collect::<Vec<_>>(), ba.iter().collect::<Vec<_>>());
            prop_assert_eq!(ab.total() as usize, a.len() + b.len());
        }
    }
}
