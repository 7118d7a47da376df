//! A plan as it is written down: in the journal, and at the head of a rollout's record.

use std::time::Duration;

use config::{
    Advance, Alpha, Baseline, Beta, Deadline, Fraction, Gate, GateRole, GateRule, LatencyMargin, LatencyOf, Name,
    OnDeadline, PathPrefix, Plan, Quantile, Step, Stretch, Tolerance, Weight,
};
use serde::{Deserialize, Serialize};

/// Mirrors [`Plan`]. What an older Tidegate did not write has the value that it had then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlanForm {
    alpha: f64,
    #[serde(default = "beta")]
    beta: f64,
    min_requests: u64,
    #[serde(default = "warmup")]
    warmup: Duration,
    #[serde(default)]
    advance: AdvanceForm,
    #[serde(default)]
    baseline: BaselineForm,
    #[serde(default)]
    dry_run: bool,
    steps: Vec<StepForm>,
    gates: Vec<GateForm>,
}

fn beta() -> f64 {
    Beta::DEFAULT.get()
}

const fn warmup() -> Duration {
    Plan::WARMUP
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AdvanceForm {
    #[default]
    Time,
    Proof,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum BaselineForm {
    #[default]
    Stable,
    Equal,
    Version(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StepForm {
    Weight {
        weight: u16,
        hold: Duration,
        #[serde(default)]
        early: bool,
        #[serde(default)]
        deadline: Option<DeadlineForm>,
    },
    Approval,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct DeadlineForm {
    after: Duration,
    then: ThenForm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ThenForm {
    Hold,
    Promote,
    RollBack,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct GateForm {
    name: String,
    #[serde(default)]
    role: RoleForm,
    #[serde(default)]
    path: Option<String>,
    rule: RuleForm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RoleForm {
    #[default]
    Guardrail,
    Signal,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RuleForm {
    Errors {
        ratio: f64,
        points: f64,
        #[serde(default)]
        margin: Option<ToleranceForm>,
    },
    ErrorLimit {
        limit: f64,
    },
    Latency {
        quantile: Option<f64>,
        tolerance: f64,
        margin: MarginForm,
        of: OfForm,
    },
    LatencyLimit {
        quantile: f64,
        limit: Duration,
        #[serde(default)]
        of: OfForm,
    },
    /// As it was written when the shape of latency had no settings.
    LatencyShape,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct ToleranceForm {
    ratio: f64,
    points: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct MarginForm {
    body: f64,
    tail: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OfForm {
    #[default]
    Head,
    Total,
}

impl PlanForm {
    /// How this plan is written.
    pub(crate) fn of(plan: &Plan) -> Self {
        Self {
            alpha: plan.alpha.get(),
            beta: plan.beta.get(),
            min_requests: plan.min_requests,
            warmup: plan.warmup,
            advance: match plan.advance {
                Advance::Time => AdvanceForm::Time,
                Advance::Proof => AdvanceForm::Proof,
            },
            baseline: match &plan.baseline {
                Baseline::Stable => BaselineForm::Stable,
                Baseline::Equal => BaselineForm::Equal,
                Baseline::Version(version) => BaselineForm::Version(version.to_string()),
            },
            dry_run: plan.dry_run,
            steps: plan.steps.iter().map(StepForm::of).collect(),
            gates: plan.gates.iter().map(GateForm::of).collect(),
        }
    }

    /// The plan that is written; none where one of its values is not legal.
    pub(crate) fn proven(self) -> Option<Plan> {
        Some(Plan {
            alpha: Alpha::new(self.alpha).ok()?,
            beta: Beta::new(self.beta).ok()?,
            min_requests: self.min_requests,
            warmup: self.warmup,
            advance: match self.advance {
                AdvanceForm::Time => Advance::Time,
                AdvanceForm::Proof => Advance::Proof,
            },
            baseline: match self.baseline {
                BaselineForm::Stable => Baseline::Stable,
                BaselineForm::Equal => Baseline::Equal,
                BaselineForm::Version(version) => Baseline::Version(Name::new(&version)?),
            },
            dry_run: self.dry_run,
            steps: self.steps.into_iter().map(StepForm::proven).collect::<Option<_>>()?,
            gates: self.gates.into_iter().map(GateForm::proven).collect::<Option<_>>()?,
        })
    }
}

impl StepForm {
    fn of(step: &Step) -> Self {
        match step {
            Step::Weight { weight, hold, early, deadline } => Self::Weight {
                weight: weight.basis_points(),
                hold: *hold,
                early: *early,
                deadline: deadline.map(DeadlineForm::of),
            },
            Step::Approval => Self::Approval,
        }
    }

    fn proven(self) -> Option<Step> {
        match self {
            Self::Weight { weight, hold, early, deadline } => Some(Step::Weight {
                weight: Weight::from_basis_points(weight).ok()?,
                hold,
                early,
                deadline: deadline.map(DeadlineForm::proven),
            }),
            Self::Approval => Some(Step::Approval),
        }
    }
}

impl DeadlineForm {
    const fn of(deadline: Deadline) -> Self {
        let then = match deadline.then {
            OnDeadline::Hold => ThenForm::Hold,
            OnDeadline::Promote => ThenForm::Promote,
            OnDeadline::RollBack => ThenForm::RollBack,
        };
        Self { after: deadline.after, then }
    }

    const fn proven(self) -> Deadline {
        let then = match self.then {
            ThenForm::Hold => OnDeadline::Hold,
            ThenForm::Promote => OnDeadline::Promote,
            ThenForm::RollBack => OnDeadline::RollBack,
        };
        Deadline { after: self.after, then }
    }
}

impl GateForm {
    fn of(gate: &Gate) -> Self {
        Self {
            name: gate.name.to_string(),
            role: match gate.role {
                GateRole::Guardrail => RoleForm::Guardrail,
                GateRole::Signal => RoleForm::Signal,
            },
            path: gate.path.as_ref().map(|path| path.as_str().to_owned()),
            rule: RuleForm::of(&gate.rule),
        }
    }

    fn proven(self) -> Option<Gate> {
        let path = match self.path {
            Some(text) => Some(text.parse::<PathPrefix>().ok()?),
            None => None,
        };
        let role = match self.role {
            RoleForm::Guardrail => GateRole::Guardrail,
            RoleForm::Signal => GateRole::Signal,
        };
        Some(Gate { name: Name::new(&self.name)?, role, path, rule: self.rule.proven()? })
    }
}

impl RuleForm {
    fn of(rule: &GateRule) -> Self {
        match rule {
            GateRule::Errors { tolerance, margin } => Self::Errors {
                ratio: tolerance.ratio,
                points: tolerance.points.get(),
                margin: Some(ToleranceForm { ratio: margin.ratio, points: margin.points.get() }),
            },
            GateRule::ErrorLimit { limit } => Self::ErrorLimit { limit: limit.get() },
            GateRule::Latency { quantile, tolerance, margin, of } => Self::Latency {
                quantile: quantile.map(Quantile::get),
                tolerance: tolerance.get(),
                margin: MarginForm { body: margin.body.get(), tail: margin.tail.get() },
                of: OfForm::of(*of),
            },
            GateRule::LatencyLimit { quantile, limit, of } => {
                Self::LatencyLimit { quantile: quantile.get(), limit: *limit, of: OfForm::of(*of) }
            }
        }
    }

    fn proven(self) -> Option<GateRule> {
        match self {
            Self::Errors { ratio, points, margin } => {
                let tolerance = ToleranceForm { ratio, points };
                let margin = margin.unwrap_or_else(|| tolerance.margin_of_before());
                Some(GateRule::Errors { tolerance: tolerance.proven()?, margin: margin.proven()? })
            }
            Self::ErrorLimit { limit } => Some(GateRule::ErrorLimit { limit: Fraction::new(limit).ok()? }),
            Self::Latency { quantile, tolerance, margin, of } => {
                let quantile = match quantile {
                    Some(quantile) => Some(Quantile::new(quantile).ok()?),
                    None => None,
                };
                let margin =
                    LatencyMargin { body: Stretch::new(margin.body).ok()?, tail: Stretch::new(margin.tail).ok()? };
                Some(GateRule::Latency { quantile, tolerance: Stretch::new(tolerance).ok()?, margin, of: of.proven() })
            }
            Self::LatencyLimit { quantile, limit, of } => {
                Some(GateRule::LatencyLimit { quantile: Quantile::new(quantile).ok()?, limit, of: of.proven() })
            }
            Self::LatencyShape => Some(GateRule::LATENCY),
        }
    }
}

impl ToleranceForm {
    fn proven(self) -> Option<Tolerance> {
        // A comparison that NaN fails.
        (self.ratio >= 1.0 && self.ratio.is_finite())
            .then_some(Tolerance { ratio: self.ratio, points: Fraction::new(self.points).ok()? })
    }

    /// The margin of a gate that was written when gates had none: the default one, or more where the tolerance
    /// reaches it.
    fn margin_of_before(self) -> Self {
        let default = Tolerance::MARGIN;
        let ratio = if self.ratio < default.ratio { default.ratio } else { 1.5 * self.ratio };
        let points = if self.points < default.points.get() { default.points.get() } else { 2.0 * self.points };
        Self { ratio, points: points.min(1.0) }
    }
}

impl OfForm {
    const fn of(of: LatencyOf) -> Self {
        match of {
            LatencyOf::Head => Self::Head,
            LatencyOf::Total => Self::Total,
        }
    }

    const fn proven(self) -> LatencyOf {
        match self {
            Self::Head => LatencyOf::Head,
            Self::Total => LatencyOf::Total,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plan that uses every key.
    const WHOLE: &str = "services: { shop: { stable: v1, \
        versions: { v1: { endpoints: ['a:1'] }, v2: { endpoints: ['b:1'] } } } }";

    fn plans() -> Vec<Plan> {
        let service = config::parse(WHOLE, "test.yaml").unwrap().configuration.services.remove(0);
        let built_in = service.plan;
        let percent = |value: f64| Stretch::new(value).unwrap();
        let gate = |name: &str, role, path: Option<&str>, rule| Gate {
            name: Name::new(name).unwrap(),
            role,
            path: path.map(|path| path.parse().unwrap()),
            rule,
        };
        let latency = |quantile: Option<f64>, of| GateRule::Latency {
            quantile: quantile.map(|quantile| Quantile::new(quantile).unwrap()),
            tolerance: percent(0.1),
            margin: LatencyMargin { body: percent(0.3), tail: percent(0.7) },
            of,
        };
        let limit = GateRule::LatencyLimit {
            quantile: Quantile::new(0.999).unwrap(),
            limit: Duration::from_millis(300),
            of: LatencyOf::Total,
        };
        let tolerance = Tolerance { ratio: 1.25, points: Fraction::new(0.0007).unwrap() };
        let margin = Tolerance { ratio: 2.0, points: Fraction::new(0.003).unwrap() };
        let step = |early, then: Option<OnDeadline>| Step::Weight {
            weight: Weight::from_basis_points(7).unwrap(),
            hold: Duration::from_millis(1_500),
            early,
            deadline: then.map(|then| Deadline { after: Duration::from_secs(90), then }),
        };
        let whole = Plan {
            beta: Beta::new(0.2).unwrap(),
            warmup: Duration::from_secs(7),
            advance: Advance::Proof,
            baseline: Baseline::Version(Name::new("v1-fresh").unwrap()),
            dry_run: true,
            steps: vec![
                step(false, None),
                step(true, Some(OnDeadline::Hold)),
                step(false, Some(OnDeadline::Promote)),
                Step::Approval,
                step(true, Some(OnDeadline::RollBack)),
            ],
            gates: vec![
                gate("a", GateRole::Guardrail, None, GateRule::Errors { tolerance, margin }),
                gate("b", GateRole::Signal, Some("/checkout"), latency(Some(0.9), LatencyOf::Total)),
                gate("c", GateRole::Guardrail, None, latency(None, LatencyOf::Head)),
                gate("d", GateRole::Guardrail, Some("/"), limit),
                gate("e", GateRole::Signal, None, GateRule::ErrorLimit { limit: Fraction::new(0.05).unwrap() }),
            ],
            ..built_in.clone()
        };
        vec![built_in.clone(), whole, Plan { baseline: Baseline::Equal, ..built_in }]
    }

    #[test]
    fn a_plan_that_is_written_and_read_is_the_same_plan() {
        for plan in plans() {
            let written = serde_json::to_string(&PlanForm::of(&plan)).unwrap();
            let read: PlanForm = serde_json::from_str(&written).unwrap();
            assert_eq!(read.proven(), Some(plan), "{written}");
        }
    }

    #[test]
    fn a_plan_of_before_has_the_values_that_it_had_then() {
        let written = r#"{"alpha":0.01,"min_requests":7,
            "steps":[{"weight":{"weight":100,"hold":{"secs":120,"nanos":0}}},"approval"],
            "gates":[{"name":"errors","rule":{"errors":{"ratio":1.1,"points":0.0005}}},
                     {"name":"lax","rule":{"errors":{"ratio":2.0,"points":0.004}}},
                     {"name":"latency-p99","rule":{"latency_limit":{"quantile":0.99,"limit":{"secs":0,"nanos":300000000}}}},
                     {"name":"latency","rule":"latency_shape"}]}"#;
        let plan = serde_json::from_str::<PlanForm>(written).unwrap().proven().unwrap();
        let built_in = Plan::built_in();
        assert_eq!((plan.beta, plan.warmup, plan.advance), (built_in.beta, built_in.warmup, Advance::Time));
        assert_eq!((&plan.baseline, plan.dry_run), (&Baseline::Stable, false));
        let Step::Weight { early, deadline, .. } = plan.steps[0] else { panic!("{:?}", plan.steps) };
        assert_eq!((early, deadline), (false, None));
        assert!(plan.gates.iter().all(|gate| gate.role == GateRole::Guardrail && gate.path.is_none()));
        assert_eq!((plan.gates[0].rule, plan.gates[3].rule), (GateRule::ERRORS, GateRule::LATENCY));
        let GateRule::Errors { tolerance, margin } = plan.gates[1].rule else { panic!("{:?}", plan.gates[1]) };
        assert!(margin.ratio > tolerance.ratio && margin.points > tolerance.points, "{margin:?}");
    }

    #[test]
    fn a_plan_with_a_value_that_is_not_legal_is_none() {
        let plan = PlanForm::of(&plans()[1]);
        let with = |break_it: fn(&mut PlanForm)| {
            let mut broken = plan.clone();
            break_it(&mut broken);
            broken.proven()
        };
        assert!(plan.clone().proven().is_some());
        assert_eq!(with(|plan| plan.alpha = 1.0), None);
        assert_eq!(with(|plan| plan.beta = f64::NAN), None);
        assert_eq!(with(|plan| plan.baseline = BaselineForm::Version("a b".into())), None);
        assert_eq!(with(|plan| plan.gates[1].path = Some("no path".into())), None);
        assert_eq!(
            with(|plan| plan.gates[0].rule = RuleForm::Errors { ratio: f64::NAN, points: 0.0, margin: None }),
            None
        );
        assert_eq!(with(|plan| plan.gates[0].rule = RuleForm::ErrorLimit { limit: 2.0 }), None);
    }
}
