//! What arrived at an origin, and when.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// What arrived at an origin. Times count from [`Origin::started_at`](crate::Origin::started_at).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrivals {
    /// Connections accepted.
    pub connections: u64,
    /// Requests whose head arrived.
    pub requests: u64,
    /// Requests that were answered with an error, or met a behaviour that answers nothing whole.
    pub bad: u64,
    /// Requests that arrived and are neither answered nor given up by the client.
    pub in_progress: u64,
    /// When the last request arrived.
    pub last_request_at: Option<Duration>,
    /// What came after the first bad response since the start, or since
    /// [`begin_incident`](crate::Origin::begin_incident).
    pub incident: Option<Incident>,
}

/// What came after a first bad response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incident {
    /// When the first bad response left; where none ever leaves (a hang), when its request was read.
    pub first_bad_at: Duration,
    /// When the last request arrived; the time of the first bad response where none came after it.
    pub last_request_at: Duration,
    /// How many requests arrived after the first bad response.
    pub requests_after: u64,
    /// How many bad responses there were, the first among them.
    pub bad: u64,
}

impl Incident {
    /// From the first bad response to the last request.
    #[must_use]
    pub const fn span(&self) -> Duration {
        self.last_request_at.saturating_sub(self.first_bad_at)
    }
}

/// Where an origin notes what arrives.
#[derive(Debug)]
pub(super) struct Log {
    started_at: Instant,
    arrivals: Mutex<Arrivals>,
}

/// A request in progress; dropped when it is over.
#[derive(Debug)]
pub(super) struct InProgress<'a>(&'a Log);

impl Log {
    pub(super) fn start(started_at: Instant) -> Self {
        Self { started_at, arrivals: Mutex::default() }
    }

    pub(super) const fn started_at(&self) -> Instant {
        self.started_at
    }

    pub(super) fn read(&self) -> Arrivals {
        *self.arrivals.lock()
    }

    pub(super) fn begin_incident(&self) {
        self.arrivals.lock().incident = None;
    }

    pub(super) fn connection(&self) {
        self.arrivals.lock().connections += 1;
    }

    /// The head of a request arrived.
    pub(super) fn request(&self) -> InProgress<'_> {
        let now = self.started_at.elapsed();
        let mut arrivals = self.arrivals.lock();
        arrivals.requests += 1;
        arrivals.in_progress += 1;
        arrivals.last_request_at = Some(now);
        if let Some(incident) = &mut arrivals.incident {
            incident.requests_after += 1;
            incident.last_request_at = now;
        }
        drop(arrivals);
        InProgress(self)
    }

    /// A bad response leaves.
    pub(super) fn bad(&self) {
        let now = self.started_at.elapsed();
        let mut arrivals = self.arrivals.lock();
        arrivals.bad += 1;
        let first = Incident { first_bad_at: now, last_request_at: now, requests_after: 0, bad: 0 };
        arrivals.incident.get_or_insert(first).bad += 1;
    }
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.arrivals.lock().in_progress -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_counts_the_requests_after_its_first_bad_response() {
        let log = Log::start(Instant::now());
        drop(log.request());
        assert_eq!(log.read().incident, None);
        log.bad();
        let alone = log.read().incident.unwrap();
        assert_eq!((alone.requests_after, alone.bad, alone.span()), (0, 1, Duration::ZERO));
        drop(log.request());
        drop(log.request());
        log.bad();
        let incident = log.read().incident.unwrap();
        assert_eq!((incident.requests_after, incident.bad), (2, 2));
        assert_eq!(Some(incident.last_request_at), log.read().last_request_at);
        assert_eq!(incident.first_bad_at, alone.first_bad_at);
    }

    #[test]
    fn a_new_incident_begins_with_the_next_bad_response() {
        let log = Log::start(Instant::now());
        log.bad();
        log.begin_incident();
        drop(log.request());
        assert_eq!(log.read().incident, None);
        log.bad();
        let incident = log.read().incident.unwrap();
        assert_eq!((incident.requests_after, incident.bad, log.read().bad), (0, 1, 2));
    }

    #[test]
    fn a_request_is_in_progress_until_it_is_dropped() {
        let log = Log::start(Instant::now());
        let request = log.request();
        assert_eq!(log.read().in_progress, 1);
        drop(request);
        assert_eq!(log.read().in_progress, 0);
    }
}
