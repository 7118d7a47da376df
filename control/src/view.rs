//! What users and programs see: the JSON of the control API, and the snapshot that the control loop publishes for it.
//!
//! These names are held on to by scripts and dashboards.

mod endpoint;
mod gate;
mod mirror;

use std::collections::BTreeMap;
use std::sync::Arc;

use meter::Class;
use serde::{Deserialize, Serialize};

pub use self::endpoint::{EndpointView, NameView};
pub use self::gate::{Arms, GateCounts, GateEstimate, GateView, RatioView, Role, Verdict};
pub use self::mirror::{MirrorSampleView, MirrorView, NotCopied};
use crate::judge::Copies;
use crate::metrics::VersionCounts;
use crate::plane::{CheckCounts, ClientTls, MalformedCounts, Names};

/// What the reason of a rollout begins with whose dry run is over.
pub const DRY_RUN_OVER: &str = "the dry run is over";

/// Everything that reads need, published by the control loop: at once after a change, and once a second.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The services by name.
    pub services: BTreeMap<String, Arc<ServiceSnapshot>>,
    /// What requests that matched no service got, by class in the order of [`Class::ALL`].
    pub unmatched: [u64; Class::ALL.len()],
    /// Whether the last reload was taken.
    pub last_reload_success: bool,
    /// Why the journal cannot be written, while it cannot.
    pub journal_problem: Option<String>,
    /// Lines of the access log that were dropped since the start.
    pub log_lines_dropped: u64,
    /// How TLS towards clients does.
    pub client_tls: Arc<ClientTls>,
    /// How names of endpoints are resolved.
    pub names: Arc<Names>,
    /// Whether the journal is replayed and the first configuration installed.
    pub ready: bool,
}

/// One service in a [`Snapshot`].
#[derive(Debug)]
pub struct ServiceSnapshot {
    /// As the API shows it.
    pub view: ServiceView,
    /// Retries that there was no budget for.
    pub refused_retries: u64,
    /// What each version did, by its name, as of the last full second.
    pub counts: BTreeMap<String, Arc<VersionCounts>>,
    /// What clients got, by class in the order of [`Class::ALL`].
    pub responses: [u64; Class::ALL.len()],
    /// Ended rollouts of this process and the journal, by outcome phase.
    pub outcomes: BTreeMap<Phase, u64>,
    /// Ended rollouts, newest first; at most 20.
    pub history: Vec<Arc<RolloutView>>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Its name.
    pub service: String,
    /// The version that serves users.
    pub stable: String,
    /// The other version with a weight, or in a rollout.
    pub canary: Option<String>,
    /// The canary's weight in force, in basis points.
    pub weight: u16,
    /// Counts changes of this service.
    pub generation: u64,
    /// Every version.
    pub versions: Vec<VersionView>,
    /// The latest rollout, running or ended.
    pub rollout: Option<RolloutView>,
    /// Where the state in force differs from the file, in words.
    pub differs_from_file: Vec<String>,
    /// What an operator should know: an unwritable journal, a corrupt record, no gates.
    pub warnings: Vec<String>,
    /// While no rollout runs: how long verdicts would take at the present traffic, for the steps of the service's plan.
    #[serde(default)]
    pub estimates: Vec<StepEstimate>,
}

/// One version of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionView {
    /// Its name.
    pub name: String,
    /// Its weight in force, in basis points.
    pub weight: u16,
    /// Its endpoints.
    pub endpoints: Vec<EndpointView>,
    /// Requests that are there now.
    pub in_flight: u64,
    /// First attempts since the process began.
    pub requests: u64,
    /// How many of them failed.
    pub failed: u64,
    /// Requests drawn here that stable answered well in this version's stead, since the process began.
    #[serde(default)]
    pub saved: u64,
    /// Further attempts made here after a first one had failed, since the process began.
    #[serde(default)]
    pub retried: u64,
    /// First attempts a second, over the last ten seconds.
    pub requests_per_second: f64,
    /// Fraction of first attempts that failed over the last ten seconds; none without traffic.
    pub error_rate: Option<f64>,
    /// p50 and p99 of judged latency over the last ten seconds, in milliseconds; none without traffic.
    pub latency_p50_ms: Option<f64>,
    /// See `latency_p50_ms`.
    pub latency_p99_ms: Option<f64>,
    /// Whether fewer than half of its endpoints are well, so that health checks and ejections are ignored.
    #[serde(default)]
    pub panic: bool,
    /// Endpoints that were ejected since the process began.
    #[serde(default)]
    pub ejections: u64,
    /// Requests that found no room since the process began: as many were under way as the version's limits allow.
    #[serde(default)]
    pub overflows: u64,
    /// Responses over HTTP/1.1 that were not what HTTP says, since the process began.
    #[serde(default)]
    pub malformed_responses: MalformedCounts,
    /// Health checks since the process began; none where the version has no check.
    #[serde(default)]
    pub health_checks: Option<CheckCounts>,
    /// The names among its endpoints, and how they are resolved.
    #[serde(default)]
    pub names: Vec<NameView>,
    /// Copies of requests that it was sent since the process began; none where it never was to get any.
    #[serde(default)]
    pub mirror: Option<MirrorView>,
    /// Connections that last (WebSocket, streams) and are there now.
    #[serde(default)]
    pub long_lived: u64,
    /// How many of those were ended after their version had left, since the process began.
    #[serde(default)]
    pub long_lived_ended: u64,
    /// Of a version that had traffic and has none any more: how long those may stay.
    #[serde(default)]
    pub leaving: Option<LeavingView>,
}

/// How a version stands that had traffic and has none any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeavingView {
    /// Since when, in RFC 3339.
    pub since: String,
    /// Whether its connections that last were asked to end.
    pub asked: bool,
    /// Seconds until they are; none where they were, or may stay for as long as they like.
    pub asked_in_s: Option<f64>,
}

