//! Gates.

use std::collections::HashMap;
use std::time::Duration;

use crate::cursor::{Cursor, Fields, Report};
use crate::keys;
use crate::literal::{self, Illegal};
use crate::model::{Gate, GateRole, GateRule, LatencyOf, Name, Tolerance};
use crate::problem::{did_you_mean, quoted};
use crate::tree::Place;
use crate::units::{Fraction, Quantile};

const LEGAL: &str =
    "{ errors: {} }, { errors: { tolerance: 0.1% } }, { errors: { limit: 5% } } or { latency: { limit: 300ms } }";

pub(super) fn gates(written: &Cursor<'_>, report: &mut Report) -> Option<Vec<Gate>> {
    let items = written.items(report, &format!("a list of gates, each {LEGAL}"))?;
    if items.is_empty() {
        let message = "no gates: nothing but the circuit breaker takes a bad canary back; leave `gates` out for the default gates";
        report.warning(written.place, &written.path, message);
    }
    let mut names: HashMap<Name, Place> = HashMap::new();
    let read: Vec<_> = items
        .iter()
        .map(|item| {
            let gate = gate(item, report)?;
            if let Some(first) = names.get(&gate.name) {
                let first = report.place(*first);
                item.wrong(
                    report,
                    format!("a gate at {first} is named `{}` already; write another `name:` here", gate.name),
                );
                return None;
            }
            names.insert(gate.name.clone(), item.place);
            Some(gate)
        })
        .collect();
    read.into_iter().collect()
}

fn gate(item: &Cursor<'_>, report: &mut Report) -> Option<Gate> {
    if let Some(word) = item.word() {
        item.wrong(report, format!("{} is no gate; legal is {LEGAL}", quoted(word)));
        return None;
    }
    let fields = item.fields(report, &keys::GATE)?;
    let name = match fields.get("name") {
        Some(written) => Some(written.literal(report, "a name", gate_name)?),
        None => None,
    };
    let role = match fields.get("role") {
        Some(written) => role(written, report),
        None => Some(()),
    };
    let rule = match (fields.get("errors"), fields.get("latency")) {
        (Some(errors), None) => errors_rule(errors, report),
        (None, Some(latency)) => latency_rule(latency, report),
        (Some(_), Some(latency)) => {
            latency.wrong(report, "`errors` stands in the same gate; write two gates");
            None
        }
        (None, None) => {
            fields.chooses_none(report, format!("judges nothing; legal is {LEGAL}"));
            None
        }
    };
    role?;
    let rule = rule?;
    Some(Gate { name: name.unwrap_or_else(|| default_name(&rule)), role: GateRole::Guardrail, path: None, rule })
}

fn default_name(rule: &GateRule) -> Name {
    match rule {
        GateRule::Errors { .. } => Name::given("errors"),
        GateRule::ErrorLimit { .. } => Name::given("errors-limit"),
        GateRule::LatencyLimit { quantile, .. } => Name::given(&format!("latency-{quantile}")),
        GateRule::Latency { quantile: Some(quantile), .. } => Name::given(&format!("latency-{quantile}")),
        GateRule::Latency { quantile: None, .. } => Name::given("latency"),
    }
}

fn gate_name(text: &str) -> Result<Name, Illegal> {
    if text == "breaker" {
        return Err(Illegal::new(
            "`breaker` is reserved for the circuit breaker that is always on; choose another name",
        ));
    }
    Name::new(text)
        .ok_or_else(|| Illegal::new(format!("{} cannot name a gate; legal is {}", quoted(text), Name::LEGAL)))
}

fn role(written: &Cursor<'_>, report: &mut Report) -> Option<()> {
    let text = written.text(report, "`guardrail`")?;
    match text {
        "guardrail" => return Some(()),
        "signal" => written.wrong(report, "`signal` is known and not built yet; legal is `guardrail`"),
        other => {
            let near = did_you_mean(other, ["guardrail", "signal"]);
            written.wrong(report, format!("{} is no role; legal is `guardrail`{near}", quoted(other)));
        }
    }
    None
}

