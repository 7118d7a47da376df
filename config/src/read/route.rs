//! Which requests lead to a service.

use crate::cursor::{Cursor, Entry, Fields, Report};
use crate::literal::{Illegal, is_token};
use crate::model::{HeaderMatch, HostName, PathPrefix};
use crate::problem::{quoted, shown};
use crate::read::different;
use crate::read::headers::headers;
use crate::read::refused::{warn_of_method, warn_of_path};
use crate::read::routes::{Claim, Routes};
use crate::tree::Place;

/// What a request must have to lead to a service.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) hosts: Vec<HostName>,
    pub(super) path: PathPrefix,
    pub(super) methods: Vec<String>,
    /// In the order of their names.
    pub(super) headers: Vec<HeaderMatch>,
}

/// A service's route, claimed for it.
pub(super) fn route(entry: &Entry<'_>, fields: &Fields<'_>, routes: &mut Routes, report: &mut Report) -> Option<Route> {
    let hosts = fields.or("hosts", Vec::new(), |written| hosts(written, report));
    let path = match fields.get("path") {
        Some(written) => {
            let path: Option<PathPrefix> = written.literal(report, "a path, like /checkout", str::parse);
            if let Some(path) = &path {
                warn_of_path(path.as_str(), written, report);
            }
            path
        }
        None => Some(PathPrefix::root()),
    };
    let methods = fields.or("methods", Vec::new(), |written| methods(written, report));
    let headers = fields.or("headers", Vec::new(), |written| headers(written, report));
    let (hosts, path, methods, headers) = (hosts?, path?, methods?, headers?);
    let mut claim = |host: Option<&HostName>, place: Place, at: &str| {
        let service = shown(&entry.key.text);
        routes.claim(
            host,
            &path,
            Claim { service, place, methods: methods.clone(), headers: headers.clone() },
            at,
            report,
        );
    };
    if hosts.is_empty() {
        let written = fields.get("path").or_else(|| fields.get("methods")).or_else(|| fields.get("headers"));
        let (place, at) =
            written.map_or((entry.key.place, &entry.value.path), |written| (written.place, &written.path));
        claim(None, place, at);
    }
    for (host, written) in &hosts {
        claim(Some(host), written.place, &written.path);
    }
    Some(Route { hosts: hosts.into_iter().map(|(host, _)| host).collect(), path, methods, headers })
}

fn hosts<'a>(written: &Cursor<'a>, report: &mut Report) -> Option<Vec<(HostName, Cursor<'a>)>> {
    let items = written.items(report, "a list of host names, like [shop.example.com]")?;
    if items.is_empty() {
        written.wrong(report, "no host is written here; write at least one, or leave `hosts` out for every host");
        return None;
    }
    let hosts = different(&items, report, |item, report| {
        item.literal(report, "a host name, like shop.example.com", str::parse)
    });
    Some(hosts?.into_iter().zip(items).collect())
}

fn methods(written: &Cursor<'_>, report: &mut Report) -> Option<Vec<String>> {
    let items = written.items(report, "a list of methods, like [GET, HEAD]")?;
    if items.is_empty() {
        written.wrong(report, "no method is written here; write at least one, or leave `methods` out for every method");
        return None;
    }
    different(&items, report, |item, report| {
        let method = item.literal(report, "a method, like GET", method)?;
        warn_of_method(&method, item, report);
        Some(method)
    })
}

pub(super) fn method(text: &str) -> Result<String, Illegal> {
    const LEGAL: &str = "legal is a method in upper case, like GET or POST";
    if is_token(text) && text == text.to_ascii_uppercase() && text.len() <= 32 {
        return Ok(text.to_owned());
    }
    let upper = text.to_ascii_uppercase();
    let near =
        if is_token(text) && text.len() <= 32 { format!("; did you mean {}?", quoted(&upper)) } else { String::new() };
    Err(Illegal::new(format!("{} is no method; {LEGAL}{near}", quoted(text))))
}
