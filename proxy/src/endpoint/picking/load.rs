//! What is under way in a version, and how many of its endpoints take part.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// For so long a count of very many endpoints is believed.
const CENSUS_MS: u64 = 100;
/// A census is one word, so that no reader sees half of one: when it was taken (for 270 years), how many live, panic.
const LIVE_BITS: u32 = 20;
const MOST_LIVE: u64 = (1 << LIVE_BITS) - 1;

/// What is under way in a version. Kept over reloads while the version stays.
#[derive(Debug)]
pub(super) struct Load {
    in_flight: AtomicU64,
    /// Those of them that last.
    lasting: AtomicU64,
    overflows: AtomicU64,
    began: Instant,
    census: AtomicU64,
}

/// How the endpoints of a version do, as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Census {
    /// How many requests may go to.
    pub(super) live: u64,
    /// Whether health is ignored, since too few are well.
    pub(super) panics: bool,
}

/// A request that is under way in a version; counted until this is dropped.
#[derive(Debug)]
pub(in crate::endpoint) struct Room {
    of: Arc<Load>,
    is_lasting: bool,
}

impl Room {
    /// The request goes on for as long as both sides want. To be told once.
    pub(in crate::endpoint) fn lasts(&mut self) {
        self.is_lasting = true;
        self.of.lasting.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.is_lasting {
            self.of.lasting.fetch_sub(1, Ordering::Relaxed);
        }
        self.of.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Load {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            in_flight: AtomicU64::new(0),
            lasting: AtomicU64::new(0),
            overflows: AtomicU64::new(0),
            began: now,
            census: AtomicU64::new(0),
        }
    }

    /// Room for one more request, where so many may be under way; counted as an overflow where there is none.
    pub(super) fn enter(self: &Arc<Self>, most: Option<u32>) -> Option<Room> {
        let has_entered = match most {
            None => {
                self.in_flight.fetch_add(1, Ordering::Relaxed);
                true
            }
            Some(most) => enter_below(&self.in_flight, u64::from(most)),
        };
        has_entered.then(|| Room { of: Arc::clone(self), is_lasting: false })
    }

    pub(super) fn overflowed(&self) {
        self.overflows.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }

    /// Requests that are under way, but for those that last.
    pub(super) fn without_lasting(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed).saturating_sub(self.lasting.load(Ordering::Relaxed))
    }

    /// The census of a moment ago, or a new one.
    pub(super) fn census(&self, now: Instant, count: impl FnOnce() -> Census) -> Census {
        // At least 1: 0 means never.
        let now_ms = now.saturating_duration_since(self.began).as_millis() as u64 + 1;
        let word = self.census.load(Ordering::Relaxed);
        let taken_ms = word >> (LIVE_BITS + 1);
        if taken_ms > 0 && now_ms.saturating_sub(taken_ms) < CENSUS_MS {
            return Census { live: (word >> 1) & MOST_LIVE, panics: word & 1 == 1 };
        }
        let census = count();
        let word = now_ms << (LIVE_BITS + 1) | census.live.min(MOST_LIVE) << 1 | u64::from(census.panics);
        self.census.store(word, Ordering::Relaxed);
        census
    }
}

/// Counts one more, where there are fewer than `most`.
pub(super) fn enter_below(count: &AtomicU64, most: u64) -> bool {
    let one_more = |count| (count < most).then_some(count + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
}
