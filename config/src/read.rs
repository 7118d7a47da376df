//! From text to a proven [`Configuration`].

mod affinity;
mod alone;
mod care;
mod circles;
mod dns;
mod gate;
mod headers;
mod listener;
mod mirror;
mod place;
mod plan;
mod refused;
mod route;
mod routes;
mod rule;
mod rules;
mod service;
mod step;
mod version;

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::cursor::{Cursor, Entry, Report};
use crate::keys;
use crate::literal;
use crate::model::{AddressRange, Configuration, Dns, Name, Plan, Service};
use crate::problem::{self, Problem, Problems, did_you_mean, quoted};
use crate::tree::{LONGEST, Place, grow};

pub use alone::{ReadPlan, parse_plan, read_plan_file};
use care::ForAll;
pub(crate) use place::{clash, without_token};
use plan::Planned;
use routes::Routes;

/// A configuration that was read, and what its author should know about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The configuration.
    pub configuration: Configuration,
    /// Legal, and perhaps not meant. In the order of the text.
    pub warnings: Vec<Problem>,
}

/// Reads a configuration from `text`. `file` is the name that problems carry.
///
/// # Errors
/// Everything that is wrong, at once; where the text is no YAML, the first thing that makes it none.
pub fn parse(text: &str, file: &str) -> Result<Read, Problems> {
    let nothing = "nothing is written here; a configuration needs at least `services`";
    let (configuration, warnings) = whole(text, file, nothing, configuration)?;
    Ok(Read { configuration, warnings })
}

