//! A request that is copied, on its way through the proxy: its body is gathered until it is whole and handed over, and
//! then what stable answers is noted.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use config::Weight;
use http::{HeaderMap, HeaderName, header};
use meter::{Class, Unsent};
use pingora_http::{RequestHeader, ResponseHeader};

use super::body::Body;
use super::head::{Original, frame};
use super::pair::{Answer, End, Half, Pair, code_of};
use super::print::Print;
use super::{Delivery, Outbox};
use crate::exchange::{Exchange, is_event_stream};
use crate::routing::{Service, Version};
use crate::ticket::Ticket;

/// What a request's copy has come to. Nothing, for the most.
#[derive(Debug, Default)]
pub(crate) struct Mirroring(Option<Copied>);

#[derive(Debug)]
enum Copied {
    /// It is not whole yet.
    Gathering(Box<Gathering>),
    /// It was handed over.
    Beside(Box<Beside>),
}

/// A copy that is not whole yet.
#[derive(Debug)]
struct Gathering {
    outbox: Outbox,
    service: Arc<Service>,
    canary: Arc<Version>,
    head: RequestHeader,
    /// None where the request has none.
    body: Option<Body>,
    /// A body that goes on for longer is a stream.
    began: Instant,
}

/// What stable answers to a request whose copy was handed over.
#[derive(Debug)]
struct Beside {
    half: Half,
    head: Option<Head>,
    body: Print,
    trailers: Option<HeaderMap>,
}

/// The head of stable's answer.
#[derive(Debug)]
struct Head {
    status: u16,
    fields: HeaderMap,
}

impl Mirroring {
    /// A request was drawn to stable: whether it is copied, and what begins then. `share` of the requests are; the draw
    /// is one of its own. Those that are drawn and cannot be copied are counted.
    #[inline]
    pub(crate) fn begin(
        share: Weight,
        service: &Arc<Service>,
        exchange: Exchange,
        has_body: bool,
        original: Original<'_>,
        outbox: &Outbox,
        now: Instant,
    ) -> Self {
        if !Ticket::random().is_below(share) {
            return Self::default();
        }
        let Some(canary) = service.split.canary.and_then(|(place, ..)| service.versions.get(place)) else {
            return Self::default();
        };
        // One that was copied once goes on alone: two proxies in a row, or one that is its own canary, would never end.
        if original.is_copy(&service.rules) {
            return Self::default();
        }
        if let Some(why) = hindrance(service, canary, exchange, original.head) {
            canary.mirror.meter.unsent(why);
            return Self::default();
        }
        let Some(head) = original.copy(service, canary) else { return Self::default() };
        let (service, canary) = (Arc::clone(service), Arc::clone(canary));
        let body = has_body.then(Body::default);
        let gathering = Gathering { outbox: outbox.clone(), service, canary, head, body, began: now };
        Self(Some(Copied::Gathering(Box::new(gathering))))
    }

    /// An attempt begins, which is sent the body from its beginning, and whose answer counts in place of what came of an
    /// earlier one.
    pub(crate) fn begin_again(&mut self) {
        match &mut self.0 {
            Some(Copied::Gathering(gathering)) => gathering.body = gathering.body.as_ref().map(|_| Body::default()),
            Some(Copied::Beside(beside)) => beside.begin_again(),
            None => {}
        }
    }

    /// The head of the request goes to stable. A copy that has no body is whole.
    pub(crate) fn sets_out(&mut self) {
        if self.gathering().is_some_and(|gathering| gathering.body.is_none()) {
            self.hand_over();
        }
    }

    /// A piece of the request's body goes to stable; `whole`: the last one.
    pub(crate) fn takes(&mut self, piece: Option<&Bytes>, whole: bool, now: Instant) {
        let Some(gathering) = self.gathering() else { return };
        let (rules, body) = (&gathering.service.written.mirror, &mut gathering.body);
        let is_late = now.saturating_duration_since(gathering.began) > rules.timeout;
        let told = length_told(&gathering.head);
        let fits = match (piece, &mut *body) {
            (Some(piece), Some(body)) => body.take(piece, rules.body.get()),
            (Some(piece), None) => piece.is_empty(),
            (None, Some(_) | None) => true,
        };
        // A body is whole with the length that was told. Its end may be seen later, after stable has answered.
        let whole = whole || body.as_ref().is_some_and(|body| told == Some(body.length()));
        if !fits {
            self.give_up(Unsent::TooLarge);
        } else if is_late {
            self.give_up(Unsent::Streamed);
        } else if whole {
            self.hand_over();
        }
    }

    /// The head of stable's answer came.
    pub(crate) fn head(&mut self, response: &ResponseHeader) {
        if self.gathering().is_some_and(|gathering| gathering.body.is_some()) {
            // Answered before the end of its body: what is to be compared goes by.
            return self.give_up(Unsent::Streamed);
        }
        let Some(beside) = self.beside() else { return };
        let kind = response.headers.get(header::CONTENT_TYPE);
        if kind.is_some_and(|kind| is_event_stream(kind.as_bytes())) {
            // It has no end that the canary's could be compared with.
            self.0 = None;
        } else {
            beside.head = Some(Head { status: response.status.as_u16(), fields: response.headers.clone() });
        }
    }

