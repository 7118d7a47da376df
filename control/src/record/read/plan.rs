//! The plan of a record, which may come from anywhere: what a file may not say it may not say either.

use config::{Gate, GateRule, Plan, Tolerance};
use serde::Deserialize as _;
use serde_json::Value;

use crate::journal::plan::PlanForm;

/// Names that the tests which are always on have in what is told.
const RESERVED: [&str; 4] = ["baseline", "breaker", "clients", "traffic"];

/// What is written, where a plan could be so; in words what is wrong where not.
pub(super) fn proven(value: &Value) -> Result<Plan, String> {
    let form = PlanForm::deserialize(value).map_err(|error| error.to_string())?;
    let known = serde_json::to_value(&form).map_err(|error| error.to_string())?;
    if let Some(key) = unknown_key(value, &known) {
        return Err(format!("there is no such key: {key:?}"));
    }
    let plan = form.proven()?;
    if plan.gates.len() > Plan::MOST_GATES {
        return Err(format!("it has {} gates; legal are at most {}", plan.gates.len(), Plan::MOST_GATES));
    }
    for (place, gate) in plan.gates.iter().enumerate() {
        let name = gate.name.as_str();
        if RESERVED.contains(&name) || plan.gates[..place].iter().any(|other| other.name == gate.name) {
            return Err(format!("`gates[{place}]`: its name `{name}` is another's; legal is one of its own"));
        }
        if let Some(legal) = beyond(gate) {
            return Err(format!("`gates[{place}]` ({name}): {legal}"));
        }
    }
    Ok(plan)
}

/// A key that is written and that nobody reads.
fn unknown_key<'a>(written: &'a Value, known: &Value) -> Option<&'a str> {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => {
            written.iter().find_map(|(key, value)| match known.get(key) {
                Some(known) => unknown_key(value, known),
                None => Some(key),
            })
        }
        (Value::Array(written), Value::Array(known)) => {
            written.iter().zip(known).find_map(|(written, known)| unknown_key(written, known))
        }
        _ => None,
    }
}

/// What is legal for this gate, where one of its values is not so, by the bounds that a file has (docs/configuration.md).
fn beyond(gate: &Gate) -> Option<&'static str> {
    // A value that was a percentage may be off by its last bit.
    let within = |value: f64, least: f64, most: f64| (least - 1e-9..=most + 1e-9).contains(&value);
    match gate.rule {
        GateRule::Errors { tolerance, margin } => {
            let Tolerance { ratio, points } = tolerance;
            let is_legal = within(ratio, 1.0, 1_000.0)
                && points.get() < 1.0
                && within(margin.ratio, ratio, 10_000.0)
                && margin.points >= points
                && (margin.ratio > ratio || margin.points > points);
            (!is_legal).then_some(
                "legal is a tolerance with a ratio of 1 to 1000 and points below 1, and a margin with neither below the \
                 tolerance's and one above",
            )
        }
        GateRule::ErrorLimit { limit } => {
            let is_legal = limit.get() > 0.0 && limit.get() < 1.0;
            (!is_legal).then_some("legal is a limit above 0 and below 1")
        }
        GateRule::Latency { quantile, tolerance, margin, .. } => {
            let tolerance = tolerance.get();
            let is_legal = within(tolerance, 0.0, 10.0)
                && [margin.body.get(), margin.tail.get()].iter().all(|it| *it > tolerance && *it <= 100.0)
                && quantile.is_none_or(|quantile| within(quantile.get(), 0.1, 0.999));
            (!is_legal).then_some(
                "legal is a tolerance of 0 to 10, margins above it and up to 100, and a quantile of 0.1 to 0.999",
            )
        }
        GateRule::LatencyLimit { quantile, limit, .. } => {
            let is_legal = within(quantile.get(), 0.01, 0.9999) && within(limit.as_secs_f64(), 0.001, 60.0);
            (!is_legal).then_some("legal is a quantile of 0.01 to 0.9999, and a limit of 1 ms to 60 s")
        }
        GateRule::Mirror(limits) => {
            let is_legal = limits.parts().all(|(_, limit)| limit.get() > 0.0 && limit.get() < 1.0);
            (!is_legal).then_some("legal are limits above 0 and below 1")
        }
    }
}
