//! From what the operator wrote to endpoints: one for each address that a name resolved to.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use config::Name;

use super::{Away, Service, Version};
use crate::endpoint::{self, Address, Care, Contact, Endpoint};

/// What endpoints resolved to: an address is itself, a name may be several.
pub type Addresses = HashMap<config::Endpoint, Arc<[SocketAddr]>>;

/// The addresses of these endpoints, each with what was written. A Unix socket is its own.
fn of<'a>(
    written: &'a [config::Endpoint],
    addresses: &'a Addresses,
) -> impl Iterator<Item = (&'a config::Endpoint, Address)> {
    written.iter().flat_map(|written| {
        let (tcp, unix): (&[SocketAddr], _) = match written {
            config::Endpoint::Tcp { .. } => (addresses.get(written).map_or(&[], |found| found), None),
            config::Endpoint::Unix(path) => (&[], Some(Address::Unix(path.clone()))),
        };
        tcp.iter().map(|address| Address::Tcp(*address)).chain(unix).map(move |address| (written, address))
    })
}

/// The endpoints of a version: those that are there, and those that left not long ago.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before<'a> {
    pub(super) there: &'a [Arc<Endpoint>],
    pub(super) away: &'a Away,
}

/// Endpoints at these addresses, and those that are away from now on. One that was there is kept with all that it knows, and
/// keeps its place; so is one that comes back, where its place is free; one that is new takes the first place that nobody
/// has: what is counted by place is counted on for those who stay.
pub(super) fn endpoints(
    written: &[config::Endpoint],
    addresses: &Addresses,
    before: Before<'_>,
    contact: &Contact,
    care: &Arc<Care>,
    now: Instant,
) -> (Vec<Arc<Endpoint>>, Away) {
    let there = before.there.iter().map(|endpoint| (endpoint, None));
    // One that is there goes before itself while it was away.
    let all = before.away.still(now).map(|(endpoint, since)| (endpoint, Some(since))).chain(there);
    let known: HashMap<_, _> =
        all.map(|(endpoint, since)| ((&endpoint.written, &endpoint.address), (endpoint, since))).collect();
    let wanted: Vec<_> = of(written, addresses)
        .map(|(written, address)| {
            let known = known.get(&(written, &address)).copied();
            (written, address, known)
        })
        .collect();
    let mut taken: HashSet<u16> = HashSet::new();
    let mut places = vec![None; wanted.len()];
    // Whoever stays goes before whoever comes back.
    for comes_back in [false, true] {
        for ((.., known), place) in wanted.iter().zip(&mut places) {
            if let Some((endpoint, since)) = known
                && since.is_some() == comes_back
                && (taken.insert(endpoint.place) || !comes_back)
            {
                *place = Some(endpoint.place);
            }
        }
    }
    // What is beyond the last place shares it.
    let mut free = (0..u16::MAX).filter(|place| !taken.contains(place));
    let placed = wanted.into_iter().zip(places).map(|((written, address, known), place)| {
        let place = place.unwrap_or_else(|| free.next().unwrap_or(u16::MAX));
        match known {
            Some((known, _)) => known.under(place, contact, care),
            None => Arc::new(Endpoint::new(written.clone(), address, place, contact, care, now)),
        }
    });
    let endpoints: Vec<Arc<Endpoint>> = placed.collect();
    let away = before.away.after(before.there, &endpoints, written, now);
    care.has(endpoints.len());
    endpoints.iter().for_each(|endpoint| endpoint.comes(now));
    (endpoints, away)
}

/// Those that are new among others from before begin slowly. One that was away for a moment is none of them.
pub(super) fn begin_slowly(before: Before<'_>, endpoints: &[Arc<Endpoint>], now: Instant) {
    let warm: Vec<_> = before.there.iter().chain(before.away.briefly(now)).map(Arc::clone).collect();
    endpoint::begin_slowly(&warm, endpoints, now);
}

impl Service {
    /// This service where some of its endpoints have these addresses; none where none of them has others than before.
    pub(super) fn readdressed(&self, changed: &Addresses, now: Instant) -> Option<Self> {
        let readdressed = |version: &Arc<Version>| version.readdressed(self.endpoints_of(&version.name), changed, now);
        let after: Vec<Option<Version>> = self.versions.iter().map(readdressed).collect();
        if after.iter().all(Option::is_none) {
            return None;
        }
        let versions = after.into_iter().zip(&self.versions);
        let versions = versions.map(|(new, old)| new.map_or_else(|| Arc::clone(old), Arc::new)).collect();
        Some(Self { versions, ..self.clone() })
    }

    /// The endpoints of a version as they are written.
    fn endpoints_of(&self, version: &Name) -> &[config::Endpoint] {
        let written = self.written.versions.iter().find(|written| written.name == *version);
        written.map_or(&[], |written| &written.endpoints)
    }
}

impl Version {
    fn readdressed(&self, written: &[config::Endpoint], changed: &Addresses, now: Instant) -> Option<Self> {
        if !written.iter().any(|endpoint| changed.contains_key(endpoint)) {
            return None;
        }
        let mut addresses: HashMap<_, Vec<SocketAddr>> = HashMap::new();
        for endpoint in &self.endpoints {
            if let Some(address) = endpoint.address.tcp() {
                addresses.entry(endpoint.written.clone()).or_default().push(address);
            }
        }
        let mut addresses: Addresses = addresses.into_iter().map(|(written, found)| (written, found.into())).collect();
        addresses.extend(changed.iter().map(|(written, found)| (written.clone(), Arc::clone(found))));
        let before = Before { there: &self.endpoints, away: &self.away };
        let (endpoints, away) = endpoints(written, &addresses, before, &self.contact, &self.care, now);
        let is_same = |(one, other): (&Arc<Endpoint>, &Arc<Endpoint>)| Arc::ptr_eq(one, other);
        if endpoints.len() == self.endpoints.len() && endpoints.iter().zip(&self.endpoints).all(is_same) {
            return None;
        }
        begin_slowly(before, &endpoints, now);
        let balancer = self.balancer.among(&endpoints);
        Some(Self { endpoints, away, balancer, ..self.clone() })
    }
}
