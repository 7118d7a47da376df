//! What a judge keeps of its plan, so that it survives a restart whatever the file says by then.

use config::{Fraction, GateRole, GateRule, LatencyOf, MirrorPart, PathPrefix, Plan, Tolerance};
use serde::{Deserialize, Serialize};

use crate::rollout::name_of_compared;
use crate::statistics::edges::Longer;
use crate::view::Role;

/// The part of alpha that belongs to the breaker; the family of gates has the rest.
const BREAKER_PART: f64 = 0.1;
/// The part of a gate of errors that belongs to its test of blocks of time (T6); T1 has the rest.
pub(super) const BLOCKS_PART: f64 = 0.1;

/// What is judged, and the names to say it with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) alpha: f64,
    pub(super) beta: f64,
    /// For so long after the canary's first traffic nothing is proven and latencies are not compared.
    pub(super) warmup_seconds: u64,
    pub(super) stable: String,
    pub(super) canary: String,
    pub(super) baseline: Baseline,
    /// The name of whom the canary is compared with.
    pub(super) compared: String,
    /// Whether the plan gives the canary people whom the gates that compare leave out.
    #[serde(default)]
    pub(super) leaves_out: bool,
    /// Whether the plan sends the canary copies of stable's requests.
    #[serde(default)]
    pub(super) copies: bool,
    /// Whether gates of errors look at blocks of time, too. A rollout that began under a Tidegate of before is judged to
    /// its end as it was begun.
    #[serde(default)]
    pub(super) blocks: bool,
    /// What gates judge by themselves. Windows count by place in this list.
    pub(super) paths: Vec<String>,
    pub(super) gates: Vec<GateSetting>,
}

/// Whom the canary is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Baseline {
    /// All of stable.
    Stable,
    /// A part of it.
    Slice,
    /// Another version.
    Version,
}

impl Settings {
    /// Whether they are of the same plan and versions. What a Tidegate of before did not write may differ.
    pub(super) fn are_as(&self, other: &Self) -> bool {
        let Self { leaves_out, copies, blocks, .. } = *other;
        Self { leaves_out, copies, blocks, ..self.clone() } == *other
    }
}

/// One gate of the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct GateSetting {
    pub(super) name: String,
    pub(super) role: Role,
    /// Its place among the paths; none for all requests of the service.
    pub(super) path: Option<usize>,
    pub(super) rule: Rule,
}

/// What a gate judges: the plan's rule in plain numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Rule {
    /// Failures against stable's.
    Errors { tolerance: Above, margin: Above },
    /// Failures against a limit.
    ErrorLimit { limit: f64 },
    /// The whole shape of latency against stable's. All are stretches: 0.1 is a tenth longer.
    Shape { tolerance: f64, body: f64, tail: f64, of: Of },
    /// One quantile of latency against stable's.
    Quantile { quantile: f64, tolerance: f64, margin: f64, of: Of },
    /// Latencies beyond `limit_us` (or failures) against what the quantile allows.
    LatencyLimit { quantile: f64, limit_us: u64, of: Of },
    /// Copies of stable's requests whose answers differ in this part, against a limit.
    Copies { part: Part, limit: f64 },
}

/// In what the answer to a copy may differ from stable's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Part {
    /// The canary failed, and stable did not.
    Errors,
    /// The status.
    Status,
    /// The body, where the status is the same.
    Body,
}

impl From<MirrorPart> for Part {
    fn from(part: MirrorPart) -> Self {
        match part {
            MirrorPart::Errors => Self::Errors,
            MirrorPart::Status => Self::Status,
            MirrorPart::Body => Self::Body,
        }
    }
}

/// A rate that is held against stable's: times `ratio`, plus `points` (a fraction of requests).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Above {
    pub(super) ratio: f64,
    pub(super) points: f64,
}

/// From where to where a latency is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Of {
    /// To the head of the response.
    Head,
    /// To its last byte.
    Total,
}

/// Which latencies a gate compares: of which requests, and from where to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sight {
    pub(super) path: Option<usize>,
    pub(super) of: Of,
}

impl Sight {
    /// What is known of stable's latencies before a rollout.
    pub(super) const SERVICE: Self = Self { path: None, of: Of::Head };
}

impl From<Tolerance> for Above {
    fn from(tolerance: Tolerance) -> Self {
        Self { ratio: tolerance.ratio, points: tolerance.points.get() }
    }
}

