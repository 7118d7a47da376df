//! One request on its way: what it drew, which attempt is under way, and what each attempt came to.

mod account;
mod again;
mod call;
mod connecting;
mod response;
mod seen;
mod underway;
mod waiting;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meter::{Attempt, Class, Outcome, ServiceMeter};
use pingora_core::upstreams::peer::HttpPeer;

use self::account::Account;
pub(crate) use self::again::Repeatable;
pub(crate) use self::seen::Seen;
use self::seen::Served;
use self::underway::Underway;
use crate::connection::{Asked, UnderWay};
use crate::deadlines::Ending;
use crate::endpoint::{Endpoint, InFlight};
use crate::exchange::Exchange;
use crate::mirror::Mirroring;
use crate::request_body::BodyLimit;
use crate::request_body::silence::Silence;
use crate::retries::Tries;
use crate::routing::{Service, Version};
use crate::selection::{Decision, Issued, Judged, Reason, Selection, Target};
use crate::trace::Trace;
use crate::warming::Errand;

/// Why a tunnel failed.
const STILLBORN: &str = "the service ended the tunnel as soon as it had begun";

/// A stale connection shows within a round trip to the endpoint. What takes longer was work.
const AT_ONCE: Duration = Duration::from_millis(10);

/// The context of a request, from its head to its last byte.
#[derive(Debug)]
pub(crate) struct Request {
    core: usize,
    began: Instant,
    matched: Option<Matched>,
    unmatched: Arc<ServiceMeter>,
    attempt: Option<Underway>,
    /// What it asks for.
    pub(crate) exchange: Exchange,
    /// What is left of its body's limit.
    pub(crate) body: BodyLimit,
    /// It is no client's, and goes to an endpoint for the sake of the connection alone.
    pub(crate) errand: Option<Arc<Errand>>,
    /// The client's address, as far as it is known and believed.
    pub(crate) client: Option<IpAddr>,
    /// The trace that it is part of; none until it is routed.
    pub(crate) trace: Option<Trace>,
    /// Its place among what is under way on its connection, where that carries several.
    pub(crate) under_way: Option<UnderWay>,
    /// How many attempts began.
    pub(crate) attempts: u8,
    /// What was tried again so far.
    pub(crate) tries: Tries,
    /// Where the next attempt goes, where that is chosen already.
    pub(crate) chosen: Option<(Arc<Version>, InFlight)>,
    /// The endpoint that failed last: not the next choice.
    pub(crate) avoided: Option<Arc<Endpoint>>,
    /// Everybody who might have served it has as much under way as the limits let them have.
    pub(crate) found_no_room: bool,
    /// There was no connection for it, for our own want of descriptors or ports.
    pub(crate) is_short: bool,
    /// Its place among the requests of its client, where those are counted.
    pub(crate) asked: Option<Asked>,
    /// The proxy answered it in its own name.
    pub(crate) was_answered: bool,
    /// A pooled connection was found closed, once: the next attempt is made on a new one.
    pub(crate) forgiven: bool,
    /// Its copy for the canary, where it has one.
    pub(crate) mirror: Mirroring,
    /// How long its client has been silent, where that is for us to limit.
    silence: Option<Arc<Silence>>,
    /// When its body came to its end.
    said_all: Option<Instant>,
    /// It became a tunnel, whose length is no latency and whose end is no failure, but for one that its endpoint ended at
    /// once.
    is_tunnel: bool,
    /// All of its response was passed on, whatever becomes of the rest of its body.
    is_passed_on: bool,
    /// Why another version than the one drawn serves it, where one does.
    instead: Option<Decision>,
    /// What the last attempt that failed came to: what the proxy's own answer stands for.
    failed_with: Option<Class>,
    /// The last attempt that ended.
    last: Option<Served>,
    /// Why its last attempt was ended though it went well.
    ended_by: Option<Ending>,
    /// What the client got, and how long it took from the request's head to the last byte, once it is over.
    ended: Option<(Class, Duration)>,
    /// Everything was said that there is to say of it.
    is_over: bool,
    /// What was wrong with it, or with what an endpoint answered, where something was.
    pub(crate) why: Option<&'static str>,
}

