//! Versions and their endpoints.

use std::collections::HashMap;

use crate::cursor::{Cursor, Entry, Fields, Report};
use crate::keys;
use crate::literal::{Illegal, is_ip};
use crate::model::{Endpoint, EndpointTls, HostName, Name, Protocol, Version};
use crate::problem::quoted;
use crate::read::care::{Care, Endpoints, ForAll, counted};
use crate::read::listener::certificate_files;
use crate::read::{circles, file_path, own_name};
use crate::tree::Place;

/// The versions of a service.
pub(super) struct Versions {
    /// The legal names, whatever else is wrong with the versions.
    pub(super) names: Vec<Name>,
    /// The versions, where nothing is wrong with any.
    pub(super) read: Option<Vec<Version>>,
    /// Whether a name is missing among `names`, so that it cannot be said what a reference leads to.
    pub(super) incomplete: bool,
    /// Where each is written, with its path.
    places: Vec<(Place, String)>,
}

impl Versions {
    /// Warns of versions that have less room than the stable: what a canary has no room for is served by stable, and nobody
    /// stands in for it once it is the stable itself.
    pub(super) fn warn_of_less_room(&self, stable: &Name, report: &mut Report) {
        let versions = self.read.as_deref().unwrap_or_default();
        let Some(of_stable) = versions.iter().find(|version| version.name == *stable) else { return };
        let is_unlimited = of_stable.limits.requests.is_none() && of_stable.limits.per_endpoint.is_none();
        let most = if is_unlimited { u64::MAX } else { room(of_stable).unwrap_or(0) };
        for (version, (place, path)) in versions.iter().zip(&self.places) {
            if let Some(room) = room(version).filter(|room| *room < most) {
                let stable = quoted(stable.as_str());
                let beside = if is_unlimited {
                    format!("{stable}, the stable, has none")
                } else {
                    format!("those of {stable}, the stable, {most}")
                };
                let message = format!(
                    "its `limits` let {room} requests be under way, and {beside}; as a canary it would pass what it has no \
                     room for to the stable, and as the stable answer it with 503; write limits as high as the stable's, or \
                     none"
                );
                report.warning(*place, path, message);
            }
        }
    }
}

/// How many requests may be under way at a version; none where there is no limit, or nobody knows how many endpoints it has.
fn room(version: &Version) -> Option<u64> {
    let of_each = version.limits.per_endpoint.and_then(|each| {
        let endpoints = counted(version.endpoints.iter())?;
        Some(u64::from(each).saturating_mul(u64::try_from(endpoints).unwrap_or(u64::MAX)))
    });
    [version.limits.requests.map(u64::from), of_each].into_iter().flatten().min()
}

/// The versions of a service; `health` is asked of those that say nothing of it.
pub(super) fn versions(fields: &Fields<'_>, health: Option<&ForAll>, report: &mut Report) -> Option<Versions> {
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
            version(entry, name, health, &mut seen, report)
        })
        .collect();
    let places = entries.iter().map(|entry| (entry.value.place, entry.value.path.clone())).collect();
    Some(Versions { incomplete: names.len() < entries.len(), names, read: read.into_iter().collect(), places })
}

fn version<'a>(
    entry: &'a Entry<'_>,
    name: Option<Name>,
    health: Option<&ForAll>,
    seen: &mut Seen<'a>,
    report: &mut Report,
) -> Option<Version> {
    let fields = entry.value.fields(report, &keys::VERSION)?;
    let endpoints = endpoints(&entry.key.text, &fields, seen, report);
    let tls = fields.if_written("tls", |written| endpoint_tls(written, report));
    let speaks_tls = endpoints.as_deref().and_then(|endpoints| all_or_none(endpoints, report));
    let protocol = fields.or("protocol", Protocol::default(), |written| protocol(written, speaks_tls, report));
    let count = endpoints.as_ref().and_then(|endpoints| counted(endpoints.iter().map(|(endpoint, _)| endpoint)));
    let care = Care::read(&fields, Endpoints { protocol, speak_tls: speaks_tls, count }, health, report);
    if let (Some(false), Some(written)) = (speaks_tls, fields.get("tls")) {
        let message = "no endpoint speaks TLS; write https:// before each endpoint, or leave `tls` out";
        written.wrong(report, message);
        return None;
    }
    let (endpoints, tls, protocol, care) = (endpoints?, tls?, protocol?, care?);
    let tls = if speaks_tls? { Some(tls.unwrap_or_default()) } else { None };
    if let Some(EndpointTls { server_name: None, .. }) = tls {
        named(&endpoints, report)?;
    }
    let endpoints = endpoints.into_iter().map(|(endpoint, _)| endpoint).collect();
    let Care { health, ejection, balance, slow_start, warm_start, limits } = care;
    Some(Version { name: name?, endpoints, protocol, tls, health, ejection, balance, slow_start, warm_start, limits })
}

