//! What became of an endpoint's requests, and whether it is ejected for it.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::in_millis;

/// The longest ejection. One that comes back and is ejected within as long is ejected in a row.
pub(in crate::endpoint) const LONGEST: Duration = Duration::from_mins(5);

/// What became of an endpoint's requests. Requests write the first two; an ejection is written by one at a time.
#[derive(Debug, Default)]
pub(super) struct Conduct {
    /// Failures in a row.
    failures: AtomicU32,
    /// Requests in the upper half, failures among them in the lower one, since they were last taken.
    rates: AtomicU64,
    /// 0 where it never was ejected.
    pub(super) until_ms: AtomicU64,
    pub(super) since_ms: AtomicU64,
    /// Ejections in a row.
    pub(super) times: AtomicU32,
    /// A [`Cause`].
    pub(super) cause: AtomicU8,
}

/// Why an endpoint is ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::endpoint) enum Cause {
    /// Too many requests in a row failed.
    Failures,
    /// It succeeds far less often than its version's other endpoints.
    SuccessRate,
    /// Its requests get no answer at all.
    Silence,
}

impl Cause {
    const fn of(number: u8) -> Self {
        match number {
            1 => Self::SuccessRate,
            2 => Self::Silence,
            _ => Self::Failures,
        }
    }

    /// The one of these words.
    pub(super) fn called(words: &str) -> Self {
        let all = [Self::Failures, Self::SuccessRate, Self::Silence];
        all.into_iter().find(|cause| cause.words() == words).unwrap_or(Self::Failures)
    }

    pub(super) fn words(self) -> String {
        let words = match self {
            Self::Failures => "requests in a row failed",
            Self::SuccessRate => "it fails far more often than the others",
            Self::Silence => "it hangs: requests get no answer there",
        };
        words.to_owned()
    }
}

/// The last ejection.
#[derive(Debug)]
pub(super) struct LastEjection {
    pub(super) cause: Cause,
    pub(super) since_ms: u64,
    pub(super) until_ms: u64,
}

const ONE_REQUEST: u64 = 1 << 32;

impl Conduct {
    pub(super) fn was_ever_ejected(&self) -> bool {
        self.back_ms() != 0
    }

    pub(super) fn is_ejected(&self, now_ms: u64) -> bool {
        now_ms < self.back_ms()
    }

    /// When the last ejection is over.
    pub(super) fn back_ms(&self) -> u64 {
        self.until_ms.load(Ordering::Relaxed)
    }

    /// A request was answered well.
    pub(super) fn served(&self, began_ms: impl FnOnce() -> u64) {
        if self.was_ever_ejected() && self.is_ejected(began_ms()) {
            return;
        }
        self.rates.fetch_add(ONE_REQUEST, Ordering::Relaxed);
        // In the common case nothing is written.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// A request failed: how many have, in a row. None for one from before the last ejection was over, which that has
    /// paid for.
    pub(super) fn failed(&self, began_ms: u64) -> Option<u32> {
        if self.is_ejected(began_ms) {
            return None;
        }
        self.rates.fetch_add(ONE_REQUEST + 1, Ordering::Relaxed);
        Some(self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1))
    }

    pub(super) fn eject(&self, cause: Cause, first: Duration, now_ms: u64) {
        let back_ms = self.back_ms();
        let is_in_a_row = back_ms != 0 && now_ms.saturating_sub(back_ms) < in_millis(LONGEST);
        let times = if is_in_a_row { self.times.load(Ordering::Relaxed).saturating_add(1) } else { 0 };
        let length = first.saturating_mul(1 << times.min(16)).min(LONGEST.max(first));
        self.times.store(times, Ordering::Relaxed);
        self.cause.store(cause as u8, Ordering::Relaxed);
        self.since_ms.store(now_ms, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        self.until_ms.store(now_ms.saturating_add(in_millis(length)), Ordering::Relaxed);
    }

    /// How often in a row it was ejected before.
    pub(super) fn times(&self) -> u32 {
        self.times.load(Ordering::Relaxed)
    }

    /// The last ejection is over now.
    pub(super) fn ends(&self, now_ms: u64) {
        self.until_ms.store(now_ms, Ordering::Relaxed);
    }

    pub(super) fn last_ejection(&self) -> LastEjection {
        LastEjection {
            cause: Cause::of(self.cause.load(Ordering::Relaxed)),
            since_ms: self.since_ms.load(Ordering::Relaxed),
            until_ms: self.back_ms(),
        }
    }

    pub(super) fn take_rates(&self) -> (u32, u32) {
        let both = self.rates.swap(0, Ordering::Relaxed);
        ((both >> 32) as u32, both as u32)
    }

    pub(super) fn forget(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.times.store(0, Ordering::Relaxed);
        self.until_ms.store(0, Ordering::Relaxed);
    }
}
