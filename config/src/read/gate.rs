//! Gates.

use std::collections::HashMap;

use crate::cursor::{Cursor, Fields, Report};
use crate::keys;
use crate::literal::Illegal;
use crate::model::{Gate, GateRole, GateRule, Name, PathPrefix, Plan};
use crate::problem::quoted;
use crate::read::mirror::mirror_limits;
use crate::read::rule::{errors_rule, latency_rule};
use crate::tree::Place;

/// What a gate may look like, for who wrote something else.
pub(super) const LEGAL: &str = "{ errors: {} }, { errors: { tolerance: 0.1% } }, { errors: { limit: 5% } }, { latency: {} }, \
                                { latency: { limit: 300ms } } or { mirror: { status: 1% } }";

/// The gates. `paths` takes the different paths that they judge by themselves, each where it stands first.
pub(super) fn gates<'a>(
    written: &Cursor<'a>,
    paths: &mut Vec<(PathPrefix, Cursor<'a>)>,
    report: &mut Report,
) -> Option<Vec<Gate>> {
    let legal = format!("a list of gates, each {LEGAL}");
    let items = written.few_items(report, &legal, "gate", Plan::MOST_GATES)?;
    let mut names: HashMap<String, Place> = HashMap::new();
    let read: Vec<_> = items
        .iter()
        .map(|item| {
            let gate = gate(item, paths, report)?;
            // Each of its tests is told by its name, and so is the gate.
            let mut mine = gate.tests();
            mine.push(gate.name.to_string());
            mine.dedup();
            if let Some((name, first)) = mine.iter().find_map(|name| Some((name, names.get(name)?))) {
                let first = report.place(*first);
                let message = format!("a gate at {first} is named `{name}` already; write another `name:` here");
                item.wrong(report, message);
                return None;
            }
            names.extend(mine.into_iter().map(|name| (name, item.place)));
            Some(gate)
        })
        .collect();
    let gates: Vec<Gate> = read.into_iter().collect::<Option<_>>()?;
    let nothing_else = "nothing but the circuit breaker takes a bad canary back";
    if gates.is_empty() {
        let message = format!("no gates: {nothing_else}; leave `gates` out for the default gates");
        report.warning(written.place, &written.path, message);
    } else if gates.iter().all(|gate| gate.role == GateRole::Signal) {
        let message = format!("every gate is a signal: {nothing_else}; give one the role `guardrail`");
        report.warning(written.place, &written.path, message);
    }
    Some(gates)
}

fn gate<'a>(item: &Cursor<'a>, paths: &mut Vec<(PathPrefix, Cursor<'a>)>, report: &mut Report) -> Option<Gate> {
    if let Some(word) = item.word() {
        item.wrong(report, format!("{} is no gate; legal is {LEGAL}", quoted(word)));
        return None;
    }
    let fields = item.fields(report, &keys::GATE)?;
    let name = fields.if_written("name", |written| written.literal(report, "a name", gate_name));
    let role = fields.or("role", GateRole::default(), |written| {
        written.choice(report, "is no role", &[("guardrail", GateRole::Guardrail), ("signal", GateRole::Signal)])
    });
    let path = fields.if_written("path", |written| own_path(written, paths, report));
    let rule = rule(&fields, report);
    let (name, role, path, rule) = (name?, role?, path?, rule?);
    let name = match name {
        Some(name) => name,
        None => default_name(&rule, path.as_ref(), item, report)?,
    };
    Some(Gate { name, role, path, rule })
}

fn rule(fields: &Fields<'_>, report: &mut Report) -> Option<GateRule> {
    let mut judged = ["errors", "latency", "mirror"].into_iter().filter_map(|key| Some((key, fields.get(key)?)));
    let Some((first, written)) = judged.next() else {
        fields.chooses_none(report, format!("judges nothing; legal is {LEGAL}"));
        return None;
    };
    if let Some((_, second)) = judged.next() {
        second.wrong(report, format!("`{first}` stands in the same gate; write two gates"));
        return None;
    }
    match first {
        "errors" => errors_rule(written, report),
        "latency" => latency_rule(written, report),
        _ => {
            let limits = mirror_limits(written, report);
            if let Some(path) = fields.get("path") {
                path.wrong(report, "copies are not counted by path; leave `path` out");
                return None;
            }
            limits.map(GateRule::Mirror)
        }
    }
}

fn default_name(rule: &GateRule, path: Option<&PathPrefix>, item: &Cursor<'_>, report: &mut Report) -> Option<Name> {
    let judged = match rule {
        GateRule::Errors { .. } => "errors".to_owned(),
        GateRule::ErrorLimit { .. } => "errors-limit".to_owned(),
        GateRule::LatencyLimit { quantile, .. } | GateRule::Latency { quantile: Some(quantile), .. } => {
            format!("latency-{quantile}")
        }
        GateRule::Latency { quantile: None, .. } => "latency".to_owned(),
        GateRule::Mirror(_) => "mirror".to_owned(),
    };
    // Its slashes become dashes, the first one too: `errors-api-checkout`.
    let text = judged + &path.map_or_else(String::new, |path| path.as_str().replace('/', "-"));
    let name = Name::new(&text);
    if name.is_none() {
        let message = format!(
            "would be named {} after its path, which cannot name a gate; write a `name:`, legal is {}",
            quoted(&text),
            Name::LEGAL
        );
        item.wrong(report, message);
    }
    name
}

fn gate_name(text: &str) -> Result<Name, Illegal> {
    let taken_by = match text {
        "baseline" => Some("the check of the baseline"),
        "clients" => Some("the check of clients that leave"),
        "breaker" => Some("the circuit breaker that is always on"),
        "traffic" => Some("the check of the traffic that is always on"),
        _ => None,
    };
    if let Some(taken_by) = taken_by {
        let message = format!("`{text}` is reserved for {taken_by}; legal is any other name, like `my-{text}`");
        return Err(Illegal::new(message));
    }
    Name::new(text)
        .ok_or_else(|| Illegal::new(format!("{} cannot name a gate; legal is {}", quoted(text), Name::LEGAL)))
}

fn own_path<'a>(
    written: &Cursor<'a>,
    paths: &mut Vec<(PathPrefix, Cursor<'a>)>,
    report: &mut Report,
) -> Option<PathPrefix> {
    let path: PathPrefix = written.literal(report, "a path, like /checkout", str::parse)?;
    if path == PathPrefix::root() {
        written.wrong(report, "`/` is every path; leave `path` out to judge every request");
        return None;
    }
    if !paths.iter().any(|(known, _)| *known == path) {
        if paths.len() == Plan::MOST_PATHS {
            let most = Plan::MOST_PATHS;
            let message = format!("is one path too many; the gates of a plan judge at most {most} different ones");
            written.wrong(report, message);
            return None;
        }
        paths.push((path.clone(), written.clone()));
    }
    Some(path)
}
