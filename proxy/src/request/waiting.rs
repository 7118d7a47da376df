//! How long a request waits, and for whom.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use config::Protocol;

use super::{Request, Underway};
use crate::deadlines::{Deadlines, Ending, Holder, Leave, Of, Overdue, Vigil};
use crate::endpoint::Endpoint;
use crate::exchange::{Exchange, Patience};
use crate::parting::Parting;
use crate::request_body::silence::Waiting;
use crate::request_body::taker::Taker;
use crate::routing::Version;

/// A client that sends fewer bytes a second than this is slower than what an endpoint may be asked to wait for.
const SLOW: usize = 64 * 1024;

impl Request {
    /// Ends the attempt where it takes longer than the service allows. Its connection must carry nothing else.
    /// `waits_now`: the endpoint has all that it needs to answer.
    pub(crate) fn watch(&mut self, deadlines: &Deadlines, waits_now: bool, now: Instant) {
        let Some(patience) = self.patience() else { return };
        let whole = self.exchange.whole_due(self.began, self.said_all, patience);
        if let Some(attempt) = &mut self.attempt
            && let Some(fd) = attempt.fd
        {
            // pingora's own limit is one of silence: a head that drips would meet it.
            let head = waits_now.then(|| now + patience.first_byte);
            let of = Of { version: attempt.version.lasting.number(), is_call: self.exchange.is_call() };
            let deadline = deadlines.begin(fd, of, head, whole, now);
            if attempt.link.is_none() {
                deadline.set_uptake(Some(patience.uptake(self.exchange)));
            }
            attempt.deadline = Some(deadline);
        }
    }

    /// The endpoint has all of the request, and a response is waited for; `leave`: whether it may leave an endpoint that
    /// hangs. Calls, tunnels and streams of events may be silent for as long as they want.
    pub(crate) fn keeps_vigil(&mut self, leave: Leave, now: Instant) {
        let Some(patience) = self.patience() else { return };
        if let (Exchange::Response, Some(attempt), Some(matched)) = (self.exchange, &self.attempt, &self.matched)
            && let Some(deadline) = &attempt.deadline
        {
            let stable = matched.service.stable();
            deadline.keep(Vigil::begin(attempt.at.shared(), patience.first_byte, leave, stable, now));
        }
    }

    /// Notes the attempt on a connection that carries others as well, so that it can be ended where it lasts.
    pub(crate) fn note(&mut self, deadlines: &Deadlines) {
        let uptake = self.uptake();
        if let Some(attempt) = &mut self.attempt
            && let Some(fd) = attempt.fd
        {
            let of = Of { version: attempt.version.lasting.number(), is_call: self.exchange.is_call() };
            let noted = deadlines.note(fd, of);
            noted.set_uptake(uptake);
            attempt.noted = Some(noted);
        }
    }

    /// The response is one that lasts.
    pub(crate) fn lasts(&mut self) {
        if let Some(attempt) = &mut self.attempt {
            attempt.at.lasts();
        }
        if let Some(place) = self.attempt.as_ref().and_then(Underway::place) {
            place.lasts();
        }
    }

    /// It became a WebSocket, which closes when `parting` asks for it.
    pub(crate) fn parts_by(&mut self, parting: &Arc<Parting>) {
        if let Some(attempt) = &mut self.attempt {
            attempt.at.lasts();
        }
        if let Some(place) = self.attempt.as_ref().and_then(Underway::place) {
            place.parts_by(Arc::clone(parting));
        }
    }

