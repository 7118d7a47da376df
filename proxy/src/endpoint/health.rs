//! How an endpoint does, by all that tells: connections to it, health checks, and what became of its requests.
//!
//! The data path reads atomics alone. Moments are milliseconds after the endpoint came to be, and one more, so that 0
//! means never.

mod checked;
mod conduct;
mod reach;
mod remembered;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use self::checked::Checked;
use self::conduct::Conduct;
pub(super) use self::conduct::{Cause, LONGEST as LONGEST_EJECTION};
#[cfg(test)]
pub(super) use self::reach::FAILURES_TO_DOWN;
use self::reach::Reach;
pub(super) use self::reach::{FIRST_BACK_OFF, LONGEST_BACK_OFF};
use super::unreachable::Unreachable;

/// Falling ill counts once in so long: as long as a budget for retries reckons.
const ONCE_IN: Duration = Duration::from_secs(10);
/// The share that an endpoint has when it comes back, of its full one.
const FIRST_SHARE: f64 = 0.1;

/// How an endpoint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// It takes requests.
    #[default]
    Well,
    /// Its health checks fail.
    Unhealthy,
    /// Its requests failed, so it is left alone for a while.
    Ejected,
    /// It cannot be connected to.
    Down,
}

impl State {
    /// The word in logs, the API and status.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::Down => "down",
        }
    }
}

/// How an endpoint does, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// How it does. What is worse goes first: down, unhealthy, ejected.
    pub state: State,
    /// Why, in words; none for one that is well.
    pub reason: Option<String>,
    /// Since when; none for one that was always well.
    pub since: Option<Instant>,
    /// When it is tried or asked again, or takes requests again; none for one that is well.
    pub next_try: Option<Instant>,
    /// The share of requests that it takes while it comes back, of its full one.
    pub share: f64,
}

/// What is known of how an endpoint does.
#[derive(Debug)]
pub(super) struct Health {
    began: Instant,
    reach: Reach,
    checked: Checked,
    conduct: Conduct,
    /// When it was reached or found healthy again, last.
    back_ms: AtomicU64,
    /// When it fell ill last: it went down, was ejected, or so many requests in a row had failed that it ought to be.
    ill_ms: AtomicU64,
}

impl Health {
    /// The health of an endpoint that came to be now: it is well.
    pub(super) fn new(now: Instant) -> Self {
        let (reach, checked, conduct) = (Reach::default(), Checked::default(), Conduct::default());
        Self { began: now, reach, checked, conduct, back_ms: AtomicU64::new(0), ill_ms: AtomicU64::new(0) }
    }

    /// Whether its health checks fail.
    pub(super) fn is_unhealthy(&self) -> bool {
        !self.checked.is_healthy()
    }

    /// Whether its last connections did not fail.
    pub(super) fn is_up(&self) -> bool {
        self.reach.is_up()
    }

    /// Whether no connection to it failed, as far as is known.
    pub(super) fn is_untroubled(&self) -> bool {
        self.reach.is_untroubled()
    }

    /// Whether the last connection to it was made.
    pub(super) fn is_reached(&self) -> bool {
        self.reach.was_reached() && self.reach.is_untroubled()
    }

    /// When it may be tried again, for comparison with other endpoints that began with it.
    pub(super) fn due(&self) -> u64 {
        self.reach.due()
    }

    /// Whether it is up, or its back-off is over.
    pub(super) fn may_be_tried(&self, now: Instant) -> bool {
        self.is_up() || self.millis(now) >= self.due()
    }

