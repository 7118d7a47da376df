//! Plans.

use std::time::Duration;

use super::at::At;
use super::{Telling, written};
use crate::literal::spelt;
use crate::model::{
    Advance, Baseline, Deadline, Gate, GateRole, GateRule, LatencyMargin, LatencyOf, Match, OnDeadline, Plan, Step,
    Tolerance,
};

pub(super) fn tell(plan: &Plan, at: &At<'_>, telling: &mut Telling<'_>) {
    let Plan { alpha, beta, min_requests, warmup, advance, baseline, dry_run, drain, steps, gates } = plan;
    telling.value(&at.key("alpha"), alpha);
    telling.value(&at.key("beta"), beta);
    telling.value(&at.key("min_requests"), min_requests);
    telling.time(&at.key("warmup"), *warmup);
    let advance = match advance {
        Advance::Time => "time",
        Advance::Proof => "proof",
    };
    telling.value(&at.key("advance"), advance);
    let baseline = match baseline {
        Baseline::Stable => "stable".to_owned(),
        Baseline::Equal => "equal".to_owned(),
        Baseline::Version(version) => written::text(version.as_str()),
    };
    telling.value(&at.key("baseline"), baseline);
    telling.value(&at.key("dry_run"), dry_run);
    telling.value(&at.key("drain"), drain.map_or_else(|| "never".to_owned(), spelt));
    for (number, step) in steps.iter().enumerate() {
        tell_step(step, &at.key("steps").item(number), at, telling);
    }
    if gates.is_empty() {
        telling.value(&at.key("gates"), "[]");
    }
    for (number, gate) in gates.iter().enumerate() {
        tell_gate(gate, &at.key("gates").item(number), telling);
    }
}

fn tell_step(step: &Step, at: &At<'_>, plan: &At<'_>, telling: &mut Telling<'_>) {
    let (weight, hold, early, deadline) = match step {
        Step::Approval => return telling.value(&at.key("approval"), true),
        Step::Mirror { share, hold } => {
            telling.value(&at.key("mirror"), share);
            return telling.time(&at.key("hold"), *hold);
        }
        Step::Match { who, hold } => return tell_match(who.as_ref(), *hold, at, telling),
        Step::Weight { weight, hold, early, deadline } => (weight, hold, early, deadline),
    };
    telling.value(&at.key("weight"), weight);
    telling.time(&at.key("hold"), *hold);
    telling.own_or_written(&at.key("early"), Some(early), &plan.key("early"));
    let after = deadline.map(|Deadline { after, .. }| spelt(after));
    telling.own_or_written(&at.key("deadline"), after, &plan.key("deadline"));
    // Where there is no deadline, nothing happens at it.
    if let Some(Deadline { then, .. }) = deadline {
        let then = match then {
            OnDeadline::Hold => "hold",
            OnDeadline::Promote => "promote",
            OnDeadline::RollBack => "roll-back",
        };
        telling.own_or_written(&at.key("on_deadline"), Some(then), &plan.key("on_deadline"));
    }
}

fn tell_match(who: Option<&Match>, hold: Duration, at: &At<'_>, telling: &mut Telling<'_>) {
    match who {
        Some(who) => {
            let wanted = who.wanted().map(|(name, value)| (name, written::text(&value)));
            telling.value(&at.key("match"), written::mapping(wanted));
            telling.value(&at.key("judged"), who.judged);
        }
        None => telling.value(&at.key("match"), "nobody"),
    }
    telling.time(&at.key("hold"), hold);
}

fn tell_gate(gate: &Gate, at: &At<'_>, telling: &mut Telling<'_>) {
    let Gate { name, role, path, rule } = gate;
    telling.value(&at.key("name"), written::text(name.as_str()));
    let role = match role {
        GateRole::Guardrail => "guardrail",
        GateRole::Signal => "signal",
    };
    telling.value(&at.key("role"), role);
    telling.if_some(&at.key("path"), path.as_ref().map(|path| written::text(path.as_str())), "every request");
    let (errors, latency) = (at.key("errors"), at.key("latency"));
    match rule {
        GateRule::Errors { tolerance, margin } => {
            telling.value(&errors.key("tolerance"), harm(*tolerance));
            telling.value(&errors.key("margin"), harm(*margin));
        }
        GateRule::ErrorLimit { limit } => telling.value(&errors.key("limit"), limit),
        GateRule::Latency { quantile, tolerance, margin, of } => {
            telling.if_some(&latency.key("quantile"), quantile.as_ref(), "the whole shape");
            telling.value(&latency.key("tolerance"), tolerance);
            let LatencyMargin { body, tail } = margin;
            if body == tail {
                telling.value(&latency.key("margin"), body);
            } else {
                telling.value(&latency.key("margin"), format_args!("({body} up to p95, {tail} above)"));
            }
            telling.value(&latency.key("of"), end(*of));
        }
        GateRule::LatencyLimit { quantile, limit, of } => {
            telling.time(&latency.key("limit"), *limit);
            telling.value(&latency.key("quantile"), quantile);
            telling.value(&latency.key("of"), end(*of));
        }
        GateRule::Mirror(limits) => {
            for (part, limit) in limits.parts() {
                telling.value(&at.key("mirror").key(part.word()), limit);
            }
        }
    }
}

fn harm(Tolerance { ratio, points }: Tolerance) -> String {
    written::mapping([("ratio", ratio.to_string()), ("points", points.to_string())])
}

const fn end(of: LatencyOf) -> &'static str {
    match of {
        LatencyOf::Head => "head",
        LatencyOf::Total => "total",
    }
}
