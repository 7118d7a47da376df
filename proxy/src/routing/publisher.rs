//! The one writer of snapshots.

mod lasting;
mod warming;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use config::{Configuration, EndpointTls, Match, Name, PathPrefix, Rules, Weight};
use http::HeaderValue;
use meter::{ServiceMeter, VersionMeter, Window};
use tracing::error;

use super::addresses::{self, Before};
use super::memory::Memories;
use super::{Addresses, Baseline, PathList, Remembered, Routing, Service, Slice, Split, Version};
use crate::access_log::{AccessLog, Unread};
use crate::endpoint::{Balancer, Care, Contact, Credentials};
use crate::lasting::{Lasting, Leaving, UnderWay};
use crate::retries::Budget;
use crate::routes::RouteTable;
use crate::selection::{self, Secret};
use crate::shortage::Shortage;
use crate::ticket::Salt;
use crate::warming::Warmers;

/// What a service's split should be, by names.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The version that serves users.
    pub stable: &'a Name,
    /// The other version, and its weight.
    pub canary: Option<(&'a Name, Weight)>,
    /// Whom the canary is compared with, and its weight: the stable stands for a slice of its traffic, another version
    /// has this traffic instead of stable. Has at most what the canary leaves, and nothing while the canary has
    /// nothing.
    pub baseline: Option<(&'a Name, Weight)>,
    /// Who goes to the canary whatever its weight; nobody where there is no canary.
    pub matched: Option<&'a Arc<Match>>,
    /// The share of the requests drawn to stable that are copied for the canary; nothing where there is no canary.
    pub mirror: Option<Weight>,
    /// Paths whose traffic is counted by itself; at most 16.
    pub paths: &'a [PathPrefix],
    /// Grows with every change of the service.
    pub generation: u64,
}

/// What a data plane reads: the latest snapshot, and where it counts what no service matched.
#[derive(Debug, Clone)]
pub struct Reader {
    pub(crate) routing: Arc<ArcSwap<Routing>>,
    pub(crate) unmatched: Arc<ServiceMeter>,
    pub(crate) log: AccessLog,
    pub(crate) under_way: UnderWay,
    pub(crate) warmers: Warmers,
    pub(crate) leaving: Leaving,
    pub(crate) shortage: Shortage,
}

/// The one writer of snapshots. Readers take them from [`shared`](Self::shared).
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<ArcSwap<Routing>>,
    cores: usize,
    unmatched: Arc<ServiceMeter>,
    log: AccessLog,
    under_way: UnderWay,
    /// By service and version.
    lasting: HashMap<Name, HashMap<Name, Arc<Lasting>>>,
    /// How many versions there ever were.
    versions: u32,
    warmers: Warmers,
    leaving: Leaving,
    shortage: Shortage,
    /// What was known of endpoints before this process, until the first configuration.
    memories: Memories,
}

impl Reader {
    /// Where requests are logged that were not understood.
    pub(crate) fn unread(&self) -> Unread {
        Unread::new(&self.log, &self.routing)
    }
}