impl From<LatencyOf> for Of {
    fn from(of: LatencyOf) -> Self {
        match of {
            LatencyOf::Head => Self::Head,
            LatencyOf::Total => Self::Total,
        }
    }
}

impl Rule {
    /// What each test of a gate judges, in the order of [`config::Gate::tests`].
    fn of(rule: GateRule) -> Vec<Self> {
        let only = match rule {
            GateRule::Mirror(limits) => {
                let test =
                    |(part, limit): (MirrorPart, Fraction)| Self::Copies { part: part.into(), limit: limit.get() };
                return limits.parts().map(test).collect();
            }
            GateRule::Errors { tolerance, margin } => {
                Self::Errors { tolerance: tolerance.into(), margin: margin.into() }
            }
            GateRule::ErrorLimit { limit } => Self::ErrorLimit { limit: limit.get() },
            GateRule::Latency { quantile: None, tolerance, margin, of } => {
                let (body, tail) = (margin.body.get(), margin.tail.get());
                Self::Shape { tolerance: tolerance.get(), body, tail, of: of.into() }
            }
            GateRule::Latency { quantile: Some(quantile), tolerance, margin, of } => {
                let quantile = quantile.get();
                let margin = if quantile > LAST_OF_BODY { margin.tail } else { margin.body };
                Self::Quantile { quantile, tolerance: tolerance.get(), margin: margin.get(), of: of.into() }
            }
            GateRule::LatencyLimit { quantile, limit, of } => Self::LatencyLimit {
                quantile: quantile.get(),
                limit_us: u64::try_from(limit.as_micros()).unwrap_or(u64::MAX),
                of: of.into(),
            },
        };
        vec![only]
    }
}

/// So many microseconds more are tolerated of any latency, wherever something is: a version with little traffic finds
/// caches and processors cold, and answers in 0.12 ms what takes the busy one 0.10. Nobody minds, and a fraction alone
/// would call it harm (docs/decisions/0035).
pub(super) const TOLERATED_US: f64 = 250.0;

/// How much longer than stable's a canary's latency may be, where this fraction is written: none where that is none.
pub(super) fn tolerated(tolerance: f64) -> Longer {
    Longer { stretch: tolerance, at_least_us: if tolerance > 0.0 { TOLERATED_US } else { 0.0 } }
}

/// How much longer must be ruled out, where this tolerance and this margin are written: always more than is tolerated.
pub(super) fn margin_beside(tolerance: f64, margin: f64) -> Longer {
    Longer { stretch: margin, at_least_us: 2.0 * tolerated(tolerance).at_least_us }
}

/// Quantiles up to this one have the margin of the body, those above it that of the tail.
const LAST_OF_BODY: f64 = 0.95;

/// Kinds of gates: each has a part of its family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Errors,
    Latency,
    Limit,
    Copies,
}

impl Kind {
    /// Its part of the family, where every kind is there.
    const fn share(self) -> f64 {
        match self {
            Self::Errors => 0.5,
            Self::Latency => 0.4,
            Self::Limit | Self::Copies => 0.1,
        }
    }
}

impl Rule {
    /// Whether it has a limit, whatever stable does.
    pub(super) fn has_limit(&self) -> bool {
        self.kind() == Kind::Limit
    }

    const fn kind(&self) -> Kind {
        match self {
            Self::Errors { .. } => Kind::Errors,
            Self::Shape { .. } | Self::Quantile { .. } => Kind::Latency,
            Self::ErrorLimit { .. } | Self::LatencyLimit { .. } => Kind::Limit,
            Self::Copies { .. } => Kind::Copies,
        }
    }

    /// Whether it judges copies of requests: only while a step sends any.
    pub(super) const fn is_of_copies(&self) -> bool {
        matches!(self, Self::Copies { .. })
    }
}

impl GateSetting {
    /// The latencies that it compares with stable's; none where it compares none.
    pub(super) const fn sight(&self) -> Option<Sight> {
        match self.rule {
            Rule::Shape { of, .. } | Rule::Quantile { of, .. } => Some(Sight { path: self.path, of }),
            Rule::Errors { .. } | Rule::ErrorLimit { .. } | Rule::LatencyLimit { .. } | Rule::Copies { .. } => None,
        }
    }

    fn shares_with(&self, other: &Self) -> bool {
        self.role == other.role && self.rule.kind() == other.rule.kind()
    }
}

