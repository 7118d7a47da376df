//! Services.

use crate::cursor::{Cursor, Entry, Fields, Report};
use crate::keys;
use crate::literal::{Illegal, is_token};
use crate::model::{Affinity, Canary, GrpcCodes, MirrorRules, Name, Plan, Retries, Service, ServiceTimeouts, Timeouts};
use crate::problem::{did_you_mean, listed, quoted};
use crate::read::affinity::{affinity, forced};
use crate::read::care::{ForAll, retries};
use crate::read::mirror::mirror_rules;
use crate::read::plan::{Planned, plan};
use crate::read::refused::warn_of_upgrades;
use crate::read::route::{Route, route};
use crate::read::routes::{Judged, Routes};
use crate::read::version::{Versions, versions};
use crate::read::{different, own_name, rules};
use crate::units::{Bytes, Weight};

/// What services share, where it can be read.
pub(super) struct Shared {
    /// The timeouts of all services.
    pub(super) timeouts: Option<Timeouts>,
    /// Whether anybody's word on a client is believed.
    pub(super) trusted: bool,
    /// What endpoints are asked where neither service nor version says so.
    pub(super) health: Option<ForAll>,
    /// What is tried again where the service does not say so.
    pub(super) retries: Retries,
    /// Whether there are plans beside those of the services.
    pub(super) plans: bool,
}

/// A service, and the paths that its gates judge, for when all routes are known.
pub(super) fn service<'a>(
    entry: &Entry<'a>,
    shared: &Shared,
    routes: &mut Routes,
    judged: &mut Vec<Judged<'a>>,
    report: &mut Report,
) -> Option<Service> {
    let name = own_name(entry, "service", report);
    let fields = entry.value.fields(report, &keys::SERVICE)?;
    let route = route(entry, &fields, routes, report);
    let affinity = fields.or("affinity", Affinity::default(), |written| affinity(written, shared.trusted, report));
    let traffic = Traffic::read(&fields, shared, report);
    let health = fields.get("health").map_or_else(|| shared.health.clone(), |written| ForAll::read(written, report));
    let versions = versions(&fields, health.as_ref(), report);
    let forced = fields.if_written("forced", |written| {
        let names = versions.as_ref().map_or(&[] as &[Name], |versions| &versions.names);
        forced(written, names, report)
    });
    let split = versions.as_ref().and_then(|versions| split(&fields, versions, report));
    if let (Some(versions), Some((stable, _))) = (&versions, &split) {
        versions.warn_of_less_room(stable, report);
    }
    let plan = match fields.get("plan") {
        Some(written) => {
            let own = traffic.as_ref().and_then(|traffic| traffic.timeouts.first_byte);
            let first_byte = own.or(shared.timeouts.map(|timeouts| timeouts.first_byte)).unwrap_or_default();
            let Planned { plan, baseline, paths } = plan(written, first_byte, report);
            if let (Some((baseline, written)), Some(versions), Some(split)) = (baseline, &versions, &split) {
                check_baseline(&baseline, &written, versions, split, report);
            }
            if let Some(route) = &route {
                judged.extend(paths.into_iter().map(|(judged, written)| Judged {
                    hosts: route.hosts.clone(),
                    path: route.path.clone(),
                    judged,
                    written,
                }));
            }
            plan
        }
        None => Some(Plan::built_in()),
    };
    if let (Some(written), Some(plan), false) = (fields.get("mirror"), &plan, shared.plans)
        && !plan.mirrors()
    {
        let message = "says which requests may be copied, and no step of the plan copies any; write a step like \
                       { mirror: 10%, hold: 5m } into `plan`, before the first weight";
        report.warning(written.place, &written.path, message);
    }
    if let (Some(written), Some(traffic), Some(versions)) = (fields.get("upgrades"), &traffic, &versions) {
        warn_of_upgrades(written, &traffic.upgrades, versions.read.as_deref().unwrap_or_default(), report);
    }
    let (Route { hosts, path, methods, headers }, traffic, (stable, canary)) = (route?, traffic?, split?);
    Some(Service {
        name: name?,
        hosts,
        path,
        methods,
        headers,
        affinity: affinity?,
        forced: forced?,
        version_header: traffic.version_header,
        upgrades: traffic.upgrades,
        grpc_errors: traffic.grpc_errors,
        body: traffic.body,
        timeouts: traffic.timeouts,
        retries: traffic.retries,
        shield: traffic.shield,
        mirror: traffic.mirror,
        stable,
        canary,
        versions: versions?.read?,
        plan: plan?,
    })
}