/// What a request matched and drew.
#[derive(Debug)]
pub(crate) struct Matched {
    pub(crate) service: Arc<Service>,
    /// The version drawn.
    pub(crate) drawn: Arc<Version>,
    /// The group of the affinity key or client address.
    group: u8,
    /// Whether it was drawn by its affinity key.
    keyed: bool,
    /// Which of the split's paths it is on.
    paths: u16,
    /// Why it was given this version.
    pub(crate) reason: Reason,
    /// Who may judge it.
    judged: Judged,
    /// The affinity cookie that the client gets, where it has none.
    pub(crate) issued: Option<Issued>,
    /// Where the version drawn is charged for it.
    account: Account,
}

impl Request {
    pub(crate) fn new(core: usize, unmatched: Arc<ServiceMeter>, now: Instant) -> Self {
        Self {
            core,
            began: now,
            matched: None,
            unmatched,
            attempt: None,
            exchange: Exchange::Response,
            body: BodyLimit::default(),
            errand: Errand::present(),
            client: None,
            trace: None,
            under_way: None,
            attempts: 0,
            tries: Tries::default(),
            chosen: None,
            avoided: None,
            found_no_room: false,
            is_short: false,
            asked: None,
            was_answered: false,
            forgiven: false,
            mirror: Mirroring::default(),
            silence: Silence::present(),
            said_all: None,
            is_tunnel: false,
            is_passed_on: false,
            instead: None,
            failed_with: None,
            last: None,
            ended_by: None,
            ended: None,
            is_over: false,
            why: None,
        }
    }

    /// When its head was read.
    pub(crate) const fn began(&self) -> Instant {
        self.began
    }

    /// The request is for `service`, was given this version, and is on these of the split's paths.
    pub(crate) fn matched(&mut self, service: &Arc<Service>, selection: Selection<'_>, paths: u16) {
        let Selection { draw, group, reason, judged, issued } = selection;
        let (account, keyed) = (Account::open(self.core, draw, judged), !draw.at_random);
        let (service, drawn) = (Arc::clone(service), Arc::clone(draw.version));
        self.count_for_retries(&service);
        self.matched = Some(Matched { service, drawn, group, keyed, paths, reason, judged, issued, account });
    }

    /// Why it is served by the version that serves it; `None` where it matched no service.
    pub(crate) fn decision(&self) -> Option<Decision> {
        self.matched.as_ref().map(|matched| self.instead.unwrap_or(matched.reason.into()))
    }

    /// The version of the present attempt.
    pub(crate) fn served(&self) -> Option<&Version> {
        self.attempt.as_ref().map(|attempt| &*attempt.version)
    }

    /// Whom the present attempt speaks to.
    pub(crate) fn peer(&self) -> Option<&HttpPeer> {
        self.attempt.as_ref().map(|attempt| attempt.at.endpoint().dialled())
    }

    /// What it matched; `None` where no service did.
    pub(crate) fn found(&self) -> Option<&Matched> {
        self.matched.as_ref()
    }

    /// The drawn version has no live endpoint: its first attempt failed before it began.
    pub(crate) fn nowhere_to_go(&mut self) {
        self.charge_first(Class::ConnectError);
        self.failed_with = Some(Class::ConnectError);
    }

    /// The version that was to serve it has as much under way as its limit lets it have. That is counted and not judged.
    pub(crate) fn passed_over(&mut self) {
        self.charge_first(Class::Local);
        self.failed_with = Some(Class::Local);
    }

    /// Charges the drawn version with a first attempt that never was, where none was recorded.
    fn charge_first(&mut self, class: Class) {
        if let Some(matched) = &mut self.matched
            && !matched.account.first_is_recorded()
        {
            let outcome = matched.outcome(Attempt::First, class);
            matched.account.record_first(&outcome);
        }
    }

    /// What the last attempt that failed came to.
    pub(crate) const fn failed_with(&self) -> Option<Class> {
        self.failed_with
    }

    /// An attempt on `version` begins at an endpoint.
    pub(crate) fn attempt(&mut self, version: Arc<Version>, at: InFlight) {
        let same = self.matched.as_ref().is_some_and(|matched| matched.drawn.name == version.name);
        if !same {
            self.instead = Some(if self.attempts == 0 { Decision::FallThrough } else { Decision::Shield });
            // Whoever serves in its stead, the version drawn is judged by what it did: here, it closed a connection.
            self.charge_first(Class::Reset);
        }
        let is_recorded = self.matched.as_ref().is_some_and(|matched| matched.account.first_is_recorded());
        let kind = match (same, is_recorded) {
            (true, false) => Attempt::First,
            (true, true) => Attempt::Retry,
            (false, _) => Attempt::Shield,
        };
        self.attempts = self.attempts.saturating_add(1);
        self.attempt = Some(Underway::begin(kind, version, at));
        self.body.begin_again();
        self.mirror.begin_again();
    }

