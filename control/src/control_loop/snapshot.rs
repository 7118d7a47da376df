//! What people see: built from the releases and the data plane, and published.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use config::{Endpoint, Name, Service, Weight};
use jiff::Timestamp;
use meter::{Attempt, MirrorCounts, Unsent};

use super::Now;
use super::core::ControlCore;
use super::figures::Shown;
use super::readiness::overfull;
use super::served::Served;
use crate::plane::{DataPlane, EndpointHealth, MirrorSample, NameFailing, NameState, Names};
use crate::view::{
    EndpointView, MirrorSampleView, MirrorView, NameView, NotCopied, ServiceSnapshot, ServiceView, Snapshot,
    VersionView,
};

impl ControlCore {
    /// Publishes what changed; everything, where a second is over.
    pub(super) fn publish(&mut self, now: Now, all: bool) {
        if all {
            self.client_tls = Arc::new(self.plane.client_tls());
            self.names = Arc::new(self.plane.names());
        }
        let due: Vec<Name> =
            self.services.iter().filter(|(_, served)| all || served.changed).map(|(name, _)| name.clone()).collect();
        if due.is_empty() && self.cached.len() == self.services.len() && self.snapshot_is_current() {
            return;
        }
        for name in due {
            self.rebuild(now, &name);
        }
        self.publish_cached();
    }

    fn rebuild(&mut self, now: Now, name: &Name) {
        if let Some(built) = of_service(self, now, name) {
            self.cached.insert(name.to_string(), Arc::new(built));
        }
        if let Some(served) = self.services.get_mut(name) {
            served.changed = false;
        }
    }

    fn snapshot_is_current(&self) -> bool {
        let current = self.snapshot.load();
        current.last_reload_success == self.last_reload_success
            && current.journal_problem.as_deref() == self.link.problem().map(|problem| &**problem)
    }

    fn publish_cached(&mut self) {
        self.snapshot.store(Arc::new(Snapshot {
            services: self.cached.clone(),
            unmatched: self.plane.responses(None),
            last_reload_success: self.last_reload_success,
            journal_problem: self.link.problem().map(ToString::to_string),
            log_lines_dropped: self.plane.log_lines_dropped(),
            client_tls: Arc::clone(&self.client_tls),
            names: Arc::clone(&self.names),
            ready: true,
        }));
    }
}

/// A service's part of the snapshot; none where there is no such service.
pub(super) fn of_service(core: &ControlCore, now: Now, name: &Name) -> Option<ServiceSnapshot> {
    let served = core.services.get(name)?;
    let view = view_of(core, now, name)?;
    let state = served.release.state();
    Some(ServiceSnapshot {
        view,
        counts: served.counts.clone(),
        responses: core.plane.responses(Some(name)),
        refused_retries: core.plane.refused_retries(name),
        outcomes: state.outcomes.clone(),
        history: state.history.clone(),
    })
}

/// A service as people see it; none where there is no such service.
pub(super) fn view_of(core: &ControlCore, now: Now, name: &Name) -> Option<ServiceView> {
    let served = core.services.get(name)?;
    let (release, state) = (&served.release, served.release.state());
    let mut rollout = release.rollout_view(&core.moment(now));
    let estimates = match &mut rollout {
        Some(running) if !running.phase.has_ended() => {
            served.estimates.shown().clone_into(&mut running.estimates);
            Vec::new()
        }
        Some(_) | None => served.estimates.shown().to_vec(),
    };
    let canary = state.running().map(|rollout| &rollout.canary).or(state.canary.as_ref().map(|(canary, _)| canary));
    let weight = canary.map_or(Weight::ZERO, |canary| state.weight_of(canary));
    let plane = core.plane.as_ref();
    let version = |version: &config::Version| {
        let name = &version.name;
        let (names, leaving) = (names_of(version, &core.names), served.leaving.view(name, now.elapsed));
        VersionView { names, leaving, ..version_view(plane, served, name, state.share_of(name)) }
    };
    let mut warnings = core.warnings.clone();
    warnings.extend(core.client_tls.warnings.iter().cloned());
    warnings.extend(release.warnings().iter().cloned());
    warnings.extend(warnings_now(core, served, release.service()));
    warnings.extend(unresolved(release.service(), &core.names));
    Some(ServiceView {
        service: name.to_string(),
        stable: state.stable.to_string(),
        canary: canary.map(ToString::to_string),
        weight: weight.basis_points(),
        generation: state.generation,
        versions: release.service().versions.iter().map(version).collect(),
        rollout,
        differs_from_file: release.differs_from_file(),
        warnings,
        estimates,
    })
}

fn warnings_now(core: &ControlCore, served: &Served, service: &Service) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(problem) = core.link.problem() {
        warnings.push(format!("the journal cannot be written, so no step forward is taken: {problem}"));
    }
    if let Some(unsaved) = core.link.unsaved().filter(|_| served.judged.is_some()) {
        warnings.push(unsaved);
    }
    warnings.extend(core.link.unsaved_background());
    warnings.extend(served.lost.clone());
    warnings.extend(overfull(served));
    let stable = &served.release.state().stable;
    warnings.extend(served.ill_stable(core.plane.as_ref()).and_then(|ill| ill.of_stable(stable)));
    let plan = served.release.state().running().map_or(&service.plan, |rollout| &rollout.plan);
    if plan.gates.is_empty() {
        warnings.push("the plan has no gates: only the circuit breaker watches a rollout".to_owned());
    }
    warnings
}