impl Publisher {
    /// A publisher of an empty snapshot, for a data plane of so many cores.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        let unmatched = Arc::new(ServiceMeter::new(cores));
        let (under_way, lasting) = (UnderWay::new(cores), HashMap::new());
        let (log, warmers, leaving) = (AccessLog::default(), Warmers::default(), Leaving::default());
        let shortage = Shortage::new(Instant::now());
        Self {
            shared: Arc::default(),
            cores,
            unmatched,
            log,
            under_way,
            lasting,
            versions: 0,
            warmers,
            leaving,
            shortage,
            memories: Memories::default(),
        }
    }

    /// Lets the endpoints of the first configuration go on with what was known of them before this process.
    pub fn remember(&mut self, remembered: Vec<Remembered>) {
        self.memories = Memories::new(remembered);
    }

    /// Where the latest snapshot is found.
    #[must_use]
    pub fn shared(&self) -> Arc<ArcSwap<Routing>> {
        Arc::clone(&self.shared)
    }

    /// What a data plane needs to serve what is published here.
    #[must_use]
    pub fn reader(&self) -> Reader {
        let (log, under_way) = (self.log.clone(), self.under_way.clone());
        let (warmers, leaving) = (self.warmers.clone(), self.leaving.clone());
        let shortage = self.shortage.clone();
        Reader { routing: self.shared(), unmatched: self.unmatched(), log, under_way, warmers, leaving, shortage }
    }

    /// Whether requests failed not long ago for our own want of file descriptors or local ports.
    #[must_use]
    pub fn is_short(&self, now: Instant) -> bool {
        self.shortage.is_felt(now)
    }

    /// The access log of what is served. What is published says where it goes.
    #[must_use]
    pub fn access_log(&self) -> AccessLog {
        self.log.clone()
    }

    /// What requests that match no service get.
    #[must_use]
    pub fn unmatched(&self) -> Arc<ServiceMeter> {
        Arc::clone(&self.unmatched)
    }

    /// Publishes a configuration. `addresses` holds what its endpoints resolved to (one that is missing is left out; a
    /// Unix socket is its own address), `wanted` gives each service's split. Reads the certificates of endpoints, and
    /// secrets. Meters and endpoints that stay are kept, with all that they know.
    pub fn install<'a>(
        &mut self,
        configuration: &Configuration,
        addresses: &Addresses,
        wanted: impl Fn(&Name) -> Option<Wanted<'a>>,
        now: Instant,
    ) {
        let before = self.shared.load_full();
        let world = World { rules: &configuration.rules, addresses, credentials: credentials_of(configuration), now };
        let services = configuration
            .services
            .iter()
            .map(|service| {
                let known = before.service(&service.name);
                let by_file = Wanted {
                    stable: &service.stable,
                    canary: service.canary.as_ref().map(|canary| (&canary.version, canary.weight)),
                    baseline: None,
                    matched: None,
                    mirror: None,
                    paths: &[],
                    generation: 0,
                };
                let fresh = self.fresh(service, &world, known.map(Arc::as_ref)).divided(&by_file);
                let wanted = wanted(&service.name).unwrap_or(by_file);
                let service = fresh.divided(&wanted).counted(wanted.paths, self.cores);
                if let Some(known) = known {
                    self.warm(known, &service);
                }
                Arc::new(service)
            })
            .collect();
        let by_name = configuration.services.iter().enumerate().map(|(place, s)| (s.name.clone(), place)).collect();
        let table = Arc::new(RouteTable::new(&configuration.services));
        let rules = Arc::clone(&configuration.rules);
        // Before the first request that is to be logged there.
        self.log.follow(&rules);
        self.shared.store(Arc::new(Routing { rules, table, services, by_name: Arc::new(by_name) }));
        self.follow_leavers(&before, configuration, now);
        self.memories = Memories::default();
    }

    /// Publishes another split of one service, for every request that begins from now on. A name that the service
    /// does not have changes nothing.
    pub fn steer(&mut self, service: &Name, wanted: &Wanted<'_>) {
        self.replace(service, |before| {
            let after = before.divided(wanted).counted(wanted.paths, self.cores);
            self.warm(before, &after);
            self.stay(&after);
            after
        });
    }

    /// A comparison of this version begins: requests drawn before now, or by a snapshot from before now, are counted
    /// and not judged. Where it is the stable version and has a slice, the slice begins anew.
    pub fn begin_exposure(&mut self, service: &Name, version: &Name) {
        self.replace(service, |service| service.exposed(version));
    }

    /// Publishes other addresses of some endpoints, wherever they are used, for every request that begins from now on.
    /// All else stays as it is: splits, meters, and what is known of the addresses that stay. A request that is at an
    /// address which is gone ends there. Endpoints that nobody uses change nothing.
    pub fn readdress(&mut self, changed: &Addresses, now: Instant) {
        let before = self.shared.load_full();
        let readdressed = |service: &Arc<Service>| service.readdressed(changed, now).map(Arc::new);
        let after: Vec<Option<Arc<Service>>> = before.services.iter().map(readdressed).collect();
        if after.iter().all(Option::is_none) {
            return;
        }
        for (after, before) in after.iter().zip(&before.services) {
            if let Some(after) = after {
                self.warm(before, after);
            }
        }
        let services = after.into_iter().zip(&before.services).map(|(new, old)| new.unwrap_or_else(|| Arc::clone(old)));
        let (rules, table) = (Arc::clone(&before.rules), Arc::clone(&before.table));
        let by_name = Arc::clone(&before.by_name);
        self.shared.store(Arc::new(Routing { rules, table, services: services.collect(), by_name }));
    }

    fn replace(&self, service: &Name, next: impl FnOnce(&Service) -> Service) {
        let before = self.shared.load();
        let Some(place) = before.by_name.get(service) else { return };
        let mut services = before.services.clone();
        services[*place] = Arc::new(next(&services[*place]));
        let (table, by_name) = (Arc::clone(&before.table), Arc::clone(&before.by_name));
        self.shared.store(Arc::new(Routing { rules: Arc::clone(&before.rules), table, services, by_name }));
    }

    /// A service as the file has it, with what is known of it, and everything on its first version.
    fn fresh(&mut self, service: &config::Service, world: &World<'_>, known: Option<&Service>) -> Service {
        let mut version = |version: &config::Version| {
            let known = known.and_then(|service| service.version(&version.name));
            self.version(&service.name, version, world, known)
        };
        Service {
            name: service.name.clone(),
            written: Arc::new(service.clone()),
            rules: Arc::clone(world.rules),
            versions: service.versions.iter().map(&mut version).collect(),
            // A list of paths that stays is the same one: what is in flight still counts.
            split: Split { paths: known.map(|s| Arc::clone(&s.split.paths)).unwrap_or_default(), ..Split::default() },
            slice: known.and_then(|service| service.slice.clone()),
            apart: known.and_then(|service| service.apart.clone()),
            meter: known.map_or_else(|| Arc::new(ServiceMeter::new(self.cores)), |s| Arc::clone(&s.meter)),
            retry_budget: known
                .map_or_else(|| Arc::new(Budget::new(self.cores, world.now)), |s| Arc::clone(&s.retry_budget)),
            secret: secret_of(service),
        }
    }

    fn version(
        &mut self,
        service: &Name,
        version: &config::Version,
        world: &World<'_>,
        known: Option<&Arc<Version>>,
    ) -> Arc<Version> {
        let credentials = version.tls.as_ref().and_then(|tls| world.credentials.get(tls)).map(Arc::clone);
        let contact = Contact::new(service, version, &world.rules.timeouts, credentials);
        let care = Arc::new(Care::of(version, known.map(|known| &*known.care)));
        let from_before = match known {
            Some(known) => known.away.clone(),
            None => self.memories.away(service, version, &contact, &care, world.now),
        };
        let there = known.map_or(&[] as &[_], |known| &known.endpoints);
        let before = Before { there, away: &from_before };
        let (endpoints, away) =
            addresses::endpoints(&version.endpoints, world.addresses, before, &contact, &care, world.now);
        if known.is_some() {
            addresses::begin_slowly(before, &endpoints, world.now);
        }
        let balancer = Balancer::new(version, &endpoints, known.map(|known| &known.balancer), world.now);
        let meter = known.map_or_else(|| Arc::new(VersionMeter::new(self.cores)), |v| Arc::clone(&v.meter));
        Arc::new(Version {
            name: version.name.clone(),
            // A name holds letters, digits, `.`, `_` and `-` alone.
            label: HeaderValue::from_str(version.name.as_str()).unwrap_or(HeaderValue::from_static("-")),
            line: selection::line(&version.name),
            protocol: version.protocol,
            endpoints,
            away,
            exposure: meter.exposure(),
            meter,
            contact,
            care,
            balancer,
            mirror: known.map(|version| Arc::clone(&version.mirror)).unwrap_or_default(),
            lasting: self.know(service, &version.name),
            warm_start: version.warm_start,
        })
    }
}

