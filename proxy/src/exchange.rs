//! What a request asks for: a response, a stream of events, a tunnel or a gRPC call; and how long each may take.

use std::time::{Duration, Instant};

use config::Protocol;
use http::header;
use pingora_http::RequestHeader;

use crate::grpc;
use crate::routing::{Service, Version};

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

/// How a gRPC call ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallEnd {
    /// The code that the version said.
    pub(crate) said: Option<u32>,
    /// The response came to its end.
    pub(crate) is_over: bool,
    /// The client had said all that the version could have answered.
    pub(crate) said_all: bool,
    /// From its head.
    pub(crate) age: Duration,
    /// For how long the version had been waited for in vain.
    pub(crate) silence: Duration,
}

/// What a gRPC call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This code.
    Code(u32),
    /// Its client ended it, or let it end, at a deadline of its own.
    OfTheClient,
    /// What the transport says.
    Nothing,
}

impl Exchange {
    /// What a request for `service` asks for. `upgrades`: it is one that asks for another protocol. `version` is the one
    /// drawn: where that speaks HTTP/1.1 there is no gRPC, whatever a client calls its request.
    pub(crate) fn of(request: &RequestHeader, upgrades: bool, service: &Service, version: &Version) -> Self {
        if upgrades && let Some(place) = allowed_upgrade(request, &service.written.upgrades) {
            return Self::Tunnel(place);
        }
        if version.protocol != Protocol::H1 && grpc::is_call(request) {
            return Self::Call(grpc::timeout(&request.headers));
        }
        let accepts = request.headers.get(header::ACCEPT).map(http::HeaderValue::as_bytes);
        if accepts.is_some_and(|accepts| accepts.split(|byte| *byte == b',').any(is_event_stream)) {
            return Self::Events;
        }
        Self::Response
    }

    /// What a call came to whose transport ended well, or whose client left. A client's own deadline is its wish: the
    /// version is to blame for one that passes only where it had all of the call, and kept silent for as long as its
    /// service lets it (`first_byte`).
    pub(crate) fn verdict(self, end: &CallEnd, first_byte: Duration) -> Verdict {
        let Self::Call(deadline) = self else { return Verdict::Nothing };
        let passed = deadline.filter(|deadline| end.age >= deadline.mul_f64(DEADLINE_SEEN));
        match (end.said, passed) {
            // Some servers say so when they find the deadline passed.
            (None | Some(grpc::CANCELLED | grpc::DEADLINE_EXCEEDED), Some(deadline)) => {
                let is_slow = deadline >= first_byte && end.said_all && end.silence >= first_byte;
                if is_slow { Verdict::Code(grpc::DEADLINE_EXCEEDED) } else { Verdict::OfTheClient }
            }
            (Some(code), _) => Verdict::Code(code),
            (None, None) if end.is_over => Verdict::Code(grpc::UNKNOWN),
            (None, None) => Verdict::Nothing,
        }
    }

    /// Whether silence within the response is no failure for long.
    pub(crate) const fn may_be_silent(self) -> bool {
        match self {
            Self::Response => false,
            Self::Events | Self::Tunnel(_) | Self::Call(_) => true,
        }
    }

    pub(crate) const fn is_call(self) -> bool {
        matches!(self, Self::Call(_))
    }

    pub(crate) const fn is_tunnel(self) -> bool {
        matches!(self, Self::Tunnel(_))
    }

    /// When a request that began then must be over. What its client took to say all of it is nobody else's time.
    pub(crate) fn whole_due(self, began: Instant, said_all: Option<Instant>, patience: Patience) -> Option<Instant> {
        match self {
            Self::Response => patience.total.map(|total| said_all.unwrap_or(began) + total),
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

    /// How long an endpoint may take nothing of what it is sent: as long as a response may be silent, whether or not this one
    /// may be silent for longer. In a tunnel or a call either side may make the other wait.
    pub(crate) fn uptake(self, exchange: Exchange) -> Duration {
        match exchange {
            Exchange::Response | Exchange::Events => self.silence(Exchange::Response),
            Exchange::Tunnel(_) | Exchange::Call(_) => self.silence(exchange),
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

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// What a call with this deadline came to that said this, so old and so long silent, where a first byte may take
    /// 15 seconds.
    fn verdict(deadline: Option<u64>, said: Option<u32>, age: u64, silence: u64) -> Verdict {
        let end = CallEnd { said, is_over: true, said_all: true, age: seconds(age), silence: seconds(silence) };
        Exchange::Call(deadline.map(seconds)).verdict(&end, seconds(15))
    }

    #[test]
    fn a_deadline_that_is_shorter_than_the_services_own_limit_is_the_clients_wish() {
        for said in [None, Some(grpc::CANCELLED), Some(grpc::DEADLINE_EXCEEDED)] {
            assert_eq!(verdict(Some(0), said, 0, 0), Verdict::OfTheClient, "{said:?}");
            assert_eq!(verdict(Some(14), said, 20, 20), Verdict::OfTheClient, "{said:?}");
            assert_eq!(verdict(Some(15), said, 20, 20), Verdict::Code(grpc::DEADLINE_EXCEEDED), "{said:?}");
            // It had spoken, or the client has not taken what it said.
            assert_eq!(verdict(Some(60), said, 60, 14), Verdict::OfTheClient, "{said:?}");
        }
        assert_eq!(verdict(Some(1), Some(13), 20, 20), Verdict::Code(13));
    }

    #[test]
    fn what_a_version_says_before_the_deadline_is_its_own() {
        assert_eq!(verdict(Some(60), Some(grpc::DEADLINE_EXCEEDED), 3, 0), Verdict::Code(grpc::DEADLINE_EXCEEDED));
        assert_eq!(verdict(Some(60), None, 3, 0), Verdict::Code(grpc::UNKNOWN));
        assert_eq!(verdict(None, Some(0), 3, 0), Verdict::Code(0));
    }

    #[test]
    fn a_client_that_has_not_said_all_waits_for_nobody() {
        let end = CallEnd { said: None, is_over: false, said_all: false, age: seconds(70), silence: seconds(70) };
        assert_eq!(Exchange::Call(Some(seconds(60))).verdict(&end, seconds(15)), Verdict::OfTheClient);
        assert_eq!(Exchange::Call(None).verdict(&end, seconds(15)), Verdict::Nothing);
        assert_eq!(Exchange::Response.verdict(&end, seconds(15)), Verdict::Nothing);
    }
}
