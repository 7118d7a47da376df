//! A data plane without sockets: requests are drawn from a seed and recorded on real meters.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use config::Name;
use control::plane::{DataPlane, EndpointState, Resolved, Split};
use meter::{Attempt, Class, Outcome, Tally, VersionMeter, Window};

/// How a version answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Manner {
    /// Fraction of requests that fail.
    pub(crate) errors: f64,
    /// What a failure looks like.
    pub(crate) failure: Class,
}

impl Manner {
    pub(crate) const GOOD: Self = Self { errors: 0.001, failure: Class::ServerError };
    pub(crate) const BAD: Self = Self { errors: 1.0, failure: Class::ServerError };
    pub(crate) const SICKLY: Self = Self { errors: 0.05, failure: Class::ServerError };
    pub(crate) const DEAD: Self = Self { errors: 1.0, failure: Class::ConnectError };
}

/// The simulated data plane. Clones are the same plane.
#[derive(Debug, Clone)]
pub(crate) struct Traffic(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    splits: HashMap<Name, Split>,
    meters: HashMap<(Name, Name), VersionMeter>,
    manners: BTreeMap<String, Manner>,
    requests_per_second: u32,
    sent: BTreeMap<String, u64>,
    random: fastrand::Rng,
}

impl Traffic {
    pub(crate) fn new(seed: u64, requests_per_second: u32) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            splits: HashMap::new(),
            meters: HashMap::new(),
            manners: BTreeMap::new(),
            requests_per_second,
            sent: BTreeMap::new(),
            random: fastrand::Rng::with_seed(seed),
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// From here on this version answers like that.
    pub(crate) fn answers(&self, version: &str, manner: Manner) {
        self.inner().manners.insert(version.to_owned(), manner);
    }

    pub(crate) fn set_rate(&self, requests_per_second: u32) {
        self.inner().requests_per_second = requests_per_second;
    }

    pub(crate) fn split(&self, service: &Name) -> Option<Split> {
        self.inner().splits.get(service).cloned()
    }

    /// How many requests went to a version.
    pub(crate) fn sent(&self, version: &str) -> u64 {
        self.inner().sent.get(version).copied().unwrap_or_default()
    }

    /// A tenth of a second of requests for every service.
    pub(crate) fn flow(&self) {
        let mut inner = self.inner();
        let Inner { splits, meters, manners, requests_per_second, sent, random } = &mut *inner;
        for (service, split) in splits.iter() {
            for _ in 0..*requests_per_second / 10 {
                let ticket = random.u16(..10_000);
                let version = match &split.canary {
                    Some((canary, weight)) if ticket < weight.basis_points() => canary,
                    Some(_) | None => &split.stable,
                };
                let manner = manners.get(version.as_str()).copied().unwrap_or(Manner::GOOD);
                let fails = random.f64() < manner.errors;
                let outcome = Outcome {
                    attempt: Attempt::First,
                    class: if fails { manner.failure } else { Class::Success },
                    judged: true,
                    endpoint: (manner.failure != Class::ConnectError || !fails).then_some(0),
                    group: random.u8(..16),
                    paths: 0,
                    total_us: None,
                    latency_us: Some(random.u64(1_000..20_000)),
                };
                *sent.entry(version.to_string()).or_default() += 1;
                if let Some(meter) = meters.get(&(service.clone(), version.clone())) {
                    meter.record(0, &outcome);
                }
            }
        }
    }
}

impl DataPlane for Traffic {
    /// Requests here end in the moment in which they begin.
    fn begin_exposure(&mut self, _: &Name, _: &Name) {}

    fn install(&mut self, resolved: &Resolved, splits: &HashMap<Name, Split>) {
        let mut inner = self.inner();
        let mut old = std::mem::take(&mut inner.meters);
        for service in &resolved.configuration.services {
            for version in &service.versions {
                let key = (service.name.clone(), version.name.clone());
                let meter = old.remove(&key).unwrap_or_else(|| VersionMeter::new(1));
                inner.meters.insert(key, meter);
            }
        }
        inner.splits.clone_from(splits);
    }

    fn steer(&mut self, service: &Name, split: &Split) {
        self.inner().splits.insert(service.clone(), split.clone());
    }

    fn take(&mut self, service: &Name, version: &Name, window: &mut Window) {
        window.clear();
        if let Some(meter) = self.inner().meters.get(&(service.clone(), version.clone())) {
            meter.take(window);
        }
    }

    fn take_slice(&mut self, _service: &Name, window: &mut Window) {
        window.clear();
    }

    fn watch_latencies(&mut self, _service: &Name, _version: &Name, _us: [u64; 2]) {}

    fn tally(&self, service: &Name, version: &Name, read: &mut dyn FnMut(&Tally)) {
        if let Some(meter) = self.inner().meters.get(&(service.clone(), version.clone())) {
            meter.with_tally(read);
        }
    }

    fn responses(&self, _service: Option<&Name>) -> [u64; Class::ALL.len()] {
        Default::default()
    }

    fn in_flight(&self, _service: &Name, _version: &Name) -> u64 {
        0
    }

    fn endpoints(&self, _service: &Name, _version: &Name) -> Vec<EndpointState> {
        Vec::new()
    }
}
