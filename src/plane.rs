//! The live data plane as the control plane sees it. The two meet here and nowhere else.

mod mirroring;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use config::Name;
use control::plane::{
    self, Addresses, Care, Certificate, CheckCounts, ClientTls, DataPlane, EndpointHealth, EndpointState,
    FailedHandshakes, MalformedCounts, MirrorSample, Resolved, Split,
};
use meter::{Class, MirrorCounts, Tally, VersionMeter, Waiting, Window};
use proxy::endpoint::{CareCounts, Standing, State, is_panicking};
use proxy::mirror::Ledger;
use proxy::routing::{Baseline, Wanted};
use proxy::tls::{CertificateState, HandshakeFailure, SecureListeners};
use proxy::{Flaw, Publisher};

use crate::resolve::Names;
use crate::upgrade::Elders;

/// The proxy's publisher and meters, behind the trait that control asks for.
#[derive(Debug)]
pub struct LivePlane {
    publisher: Publisher,
    secure: SecureListeners,
    /// Who resolves the names; none where nobody does.
    names: Option<Names>,
    /// Processes before this one that still drain, and follow it.
    elders: Elders,
    /// One moment by both clocks.
    began: (Instant, SystemTime),
}

impl LivePlane {
    /// Steers what `publisher` publishes, and sees how the listeners that speak TLS do.
    #[must_use]
    pub fn new(publisher: Publisher, secure: SecureListeners) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the executable is a shell: moments are told by the wall clock")]
        let began = (Instant::now(), SystemTime::now());
        Self { publisher, secure, names: None, elders: Elders::default(), began }
    }

    /// Lets `names` resolve the names of what is installed.
    #[must_use]
    pub fn resolving(self, names: Names) -> Self {
        Self { names: Some(names), ..self }
    }

    /// Lets processes before this one follow it.
    #[must_use]
    pub(crate) fn before(self, elders: Elders) -> Self {
        Self { elders, ..self }
    }

    /// A moment by the wall clock. The same each time, whatever becomes of that clock meanwhile.
    fn wall(&self, at: Instant) -> SystemTime {
        let (began, wall) = self.began;
        match began.checked_duration_since(at) {
            // What was known before this process began.
            Some(before) => wall.checked_sub(before).unwrap_or(wall),
            None => wall + at.saturating_duration_since(began),
        }
    }

    fn meter<T>(&self, service: &Name, version: &Name, read: impl FnOnce(&VersionMeter) -> T) -> Option<T> {
        let routing = self.publisher.shared().load_full();
        let version = routing.service(service)?.version(version)?;
        Some(read(&version.meter))
    }

    fn ledger(&self, service: &Name, version: &Name) -> Option<Arc<Ledger>> {
        let routing = self.publisher.shared().load_full();
        Some(Arc::clone(&routing.service(service)?.version(version)?.mirror))
    }
}

#[expect(clippy::disallowed_methods, reason = "the executable is a shell: what is asked for is as of now")]
fn now() -> Instant {
    Instant::now()
}

fn wanted(split: &Split) -> Wanted<'_> {
    Wanted {
        stable: &split.stable,
        canary: split.canary.as_ref().map(|(canary, weight)| (canary, *weight)),
        baseline: split.baseline.as_ref().map(|(baseline, weight)| (baseline, *weight)),
        matched: split.matched.as_ref(),
        mirror: split.mirror,
        paths: &split.paths,
        generation: split.generation,
    }
}

const fn health(state: State) -> EndpointHealth {
    match state {
        State::Well => EndpointHealth::Well,
        State::Unhealthy => EndpointHealth::Unhealthy,
        State::Ejected => EndpointHealth::Ejected,
        State::Down => EndpointHealth::Down,
    }
}

/// In the order of [`Flaw::ALL`].
fn malformed(flaws: [u64; Flaw::ALL.len()]) -> MalformedCounts {
    let of = |flaw: Flaw| flaws[flaw as usize];
    MalformedCounts {
        status_line: of(Flaw::StatusLine),
        header: of(Flaw::Header),
        framing: of(Flaw::Framing),
        too_large: of(Flaw::TooLarge),
        chunks: of(Flaw::Chunks),
        surplus: of(Flaw::Surplus),
    }
}

impl DataPlane for LivePlane {
    fn install(&mut self, resolved: &Resolved, splits: &HashMap<Name, Split>) {
        let split_of = |service: &Name| splits.get(service).map(wanted);
        self.publisher.install(&resolved.configuration, &resolved.addresses, split_of, now());
        if let Some(names) = &self.names {
            names.follow(resolved);
        }
        self.elders.install(&resolved.configuration.services, splits);
    }