impl Settings {
    pub(super) fn new(plan: &Plan, stable: &str, canary: &str) -> Self {
        let paths = plan.paths();
        let place = |path: &PathPrefix| paths.iter().position(|other| other == path);
        let tests = |gate: &config::Gate| -> Vec<GateSetting> {
            let role = match gate.role {
                GateRole::Guardrail => Role::Guardrail,
                GateRole::Signal => Role::Signal,
            };
            let path = gate.path.as_ref().and_then(place);
            let rules = Rule::of(gate.rule).into_iter().zip(gate.tests());
            rules.map(|(rule, name)| GateSetting { name, role, path, rule }).collect()
        };
        Self {
            alpha: plan.alpha.get(),
            beta: plan.beta.get(),
            warmup_seconds: plan.warmup.as_secs() + u64::from(plan.warmup.subsec_nanos() > 0),
            stable: stable.to_owned(),
            canary: canary.to_owned(),
            baseline: match plan.baseline {
                config::Baseline::Stable => Baseline::Stable,
                config::Baseline::Equal => Baseline::Slice,
                config::Baseline::Version(_) => Baseline::Version,
            },
            compared: name_of_compared(plan, stable),
            leaves_out: plan.leaves_people_out(),
            copies: plan.mirrors(),
            blocks: true,
            gates: plan.gates.iter().flat_map(tests).collect(),
            paths: paths.iter().map(|path| path.as_str().to_owned()).collect(),
        }
    }

    /// Whether the breaker is given batches of its own: it compares the canary, whoever it is that had it, with all of
    /// stable, and the gates do not.
    pub(super) fn has_breaker_beside(&self) -> bool {
        self.baseline != Baseline::Stable || self.leaves_out
    }

    /// The level at which a family of gates acts.
    pub(super) fn alpha_family(&self) -> f64 {
        (1.0 - BREAKER_PART) * self.alpha
    }

    /// The level at which the breaker acts.
    pub(super) fn alpha_breaker(&self) -> f64 {
        BREAKER_PART * self.alpha
    }

    /// The share of its family that each gate has, in their order; the shares of a role sum to 1. The kinds have .5 (errors),
    /// .4 (latency), .1 (limits) and .1 (copies) in proportion, a kind without a gate leaves its share to the others, and the gates of a kind share
    /// equally.
    pub(super) fn shares(&self) -> Vec<f64> {
        let alike = |gate: &GateSetting| self.gates.iter().filter(|other| other.shares_with(gate)).count() as f64;
        let raw: Vec<f64> = self.gates.iter().map(|gate| gate.rule.kind().share() / alike(gate)).collect();
        let of_role = |role: Role| -> f64 {
            self.gates.iter().zip(&raw).filter(|(gate, _)| gate.role == role).map(|(_, share)| share).sum()
        };
        let sums = [of_role(Role::Guardrail), of_role(Role::Signal)];
        let sum = |gate: &GateSetting| match gate.role {
            Role::Guardrail => sums[0],
            Role::Signal => sums[1],
        };
        self.gates.iter().zip(&raw).map(|(gate, share)| share / sum(gate)).collect()
    }

    /// The different latencies that gates compare, in the order of the gates.
    pub(super) fn sights(&self) -> Vec<Sight> {
        let mut sights = Vec::new();
        for sight in self.gates.iter().filter_map(GateSetting::sight) {
            if !sights.contains(&sight) {
                sights.push(sight);
            }
        }
        sights
    }

