//! Endpoints: where a version's requests go, how many are there, and how each does.

mod care;
mod contact;
mod credentials;
mod health;
mod in_flight;
mod memory;
mod outliers;
mod picking;
mod refusals;
mod silence;
mod unreachable;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pingora_core::upstreams::peer::{HttpPeer, Peer};

pub use self::care::{Care, CareCounts};
pub use self::contact::Contact;
pub(crate) use self::contact::is_for_one_request;
pub use self::credentials::{Credentials, check};
use self::health::{Cause, FIRST_BACK_OFF, Health};
pub use self::health::{Standing, State};
pub use self::in_flight::InFlight;
pub(crate) use self::in_flight::Said;
use self::memory::Presence;
pub use self::memory::{Down, Ejected, Memory, REMEMBERED, Unhealthy};
pub use self::picking::{Ask, Balancer, Unavailable, is_panicking};
use self::picking::{Latency, Moment};
use self::refusals::Refusals;
use self::silence::Silence;
pub use self::unreachable::Unreachable;
use crate::upstream_stream::Flaw;

/// Where an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// What a name resolved to.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// The address, where it is one of TCP.
    #[must_use]
    pub const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One endpoint of a version, with its peer built beforehand. What is known of it is kept over reloads while its
/// address stays.
#[derive(Debug)]
pub struct Endpoint {
    /// As the operator wrote it.
    pub written: config::Endpoint,
    /// What that resolved to.
    pub address: Address,
    /// Its place in its version, as outcomes name it.
    pub place: u16,
    contact: Contact,
    care: Arc<Care>,
    peer: HttpPeer,
    /// What pingora is given in its stead where the connection is ours to make.
    outer: Option<HttpPeer>,
    /// What tells connections there from others.
    pool_key: u64,
    known: Arc<Known>,
}

/// What is known of an endpoint, however it is spoken to.
#[derive(Debug)]
struct Known {
    in_flight: AtomicU64,
    /// Those of them that [last](InFlight::lasts).
    lasting: AtomicU64,
    health: Health,
    latency: Latency,
    refusals: Refusals,
    silence: Silence,
    /// How it did when the log was told last.
    told: AtomicU8,
    presence: Presence,
}

impl Known {
    fn with(health: Health) -> Self {
        Self {
            in_flight: AtomicU64::new(0),
            lasting: AtomicU64::new(0),
            health,
            latency: Latency::default(),
            refusals: Refusals::default(),
            silence: Silence::default(),
            told: AtomicU8::new(State::Well as u8),
            presence: Presence::new(),
        }
    }

    fn moment(&self, now: Instant) -> Moment {
        Moment { at_ms: self.health.millis(now), back_ms: self.health.back_ms() }
    }
}

impl Endpoint {
    /// An endpoint that is well. `now` is when it came to be.
    #[must_use]
    pub fn new(
        written: config::Endpoint,
        address: Address,
        place: u16,
        contact: &Contact,
        care: &Arc<Care>,
        now: Instant,
    ) -> Self {
        Self::with(written, address, place, contact, care, Arc::new(Known::with(Health::new(now))))
    }

    /// The same endpoint under what is written now: itself where nothing changed; else another that knows all it knew.
    /// What health checks came to is kept while it is asked the same.
    #[must_use]
    pub fn under(self: &Arc<Self>, place: u16, contact: &Contact, care: &Arc<Care>) -> Arc<Self> {
        if (self.place, &self.contact, &*self.care) == (place, contact, &**care) {
            return Arc::clone(self);
        }
        if self.care.health != care.health {
            self.known.health.forget_checks();
        }
        if care.ejection.is_none() {
            self.known.health.forget_conduct();
        }
        let (written, address) = (self.written.clone(), self.address.clone());
        Arc::new(Self::with(written, address, place, contact, care, Arc::clone(&self.known)))
    }

    fn with(
        written: config::Endpoint,
        address: Address,
        place: u16,
        contact: &Contact,
        care: &Arc<Care>,
        known: Arc<Known>,
    ) -> Self {
        let peer = contact.peer(&written, &address);
        let (outer, pool_key) = (contact.outer(&peer), peer.reuse_hash());
        Self { written, address, place, contact: contact.clone(), care: Arc::clone(care), peer, outer, pool_key, known }
    }