/// What a whole text says, and what it is warned of in the order of the text; `nothing` is the problem of an empty one.
fn whole<T>(
    text: &str,
    file: &str,
    nothing: &str,
    decode: impl FnOnce(&Cursor<'_>, &mut Report) -> Option<T>,
) -> Result<(T, Vec<Problem>), Problems> {
    let mut report = Report::new(file);
    let decoded = match grow(text) {
        Ok(Some(root)) => decode(&Cursor::root(&root), &mut report),
        Ok(None) => {
            report.problem(Place { line: 1, column: 1 }, "", nothing);
            None
        }
        Err(broken) => {
            report.problem(broken.place, "", broken.message);
            None
        }
    };
    let Report { problems, mut warnings, .. } = report;
    match (Problems::new(problems), decoded) {
        (None, Some(decoded)) => {
            problem::sort(&mut warnings);
            Ok((decoded, warnings))
        }
        (Some(problems), _) => Err(problems),
        // Never reached: each decoder that gives nothing has said why. Should one forget, nothing is accepted.
        (None, None) => Err(Problem::without_place(file, "cannot be read").into()),
    }
}

/// Reads the configuration in the file at `path`.
///
/// # Errors
/// As [`parse`]; a file that cannot be read is a problem with the reason in words.
pub fn read_file(path: &Path) -> Result<Read, Problems> {
    parse(&text_of(path)?, &path.display().to_string())
}

/// The text of a file; a problem in words where there is none.
pub(crate) fn text_of(path: &Path) -> Result<String, Problems> {
    let file = path.display().to_string();
    let wrong = |message: String| Problems::from(Problem::without_place(&file, message));
    // A directory opens like a file and fails at the first read, with words that do not help.
    if path.is_dir() {
        return Err(wrong("is a directory; name the configuration file in it".to_owned()));
    }
    let bytes = bytes_of(path).map_err(|error| wrong(unreadable(&error)))?;
    String::from_utf8(bytes).map_err(|error| {
        let (valid, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        let before = bytes.split_at(valid).0;
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        Problem {
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
            ..Problem::without_place(&file, "not UTF-8; save the file as UTF-8")
        }
        .into()
    })
}

/// The content of a file, up to the first byte too many: it may be a pipe, or a device without an end.
fn bytes_of(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(LONGEST).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Why a file cannot be read, for people: what is wrong and what to do.
#[must_use]
pub fn unreadable(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::NotFound {
        "there is no such file; name an existing one".to_owned()
    } else if error.kind() == std::io::ErrorKind::PermissionDenied {
        "may not be read by this user; allow it (chmod, chown)".to_owned()
    } else {
        format!("cannot be read: {error}")
    }
}

fn configuration(root: &Cursor<'_>, report: &mut Report) -> Option<Configuration> {
    let fields = root.fields(report, &keys::TOP)?;
    let mut taken = place::Taken::default();
    let listeners = listener::listeners(fields.get("listeners"), &mut taken, report);
    report.listening = listeners.iter().flatten().map(|listener| listener.address.clone()).collect();
    let admin = place::admin(fields.get("admin"), &mut taken, report);
    report.admin = admin.as_ref().map(|admin| admin.address);
    let state = match fields.get("state") {
        Some(state) => file_path(state, "the path of a directory", report),
        None => Some(PathBuf::from(Configuration::DEFAULT_STATE)),
    };
    let dns = fields.or("dns", Dns::default(), |written| dns::dns(written, report));
    let rules = rules::rules(&fields, report);
    report.strictness = rules.as_ref().map(|rules| rules.requests);
    report.trusts = Some(fields.has("trusted"));
    let shared = service::Shared {
        timeouts: rules.as_ref().map(|rules| rules.timeouts),
        trusted: fields.has("trusted"),
        health: fields.get("health").and_then(|written| ForAll::read(written, report)),
        // What is wrong there is a problem already.
        retries: fields.get("retries").and_then(|written| care::retries(written, report)).unwrap_or_default(),
        plans: fields.has("plans"),
    };
    let services = fields
        .need(report, "services", "at least one service")
        .cloned()
        .and_then(|services| all_services(&services, &shared, report));
    let plans = match fields.get("plans") {
        Some(plans) => {
            // Those of services may be longer: which of them a rollout gives it to is known when the rollout starts.
            let first_byte = rules.as_ref().map(|rules| rules.timeouts.first_byte).unwrap_or_default();
            named_plans(plans, first_byte, services.as_deref(), report)
        }
        None => Some(Vec::new()),
    };
    Some(Configuration {
        listeners: listeners?,
        rules: Arc::new(rules?),
        admin: admin?,
        state: state?,
        dns: dns?,
        services: services?,
        plans: plans?,
    })
}

fn all_services(services: &Cursor<'_>, shared: &service::Shared, report: &mut Report) -> Option<Vec<Service>> {
    let entries = services.entries(report, "a mapping from each service's name to the service")?;
    if entries.is_empty() {
        services.wrong(report, "no service is written here; write at least one");
        return None;
    }
    let (mut routes, mut judged) = (Routes::default(), Vec::new());
    let read: Vec<_> =
        entries.iter().map(|entry| service::service(entry, shared, &mut routes, &mut judged, report)).collect();
    for judged in &judged {
        routes.check(judged, report);
    }
    read.into_iter().collect()
}

/// The plans that a rollout may name. What they ask of a service is told by `services`, where those could be read.
fn named_plans(
    plans: &Cursor<'_>,
    first_byte: Duration,
    services: Option<&[Service]>,
    report: &mut Report,
) -> Option<Vec<(Name, Plan)>> {
    let entries = plans.entries(report, "a mapping from each plan's name to the plan")?;
    let read: Vec<_> = entries
        .iter()
        .map(|entry| {
            let name = own_name(entry, "plan", report);
            if matches!(entry.key.text.as_str(), "default" | "built-in") {
                let message = "is a reserved name (a service's own plan, and the built-in one); choose another";
                report.problem(entry.key.place, &entry.value.path, message);
            }
            let planned = plan::plan(&entry.value, first_byte, report);
            if let Some(services) = services {
                suits_some(&planned, services, report);
            }
            Some((name?, planned.plan?))
        })
        .collect();
    read.into_iter().collect()
}

/// Warns of what a plan asks and no service has. Which service a rollout gives it to is known when the rollout starts.
fn suits_some(planned: &Planned<'_>, services: &[Service], report: &mut Report) {
    if let Some((baseline, written)) = &planned.baseline
        && !services.iter().any(|service| service.versions.iter().any(|version| version.name == *baseline))
    {
        let versions = services.iter().flat_map(|service| &service.versions).map(|version| version.name.as_str());
        let versions: BTreeSet<&str> = versions.chain(["stable", "equal"]).collect();
        let near = did_you_mean(baseline.as_str(), versions);
        let baseline = quoted(baseline.as_str());
        let message = format!("no service has a version {baseline}, so no rollout can start under this plan{near}");
        report.warning(written.place, &written.path, message);
    }
    for (path, written) in &planned.paths {
        if !services.iter().any(|service| path.is_within(&service.path) || service.path.is_within(path)) {
            let path = path.as_str();
            let message = format!(
                "no request of any service begins with {path}, so under this plan nothing advances for want of data"
            );
            report.warning(written.place, &written.path, message);
        }
    }
}

/// The name that the operator chose as a key.
fn own_name(entry: &Entry<'_>, what: &str, report: &mut Report) -> Option<Name> {
    let name = Name::new(&entry.key.text);
    if name.is_none() {
        let why = if entry.key.text == "-" && what == "service" {
            " (requests that match no service are counted under `-`)"
        } else {
            ""
        };
        let message = format!("{} cannot name a {what}{why}; legal is {}", quoted(&entry.key.text), Name::LEGAL);
        report.problem(entry.key.place, &entry.value.path, message);
    }
    name
}

/// A path in the file system, as written.
fn file_path(value: &Cursor<'_>, legal: &str, report: &mut Report) -> Option<PathBuf> {
    let text = value.text(report, legal)?;
    if text.is_empty() || text.contains('\0') {
        value.wrong(report, format!("{} is no path; legal is {legal}", quoted(text)));
        return None;
    }
    Some(PathBuf::from(text))
}

/// A time in whole seconds.
fn seconds_of(written: &Cursor<'_>, report: &mut Report) -> Option<Duration> {
    written.literal(report, "a time, like 720h", literal::seconds)
}

/// Ranges of addresses, at least one. One that is everybody is warned of, with what everybody could do then.
fn ranges(written: &Cursor<'_>, key: &str, could: &str, report: &mut Report) -> Option<Vec<AddressRange>> {
    let items = written.items(report, "a list of addresses and networks, like [10.0.0.0/8, \"fd00::/8\"]")?;
    if items.is_empty() {
        let message =
            format!("no address is written here, so nobody is meant; write at least one, or leave `{key}` out");
        written.wrong(report, message);
        return None;
    }
    different(&items, report, |item, report| {
        let range: AddressRange = item.literal(report, "an address or a network, like 10.0.0.0/8", str::parse)?;
        if range.is_everybody() {
            report.warning(item.place, &item.path, format!("`{range}` is everybody, so everybody could {could}"));
        }
        Some(range)
    })
}

/// The items of a list, no two the same.
fn different<'a, T: Clone + Eq + Hash>(
    items: &[Cursor<'a>],
    report: &mut Report,
    mut read: impl FnMut(&Cursor<'a>, &mut Report) -> Option<T>,
) -> Option<Vec<T>> {
    let mut first: HashMap<T, Place> = HashMap::new();
    let read: Vec<_> = items
        .iter()
        .map(|item| {
            let value = read(item, report)?;
            if let Some(first) = first.get(&value) {
                let (written, first) = (quoted(item.word().unwrap_or_default()), report.place(*first));
                item.wrong(report, format!("{written} is written twice; keep one, the other is at {first}"));
                return None;
            }
            first.insert(value.clone(), item.place);
            Some(value)
        })
        .collect();
    read.into_iter().collect()
}
