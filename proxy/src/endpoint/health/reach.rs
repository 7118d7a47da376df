//! Whether an endpoint can be connected to, as far as requests have tried.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::{Unreachable, in_millis};

/// Connect failures in a row after which an endpoint is down.
pub(in crate::endpoint) const FAILURES_TO_DOWN: u32 = 3;
/// How long an endpoint is left alone when it goes down; doubled with each failed try after it.
pub(in crate::endpoint) const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
/// The longest that it is left alone.
pub(in crate::endpoint) const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

/// Connect failures in a row, and until when to leave the endpoint alone.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// A connection to it was ever made.
    was_reached: AtomicBool,
    /// While it is up.
    failures: AtomicU32,
    /// Connections in a row that it ended by an alert when they were made and asked something.
    refusals: AtomicU32,
    /// How often it was tried in vain since it went down.
    pub(super) vain_tries: AtomicU32,
    /// 0 while the endpoint is up.
    pub(super) down_until_ms: AtomicU64,
    /// When it went down last.
    pub(super) down_since_ms: AtomicU64,
    /// What a connection failed for last, one more than its place among all; 0 where that is not known.
    why: AtomicU8,
}

impl Reach {
    pub(super) fn is_up(&self) -> bool {
        self.due() == 0
    }

    /// Whether it is up, and no connection to it has failed since one was made.
    pub(super) fn is_untroubled(&self) -> bool {
        self.is_up() && self.failures.load(Ordering::Relaxed) == 0 && self.refusals.load(Ordering::Relaxed) == 0
    }

    /// Whether a connection to it was ever made.
    pub(super) fn was_reached(&self) -> bool {
        self.was_reached.load(Ordering::Relaxed)
    }

    /// When it may be tried again; 0 while it is up.
    pub(super) fn due(&self) -> u64 {
        self.down_until_ms.load(Ordering::Relaxed)
    }

    pub(super) fn since(&self) -> u64 {
        self.down_since_ms.load(Ordering::Relaxed)
    }

    /// How often it was tried in vain since it went down.
    pub(super) fn vain_tries(&self) -> u32 {
        self.vain_tries.load(Ordering::Relaxed)
    }

    /// Why it is down, where that is known.
    pub(super) fn why(&self) -> Option<Unreachable> {
        Unreachable::ALL.get(usize::from(self.why.load(Ordering::Relaxed)).checked_sub(1)?).copied()
    }

    /// A connection failed for this.
    pub(super) fn fails_for(&self, why: Unreachable) {
        self.why.store(why as u8 + 1, Ordering::Relaxed);
    }

    /// A connection was made, or an old one still worked: whether it had been down.
    pub(super) fn connected(&self) -> bool {
        // Read before they are written: in the common case nothing is, and no cache line moves between cores. Both are
        // looked at, since another core may have claimed a try in between.
        if self.failures.load(Ordering::Relaxed) == 0 && self.is_up() && self.was_reached() {
            return false;
        }
        self.was_reached.store(true, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        self.vain_tries.store(0, Ordering::Relaxed);
        self.down_until_ms.swap(0, Ordering::Relaxed) != 0
    }

    /// No connection could be made; `tried` by the one request that tried an endpoint that is down.
    pub(super) fn failed(&self, now_ms: u64, tried: bool) {
        if self.is_up() {
            if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_TO_DOWN {
                self.down_since_ms.store(now_ms, Ordering::Relaxed);
                self.leave_alone(now_ms, FIRST_BACK_OFF);
            }
        } else if tried {
            let doublings = self.vain_tries.fetch_add(1, Ordering::Relaxed).saturating_add(1).min(8);
            self.leave_alone(now_ms, FIRST_BACK_OFF.saturating_mul(1 << doublings).min(LONGEST_BACK_OFF));
        }
    }

    /// A connection was made, and then ended by an alert in place of an answer: that it can be made says nothing.
    pub(super) fn refused(&self, now_ms: u64) {
        if self.refusals.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_TO_DOWN {
            self.down_since_ms.store(now_ms, Ordering::Relaxed);
            self.leave_alone(now_ms, FIRST_BACK_OFF);
        }
    }

    /// It answered.
    pub(super) fn answered(&self) {
        // Read before it is written, as above.
        if self.refusals.load(Ordering::Relaxed) != 0 {
            self.refusals.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn leave_alone(&self, now_ms: u64, back_off: Duration) {
        self.down_until_ms.store(now_ms.saturating_add(in_millis(back_off)), Ordering::Relaxed);
    }
}
