//! What the endpoints of a version have in common: the rules by which they are cared for, and what came of it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use config::{Ejection, HealthCheck};
use parking_lot::Mutex;

use super::Known;
use crate::upstream_stream::{Flaw, FlawCounts};

/// How the endpoints of a version are cared for. Two are the same where their rules are.
#[derive(Debug, Clone)]
pub struct Care {
    /// What they are asked; none: nothing.
    pub(crate) health: Option<HealthCheck>,
    /// When traffic shows that one is ill; none: never.
    pub(super) ejection: Option<Ejection>,
    /// How long one takes to come back to its full share.
    pub(super) slow_start: Duration,
    pub(super) ledger: Arc<Ledger>,
}

impl PartialEq for Care {
    fn eq(&self, other: &Self) -> bool {
        (&self.health, &self.ejection, self.slow_start) == (&other.health, &other.ejection, other.slow_start)
    }
}

/// What came of the care for a version. Kept over reloads while the version stays.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// How many endpoints the version has now.
    endpoints: AtomicUsize,
    /// Those that are ejected, and some that were. Locked where one is to be ejected, and only there.
    ejected: Mutex<Vec<Weak<Known>>>,
    ejections: AtomicU64,
    passed: AtomicU64,
    failed: AtomicU64,
    /// What endpoints sent that is not what HTTP says.
    pub(super) flaws: FlawCounts,
    /// Whether all endpoints were used for want of enough that are well, when somebody looked last.
    panicked: AtomicBool,
}

/// Counts of a version since it came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CareCounts {
    /// Endpoints that were ejected.
    pub ejections: u64,
    /// Health checks that passed.
    pub checks_passed: u64,
    /// Health checks that failed.
    pub checks_failed: u64,
    /// Responses that were not what HTTP says, in the order of [`Flaw::ALL`].
    pub flaws: [u64; Flaw::ALL.len()],
}

impl Care {
    /// The care that a version asks for; what came of it before is `known`'s.
    #[must_use]
    pub fn of(version: &config::Version, known: Option<&Self>) -> Self {
        let ledger = known.map(|known| Arc::clone(&known.ledger)).unwrap_or_default();
        let config::Version { health, ejection, slow_start, .. } = version;
        Self { health: health.clone(), ejection: *ejection, slow_start: *slow_start, ledger }
    }

    /// The version has so many endpoints from now on.
    pub fn has(&self, endpoints: usize) {
        self.ledger.endpoints.store(endpoints, Ordering::Relaxed);
    }

    /// What came of it.
    #[must_use]
    pub fn counts(&self) -> CareCounts {
        CareCounts {
            ejections: self.ledger.ejections.load(Ordering::Relaxed),
            checks_passed: self.ledger.passed.load(Ordering::Relaxed),
            checks_failed: self.ledger.failed.load(Ordering::Relaxed),
            flaws: self.ledger.flaws.get(),
        }
    }

    /// Whether its endpoints have health checks.
    #[must_use]
    pub const fn asks(&self) -> bool {
        self.health.is_some()
    }

    /// Whether outliers among the endpoints are ejected.
    pub(crate) fn ejects_outliers(&self) -> bool {
        self.ejection.is_some_and(|rule| rule.by_success_rate)
    }

    /// Whether it was so when somebody looked last; from now on it is as told.
    pub(crate) fn was_panicking(&self, is_now: bool) -> bool {
        self.ledger.panicked.swap(is_now, Ordering::Relaxed)
    }
}

impl Ledger {
    pub(super) fn checked(&self, passed: bool) {
        let count = if passed { &self.passed } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether `known` is ejected, or would be for good cause.
    pub(super) fn has_room(&self, rule: Ejection, known: &Known, now: Instant) -> bool {
        known.health.is_ejected(now) || self.room(&mut self.ejected.lock(), rule, now)
    }

    /// Whether one more may be ejected. Forgets those that are no more.
    fn room(&self, ejected: &mut Vec<Weak<Known>>, rule: Ejection, now: Instant) -> bool {
        ejected.retain(|one| one.upgrade().is_some_and(|one| one.health.is_ejected(now)));
        let there = ejected.iter().filter_map(Weak::upgrade).filter(|one| one.presence.is_there()).count();
        there < rule.most_of(self.endpoints.load(Ordering::Relaxed))
    }

    /// Whether `known`, which is ejected and was away, stays so: as far as the rule lets one more be.
    pub(super) fn readmits(&self, rule: Ejection, known: &Arc<Known>, now: Instant) -> bool {
        let mut ejected = self.ejected.lock();
        ejected.retain(|one| !std::ptr::eq(one.as_ptr(), Arc::as_ptr(known)));
        let has_room = self.room(&mut ejected, rule, now);
        if has_room {
            ejected.push(Arc::downgrade(known));
        }
        has_room
    }

    /// Has `known` ejected by `leave`, where the rule lets one more be: at most its part of the version's endpoints, and
    /// never the only one.
    pub(super) fn eject(&self, rule: Ejection, known: &Arc<Known>, now: Instant, leave: impl FnOnce()) {
        let mut ejected = self.ejected.lock();
        if self.room(&mut ejected, rule, now) && !known.health.is_ejected(now) {
            leave();
            ejected.push(Arc::downgrade(known));
            self.ejections.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
impl Care {
    /// No checks, and everything else at its default, for so many endpoints.
    pub(crate) fn usual(endpoints: usize) -> Self {
        let ledger = Ledger { endpoints: AtomicUsize::new(endpoints), ..Ledger::default() };
        let slow_start = config::Version::SLOW_START;
        Self { health: None, ejection: Some(Ejection::default()), slow_start, ledger: Arc::new(ledger) }
    }
}
