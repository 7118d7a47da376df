//! What an endpoint's health checks came to.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::Words;

/// Checks in a row, and whether they made it unhealthy. One check at a time is under way, so there is one writer.
#[derive(Debug, Default)]
pub(super) struct Checked {
    passes: AtomicU32,
    failures: AtomicU32,
    /// How often what it is asked was changed.
    changes: AtomicU32,
    /// 0 while it is healthy.
    pub(super) unhealthy_since_ms: AtomicU64,
    /// When it is asked next.
    due_ms: AtomicU64,
    /// Locked by checks and by people who look, never by requests.
    pub(super) why: Mutex<Option<Words>>,
}

/// Why an endpoint is unhealthy.
#[derive(Debug)]
pub(super) struct Unhealthy {
    pub(super) since_ms: u64,
    pub(super) due_ms: u64,
    /// The last failure.
    pub(super) why: String,
}

impl Checked {
    pub(super) fn is_healthy(&self) -> bool {
        self.unhealthy_since_ms.load(Ordering::Relaxed) == 0
    }

    pub(super) fn unhealthy(&self) -> Option<Unhealthy> {
        let (since_ms, why) = self.failing()?;
        let why = format!("its health check fails: {why}");
        Some(Unhealthy { since_ms, due_ms: self.due_ms.load(Ordering::Relaxed), why })
    }

    /// Since when it is unhealthy, and the last failure; none while it is healthy.
    pub(super) fn failing(&self) -> Option<(u64, String)> {
        let since_ms = self.unhealthy_since_ms.load(Ordering::Relaxed);
        (since_ms > 0).then(|| (since_ms, self.why.lock().as_ref().map_or_else(String::new, ToString::to_string)))
    }

    /// A check passed: whether it is healthy again.
    pub(super) fn passed(&self, healthy: u32) -> bool {
        self.failures.store(0, Ordering::Relaxed);
        if self.is_healthy() {
            return false;
        }
        let is_again = self.passes.fetch_add(1, Ordering::Relaxed) + 1 >= healthy;
        if is_again {
            self.unhealthy_since_ms.store(0, Ordering::Relaxed);
        }
        is_again
    }

    /// A check failed.
    pub(super) fn failed(&self, unhealthy: u32, why: &str, now_ms: u64) {
        self.passes.store(0, Ordering::Relaxed);
        *self.why.lock() = Some(why.into());
        if self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= unhealthy && self.is_healthy() {
            self.unhealthy_since_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    pub(super) fn is_due(&self, at_ms: u64) {
        self.due_ms.store(at_ms, Ordering::Relaxed);
    }

    pub(super) fn changes(&self) -> u32 {
        self.changes.load(Ordering::Relaxed)
    }

    pub(super) fn forget(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        self.passes.store(0, Ordering::Relaxed);
        self.unhealthy_since_ms.store(0, Ordering::Relaxed);
    }
}