    /// Whether the numbers are such as a plan gives: what was saved is read again by whoever could write it.
    pub(super) fn are_sound(&self) -> bool {
        let probability = |value: f64| value > 0.0 && value < 1.0;
        let stretch = |value: f64| (0.0..=100.0).contains(&value);
        let above = |above: Above| (1.0..1e6).contains(&above.ratio) && (0.0..=1.0).contains(&above.points);
        let rule = |rule: &Rule| match *rule {
            Rule::Errors { tolerance, margin } => above(tolerance) && above(margin),
            Rule::ErrorLimit { limit } | Rule::Copies { limit, .. } => (0.0..=1.0).contains(&limit),
            Rule::Shape { tolerance, body, tail, .. } => [tolerance, body, tail].into_iter().all(stretch),
            Rule::Quantile { quantile, tolerance, margin, .. } => {
                probability(quantile) && stretch(tolerance) && stretch(margin)
            }
            Rule::LatencyLimit { quantile, .. } => probability(quantile),
        };
        let gate = |gate: &GateSetting| gate.path.is_none_or(|path| path < self.paths.len()) && rule(&gate.rule);
        probability(self.alpha) && probability(self.beta) && self.gates.iter().all(gate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ERRORS: Rule =
        Rule::Errors { tolerance: Above { ratio: 1.1, points: 0.0005 }, margin: Above { ratio: 1.5, points: 0.001 } };
    const SHAPE: Rule = Rule::Shape { tolerance: 0.05, body: 0.25, tail: 0.5, of: Of::Head };
    const QUANTILE: Rule = Rule::Quantile { quantile: 0.99, tolerance: 0.05, margin: 0.5, of: Of::Total };
    const ERROR_LIMIT: Rule = Rule::ErrorLimit { limit: 0.05 };
    const LATENCY_LIMIT: Rule = Rule::LatencyLimit { quantile: 0.99, limit_us: 300_000, of: Of::Head };

    fn settings(gates: &[(Role, Rule)]) -> Settings {
        let gate =
            |(role, rule): &(Role, Rule)| GateSetting { name: String::new(), role: *role, path: None, rule: *rule };
        Settings {
            alpha: 0.01,
            beta: 0.05,
            warmup_seconds: 30,
            stable: String::new(),
            canary: String::new(),
            baseline: Baseline::Stable,
            compared: String::new(),
            leaves_out: false,
            copies: false,
            blocks: true,
            paths: Vec::new(),
            gates: gates.iter().map(gate).collect(),
        }
    }

    fn assert_shares(gates: &[(Role, Rule)], expected: &[f64]) {
        let shares = settings(gates).shares();
        for (ours, theirs) in shares.iter().zip(expected) {
            assert!((ours - theirs).abs() < 1e-12, "{gates:?}: {ours} is not {theirs}");
        }
        assert_eq!(shares.len(), expected.len());
    }

    fn guardrails(rules: &[Rule]) -> Vec<(Role, Rule)> {
        rules.iter().map(|rule| (Role::Guardrail, *rule)).collect()
    }

    #[test]
    fn a_kind_without_a_gate_leaves_its_share_to_the_others_in_proportion() {
        assert_shares(&guardrails(&[ERRORS, SHAPE, ERROR_LIMIT]), &[0.5, 0.4, 0.1]);
        assert_shares(&guardrails(&[ERRORS, SHAPE]), &[5.0 / 9.0, 4.0 / 9.0]);
        assert_shares(&guardrails(&[LATENCY_LIMIT]), &[1.0]);
    }

    #[test]
    fn gates_of_one_kind_share_equally() {
        let gates = guardrails(&[ERRORS, ERROR_LIMIT, LATENCY_LIMIT, SHAPE, QUANTILE]);
        assert_shares(&gates, &[0.5, 0.05, 0.05, 0.2, 0.2]);
    }

    #[test]
    fn signals_are_a_family_of_their_own() {
        let gates = [(Role::Guardrail, ERRORS), (Role::Signal, SHAPE), (Role::Signal, LATENCY_LIMIT)];
        assert_shares(&gates, &[1.0, 0.8, 0.2]);
        let gates = [(Role::Guardrail, ERRORS), (Role::Signal, ERRORS), (Role::Signal, SHAPE)];
        assert_shares(&gates, &[1.0, 5.0 / 9.0, 4.0 / 9.0]);
    }

    #[test]
    fn gates_that_compare_the_same_latencies_share_what_is_known_of_them() {
        let of_total = Rule::Shape { tolerance: 0.05, body: 0.25, tail: 0.5, of: Of::Total };
        let settings = settings(&guardrails(&[SHAPE, QUANTILE, ERRORS, of_total, LATENCY_LIMIT]));
        assert_eq!(settings.sights(), [Sight::SERVICE, Sight { path: None, of: Of::Total }]);
    }

    #[test]
    fn a_quantile_beyond_p95_has_the_margin_of_the_tail() {
        let margin = |quantile: f64| {
            let GateRule::Latency { tolerance, margin, of, .. } = GateRule::LATENCY else { panic!() };
            let quantile = config::Quantile::new(quantile).ok();
            let rules = Rule::of(GateRule::Latency { quantile, tolerance, margin, of });
            let [Rule::Quantile { margin, .. }] = rules[..] else { panic!("{rules:?}") };
            margin
        };
        assert_eq!([margin(0.5), margin(0.95), margin(0.99)], [0.25, 0.25, 0.5]);
    }
}
