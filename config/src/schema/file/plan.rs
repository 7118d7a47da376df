//! Plans, steps and gates.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::{Literal, Percentage, Time, Weight};

/// How a rollout goes, and what it must satisfy. Each key has a default of its own.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Plan {
    /// The chance of a false rollback over the whole rollout, 0.0001% to 50%.
    #[schemars(extend("default" = "1%"))]
    alpha: Option<Percentage>,
    /// The chance that a canary which is worse by a gate's margin passes that gate in a step, 0.0001% to 50%.
    #[schemars(extend("default" = "5%"))]
    beta: Option<Percentage>,
    /// Requests that each version must have had in a step before the step may end.
    #[schemars(range(min = 1, max = 1_000_000_000), extend("default" = 50))]
    min_requests: Option<u64>,
    /// For so long after the canary's first traffic its latencies are not judged; 0s to 1h.
    #[schemars(extend("default" = "30s"))]
    warmup: Option<Time>,
    /// What ends a step: `time`, its hold, while no gate fails or is under suspicion; `proof`, that every gate passes,
    /// too.
    #[schemars(extend("default" = "time"))]
    advance: Option<Advance>,
    /// For each step that does not say it: whether it may end before its hold is over, once every gate passes.
    #[schemars(extend("default" = false))]
    early: Option<bool>,
    /// For each step that does not say it: when it has lasted too long; never by default.
    deadline: Option<Time>,
    /// For each step that does not say it: what happens at its deadline.
    #[schemars(extend("default" = "hold"))]
    on_deadline: Option<OnDeadline>,
    /// What the canary is compared with: `stable` (all of its traffic), `equal` (a slice of it as large as the canary's)
    /// or the name of another version, which gets as much traffic as the canary.
    #[schemars(extend("default" = "stable"))]
    baseline: Option<String>,
    /// Judge and report, and never move the split on a verdict.
    #[schemars(extend("default" = false))]
    dry_run: Option<bool>,
    /// For how long connections that last (WebSocket, streams) may stay on a version that has left, up to 24h; then they
    /// are asked to end in a way that clients try again. `never` lets them stay.
    #[schemars(extend("default" = "10m"))]
    drain: Option<TimeOrNever>,
    /// The steps; 1%, 5%, 25% and 50% for 2, 5, 10 and 10 minutes by default. Weights never fall.
    #[schemars(length(min = 1, max = 64))]
    steps: Option<Vec<Step>>,
    /// The gates; errors and latency against stable by default. `[]` leaves the circuit breaker alone.
    #[schemars(length(max = 64))]
    gates: Option<Vec<Gate>>,
}

/// A time with its unit, or `never`.
#[derive(JsonSchema)]
struct TimeOrNever(#[schemars(regex(pattern = r"^((\d+h)?(\d+m)?(\d+s)?(\d+ms)?|never)$"))] String);

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Advance {
    Time,
    Proof,
}

/// `hold` pauses and asks; `promote` goes on without the proof, never without data or under suspicion; `roll-back` takes
/// the canary back.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum OnDeadline {
    Hold,
    Promote,
    RollBack,
}

/// One step of a plan.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
enum Step {
    /// Give the canary a weight, and keep it.
    Weight {
        /// The canary's weight, above 0% and below 100%.
        weight: Weight,
        /// For at least this long.
        #[schemars(extend("default" = "5m"))]
        hold: Option<Time>,
        /// The step may end before its hold is over, once every gate passes; as the plan says by default.
        early: Option<bool>,
        /// When the step has lasted too long, not shorter than its hold; as the plan says by default.
        deadline: Option<Time>,
        /// What happens at the deadline; as the plan says by default.
        on_deadline: Option<OnDeadline>,
    },
    /// Give the canary whoever matches, whatever its weight, until another such step or the rollout's end.
    Match {
        /// Headers with their values, `*` for any, and `cookie: NAME=VALUE`; or `nobody`.
        r#match: Matched,
        /// For at least this long; 5m by default, and no time for `nobody`.
        hold: Option<Time>,
        /// Whether every gate judges them, or only limits and the circuit breaker.
        #[schemars(extend("default" = false))]
        judged: Option<bool>,
    },
    /// Give the canary no users, and copies of requests. Only before the first weight.
    Mirror {
        /// The share of the requests that stable serves which are copied, above 0%.
        mirror: Weight,
        /// For at least this long.
        #[schemars(extend("default" = "5m"))]
        hold: Option<Time>,
    },
    /// Wait for a person.
    Approval {
        /// `true`.
        #[schemars(extend("const" = true))]
        approval: bool,
    },
}