    /// Whether neither health checks nor its conduct speak against it.
    pub(super) fn is_fit(&self, now: Instant) -> bool {
        self.checked.is_healthy() && !self.is_ejected(now)
    }

    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        self.conduct.was_ever_ejected() && self.conduct.is_ejected(self.millis(now))
    }

    /// Whether it is ejected now, for this.
    pub(super) fn is_ejected_for(&self, cause: Cause, now: Instant) -> bool {
        self.is_ejected(now) && self.conduct.last_ejection().cause == cause
    }

    /// The share of requests that it takes, of its full one: that of one which came back grows from 10 % to all of it
    /// over `slow_start`.
    pub(super) fn share(&self, now: Instant, slow_start: Duration) -> f64 {
        let back_ms = self.back_ms();
        let whole_ms = in_millis(slow_start);
        if back_ms == 0 {
            return 1.0;
        }
        // Of one that is ejected still, it begins then.
        let since_ms = self.millis(now).saturating_sub(back_ms);
        if since_ms >= whole_ms {
            return 1.0;
        }
        FIRST_SHARE + (1.0 - FIRST_SHARE) * since_ms as f64 / whole_ms as f64
    }

    /// A connection was made, or an old one still worked.
    pub(super) fn connected(&self, now: Instant) {
        if self.reach.connected() {
            self.is_back(now);
        }
    }

    /// It is new among endpoints that were there before: it takes as long as one that comes back.
    pub(super) fn begins_slowly(&self, now: Instant) {
        self.is_back(now);
    }

    /// No connection could be made; `tried` by the one request that tried an endpoint that is down.
    pub(super) fn failed_to_connect(&self, now: Instant, tried: bool) {
        let was_up = self.reach.is_up();
        self.reach.failed(self.millis(now), tried);
        if was_up && !self.reach.is_up() {
            self.falls_ill(now);
        }
    }

    /// Connections to it fail for this, as far as is known.
    pub(super) fn is_unreachable(&self, why: Unreachable) {
        self.reach.fails_for(why);
    }

    /// A connection was made, and ended by an alert in place of an answer.
    pub(super) fn refused(&self, now: Instant) {
        self.reach.refused(self.millis(now));
    }

    /// It is ill from now on, as its requests tell. Not where it was said not long ago: one that is ill again and again
    /// must not be a way past the budget for retries.
    pub(super) fn falls_ill(&self, now: Instant) {
        let (now_ms, before_ms) = (self.millis(now), self.ill_ms.load(Ordering::Relaxed));
        if before_ms == 0 || now_ms.saturating_sub(before_ms) >= in_millis(ONCE_IN) {
            // Of two cores that say so at once either is right.
            self.ill_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// Whether it fell ill not long ago, and has not come back since.
    pub(super) fn is_ill(&self, now: Instant) -> bool {
        let (ill_ms, back_ms) = (self.ill_ms.load(Ordering::Relaxed), self.back_ms.load(Ordering::Relaxed));
        ill_ms > 0 && back_ms <= ill_ms && self.millis(now).saturating_sub(ill_ms) < in_millis(ONCE_IN)
    }

    /// Whether it fell ill not long ago, and after this moment.
    pub(super) fn fell_ill_after(&self, came: Instant, now: Instant) -> bool {
        let ill_ms = self.ill_ms.load(Ordering::Relaxed);
        ill_ms > 0 && self.millis(came) <= ill_ms && self.millis(now).saturating_sub(ill_ms) < in_millis(ONCE_IN)
    }

    pub(super) fn leave_alone(&self, now: Instant, back_off: Duration) {
        self.reach.leave_alone(self.millis(now), back_off);
    }

    /// A request that began then was answered well.
    pub(super) fn served(&self, began: Instant) {
        self.reach.answered();
        self.conduct.served(|| self.millis(began));
    }

    /// A request that began then failed: how many have, in a row. None where that says nothing of how it does now: it is
    /// down, or the request is from before its last ejection was over.
    pub(super) fn failed(&self, began: Instant) -> Option<u32> {
        if self.is_up() { self.conduct.failed(self.millis(began)) } else { None }
    }

    /// It is ejected, longer each time in a row.
    pub(super) fn eject(&self, cause: Cause, first: Duration, now: Instant) {
        self.conduct.eject(cause, first, self.millis(now));
    }

    /// Requests, and how many of them failed, since this was last asked.
    pub(super) fn take_rates(&self) -> (u32, u32) {
        self.conduct.take_rates()
    }

    /// A health check passed; it takes so many in a row to be healthy again.
    pub(super) fn passed(&self, healthy: u32, now: Instant) {
        if self.checked.passed(healthy) {
            self.is_back(now);
        }
        // Who answers can be reached: no user has to try.
        self.connected(now);
    }

    /// A health check failed; it takes so many in a row to be unhealthy.
    pub(super) fn failed_check(&self, unhealthy: u32, why: &str, now: Instant) {
        self.checked.failed(unhealthy, why, self.millis(now));
    }

    /// It is asked next then.
    pub(super) fn is_asked_at(&self, at: Instant) {
        self.checked.is_due(self.millis(at));
    }

    /// How often what it is asked was changed.
    pub(super) fn check_changes(&self) -> u32 {
        self.checked.changes()
    }

    /// It is asked something else from now on, or nothing.
    pub(super) fn forget_checks(&self) {
        self.checked.forget();
    }

    /// It is ejected no more, whatever it does.
    pub(super) fn forget_conduct(&self) {
        self.conduct.forget();
    }

    pub(super) fn standing(&self, now: Instant, slow_start: Duration) -> Standing {
        let now_ms = self.millis(now);
        let at = |ms: u64| Some(self.began + Duration::from_millis(ms.checked_sub(1)?));
        let (state, reason, since_ms, next_ms) = if !self.reach.is_up() {
            let reason = self.reach.why().map_or("connections to it fail", Unreachable::words).to_owned();
            (State::Down, Some(reason), self.reach.since(), self.reach.due())
        } else if let Some(failure) = self.checked.unhealthy() {
            (State::Unhealthy, Some(failure.why), failure.since_ms, failure.due_ms)
        } else if self.conduct.is_ejected(now_ms) {
            let ejected = self.conduct.last_ejection();
            (State::Ejected, Some(ejected.cause.words()), ejected.since_ms, ejected.until_ms)
        } else {
            (State::Well, None, self.back_ms(), 0)
        };
        Standing { state, reason, since: at(since_ms), next_try: at(next_ms), share: self.share(now, slow_start) }
    }

    /// When it came back last.
    pub(super) fn back_ms(&self) -> u64 {
        self.back_ms.load(Ordering::Relaxed).max(self.conduct.back_ms())
    }

    fn is_back(&self, now: Instant) {
        self.back_ms.store(self.millis(now), Ordering::Relaxed);
    }

    /// One more than it is, since 0 means never.
    pub(super) fn millis(&self, now: Instant) -> u64 {
        in_millis(now.saturating_duration_since(self.began)) + 1
    }
}

fn in_millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// An endpoint's words, kept by whoever tells of them.
type Words = Arc<str>;

#[cfg(test)]
mod tests;
