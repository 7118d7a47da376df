//! What `/metrics` says: the snapshot as Prometheus text format 0.0.4.
//!
//! Labels come from the configuration alone, never from a request, so the number of series is bounded by the file.
//! A class is written once it was seen; `2xx` and `5xx` are always, so that rates work from the first request on.

mod counts;
mod text;

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use meter::{Attempt, Class};

use self::counts::BOUNDS_US;
pub use self::counts::{Histogram, VersionCounts};
use self::text::{Kind, Page};
use crate::plane::{Certificate, ClientTls, EndpointHealth, FailedHandshakes, Names};
use crate::process::{PredecessorView, ProcessView};
use crate::view::{MirrorView, NotCopied, Phase, ServiceSnapshot, Snapshot, VersionView};

/// The content type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The service label of requests that matched none.
const UNMATCHED: &str = "-";

/// Renders everything that a snapshot holds, and what is left in processes that served before this one.
///
/// Histograms are made from finer buckets (at most 0.8 % wide): one that straddles a bound counts as below it, as a
/// latency limit judges it, and a sum takes each latency as the middle of its fine bucket. Latencies above 67 s count
/// as 67 s in the sum.
#[must_use]
pub fn render(snapshot: &Snapshot, process: &ProcessView) -> String {
    let mut page = Page::default();
    counters(&mut page, snapshot);
    spared(&mut page, snapshot);
    histograms(&mut page, snapshot);
    splits(&mut page, snapshot);
    care(&mut page, snapshot);
    copies(&mut page, snapshot);
    rollouts(&mut page, snapshot);
    page.family(
        "tidegate_config_last_reload_success",
        Kind::Gauge,
        "Whether the last reload was taken (1) or changed nothing (0).",
    );
    page.sample("", &[], u8::from(snapshot.last_reload_success));
    page.family(
        "tidegate_journal_writable",
        Kind::Gauge,
        "Whether the journal can be written (1); while it cannot (0) no step forward is taken.",
    );
    page.sample("", &[], u8::from(snapshot.journal_problem.is_none()));
    page.family(
        "tidegate_access_log_dropped_total",
        Kind::Counter,
        "Lines of the access log that were dropped: their target was too slow, or could not be written to.",
    );
    page.sample("", &[], snapshot.log_lines_dropped);
    names(&mut page, &snapshot.names);
    client_tls(&mut page, &snapshot.client_tls);
    predecessors(&mut page, &process.predecessors);
    page.finish()
}

/// Summed up over all of them: the number of a process would be another label after each upgrade.
fn predecessors(page: &mut Page, predecessors: &[PredecessorView]) {
    page.family(
        "tidegate_draining_processes",
        Kind::Gauge,
        "Processes that handed over to this one, or to one before it, and still drain.",
    );
    page.sample("", &[], predecessors.len());
    page.family("tidegate_draining_requests", Kind::Gauge, "Requests and tunnels under way in those processes.");
    let mut there = BTreeMap::new();
    for (service, versions) in predecessors.iter().flat_map(|process| &process.requests) {
        for (version, left) in versions {
            let sum: &mut u64 = there.entry((service.as_str(), version.as_str())).or_default();
            *sum = sum.saturating_add(left.in_flight);
        }
    }
    for ((service, version), in_flight) in there {
        page.sample("", &[("service", service), ("version", version)], in_flight);
    }
}

fn client_tls(page: &mut Page, tls: &ClientTls) {
    page.family(
        "tidegate_certificate_expiry_timestamp_seconds",
        Kind::Gauge,
        "When a certificate that is shown to clients expires, in seconds since 1970.",
    );
    // Two listeners that were written alike, as with port 0, are one series: the earlier end counts.
    let mut ends = BTreeMap::new();
    for Certificate { listener, file, expires } in &tls.certificates {
        ends.entry((listener, file)).and_modify(|end: &mut i64| *end = (*end).min(*expires)).or_insert(*expires);
    }
    for ((listener, file), end) in ends {
        page.sample("", &[("listener", listener), ("certificate", file)], end);
    }
    page.family(
        "tidegate_tls_handshakes_failed_total",
        Kind::Counter,
        "TLS handshakes of clients that failed, by listener and reason.",
    );
    let mut failed = BTreeMap::new();
    for FailedHandshakes { listener, reason, count } in &tls.failed {
        *failed.entry((listener, *reason)).or_insert(0) += count;
    }
    for ((listener, reason), count) in failed {
        page.sample("", &[("listener", listener), ("reason", reason)], count);
    }
}

fn services(snapshot: &Snapshot) -> impl Iterator<Item = (&str, &ServiceSnapshot)> {
    snapshot.services.iter().map(|(name, service)| (name.as_str(), &**service))
}

