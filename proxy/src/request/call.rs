//! What a gRPC call came to, as its response says.

use std::time::{Duration, Instant};

use http::{HeaderMap, header};
use meter::Class;

use super::{Request, Underway};
use crate::endpoint::Said;
use crate::exchange::{CallEnd, Exchange, Patience, Verdict};
use crate::grpc;

/// A call that says something so long after its head is a stream, which has begun well.
const STREAMS: Duration = Duration::from_secs(1);

impl Request {
    /// Whether the response head is that of a gRPC call. It is the response that says so: what a client calls its request
    /// makes nothing a call.
    pub(crate) fn grpc_head(&mut self, fields: &HeaderMap) {
        if let Exchange::Call(_) = self.exchange
            && let Some(attempt) = &mut self.attempt
        {
            attempt.is_grpc = fields.get(header::CONTENT_TYPE).is_some_and(grpc::is_grpc);
        }
        self.grpc_status(fields);
    }

    /// The response says what it came to as a gRPC call: in its trailers, or in a head that is all of it.
    pub(crate) fn grpc_status(&mut self, fields: &HeaderMap) {
        if let Some(attempt) = &mut self.attempt
            && attempt.is_grpc
            && let Some(status) = grpc::status(fields)
        {
            attempt.grpc = Some(status);
        }
    }

    /// Whether the response has said what it came to as a gRPC call: nothing follows that.
    pub(crate) fn is_call_over(&self) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.grpc.is_some())
    }

    /// Whether the version is to blame where the whole took too long: not for a deadline that only its client had.
    pub(crate) fn is_too_slow(&self, now: Instant) -> bool {
        let Some(first_byte) = self.patience().map(|patience| patience.first_byte) else { return true };
        let Some(attempt) = &self.attempt else { return true };
        match self.exchange {
            Exchange::Call(_) => match self.exchange.verdict(&self.call_end(attempt, false, now), first_byte) {
                Verdict::Code(_) | Verdict::Nothing => true,
                Verdict::OfTheClient => false,
            },
            Exchange::Response | Exchange::Events | Exchange::Tunnel(_) => true,
        }
    }

    fn call_end(&self, attempt: &Underway, is_over: bool, now: Instant) -> CallEnd {
        CallEnd {
            said: attempt.grpc,
            is_over,
            said_all: self.said_all.is_some(),
            age: now.saturating_duration_since(self.began),
            silence: attempt.deadline.as_ref().map_or(attempt.silence, |deadline| deadline.silence(now)),
        }
    }

    /// The class of a gRPC call that the transport takes for this.
    pub(super) fn class_of_call(&self, attempt: &Underway, class: Class, now: Instant) -> Class {
        let Some(matched) = &self.matched else { return class };
        let end = self.call_end(attempt, class == Class::Success, now);
        match self.exchange.verdict(&end, Patience::of(&matched.service).first_byte) {
            Verdict::Code(code) if matched.service.written.grpc_errors.contains(code) => Class::GrpcError,
            Verdict::Code(_) | Verdict::Nothing => class,
            Verdict::OfTheClient => Class::ClientAbort,
        }
    }
}

/// What its endpoint is told of how fast it is. A call that fails has a head as fast as one that does not, or faster.
impl Underway {
    /// The call goes on: a message of it came.
    pub(super) fn streams_on(&mut self, now: Instant) {
        if self.is_untold
            && self.is_grpc
            && let (Some(since), Some((_, us))) = (self.waits_since(), self.head)
            && now.saturating_duration_since(since) >= STREAMS + Duration::from_micros(us)
        {
            self.tell(Said::Good, now);
        }
    }

    /// It came to this. Where its client left, or we ended it, nobody knows what it would have come to.
    pub(super) fn tell_of_call(&mut self, class: Class, now: Instant) {
        match class {
            _ if !self.is_untold => {}
            // Another code than that of a success is what a status of 4xx is elsewhere.
            Class::Success if !self.is_grpc || self.grpc == Some(grpc::OK) => self.tell(Said::Good, now),
            Class::Success | Class::Redirect | Class::ClientError => self.tell(Said::TurnedAway, now),
            Class::ServerError
            | Class::GrpcError
            | Class::ConnectError
            | Class::Timeout
            | Class::Reset
            | Class::ProtocolError => self.tell(Said::Failed, now),
            Class::Upgrade | Class::ClientAbort | Class::Local => {}
        }
    }

    fn tell(&mut self, said: Said, now: Instant) {
        self.is_untold = false;
        if let Some((_, us)) = self.head {
            self.at.call_says(us, said, now);
        }
    }
}
