//! The one immutable snapshot that a request sees, and its one writer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use config::{Affinity, Configuration, Name, Weight};
use meter::{ServiceMeter, VersionMeter};

use crate::endpoint::{Endpoint, UpstreamTimeouts};
use crate::routes::RouteTable;
use crate::ticket::{Salt, Ticket};

/// Everything that the data path knows. Replaced whole; requests in flight keep the one that they began with.
#[derive(Debug, Default)]
pub struct Routing {
    table: Arc<RouteTable>,
    services: Vec<Arc<Service>>,
    by_name: Arc<HashMap<Name, usize>>,
}

impl Routing {
    /// The service for a host and a path.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<Service>> {
        self.services.get(self.table.find(host, path)?)
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
    /// What keeps a client on one version.
    pub affinity: Affinity,
    /// Its versions, in the order of the file.
    pub versions: Vec<Arc<Version>>,
    /// The split in force.
    pub split: Split,
    /// What its clients get.
    pub meter: Arc<ServiceMeter>,
}

/// How a service's traffic is divided, by the versions' places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// The stable version.
    pub stable: usize,
    /// The canary, its weight, and the salt of its tickets.
    pub canary: Option<(usize, Weight, Salt)>,
    /// Grows with every change of the service.
    pub generation: u64,
}

/// A version in a snapshot.
#[derive(Debug)]
pub struct Version {
    /// Its name.
    pub name: Name,
    /// Its endpoints, in the order of the file.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// What it does. Kept over reloads while the version stays.
    pub meter: Arc<VersionMeter>,
}

impl Service {
    /// The version that the split gives to a request with this affinity key.
    #[must_use]
    pub fn draw(&self, key: Option<&[u8]>) -> &Arc<Version> {
        let place = match self.split.canary {
            Some((canary, weight, salt)) if weight > Weight::ZERO => {
                let ticket = key.map_or_else(Ticket::random, |key| Ticket::of_key(salt, key));
                if ticket.is_below(weight) { canary } else { self.split.stable }
            }
            Some(_) | None => self.split.stable,
        };
        &self.versions[place]
    }

    /// The stable version.
    #[must_use]
    pub fn stable(&self) -> &Arc<Version> {
        &self.versions[self.split.stable]
    }

    /// The version of this name.
    #[must_use]
    pub fn version(&self, name: &Name) -> Option<&Arc<Version>> {
        self.versions.iter().find(|version| version.name == *name)
    }

    /// Whether new requests may go to the version of this name.
    #[must_use]
    pub fn is_in_use(&self, name: &Name) -> bool {
        let weighs = |place: usize| match self.split.canary {
            Some((canary, weight, _)) if canary == place => weight > Weight::ZERO,
            Some((_, weight, _)) => weight < Weight::FULL,
            None => true,
        };
        [Some(self.split.stable), self.split.canary.map(|(canary, ..)| canary)]
            .into_iter()
            .flatten()
            .any(|place| self.versions[place].name == *name && weighs(place))
    }
}

/// What a service's split should be, by names.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The version that serves users.
    pub stable: &'a Name,
    /// The other version, and its weight.
    pub canary: Option<(&'a Name, Weight)>,
    /// Grows with every change of the service.
    pub generation: u64,
}

/// What a data plane reads: the latest snapshot, and where it counts what no service matched.
#[derive(Debug, Clone)]
pub struct Reader {
    pub(crate) routing: Arc<ArcSwap<Routing>>,
    pub(crate) unmatched: Arc<ServiceMeter>,
}

/// The one writer of snapshots. Readers take them from [`shared`](Self::shared).
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<ArcSwap<Routing>>,
    cores: usize,
    timeouts: UpstreamTimeouts,
    unmatched: Arc<ServiceMeter>,
}

impl Publisher {
    /// A publisher of an empty snapshot, for a data plane of so many cores.
    #[must_use]
    pub fn new(cores: usize, timeouts: UpstreamTimeouts) -> Self {
        Self { shared: Arc::default(), cores, timeouts, unmatched: Arc::new(ServiceMeter::new(cores)) }
    }

