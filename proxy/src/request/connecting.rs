//! The present attempt's way to its endpoint.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Instant;

use config::Protocol;
use meter::Class;

use super::Request;
use crate::deadlines;
use crate::endpoint::Unreachable;
use crate::upstream_stream::Link;

impl Request {
    /// The present attempt goes this way, where the way is ours to make.
    pub(crate) fn goes_by(&mut self, link: Option<Arc<Link>>) {
        if let Some(attempt) = &mut self.attempt {
            attempt.link = link;
        }
    }

    /// Its connection is ready; pingora calls it `fd`, where it knows it.
    pub(crate) fn connected(&mut self, fd: RawFd, now: Instant) {
        if let Some(attempt) = &mut self.attempt {
            attempt.fd = match &attempt.link {
                Some(link) => link.fd(),
                None => Some(fd),
            };
            attempt.ready = Some(now);
        }
    }

    /// When the connection of the present attempt was ready.
    pub(crate) fn ready(&self) -> Option<Instant> {
        self.attempt.as_ref()?.ready
    }

    /// The way of the present attempt, where it is ours to make.
    pub(crate) fn link(&self) -> Option<&Link> {
        self.attempt.as_ref()?.link.as_deref()
    }

    /// Whether the connection of its attempt had carried requests before; none where only pingora knows.
    pub(crate) fn is_reused(&self) -> Option<bool> {
        self.link().map(Link::is_reused)
    }

    /// Whether the endpoint speaks HTTP/2 where the version does. One that does not is left: false.
    pub(crate) fn agrees(&mut self, speaks_http2: bool) -> bool {
        let Some(attempt) = &mut self.attempt else { return true };
        let agrees = match attempt.version.protocol {
            Protocol::H1 => true,
            Protocol::H2 | Protocol::H2c => speaks_http2,
        };
        if agrees {
            attempt.at.endpoint().connected(attempt.ready.unwrap_or(self.began));
        } else if let Some(fd) = attempt.fd {
            deadlines::end(fd);
        }
        agrees
    }

    /// No connection could be made. The endpoint remembers it, unless it was the proxy's own trouble.
    pub(crate) fn failed_to_connect(&mut self, class: Class, why: Unreachable, now: Instant) {
        if let Some(attempt) = &self.attempt
            && class != Class::Local
        {
            attempt.at.endpoint().is_unreachable(why);
            attempt.at.failed_to_connect(now);
            self.why = Some(why.words());
        }
        self.end_attempt(class, now);
    }

    /// Whether the endpoint of the present attempt has answered nothing yet.
    pub(crate) fn is_unheard(&self) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.head.is_none())
    }

    /// A connection was made, and the endpoint ended it in place of an answer, for this.
    pub(crate) fn refused_by_alert(&mut self, why: Unreachable, now: Instant) {
        if let Some(attempt) = &self.attempt {
            attempt.at.endpoint().is_unreachable(why);
            attempt.at.was_refused(now);
            self.why = Some(why.words());
        }
        self.end_attempt(Class::ConnectError, now);
    }
}
