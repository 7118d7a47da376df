//! Which endpoints are down, as far as connecting to them tells.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Connect failures in a row after which an endpoint is down.
pub(super) const FAILURES_TO_DOWN: u32 = 3;
/// How long an endpoint is left alone when it goes down; doubled with each failed try after it.
pub(super) const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
/// The longest that it is left alone.
pub(super) const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

/// Connect failures in a row, and until when to leave the endpoint alone.
#[derive(Debug)]
pub(super) struct Health {
    began: Instant,
    /// While it is up.
    failures: AtomicU32,
    /// How often it was tried in vain since it went down.
    vain_tries: AtomicU32,
    /// Milliseconds after `began`; 0 while the endpoint is up.
    down_until_ms: AtomicU64,
}

impl Health {
    /// The health of an endpoint that came to be now: it is up.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            failures: AtomicU32::new(0),
            vain_tries: AtomicU32::new(0),
            down_until_ms: AtomicU64::new(0),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.down_until_ms.load(Ordering::Relaxed) == 0
    }

    /// When it may be tried again, for comparison with other endpoints that began with it.
    pub(super) fn due(&self) -> u64 {
        self.down_until_ms.load(Ordering::Relaxed)
    }

    pub(super) fn may_be_tried(&self, now: Instant) -> bool {
        self.millis(now) >= self.due()
    }

    /// A connection was made, or an old one still worked.
    pub(super) fn connected(&self) {
        // Read before they are written: in the common case nothing is, and no cache line moves between cores. Both are
        // looked at, since another core may have claimed a try in between.
        if self.failures.load(Ordering::Relaxed) != 0 || self.due() != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.vain_tries.store(0, Ordering::Relaxed);
            self.down_until_ms.store(0, Ordering::Relaxed);
        }
    }

    /// No connection could be made; `tried` by the one request that tried an endpoint that is down.
    pub(super) fn failed(&self, now: Instant, tried: bool) {
        if self.is_up() {
            if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_TO_DOWN {
                self.leave_alone(now, FIRST_BACK_OFF);
            }
        } else if tried {
            let doublings = self.vain_tries.fetch_add(1, Ordering::Relaxed).saturating_add(1).min(8);
            self.leave_alone(now, FIRST_BACK_OFF.saturating_mul(1 << doublings).min(LONGEST_BACK_OFF));
        }
    }

    pub(super) fn leave_alone(&self, now: Instant, back_off: Duration) {
        // At least 1: 0 means up.
        self.down_until_ms.store((self.millis(now) + back_off.as_millis() as u64).max(1), Ordering::Relaxed);
    }

    fn millis(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_millis() as u64
    }
}
