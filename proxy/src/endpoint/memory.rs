//! What speaks against an endpoint, taken out of one life and put into the next: of an address that left its name's answer
//! and comes back, and of a process that ends and is begun again. All of it ends as it would have in the first life.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_64;

use super::health::{Health, LONGEST_BACK_OFF, LONGEST_EJECTION};
use super::{Address, Care, Contact, Endpoint, Known};

/// So long at most what is known of an endpoint that is away may still count: an ejection lasts five minutes, and the next
/// one within another five is one in a row.
pub const REMEMBERED: Duration = Duration::from_mins(10);

/// Nothing is taken to have begun longer ago: a year.
const LONGEST_SINCE: Duration = Duration::from_hours(365 * 24);

/// What speaks against an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// It cannot be connected to.
    pub down: Option<Down>,
    /// Its health checks fail.
    pub unhealthy: Option<Unhealthy>,
    /// It is ejected, or was not long ago.
    pub ejected: Option<Ejected>,
}

/// An endpoint that cannot be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    /// Since when.
    pub since: Instant,
    /// Until when it is left alone.
    pub until: Instant,
    /// How often it was tried in vain.
    pub tries: u32,
    /// Why, in words; none where that is not known.
    pub why: Option<String>,
}

/// An endpoint whose health checks fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unhealthy {
    /// Since when.
    pub since: Instant,
    /// The last failure, in words.
    pub why: String,
    /// What it was asked, as a number that no other question has.
    pub check: String,
}

/// An endpoint that was ejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ejected {
    /// Since when.
    pub since: Instant,
    /// Until when; that may be over.
    pub until: Instant,
    /// How often in a row it was before.
    pub times: u32,
    /// Why, in words.
    pub cause: String,
}

impl Memory {
    /// Whether nothing speaks against it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// When the first of all that began.
    pub(super) fn began(&self) -> Option<Instant> {
        let down = self.down.as_ref().map(|it| it.since);
        let unhealthy = self.unhealthy.as_ref().map(|it| it.since);
        let ejected = self.ejected.as_ref().map(|it| it.since.min(it.until));
        [down, unhealthy, ejected].into_iter().flatten().min()
    }

    /// As much of it as holds under these rules: what health checks came to where they ask the same, and nothing for longer
    /// than it could last from now on, whatever the clock did.
    fn under(mut self, care: &Care, now: Instant) -> Self {
        let asked = care.question();
        let bounded =
            |at: Instant, most: Duration| at.max(now.checked_sub(LONGEST_SINCE).unwrap_or(now)).min(now + most);
        self.down = self.down.map(|it| Down {
            since: bounded(it.since, Duration::ZERO),
            until: bounded(it.until, LONGEST_BACK_OFF),
            ..it
        });
        let unhealthy = self.unhealthy.filter(|it| Some(&it.check) == asked.as_ref());
        self.unhealthy = unhealthy.map(|it| Unhealthy { since: bounded(it.since, Duration::ZERO), ..it });
        self.ejected = self.ejected.zip(care.ejection).map(|(it, rule)| Ejected {
            since: bounded(it.since, Duration::ZERO),
            until: bounded(it.until, LONGEST_EJECTION.max(rule.first)),
            ..it
        });
        self
    }
}

impl Care {
    /// What endpoints are asked, as a number that no other question has.
    fn question(&self) -> Option<String> {
        self.health.as_ref().map(|check| format!("{:016x}", xxh3_64(format!("{check:?}").as_bytes())))
    }
}

/// Whether an endpoint is among its version's. One that is away is not counted there, though it is known.
#[derive(Debug)]
pub(super) struct Presence(AtomicBool);

impl Presence {
    pub(super) const fn new() -> Self {
        Self(AtomicBool::new(true))
    }