/// Whether a count is written.
fn is_shown(class: Class, count: u64) -> bool {
    count > 0 || matches!(class, Class::Success | Class::ServerError)
}

fn counters(page: &mut Page, snapshot: &Snapshot) {
    page.family(
        "tidegate_requests_total",
        Kind::Counter,
        "First attempts on the version drawn, by class: what is judged.",
    );
    for (service, it) in services(snapshot) {
        for (version, counts) in &it.counts {
            for (class, count) in Class::ALL.into_iter().zip(counts.judged) {
                if is_shown(class, count) {
                    page.sample("", &[("service", service), ("version", version), ("class", class.label())], count);
                }
            }
        }
    }
    page.family("tidegate_attempts_total", Kind::Counter, "Every attempt on a version, by kind and class.");
    for (service, it) in services(snapshot) {
        for (version, counts) in &it.counts {
            for (kind, of_kind) in Attempt::ALL.into_iter().zip(counts.attempts) {
                for (class, count) in Class::ALL.into_iter().zip(of_kind) {
                    if count > 0 || (kind == Attempt::First && is_shown(class, count)) {
                        let labels = [
                            ("service", service),
                            ("version", version.as_str()),
                            ("kind", kind.label()),
                            ("class", class.label()),
                        ];
                        page.sample("", &labels, count);
                    }
                }
            }
        }
    }
    page.family(
        "tidegate_responses_total",
        Kind::Counter,
        "What clients got, by class; the service - is requests that matched none.",
    );
    for (service, responses) in
        services(snapshot).map(|(name, it)| (name, it.responses)).chain([(UNMATCHED, snapshot.unmatched)])
    {
        for (class, count) in Class::ALL.into_iter().zip(responses) {
            if is_shown(class, count) {
                page.sample("", &[("service", service), ("class", class.label())], count);
            }
        }
    }
}

/// What clients were spared, and what they could not be.
fn spared(page: &mut Page, snapshot: &Snapshot) {
    page.family(
        "tidegate_shield_saves_total",
        Kind::Counter,
        "Requests drawn to a version that stable answered well in its stead.",
    );
    for (service, it) in services(snapshot) {
        for (version, counts) in &it.counts {
            page.sample("", &[("service", service), ("version", version)], counts.saved);
        }
    }
    page.family(
        "tidegate_retry_budget_exhausted_total",
        Kind::Counter,
        "Failures that were passed on because the budget for retries was used up.",
    );
    for (service, it) in services(snapshot) {
        page.sample("", &[("service", service)], it.refused_retries);
    }
}

fn histograms(page: &mut Page, snapshot: &Snapshot) {
    page.family(
        "tidegate_request_duration_seconds",
        Kind::Histogram,
        "Whole requests drawn to a version, from their head to their last byte.",
    );
    for (service, it) in services(snapshot) {
        for (version, counts) in &it.counts {
            histogram(page, service, version, &counts.duration);
        }
    }
    page.family("tidegate_time_to_first_byte_seconds", Kind::Histogram, "Judged latency: from a ready upstream connection to the response head, or to the failure or the client's leaving before it.");
    for (service, it) in services(snapshot) {
        for (version, counts) in &it.counts {
            histogram(page, service, version, &counts.first_byte);
        }
    }
}

/// One version's histogram.
fn histogram(page: &mut Page, service: &str, version: &str, histogram: &Histogram) {
    let Histogram { in_bucket, sum_us } = histogram;
    let mut below = 0;
    for (count, bound) in in_bucket.iter().zip(BOUNDS_US) {
        below += count;
        let le = (bound as f64 / 1e6).to_string();
        page.sample("_bucket", &[("service", service), ("version", version), ("le", &le)], below);
    }
    let total: u64 = in_bucket.iter().sum();
    page.sample("_bucket", &[("service", service), ("version", version), ("le", "+Inf")], total);
    page.sample("_sum", &[("service", service), ("version", version)], sum_us / 1e6);
    page.sample("_count", &[("service", service), ("version", version)], total);
}

