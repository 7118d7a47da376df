//! A request while it is at an endpoint: it is counted there, and the endpoint is told what became of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use meter::Class;

use super::picking::Room;
use super::{Endpoint, refusals};

/// A request that is at an endpoint; counted until this is dropped.
#[derive(Debug)]
pub struct InFlight {
    pub(super) at: Arc<Endpoint>,
    /// The one request that tries an endpoint after its back-off.
    pub(super) tries: bool,
    pub(super) began: Instant,
    /// Its room in the version; none in tests of an endpoint alone.
    pub(super) room: Option<Room>,
    pub(super) is_lasting: bool,
}

impl InFlight {
    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.at
    }

    /// It became a tunnel, or its response is one that goes on for as long as both sides want. It is there still, and
    /// counts for limits; but where the next request goes does not depend on it, since it may be idle for hours
    /// (linkerd2-proxy: `PendingUntilFirstData`).
    pub(crate) fn lasts(&mut self) {
        if !self.is_lasting {
            self.is_lasting = true;
            self.at.known.lasting.fetch_add(1, Ordering::Relaxed);
            if let Some(room) = &mut self.room {
                room.lasts();
            }
        }
    }

    /// When it came there.
    pub(crate) const fn came(&self) -> Instant {
        self.began
    }

    /// The endpoint, to keep.
    #[must_use]
    pub fn shared(&self) -> Arc<Endpoint> {
        Arc::clone(&self.at)
    }

    /// No connection could be made. A third failure in a row takes the endpoint down; the back-off doubles only when a
    /// try after it was in vain, so that many requests that fail in one moment count as one.
    pub fn failed_to_connect(&self, now: Instant) {
        self.at.known.health.failed_to_connect(now, self.tries);
    }

    /// Its connection was made, and ended by an alert in place of an answer. A third one in a row takes the endpoint down.
    pub(crate) fn was_refused(&self, now: Instant) {
        self.at.known.health.refused(now);
    }

    /// Its response began so many microseconds after it could have, with this status. What fails, or
    /// turns the client away, says nothing of how fast it is.
    pub fn heard(&self, us: u64, status: u16, now: Instant) {
        let said = Said::by(status);
        self.at.known.silence.heard(us, said == Said::Failed, self.at.known.health.millis(now));
        self.says(us, said, now);
    }

    /// As [`heard`](Self::heard), of a gRPC call: whether it went well is said at its end. Until then its head is a sign of
    /// life, and no more.
    pub(crate) fn heard_of_call(&self, us: u64, now: Instant) {
        self.at.known.silence.heard(us, true, self.at.known.health.millis(now));
    }

    /// A gRPC call whose head took so many microseconds turned out to be this.
    pub(crate) fn call_says(&self, us: u64, said: Said, now: Instant) {
        if said == Said::Good {
            self.at.known.silence.heard(us, false, self.at.known.health.millis(now));
        }
        self.says(us, said, now);
    }

    fn says(&self, us: u64, said: Said, now: Instant) {
        self.at.known.refusals.answered(said == Said::TurnedAway);
        self.answered(us, said != Said::Good, now);
    }

    /// It was waited for so many microseconds for a response that never began; it came to this. That makes it look slow,
    /// and never fast. A time that is over does not, where the endpoint can be ejected for it: that is seen, is over in ten
    /// seconds, and ends with a slow start, while an average of fifteen seconds fades for minutes.
    pub fn waited_in_vain(&self, us: u64, class: Class, now: Instant) {
        if class != Class::Timeout || !self.at.may_be_ejected(now) {
            self.answered(us, true, now);
        }
    }

    /// Its response began so many microseconds after it could have, or failed to until then. A failure never makes the
    /// endpoint look faster.
    pub(super) fn answered(&self, us: u64, failed: bool, now: Instant) {
        self.at.known.latency.observe(us, failed, self.at.known.moment(now));
    }

    /// It is over, and came to this: so the endpoint is judged by its traffic. What its client or the proxy did says
    /// nothing of it.
    pub fn ended(&self, class: Class, now: Instant) {
        match class {
            Class::Success | Class::Redirect | Class::ClientError | Class::Upgrade => {
                self.at.known.health.served(self.began);
            }
            Class::ServerError
            | Class::GrpcError
            | Class::ConnectError
            | Class::Timeout
            | Class::Reset
            | Class::ProtocolError => self.at.failed(self.began, now),
            Class::ClientAbort | Class::Local => {}
        }
    }
}

/// What a response says of its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// It does what it is there for.
    Good,
    /// It turns the client away, which costs nothing.
    TurnedAway,
    /// It fails.
    Failed,
}

impl Said {
    const fn by(status: u16) -> Self {
        match status {
            500.. => Self::Failed,
            _ if refusals::turns_away(status) => Self::TurnedAway,
            _ => Self::Good,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.is_lasting {
            self.at.known.lasting.fetch_sub(1, Ordering::Relaxed);
        }
        self.at.known.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