    /// Whether a pooled connection that ended now may be called stale: closed by its keep-alive time before the request
    /// reached it. Once a request, and only where it ended at once: a version that worked for a while and then closed
    /// has failed.
    pub(crate) fn may_be_stale(&self, now: Instant) -> bool {
        let ended_at_once = |attempt: &Underway| {
            attempt.head.is_none() && attempt.ready.is_some_and(|ready| now.duration_since(ready) <= AT_ONCE)
        };
        !self.forgiven && self.attempt.as_ref().is_some_and(ended_at_once)
    }

    /// A pooled connection turned out to be closed before anything was answered. That is nobody's failure: the
    /// attempt is counted, not judged, and the next one, on a new connection, is judged in its place.
    pub(crate) fn stale_connection(&mut self) {
        self.forgiven = true;
        if let (Some(attempt), Some(matched)) = (self.attempt.take(), &self.matched) {
            let endpoint = Some(attempt.at.endpoint().place);
            let outcome = Outcome { judged: false, endpoint, ..matched.outcome(attempt.kind, Class::Reset) };
            attempt.version.meter.record(self.core, &outcome);
        }
    }

    /// The present attempt is over, and came to this class or to what that class is in a call or a tunnel. Does nothing
    /// where there is none.
    pub(crate) fn end_attempt(&mut self, class: Class, now: Instant) -> Class {
        let Some(mut attempt) = self.attempt.take() else { return class };
        self.ended_by = attempt.ending();
        let class = match (class, attempt.head) {
            // We ended it: that is nobody's failure, nor anybody's success.
            _ if self.ended_by.is_some() => Class::Local,
            // Its endpoint ended it, or broke it.
            (Class::Reset, Some((101, _))) if attempt.is_stillborn(now) => Class::Reset,
            (_, Some((101, _))) if attempt.total_us.is_some() && attempt.is_stillborn(now) => Class::Reset,
            // However else a tunnel ends, it did what it was asked for.
            (_, Some((101, _))) => Class::Upgrade,
            // The version had failed before the client left.
            (Class::ClientAbort, Some((500.., _))) => Class::ServerError,
            (Class::Success | Class::ClientAbort, _) if attempt.is_grpc => self.class_of_call(&attempt, class, now),
            _ => class,
        };
        attempt.tell_of_call(class, now);
        if class == Class::Reset && matches!(attempt.head, Some((101, _))) {
            self.why.get_or_insert(STILLBORN);
        }
        attempt.at.ended(class, now);
        let Some(matched) = &mut self.matched else { return class };
        // Nobody waited for a version whose client left before it had asked.
        let was_asked = attempt.head.is_some() || self.said_all.is_some() || class != Class::ClientAbort;
        let is_timed = was_asked && class != Class::Upgrade;
        let age_us = |since: Option<Instant>| since.filter(|_| is_timed).map(|since| micros(since, now));
        let outcome = Outcome {
            endpoint: Some(attempt.at.endpoint().place),
            latency_us: age_us(attempt.waits_since()).map(|us| attempt.head.map_or(us, |(_, head_us)| head_us)),
            total_us: age_us(attempt.ready).map(|us| attempt.total_us.unwrap_or(us)),
            ..matched.outcome(attempt.kind, class)
        };
        let outcome = Outcome { judged: outcome.judged && !attempt.is_excused, ..outcome };
        if class.is_bad() {
            let (status, version) = (attempt.head.map(|(status, _)| status), &attempt.version.name);
            tracing::debug!(%version, endpoint = %attempt.at.endpoint().written, class = class.label(), status, "attempt failed");
        }
        if attempt.head.is_none()
            && self.ended_by.is_none()
            && let Some(us) = outcome.latency_us
        {
            attempt.at.waited_in_vain(us, class, now);
        }
        let is_well = !class.is_bad() && !matches!(class, Class::ClientAbort | Class::Local);
        if attempt.kind == Attempt::Shield && is_well {
            matched.account.answered_by_another();
        }
        if self.ended_by.is_some() {
            attempt.version.lasting.ended();
        }
        match attempt.kind {
            Attempt::First => matched.account.record_first(&outcome),
            Attempt::Retry | Attempt::Shield => attempt.version.meter.record(self.core, &outcome),
        }
        self.failed_with = class.is_bad().then_some(class);
        self.last = Some(Served::of(attempt));
        class
    }

