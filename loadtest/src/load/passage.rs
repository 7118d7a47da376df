//! One request on its way, from its admission to whatever end it meets.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderMap, StatusCode};
use tokio::sync::mpsc;

use super::pacer::Due;
use super::tallies::{STATUSES, Tallies, micros};

/// The version of responses without `x-version`.
const NAMELESS: &str = "-";

/// A request on its way. Wherever it is dropped, it is counted once.
#[derive(Debug)]
pub(super) struct Passage {
    tallies: Arc<Tallies>,
    due: Due,
    /// The place of the version that answers, once its head came.
    version: Option<usize>,
    ending: Option<Ending>,
    /// Tells, once all of them are dropped, that nothing is in flight.
    _alive: mpsc::Sender<()>,
}

impl Passage {
    /// Lets a request that is due pass, unless `bound` of them are in flight.
    pub(super) fn admit(tallies: &Arc<Tallies>, due: Due, bound: u64, alive: &mpsc::Sender<()>) -> Option<Self> {
        // Only the pacer adds, so nothing can slip in between the two.
        if tallies.in_flight.load(Ordering::Acquire) >= bound {
            tallies.over_bound.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        tallies.in_flight.fetch_add(1, Ordering::AcqRel);
        tallies.admitted.fetch_add(1, Ordering::Relaxed);
        Some(Self { tallies: Arc::clone(tallies), due, version: None, ending: None, _alive: alive.clone() })
    }

    /// The client that sends it.
    pub(super) const fn client(&self) -> u32 {
        self.due.client
    }

    fn age_us(&self) -> u64 {
        micros(self.tallies.begin.elapsed().saturating_sub(self.due.at))
    }

    /// The request is about to be sent; how late that is, is the generator's own fault.
    pub(super) fn departs(&self) {
        self.tallies.behind_us.fetch_max(self.age_us(), Ordering::Relaxed);
    }

    /// A response head came.
    pub(super) fn head(&mut self, headers: &HeaderMap) {
        let name = headers.get("x-version").map_or(NAMELESS.into(), |value| String::from_utf8_lossy(value.as_bytes()));
        let slot = self.tallies.slot(&name);
        self.tallies.versions[slot].responses.fetch_add(1, Ordering::Relaxed);
        self.version = Some(slot);
    }

    /// The request ended.
    pub(super) fn conclude(mut self, ending: Ending) {
        self.ending = Some(ending);
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let tallies = &*self.tallies;
        let (count, bad, took_time) = match self.ending {
            Some(Ending::Answered(status)) => {
                (&tallies.by_status[usize::from(status.as_u16()) % STATUSES], status.as_u16() >= 500, true)
            }
            Some(Ending::Failed(failure)) => (&tallies.failures[failure as usize], true, false),
            // A request that was given up enters the latencies at its age, else the worst ones would be missing.
            Some(Ending::TimedOut) => (&tallies.timeouts, true, true),
            Some(Ending::NoSocket) => (&tallies.no_socket, false, false),
            None => (&tallies.unfinished, true, true),
        };
        count.fetch_add(1, Ordering::Relaxed);
        if took_time {
            tallies.latency.lock().saturating_record(self.age_us().max(1));
        }
        if bad {
            tallies.hurt(self.due.client);
            if let Some(slot) = self.version {
                tallies.versions[slot].failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        tallies.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Why no complete response came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Failure {
    Refused,
    NotConnected,
    Reset,
    CutShort,
    NotHttp,
    Other,
}

impl Failure {
    pub(super) const ALL: [Self; 6] =
        [Self::Refused, Self::NotConnected, Self::Reset, Self::CutShort, Self::NotHttp, Self::Other];

    /// As the report names it.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Refused => "connection refused",
            Self::NotConnected => "no connection",
            Self::Reset => "connection reset",
            Self::CutShort => "closed before the response was complete",
            Self::NotHttp => "response is not HTTP",
            Self::Other => "other failures",
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// With a complete response.
    Answered(StatusCode),
    /// Without one.
    Failed(Failure),
    /// The client left.
    TimedOut,
    /// The generator itself had no socket left, so nothing was sent.
    NoSocket,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::report::VersionReport;
    use http::HeaderValue;

    fn admit(tallies: &Arc<Tallies>, client: u32, bound: u64) -> Option<Passage> {
        Passage::admit(tallies, Due { at: Duration::ZERO, client }, bound, &mpsc::channel(1).0)
    }

    fn tallies() -> Arc<Tallies> {
        Arc::new(Tallies::new(Instant::now(), Some(10)))
    }

    fn version(name: &'static str) -> HeaderMap {
        HeaderMap::from_iter([("x-version".parse().unwrap(), HeaderValue::from_static(name))])
    }

    #[test]
    fn what_exceeds_the_bound_is_counted_as_not_sent() {
        let tallies = tallies();
        let (first, second) = (admit(&tallies, 0, 2), admit(&tallies, 0, 2));
        assert!(first.is_some() && second.is_some());
        assert!(admit(&tallies, 0, 2).is_none());
        drop(first);
        assert!(admit(&tallies, 0, 2).is_some());
        let report = tallies.report();
        assert_eq!((report.sent, report.not_sent), (3, 1));
    }

    #[test]
    fn every_ending_is_counted_once_and_in_its_place() {
        let tallies = tallies();
        let endings = [
            Some(Ending::Answered(StatusCode::OK)),
            Some(Ending::Answered(StatusCode::BAD_GATEWAY)),
            Some(Ending::Failed(Failure::Reset)),
            Some(Ending::TimedOut),
            Some(Ending::NoSocket),
            None,
        ];
        for ending in endings {
            let passage = admit(&tallies, 0, 100).unwrap();
            match ending {
                Some(ending) => passage.conclude(ending),
                None => drop(passage),
            }
        }
        let report = tallies.report();
        assert_eq!((report.sent, report.not_sent, tallies.live().in_flight), (5, 1, 0));
        assert_eq!((report.answered, report.server_errors), (2, 1));
        assert_eq!((report.failed, report.timeouts, report.unfinished), (1, 1, 1));
        assert_eq!(report.failed_by_reason, BTreeMap::from([("connection reset", 1)]));
        assert_eq!(report.latency.len(), 4, "answered, timed out and unfinished");
        assert_eq!(tallies.live().by_class, [0, 1, 0, 0, 1]);
    }

    #[test]
    fn a_client_is_hurt_once_however_often_it_fails() {
        let tallies = tallies();
        for client in [1, 1, 2] {
            admit(&tallies, client, 100).unwrap().conclude(Ending::TimedOut);
        }
        admit(&tallies, 3, 100).unwrap().conclude(Ending::Answered(StatusCode::NOT_FOUND));
        assert_eq!(tallies.live().clients_hurt, 2);
    }

    #[test]
    fn responses_are_counted_by_version_and_beyond_eight_together() {
        let tallies = tallies();
        let names = ["v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v2"];
        for name in names {
            let mut passage = admit(&tallies, 0, 100).unwrap();
            passage.head(&version(name));
            let ending =
                if name == "v2" { Ending::Failed(Failure::CutShort) } else { Ending::Answered(StatusCode::OK) };
            passage.conclude(ending);
        }
        let by_version = tallies.live().by_version;
        assert_eq!(by_version.len(), 9);
        assert_eq!(by_version["v2"], VersionReport { responses: 2, failed: 2 });
        assert_eq!(by_version["(others)"], VersionReport { responses: 2, failed: 0 });
    }

    #[test]
    fn a_response_that_names_no_version_is_counted_under_a_dash() {
        let tallies = tallies();
        let mut passage = admit(&tallies, 0, 100).unwrap();
        passage.head(&HeaderMap::new());
        passage.conclude(Ending::Answered(StatusCode::BAD_GATEWAY));
        assert_eq!(tallies.report().by_version["-"], VersionReport { responses: 1, failed: 1 });
    }

    #[test]
    fn latency_counts_from_the_moment_a_request_was_meant_to_be_sent() {
        let begin = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let tallies = Arc::new(Tallies::new(begin, None));
        for second in [10, 50] {
            let due = Due { at: Duration::from_secs(second), client: 0 };
            let passage = Passage::admit(&tallies, due, 100, &mpsc::channel(1).0).unwrap();
            passage.departs();
            passage.conclude(Ending::Answered(StatusCode::OK));
        }
        let report = tallies.report();
        // The histogram's buckets are a thousandth wide.
        assert!(report.latency_at(0.0) >= Duration::from_millis(9_990), "{report}");
        assert!(report.latency_at(1.0) >= Duration::from_secs(50), "{report}");
        assert!(report.behind_schedule_max >= Duration::from_secs(50), "{report}");
    }
}