    /// Where the latest snapshot is found.
    #[must_use]
    pub fn shared(&self) -> Arc<ArcSwap<Routing>> {
        Arc::clone(&self.shared)
    }

    /// What a data plane needs to serve what is published here.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader { routing: self.shared(), unmatched: self.unmatched() }
    }

    /// What requests that match no service get.
    #[must_use]
    pub fn unmatched(&self) -> Arc<ServiceMeter> {
        Arc::clone(&self.unmatched)
    }

    /// Publishes a configuration. `addresses` holds what its endpoints resolved to (one that is missing is left out),
    /// `wanted` gives each service's split. Meters and endpoints that stay are kept, with all that they know.
    pub fn install<'a>(
        &mut self,
        configuration: &Configuration,
        addresses: &HashMap<config::Endpoint, SocketAddr>,
        wanted: impl Fn(&Name) -> Option<Wanted<'a>>,
        now: Instant,
    ) {
        let before = self.shared.load_full();
        let services = configuration
            .services
            .iter()
            .map(|service| {
                let known = before.service(&service.name);
                let versions = service
                    .versions
                    .iter()
                    .map(|version| self.version(version, known.and_then(|s| s.version(&version.name)), addresses, now))
                    .collect();
                let fresh = Service {
                    name: service.name.clone(),
                    affinity: service.affinity.clone(),
                    versions,
                    split: Split { stable: 0, canary: None, generation: 0 },
                    meter: known.map_or_else(|| Arc::new(ServiceMeter::new(self.cores)), |s| Arc::clone(&s.meter)),
                };
                let by_file = Wanted {
                    stable: &service.stable,
                    canary: service.canary.as_ref().map(|canary| (&canary.version, canary.weight)),
                    generation: 0,
                };
                Arc::new(fresh.divided(&by_file).divided(&wanted(&service.name).unwrap_or(by_file)))
            })
            .collect();
        let by_name = configuration.services.iter().enumerate().map(|(place, s)| (s.name.clone(), place)).collect();
        let table = Arc::new(RouteTable::new(&configuration.services));
        self.shared.store(Arc::new(Routing { table, services, by_name: Arc::new(by_name) }));
    }

    /// Publishes another split of one service, for every request that begins from now on. A name that the service
    /// does not have changes nothing.
    pub fn steer(&mut self, service: &Name, wanted: &Wanted<'_>) {
        let before = self.shared.load();
        let Some(place) = before.by_name.get(service) else { return };
        let mut services = before.services.clone();
        services[*place] = Arc::new(services[*place].divided(wanted));
        let (table, by_name) = (Arc::clone(&before.table), Arc::clone(&before.by_name));
        self.shared.store(Arc::new(Routing { table, services, by_name }));
    }

    fn version(
        &self,
        version: &config::Version,
        known: Option<&Arc<Version>>,
        addresses: &HashMap<config::Endpoint, SocketAddr>,
        now: Instant,
    ) -> Arc<Version> {
        let endpoint = |(place, written): (usize, &config::Endpoint)| {
            let place = u16::try_from(place).unwrap_or(u16::MAX);
            let address = *addresses.get(written)?;
            let same = |e: &&Arc<Endpoint>| e.written == *written && e.address == address && e.place == place;
            let kept = known.and_then(|version| version.endpoints.iter().find(same)).map(Arc::clone);
            Some(kept.unwrap_or_else(|| Arc::new(Endpoint::new(written.clone(), address, place, &self.timeouts, now))))
        };
        Arc::new(Version {
            name: version.name.clone(),
            endpoints: version.endpoints.iter().enumerate().filter_map(endpoint).collect(),
            meter: known.map_or_else(|| Arc::new(VersionMeter::new(self.cores)), |v| Arc::clone(&v.meter)),
        })
    }
}