/// A rollout, running or ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutView {
    /// ULID.
    pub id: String,
    /// The service.
    pub service: String,
    /// The stable when it began.
    pub stable: String,
    /// The version under test.
    pub canary: String,
    /// The plan's name.
    pub plan: String,
    /// Where it stands.
    pub phase: Phase,
    /// Why it is paused or has ended, or what it waits for; the evidence in a sentence where the gates did it.
    pub reason: Option<String>,
    /// The present step, counted from 1; 0 before the first.
    pub step: usize,
    /// How many steps the plan has.
    pub steps: usize,
    /// The canary's weight in force, in basis points: 0 after a rollback, 10 000 after a promotion.
    pub weight: u16,
    /// The service's generation.
    pub generation: u64,
    /// RFC 3339.
    pub started_at: String,
    /// RFC 3339; none while it runs.
    pub ended_at: Option<String>,
    /// How long the present step has held, in seconds.
    pub step_elapsed_s: f64,
    /// How long it must hold, in seconds; none at an approval.
    pub step_hold_s: Option<f64>,
    /// Judged first attempts since the rollout began.
    pub requests: Arms<u64>,
    /// How many of them failed.
    pub failed: Arms<u64>,
    /// Who goes to the canary whatever its weight; none while nobody does.
    #[serde(default, rename = "match")]
    pub matching: Option<MatchView>,
    /// Those who went to the canary so, and are not among `requests`: requests and failures since the rollout began.
    #[serde(default)]
    pub matched: Matched,
    /// The share of the requests that stable serves which the canary gets copies of, in basis points; none while it gets
    /// none.
    #[serde(default)]
    pub mirror: Option<u16>,
    /// What became of the copies, since the rollout began; none where its plan sends none.
    #[serde(default)]
    pub copies: Option<Copies>,
    /// The gates.
    pub gates: Vec<GateView>,
    /// What the canary is compared with, where that is not all of stable: `equal` or a version's name.
    #[serde(default)]
    pub baseline: Option<String>,
    /// Whether verdicts are only reported.
    #[serde(default)]
    pub dry_run: bool,
    /// In a dry run: how often the gates would have rolled back.
    #[serde(default)]
    pub would_have_rolled_back: u64,
    /// How bursty stable's events are; none before it was measured (docs/statistics.md).
    #[serde(default)]
    pub dispersion: Option<Dispersion>,
    /// How long verdicts take at the present traffic, for the present step and those ahead.
    #[serde(default)]
    pub estimates: Vec<StepEstimate>,
}

/// Whom a plan gives to the canary whatever its weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchView {
    /// What a request must have, all of it: each header with its value, `*` for any; a cookie as `NAME=VALUE` under
    /// `cookie`.
    pub headers: BTreeMap<String, String>,
    /// Whether every gate judges them; else limits and the circuit breaker.
    pub judged: bool,
}

/// What those did who went to the canary whatever its weight, where they are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Matched {
    /// First attempts.
    pub requests: u64,
    /// How many of them failed.
    pub failed: u64,
}

/// How much more events vary between groups of stable traffic than if requests were independent: 1 is independence,
/// and 14 makes a verdict need 14 times the requests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Dispersion {
    /// Of failures.
    pub errors: f64,
    /// Of slow requests.
    pub latency: f64,
}

/// How long a verdict takes at one step's weight, by the present traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepEstimate {
    /// Counted from 1.
    pub step: usize,
    /// The canary's weight, in basis points.
    pub weight: u16,
    /// Of a step that sends the canary copies of requests: the share of stable's that are copied, in basis points.
    #[serde(default)]
    pub mirror: Option<u16>,
    /// Seconds until harm of the margin's size is established, on average, by the slowest gate; none without traffic.
    pub fail_s: Option<f64>,
    /// Seconds until a canary that is as good as stable passes every gate, on average; none without traffic.
    pub pass_s: Option<f64>,
}

/// Where a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Going through its steps.
    Progressing,
    /// Held by a person, or because a limit is broken on both versions.
    Paused,
    /// At an approval step.
    AwaitingApproval,
    /// Its last step is done; the promotion is on its way to the disk.
    Promoting,
    /// The canary became the stable.
    Promoted,
    /// The gates took it back.
    RolledBack,
    /// A person stopped it.
    Aborted,
    /// Another rollout took its place.
    Superseded,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 8] = [
        Self::Progressing,
        Self::Paused,
        Self::AwaitingApproval,
        Self::Promoting,
        Self::Promoted,
        Self::RolledBack,
        Self::Aborted,
        Self::Superseded,
    ];

    /// Whether the rollout is over.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        match self {
            Self::Progressing | Self::Paused | Self::AwaitingApproval | Self::Promoting => false,
            Self::Promoted | Self::RolledBack | Self::Aborted | Self::Superseded => true,
        }
    }

    /// The word in JSON, metrics and status.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Progressing => "progressing",
            Self::Paused => "paused",
            Self::AwaitingApproval => "awaiting-approval",
            Self::Promoting => "promoting",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled-back",
            Self::Aborted => "aborted",
            Self::Superseded => "superseded",
        }
    }
}

/// Something that happened, as `/events` streams it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Grows by one; `Last-Event-ID` resumes after it.
    pub id: u64,
    /// RFC 3339.
    pub at: String,
    /// The service it is about; none for the process (a reload, the journal).
    pub service: Option<String>,
    /// What kind: `rollout-started`, `step`, `phase`, `weight`, `reload`, `journal`, `drain`, `warning`.
    pub kind: String,
    /// In a sentence.
    pub text: String,
    /// The rollout after it.
    pub rollout: Option<RolloutView>,
}