fn version_view(plane: &dyn DataPlane, served: &Served, version: &Name, weight: Weight) -> VersionView {
    let service = &served.release.service().name;
    let (mut requests, mut failed, mut saved, mut retried) = (0, 0, 0, 0);
    plane.tally(service, version, &mut |tally| {
        (requests, failed, saved) = (tally.requests(), tally.bad(), tally.saved);
        retried = tally.attempts[Attempt::Retry as usize].iter().sum();
    });
    let shown = served.figures.get(version).map_or(Shown::default(), super::figures::Figures::shown);
    let endpoint = |endpoint: crate::plane::EndpointState| EndpointView {
        address: endpoint.endpoint.to_string(),
        resolved: endpoint.resolved.map(|address| address.to_string()),
        healthy: endpoint.health == EndpointHealth::Well,
        state: endpoint.health,
        reason: endpoint.reason,
        since: endpoint.since.and_then(moment),
        next_try: endpoint.next_try.and_then(moment),
        share: endpoint.share,
        in_flight: endpoint.in_flight,
    };
    let care = plane.care(service, version);
    VersionView {
        name: version.to_string(),
        weight: weight.basis_points(),
        endpoints: plane.endpoints(service, version).into_iter().map(endpoint).collect(),
        in_flight: plane.in_flight(service, version),
        requests,
        failed,
        saved,
        retried,
        requests_per_second: shown.requests_per_second,
        error_rate: shown.error_rate,
        latency_p50_ms: shown.p50_ms,
        latency_p99_ms: shown.p99_ms,
        panic: care.panic,
        ejections: care.ejections,
        overflows: care.overflows,
        malformed_responses: care.malformed,
        health_checks: care.checks,
        names: Vec::new(),
        mirror: mirror_view(plane, service, version),
        long_lived: plane.lasting(service, version),
        long_lived_ended: plane.ended_lasting(service, version),
        leaving: None,
    }
}

/// The names among a version's endpoints, each once, in the order of the file.
fn names_of(version: &config::Version, names: &Names) -> Vec<NameView> {
    let mut seen = HashSet::new();
    let hosts = version.endpoints.iter().filter_map(Endpoint::name).filter(|host| seen.insert(*host));
    let view = |host: &str| {
        let NameState { addresses, answered, failing } = names.known.get(host)?;
        Some(NameView {
            name: host.to_owned(),
            addresses: addresses.iter().map(ToString::to_string).collect(),
            answered_at: answered.and_then(moment),
            problem: failing.as_ref().map(|failing| failing.reason.to_string()),
            failing_since: failing.as_ref().and_then(|failing| moment(failing.since)),
        })
    };
    hosts.filter_map(view).collect()
}

/// A warning where names of a service are not resolved now; one for all, since what is wrong is seldom wrong with one.
fn unresolved(service: &Service, names: &Names) -> Option<String> {
    let endpoints = service.versions.iter().flat_map(|version| &version.endpoints);
    let hosts: BTreeSet<&str> = endpoints.filter_map(Endpoint::name).collect();
    let known = hosts.iter().filter_map(|host| Some((*host, names.known.get(*host)?)));
    let failing: Vec<_> = known.filter_map(|(host, name)| Some((host, name, name.failing.as_ref()?))).collect();
    // One without an address is worse.
    let worst = failing.iter().find(|(_, name, _)| name.addresses.is_empty()).or(failing.first())?;
    let (first, name, NameFailing { reason, since }) = worst;
    let since = moment(*since).map_or_else(String::new, |since| format!(" since {since}"));
    let others = match failing.len() - 1 {
        0 => String::new(),
        1 => ", nor does one more name".to_owned(),
        more => format!(", nor do {more} more names"),
    };
    let then = if name.addresses.is_empty() {
        "nothing is sent there until it does"
    } else {
        "the last addresses stay in use"
    };
    Some(format!("the name {first} does not resolve{since} ({reason}){others}; {then}"))
}

/// What became of the copies that a version was sent; none where it never was to get any.
fn mirror_view(plane: &dyn DataPlane, service: &Name, version: &Name) -> Option<MirrorView> {
    let counts = plane.mirrored(service, version);
    if counts == MirrorCounts::default() {
        return None;
    }
    let MirrorCounts { sent, answered, ended, compared, status, body, failed, both_failed, unsent: _ } = counts;
    let not_copied = NotCopied {
        full: counts.unsent(Unsent::Full),
        too_large: counts.unsent(Unsent::TooLarge),
        streamed: counts.unsent(Unsent::Streamed),
        method: counts.unsent(Unsent::Method),
        conditional: counts.unsent(Unsent::Conditional),
    };
    let sample = |sample: MirrorSample| MirrorSampleView {
        at: moment(sample.at).unwrap_or_default(),
        differs_in: sample.part.word().to_owned(),
        method: sample.method,
        path: sample.path,
        stable: sample.stable,
        canary: sample.canary,
    };
    let samples = plane.mirror_samples(service, version).into_iter().map(sample).collect();
    Some(MirrorView { sent, answered, ended, compared, failed, both_failed, status, body, not_copied, samples })
}

/// In RFC 3339, to the millisecond.
fn moment(time: SystemTime) -> Option<String> {
    let time = Timestamp::try_from(time).ok()?;
    Timestamp::from_millisecond(time.as_millisecond()).ok().map(|time| time.to_string())
}