/// Who goes to the canary whatever its weight.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Matched {
    /// Nobody, from here on.
    Nobody(Nobody),
    /// Requests that have all of these headers.
    These(#[schemars(extend("minProperties" = 1))] BTreeMap<String, Literal>),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Nobody {
    Nobody,
}

/// A rule that traffic must satisfy while the canary is exposed: `errors`, `latency` or `mirror`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Gate {
    /// Judges failed requests; `{}` compares with stable, with the default tolerance.
    errors: Option<Errors>,
    /// Judges latency; `{}` compares its whole shape with stable, with the default tolerance.
    latency: Option<Latency>,
    /// Judges copies of requests, while a step sends them: each limit is a test of its own.
    mirror: Option<MirrorGate>,
    /// The gate's name, unique in its plan; `errors`, `errors-limit`, `latency`, `latency-p99` or `mirror` by default,
    /// with its path behind.
    name: Option<String>,
    /// What its failing does: a guardrail rolls back, a signal pauses and asks.
    #[schemars(extend("default" = "guardrail"))]
    role: Option<Role>,
    /// Only requests whose path begins with this prefix of whole segments; every request of the service by default.
    #[schemars(regex(pattern = "^/."))]
    path: Option<String>,
}

/// Limits on the share of copies whose answer differs from stable's; at least one, each above 0% and below 100%.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("minProperties" = 1))]
struct MirrorGate {
    /// Copies that failed where stable did not; no limit by default.
    errors: Option<Percentage>,
    /// Copies that were answered with another status; no limit by default.
    status: Option<Percentage>,
    /// Copies that were answered with another body; no limit by default.
    body: Option<Percentage>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Role {
    Guardrail,
    Signal,
}

/// Failed requests: either against stable, or an absolute limit.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
enum Errors {
    /// Against stable.
    Compared {
        /// The harm that must be established to fail; a ratio of 1.1 and 0.05 points by default.
        tolerance: Option<Tolerance>,
        /// The harm that must be ruled out to pass, more than the tolerance; a ratio of 1.5 and 0.1 points by default,
        /// more where the tolerance reaches that.
        margin: Option<Margin>,
    },
    /// An absolute limit.
    Limited {
        /// The largest error rate allowed, above 0% and below 100%.
        limit: Percentage,
    },
}

/// The canary's error rate above `ratio` times stable's plus `points`.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
enum Tolerance {
    /// Points above stable: `0.1%` is one more failed request in a thousand.
    Points(Percentage),
    /// A ratio, points, or both.
    Parts {
        /// Times stable's error rate; 1 by default.
        #[schemars(range(min = 1.0, max = 1000.0))]
        ratio: Option<f64>,
        /// Points on top; none by default.
        points: Option<Percentage>,
    },
}

/// The canary's error rate above `ratio` times stable's plus `points`. What is not written is as in the tolerance.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
enum Margin {
    /// Points above stable: `0.3%` is three more failed requests in a thousand.
    Points(Percentage),
    /// A ratio, points, or both.
    Parts {
        /// Times stable's error rate.
        #[schemars(range(min = 1.0, max = 10000.0))]
        ratio: Option<f64>,
        /// Points on top.
        points: Option<Percentage>,
    },
}

/// Latency: either against stable, or an absolute limit.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
enum Latency {
    /// Against stable.
    Compared {
        /// One quantile, p10 to p99.9; the whole shape by default.
        quantile: Option<Quantile>,
        /// The harm that must be established to fail: so much longer than stable's, 0% to 1000%.
        #[schemars(extend("default" = "5%"))]
        tolerance: Option<Percentage>,
        /// The harm that must be ruled out to pass, more than the tolerance; 25% up to p95 and 50% above by default,
        /// more where the tolerance reaches that.
        margin: Option<Percentage>,
        /// From a ready connection to the `head` of the response, or to its last byte (`total`).
        #[schemars(extend("default" = "head"))]
        of: Option<LatencyOf>,
    },
    /// An absolute limit on a quantile.
    Limited {
        /// The latency that it may not exceed, 1ms to 60s.
        limit: Time,
        /// The quantile, p1 to p99.99.
        #[schemars(extend("default" = "p99"))]
        quantile: Option<Quantile>,
        /// From a ready connection to the `head` of the response, or to its last byte (`total`).
        #[schemars(extend("default" = "head"))]
        of: Option<LatencyOf>,
    },
}

/// From a ready connection to the head of the response, or to its last byte.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum LatencyOf {
    Head,
    Total,
}

/// A quantile: `p50`, `p99`, `p99.9`.
#[derive(JsonSchema)]
struct Quantile(#[schemars(regex(pattern = r"^p\d+(\.\d+)?$"))] String);
