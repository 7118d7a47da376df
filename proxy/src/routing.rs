//! The one immutable snapshot that a request sees, and its one writer.

mod addresses;
mod away;
mod memory;
mod path_list;
mod publisher;

use std::collections::HashMap;
use std::sync::Arc;

use config::{Match, Name, Rules, Weight};
use http::HeaderValue;
use meter::{Exposure, ServiceMeter, VersionMeter};
use pingora_http::RequestHeader;

pub use self::addresses::Addresses;
pub(crate) use self::away::Away;
pub use self::memory::Remembered;
pub use self::path_list::PathList;
pub use self::publisher::{Publisher, Reader, Wanted};
use crate::endpoint::{Ask, Balancer, Care, Contact, Endpoint, InFlight, Unavailable};
use crate::lasting::Lasting;
use crate::mirror;
use crate::request_head::host_of;
use crate::retries::Budget;
use crate::routes::{Asked, RouteTable};
use crate::selection::{Secret, Target};
use crate::ticket::{Salt, Ticket};

/// Everything that the data path knows. Replaced whole; requests in flight keep the one that they began with.
#[derive(Debug, Default)]
pub struct Routing {
    /// Rules for all traffic.
    pub rules: Arc<Rules>,
    table: Arc<RouteTable>,
    services: Vec<Arc<Service>>,
    by_name: Arc<HashMap<Name, usize>>,
}

impl Routing {
    /// The service for a request.
    #[must_use]
    pub fn find(&self, request: &RequestHeader) -> Option<&Arc<Service>> {
        let path = request.uri.path();
        let asked = Asked {
            host: host_of(request),
            // That of the server as a whole (`OPTIONS *`) leads where its root does.
            path: if path == "*" { "/" } else { path },
            method: &request.method,
            headers: &request.headers,
        };
        self.services.get(self.table.find(&asked)?)
    }

    /// Every version, with its service's name.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (&Name, &Version)> {
        self.services.iter().flat_map(|service| service.versions.iter().map(|version| (&service.name, &**version)))
    }

    /// The service of this name.
    #[must_use]
    pub fn service(&self, name: &Name) -> Option<&Arc<Service>> {
        self.services.get(*self.by_name.get(name)?)
    }
}

/// A service in a snapshot.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name.
    pub name: Name,
    /// What the operator wrote of it.
    pub written: Arc<config::Service>,
    /// Rules for all traffic.
    pub rules: Arc<Rules>,
    /// Its versions, in the order of the file.
    pub versions: Vec<Arc<Version>>,
    /// The split in force.
    pub split: Split,
    /// The slice of the stable version that a canary is, or was last, compared with. Kept while that version is stable.
    pub slice: Option<Arc<Slice>>,
    /// Those who go, or went, to the canary whatever its weight, where limits alone judge them. Kept while that version
    /// is the canary.
    pub apart: Option<Arc<Slice>>,
    /// What its clients get.
    pub meter: Arc<ServiceMeter>,
    /// What is left of its retries. Kept over reloads.
    pub(crate) retry_budget: Arc<Budget>,
    /// Whoever sends it may choose the version.
    pub(crate) secret: Option<Secret>,
}

/// How a service's traffic is divided, by the versions' places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Split {
    /// The stable version.
    pub stable: usize,
    /// The canary, its weight, and the salt of its tickets.
    pub canary: Option<(usize, Weight, Salt)>,
    /// Whom the canary is compared with where that is not all of stable, and its weight; canary and baseline have at
    /// most all of the traffic together.
    pub baseline: Option<(Baseline, Weight)>,
    /// The share of the requests drawn to stable that are copied for the canary; none: nothing is.
    pub mirror: Option<Weight>,
    /// Who goes to the canary whatever its weight.
    pub matched: Option<Arc<Match>>,
    /// Paths whose traffic is counted by itself.
    pub paths: Arc<PathList>,
    /// Grows with every change of the service.
    pub generation: u64,
}

/// Whom a canary is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// A slice of the stable version's traffic: served by stable as all of it is, and counted by itself too.
    Slice,
    /// Another version, by its place.
    Version(usize),
}

/// A version in a snapshot.
#[derive(Debug, Clone)]
pub struct Version {
    /// Its name.
    pub name: Name,
    /// Its name, as headers carry it.
    pub(crate) label: HeaderValue,
    /// The line that tells it to clients of HTTP/1.1.
    pub(crate) line: Arc<[u8]>,
    /// What is spoken to its endpoints.
    pub protocol: config::Protocol,
    /// Its endpoints, in the order of the file; those of a name in the order of its addresses.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Those that left it not long ago.
    pub(crate) away: Away,
    /// How they are spoken to.
    pub(crate) contact: Contact,
    /// What it does. Kept over reloads while the version stays.
    pub meter: Arc<VersionMeter>,
    /// What requests that are drawn to it under this snapshot carry. Published with the split and its paths, so that no
    /// request can have been drawn by an old split and be judged as one of a new comparison.
    pub exposure: Exposure,
    /// How its endpoints are cared for, and what came of it. What came of it is kept over reloads.
    pub care: Arc<Care>,
    /// How it chooses among its endpoints. What is under way is kept over reloads.
    pub balancer: Balancer,
    /// What becomes of the copies of requests that it is sent. Kept over reloads while the version stays.
    pub mirror: Arc<mirror::Ledger>,
    /// What lasts there.
    pub(crate) lasting: Arc<Lasting>,
    /// How many connections to each endpoint every core opens ahead; 0: none.
    pub(crate) warm_start: u32,
}