/// Where each endpoint of a service is written first, and in which version.
type Seen<'a> = HashMap<String, (&'a str, Place)>;

fn endpoints<'a, 'v>(
    version: &'a str,
    fields: &Fields<'v>,
    seen: &mut Seen<'a>,
    report: &mut Report,
) -> Option<Vec<(Endpoint, Cursor<'v>)>> {
    let written = fields.need(report, "endpoints", "at least one endpoint, like endpoints: [\"10.0.0.1:8080\"]")?;
    let items = written.items(report, "a list of endpoints, like [\"10.0.0.1:8080\"]")?;
    if items.is_empty() {
        written.wrong(report, "no endpoint is written here; write at least one, like [\"10.0.0.1:8080\"]");
        return None;
    }
    let read: Vec<_> = items
        .into_iter()
        .map(|item| {
            let endpoint: Endpoint = item.literal(report, "an endpoint, like \"10.0.0.1:8080\"", str::parse)?;
            circles::warn_of(&endpoint, &item, report);
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
            Some((endpoint, item))
        })
        .collect();
    read.into_iter().collect()
}

/// Whether TLS is spoken to the endpoints: to all or to none.
fn all_or_none(endpoints: &[(Endpoint, Cursor<'_>)], report: &mut Report) -> Option<bool> {
    let (first, at) = endpoints.first()?;
    if let Some((other, written)) = endpoints.iter().find(|(other, _)| other.speaks_tls() != first.speaks_tls()) {
        let (with, without) = if first.speaks_tls() { (first, other) } else { (other, first) };
        let message = format!(
            "`{with}` speaks TLS and `{without}` does not (the first is at {}); write https:// before all endpoints of a \
             version, or before none",
            report.place(at.place)
        );
        written.wrong(report, message);
        return None;
    }
    Some(first.speaks_tls())
}

fn protocol(written: &Cursor<'_>, speaks_tls: Option<bool>, report: &mut Report) -> Option<Protocol> {
    const WORDS: [(&str, Protocol); 3] = [("h1", Protocol::H1), ("h2", Protocol::H2), ("h2c", Protocol::H2c)];
    let protocol = written.choice(report, "is no protocol", &WORDS)?;
    let wrong = match (protocol, speaks_tls) {
        (Protocol::H2, Some(false)) => {
            "`h2` is spoken over TLS, and no endpoint is https://; did you mean `h2c`, which is HTTP/2 without TLS?"
        }
        (Protocol::H2c, Some(true)) => {
            "`h2c` is spoken without TLS, and the endpoints are https://; did you mean `h2`, which is HTTP/2 over TLS?"
        }
        (Protocol::H1, _) | (Protocol::H2, Some(true) | None) | (Protocol::H2c, Some(false) | None) => {
            return Some(protocol);
        }
    };
    written.wrong(report, wrong);
    None
}

fn endpoint_tls(written: &Cursor<'_>, report: &mut Report) -> Option<EndpointTls> {
    const CA: &str = "the path of a PEM file with the authorities of the endpoints";
    let fields = written.fields(report, &keys::ENDPOINT_TLS)?;
    let server_name =
        fields.if_written("server_name", |written| written.literal(report, "a name, like shop.internal", server_name));
    let ca = fields.if_written("ca", |written| file_path(written, CA, report));
    let certificate =
        if fields.has("cert") || fields.has("key") { certificate_files(&fields, report).map(Some) } else { Some(None) };
    Some(EndpointTls { server_name: server_name?, ca: ca?, certificate: certificate? })
}

/// A name that a certificate can hold and that can be sent: no address (RFC 6066), no wildcard.
fn server_name(text: &str) -> Result<String, Illegal> {
    const LEGAL: &str = "legal is the exact name in the certificate, like shop.internal";
    if is_ip(text) {
        return Err(Illegal::new(format!("{} is an address, which TLS cannot send; {LEGAL}", quoted(text))));
    }
    if text.contains('*') {
        return Err(Illegal::new(format!("{} is no single name; {LEGAL}", quoted(text))));
    }
    text.parse().map(|HostName(name)| name)
}

/// Whether each endpoint has a name, which TLS needs where none is written for all.
fn named(endpoints: &[(Endpoint, Cursor<'_>)], report: &mut Report) -> Option<()> {
    let mut all = Some(());
    for (endpoint, written) in endpoints {
        if let Endpoint::Tcp { host, .. } = endpoint
            && is_ip(host)
        {
            let message = format!(
                "`{endpoint}` is an address, and a certificate is verified by its name; write the name beside `endpoints`, \
                 like tls: {{ server_name: shop.internal }}"
            );
            written.wrong(report, message);
            all = None;
        }
    }
    all
}