    /// Why its present attempt was ended though it went well, or the last one was.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.attempt.as_ref().map_or(self.ended_by, Underway::ending)
    }

    /// As [`ending`](Self::ending), of an attempt that shares its connection, which may still go on.
    pub(crate) fn must_leave(&self) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.noted.is_some() && attempt.ending().is_some())
    }

    /// The rest of the body is waited for from now on, where it is for us to limit how long: not in a call, which may be
    /// silent. `is_own`: the connection carries nothing else.
    pub(crate) fn listen(&mut self, is_own: bool, now: Instant) {
        let (may_be_silent, taker) = (matches!(self.exchange, Exchange::Call(_)), self.taker());
        if let (Some(silence), Some(attempt), false) = (&self.silence, &mut self.attempt, may_be_silent) {
            attempt.waiting = Some(Waiting::begin(silence, attempt.fd.filter(|_| is_own), taker, now));
        }
    }

    fn taker(&self) -> Option<Taker> {
        let attempt = self.attempt.as_ref()?;
        match &attempt.link {
            Some(link) => Some(Taker::Line(Arc::clone(link))),
            None => Some(Taker::Frames(attempt.place()?.holder())),
        }
    }

    /// How long an endpoint may take nothing of what waits for it.
    pub(crate) fn uptake(&self) -> Option<Duration> {
        self.patience().map(|patience| patience.uptake(self.exchange))
    }

    /// A piece of the body goes to an endpoint of HTTP/2, whose time it is until that has taken it.
    pub(crate) fn is_sent(&self, piece: Bytes) -> Bytes {
        match self.attempt.as_ref().filter(|attempt| attempt.link.is_none()).and_then(Underway::place) {
            Some(place) if !piece.is_empty() => place.holder().sent(piece),
            Some(_) | None => piece,
        }
    }

    /// Whether the endpoint has taken nothing of what waited for it for half of the present attempt, or longer: what is
    /// late now is not for want of what the client sends. Of a call, which may be old, for half of the wait for a head.
    pub(crate) fn takes_nothing(&self, now: Instant) -> bool {
        let Some(since) = self.taker().and_then(|taker| taker.untaken_since()) else { return false };
        let Some(mut age) = self.ready().map(|ready| now.saturating_duration_since(ready)) else { return false };
        if let (Exchange::Call(_), Some(patience)) = (self.exchange, self.patience()) {
            age = age.min(patience.first_byte);
        }
        now.saturating_duration_since(since) * 2 >= age
    }

    /// Whether it was ended because its endpoint took nothing, on a connection that carries others as well.
    pub(crate) fn was_left_untaken(&self) -> bool {
        self.silence.as_ref().is_some_and(|silence| silence.was_untaken())
    }

    /// Whether those whom its version is compared with keep everybody waiting as well, for half as long as it has waited:
    /// then what it waited for is no matter of its version.
    pub(crate) fn all_are_silent(&self, now: Instant) -> bool {
        let (Some(attempt), Some(matched)) = (&self.attempt, &self.matched) else { return false };
        let Some(waited) = attempt.waits_since().map(|since| now.saturating_duration_since(since)) else {
            return false;
        };
        let mut others = matched.service.versions.iter().filter(|other| other.name != attempt.version.name);
        let stable = &matched.service.stable().endpoints;
        others.any(|other| Endpoint::are_silent(&other.endpoints, waited / 2, stable, now))
    }

    /// What the present attempt comes to is not its version's doing: it is counted, and not judged.
    pub(crate) fn is_excused(&mut self) {
        if let Some(attempt) = &mut self.attempt {
            attempt.is_excused = true;
        }
    }

    /// Whether it was ended because its client was silent for too long within its body.
    pub(crate) fn fell_silent(&self) -> bool {
        self.silence.as_ref().is_some_and(|silence| silence.is_over())
    }

    /// Who tells when the client takes its time.
    pub(crate) fn holder(&self) -> Option<Holder> {
        Some(self.attempt.as_ref()?.deadline.as_ref()?.holder())
    }

    /// A piece of the response came, if it is more than the end.
    pub(crate) fn hears(&mut self, piece: Option<&Bytes>, now: Instant) {
        if piece.is_some_and(|piece| !piece.is_empty())
            && let Some(attempt) = &mut self.attempt
        {
            attempt.has_spoken = true;
            if let Some(deadline) = &attempt.deadline {
                deadline.hear(now);
            }
            attempt.streams_on(now);
        }
    }

    /// Whether the client, of whose body so many bytes have come, sends it so slowly that an endpoint may lose patience
    /// before it can answer.
    pub(crate) fn drips(&self, bytes: usize, now: Instant) -> bool {
        let Some(attempt) = self.attempt.as_ref().filter(|attempt| attempt.head.is_none()) else { return false };
        let age = attempt.ready.map_or(Duration::ZERO, |ready| now.saturating_duration_since(ready));
        let seconds = usize::try_from(age.as_secs()).unwrap_or(usize::MAX);
        seconds > 0 && bytes < seconds.saturating_mul(SLOW)
    }

    /// Whether the client kept the version from saying more for so long that the end of the connection may be its doing.
    pub(crate) fn is_stalled(&self, now: Instant) -> bool {
        let deadline = self.attempt.as_ref().and_then(|attempt| attempt.deadline.as_ref());
        deadline.is_some_and(|deadline| deadline.is_stalled(now))
    }

    /// A piece of the request goes to the endpoint; `whole`: the last one. The wait for a head begins with the last one,
    /// or, in a call, with each message.
    pub(crate) fn sends(&mut self, whole: bool, now: Instant) {
        let is_news = whole && self.said_all.is_none();
        if is_news {
            self.said_all = Some(now);
        }
        if let Some(silence) = &self.silence {
            silence.heard(whole, now);
        }
        if whole && let Some(link) = self.link() {
            link.is_told_all();
        }
        let Some(patience) = self.patience() else { return };
        let Some(attempt) = &mut self.attempt else { return };
        if attempt.head.is_none() {
            attempt.asked = Some(now);
        }
        let Some(deadline) = &attempt.deadline else { return };
        match self.exchange {
            Exchange::Call(_) => deadline.hear(now),
            Exchange::Response if is_news && deadline.has_whole() => {
                deadline.set_whole(self.exchange.whole_due(self.began, self.said_all, patience));
            }
            Exchange::Response | Exchange::Events | Exchange::Tunnel(_) => {}
        }
        if attempt.head.is_none() && (whole || matches!(self.exchange, Exchange::Call(_))) {
            deadline.set_head(Some(now + patience.first_byte));
        }
    }

    /// Its client has said all that it will.
    pub(crate) fn says_nothing_more(&mut self, now: Instant) {
        self.said_all.get_or_insert(now);
    }

    /// Its client says something to the endpoint with which it has a tunnel, if it has one.
    pub(crate) fn speaks_through_its_tunnel(&mut self) {
        if let Some(attempt) = &mut self.attempt {
            attempt.is_spoken_to |= attempt.head.is_some_and(|(status, _)| status == 101);
        }
    }

    /// An informational response came: where the rest of the request is still to be sent, no head is waited for until
    /// then.
    pub(crate) fn goes_on(&mut self) {
        if self.said_all.is_none()
            && let Some(deadline) = self.attempt.as_ref().and_then(|attempt| attempt.deadline.as_ref())
        {
            deadline.set_head(None);
        }
    }

    /// What the present attempt was ended for, if it took too long.
    pub(crate) fn overdue(&self) -> Option<Overdue> {
        self.attempt.as_ref()?.deadline.as_ref()?.overdue()
    }

    /// The limit of a single read from `version`. `is_whole`: the whole request is there to be sent.
    pub(crate) fn silence(&self, version: &Version, is_whole: bool) -> Option<Duration> {
        let patience = self.patience()?;
        Some(match version.protocol {
            // pingora counts the whole upload as one wait for a head.
            Protocol::H2 | Protocol::H2c if !is_whole => patience.tunnel.max(patience.first_byte),
            Protocol::H1 | Protocol::H2 | Protocol::H2c => patience.silence(self.exchange),
        })
    }

    /// As long as any response may be silent, or an endpoint that waits for its client: the limit of a read where nothing is
    /// due of the endpoint yet; and of one over HTTP/2 by pingora, on a connection that carries nothing else, which cannot be
    /// changed once it is known what comes, so that shorter ones are ours.
    pub(crate) fn silence_of_any(&self) -> Option<Duration> {
        self.patience().map(|patience| patience.silence(Exchange::Events))
    }

    /// How long the response that begins may be silent, where that is for its deadline to limit: over HTTP/2, once the
    /// request was said.
    pub(super) fn silence_of_response(&self) -> Option<Duration> {
        let is_ours = self.attempt.as_ref().is_some_and(|attempt| attempt.link.is_none()) && self.said_all.is_some();
        let patience = self.patience().filter(|_| is_ours && self.exchange == Exchange::Response)?;
        Some(patience.silence(self.exchange))
    }

    /// How long this request may take.
    pub(crate) fn patience(&self) -> Option<Patience> {
        self.matched.as_ref().map(|matched| Patience::of(&matched.service))
    }

    /// The response turned out to be a stream of events: however long it takes in all, and silent for as long as a tunnel
    /// may be, whatever its client said that it takes.
    pub(crate) fn is_endless(&mut self, now: Instant) {
        if let (Some(link), Some(patience)) = (self.link(), self.patience()) {
            link.is_patient(patience.silence(Exchange::Events));
        }
        if let Some(deadline) = self.attempt.as_ref().and_then(|attempt| attempt.deadline.as_ref()) {
            deadline.set_whole(None);
            deadline.set_silence(None, now);
        }
        self.is_answered();
        self.lasts();
    }
}
