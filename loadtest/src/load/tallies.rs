//! What a load counts while it runs.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::passage::Failure;
use crate::report::{LoadReport, VersionReport};

/// Statuses are below this.
pub(super) const STATUSES: usize = 1_000;
/// Versions that are told apart; further ones are counted together.
const VERSIONS: usize = 8;
/// The name of those further ones.
const OTHERS: &str = "(others)";
/// The longest latency that is told apart, in microseconds: an hour.
const LONGEST_US: u64 = 3_600_000_000;

/// Counts of a load, written by its threads and read by anyone.
#[derive(Debug)]
pub(super) struct Tallies {
    pub(super) begin: Instant,
    pub(super) admitted: AtomicU64,
    pub(super) over_bound: AtomicU64,
    pub(super) no_socket: AtomicU64,
    pub(super) in_flight: AtomicU64,
    pub(super) by_status: Box<[AtomicU64]>,
    pub(super) failures: [AtomicU64; Failure::ALL.len()],
    pub(super) timeouts: AtomicU64,
    pub(super) unfinished: AtomicU64,
    pub(super) behind_us: AtomicU64,
    /// How long the schedule lasted; 0 while it runs.
    lasted_us: AtomicU64,
    pub(super) versions: [Version; VERSIONS + 1],
    /// For each client, whether it got a failure; empty for anonymous ones.
    hurt: Box<[AtomicBool]>,
    clients_hurt: AtomicU64,
    pub(super) latency: Mutex<Histogram<u64>>,
}

/// Responses of one version.
#[derive(Debug, Default)]
pub(super) struct Version {
    name: OnceLock<Box<str>>,
    pub(super) responses: AtomicU64,
    pub(super) failed: AtomicU64,
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

    /// The schedule is over.
    pub(super) fn schedule_over(&self) {
        self.lasted_us.store(micros(self.begin.elapsed()).max(1), Ordering::Relaxed);
    }

    /// The place of a version's counts.
    pub(super) fn slot(&self, name: &str) -> usize {
        let own = |version: &Version| **version.name.get_or_init(|| name.into()) == *name;
        let found = self.versions[..VERSIONS].iter().position(own);
        found.unwrap_or_else(|| {
            self.versions[VERSIONS].name.get_or_init(|| OTHERS.into());
            VERSIONS
        })
    }

    pub(super) fn hurt(&self, client: u32) {
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

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