    /// What pingora is given where the connection is made by a link; none in HTTP/2.
    pub(crate) fn outer(&self) -> Option<Box<HttpPeer>> {
        self.outer.clone().map(Box::new)
    }

    /// What a link connects to.
    pub(crate) const fn dialled(&self) -> &HttpPeer {
        &self.peer
    }

    /// What tells connections there from others: who it is, and how it is spoken to.
    pub(crate) const fn pool_key(&self) -> u64 {
        self.pool_key
    }

    /// How long an unused connection is kept.
    pub(crate) const fn patience(&self) -> Duration {
        self.contact.patience()
    }

    /// It sent something that is not what HTTP says.
    pub(crate) fn malformed(&self, flaw: Flaw) {
        self.care.ledger.flaws.count(flaw);
    }

    /// What pingora connects to. A clone costs a few hundred instructions; building one would parse and resolve.
    #[must_use]
    pub fn peer(&self) -> Box<HttpPeer> {
        let mut peer = Box::new(self.peer.clone());
        if self.in_flight() > contact::OWN_CONNECTIONS {
            self.contact.share(&mut peer);
        }
        peer
    }

    /// Requests that are there now.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.known.in_flight.load(Ordering::Relaxed)
    }

    /// How much there is to do: requests that are there now, but for those that last.
    #[must_use]
    pub fn load(&self) -> u64 {
        self.in_flight().saturating_sub(self.known.lasting.load(Ordering::Relaxed))
    }

    /// How it does.
    #[must_use]
    pub fn standing(&self, now: Instant) -> Standing {
        self.known.health.standing(now, self.care.slow_start)
    }

    /// Whether its last connections did not fail.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.known.health.is_up()
    }

    /// A connection was made, or an old one still worked.
    pub fn connected(&self, now: Instant) {
        self.known.health.connected(now);
    }

    /// Connections to it fail for this, as far as is known.
    pub(crate) fn is_unreachable(&self, why: Unreachable) {
        self.known.health.is_unreachable(why);
    }

    /// No connection could be opened ahead: remembered as that of a request.
    pub(crate) fn failed_ahead(&self, now: Instant) {
        self.known.health.failed_to_connect(now, false);
    }

    /// For how long it might have been tried and was not; none where it is up, or is left alone still.
    pub(crate) fn untried_for(&self, now: Instant) -> Option<Duration> {
        let health = &self.known.health;
        let due_ms = Some(health.due()).filter(|_| !health.is_up())?;
        health.millis(now).checked_sub(due_ms).map(Duration::from_millis)
    }

    /// Somebody tries it from now on; the others wait for what comes of it.
    pub(crate) fn is_tried(&self, now: Instant) {
        self.known.health.leave_alone(now, self.claim());
    }

    /// It was tried in vain.
    pub(crate) fn failed_try(&self, why: Unreachable, now: Instant) {
        self.is_unreachable(why);
        self.known.health.failed_to_connect(now, true);
    }

    /// Whether it is up, or its back-off is over so that it may be tried.
    fn may_be_tried(&self, now: Instant) -> bool {
        self.known.health.may_be_tried(now)
    }

    /// Whether neither health checks nor its conduct speak against it.
    fn is_fit(&self, now: Instant) -> bool {
        self.known.health.is_fit(now)
    }

    /// Whether it takes part in this choice: at random, as its share is while it comes back.
    fn takes_part(&self, now: Instant) -> bool {
        let share = self.known.health.share(now, self.care.slow_start);
        share >= 1.0 || fastrand::f64() < share
    }

    /// Whether it takes part in the choice for this key: always for the same keys, and for more the longer it is back.
    fn takes_key(&self, key: u64, now: Instant) -> bool {
        let share = self.known.health.share(now, self.care.slow_start);
        share >= 1.0 || f64::from(key as u32) / (f64::from(u32::MAX) + 1.0) < share
    }

    /// Whether it turns nearly everything away.
    fn turns_away(&self) -> bool {
        self.known.refusals.are_nearly_all()
    }

    /// How long its responses take to begin, lately and in microseconds; none where nothing is known.
    fn latency_us(&self, now: Instant) -> Option<f32> {
        self.known.latency.get(|| self.known.moment(now))
    }

    /// A request failed there.
    #[cold]
    fn failed(&self, began: Instant, now: Instant) {
        let Some(rule) = self.care.ejection else { return };
        let Some(failures) = self.known.health.failed(began) else { return };
        // Once each so many: where no more may be ejected, few ask.
        if failures.is_multiple_of(rule.failures.max(1)) {
            self.known.health.falls_ill(now);
            self.eject(Cause::Failures, now);
        }
    }

    /// Whether it has ever answered well: so it is known how long its answers take.
    pub(crate) fn has_answered(&self) -> bool {
        self.known.silence.usual().is_some()
    }

    /// How long its answers take to begin. One that never answered well is held to the slowest of `others`.
    fn usual(&self, others: &[Arc<Self>]) -> Option<Duration> {
        let usual = |endpoint: &Self| endpoint.known.silence.usual();
        usual(self).or_else(|| others.iter().filter_map(|other| usual(other)).max())
    }

    /// Whether a request that waits for a response since then, and may wait for so long, does so in vain. With the second
    /// one in a row the endpoint is said to hang, and ejected; one that never answered well, which may be cold, with as
    /// many as may fail in a row. To be asked until it says so, once. `others` show how long answers take, where it does
    /// not.
    pub(crate) fn waits_in_vain(
        &self,
        since: Instant,
        first_byte: Duration,
        others: &[Arc<Self>],
        now: Instant,
    ) -> bool {
        let waited = now.saturating_duration_since(since);
        let known = &self.known;
        let Some(long) = self.care.ejection.map_or(Some(silence::LONG), |rule| rule.hang) else { return false };
        if waited < long.min(first_byte)
            || !known.silence.is_in_vain(known.health.millis(since), waited, self.usual(others))
        {
            return false;
        }
        let Some(rule) = self.care.ejection else { return true };
        let enough = if self.has_answered() { silence::UNANSWERED.min(rule.failures) } else { rule.failures };
        if known.silence.count() >= enough {
            self.eject(Cause::Silence, now);
        }
        true
    }

    /// Somebody waits there who has done so since then.
    pub(crate) fn is_waited_for(&self, since: Instant, now: Instant) {
        let health = &self.known.health;
        self.known.silence.is_waited_for(health.millis(since), health.millis(now));
    }

    /// Whether somebody has waited at one of these endpoints, in vain for as long as this, and none of them has answered
    /// anybody in that time. `others` show how long answers take at one that never answered.
    pub(crate) fn are_silent(endpoints: &[Arc<Self>], long: Duration, others: &[Arc<Self>], now: Instant) -> bool {
        let since = |known: &Known| now.checked_sub(long).map_or(0, |since| known.health.millis(since));
        let is_heard = |endpoint: &Arc<Self>| endpoint.known.silence.is_heard_after(since(&endpoint.known));
        let is_waited_for = |endpoint: &Arc<Self>| {
            let (silence, since_ms) = (&endpoint.known.silence, since(&endpoint.known));
            silence.keeps_waiting(since_ms, endpoint.known.health.millis(now))
                && silence.is_in_vain(since_ms, long, endpoint.usual(others))
        };
        endpoints.iter().any(is_waited_for) && !endpoints.iter().any(is_heard)
    }

    /// Whether it never answered well, and hangs since this moment: with several who wait there in vain, and though it may
    /// be the only one of its version, so that it is not ejected.
    pub(crate) fn hangs_from_its_start(&self, since: Instant) -> bool {
        let known = &self.known;
        !self.has_answered()
            && self.care.ejection.is_some_and(|rule| {
                known.silence.are_unanswered(silence::UNANSWERED.min(rule.failures))
                    && !known.silence.is_heard_after(known.health.millis(since))
            })
    }

    /// Whether it is ejected because it hangs, and has answered nobody after this moment.
    pub(crate) fn has_hung_since(&self, since: Instant, now: Instant) -> bool {
        let known = &self.known;
        known.health.is_ejected_for(Cause::Silence, now) && !known.silence.is_heard_after(known.health.millis(since))
    }

    /// Whether a request that came to this endpoint then is let down because the endpoint fell ill meanwhile, and another of
    /// these endpoints is well. There are no more such requests than were there at that moment.
    pub(crate) fn lets_down(&self, endpoints: &[Arc<Self>], came: Instant, now: Instant) -> bool {
        self.known.health.fell_ill_after(came, now) && self.has_others_that_are_well(endpoints, now)
    }

    /// Whether another of these endpoints is well: it takes requests, and did not fall ill a moment ago.
    pub(crate) fn has_others_that_are_well(&self, endpoints: &[Arc<Self>], now: Instant) -> bool {
        let is_well = |other: &Self| other.is_up() && other.is_fit(now) && !other.known.health.is_ill(now);
        endpoints.iter().any(|other| !other.is_same_place(self) && is_well(other))
    }

    /// Whether it is ejected, or would be for good cause.
    fn may_be_ejected(&self, now: Instant) -> bool {
        self.care.ejection.is_some_and(|rule| self.care.ledger.has_room(rule, &self.known, now))
    }

    fn eject(&self, cause: Cause, now: Instant) {
        let Some(rule) = self.care.ejection else { return };
        let leave = || {
            self.known.health.falls_ill(now);
            self.known.health.eject(cause, rule.first, now);
            self.known.silence.forget();
        };
        self.care.ledger.eject(rule, &self.known, now, leave);
    }

    /// A health check passed.
    pub(crate) fn passed_check(&self, check: &config::HealthCheck, now: Instant) {
        self.care.ledger.checked(true);
        self.known.health.passed(check.healthy, now);
    }

    /// A health check failed; `why` in a few words.
    pub(crate) fn failed_check(&self, check: &config::HealthCheck, why: &str, now: Instant) {
        self.care.ledger.checked(false);
        self.known.health.failed_check(check.unhealthy, why, now);
    }

    /// How often what it is asked was changed: what comes of an earlier question says nothing.
    pub(crate) fn check_changes(&self) -> u32 {
        self.known.health.check_changes()
    }

    /// Its next health check is then.
    pub(crate) fn is_asked_at(&self, at: Instant) {
        self.known.health.is_asked_at(at);
    }

    /// Who it is, over reloads and while anybody holds it.
    pub(crate) fn identity(&self) -> usize {
        Arc::as_ptr(&self.known).addr()
    }

    /// What is spoken to it.
    pub(crate) fn protocol(&self) -> config::Protocol {
        self.contact.protocol()
    }

    /// Whether it did otherwise when this was last asked.
    pub(crate) fn is_news(&self, state: State) -> bool {
        self.known.told.swap(state as u8, Ordering::Relaxed) != state as u8
    }

    /// Whether the other is this endpoint, before or after a reload.
    fn is_same_place(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.known, &other.known)
    }

    /// How long one try may take, while the others wait for what comes of it.
    pub(crate) fn claim(&self) -> Duration {
        self.contact.connect + FIRST_BACK_OFF / 2
    }
}

/// Those of a version's endpoints that were not there `before` begin slowly, where others were: they are as cold as one
/// that comes back. Where all are new there is nobody else to bear the traffic.
pub(crate) fn begin_slowly(before: &[Arc<Endpoint>], endpoints: &[Arc<Endpoint>], now: Instant) {
    let is_known = |endpoint: &&Arc<Endpoint>| before.iter().any(|known| known.is_same_place(endpoint));
    if endpoints.iter().any(|endpoint| is_known(&endpoint)) {
        for endpoint in endpoints.iter().filter(|endpoint| !is_known(endpoint)) {
            endpoint.known.health.begins_slowly(now);
        }
    }
}

/// Ejects those of a version's endpoints that succeed far less often than the others did since this was last called.
pub(crate) fn eject_outliers(endpoints: &[Arc<Endpoint>], now: Instant) {
    let rates: Vec<_> = endpoints.iter().map(|endpoint| endpoint.known.health.take_rates()).collect();
    for place in outliers::outliers(&rates) {
        endpoints[place].eject(Cause::SuccessRate, now);
    }
}
