//! What a load counts while it runs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::pacer::Due;
use crate::report::{LoadReport, VersionReport};

/// Statuses are below this.
const STATUSES: usize = 1_000;
/// Versions that are told apart; further ones are counted together.
const VERSIONS: usize = 8;
/// The name of those further ones.
const OTHERS: &str = "(others)";
/// The name of responses without `x-version`.
const NAMELESS: &str = "-";
/// The longest latency that is told apart, in microseconds: an hour.
const LONGEST_US: u64 = 3_600_000_000;

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
    const ALL: [Self; 6] = [Self::Refused, Self::NotConnected, Self::Reset, Self::CutShort, Self::NotHttp, Self::Other];

    const fn words(self) -> &'static str {
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

/// Counts of a load, written by its threads and read by anyone.
#[derive(Debug)]
pub(super) struct Tallies {
    begin: Instant,
    admitted: AtomicU64,
    over_bound: AtomicU64,
    no_socket: AtomicU64,
    in_flight: AtomicU64,
    by_status: Box<[AtomicU64]>,
    failures: [AtomicU64; Failure::ALL.len()],
    timeouts: AtomicU64,
    unfinished: AtomicU64,
    behind_us: AtomicU64,
    /// How long the schedule lasted; 0 while it runs.
    lasted_us: AtomicU64,
    versions: [Version; VERSIONS + 1],
    /// For each client, whether it got a failure; empty for anonymous ones.
    hurt: Box<[AtomicBool]>,
    clients_hurt: AtomicU64,
    latency: Mutex<Histogram<u64>>,
}

#[derive(Debug, Default)]
struct Version {
    name: OnceLock<Box<str>>,
    responses: AtomicU64,
    failed: AtomicU64,
}

/// What a load has counted so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LiveCounts {
    /// Since the load began.
    pub elapsed: Duration,
    /// Requests sent.
    pub sent: u64,
    /// Sent and still without an end.
    pub in_flight: u64,
    /// Complete responses, whatever their status.
    pub answered: u64,
    /// Complete responses by class: 1xx, 2xx, 3xx, 4xx, then 5xx and above.
    pub by_class: [u64; 5],
    /// Requests without a complete response: refused, reset, cut or not HTTP.
    pub failed: u64,
    /// Requests whose client left.
    pub timeouts: u64,
    /// Requests that were due and could not be sent, because too many were in flight or no socket was left.
    pub not_sent: u64,
    /// Different clients that got a failure or a 5xx, or left; 0 for anonymous clients.
    pub clients_hurt: u64,
    /// Responses by the value of `x-version`, for the first 8 of them.
    pub by_version: BTreeMap<String, VersionReport>,
}

impl Tallies {
    pub(super) fn new(begin: Instant, clients: Option<u32>) -> Self {
        let latency = Histogram::new_with_bounds(1, LONGEST_US, 3);
        Self {
            begin,
            admitted: AtomicU64::default(),
            over_bound: AtomicU64::default(),
            no_socket: AtomicU64::default(),
            in_flight: AtomicU64::default(),
            by_status: (0..STATUSES).map(|_| AtomicU64::default()).collect(),
            failures: Default::default(),
            timeouts: AtomicU64::default(),
            unfinished: AtomicU64::default(),
            behind_us: AtomicU64::default(),
            lasted_us: AtomicU64::default(),
            versions: Default::default(),
            hurt: (0..clients.unwrap_or(0)).map(|_| AtomicBool::default()).collect(),
            clients_hurt: AtomicU64::default(),
            latency: Mutex::new(latency.expect("bounds of 1 and an hour with 3 digits are legal")),
        }
    }