/// What a service's requests may be, and what is told of them.
struct Traffic {
    version_header: bool,
    upgrades: Vec<String>,
    grpc_errors: GrpcCodes,
    body: Option<Bytes>,
    timeouts: ServiceTimeouts,
    retries: Retries,
    shield: bool,
    mirror: MirrorRules,
}

impl Traffic {
    fn read(fields: &Fields<'_>, shared: &Shared, report: &mut Report) -> Option<Self> {
        let version_header = fields.or("version_header", true, |written| written.switch(report));
        let upgrades = match fields.get("upgrades") {
            Some(written) => upgrades(written, report),
            None => Some(Service::usual_upgrades()),
        };
        let grpc_errors = fields.or("grpc_errors", GrpcCodes::default(), |written| grpc_errors(written, report));
        let body = fields.if_written("body", |written| rules::body(written, report));
        let timeouts = fields.or("timeouts", ServiceTimeouts::default(), |written| {
            rules::service_timeouts(written, shared.timeouts.as_ref(), report)
        });
        let retries = fields.or("retries", shared.retries, |written| retries(written, report));
        let shield = fields.or("shield", true, |written| written.switch(report));
        let mirror = fields.or("mirror", MirrorRules::default(), |written| mirror_rules(written, report));
        Some(Self {
            version_header: version_header?,
            upgrades: upgrades?,
            grpc_errors: grpc_errors?,
            body: body?,
            timeouts: timeouts?,
            retries: retries?,
            shield: shield?,
            mirror: mirror?,
        })
    }
}

fn upgrades(written: &Cursor<'_>, report: &mut Report) -> Option<Vec<String>> {
    let items = written.items(report, "a list of protocols, like [websocket]; `[]` allows none")?;
    different(&items, report, |item, report| {
        item.literal(report, "a protocol, like websocket", |text| match text.to_ascii_lowercase() {
            protocol if protocol == "h2c" => Err(Illegal::new(format!(
                "{} is never upgraded to, because requests could be smuggled in it; clients that know beforehand speak it \
                 without; leave it out",
                quoted(text)
            ))),
            protocol if is_token(&protocol) => Ok(protocol),
            _ => Err(Illegal::new(format!("{} is no protocol; legal is its name, like websocket", quoted(text)))),
        })
    })
}

fn grpc_errors(written: &Cursor<'_>, report: &mut Report) -> Option<GrpcCodes> {
    let items = written.items(report, "a list of gRPC status codes, like [UNKNOWN, INTERNAL]; `[]` means none")?;
    let codes =
        different(&items, report, |item, report| item.literal(report, "a gRPC status code, like INTERNAL", grpc_code));
    Some(GrpcCodes(codes?.into_iter().fold(0, |codes, code| codes | 1 << code)))
}

fn grpc_code(text: &str) -> Result<usize, Illegal> {
    let errors = || GrpcCodes::NAMES.iter().copied().skip(1);
    if let Some(code) = errors().position(|name| name == text) {
        return Ok(code + 1);
    }
    if text.eq_ignore_ascii_case("OK") || text == "0" {
        return Err(Illegal::new(format!("{} is no error; legal is {}", quoted(text), listed(errors()))));
    }
    let by_number = text.parse().ok().and_then(|number: usize| GrpcCodes::NAMES.get(number));
    let near = by_number.map_or_else(|| did_you_mean(text, errors()), |name| format!("; did you mean `{name}`?"));
    Err(Illegal::new(format!("{} is no gRPC status code; legal is {}{near}", quoted(text), listed(errors()))))
}