/// What a configuration is published into.
struct World<'a> {
    rules: &'a Arc<Rules>,
    addresses: &'a Addresses,
    credentials: HashMap<&'a EndpointTls, Arc<Credentials>>,
    now: Instant,
}

/// The certificates that a configuration names, each read once.
fn credentials_of(configuration: &Configuration) -> HashMap<&EndpointTls, Arc<Credentials>> {
    let written = configuration.services.iter().flat_map(|service| &service.versions).filter_map(|v| v.tls.as_ref());
    let mut read = HashMap::new();
    for tls in written {
        read.entry(tls).or_insert_with(|| {
            // They were checked a moment ago: whoever changed them in between gets no connection, never an unproven one.
            Arc::new(Credentials::load(tls).unwrap_or_else(|problem| {
                error!(%problem, "the certificates of endpoints cannot be used: nothing is sent there");
                Credentials::none()
            }))
        });
    }
    read
}

/// The secret of those who may choose the version.
fn secret_of(service: &config::Service) -> Option<Secret> {
    let file = service.forced.as_ref()?.secret.as_ref()?;
    // It was checked a moment ago, as certificates are.
    Secret::read(file).inspect_err(|problem| error!(%problem, "a secret cannot be used: nobody has it")).ok()
}

impl Service {
    /// This service under another split; names that it does not have leave that part as it was, or out.
    fn divided(&self, wanted: &Wanted<'_>) -> Self {
        let place = |name: &Name| self.versions.iter().position(|version| version.name == *name);
        let stable = place(wanted.stable).unwrap_or(self.split.stable);
        let canary = wanted
            .canary
            .and_then(|(name, weight)| Some((place(name)?, weight, Salt::new(self.name.as_str(), name.as_str()))));
        let baseline = wanted.baseline.zip(canary).and_then(|((name, weight), (canary, of_canary, _))| {
            let baseline = match place(name)? {
                version if version == stable => Baseline::Slice,
                version if version == canary => return None,
                version => Baseline::Version(version),
            };
            Some((baseline, weight.min(of_canary.complement())))
        });
        let matched = wanted.matched.filter(|_| canary.is_some()).map(Arc::clone);
        // Of a canary that is stable there is nothing to compare.
        let may_mirror = canary.is_some_and(|(canary, ..)| canary != stable);
        let mirror = wanted.mirror.filter(|share| may_mirror && *share > Weight::ZERO);
        let (paths, generation) = (Arc::clone(&self.split.paths), wanted.generation);
        Self { split: Split { stable, canary, baseline, mirror, matched, paths, generation }, ..self.clone() }
    }