    /// Lets a request that is due pass, unless `bound` of them are in flight.
    pub(super) fn admit(self: &Arc<Self>, due: Due, bound: u64, alive: &mpsc::Sender<()>) -> Option<Passage> {
        // Only the pacer adds, so nothing can slip in between the two.
        if self.in_flight.load(Ordering::Acquire) >= bound {
            self.over_bound.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.admitted.fetch_add(1, Ordering::Relaxed);
        Some(Passage { tallies: Arc::clone(self), due, version: None, ending: None, _alive: alive.clone() })
    }

    /// The schedule is over.
    pub(super) fn schedule_over(&self) {
        self.lasted_us.store(micros(self.begin.elapsed()).max(1), Ordering::Relaxed);
    }

    fn slot(&self, name: &str) -> &Version {
        let known = self.versions[..VERSIONS].iter().find(|version| {
            // One thread speaks HTTP, so a slot cannot be taken in between.
            &**version.name.get_or_init(|| name.into()) == name
        });
        known.unwrap_or_else(|| {
            self.versions[VERSIONS].name.get_or_init(|| OTHERS.into());
            &self.versions[VERSIONS]
        })
    }

    fn hurt(&self, client: u32) {
        if let Some(hurt) = self.hurt.get(client as usize)
            && !hurt.swap(true, Ordering::Relaxed)
        {
            self.clients_hurt.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn by_version(&self) -> BTreeMap<String, VersionReport> {
        let named = self.versions.iter().filter_map(|version| version.name.get().map(|name| (name, version)));
        let read = |version: &Version| VersionReport {
            responses: version.responses.load(Ordering::Relaxed),
            failed: version.failed.load(Ordering::Relaxed),
        };
        named.map(|(name, version)| (name.to_string(), read(version))).collect()
    }

    fn sent(&self) -> u64 {
        let no_socket = self.no_socket.load(Ordering::Relaxed);
        self.admitted.load(Ordering::Relaxed).saturating_sub(no_socket)
    }

    fn not_sent(&self) -> u64 {
        self.over_bound.load(Ordering::Relaxed) + self.no_socket.load(Ordering::Relaxed)
    }

    fn failed(&self) -> u64 {
        self.failures.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn live(&self) -> LiveCounts {
        let mut by_class = [0; 5];
        for (status, count) in self.by_status.iter().enumerate() {
            by_class[(status / 100).clamp(1, 5) - 1] += count.load(Ordering::Relaxed);
        }
        LiveCounts {
            elapsed: self.begin.elapsed(),
            sent: self.sent(),
            in_flight: self.in_flight.load(Ordering::Acquire),
            answered: by_class.iter().sum(),
            by_class,
            failed: self.failed(),
            timeouts: self.timeouts.load(Ordering::Relaxed),
            not_sent: self.not_sent(),
            clients_hurt: self.clients_hurt.load(Ordering::Relaxed),
            by_version: self.by_version(),
        }
    }

    pub(super) fn report(&self) -> LoadReport {
        let statuses = (0..).zip(&self.by_status).map(|(status, count)| (status, count.load(Ordering::Relaxed)));
        let by_status: BTreeMap<u16, u64> = statuses.filter(|(_, count)| *count > 0).collect();
        let reasons = Failure::ALL.iter().zip(&self.failures);
        let reasons = reasons.map(|(failure, count)| (failure.words(), count.load(Ordering::Relaxed)));
        LoadReport {
            lasted: Duration::from_micros(self.lasted_us.load(Ordering::Relaxed)),
            sent: self.sent(),
            answered: by_status.values().sum(),
            server_errors: by_status.range(500..).map(|(_, count)| count).sum(),
            failed: self.failed(),
            failed_by_reason: reasons.filter(|(_, count)| *count > 0).collect(),
            timeouts: self.timeouts.load(Ordering::Relaxed),
            unfinished: self.unfinished.load(Ordering::Relaxed),
            not_sent: self.not_sent(),
            by_status,
            by_version: self.by_version(),
            clients: self.hurt.len() as u64,
            clients_hurt: self.clients_hurt.load(Ordering::Relaxed),
            latency: self.latency.lock().clone(),
            behind_schedule_max: Duration::from_micros(self.behind_us.load(Ordering::Relaxed)),
        }
    }
}

/// A request on its way. Wherever it is dropped, it is counted once.
#[derive(Debug)]
pub(super) struct Passage {
    tallies: Arc<Tallies>,
    due: Due,
    version: Option<Box<str>>,
    ending: Option<Ending>,
    /// Tells, once all of them are dropped, that nothing is in flight.
    _alive: mpsc::Sender<()>,
}

impl Passage {
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
        self.tallies.slot(&name).responses.fetch_add(1, Ordering::Relaxed);
        self.version = Some(name.into());
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
            if let Some(version) = &self.version {
                tallies.slot(version).failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        tallies.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn admit(tallies: &Arc<Tallies>, client: u32, bound: u64) -> Option<Passage> {
        tallies.admit(Due { at: Duration::ZERO, client }, bound, &mpsc::channel(1).0)
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
}
