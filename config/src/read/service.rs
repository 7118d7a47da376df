//! Services and their versions.

use std::collections::HashMap;

use crate::cursor::{Cursor, Entry, Fields, Report};
use crate::keys;
use crate::literal::{Illegal, is_token};
use crate::model::{Affinity, Canary, Endpoint, HostName, Name, PathPrefix, Plan, Protocol, Service, Version};
use crate::problem::{did_you_mean, listed, quoted, shown};
use crate::read::own_name;
use crate::read::plan::{Planned, plan};
use crate::read::routes::{Claim, Judged, Routes};
use crate::tree::Place;
use crate::units::Weight;

/// A service, and the paths that its gates judge, for when all routes are known.
pub(super) fn service<'a>(
    entry: &Entry<'a>,
    routes: &mut Routes,
    judged: &mut Vec<Judged<'a>>,
    report: &mut Report,
) -> Option<Service> {
    let name = own_name(entry, "service", report);
    let fields = entry.value.fields(report, &keys::SERVICE)?;
    let route = route(entry, &fields, routes, report);
    let affinity = match fields.get("affinity") {
        Some(written) => affinity(written, report),
        None => Some(Affinity::default()),
    };
    let versions = versions(&fields, report);
    let split = versions.as_ref().and_then(|versions| split(&fields, versions, report));
    let plan = match fields.get("plan") {
        Some(written) => {
            let Planned { plan, baseline, paths } = plan(written, report);
            if let (Some((baseline, written)), Some(versions), Some(split)) = (baseline, &versions, &split) {
                check_baseline(&baseline, &written, versions, split, report);
            }
            if let Some((hosts, path)) = &route {
                judged.extend(paths.into_iter().map(|(judged, written)| Judged {
                    service: shown(&entry.key.text),
                    hosts: hosts.clone(),
                    path: path.clone(),
                    judged,
                    written,
                }));
            }
            plan
        }
        None => Some(Plan::built_in()),
    };
    let ((hosts, path), (stable, canary)) = (route?, split?);
    let versions = versions?.read?;
    let plain = Service::plain(name?, stable, versions);
    Some(Service { hosts, path, affinity: affinity?, canary, plan: plan?, ..plain })
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

fn route(
    entry: &Entry<'_>,
    fields: &Fields<'_>,
    routes: &mut Routes,
    report: &mut Report,
) -> Option<(Vec<HostName>, PathPrefix)> {
    let hosts = match fields.get("hosts") {
        Some(written) => hosts(written, report),
        None => Some(Vec::new()),
    };
    let path = match fields.get("path") {
        Some(written) => written.literal(report, "a path, like /checkout", str::parse),
        None => Some(PathPrefix::root()),
    };
    let (hosts, path) = (hosts?, path?);
    let service = shown(&entry.key.text);
    if hosts.is_empty() {
        let (place, at) =
            fields.get("path").map_or((entry.key.place, &entry.value.path), |path| (path.place, &path.path));
        routes.claim(None, &path, &Claim { service: &service, place, at }, report);
    }
    for (host, written) in &hosts {
        let claim = Claim { service: &service, place: written.place, at: &written.path };
        routes.claim(Some(host), &path, &claim, report);
    }
    Some((hosts.into_iter().map(|(host, _)| host).collect(), path))
}

fn hosts<'a>(written: &Cursor<'a>, report: &mut Report) -> Option<Vec<(HostName, Cursor<'a>)>> {
    let items = written.items(report, "a list of host names, like [shop.example.com]")?;
    if items.is_empty() {
        written.wrong(report, "no host is written here; write at least one, or leave `hosts` out for every host");
        return None;
    }
    let mut first: HashMap<HostName, Place> = HashMap::new();
    let read: Vec<_> = items
        .into_iter()
        .map(|item| {
            let host: HostName = item.literal(report, "a host name, like shop.example.com", str::parse)?;
            if let Some(first) = first.get(&host) {
                let first = report.place(*first);
                item.wrong(
                    report,
                    format!("{} is written twice; keep one, the other is at {first}", quoted(host.as_str())),
                );
                return None;
            }
            first.insert(host.clone(), item.place);
            Some((host, item))
        })
        .collect();
    read.into_iter().collect()
}

