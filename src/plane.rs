//! The live data plane as the control plane sees it. The two meet here and nowhere else.

use std::collections::HashMap;
use std::time::Instant;

use config::Name;
use control::plane::{DataPlane, EndpointState, Resolved, Split};
use meter::{Class, Tally, VersionMeter, Window};
use proxy::Publisher;
use proxy::routing::{Baseline, Wanted};

/// The proxy's publisher and meters, behind the trait that control asks for.
#[derive(Debug)]
pub struct LivePlane {
    publisher: Publisher,
}

impl LivePlane {
    /// Steers what `publisher` publishes.
    #[must_use]
    pub const fn new(publisher: Publisher) -> Self {
        Self { publisher }
    }

    fn meter<T>(&self, service: &Name, version: &Name, read: impl FnOnce(&VersionMeter) -> T) -> Option<T> {
        let routing = self.publisher.shared().load_full();
        let version = routing.service(service)?.version(version)?;
        Some(read(&version.meter))
    }
}

fn wanted(split: &Split) -> Wanted<'_> {
    Wanted {
        stable: &split.stable,
        canary: split.canary.as_ref().map(|(canary, weight)| (canary, *weight)),
        baseline: split.baseline.as_ref().map(|(baseline, weight)| (baseline, *weight)),
        paths: &split.paths,
        generation: split.generation,
    }
}

impl DataPlane for LivePlane {
    fn install(&mut self, resolved: &Resolved, splits: &HashMap<Name, Split>) {
        #[expect(clippy::disallowed_methods, reason = "the executable is a shell: endpoints begin their lives now")]
        let now = Instant::now();
        let split_of = |service: &Name| splits.get(service).map(wanted);
        self.publisher.install(&resolved.configuration, &resolved.addresses, split_of, now);
    }

    fn steer(&mut self, service: &Name, split: &Split) {
        self.publisher.steer(service, &wanted(split));
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

    fn in_flight(&self, service: &Name, version: &Name) -> u64 {
        self.meter(service, version, VersionMeter::in_flight).unwrap_or_default()
    }

    fn endpoints(&self, service: &Name, version: &Name) -> Vec<EndpointState> {
        let routing = self.publisher.shared().load_full();
        let Some(version) = routing.service(service).and_then(|service| service.version(version)) else {
            return Vec::new();
        };
        let state = |endpoint: &std::sync::Arc<proxy::endpoint::Endpoint>| EndpointState {
            endpoint: endpoint.written.clone(),
            healthy: endpoint.is_up(),
            in_flight: endpoint.in_flight(),
        };
        version.endpoints.iter().map(state).collect()
    }
}