    fn readdress(&mut self, changed: &Addresses) {
        self.publisher.readdress(changed, now());
    }

    fn steer(&mut self, service: &Name, split: &Split) {
        self.publisher.steer(service, &wanted(split));
        self.elders.steer(service, split);
    }

    fn prepare(&mut self, service: &Name, split: &Split) {
        self.publisher.prepare(service, &wanted(split));
    }

    fn begin_exposure(&mut self, service: &Name, version: &Name) {
        self.publisher.begin_exposure(service, version);
    }

    fn take(&mut self, service: &Name, version: &Name, window: &mut Window) {
        window.clear();
        // A version that is gone did nothing.
        self.meter(service, version, |meter| meter.take(window));
    }

    fn take_slice(&mut self, service: &Name, window: &mut Window) {
        window.clear();
        let routing = self.publisher.shared().load_full();
        // A slice that had its time is kept for the next; what it still counts is nobody's.
        if let Some(service) = routing.service(service)
            && let Some((Baseline::Slice, _)) = service.split.baseline
            && let Some(slice) = &service.slice
        {
            slice.meter.take(window);
        }
    }

    fn take_matched(&mut self, service: &Name, window: &mut Window) {
        window.clear();
        let routing = self.publisher.shared().load_full();
        if let Some(apart) = routing.service(service).and_then(|service| service.apart.as_ref()) {
            apart.meter.take(window);
        }
    }

    fn watch_latencies(&mut self, service: &Name, version: &Name, us: [u64; 2]) {
        self.meter(service, version, |meter| meter.watch(us));
    }

    fn tally(&self, service: &Name, version: &Name, read: &mut dyn FnMut(&Tally)) {
        self.meter(service, version, |meter| meter.with_tally(read));
    }

    fn responses(&self, service: Option<&Name>) -> [u64; Class::ALL.len()] {
        let Some(service) = service else { return self.publisher.unmatched().responses() };
        let routing = self.publisher.shared().load_full();
        routing.service(service).map(|service| service.meter.responses()).unwrap_or_default()
    }

    fn refused_retries(&self, service: &Name) -> u64 {
        let routing = self.publisher.shared().load_full();
        routing.service(service).map_or(0, |service| service.meter.refused_retries())
    }

    fn is_short(&self) -> bool {
        self.publisher.is_short(now())
    }

    fn waiting(&self, service: &Name, version: &Name, second: u32) -> Waiting {
        self.meter(service, version, |meter| meter.waiting(second)).unwrap_or_default()
    }

    fn in_flight(&self, service: &Name, version: &Name) -> u64 {
        self.meter(service, version, VersionMeter::in_flight).unwrap_or_default()
    }

    fn mirrored(&self, service: &Name, version: &Name) -> MirrorCounts {
        self.ledger(service, version).map(|ledger| ledger.counts()).unwrap_or_default()
    }

    fn mirror_samples(&self, service: &Name, version: &Name) -> Vec<MirrorSample> {
        let samples = self.ledger(service, version).map(|ledger| ledger.samples()).unwrap_or_default();
        samples.into_iter().map(mirroring::sample).collect()
    }

    fn lasting(&self, service: &Name, version: &Name) -> u64 {
        self.publisher.lasting(service, version, now()).saturating_add(self.elders.lasting(service, version))
    }

    fn end_lasting(&mut self, service: &Name, version: &Name) {
        self.publisher.end_lasting(service, version, now());
        self.elders.end_lasting(service, version);
    }

    fn ended_lasting(&self, service: &Name, version: &Name) -> u64 {
        self.publisher.ended_lasting(service, version).saturating_add(self.elders.ended_lasting(service, version))
    }

    fn log_lines_dropped(&self) -> u64 {
        self.publisher.access_log().dropped()
    }

    fn names(&self) -> plane::Names {
        self.names.as_ref().map(Names::states).unwrap_or_default()
    }