    /// This service with what its split needs to be counted: these paths, and the meters of slices.
    fn counted(mut self, paths: &[PathPrefix], cores: usize) -> Self {
        let split = &self.split;
        let slices_stable = matches!(split.baseline, Some((Baseline::Slice, _)));
        let stable = &self.versions[split.stable].name;
        self.slice = Slice::of(self.slice, Some(stable), slices_stable, cores);
        let leaves_out = split.matched.as_ref().is_some_and(|matched| !matched.judged);
        let canary = split.canary.map(|(canary, ..)| &self.versions[canary].name);
        self.apart = Slice::of(self.apart, canary, leaves_out, cores);
        let paths = PathList::new(paths);
        if paths != *self.split.paths {
            self.split.paths = Arc::new(paths);
            for version in &mut self.versions {
                let exposure = version.meter.begin_paths();
                *version = Arc::new(Version { exposure, ..Version::clone(version) });
            }
            for slice in [&mut self.slice, &mut self.apart].into_iter().flatten() {
                let exposure = slice.meter.begin_paths();
                *slice = Arc::new(Slice { exposure, ..Slice::clone(slice) });
            }
        }
        self
    }

    /// This service where a comparison of the version of this name begins.
    fn exposed(&self, name: &Name) -> Self {
        let mut next = self.clone();
        for version in next.versions.iter_mut().filter(|version| version.name == *name) {
            let exposure = version.meter.begin_exposure();
            *version = Arc::new(Version { exposure, ..Version::clone(version) });
        }
        for slice in [&mut next.slice, &mut next.apart].into_iter().flatten().filter(|slice| slice.of == *name) {
            let exposure = slice.meter.begin_exposure();
            // What an earlier comparison left untaken.
            slice.meter.take(&mut Window::default());
            *slice = Arc::new(Slice { exposure, ..Slice::clone(slice) });
        }
        next
    }
}

impl Slice {
    /// The slice of this version that there was, where it was of this one; a new one where it is `wanted`.
    fn of(before: Option<Arc<Self>>, version: Option<&Name>, wanted: bool, cores: usize) -> Option<Arc<Self>> {
        let version = version?;
        let fresh = || {
            let meter = Arc::new(VersionMeter::new(cores));
            Arc::new(Self { of: version.clone(), exposure: meter.exposure(), meter })
        };
        before.filter(|slice| slice.of == *version).or_else(|| wanted.then(fresh))
    }
}