fn splits(page: &mut Page, snapshot: &Snapshot) {
    page.family("tidegate_weight_basis_points", Kind::Gauge, "A version's weight in force; 10000 is all traffic.");
    for (service, it) in services(snapshot) {
        for version in &it.view.versions {
            page.sample("", &[("service", service), ("version", &version.name)], version.weight);
        }
    }
    page.family(
        "tidegate_match_in_force",
        Kind::Gauge,
        "Whether a plan gives people to the canary whatever its weight (1), or its weight alone decides (0).",
    );
    for (service, it) in services(snapshot) {
        let matches = it.view.rollout.as_ref().is_some_and(|rollout| rollout.matching.is_some());
        page.sample("", &[("service", service)], u8::from(matches));
    }
    page.family("tidegate_generation", Kind::Gauge, "Counts changes of a service's split or configuration.");
    for (service, it) in services(snapshot) {
        page.sample("", &[("service", service)], it.view.generation);
    }
    page.family(
        "tidegate_endpoint_healthy",
        Kind::Gauge,
        "Whether an endpoint is well: 0 while it is down, unhealthy or ejected; of a name, while any of its addresses is.",
    );
    for (service, it) in services(snapshot) {
        for version in &it.view.versions {
            for (endpoint, written) in by_endpoint(version) {
                let labels = [("service", service), ("version", &version.name), ("endpoint", endpoint)];
                page.sample("", &labels, u8::from(written.is_well));
            }
        }
    }
    page.family(
        "tidegate_endpoint_addresses",
        Kind::Gauge,
        "The addresses of an endpoint that is written with a name, by how they do.",
    );
    for (service, it) in services(snapshot) {
        for version in &it.view.versions {
            for (endpoint, written) in by_endpoint(version).into_iter().filter(|(_, written)| written.is_a_name) {
                for (state, count) in written.addresses {
                    let labels = [("endpoint", endpoint), ("state", state.word())];
                    page.sample("", &[("service", service), ("version", &version.name), labels[0], labels[1]], count);
                }
            }
        }
    }
}

/// An endpoint as it is written, which is several where it is written with a name.
struct Written {
    is_a_name: bool,
    /// Whether all of its addresses are.
    is_well: bool,
    /// How many of them are in which state.
    addresses: [(EndpointHealth, u64); EndpointHealth::ALL.len()],
}

/// The endpoints of a version, told apart as they are written: so the series are those of the configuration, whatever
/// names resolve to.
fn by_endpoint(version: &VersionView) -> BTreeMap<&str, Written> {
    let mut all: BTreeMap<&str, Written> = BTreeMap::new();
    for endpoint in &version.endpoints {
        let written = all.entry(endpoint.address.as_str()).or_insert_with(|| Written {
            is_a_name: endpoint.resolved.is_some(),
            is_well: true,
            addresses: EndpointHealth::ALL.map(|state| (state, 0)),
        });
        written.is_well &= endpoint.healthy;
        for (state, count) in &mut written.addresses {
            *count += u64::from(*state == endpoint.state);
        }
    }
    all
}

fn names(page: &mut Page, names: &Names) {
    page.family("tidegate_dns_resolutions_total", Kind::Counter, "Names of endpoints that were resolved, by result.");
    for (result, count) in &names.resolutions {
        page.sample("", &[("result", result)], count);
    }
    page.family("tidegate_dns_name_failing", Kind::Gauge, "1 while a name of endpoints does not resolve.");
    for (name, state) in &names.known {
        page.sample("", &[("name", name)], u8::from(state.failing.is_some()));
    }
    page.family(
        "tidegate_dns_last_answer_timestamp_seconds",
        Kind::Gauge,
        "When a name of endpoints was last resolved, in seconds since 1970; 0: not since the start.",
    );
    for (name, state) in &names.known {
        let at = state.answered.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs());
        page.sample("", &[("name", name)], at);
    }
}

fn care(page: &mut Page, snapshot: &Snapshot) {
    let versions =
        || services(snapshot).flat_map(|(service, it)| it.view.versions.iter().map(move |version| (service, version)));
    page.family(
        "tidegate_panic",
        Kind::Gauge,
        "1 while fewer than half of a version's endpoints are well, so that health checks and ejections are ignored.",
    );
    for (service, version) in versions() {
        page.sample("", &[("service", service), ("version", &version.name)], u8::from(version.panic));
    }
    page.family("tidegate_ejections_total", Kind::Counter, "Endpoints that were ejected for what became of requests.");
    for (service, version) in versions() {
        page.sample("", &[("service", service), ("version", &version.name)], version.ejections);
    }
    page.family(
        "tidegate_overflows_total",
        Kind::Counter,
        "Requests that found no room: as many were under way as the version's limits allow.",
    );
    for (service, version) in versions() {
        page.sample("", &[("service", service), ("version", &version.name)], version.overflows);
    }
    page.family(
        "tidegate_malformed_responses_total",
        Kind::Counter,
        "Responses of endpoints over HTTP/1.1 that were not what HTTP says, by where that showed.",
    );
    for (service, version) in versions() {
        for (reason, count) in version.malformed_responses.by_reason() {
            page.sample("", &[("service", service), ("version", &version.name), ("reason", reason)], count);
        }
    }
    page.family("tidegate_health_checks_total", Kind::Counter, "Health checks of endpoints, by result.");
    for (service, version) in versions() {
        let Some(checks) = version.health_checks else { continue };
        for (result, count) in [("passed", checks.passed), ("failed", checks.failed)] {
            page.sample("", &[("service", service), ("version", &version.name), ("result", result)], count);
        }
    }
}

