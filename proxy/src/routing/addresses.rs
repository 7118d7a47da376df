//! From what the operator wrote to endpoints: one for each address that a name resolved to.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use config::Name;

use super::{Service, Version};
use crate::endpoint::{self, Address, Care, Contact, Endpoint};

/// What endpoints resolved to: an address is itself, a name may be several.
pub type Addresses = HashMap<config::Endpoint, Arc<[SocketAddr]>>;

/// The addresses of these endpoints, each with what was written. A Unix socket is its own.
pub(super) fn of<'a>(
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

/// Endpoints at these addresses. One that was there is kept with all that it knows, and keeps its place; one that is new
/// takes the first place that nobody has: what is counted by place is counted on for those who stay.
pub(super) fn endpoints<'a>(
    wanted: impl Iterator<Item = (&'a config::Endpoint, Address)>,
    known: &[Arc<Endpoint>],
    contact: &Contact,
    care: &Arc<Care>,
    now: Instant,
) -> Vec<Arc<Endpoint>> {
    let known: HashMap<_, _> =
        known.iter().map(|endpoint| ((&endpoint.written, &endpoint.address), endpoint)).collect();
    let wanted: Vec<_> = wanted
        .map(|(written, address)| {
            let known = known.get(&(written, &address)).copied();
            (written, address, known)
        })
        .collect();
    let taken: HashSet<u16> = wanted.iter().filter_map(|(.., known)| known.map(|known| known.place)).collect();
    // What is beyond the last place shares it.
    let mut free = (0..u16::MAX).filter(|place| !taken.contains(place));
    wanted
        .into_iter()
        .map(|(written, address, known)| match known {
            Some(known) => known.under(known.place, contact, care),
            None => {
                let place = free.next().unwrap_or(u16::MAX);
                Arc::new(Endpoint::new(written.clone(), address, place, contact, care, now))
            }
        })
        .collect()
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
        let endpoints = endpoints(of(written, &addresses), &self.endpoints, &self.contact, &self.care, now);
        let is_same = |(one, other): (&Arc<Endpoint>, &Arc<Endpoint>)| Arc::ptr_eq(one, other);
        if endpoints.len() == self.endpoints.len() && endpoints.iter().zip(&self.endpoints).all(is_same) {
            return None;
        }
        endpoint::begin_slowly(&self.endpoints, &endpoints, now);
        self.care.has(endpoints.len());
        let balancer = self.balancer.among(&endpoints);
        Some(Self { endpoints, balancer, ..self.clone() })
    }
}
