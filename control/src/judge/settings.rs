//! What a judge keeps of its plan, so that it survives a restart whatever the file says by then.

use config::{GateRule, Plan};
use serde::{Deserialize, Serialize};

/// The part of alpha that belongs to the breaker; the family of gates has the rest.
const BREAKER_PART: f64 = 0.1;

/// What is judged, and the names to say it with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Settings {
    alpha: f64,
    pub(super) stable: String,
    pub(super) canary: String,
    pub(super) gates: Vec<GateSetting>,
}

/// One gate of the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct GateSetting {
    pub(super) name: String,
    pub(super) rule: Rule,
}

/// What a gate judges: the plan's rule in plain numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Rule {
    /// Failures against stable's: times and plus.
    Errors { ratio: f64, points: f64 },
    /// Failures against a limit.
    ErrorLimit { limit: f64 },
    /// Latencies beyond `limit_us` (or failures) against what the quantile allows.
    LatencyLimit { quantile: f64, limit_us: u64 },
    /// The whole shape of latency: has its share of the family, which stays cash.
    LatencyShape,
}

impl Rule {
    /// What its kind gets of the family, where every kind is there.
    const fn kind_share(&self) -> f64 {
        match self {
            Self::Errors { .. } => 0.5,
            Self::LatencyShape => 0.4,
            Self::ErrorLimit { .. } | Self::LatencyLimit { .. } => 0.1,
        }
    }

    const fn same_kind(&self, other: &Self) -> bool {
        match self {
            Self::Errors { .. } => matches!(other, Self::Errors { .. }),
            Self::LatencyShape => matches!(other, Self::LatencyShape),
            Self::ErrorLimit { .. } | Self::LatencyLimit { .. } => {
                matches!(other, Self::ErrorLimit { .. } | Self::LatencyLimit { .. })
            }
        }
    }
}

impl Settings {
    pub(super) fn new(plan: &Plan, stable: &str, canary: &str) -> Self {
        let rule = |rule| match rule {
            GateRule::Errors { tolerance, .. } => {
                Rule::Errors { ratio: tolerance.ratio, points: tolerance.points.get() }
            }
            GateRule::ErrorLimit { limit } => Rule::ErrorLimit { limit: limit.get() },
            GateRule::LatencyLimit { quantile, limit, .. } => Rule::LatencyLimit {
                quantile: quantile.get(),
                limit_us: u64::try_from(limit.as_micros()).unwrap_or(u64::MAX),
            },
            GateRule::Latency { .. } => Rule::LatencyShape,
        };
        Self {
            alpha: plan.alpha.get(),
            stable: stable.to_owned(),
            canary: canary.to_owned(),
            gates: plan
                .gates
                .iter()
                .map(|gate| GateSetting { name: gate.name.as_str().to_owned(), rule: rule(gate.rule) })
                .collect(),
        }
    }

    /// The level at which the family of gates acts.
    pub(super) fn alpha_family(&self) -> f64 {
        (1.0 - BREAKER_PART) * self.alpha
    }

    /// The level at which the breaker acts.
    pub(super) fn alpha_breaker(&self) -> f64 {
        BREAKER_PART * self.alpha
    }

    /// The share of the family that each gate has, in their order; they sum to 1. The kinds have .5, .4 and .1, a kind
    /// without a gate leaves its share to the others in proportion, and the gates of a kind share equally.
    pub(super) fn shares(&self) -> Vec<f64> {
        let alike = |rule: &Rule| self.gates.iter().filter(|gate| gate.rule.same_kind(rule)).count() as f64;
        let raw: Vec<f64> = self.gates.iter().map(|gate| gate.rule.kind_share() / alike(&gate.rule)).collect();
        let sum: f64 = raw.iter().sum();
        raw.iter().map(|share| share / sum).collect()
    }

    /// The latency limits in the order of the gates, in microseconds.
    pub(super) fn latency_limits_us(&self) -> impl Iterator<Item = u64> + '_ {
        self.gates.iter().filter_map(|gate| match gate.rule {
            Rule::LatencyLimit { limit_us, .. } => Some(limit_us),
            Rule::Errors { .. } | Rule::ErrorLimit { .. } | Rule::LatencyShape => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ERRORS: Rule = Rule::Errors { ratio: 1.1, points: 0.0005 };
    const ERROR_LIMIT: Rule = Rule::ErrorLimit { limit: 0.05 };
    const LATENCY_LIMIT: Rule = Rule::LatencyLimit { quantile: 0.99, limit_us: 300_000 };

    fn shares(rules: &[Rule]) -> Vec<f64> {
        let gates = rules.iter().map(|rule| GateSetting { name: String::new(), rule: *rule }).collect();
        Settings { alpha: 0.01, stable: String::new(), canary: String::new(), gates }.shares()
    }

    fn assert_shares(rules: &[Rule], expected: &[f64]) {
        for (ours, theirs) in shares(rules).iter().zip(expected) {
            assert!((ours - theirs).abs() < 1e-12, "{rules:?}: {ours} is not {theirs}");
        }
        assert_eq!(shares(rules).len(), expected.len());
    }

    #[test]
    fn a_kind_without_a_gate_leaves_its_share_to_the_others_in_proportion() {
        assert_shares(&[ERRORS, Rule::LatencyShape, ERROR_LIMIT], &[0.5, 0.4, 0.1]);
        assert_shares(&[ERRORS, Rule::LatencyShape], &[5.0 / 9.0, 4.0 / 9.0]);
        assert_shares(&[LATENCY_LIMIT], &[1.0]);
    }

    #[test]
    fn error_limits_and_latency_limits_are_one_kind_and_share_equally() {
        assert_shares(&[ERRORS, ERROR_LIMIT, LATENCY_LIMIT], &[0.5 / 0.6, 0.05 / 0.6, 0.05 / 0.6]);
    }
}