    /// A piece of stable's answer came.
    pub(crate) fn hears(&mut self, piece: Option<&Bytes>) {
        if let Some(beside) = self.beside()
            && let Some(piece) = piece
        {
            beside.body.take(piece);
        }
    }

    /// The trailers of stable's answer came.
    pub(crate) fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(beside) = self.beside() {
            beside.trailers = Some(trailers.clone());
        }
    }

    /// The request is over, and the client got this.
    pub(crate) fn end(&mut self, class: Class) {
        match self.0.take() {
            // Its end did not come in time.
            Some(Copied::Gathering(gathering)) if gathering.body.is_some() => gathering.is_not_sent(Unsent::Streamed),
            Some(Copied::Beside(beside)) => beside.end(class),
            // Nobody could be sent it: there is nothing to compare with.
            Some(Copied::Gathering(_)) | None => {}
        }
    }

    fn gathering(&mut self) -> Option<&mut Gathering> {
        match &mut self.0 {
            Some(Copied::Gathering(gathering)) => Some(gathering),
            Some(Copied::Beside(_)) | None => None,
        }
    }

    fn beside(&mut self) -> Option<&mut Beside> {
        match &mut self.0 {
            Some(Copied::Beside(beside)) => Some(beside),
            Some(Copied::Gathering(_)) | None => None,
        }
    }

    fn give_up(&mut self, why: Unsent) {
        if let Some(Copied::Gathering(gathering)) = self.0.take() {
            gathering.is_not_sent(why);
        }
    }

    fn hand_over(&mut self) {
        self.0 = match self.0.take() {
            Some(Copied::Gathering(gathering)) => gathering.hand_over().map(|beside| Copied::Beside(Box::new(beside))),
            sent => sent,
        };
    }
}

/// What makes an answer depend on what its client has from another version: stable knows its own entity tags, and a canary
/// with others would answer in full where stable answers 304 (RFC 9110, section 13.1).
const PRECONDITIONS: [HeaderName; 5] =
    [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE, header::IF_RANGE];

/// Why a request cannot be copied.
fn hindrance(service: &Service, canary: &Version, exchange: Exchange, head: &RequestHeader) -> Option<Unsent> {
    let rules = &service.written.mirror;
    if !rules.methods.iter().any(|method| method == head.method.as_str()) {
        return Some(Unsent::Method);
    }
    if PRECONDITIONS.iter().any(|name| head.headers.contains_key(name)) {
        return Some(Unsent::Conditional);
    }
    match exchange {
        Exchange::Tunnel(_) | Exchange::Events => return Some(Unsent::Streamed),
        Exchange::Response | Exchange::Call(_) => {}
    }
    let length = length_told(head);
    if length.is_some_and(|length| length > rules.body.get()) {
        return Some(Unsent::TooLarge);
    }
    // Looked at before anything is copied: where the canary hangs nothing is.
    (canary.mirror.under_way() >= rules.in_flight).then_some(Unsent::Full)
}

/// The length of its body, where the head tells it.
fn length_told(head: &RequestHeader) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl Gathering {
    fn is_not_sent(&self, why: Unsent) {
        self.canary.mirror.meter.unsent(why);
    }

    /// Hands the copy over, where there is room for it.
    fn hand_over(self) -> Option<Beside> {
        let Self { outbox, service, canary, mut head, body, .. } = self;
        let ledger = Arc::clone(&canary.mirror);
        let place = ledger.enter(service.written.mirror.in_flight);
        let Some((place, room)) = place.zip(outbox.room()) else {
            ledger.meter.unsent(Unsent::Full);
            return None;
        };
        ledger.meter.sent();
        let body = body.map(Body::whole).unwrap_or_default();
        frame(&mut head, body.iter().map(Bytes::len).sum());
        let (half, other) = Pair::begin(&head, service.written.grpc_errors, &ledger);
        let timeout = service.written.mirror.timeout;
        let rules = Arc::clone(&service.rules);
        room.send(Delivery { half: other, head, body, canary, rules, timeout, place });
        Some(Beside { half, head: None, body: Print::new(), trailers: None })
    }
}

impl Beside {
    fn begin_again(&mut self) {
        (self.head, self.body, self.trailers) = (None, Print::new(), None);
    }

    fn end(self, class: Class) {
        let Self { half, head, body, trailers } = self;
        let is_whole = matches!(class, Class::Success | Class::Redirect | Class::ClientError);
        half.end(match head {
            _ if class.is_bad() => End::Failed(class),
            Some(Head { status, fields }) if is_whole => {
                let grpc = code_of(&fields, trailers.as_ref());
                End::Answered(Answer { status, grpc, fields, body: body.printed() })
            }
            Some(_) | None => End::Unknown,
        });
    }
}

#[cfg(test)]
mod tests;
