//! What becomes of the copies that one version is sent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use meter::{MirrorCounts, MirrorMeter};
use parking_lot::Mutex;

use super::pair::Pair;
use super::sample::Sample;

/// How many differences are kept.
const KEPT: usize = 8;

/// What becomes of the copies that one version is sent. Kept over reloads while the version stays.
#[derive(Debug, Default)]
pub struct Ledger {
    pub(super) meter: MirrorMeter,
    under_way: AtomicU32,
    /// The latest differences, the last one first. Locked for as long as a pointer takes to be put there.
    differences: Mutex<VecDeque<(SystemTime, Arc<Pair>)>>,
}

/// A copy's place among those under way, until this is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Ledger>);

impl Ledger {
    /// What became of the copies so far.
    #[must_use]
    pub fn counts(&self) -> MirrorCounts {
        self.meter.counts()
    }

    /// Copies that were handed over and are not over.
    #[must_use]
    pub fn under_way(&self) -> u32 {
        self.under_way.load(Ordering::Relaxed)
    }

    /// The latest differences from stable's answers, the last one first: heads alone, without their secrets.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        let kept: Vec<_> = self.differences.lock().iter().cloned().collect();
        kept.iter().filter_map(|(at, pair)| Sample::of(pair, *at)).collect()
    }

    /// A place for a further copy, where fewer than `most` are under way.
    pub(super) fn enter(self: &Arc<Self>, most: u32) -> Option<Place> {
        let next = |under_way: u32| (under_way < most).then(|| under_way + 1);
        let entered = self.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        entered.is_ok().then(|| Place(Arc::clone(self)))
    }

    /// The two answers of this pair differ.
    pub(super) fn keep(&self, pair: &Arc<Pair>) {
        let kept = (SystemTime::now(), Arc::clone(pair));
        let mut differences = self.differences.lock();
        let last = if differences.len() >= KEPT { differences.pop_back() } else { None };
        differences.push_front(kept);
        drop(differences);
        // What it held is given back when nobody waits for the lock.
        drop(last);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_under_way_and_no_more_and_a_place_is_given_back() {
        let ledger = Arc::new(Ledger::default());
        let places: Vec<_> = (0..3).map(|_| ledger.enter(2)).collect();
        assert_eq!(places.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(ledger.under_way(), 2);
        drop(places);
        assert_eq!(ledger.under_way(), 0);
        assert!(ledger.enter(1).is_some());
    }
}
