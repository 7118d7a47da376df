//! What a request asks for: a response, a stream of events, a tunnel or a gRPC call; and how long each may take.

use std::time::{Duration, Instant};

use http::header;
use pingora_http::RequestHeader;

use crate::grpc;
use crate::routing::Service;

/// A gRPC client ends its call at its own deadline. Where it does not, we do, so much later.
const AFTER_DEADLINE: Duration = Duration::from_secs(1);

/// Its clock began before ours and runs a little differently: from this part of its deadline on, a client that leaves has
/// waited for all of it.
const DEADLINE_SEEN: f64 = 0.9;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Exchange {
    /// A response.
    #[default]
    Response,
    /// A response that may be silent for long.
    Events,
    /// A connection of its own that speaks another protocol: this one of the service's `upgrades`.
    Tunnel(usize),
    /// A gRPC call, which the client gives so much time, if it says.
    Call(Option<Duration>),
}

impl Exchange {
    /// What a request for `service` asks for. `upgrades`: it is one that asks for another protocol.
    pub(crate) fn of(request: &RequestHeader, upgrades: bool, service: &Service) -> Self {
        if upgrades && let Some(place) = allowed_upgrade(request, &service.written.upgrades) {
            return Self::Tunnel(place);
        }
        if grpc::is_call(request) {
            return Self::Call(grpc::timeout(&request.headers));
        }
        let accepts = request.headers.get(header::ACCEPT).map(http::HeaderValue::as_bytes);
        if accepts.is_some_and(|accepts| accepts.split(|byte| *byte == b',').any(is_event_stream)) {
            return Self::Events;
        }
        Self::Response
    }

    /// The gRPC code of a call that failed in what the transport takes for a success. `status` is what the version said;
    /// a call that `is_over` without saying is `UNKNOWN`; one that its client ended at its own deadline took too long,
    /// where the client `said_all` that the version could have answered.
    pub(crate) fn failure(self, status: Option<u32>, is_over: bool, said_all: bool, age: Duration) -> Option<u32> {
        let Self::Call(deadline) = self else { return None };
        let is_late = said_all && deadline.is_some_and(|deadline| age >= deadline.mul_f64(DEADLINE_SEEN));
        match status {
            // Some servers say so when they find the deadline passed.
            None | Some(grpc::CANCELLED) if is_late => Some(grpc::DEADLINE_EXCEEDED),
            None if is_over => Some(grpc::UNKNOWN),
            status => status,
        }
    }

    /// Whether silence within the response is no failure for long.
    const fn may_be_silent(self) -> bool {
        match self {
            Self::Response => false,
            Self::Events | Self::Tunnel(_) | Self::Call(_) => true,
        }
    }

    pub(crate) const fn is_tunnel(self) -> bool {
        matches!(self, Self::Tunnel(_))
    }

    /// When a request that began then must be over.
    pub(crate) fn whole_due(self, began: Instant, patience: Patience) -> Option<Instant> {
        match self {
            Self::Response => patience.total.map(|total| began + total),
            Self::Call(deadline) => {
                deadline.and_then(|deadline| began.checked_add(deadline)?.checked_add(AFTER_DEADLINE))
            }
            Self::Events | Self::Tunnel(_) => None,
        }
    }
}

/// How long the requests of a service may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// The wait for a response head.
    pub(crate) first_byte: Duration,
    /// Silence within a response.
    response: Duration,
    /// Silence in a tunnel, a stream of events or a gRPC call.
    pub(crate) tunnel: Duration,
    /// The whole.
    total: Option<Duration>,
}

impl Patience {
    /// The service's own times, else those of all.
    pub(crate) fn of(service: &Service) -> Self {
        let (own, all) = (&service.written.timeouts, &service.rules.timeouts);
        Self {
            first_byte: own.first_byte.unwrap_or(all.first_byte),
            response: own.response.unwrap_or(all.response),
            tunnel: own.tunnel.unwrap_or(all.tunnel),
            total: own.total.or(all.total),
        }
    }

    /// The limit of a single read, which is pingora's only one: never below the wait for a head, since that is a read,
    /// too.
    pub(crate) fn silence(self, exchange: Exchange) -> Duration {
        let silence = if exchange.may_be_silent() { self.tunnel } else { self.response };
        silence.max(self.first_byte)
    }
}

/// Whether a media type, with its parameters, is that of a stream of events.
pub(crate) fn is_event_stream(media_type: &[u8]) -> bool {
    let name = media_type.split(|byte| *byte == b';').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

/// The first protocol that the client wants and the service allows, by its place.
fn allowed_upgrade(request: &RequestHeader, allowed: &[String]) -> Option<usize> {
    let wanted = request.headers.get_all(header::UPGRADE).iter();
    let wanted = wanted.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    wanted.filter_map(|wanted| allowed.iter().position(|one| wanted.eq_ignore_ascii_case(one.as_bytes()))).next()
}
