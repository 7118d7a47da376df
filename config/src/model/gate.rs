//! What a rollout must satisfy.

use std::time::Duration;

use super::{MirrorLimits, Name, PathPrefix};
use crate::units::{Fraction, Quantile, Stretch};

/// A rule that traffic must satisfy while the canary is exposed.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// `errors`, `latency`, `latency-p99`, `errors-limit`, or the operator's own.
    pub name: Name,
    /// What its failing does.
    pub role: GateRole,
    /// Only requests whose path begins with this prefix; none for all requests of the service.
    pub path: Option<PathPrefix>,
    /// What is judged.
    pub rule: GateRule,
}

impl Gate {
    /// The names of its tests: its own, or for each of several limits its own with the limit's word behind
    /// (`mirror-status`). Unique in a plan.
    #[must_use]
    pub fn tests(&self) -> Vec<String> {
        match self.rule {
            GateRule::Mirror(limits) => {
                limits.parts().map(|(part, _)| format!("{}-{}", self.name, part.word())).collect()
            }
            GateRule::Errors { .. }
            | GateRule::ErrorLimit { .. }
            | GateRule::Latency { .. }
            | GateRule::LatencyLimit { .. } => vec![self.name.to_string()],
        }
    }

    /// The gates where none are written: errors against stable, and the shape of latency.
    pub(crate) fn defaults() -> Vec<Self> {
        let gate = |name: &str, rule| Self { name: Name::given(name), role: GateRole::Guardrail, path: None, rule };
        vec![gate("errors", GateRule::ERRORS), gate("latency", GateRule::LATENCY)]
    }
}

/// What a gate's failing does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GateRole {
    /// Rolls back.
    #[default]
    Guardrail,
    /// Pauses and asks.
    Signal,
}

/// What a gate judges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GateRule {
    /// The canary's error rate against stable's (T1; passes by T5).
    Errors {
        /// The harm that must be established to fail.
        tolerance: Tolerance,
        /// The harm that must be ruled out to pass; larger than the tolerance.
        margin: Tolerance,
    },
    /// An absolute limit on the canary's error rate (T3, with T1 as its relative half; passes below the limit).
    ErrorLimit {
        /// The largest error rate allowed; above 0, below 1.
        limit: Fraction,
    },
    /// The canary's latency against stable's: the whole shape (T2; passes by T5 at p50, p95 and p99), or one quantile.
    Latency {
        /// None for the whole shape.
        quantile: Option<Quantile>,
        /// The harm that must be established to fail: so much longer, as a fraction of stable's latency.
        tolerance: Stretch,
        /// The harm that must be ruled out to pass; larger than the tolerance.
        margin: LatencyMargin,
        /// From where to where it is measured.
        of: LatencyOf,
    },
    /// An absolute limit on a quantile of the canary's latency (T3 on "over the limit or failed").
    LatencyLimit {
        /// The quantile; p99 by default.
        quantile: Quantile,
        /// The latency that it may not exceed; at least 1 ms, at most 60 s.
        limit: Duration,
        /// From where to where it is measured.
        of: LatencyOf,
    },
    /// Absolute limits on what the canary does with copies of stable's requests (each T3 alone). Each is a test of its
    /// own, named `GATE-errors`, `GATE-status` or `GATE-body`.
    Mirror(MirrorLimits),
}

impl GateRule {
    /// The `errors` gate where nothing is written.
    pub const ERRORS: Self = Self::Errors { tolerance: Tolerance::DEFAULT, margin: Tolerance::MARGIN };
    /// The `latency` gate where nothing is written: the whole shape, 5 % tolerated.
    pub const LATENCY: Self = Self::Latency {
        quantile: None,
        tolerance: Stretch::TOLERATED,
        margin: LatencyMargin { body: Stretch::MARGIN, tail: Stretch::TAIL_MARGIN },
        of: LatencyOf::Head,
    };
}

/// From where to where a latency is measured. Both begin when a connection to the version is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LatencyOf {
    /// To the head of the response.
    #[default]
    Head,
    /// To its last byte.
    Total,
}

/// How much slower a canary must be ruled out to be, as fractions of stable's latency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencyMargin {
    /// At quantiles up to p95.
    pub body: Stretch,
    /// At quantiles above p95.
    pub tail: Stretch,
}

impl LatencyMargin {
    /// The margin where none is written beside this tolerance: 25 % up to p95 and 50 % above; twice the tolerance where
    /// it reaches that.
    #[must_use]
    pub fn usual(tolerance: Stretch) -> Self {
        let wider = |usual: Stretch| if tolerance < usual { usual } else { tolerance.twice() };
        Self { body: wider(Stretch::MARGIN), tail: wider(Stretch::TAIL_MARGIN) }
    }
}

/// The harm in errors that must be established to fail (a tolerance), or ruled out to pass (a margin): canary rate
/// above `ratio` times stable's plus `points`. Defaults (statistics, section 3): tolerance 1.1 and 0.05 %, margin 1.5
/// and 0.1 %. A tolerance written in points alone has the ratio 1, one written as a ratio alone has 0 points; of a
/// margin, the part that is not written is the tolerance's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// At least 1.
    pub ratio: f64,
    /// Added fraction of requests.
    pub points: Fraction,
}

impl Tolerance {
    /// The tolerance where none is written: a tenth more than stable's rate, and 0.05 %.
    pub const DEFAULT: Self = Self { ratio: 1.1, points: Fraction::TOLERATED };
    /// The margin where none is written: half more than stable's rate, and 0.1 %.
    pub const MARGIN: Self = Self { ratio: 1.5, points: Fraction::MARGIN };

    /// The margin where none is written beside this tolerance: [`Self::MARGIN`]; half more than the tolerance's ratio,
    /// and twice its points (at most all requests), where they reach that.
    #[must_use]
    pub fn usual_margin(self) -> Self {
        let Self { ratio, points } = Self::MARGIN;
        Self {
            ratio: if self.ratio < ratio { ratio } else { self.ratio * ratio },
            points: if self.points < points { points } else { self.points.twice() },
        }
    }

    /// Whether this much harm is more than `other` whatever stable's error rate is: neither part is smaller, and one is
    /// larger.
    #[must_use]
    pub fn is_more_than(self, other: Self) -> bool {
        self.ratio >= other.ratio && self.points >= other.points && self != other
    }
}
