//! What a gate of a rollout counted, and what it says.

use serde::{Deserialize, Serialize};

/// A figure for each version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Arms<T> {
    /// The stable's.
    pub stable: T,
    /// The canary's.
    pub canary: T,
}

/// One gate's reading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateView {
    /// Its name.
    pub name: String,
    /// What its failing does.
    pub role: Role,
    /// What it says now.
    pub verdict: Verdict,
    /// Evidence for harm, in nats; grows with it. None before the first batch.
    pub log_evidence: Option<f64>,
    /// Where it fails, in nats.
    pub threshold: f64,
    /// Evidence over threshold, 0 to 1.
    pub progress: f64,
    /// In a sentence.
    pub explain: String,
    /// The only path that it judges; none for the whole service.
    #[serde(default)]
    pub path: Option<String>,
    /// How near it is to pass, 0 to 1; none where it was fed nothing in this step.
    #[serde(default)]
    pub proof: Option<f64>,
    /// What it counted since the rollout began.
    #[serde(default)]
    pub counts: Option<GateCounts>,
    /// Seconds until it fails if harm of its margin's size is there, and until it passes if there is none, on average
    /// at the present traffic.
    #[serde(default)]
    pub estimate: Option<GateEstimate>,
    /// Of a gate that compares the errors of all requests: how many times as often the canary fails; none where nothing is known of that.
    #[serde(default)]
    pub ratio: Option<RatioView>,
}

/// How many times as often the canary fails as what it is compared with: an interval that holds however often one looks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RatioView {
    /// At least so many times; none where it may be 0.
    pub low: Option<f64>,
    /// At most so many times; none where there is no bound.
    pub high: Option<f64>,
    /// The chance that it holds at all moments of the rollout, at least: 1 less the plan's alpha.
    pub confidence: f64,
    /// In a sentence.
    pub explain: String,
}

/// What a gate counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GateCounts {
    /// Requests that it judged.
    pub requests: Arms<u64>,
    /// How many of them were what it counts: failures, or requests over its limit or edge.
    pub events: Arms<u64>,
}

/// When a gate will say something.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GateEstimate {
    /// Seconds until harm of the margin's size is established; none where it never would be.
    pub fail_s: Option<f64>,
    /// Seconds until the margin is ruled out where there is no harm; none where it never would be.
    pub pass_s: Option<f64>,
}

/// What a gate's failing does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Rolls back.
    Guardrail,
    /// Pauses and asks.
    Signal,
}

/// What a gate says. "Not enough evidence" is a variant and never a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Harm beyond the tolerance is established.
    Fail,
    /// It saw no batch in the last 30 s of an exposed step.
    NoData,
    /// Not enough evidence yet.
    Inconclusive,
    /// Harm beyond the margin is ruled out.
    Pass,
}
