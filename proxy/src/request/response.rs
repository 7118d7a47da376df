//! What an endpoint answers to the present attempt.

use std::time::Instant;

use http::{HeaderMap, Method};
use pingora_error::Result;
use pingora_http::ResponseHeader;

use super::{Request, micros};
use crate::response_check::ResponseCheck;
use crate::upstream_stream::Malformed;

impl Request {
    /// What the endpoint sent is not what HTTP says.
    pub(crate) fn malformed(&mut self, malformed: Malformed) {
        self.why = Some(malformed.why);
        if let Some(attempt) = &self.attempt {
            attempt.at.endpoint().malformed(malformed.flaw);
        }
    }

    /// A response head came, interim or not: whether it may be passed on.
    pub(crate) fn check_head(&mut self, response: &ResponseHeader) -> Result<()> {
        match (&mut self.attempt, &self.matched) {
            (Some(attempt), _) if attempt.link.is_some() => attempt.heads.head_read_in_bytes(response),
            (Some(attempt), Some(matched)) => attempt.heads.head(response, &matched.service.rules),
            (None, _) | (_, None) => Ok(()),
        }
    }

    /// Trailers came: whether they may be passed on.
    pub(crate) fn check_trailers(&self, trailers: &HeaderMap) -> Result<()> {
        self.matched.as_ref().map_or(Ok(()), |matched| ResponseCheck::trailers(trailers, &matched.service.rules))
    }

    /// A piece of content came in answer to this method: whether it may be passed on.
    pub(crate) fn check_content(&self, method: &Method) -> Result<()> {
        let status = self.attempt.as_ref().and_then(|attempt| attempt.head).map(|(status, _)| status);
        status.map_or(Ok(()), |status| ResponseCheck::content(status, method))
    }

    /// The response head came.
    pub(crate) fn head(&mut self, status: u16, now: Instant) {
        self.is_tunnel = status == 101;
        if self.exchange.may_be_silent() {
            self.is_answered();
        }
        let silence = self.silence_of_response();
        if let Some(attempt) = &mut self.attempt {
            let latency_us = micros(attempt.waits_since().unwrap_or(now), now);
            attempt.head = Some((status, latency_us));
            if self.exchange.is_call() {
                attempt.at.heard_of_call(latency_us, now);
                attempt.is_untold = true;
                // It may stream for as long as both sides want.
                attempt.at.lasts();
            } else {
                attempt.at.heard(latency_us, status, now);
            }
            if let Some(place) = attempt.place() {
                place.has_answered();
            }
            if let Some(deadline) = &attempt.deadline {
                deadline.set_head(None);
                if silence.is_some() {
                    deadline.set_silence(silence, now);
                }
            }
        }
    }

    /// Nobody waits for more: what is left may take its time.
    pub(super) fn is_answered(&mut self) {
        if let Some(matched) = &mut self.matched {
            matched.account.answered();
        }
    }

    /// Notes that the client has all of its response, where that has come: nothing is left but to read the rest of its
    /// body. Says whether it is so.
    pub(crate) fn has_passed_on(&mut self) -> bool {
        self.is_passed_on = !self.is_tunnel && self.attempt.as_ref().is_some_and(|attempt| attempt.total_us.is_some());
        self.is_passed_on
    }

    /// The response's last byte came. Its client may take longer to read it.
    pub(crate) fn last_byte(&mut self, now: Instant) {
        self.is_answered();
        if let Some(silence) = &self.silence {
            silence.is_for_nobody();
        }
        if let Some(attempt) = &mut self.attempt {
            attempt.total_us = attempt.ready.map(|ready| micros(ready, now));
            // What is left is the client's.
            attempt.ending = attempt.ending();
            attempt.noted = None;
            if let Some(deadline) = attempt.deadline.take() {
                attempt.silence = deadline.silence(now);
            }
        }
    }
}
