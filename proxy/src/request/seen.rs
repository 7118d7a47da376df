//! What the access log says of a request beside its head.

use std::sync::Arc;
use std::time::Duration;

use meter::Class;

use super::{Request, Underway};
use crate::deadlines::Ending;
use crate::endpoint::Endpoint;
use crate::routing::Version;
use crate::selection::Decision;

/// An attempt that has ended.
#[derive(Debug)]
pub(super) struct Served {
    version: Arc<Version>,
    endpoint: Arc<Endpoint>,
    /// From the ready connection, or the last byte of the request, to the response head, in microseconds.
    head_us: Option<u64>,
}

impl Served {
    pub(super) fn of(attempt: Underway) -> Self {
        let Underway { version, at, head, .. } = attempt;
        Self { version, endpoint: at.shared(), head_us: head.map(|(_, us)| us) }
    }
}

/// What Tidegate did with a request.
#[derive(Debug, Default)]
pub(crate) struct Seen<'a> {
    /// From its head to its last byte.
    pub(crate) lasted: Duration,
    /// What the client got.
    pub(crate) class: Option<Class>,
    /// The service that it matched.
    pub(crate) service: Option<&'a str>,
    /// The version drawn.
    pub(crate) drawn: Option<&'a str>,
    /// The version of the last attempt.
    pub(crate) version: Option<&'a str>,
    /// Why it went there.
    pub(crate) decision: Option<&'static str>,
    /// The canary's weight when it was drawn, in basis points.
    pub(crate) weight: Option<u16>,
    /// How many attempts it had.
    pub(crate) attempts: u8,
    /// Where the last attempt went.
    pub(crate) endpoint: Option<&'a config::Endpoint>,
    /// Why it was ended though it went well, where it was.
    pub(crate) ended: Option<&'static str>,
    /// From a ready connection, or the last byte of the request, to the response head, of the last attempt.
    pub(crate) upstream_us: Option<u64>,
    /// What was wrong with it, or with what an endpoint answered.
    pub(crate) why: Option<&'static str>,
}

impl Request {
    /// What was done with it, once it is over.
    pub(crate) fn seen(&self) -> Seen<'_> {
        let (class, lasted) = self.ended.unzip();
        let mut seen = Seen {
            lasted: lasted.unwrap_or_default(),
            class,
            attempts: self.attempts,
            why: self.why,
            ..Seen::default()
        };
        if let Some(matched) = &self.matched {
            let canary = matched.service.split.canary;
            seen.service = Some(matched.service.name.as_str());
            seen.drawn = Some(matched.drawn.name.as_str());
            seen.weight = canary.map(|(_, weight, _)| weight.basis_points());
            seen.decision = self.decision().map(Decision::as_str);
        }
        seen.ended = self.ending().map(Ending::word);
        if let Some(last) = &self.last {
            seen.version = Some(last.version.name.as_str());
            seen.endpoint = Some(&last.endpoint.written);
            seen.upstream_us = last.head_us;
        }
        seen
    }
}