impl Service {
    /// This service under another split; names that it does not have leave that part as it was.
    fn divided(&self, wanted: &Wanted<'_>) -> Self {
        let place = |name: &Name| self.versions.iter().position(|version| version.name == *name);
        let stable = place(wanted.stable).unwrap_or(self.split.stable);
        let canary = wanted
            .canary
            .and_then(|(name, weight)| Some((place(name)?, weight, Salt::new(self.name.as_str(), name.as_str()))));
        Self { split: Split { stable, canary, generation: wanted.generation }, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn percent(percent: u16) -> Weight {
        Weight::from_basis_points(percent * 100).unwrap()
    }

    fn configuration(text: &str) -> (Configuration, HashMap<config::Endpoint, SocketAddr>) {
        let configuration = config::parse(text, "test.yaml").unwrap().configuration;
        let endpoints = configuration.services.iter().flat_map(|s| &s.versions).flat_map(|v| v.endpoints.clone());
        let addresses = endpoints.map(|e| (e.clone(), format!("{e}").parse().unwrap())).collect();
        (configuration, addresses)
    }

    const TWO: &str = "services: { shop: { stable: v1, versions: { v1: { endpoints: ['127.0.0.1:1'] }, v2: { endpoints: ['127.0.0.1:2'] } } } }";

    fn publisher(text: &str) -> Publisher {
        let mut publisher = Publisher::new(1, UpstreamTimeouts::default());
        let (configuration, addresses) = configuration(text);
        publisher.install(&configuration, &addresses, |_| None, Instant::now());
        publisher
    }

    fn shop(publisher: &Publisher) -> Arc<Service> {
        Arc::clone(publisher.shared().load().service(&name("shop")).unwrap())
    }

    fn share_of_v2(service: &Service) -> usize {
        (0..1_000).filter(|_| service.draw(None).name.as_str() == "v2").count()
    }

    #[test]
    fn without_a_canary_everything_goes_to_stable() {
        let publisher = publisher(TWO);
        assert_eq!(share_of_v2(&shop(&publisher)), 0);
        assert!(shop(&publisher).is_in_use(&name("v1")));
        assert!(!shop(&publisher).is_in_use(&name("v2")));
    }

    #[test]
    fn a_split_takes_effect_for_the_next_request_and_an_old_snapshot_keeps_its_own() {
        let mut publisher = publisher(TWO);
        let old = shop(&publisher);
        let (v1, v2) = (name("v1"), name("v2"));
        publisher.steer(&name("shop"), &Wanted { stable: &v1, canary: Some((&v2, Weight::FULL)), generation: 7 });
        let new = shop(&publisher);
        assert_eq!((share_of_v2(&old), share_of_v2(&new)), (0, 1_000));
        assert_eq!(new.split.generation, 7);
        assert!(!new.is_in_use(&v1) && new.is_in_use(&v2));
        publisher.steer(&name("shop"), &Wanted { stable: &v1, canary: Some((&v2, Weight::ZERO)), generation: 8 });
        assert_eq!(share_of_v2(&shop(&publisher)), 0);
        assert!(!shop(&publisher).is_in_use(&v2));
    }

    #[test]
    fn meters_and_endpoints_outlive_a_reload_and_a_changed_address_is_a_new_endpoint() {
        let mut publisher = publisher(TWO);
        let before = shop(&publisher);
        let (configuration, mut addresses) = configuration(TWO);
        let second = config::Endpoint { host: "127.0.0.1".into(), port: 2 };
        addresses.insert(second, "127.0.0.1:3".parse().unwrap());
        publisher.install(&configuration, &addresses, |_| None, Instant::now());
        let after = shop(&publisher);
        assert!(Arc::ptr_eq(&before.versions[1].meter, &after.versions[1].meter));
        assert!(Arc::ptr_eq(&before.versions[0].endpoints[0], &after.versions[0].endpoints[0]));
        assert!(!Arc::ptr_eq(&before.versions[1].endpoints[0], &after.versions[1].endpoints[0]));
    }

    #[test]
    fn a_split_that_names_no_version_leaves_the_stable_in_place() {
        let mut publisher = publisher(TWO);
        let nobody = name("v9");
        publisher
            .steer(&name("shop"), &Wanted { stable: &nobody, canary: Some((&nobody, percent(50))), generation: 2 });
        assert_eq!(share_of_v2(&shop(&publisher)), 0);
        publisher.steer(&nobody, &Wanted { stable: &nobody, canary: None, generation: 3 });
        assert_eq!(shop(&publisher).stable().name, name("v1"));
    }
}
