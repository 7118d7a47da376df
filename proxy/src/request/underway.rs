//! The attempt that is under way.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meter::Attempt;

use crate::deadlines::{Deadline, Ending, Overdue};
use crate::endpoint::InFlight;
use crate::request_body::silence::Waiting;
use crate::response_check::ResponseCheck;
use crate::routing::Version;
use crate::upstream_stream::Link;

/// A tunnel that its endpoint ends before it is this old, without a word, was none.
const STILLBORN: Duration = Duration::from_secs(5);

/// An attempt that has an endpoint and has not ended.
#[derive(Debug)]
pub(super) struct Underway {
    pub(super) kind: Attempt,
    pub(super) version: Arc<Version>,
    pub(super) at: InFlight,
    /// When its connection was ready; none before.
    pub(super) ready: Option<Instant>,
    /// When the last piece of the request was sent before the head came: what the version answers.
    pub(super) asked: Option<Instant>,
    /// Status and latency in microseconds, once the response head came.
    pub(super) head: Option<(u16, u64)>,
    /// Latency in microseconds of the response's last byte, once that came.
    pub(super) total_us: Option<u64>,
    /// The heads that came.
    pub(super) heads: ResponseCheck,
    /// Its way to the endpoint, where that is ours to make.
    pub(super) link: Option<Arc<Link>>,
    /// Its connection; none before it is ready.
    pub(super) fd: Option<RawFd>,
    /// What ends it where it takes too long; none once all of the response is there.
    pub(super) deadline: Option<Deadline>,
    /// Its place among what is under way, where its connection carries others as well.
    pub(super) noted: Option<Deadline>,
    /// Why it was ended though it went well, where all of the response is there since.
    pub(super) ending: Option<Ending>,
    /// How long the version had been silent before the end of its response.
    pub(super) silence: Duration,
    /// Its response is that of a gRPC call.
    pub(super) is_grpc: bool,
    /// What it came to as a gRPC call, once it says.
    pub(super) grpc: Option<u32>,
    /// Its head came, and its endpoint is not told yet what it says of it: that of a call, which may fail at its end.
    pub(super) is_untold: bool,
    /// The endpoint has sent something of its response's body, or through its tunnel.
    pub(super) has_spoken: bool,
    /// The client has sent something through its tunnel.
    pub(super) is_spoken_to: bool,
    /// It is counted, and not judged, whatever it comes to.
    pub(super) is_excused: bool,
    /// What it waits for its client with.
    pub(super) waiting: Option<Waiting>,
}

impl Underway {
    /// An attempt that has not found its connection yet.
    pub(super) fn begin(kind: Attempt, version: Arc<Version>, at: InFlight) -> Self {
        Self {
            kind,
            version,
            at,
            ready: None,
            asked: None,
            head: None,
            total_us: None,
            heads: ResponseCheck::default(),
            link: None,
            fd: None,
            deadline: None,
            noted: None,
            ending: None,
            silence: Duration::ZERO,
            is_grpc: false,
            grpc: None,
            is_untold: false,
            has_spoken: false,
            is_spoken_to: false,
            is_excused: false,
            waiting: None,
        }
    }

    /// Whether its endpoint ended a tunnel that had only begun, before either side had said anything: it agreed to it and was
    /// of no use. One that says farewell, as a WebSocket does with a close frame, has said something. Where the client has,
    /// the endpoint may have ended it for that: upon a close frame, or upon what is no frame at all.
    pub(super) fn is_stillborn(&self, now: Instant) -> bool {
        let is_young = |ready| now.saturating_duration_since(ready) < STILLBORN;
        !self.has_spoken
            && !self.is_spoken_to
            && self.head.is_some_and(|(status, _)| status == 101)
            && self.ready.is_some_and(is_young)
    }

    /// Since when the version could answer.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.ready.map(|ready| self.asked.map_or(ready, |asked| asked.max(ready)))
    }

    /// Its place among what is under way on this core.
    pub(super) fn place(&self) -> Option<&Deadline> {
        self.deadline.as_ref().or(self.noted.as_ref())
    }

    /// Why it was ended though it went well.
    pub(super) fn ending(&self) -> Option<Ending> {
        match self.place().and_then(Deadline::overdue) {
            Some(Overdue::Ended(why)) => Some(why),
            Some(Overdue::Head | Overdue::Whole | Overdue::Silence | Overdue::Untaken | Overdue::Answer) | None => {
                self.ending
            }
        }
    }
}
