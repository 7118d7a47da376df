//! A data plane without sockets: requests are drawn from a seed and recorded on real meters.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use config::{Name, Weight};
use control::plane::{DataPlane, EndpointState, Resolved, Split};
use meter::{Attempt, Class, DrawnAt, Exposure, Outcome, Tally, VersionMeter, Waiting, Window};

/// How many ticks a request takes that is answered late: ten seconds.
const LATE: u64 = 100;

/// How a version answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Manner {
    /// Fraction of requests that fail.
    pub(crate) errors: f64,
    /// What a failure looks like.
    pub(crate) failure: Class,
    /// Fraction of requests to `/checkout` that fail beside those.
    pub(crate) errors_at_checkout: f64,
    /// How much longer its answers take, as a factor.
    pub(crate) slower: f64,
    /// Fraction of requests that end and leave no trace of an attempt, which a sound proxy never does.
    pub(crate) lost: f64,
    /// Fraction of requests that are answered after ten seconds.
    pub(crate) late: f64,
}

impl Manner {
    pub(crate) const GOOD: Self =
        Self { errors: 0.001, failure: Class::ServerError, errors_at_checkout: 0.0, slower: 1.0, lost: 0.0, late: 0.0 };
    pub(crate) const BAD: Self = Self { errors: 1.0, ..Self::GOOD };
    pub(crate) const SICKLY: Self = Self { errors: 0.05, ..Self::GOOD };
    pub(crate) const DEAD: Self = Self { errors: 1.0, failure: Class::ConnectError, ..Self::GOOD };
    pub(crate) const SLOW: Self = Self { slower: 2.0, ..Self::GOOD };
}

/// The simulated data plane. Clones are the same plane.
#[derive(Debug, Clone)]
pub(crate) struct Traffic(Arc<Mutex<Inner>>);

/// When an answer comes, of which service and version it is, when it was asked for, and what it comes to.
type Late = (u64, (Name, Name), DrawnAt, Exposure, Outcome);

#[derive(Debug)]
struct Inner {
    splits: HashMap<Name, Split>,
    meters: HashMap<(Name, Name), VersionMeter>,
    /// Of services whose canary is, or was, compared with a slice of this stable.
    slices: HashMap<Name, (Name, VersionMeter)>,
    /// Of services whose canary gets, or got, people whatever its weight: that canary, and those people.
    apart: HashMap<Name, (Name, VersionMeter)>,
    /// Fraction of the requests that match whatever is matched, and how the canary answers them.
    matching: f64,
    to_matching: Option<Manner>,
    manners: BTreeMap<String, Manner>,
    requests_per_second: u32,
    /// Fraction of the canary's requests that are drawn to stable in its stead.
    misdrawn: f64,
    sent: BTreeMap<String, u64>,
    /// How many ticks there were.
    ticks: u64,
    /// Late answers: when they come, and what they come to.
    late: VecDeque<Late>,
    random: fastrand::Rng,
}

impl Traffic {
    pub(crate) fn new(seed: u64, requests_per_second: u32) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            splits: HashMap::new(),
            meters: HashMap::new(),
            slices: HashMap::new(),
            apart: HashMap::new(),
            matching: 0.0,
            to_matching: None,
            manners: BTreeMap::new(),
            requests_per_second,
            misdrawn: 0.0,
            sent: BTreeMap::new(),
            ticks: 0,
            late: VecDeque::new(),
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

    /// From here on so large a part of what is drawn to the canary goes to stable.
    pub(crate) fn misdraws(&self, part: f64) {
        self.inner().misdrawn = part;
    }

    /// From here on so large a part of the requests matches whatever is matched.
    pub(crate) fn matches(&self, part: f64) {
        self.inner().matching = part;
    }