    pub(super) fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Endpoint {
    /// An endpoint that is away, of which this was known.
    pub(crate) fn remembered(
        written: config::Endpoint,
        address: Address,
        contact: &Contact,
        care: &Arc<Care>,
        memory: Memory,
        now: Instant,
    ) -> Self {
        let memory = memory.under(care, now);
        let known = Known::with(Health::remembered(&memory, now));
        known.presence.0.store(false, Ordering::Relaxed);
        Self::with(written, address, 0, contact, care, Arc::new(known))
    }

    /// What speaks against it now.
    pub(crate) fn memory(&self, now: Instant) -> Memory {
        let mut memory = self.known.health.memory(now);
        if let Some(unhealthy) = &mut memory.unhealthy {
            unhealthy.check = self.care.question().unwrap_or_default();
        }
        memory
    }

    /// It is among its version's endpoints from now on. Where it was away and is ejected still, it stays so as far as the
    /// rule lets one more be.
    pub(crate) fn comes(&self, now: Instant) {
        let presence = &self.known.presence.0;
        if presence.load(Ordering::Relaxed) || presence.swap(true, Ordering::Relaxed) {
            return;
        }
        if self.known.health.is_ejected(now)
            && !self.care.ejection.is_some_and(|rule| self.care.ledger.readmits(rule, &self.known, now))
        {
            self.known.health.ends_ejection(now);
        }
    }

    /// It is not among its version's endpoints any more.
    pub(crate) fn goes(&self) {
        self.known.presence.0.store(false, Ordering::Relaxed);
    }

    /// Whether its health checks fail.
    pub(crate) fn is_unhealthy(&self) -> bool {
        self.known.health.is_unhealthy()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use config::HealthCheck;
    use config::HealthQuestion;

    use super::super::{State, health::Cause};

    /// The care of a version of two endpoints, in one life.
    fn cares(health: Option<HealthCheck>) -> Arc<Care> {
        Arc::new(Care { health, ..Care::usual(2) })
    }

    fn endpoint(care: &Arc<Care>, now: Instant) -> Endpoint {
        let (written, address) = place();
        Endpoint::new(written, address, 0, &Contact::plain(), care, now)
    }

    fn place() -> (config::Endpoint, Address) {
        let written = config::Endpoint::Tcp { host: "127.0.0.1".into(), port: 1, tls: false };
        (written, Address::Tcp(([127, 0, 0, 1], 1).into()))
    }

    /// The same endpoint in its next life.
    fn again(memory: Memory, health: Option<HealthCheck>, now: Instant) -> Endpoint {
        let (written, address) = place();
        let endpoint = Endpoint::remembered(written, address, &Contact::plain(), &cares(health), memory, now);
        endpoint.comes(now);
        endpoint
    }

    fn checks() -> HealthCheck {
        HealthCheck::of(HealthQuestion::Connect)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn nothing_speaks_against_one_that_is_well() {
        let (care, now) = (cares(None), Instant::now());
        assert!(endpoint(&care, now).memory(now + SECOND).is_empty());
    }

    #[test]
    fn one_that_is_down_is_tried_when_it_would_have_been_and_then_as_seldom() {
        let (care, now) = (cares(None), Instant::now());
        let first = endpoint(&care, now);
        (0..3).for_each(|_| first.known.health.failed_to_connect(now, false));
        (0..3).for_each(|_| first.known.health.failed_to_connect(now, true));
        first.is_unreachable(super::super::Unreachable::Refused);
        let next = again(first.memory(now), None, now + SECOND);
        assert_eq!(next.standing(now + SECOND), first.standing(now + SECOND));
        assert!(!next.may_be_tried(now + SECOND * 7) && next.may_be_tried(now + SECOND * 8));
        next.known.health.failed_to_connect(now + SECOND * 8, true);
        assert!(!next.may_be_tried(now + SECOND * 23) && next.may_be_tried(now + SECOND * 24));
        next.connected(now + SECOND * 24);
        assert!(next.memory(now + SECOND * 24).is_empty());
    }

    #[test]
    fn one_that_is_unhealthy_stays_so_where_it_is_asked_the_same() {
        let now = Instant::now();
        let first = endpoint(&cares(Some(checks())), now);
        (0..5).for_each(|_| first.failed_check(&checks(), "it answered 503", now));
        let memory = first.memory(now);
        let next = again(memory.clone(), Some(checks()), now + SECOND);
        let standing = next.standing(now + SECOND);
        assert_eq!((standing.state, standing.since), (State::Unhealthy, Some(now)));
        assert_eq!(standing.reason.as_deref(), Some("its health check fails: it answered 503"));
        (0..5).for_each(|_| next.passed_check(&checks(), now + SECOND));
        assert_eq!(next.standing(now + SECOND).state, State::Well);
        let other = HealthCheck { unhealthy: 7, ..checks() };
        for health in [Some(other), None] {
            assert_eq!(again(memory.clone(), health, now).standing(now).state, State::Well);
        }
    }

    #[test]
    fn one_that_is_ejected_stays_so_until_its_time_and_is_ejected_for_longer_the_next_time() {
        let (care, now) = (cares(None), Instant::now());
        let first = endpoint(&care, now);
        first.eject(Cause::Silence, now);
        let next = again(first.memory(now + SECOND), None, now + SECOND * 2);
        assert_eq!(next.standing(now + SECOND * 2), first.standing(now + SECOND * 2));
        assert!(!next.is_fit(now + SECOND * 9) && next.is_fit(now + SECOND * 10));
        // It was a while ago, and counts still.
        let later = now + SECOND * 200;
        let last = again(next.memory(later), None, later);
        assert!(last.is_fit(later));
        last.eject(Cause::Failures, later);
        assert!(!last.is_fit(later + SECOND * 19) && last.is_fit(later + SECOND * 20));
        assert!(again(first.memory(now + SECOND * 400), None, now + SECOND * 400).memory(now).is_empty());
    }

    #[test]
    fn nothing_lasts_longer_than_it_could_whatever_the_clock_did() {
        let now = Instant::now();
        let (hour, words) = (SECOND * 3600, String::new);
        let memory = Memory {
            down: Some(Down { since: now + hour, until: now + hour, tries: u32::MAX, why: None }),
            unhealthy: None,
            ejected: Some(Ejected { since: now + hour, until: now + hour, times: u32::MAX, cause: words() }),
        };
        let endpoint = again(memory, None, now);
        assert!(endpoint.may_be_tried(now + LONGEST_BACK_OFF) && endpoint.is_fit(now + LONGEST_EJECTION));
        let standing = endpoint.standing(now);
        assert_eq!((standing.state, standing.since), (State::Down, Some(now)));
        endpoint.known.health.failed_to_connect(now, true);
        assert!(endpoint.may_be_tried(now + LONGEST_BACK_OFF));
    }

    #[test]
    fn no_more_come_back_ejected_than_may_be_and_those_who_are_away_are_not_counted() {
        let (care, now) = (cares(None), Instant::now());
        let [one, other] = [endpoint(&care, now), endpoint(&care, now)];
        one.eject(Cause::Failures, now);
        other.eject(Cause::Failures, now);
        assert!(!one.is_fit(now) && other.is_fit(now), "half of two");
        one.goes();
        other.eject(Cause::Failures, now);
        assert!(!other.is_fit(now), "the one that is away takes nobody's place");
        one.comes(now);
        assert!(one.is_fit(now) && !other.is_fit(now), "half of two");
    }
}
