//! A plan as it is written down: in the journal, and at the head of a rollout's record.

use std::time::Duration;

use config::{
    Advance, Alpha, Baseline, Beta, CookieMatch, Deadline, Fraction, Gate, GateRole, GateRule, HeaderMatch,
    LatencyMargin, LatencyOf, Match, MirrorLimits, Name, OnDeadline, PathPrefix, Plan, Quantile, Step, Stretch,
    Tolerance, Weight,
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
    /// None is for ever, as it was when this was not written.
    #[serde(default)]
    drain: Option<Duration>,
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
    Match {
        who: Option<MatchForm>,
        hold: Duration,
    },
    Mirror {
        share: u16,
        hold: Duration,
    },
    Approval,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct MatchForm {
    headers: Vec<WantedForm>,
    cookie: Option<WantedForm>,
    judged: bool,
}

/// A header or a cookie; no value is any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct WantedForm {
    name: String,
    value: Option<String>,
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
    Mirror {
        errors: Option<f64>,
        status: Option<f64>,
        body: Option<f64>,
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
            drain: plan.drain,
            steps: plan.steps.iter().map(StepForm::of).collect(),
            gates: plan.gates.iter().map(GateForm::of).collect(),
        }
    }

    /// The plan that is written; where one of its values is not legal, in words which.
    pub(crate) fn proven(self) -> Result<Plan, String> {
        let value = |key: &str, legal: &str| format!("`{key}` is not legal; legal is {legal}");
        let steps = self.steps.into_iter().enumerate().map(|(place, step)| {
            step.proven().ok_or_else(|| format!("`steps[{place}]` has a value that is not legal"))
        });
        let gates = self.gates.into_iter().enumerate().map(|(place, gate)| {
            gate.proven().ok_or_else(|| format!("`gates[{place}]` has a name or a value that is not legal"))
        });
        Ok(Plan {
            alpha: Alpha::new(self.alpha).map_err(|error| value("alpha", &error.to_string()))?,
            beta: Beta::new(self.beta).map_err(|error| value("beta", &error.to_string()))?,
            min_requests: self.min_requests,
            warmup: self.warmup,
            advance: match self.advance {
                AdvanceForm::Time => Advance::Time,
                AdvanceForm::Proof => Advance::Proof,
            },
            baseline: match self.baseline {
                BaselineForm::Stable => Baseline::Stable,
                BaselineForm::Equal => Baseline::Equal,
                BaselineForm::Version(version) => {
                    Baseline::Version(Name::new(&version).ok_or_else(|| value("baseline", Name::LEGAL))?)
                }
            },
            dry_run: self.dry_run,
            drain: self.drain,
            steps: steps.collect::<Result<_, _>>()?,
            gates: gates.collect::<Result<_, _>>()?,
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
            Step::Match { who, hold } => Self::Match { who: who.as_ref().map(MatchForm::of), hold: *hold },
            Step::Mirror { share, hold } => Self::Mirror { share: share.basis_points(), hold: *hold },
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
            Self::Match { who, hold } => {
                let who = match who {
                    Some(who) => Some(who.proven()?),
                    None => None,
                };
                Some(Step::Match { who, hold })
            }
            Self::Mirror { share, hold } => {
                let share = Weight::from_basis_points(share).ok().filter(|share| *share > Weight::ZERO)?;
                Some(Step::Mirror { share, hold })
            }
            Self::Approval => Some(Step::Approval),
        }
    }
}

impl MatchForm {
    fn of(matched: &Match) -> Self {
        let form = |name: &str, value: &Option<String>| WantedForm { name: name.to_owned(), value: value.clone() };
        Self {
            headers: matched.headers.iter().map(|header| form(&header.name, &header.value)).collect(),
            cookie: matched.cookie.as_ref().map(|cookie| form(&cookie.name, &cookie.value)),
            judged: matched.judged,
        }
    }

    /// None where it matches everybody.
    fn proven(self) -> Option<Match> {
        let Self { headers, cookie, judged } = self;
        let header = |WantedForm { name, value }| HeaderMatch { name, value };
        let headers: Vec<_> = headers.into_iter().map(header).collect();
        let cookie = cookie.map(|WantedForm { name, value }| CookieMatch { name, value });
        let wants_something = cookie.is_some() || !headers.is_empty();
        wants_something.then_some(Match { headers, cookie, judged })
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
            GateRule::Mirror(MirrorLimits { errors, status, body }) => {
                let [errors, status, body] = [errors, status, body].map(|limit| limit.map(Fraction::get));
                Self::Mirror { errors, status, body }
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
            Self::Mirror { errors, status, body } => {
                let limit = |limit: Option<f64>| limit.map(Fraction::new).transpose().ok();
                let limits = MirrorLimits { errors: limit(errors)?, status: limit(status)?, body: limit(body)? };
                limits.parts().next().is_some().then_some(GateRule::Mirror(limits))
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
mod tests;