    /// From here on a canary answers those who match like that, whatever it does to others.
    pub(crate) fn answers_matching(&self, manner: Manner) {
        self.inner().to_matching = Some(manner);
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
        inner.ticks += 1;
        inner.answer_late();
        let Inner {
            splits,
            meters,
            slices,
            apart,
            matching,
            to_matching,
            manners,
            requests_per_second,
            misdrawn,
            sent,
            ticks,
            late,
            random,
        } = &mut *inner;
        for (service, split) in splits.iter() {
            for _ in 0..*requests_per_second / 10 {
                if let (Some(matched), Some((canary, _))) = (&split.matched, &split.canary)
                    && random.f64() < *matching
                {
                    let Some(meter) = meters.get(&(service.clone(), canary.clone())) else { continue };
                    let manner = manners.get(canary.as_str()).copied().unwrap_or(Manner::GOOD);
                    let outcome = answer(to_matching.unwrap_or(manner), split, random);
                    *sent.entry(canary.to_string()).or_default() += 1;
                    let drawn_at = meter.begin(0, false);
                    meter.answered(0, drawn_at);
                    meter.record(0, &Outcome { judged: matched.judged, ..outcome });
                    meter.end(0, outcome.total_us, true);
                    if let Some((_, apart)) = apart.get(service).filter(|_| !matched.judged) {
                        apart.begin(0, false);
                        apart.record(0, &outcome);
                        apart.end(0, None, true);
                    }
                    continue;
                }
                let (version, in_slice) = drawn(split, random, *misdrawn);
                let manner = manners.get(version.as_str()).copied().unwrap_or(Manner::GOOD);
                *sent.entry(version.to_string()).or_default() += 1;
                let Some(meter) = meters.get(&(service.clone(), version.clone())) else { continue };
                let slice = slices.get(service).filter(|_| in_slice).map(|(_, meter)| meter);
                let meters = || [Some(meter), slice].into_iter().flatten();
                let drawn_at = meter.begin(0, true);
                if let Some(slice) = slice {
                    slice.begin(0, true);
                }
                if manner.late > 0.0 && random.f64() < manner.late {
                    let outcome = Outcome { latency_us: Some(LATE * 100_000), ..answer(manner, split, random) };
                    let of = (service.clone(), version.clone());
                    late.push_back((*ticks + LATE, of, drawn_at, meter.exposure(), outcome));
                    meters().for_each(|meter| meter.end(0, None, true));
                    continue;
                }
                meter.answered(0, drawn_at);
                let is_lost = random.f64() < manner.lost;
                let outcome = answer(manner, split, random);
                if !is_lost {
                    meters().for_each(|meter| meter.record(0, &outcome));
                }
                meters().for_each(|meter| meter.end(0, outcome.total_us, !is_lost));
            }
        }
    }
}

/// The version that a request draws, and whether it is in the slice of stable that the canary is compared with.
fn drawn<'a>(split: &'a Split, random: &mut fastrand::Rng, misdrawn: f64) -> (&'a Name, bool) {
    let ticket = random.u16(..10_000);
    match (&split.canary, &split.baseline) {
        (Some((canary, weight)), _) if ticket < weight.basis_points() => {
            if random.f64() < misdrawn {
                (&split.stable, false)
            } else {
                (canary, false)
            }
        }
        (Some(_), Some((baseline, weight))) if ticket >= weight.complement().basis_points() => {
            (baseline, *baseline == split.stable)
        }
        (_, _) => (&split.stable, false),
    }
}

/// One answer, by one of two endpoints. A fifth of the requests are to `/checkout`, the others elsewhere.
fn answer(manner: Manner, split: &Split, random: &mut fastrand::Rng) -> Outcome {
    let at_checkout = random.u8(..5) == 0;
    let fails = random.f64() < manner.errors || (at_checkout && random.f64() < manner.errors_at_checkout);
    let on = |path: &str| path == "/" || (at_checkout && path == "/checkout");
    let paths = split.paths.iter().enumerate().filter(|(_, path)| on(path.as_str()));
    let latency_us = (random.u64(1_000..20_000) as f64 * manner.slower) as u64;
    Outcome {
        attempt: Attempt::First,
        class: if fails { manner.failure } else { Class::Success },
        judged: true,
        endpoint: (manner.failure != Class::ConnectError || !fails).then(|| random.u16(..2)),
        group: random.u8(..16),
        keyed: true,
        paths: paths.fold(0, |mask, (place, _)| mask | 1 << place),
        latency_us: Some(latency_us),
        total_us: Some(latency_us + 500),
    }
}

