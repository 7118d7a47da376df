//! What a service asks of a request beside its host and path.

use config::{HeaderMatch, Service};
use http::{HeaderMap, Method};

/// The methods and headers that lead to a service.
#[derive(Debug, Default)]
pub(super) struct Condition {
    /// Empty for every method.
    methods: Box<[String]>,
    headers: Box<[HeaderMatch]>,
}

impl Condition {
    pub(super) fn of(service: &Service) -> Self {
        Self { methods: service.methods.as_slice().into(), headers: service.headers.as_slice().into() }
    }

    /// Whether every request meets it.
    pub(super) fn is_none(&self) -> bool {
        self.methods.is_empty() && self.headers.is_empty()
    }

    /// The headers that it wants.
    pub(super) fn headers(&self) -> &[HeaderMatch] {
        &self.headers
    }

    /// The larger one is tried first.
    pub(super) fn rank(&self) -> (bool, usize) {
        (!self.methods.is_empty(), self.headers.len())
    }

    /// Whether a request has one of the methods and all of the headers.
    #[inline]
    pub(super) fn is_met(&self, method: &Method, headers: &HeaderMap) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|wanted| wanted == method.as_str()))
            && self.headers.iter().all(|wanted| has(headers, wanted))
    }
}

/// Whether a request has this header. One that comes several times has no single value, so no request is for two services
/// that match different ones.
#[inline]
pub(crate) fn has(headers: &HeaderMap, wanted: &HeaderMatch) -> bool {
    match &wanted.value {
        Some(value) => {
            let mut lines = headers.get_all(wanted.name.as_str()).iter();
            lines.next().is_some_and(|line| line == value.as_str()) && lines.next().is_none()
        }
        None => headers.contains_key(wanted.name.as_str()),
    }
}