/// Copies of requests, and connections that last.
fn copies(page: &mut Page, snapshot: &Snapshot) {
    let versions =
        || services(snapshot).flat_map(|(service, it)| it.view.versions.iter().map(move |version| (service, version)));
    let mirrored = || versions().filter_map(|(service, version)| Some((service, version, version.mirror.as_ref()?)));
    page.family(
        "tidegate_mirror_requests_total",
        Kind::Counter,
        "Copies of requests that a version was sent: sent, answered in time, ended (it is known what became of both), compared.",
    );
    for (service, version, it) in mirrored() {
        let MirrorView { sent, answered, ended, compared, .. } = *it;
        for (stage, count) in [("sent", sent), ("answered", answered), ("ended", ended), ("compared", compared)] {
            page.sample("", &[("service", service), ("version", &version.name), ("stage", stage)], count);
        }
    }
    page.family(
        "tidegate_mirror_differences_total",
        Kind::Counter,
        "Copies whose answer differed from stable's: failed (where stable did not), status, body; both_failed beside them.",
    );
    for (service, version, it) in mirrored() {
        let MirrorView { failed, both_failed, status, body, .. } = *it;
        for (part, count) in [("failed", failed), ("status", status), ("body", body), ("both_failed", both_failed)] {
            page.sample("", &[("service", service), ("version", &version.name), ("difference", part)], count);
        }
    }
    page.family(
        "tidegate_mirror_unsent_total",
        Kind::Counter,
        "Requests that were to be copied and were not, by reason.",
    );
    for (service, version, it) in mirrored() {
        let NotCopied { full, too_large, streamed, method, conditional } = it.not_copied;
        let reasons = [("full", full), ("too_large", too_large), ("streamed", streamed), ("method", method)];
        for (reason, count) in reasons.into_iter().chain([("conditional", conditional)]) {
            page.sample("", &[("service", service), ("version", &version.name), ("reason", reason)], count);
        }
    }
    page.family(
        "tidegate_mirror_share_basis_points",
        Kind::Gauge,
        "The share of stable's requests that the canary gets copies of; 0 while it gets none.",
    );
    for (service, it) in services(snapshot) {
        let share = it.view.rollout.as_ref().and_then(|rollout| rollout.mirror).unwrap_or(0);
        page.sample("", &[("service", service)], share);
    }
    page.family("tidegate_long_lived", Kind::Gauge, "Connections that last (WebSocket, streams) at a version now.");
    for (service, version) in versions() {
        page.sample("", &[("service", service), ("version", &version.name)], version.long_lived);
    }
    page.family(
        "tidegate_long_lived_ended_total",
        Kind::Counter,
        "Connections that last and were ended, since their version had left and their time was over.",
    );
    for (service, version) in versions() {
        page.sample("", &[("service", service), ("version", &version.name)], version.long_lived_ended);
    }
}

fn rollouts(page: &mut Page, snapshot: &Snapshot) {
    page.family("tidegate_rollout_phase", Kind::Gauge, "1 for the phase of the latest rollout, 0 for the others.");
    for (service, it) in services(snapshot) {
        let phase = it.view.rollout.as_ref().map(|rollout| rollout.phase);
        for other in Phase::ALL {
            page.sample("", &[("service", service), ("phase", other.word())], u8::from(phase == Some(other)));
        }
    }
    page.family(
        "tidegate_gate_log_evidence",
        Kind::Gauge,
        "A gate's evidence for harm, in nats; none before its first batch.",
    );
    for (service, it) in services(snapshot) {
        for gate in it.view.rollout.iter().flat_map(|rollout| &rollout.gates) {
            if let Some(evidence) = gate.log_evidence {
                page.sample("", &[("service", service), ("gate", &gate.name)], evidence);
            }
        }
    }
    page.family(
        "tidegate_dry_run_rollbacks",
        Kind::Gauge,
        "How often the latest rollout, a dry run, would have been rolled back; none for other rollouts.",
    );
    for (service, it) in services(snapshot) {
        if let Some(rollout) = it.view.rollout.as_ref().filter(|rollout| rollout.dry_run) {
            page.sample("", &[("service", service)], rollout.would_have_rolled_back);
        }
    }
    page.family("tidegate_rollouts_total", Kind::Counter, "Ended rollouts, by outcome.");
    for (service, it) in services(snapshot) {
        for outcome in Phase::ALL.into_iter().filter(|phase| phase.has_ended()) {
            let count = it.outcomes.get(&outcome).copied().unwrap_or(0);
            page.sample("", &[("service", service), ("outcome", outcome.word())], count);
        }
    }
}

#[cfg(test)]
mod tests;