    /// The request is over: its last attempt and the response to the client are counted. `sent` is the status that
    /// the client got, `error` what ended it early.
    pub(crate) fn end(&mut self, sent: Option<u16>, error: Option<Class>, now: Instant) {
        let error = error.filter(|_| !self.is_passed_on);
        let answered_by_version = self.attempt.is_some() && error.is_none();
        let class = match (error, self.attempt.as_ref().and_then(|attempt| attempt.head)) {
            (Some(class), _) => class,
            (None, Some((status, _))) => Class::of_status(status),
            (None, None) => Class::Local,
        };
        let class = self.end_attempt(class, now);
        if self.attempts == 0 && matches!(class, Class::ClientAbort | Class::Local) {
            self.end_unserved(class);
        }
        let response = match (error, sent) {
            _ if self.ended_by.is_some() => Class::Local,
            _ if self.is_tunnel => self.failed_with.unwrap_or(Class::Upgrade),
            (Some(Class::ClientAbort), None) => Class::ClientAbort,
            // Cut short after its head, or answered by the proxy in a version's stead.
            (Some(error), Some(_)) if error.is_bad() || error == Class::ClientAbort => error,
            _ if answered_by_version => class,
            _ => self.failed_with.unwrap_or(Class::Local),
        };
        if let Some(matched) = &mut self.matched {
            matched.service.meter.count(self.core, response);
            if !self.is_tunnel && self.ended_by.is_none() {
                matched.account.duration_us = Some(micros(self.began, now));
            }
        } else {
            self.unmatched.count(self.core, response);
        }
        self.mirror.end(response);
        self.ended = Some((response, now.saturating_duration_since(self.began)));
        self.is_over = true;
    }

    /// It ends without the version drawn having had a part in it: that is counted and not judged, and not lost.
    fn end_unserved(&mut self, class: Class) {
        if let Some(matched) = &mut self.matched
            && !matched.account.first_is_recorded()
        {
            let outcome = Outcome { judged: false, ..matched.outcome(Attempt::First, class) };
            matched.account.record_first(&outcome);
        }
    }
}

impl Drop for Request {
    /// A request that is let go before its end was cut by the end of the process, which is nobody's failure. After a
    /// panic it is left as it is: where its first attempt is missing, it is lost, and that is to be seen.
    fn drop(&mut self) {
        if self.is_over || std::thread::panicking() {
            return;
        }
        if self.fell_silent() {
            // Reset without an answer, or behind one: nobody else says so.
            self.has_passed_on();
            let sent = self.attempt.as_ref().filter(|_| self.is_passed_on).and_then(|attempt| attempt.head);
            let class = if self.was_left_untaken() { Class::Timeout } else { Class::ClientAbort };
            self.end(sent.map(|(status, _)| status), Some(class), Instant::now());
        } else {
            self.end_attempt(Class::Local, self.began);
            self.end_unserved(Class::Local);
            self.mirror.end(Class::Local);
        }
    }
}

impl Matched {
    /// Whether a further attempt may be made on the version drawn, as the service is now.
    pub(crate) fn may_stay(&self, service: &Service) -> bool {
        match self.reason {
            Reason::Weight | Reason::Affinity | Reason::Forced(Target::Stable) => service.is_in_use(&self.drawn.name),
            // Whatever its weight, until it is the canary no more.
            Reason::Forced(Target::Canary) => service.target(Target::Canary).name == self.drawn.name,
            // Until its rollout ends, or its plan gives it nobody.
            Reason::Matched => {
                service.split.matched.is_some() && service.target(Target::Canary).name == self.drawn.name
            }
            Reason::Forced(Target::Named(_)) => true,
        }
    }

    /// The outcome of an attempt that reached no endpoint; whoever knows more adds to it. What the proxy did in its own
    /// name is not judged.
    fn outcome(&self, attempt: Attempt, class: Class) -> Outcome {
        Outcome {
            attempt,
            class,
            judged: self.judged != Judged::Not && class != Class::Local,
            endpoint: None,
            group: self.group,
            keyed: self.keyed,
            paths: self.paths,
            latency_us: None,
            total_us: None,
        }
    }
}

fn micros(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