/// The fields of a rule. `errors:` without a value may be a rule that was never finished, so it is none.
fn rule_fields<'a>(written: &Cursor<'a>, keys: &keys::Keys, report: &mut Report) -> Option<Fields<'a>> {
    if written.is_empty() {
        written.expected(report, &format!("a mapping, like {LEGAL}"));
        return None;
    }
    written.fields(report, keys)
}

fn errors_rule(written: &Cursor<'_>, report: &mut Report) -> Option<GateRule> {
    let fields = rule_fields(written, &keys::ERRORS, report)?;
    match (fields.get("tolerance"), fields.get("limit")) {
        (None, None) => Some(GateRule::ERRORS),
        (Some(tolerance), None) => {
            Some(GateRule::Errors { tolerance: self::tolerance(tolerance, report)?, margin: Tolerance::MARGIN })
        }
        (None, Some(limit)) => {
            Some(GateRule::ErrorLimit { limit: limit.literal(report, "a percentage, like 5%", error_limit)? })
        }
        (Some(_), Some(limit)) => {
            let message = "`tolerance` stands in the same gate; write two gates: { errors: { tolerance: 0.1% } } and \
                           { errors: { limit: 5% } }";
            limit.wrong(report, message);
            None
        }
    }
}

fn error_limit(text: &str) -> Result<Fraction, Illegal> {
    let limit: Fraction = text.parse()?;
    if limit.get() > 0.0 && limit.get() < 1.0 {
        return Ok(limit);
    }
    Err(Illegal::new(format!("{} cannot be a limit; legal is above 0% and below 100%", quoted(text))))
}

fn tolerance(written: &Cursor<'_>, report: &mut Report) -> Option<Tolerance> {
    const POINTS: &str = "points above stable, like 0.1%";
    if written.word().is_some() {
        let points = written.literal(report, POINTS, str::parse)?;
        return Some(Tolerance { ratio: 1.0, points });
    }
    let fields = written.fields(report, &keys::TOLERANCE)?;
    if !fields.has("ratio") && !fields.has("points") {
        fields.chooses_none(
            report,
            "tolerates nothing in particular; legal is 0.1%, { ratio: 1.5 } or { ratio: 1.5, points: 0.1% }",
        );
        return None;
    }
    let ratio = match fields.get("ratio") {
        Some(written) => written.literal(report, "a number, like 1.5", ratio),
        None => Some(1.0),
    };
    let points = match fields.get("points") {
        Some(written) => written.literal(report, POINTS, str::parse),
        None => Some(Fraction::ZERO),
    };
    Some(Tolerance { ratio: ratio?, points: points? })
}

fn ratio(text: &str) -> Result<f64, Illegal> {
    let wrong = |near: &str| {
        Illegal::new(format!(
            "{} is no ratio; legal is 1 to 1000, like 1.5 (half again of stable's errors){near}",
            quoted(text)
        ))
    };
    if text.ends_with('%') {
        return Err(wrong("; points are written as `points:`"));
    }
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|ratio| plain && (1.0..=1000.0).contains(ratio)).ok_or_else(|| wrong(""))
}

fn latency_rule(written: &Cursor<'_>, report: &mut Report) -> Option<GateRule> {
    let fields = rule_fields(written, &keys::LATENCY, report)?;
    let quantile = match fields.get("quantile") {
        Some(written) => written.literal(report, "a quantile, like p99", str::parse),
        None => Some(Quantile::P99),
    };
    let Some(limit) = fields.get("limit") else {
        let message = "latency against stable is known and not built yet; write a `limit`, like { limit: 300ms }";
        fields.chooses_none(report, message);
        return None;
    };
    let limit = limit.literal(report, "a time, like 300ms", latency_limit);
    Some(GateRule::LatencyLimit { quantile: quantile?, limit: limit?, of: LatencyOf::Head })
}

fn latency_limit(text: &str) -> Result<Duration, Illegal> {
    let limit = literal::duration(text)?;
    if (Duration::from_millis(1)..=Duration::from_secs(60)).contains(&limit) {
        return Ok(limit);
    }
    Err(Illegal::new(format!("{} cannot be a limit; legal is 1ms to 60s", quoted(text))))
}