impl Version {
    /// The endpoint for the next request.
    ///
    /// # Errors
    /// Where there is none.
    pub fn pick(&self, ask: &Ask<'_>) -> Result<InFlight, Unavailable> {
        self.balancer.pick(&self.endpoints, ask)
    }

    /// An endpoint for a request that must go to this version although there is none to pick.
    ///
    /// # Errors
    /// Where it has none at all, or no room for a further request.
    pub fn pick_any(&self, ask: &Ask<'_>) -> Result<InFlight, Unavailable> {
        self.balancer.pick_any(&self.endpoints, ask)
    }
}

/// A slice of one version's traffic that is counted by itself.
#[derive(Debug, Clone)]
pub struct Slice {
    /// The version.
    pub of: Name,
    /// What it does in this slice: requests drawn, and first attempts.
    pub meter: Arc<VersionMeter>,
    /// As [`Version::exposure`].
    pub exposure: Exposure,
}

/// What a request drew.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'a> {
    /// The version.
    pub version: &'a Arc<Version>,
    /// The slice of that version, where it is in one.
    pub slice: Option<&'a Arc<Slice>>,
    /// The ticket is no key's.
    pub at_random: bool,
}

impl Service {
    /// What the split gives to a request with this affinity key: the lowest tickets to the canary, the highest to the
    /// baseline, so that a growing weight takes from neither; all others to stable.
    #[must_use]
    pub fn draw(&self, key: Option<&[u8]>) -> Draw<'_> {
        let to = |version, slice| Draw { version, slice, at_random: key.is_none() };
        let Some((canary, weight, salt)) = self.split.canary.filter(|(_, weight, _)| *weight > Weight::ZERO) else {
            return to(self.stable(), None);
        };
        let ticket = key.map_or_else(Ticket::random, |key| Ticket::of_key(salt, key));
        match self.split.baseline {
            _ if ticket.is_below(weight) => to(&self.versions[canary], None),
            Some((Baseline::Slice, weight)) if ticket.is_among_highest(weight) => {
                to(self.stable(), self.slice.as_ref())
            }
            Some((Baseline::Version(place), weight)) if ticket.is_among_highest(weight) => {
                to(&self.versions[place], None)
            }
            Some(_) | None => to(self.stable(), None),
        }
    }

    /// The stable version.
    #[must_use]
    pub fn stable(&self) -> &Arc<Version> {
        &self.versions[self.split.stable]
    }

    /// The version that a request asks for.
    #[must_use]
    pub fn target(&self, target: Target) -> &Arc<Version> {
        let canary = || self.split.canary.map(|(canary, ..)| canary);
        let place = match target {
            Target::Canary => canary().unwrap_or(self.split.stable),
            Target::Stable => self.split.stable,
            Target::Named(place) => place,
        };
        self.versions.get(place).unwrap_or_else(|| self.stable())
    }

    /// The version of this name.
    #[must_use]
    pub fn version(&self, name: &Name) -> Option<&Arc<Version>> {
        self.versions.iter().find(|version| version.name == *name)
    }

    /// Whether new requests may go to the version of this name.
    #[must_use]
    pub fn is_in_use(&self, name: &Name) -> bool {
        self.versions.iter().zip(self.shares()).any(|(version, share)| version.name == *name && share > 0)
    }

    /// Whether the version of this name has users: a share, or those who match.
    #[must_use]
    pub fn has_users(&self, name: &Name) -> bool {
        let by_match = self.split.matched.is_some() && self.target(Target::Canary).name == *name;
        by_match || self.is_in_use(name)
    }

    /// The share of each version in basis points, in the order of the versions; the sum is 10 000. A slice of stable is
    /// part of stable's.
    pub fn shares(&self) -> impl Iterator<Item = u16> + '_ {
        let canary = self.split.canary.filter(|(_, weight, _)| *weight > Weight::ZERO);
        let to_canary = canary.map_or(0, |(_, weight, _)| weight.basis_points());
        let other = match (canary, self.split.baseline) {
            (Some(_), Some((Baseline::Version(place), weight))) => Some((place, weight.basis_points())),
            (Some(_) | None, Some(_) | None) => None,
        };
        let to_stable = Weight::FULL.basis_points() - to_canary - other.map_or(0, |(_, share)| share);
        (0..self.versions.len()).map(move |place| {
            let of = |at: Option<usize>, share| if at == Some(place) { share } else { 0 };
            of(Some(self.split.stable), to_stable)
                + of(canary.map(|(canary, ..)| canary), to_canary)
                + other.map_or(0, |(at, share)| of(Some(at), share))
        })
    }
}

#[cfg(test)]
mod tests;
