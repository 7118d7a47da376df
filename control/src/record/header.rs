//! The first line of a record: whose it is, and how its numbers are meant.

use config::{Baseline, GateRule, LatencyOf, Name, PathPrefix, Plan};
use meter::latency_bucket_of;
use serde_json::{Value, json};

use super::FORMAT;
use crate::journal::plan::PlanForm;
use crate::rollout::Rollout;

/// The name of Tidegate's own buckets in [`LatencyBounds`].
pub(super) const OWN_BOUNDS: &str = "tidegate-1";

/// What a record begins with.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The rollout's identifier; none where no rollout of Tidegate was recorded.
    pub rollout: Option<String>,
    /// The service.
    pub service: Option<String>,
    /// The version that served users.
    pub stable: String,
    /// The version under test.
    pub canary: String,
    /// Whom the canary was compared with.
    pub compared: Compared,
    /// RFC 3339.
    pub started_at: Option<String>,
    /// What the rollout was judged by; none where the record does not say.
    pub plan: Option<Plan>,
    /// Paths whose requests were also counted by themselves.
    pub paths: Vec<PathPrefix>,
    /// Whether latencies to the last byte were counted too.
    pub totals: bool,
    /// What the numbers of latency buckets mean.
    pub bounds: LatencyBounds,
    /// The tests' state before the first window; none where they begin from nothing.
    pub state: Option<Value>,
}

/// Whom a canary is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compared {
    /// All of stable's traffic.
    Stable,
    /// A slice of it.
    Slice,
    /// Another version.
    Version(String),
}

impl Compared {
    /// The same as a plan writes it.
    #[must_use]
    pub fn of(baseline: &Baseline) -> Self {
        match baseline {
            Baseline::Stable => Self::Stable,
            Baseline::Equal => Self::Slice,
            Baseline::Version(name) => Self::Version(name.to_string()),
        }
    }

    /// The same as a plan has it; none where the word is no name of a version.
    pub(super) fn baseline(&self) -> Option<Baseline> {
        match self {
            Self::Stable => Some(Baseline::Stable),
            Self::Slice => Some(Baseline::Equal),
            Self::Version(name) => Name::new(name).map(Baseline::Version),
        }
    }

    /// The word in a record, which is the plan's.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Stable => "stable",
            Self::Slice => "equal",
            Self::Version(name) => name,
        }
    }
}

/// What the numbers of latency buckets mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LatencyBounds {
    /// Tidegate's own buckets.
    Own,
    /// For each bucket of the record, Tidegate's own that it counts as: the one in which it begins.
    Given(Vec<usize>),
}

impl LatencyBounds {
    /// Buckets that begin at these latencies, in microseconds; none unless there is one at least and they ascend.
    #[must_use]
    pub fn beginning_at(lower_us: &[u64]) -> Option<Self> {
        let ascend = lower_us.is_sorted_by(|a, b| a < b);
        let own = || lower_us.iter().map(|us| latency_bucket_of(*us)).collect();
        (ascend && !lower_us.is_empty()).then(|| Self::Given(own()))
    }

    /// Tidegate's own bucket that stands for this one of the record; none where the record has no such bucket.
    #[must_use]
    pub fn own(&self, bucket: u64) -> Option<usize> {
        let bucket = usize::try_from(bucket).ok()?;
        match self {
            Self::Own => (bucket < meter::LATENCY_BUCKETS).then_some(bucket),
            Self::Given(own) => own.get(bucket).copied(),
        }
    }

    /// How many buckets there are.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Own => meter::LATENCY_BUCKETS,
            Self::Given(own) => own.len(),
        }
    }
}

impl Header {
    /// The header of a rollout's record, without the state of its tests.
    pub(super) fn of(service: &str, rollout: &Rollout) -> Self {
        let plan = &rollout.plan;
        Self {
            rollout: Some(rollout.id.clone()),
            service: Some(service.to_owned()),
            stable: rollout.stable.to_string(),
            canary: rollout.canary.to_string(),
            compared: Compared::of(&plan.baseline),
            started_at: Some(rollout.started_at.to_string()),
            paths: plan.paths(),
            totals: wants_totals(plan),
            bounds: LatencyBounds::Own,
            plan: Some(plan.clone()),
            state: None,
        }
    }

    /// What the rollout was judged by; where the record does not say, the usual gates, against whom the record compares
    /// with.
    pub(super) fn own_plan(&self) -> Plan {
        let usual = || Plan { baseline: self.compared.baseline().unwrap_or_default(), ..Plan::built_in() };
        self.plan.clone().unwrap_or_else(usual)
    }

    /// Writes the line, with this state of the tests (JSON). Only for records with Tidegate's own buckets.
    pub(super) fn write(&self, out: &mut Vec<u8>, state: &[u8]) {
        let latencies: &[&str] = if self.totals { &["head", "total"] } else { &["head"] };
        let fields = [
            ("tidegate_record", Some(json!(FORMAT))),
            ("rollout", self.rollout.as_ref().map(|id| json!(id))),
            ("service", self.service.as_ref().map(|name| json!(name))),
            ("stable", Some(json!(self.stable))),
            ("canary", Some(json!(self.canary))),
            ("baseline", Some(json!(self.compared.word()))),
            ("started_at", self.started_at.as_ref().map(|at| json!(at))),
            ("latency_of", Some(json!(latencies))),
            ("latency_bounds", Some(json!(OWN_BOUNDS))),
            ("paths", Some(json!(self.paths.iter().map(PathPrefix::as_str).collect::<Vec<_>>()))),
            // A plan that cannot be written would be left out, and the state says what was judged.
            ("plan", self.plan.as_ref().and_then(|plan| serde_json::to_value(PlanForm::of(plan)).ok())),
        ];
        let mut before = "{";
        for (key, value) in fields.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            out.extend(format!("{before}\"{key}\":{value}").as_bytes());
            before = ",";
        }
        out.extend(b",\"state\":");
        out.extend(state);
        out.extend(b"}\n");
    }
}

/// Whether a gate of the plan measures latencies to the last byte.
pub(super) fn wants_totals(plan: &Plan) -> bool {
    plan.gates.iter().any(|gate| match gate.rule {
        GateRule::Latency { of, .. } | GateRule::LatencyLimit { of, .. } => of == LatencyOf::Total,
        GateRule::Errors { .. } | GateRule::ErrorLimit { .. } | GateRule::Mirror(_) => false,
    })
}