impl Inner {
    /// The answers come that are due, under the exposure in which they were asked for. Of slices there are none.
    fn answer_late(&mut self) {
        while let Some((_, key, drawn_at, exposure, outcome)) = self.late.pop_front_if(|(due, ..)| *due <= self.ticks) {
            if let Some(meter) = self.meters.get(&key) {
                meter.answered(0, drawn_at);
                meter.record_under(0, exposure, &outcome);
            }
        }
    }

    /// What a split needs to be counted: a meter for a slice of its stable, and paths of its own.
    fn divide(&mut self, service: &Name, split: &Split) {
        let before = self.splits.insert(service.clone(), split.clone());
        if before.is_none_or(|before| before.paths != split.paths) {
            let of_versions = self.meters.iter().filter(|((of, _), _)| of == service).map(|(_, meter)| meter);
            let of_parts = [&self.slices, &self.apart].into_iter().filter_map(|parts| parts.get(service));
            for meter in of_versions.chain(of_parts.map(|(_, meter)| meter)) {
                meter.begin_paths();
            }
        }
        let canary = split.canary.as_ref().map(|(canary, _)| canary);
        if self.apart.get(service).is_some_and(|(of, _)| Some(of) != canary) {
            self.apart.remove(service);
        }
        if let (Some(_), Some(canary)) = (&split.matched, canary) {
            let fresh = || (canary.clone(), VersionMeter::new(1));
            self.apart.entry(service.clone()).or_insert_with(fresh);
        }
        if self.slices.get(service).is_some_and(|(of, _)| *of != split.stable) {
            self.slices.remove(service);
        }
        if let Some((baseline, weight)) = &split.baseline {
            assert!(*weight > Weight::ZERO, "a baseline of nothing");
            if *baseline == split.stable {
                let fresh = || (baseline.clone(), VersionMeter::new(1));
                self.slices.entry(service.clone()).or_insert_with(fresh);
            }
        }
    }
}

impl DataPlane for Traffic {
    fn begin_exposure(&mut self, service: &Name, version: &Name) {
        let inner = self.inner();
        if let Some(meter) = inner.meters.get(&(service.clone(), version.clone())) {
            meter.begin_exposure();
        }
        if let Some((_, meter)) = inner.apart.get(service).filter(|(of, _)| of == version) {
            meter.begin_exposure();
        }
    }

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
        inner.splits.retain(|service, _| splits.contains_key(service));
        for (service, split) in splits {
            inner.divide(service, split);
        }
    }

    fn steer(&mut self, service: &Name, split: &Split) {
        self.inner().divide(service, split);
    }

    fn take(&mut self, service: &Name, version: &Name, window: &mut Window) {
        window.clear();
        if let Some(meter) = self.inner().meters.get(&(service.clone(), version.clone())) {
            meter.take(window);
        }
    }

    fn take_slice(&mut self, service: &Name, window: &mut Window) {
        window.clear();
        if let Some((_, meter)) = self.inner().slices.get(service) {
            meter.take(window);
        }
    }

    fn take_matched(&mut self, service: &Name, window: &mut Window) {
        window.clear();
        if let Some((_, meter)) = self.inner().apart.get(service) {
            meter.take(window);
        }
    }

    fn watch_latencies(&mut self, service: &Name, version: &Name, us: [u64; 2]) {
        if let Some(meter) = self.inner().meters.get(&(service.clone(), version.clone())) {
            meter.watch(us);
        }
    }

    fn waiting(&self, service: &Name, version: &Name, second: u32) -> Waiting {
        let inner = self.inner();
        let meter = inner.meters.get(&(service.clone(), version.clone()));
        meter.map(|meter| meter.waiting(second)).unwrap_or_default()
    }

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