/// Whether a canary can be compared with this version, as far as the file tells.
fn check_baseline(
    baseline: &Name,
    written: &Cursor<'_>,
    versions: &Versions,
    (stable, canary): &(Name, Option<Canary>),
    report: &mut Report,
) {
    let canary = canary.as_ref().map(|canary| &canary.version);
    let wrong = if baseline == stable {
        "is the stable version (`stable` is all of its traffic, `equal` a slice as large as the canary's)"
    } else if Some(baseline) == canary {
        "is the canary, which cannot be compared with itself"
    } else if versions.incomplete {
        return;
    } else if versions.names.contains(baseline) {
        if !versions.names.iter().any(|name| name != stable && name != baseline) {
            let message = format!(
                "{} is the only version beside the stable, so there is none that a rollout could try; write a version for \
                 the canary",
                quoted(baseline.as_str())
            );
            report.warning(written.place, &written.path, message);
        }
        return;
    } else {
        "is no version of this service"
    };
    let others = versions.names.iter().filter(|name| *name != stable && Some(*name) != canary);
    let legal: Vec<&str> = ["stable", "equal"].into_iter().chain(others.map(Name::as_str)).collect();
    let near = did_you_mean(baseline.as_str(), legal.iter().copied());
    let (baseline, legal) = (quoted(baseline.as_str()), listed(legal));
    written.wrong(report, format!("{baseline} {wrong}; legal is {legal}{near}"));
}

/// Which version is stable, and the split that the file asks for.
fn split(fields: &Fields<'_>, versions: &Versions, report: &mut Report) -> Option<(Name, Option<Canary>)> {
    let stable = stable(fields, versions, report);
    let weight =
        fields.get("weight").map(|written| written.literal::<Weight>(report, "a weight, like 10%", str::parse));
    let canary = match (fields.get("canary"), fields.get("weight")) {
        (None, None) => return Some((stable?, None)),
        (Some(canary), None) => {
            reference(canary, versions, report);
            canary.wrong(report, "has no weight; write `weight: 10%` beside it, or leave `canary` out");
            return None;
        }
        (Some(canary), Some(_)) => (reference(canary, versions, report)?, canary.clone()),
        (None, Some(weight)) => (only_other(stable.as_ref()?, weight, versions, report)?, weight.clone()),
    };
    let (stable, (version, written)) = (stable?, canary);
    if version == stable {
        let at = fields.get("stable").map_or_else(String::new, |stable| format!(" at {}", report.place(stable.place)));
        let message = format!("{} is the stable version{at}; write another version", quoted(version.as_str()));
        written.wrong(report, message);
        return None;
    }
    Some((stable, Some(Canary { version, weight: weight?? })))
}

fn stable(fields: &Fields<'_>, versions: &Versions, report: &mut Report) -> Option<Name> {
    if let Some(written) = fields.get("stable") {
        return reference(written, versions, report);
    }
    if let ([only], false) = (versions.names.as_slice(), versions.incomplete) {
        return Some(only.clone());
    }
    if !versions.incomplete {
        let legal = listed(versions.names.iter().map(Name::as_str));
        fields.wrong(report, format!("`stable` is missing; legal is one of the versions {legal}"));
    }
    None
}

fn reference(written: &Cursor<'_>, versions: &Versions, report: &mut Report) -> Option<Name> {
    let text = written.text(report, "the name of a version")?;
    let found = versions.names.iter().find(|name| name.as_str() == text);
    if found.is_none() && !versions.incomplete {
        let legal = listed(versions.names.iter().map(Name::as_str));
        let near = did_you_mean(text, versions.names.iter().map(Name::as_str));
        written.wrong(report, format!("{} is no version of this service; legal is {legal}{near}", quoted(text)));
    }
    found.cloned()
}

/// The canary where only a weight is written.
fn only_other(stable: &Name, weight: &Cursor<'_>, versions: &Versions, report: &mut Report) -> Option<Name> {
    let others: Vec<&Name> = versions.names.iter().filter(|name| *name != stable).collect();
    if let ([only], false) = (others.as_slice(), versions.incomplete) {
        return Some((*only).clone());
    }
    if others.is_empty() {
        weight.wrong(report, "is a canary's weight, and there is no version but the stable; write a second version");
    } else if !versions.incomplete {
        let legal = listed(others.into_iter().map(Name::as_str));
        weight.wrong(report, format!("does not say whose weight it is; write `canary:` with one of {legal}"));
    }
    None
}