fn affinity(written: &Cursor<'_>, report: &mut Report) -> Option<Affinity> {
    const LEGAL: &str = "`random`, `client-address`, { cookie: NAME } or { header: NAME }";
    if let Some(word) = written.word() {
        return match word {
            "random" => Some(Affinity::Random),
            "client-address" => Some(Affinity::ClientAddress),
            other => {
                let near = did_you_mean(other, ["random", "client-address"]);
                written.wrong(report, format!("{} is no affinity; legal is {LEGAL}{near}", quoted(other)));
                None
            }
        };
    }
    if written.is_list() || written.is_empty() {
        written.expected(report, LEGAL);
        return None;
    }
    let fields = written.fields(report, &keys::AFFINITY)?;
    let token = |text: &str| {
        let legal = "letters, digits, - and _";
        let wrong = || Illegal::new(format!("{} cannot name a cookie or header; legal is {legal}", quoted(text)));
        is_token(text).then(|| text.to_owned()).ok_or_else(wrong)
    };
    match (fields.get("cookie"), fields.get("header")) {
        (Some(cookie), None) => {
            cookie.literal(report, "a cookie's name", token).map(|name| Affinity::Cookie { name, issue: None })
        }
        (None, Some(header)) => {
            header.literal(report, "a header's name", token).map(|name| Affinity::Header(name.to_ascii_lowercase()))
        }
        (Some(_), Some(header)) => {
            header.wrong(report, "a cookie is named as well; keep one of `cookie` and `header`");
            None
        }
        (None, None) => {
            fields.chooses_none(report, format!("names neither cookie nor header; legal is {LEGAL}"));
            None
        }
    }
}

/// The versions of a service.
struct Versions {
    /// The legal names, whatever else is wrong with the versions.
    names: Vec<Name>,
    /// The versions, where nothing is wrong with any.
    read: Option<Vec<Version>>,
    /// Whether a name is missing among `names`, so that it cannot be said what a reference leads to.
    incomplete: bool,
}

fn versions(fields: &Fields<'_>, report: &mut Report) -> Option<Versions> {
    const LEGAL: &str =
        "a mapping from each version's name to the version, like v1: { endpoints: [\"127.0.0.1:9001\"] }";
    let written = fields.need(report, "versions", "at least one version with its endpoints")?;
    let entries = written.entries(report, LEGAL)?;
    if entries.is_empty() {
        written.wrong(report, "no version is written here; write at least one");
        return None;
    }
    let mut names = Vec::new();
    let mut seen = HashMap::new();
    let read: Vec<_> = entries
        .iter()
        .map(|entry| {
            let name = own_name(entry, "version", report);
            names.extend(name.clone());
            let fields = entry.value.fields(report, &keys::VERSION)?;
            let endpoints = endpoints(&entry.key.text, &fields, &mut seen, report);
            Some(Version { name: name?, endpoints: endpoints?, protocol: Protocol::default(), tls: None })
        })
        .collect();
    Some(Versions { incomplete: names.len() < entries.len(), names, read: read.into_iter().collect() })
}

/// Where each endpoint of a service is written first, and in which version.
type Seen<'a> = HashMap<String, (&'a str, Place)>;

fn endpoints<'a>(
    version: &'a str,
    fields: &Fields<'_>,
    seen: &mut Seen<'a>,
    report: &mut Report,
) -> Option<Vec<Endpoint>> {
    let written = fields.need(report, "endpoints", "at least one endpoint, like endpoints: [\"10.0.0.1:8080\"]")?;
    let items = written.items(report, "a list of endpoints, like [\"10.0.0.1:8080\"]")?;
    if items.is_empty() {
        written.wrong(report, "no endpoint is written here; write at least one, like [\"10.0.0.1:8080\"]");
        return None;
    }
    let read: Vec<_> = items
        .iter()
        .map(|item| {
            let endpoint: Endpoint = item.literal(report, "an endpoint, like \"10.0.0.1:8080\"", str::parse)?;
            match seen.get(&endpoint.identity()) {
                Some((other, first)) if *other == version => {
                    let first = report.place(*first);
                    item.wrong(report, format!("`{endpoint}` is written twice; keep one, the other is at {first}"));
                    return None;
                }
                Some((other, first)) => {
                    let first = report.place(*first);
                    let message = format!(
                        "`{endpoint}` is an endpoint of version {} as well, at {first}; both versions are the same there",
                        quoted(other)
                    );
                    report.warning(item.place, &item.path, message);
                }
                None => {
                    seen.insert(endpoint.identity(), (version, item.place));
                }
            }
            Some(endpoint)
        })
        .collect();
    read.into_iter().collect()
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