    fn client_tls(&self) -> ClientTls {
        let certificates = self.secure.certificates();
        let warnings = certificates.iter().flat_map(CertificateState::warnings).collect();
        let certificate = |state: &CertificateState| Certificate {
            listener: state.listener.clone(),
            file: state.files.cert.display().to_string(),
            // None before 1970.
            expires: state.expires.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed()),
        };
        let failed = |(listener, why, count): (String, HandshakeFailure, u64)| FailedHandshakes {
            listener,
            reason: why.label(),
            count,
        };
        ClientTls {
            certificates: certificates.iter().map(certificate).collect(),
            failed: self.secure.failures().into_iter().map(failed).collect(),
            warnings,
        }
    }

    fn endpoints(&self, service: &Name, version: &Name) -> Vec<EndpointState> {
        let routing = self.publisher.shared().load_full();
        let Some(version) = routing.service(service).and_then(|service| service.version(version)) else {
            return Vec::new();
        };
        let now = now();
        let state = |endpoint: &Arc<proxy::endpoint::Endpoint>| {
            let Standing { state, reason, since, next_try, share } = endpoint.standing(now);
            EndpointState {
                endpoint: endpoint.written.clone(),
                resolved: endpoint.written.name().and(endpoint.address.tcp()),
                health: health(state),
                reason,
                since: since.map(|at| self.wall(at)),
                next_try: next_try.map(|at| self.wall(at)),
                share,
                in_flight: endpoint.in_flight(),
            }
        };
        version.endpoints.iter().map(state).collect()
    }

    fn care(&self, service: &Name, version: &Name) -> Care {
        let routing = self.publisher.shared().load_full();
        let Some(version) = routing.service(service).and_then(|service| service.version(version)) else {
            return Care::default();
        };
        let panic = is_panicking(&version.endpoints, now());
        let CareCounts { ejections, checks_passed: passed, checks_failed: failed, flaws } = version.care.counts();
        let checks = version.care.asks().then_some(CheckCounts { passed, failed });
        Care { ejections, checks, panic, overflows: version.balancer.overflows(), malformed: malformed(flaws) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::{PathPrefix, Weight};
    use meter::{Attempt, Outcome};
    use proxy::routing::Service;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    /// A service `shop` whose canary v2 has this weight, with a slice of stable of the same weight and the path /a.
    fn split(weight: Weight, with_slice: bool) -> Split {
        Split {
            stable: name("v1"),
            canary: Some((name("v2"), weight)),
            baseline: with_slice.then(|| (name("v1"), weight)),
            matched: None,
            mirror: None,
            paths: Arc::new([PathPrefix::new("/a").unwrap()]),
            generation: 1,
        }
    }

    fn plane() -> LivePlane {
        let text = "services: { shop: { stable: v1, versions: { v1: { endpoints: ['127.0.0.1:1'] }, v2: { endpoints: ['127.0.0.1:2'] } } } }";
        let configuration = Arc::new(config::parse(text, "test.yaml").unwrap().configuration);
        let mut plane = LivePlane::new(Publisher::new(1), SecureListeners::default());
        plane.install(&Resolved { configuration, addresses: HashMap::new(), notes: Vec::new() }, &HashMap::new());
        plane
    }

    fn shop(plane: &LivePlane) -> Arc<Service> {
        Arc::clone(plane.publisher.shared().load().service(&name("shop")).unwrap())
    }

    /// A first attempt that took 5 ms on the first path, of a request that drew by what is published now.
    fn record(plane: &LivePlane) {
        let outcome = Outcome {
            attempt: Attempt::First,
            class: Class::Success,
            judged: true,
            endpoint: Some(0),
            group: 0,
            keyed: true,
            paths: 1,
            latency_us: Some(5_000),
            total_us: None,
        };
        let service = shop(plane);
        service.stable().meter.record_under(0, service.stable().exposure, &outcome);
        if let Some(slice) = &service.slice {
            slice.meter.record_under(0, slice.exposure, &outcome);
        }
    }

    /// Requests of stable, and of its slice.
    fn requests(plane: &mut LivePlane) -> (u64, u64) {
        let (mut stable, mut slice) = (Window::default(), Window::default());
        plane.take(&name("shop"), &name("v1"), &mut stable);
        plane.take_slice(&name("shop"), &mut slice);
        (stable.requests(), slice.requests())
    }

    #[test]
    fn a_slice_is_taken_while_the_split_has_one_and_begins_anew_with_its_version() {
        let mut plane = plane();
        let half = Weight::from_basis_points(5_000).unwrap();
        plane.steer(&name("shop"), &split(half, true));
        record(&plane);
        assert_eq!(requests(&mut plane), (1, 1));
        record(&plane);
        plane.begin_exposure(&name("shop"), &name("v1"));
        assert_eq!(requests(&mut plane), (1, 0));
        record(&plane);
        plane.steer(&name("shop"), &split(half, false));
        assert_eq!(requests(&mut plane), (1, 0));
        assert_eq!(shop(&plane).split.paths.mask("/a/b"), 1);
    }

    #[test]
    fn a_watched_latency_is_counted_from_then_on() {
        let mut plane = plane();
        record(&plane);
        plane.watch_latencies(&name("shop"), &name("v1"), [4_999, 5_000]);
        record(&plane);
        let mut window = Window::default();
        plane.take(&name("shop"), &name("v1"), &mut window);
        assert_eq!((window.groups[0].timed, window.groups[0].over), (2, [1, 0]));
    }
}
