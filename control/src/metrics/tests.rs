//! Reads the page back with a strict parser.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use meter::Tally;

use super::*;
use crate::plane::{CheckCounts, MalformedCounts, NameFailing, NameState};
use crate::process::VersionLeft;
use crate::view::{
    Arms, EndpointView, GateView, Matched, MirrorView, NotCopied, Role, RolloutView, ServiceView, Verdict, VersionView,
};

/// A sample's labels and value.
type Sample = (BTreeMap<String, String>, f64);

/// A page as a strict reader takes it: families by name, each with its type and its samples by full name.
#[derive(Debug, Default)]
struct Parsed {
    kinds: BTreeMap<String, String>,
    samples: BTreeMap<String, Vec<Sample>>,
}

impl Parsed {
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted: BTreeMap<String, String> = labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let found: Vec<f64> = self.samples.get(name)?.iter().filter(|(l, _)| *l == wanted).map(|(_, v)| *v).collect();
        assert!(found.len() <= 1, "{name}{labels:?} is there twice");
        found.first().copied()
    }
}

fn parse(text: &str) -> Parsed {
    assert!(text.ends_with('\n'));
    let mut parsed = Parsed::default();
    let (mut helped, mut current) = (BTreeSet::new(), String::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(helped.insert(name.to_owned()), "{name} has HELP twice");
            assert!(!help.is_empty());
            current = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current, "TYPE follows HELP of its family");
            assert!(["counter", "gauge", "histogram"].contains(&kind));
            assert!(parsed.kinds.insert(name.into(), kind.into()).is_none(), "{name} has TYPE twice");
        } else {
            let (name, labels, value) = sample(line);
            let histogram = parsed.kinds[&current] == "histogram";
            let of_family = name == current
                || (histogram && ["_bucket", "_sum", "_count"].iter().any(|s| name == format!("{current}{s}")));
            assert!(of_family, "{line} is not within its family");
            let others = parsed.samples.entry(name).or_default();
            assert!(others.iter().all(|(other, _)| *other != labels), "{line} is there twice");
            others.push((labels, value));
        }
    }
    parsed
}

fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let is_name = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let Some((name, rest)) = line.split_once('{') else {
        let (name, value) = line.split_once(' ').unwrap();
        assert!(is_name(name), "{line}");
        return (name.into(), BTreeMap::new(), value.parse().unwrap());
    };
    assert!(is_name(name), "{line}");
    let (mut labels, mut rest) = (BTreeMap::new(), rest);
    loop {
        let (label, after) = rest.split_once("=\"").unwrap();
        assert!(is_name(label), "{line}");
        let (mut value, mut chars) = (String::new(), after.chars());
        loop {
            match chars.next().unwrap() {
                '"' => break,
                '\\' => value.push(match chars.next().unwrap() {
                    'n' => '\n',
                    plain @ ('\\' | '"') => plain,
                    other => panic!("\\{other} is no escape"),
                }),
                plain => value.push(plain),
            }
        }
        assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
        rest = chars.as_str();
        match rest.split_at(1) {
            (",", after) => rest = after,
            ("}", after) => return (name.into(), labels, after.strip_prefix(' ').unwrap().parse().unwrap()),
            _ => panic!("{line}"),
        }
    }
}

fn tally() -> Tally {
    let mut tally = Tally::default();
    tally.judged[Class::Success as usize] = 90;
    tally.judged[Class::Timeout as usize] = 3;
    tally.attempts[Attempt::First as usize][Class::Success as usize] = 91;
    tally.attempts[Attempt::Retry as usize][Class::Reset as usize] = 2;
    [800, 900, 40_000, 90_000_000].iter().for_each(|us| tally.latency_good.record_us(*us));
    tally.latency_bad.record_us(1_900_000);
    tally.duration.record_us(7_000);
    tally.saved = 3;
    tally
}

fn version(name: &str, weight: u16) -> VersionView {
    VersionView {
        name: name.into(),
        weight,
        endpoints: vec![EndpointView { healthy: name == "v1", ..EndpointView::well("127.0.0.1:9001".into()) }],
        in_flight: 0,
        requests: 0,
        failed: 0,
        saved: 0,
        retried: 0,
        requests_per_second: 0.0,
        error_rate: None,
        latency_p50_ms: None,
        latency_p99_ms: None,
        panic: name == "v2",
        ejections: u64::from(weight),
        overflows: u64::from(weight) + 1,
        malformed_responses: MalformedCounts { framing: u64::from(weight) + 2, ..MalformedCounts::default() },
        health_checks: (name == "v1").then_some(CheckCounts { passed: 7, failed: 2 }),
        names: Vec::new(),
        mirror: (name == "v2").then(|| MirrorView {
            sent: 50,
            compared: 40,
            status: 3,
            not_copied: NotCopied { method: 8, ..NotCopied::default() },
            ..MirrorView::default()
        }),
        long_lived: u64::from(weight) + 2,
        long_lived_ended: u64::from(weight) + 3,
        leaving: None,
    }
}

fn rollout() -> RolloutView {
    let gate = |name: &str, log_evidence| GateView {
        path: None,
        proof: None,
        counts: None,
        estimate: None,
        ratio: None,
        name: name.into(),
        role: Role::Guardrail,
        verdict: Verdict::Inconclusive,
        log_evidence,
        threshold: 4.7,
        progress: 0.0,
        explain: String::new(),
    };
    RolloutView {
        baseline: None,
        dry_run: false,
        would_have_rolled_back: 0,
        dispersion: None,
        estimates: Vec::new(),
        id: "01J".into(),
        service: "shop".into(),
        stable: "v1".into(),
        canary: "v2".into(),
        plan: "default".into(),
        phase: Phase::Paused,
        reason: None,
        step: 1,
        steps: 4,
        weight: 500,
        generation: 42,
        started_at: String::new(),
        ended_at: None,
        step_elapsed_s: 0.0,
        step_hold_s: None,
        requests: Arms::default(),
        failed: Arms::default(),
        matching: None,
        matched: Matched::default(),
        mirror: None,
        copies: None,
        gates: vec![gate("errors", Some(-0.25)), gate("latency", None)],
    }
}

/// Two listeners that were written alike, with the same certificate, of which one has not seen its renewal yet.
fn client_tls() -> ClientTls {
    let certificate = |expires| Certificate { listener: "0.0.0.0:443".into(), file: "shop.pem".into(), expires };
    let failed = |reason, count| FailedHandshakes { listener: "0.0.0.0:443".into(), reason, count };
    ClientTls {
        certificates: vec![certificate(1_800_000_000), certificate(1_790_000_000)],
        failed: vec![failed("version", 2), failed("timeout", 5), failed("version", 1)],
        warnings: Vec::new(),
    }
}

fn snapshot() -> Snapshot {
    let view = ServiceView {
        service: "shop".into(),
        stable: "v1".into(),
        canary: Some("v2".into()),
        weight: 500,
        generation: 42,
        versions: vec![version("v1", 9_500), version("v2", 500)],
        rollout: Some(rollout()),
        differs_from_file: Vec::new(),
        warnings: Vec::new(),
        estimates: Vec::new(),
    };
    let mut responses = [0; Class::ALL.len()];
    responses[Class::Local as usize] = 5;
    let service = ServiceSnapshot {
        view,
        refused_retries: 7,
        counts: [("v1".to_owned(), Arc::new(VersionCounts::of(&tally()))), ("v2".to_owned(), Arc::default())].into(),
        responses,
        outcomes: [(Phase::RolledBack, 2)].into(),
        history: Vec::new(),
    };
    Snapshot {
        services: [("shop".to_owned(), Arc::new(service))].into(),
        last_reload_success: true,
        log_lines_dropped: 17,
        client_tls: Arc::new(client_tls()),
        ..Snapshot::default()
    }
}

/// A name with three addresses, of which one is down.
#[test]
fn a_name_is_one_endpoint_whatever_it_resolves_to() {
    let mut snapshot = snapshot();
    let shop = Arc::get_mut(snapshot.services.get_mut("shop").unwrap()).unwrap();
    let at = |last: u8| EndpointView {
        resolved: Some(format!("10.0.0.{last}:80")),
        ..EndpointView::well("shop.internal:80".into())
    };
    let down = EndpointView { healthy: false, state: EndpointHealth::Down, ..at(2) };
    shop.view.versions[0].endpoints.extend([at(1), down, at(3)]);
    let answered = Some(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let failing = NameFailing { reason: "late".into(), since: UNIX_EPOCH };
    let known = [
        ("shop.internal".into(), NameState { addresses: Arc::from([]), answered, failing: None }),
        ("kept.internal".into(), NameState { addresses: Arc::from([]), answered: None, failing: Some(failing) }),
    ];
    snapshot.names = Arc::new(Names { resolutions: vec![("answered", 7), ("timeout", 2)], known: known.into() });
    let page = parse(&render(&snapshot, &ProcessView::default()));
    let labels = |state| [("service", "shop"), ("version", "v1"), ("endpoint", "shop.internal:80"), ("state", state)];
    let name = |name| [("name", name)];
    let last = "tidegate_dns_last_answer_timestamp_seconds";
    let values = [
        (page.value("tidegate_endpoint_healthy", &labels("")[..3]), Some(0.0)),
        (page.value("tidegate_endpoint_addresses", &labels("well")), Some(2.0)),
        (page.value("tidegate_endpoint_addresses", &labels("down")), Some(1.0)),
        (page.value("tidegate_endpoint_addresses", &labels("ejected")), Some(0.0)),
        (page.value("tidegate_dns_resolutions_total", &[("result", "answered")]), Some(7.0)),
        (page.value("tidegate_dns_resolutions_total", &[("result", "timeout")]), Some(2.0)),
        (page.value("tidegate_dns_name_failing", &name("shop.internal")), Some(0.0)),
        (page.value("tidegate_dns_name_failing", &name("kept.internal")), Some(1.0)),
        (page.value(last, &name("shop.internal")), Some(1_800_000_000.0)),
        (page.value(last, &name("kept.internal")), Some(0.0)),
    ];
    for (place, (found, wanted)) in values.iter().enumerate() {
        assert_eq!(found, wanted, "value {place}");
    }
}

#[test]
fn every_family_of_a_service_is_there_with_its_figures() {
    let page = parse(&render(&snapshot(), &ProcessView::default()));
    let v1 = [("service", "shop"), ("version", "v1")];
    let of_class = |class| [v1[0], v1[1], ("class", class)];
    let of_attempt = |kind, class| [v1[0], v1[1], ("kind", kind), ("class", class)];
    let values = [
        (page.value("tidegate_requests_total", &of_class("2xx")), Some(90.0)),
        (page.value("tidegate_requests_total", &of_class("timeout")), Some(3.0)),
        (page.value("tidegate_requests_total", &of_class("5xx")), Some(0.0)),
        (page.value("tidegate_requests_total", &of_class("4xx")), None),
        (page.value("tidegate_attempts_total", &of_attempt("first", "2xx")), Some(91.0)),
        (page.value("tidegate_attempts_total", &of_attempt("retry", "reset")), Some(2.0)),
        (page.value("tidegate_responses_total", &[("service", "shop"), ("class", "local")]), Some(5.0)),
        (page.value("tidegate_shield_saves_total", &v1), Some(3.0)),
        (page.value("tidegate_retry_budget_exhausted_total", &v1[..1]), Some(7.0)),
        (page.value("tidegate_responses_total", &[("service", "-"), ("class", "5xx")]), Some(0.0)),
        (page.value("tidegate_weight_basis_points", &v1), Some(9_500.0)),
        (page.value("tidegate_generation", &v1[..1]), Some(42.0)),
        (page.value("tidegate_rollout_phase", &[v1[0], ("phase", "paused")]), Some(1.0)),
        (page.value("tidegate_rollout_phase", &[v1[0], ("phase", "progressing")]), Some(0.0)),
        (page.value("tidegate_gate_log_evidence", &[v1[0], ("gate", "errors")]), Some(-0.25)),
        (page.value("tidegate_gate_log_evidence", &[v1[0], ("gate", "latency")]), None),
        (page.value("tidegate_rollouts_total", &[v1[0], ("outcome", "rolled-back")]), Some(2.0)),
        (page.value("tidegate_rollouts_total", &[v1[0], ("outcome", "promoted")]), Some(0.0)),
        (page.value("tidegate_endpoint_healthy", &[v1[0], v1[1], ("endpoint", "127.0.0.1:9001")]), Some(1.0)),
        (page.value("tidegate_panic", &v1), Some(0.0)),
        (page.value("tidegate_panic", &[v1[0], ("version", "v2")]), Some(1.0)),
        (page.value("tidegate_ejections_total", &v1), Some(9_500.0)),
        (page.value("tidegate_overflows_total", &v1), Some(9_501.0)),
        (page.value("tidegate_malformed_responses_total", &[v1[0], v1[1], ("reason", "framing")]), Some(9_502.0)),
        (page.value("tidegate_malformed_responses_total", &[v1[0], v1[1], ("reason", "chunks")]), Some(0.0)),
        (page.value("tidegate_health_checks_total", &[v1[0], v1[1], ("result", "passed")]), Some(7.0)),
        (page.value("tidegate_health_checks_total", &[v1[0], v1[1], ("result", "failed")]), Some(2.0)),
        (page.value("tidegate_health_checks_total", &[v1[0], ("version", "v2"), ("result", "failed")]), None),
        (page.value("tidegate_long_lived", &v1), Some(9_502.0)),
        (page.value("tidegate_long_lived_ended_total", &v1), Some(9_503.0)),
        (page.value("tidegate_mirror_requests_total", &[v1[0], ("version", "v2"), ("stage", "compared")]), Some(40.0)),
        (page.value("tidegate_mirror_requests_total", &[v1[0], v1[1], ("stage", "sent")]), None),
        (
            page.value("tidegate_mirror_differences_total", &[v1[0], ("version", "v2"), ("difference", "status")]),
            Some(3.0),
        ),
        (page.value("tidegate_mirror_unsent_total", &[v1[0], ("version", "v2"), ("reason", "method")]), Some(8.0)),
        (page.value("tidegate_mirror_share_basis_points", &v1[..1]), Some(0.0)),
        (page.value("tidegate_config_last_reload_success", &[]), Some(1.0)),
        (
            page.value(
                "tidegate_certificate_expiry_timestamp_seconds",
                &[("listener", "0.0.0.0:443"), ("certificate", "shop.pem")],
            ),
            Some(1_790_000_000.0),
        ),
        (
            page.value("tidegate_tls_handshakes_failed_total", &[("listener", "0.0.0.0:443"), ("reason", "version")]),
            Some(3.0),
        ),
        (page.value("tidegate_access_log_dropped_total", &[]), Some(17.0)),
    ];
    for (place, (found, wanted)) in values.iter().enumerate() {
        assert_eq!(found, wanted, "figure {place}");
    }
    assert_eq!(page.kinds["tidegate_requests_total"], "counter");
    assert_eq!(page.kinds["tidegate_time_to_first_byte_seconds"], "histogram");
}

#[test]
fn histograms_are_cumulative_and_end_at_their_count() {
    let page = parse(&render(&snapshot(), &ProcessView::default()));
    let mut seen = 0;
    for family in ["tidegate_time_to_first_byte_seconds", "tidegate_request_duration_seconds"] {
        for (version, count) in [("v1", if family.contains("first_byte") { 5.0 } else { 1.0 }), ("v2", 0.0)] {
            let of = [("service", "shop"), ("version", version)];
            let buckets: Vec<(f64, f64)> = page.samples[&format!("{family}_bucket")]
                .iter()
                .filter(|(labels, _)| labels["version"] == version)
                .map(|(labels, value)| (labels["le"].parse().unwrap(), *value))
                .collect();
            assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{buckets:?}");
            assert_eq!(buckets.last(), Some(&(f64::INFINITY, count)));
            assert_eq!(page.value(&format!("{family}_count"), &of), Some(count));
            seen += buckets.len();
        }
    }
    assert_eq!(seen, 4 * 16);
}

#[test]
fn a_latency_lands_in_its_bucket_and_in_the_sum() {
    let page = parse(&render(&snapshot(), &ProcessView::default()));
    let below = |le: &str| {
        page.value("tidegate_time_to_first_byte_seconds_bucket", &[("service", "shop"), ("version", "v1"), ("le", le)])
    };
    assert_eq!(
        ["0.001", "0.025", "0.05", "1", "2.5", "60", "+Inf"].map(below),
        [2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 5.0].map(Some)
    );
    let sum = page.value("tidegate_time_to_first_byte_seconds_sum", &[("service", "shop"), ("version", "v1")]).unwrap();
    let exact = 0.000_8 + 0.000_9 + 0.04 + 67.1 + 1.9;
    assert!((sum / exact - 1.0).abs() < 0.01, "{sum} is not near {exact}");
}

#[test]
fn labels_are_escaped() {
    let mut page = Page::default();
    page.family("f", Kind::Gauge, "Help.");
    page.sample("", &[("service", "a\"b\\c\nd")], 1);
    let parsed = parse(&page.finish());
    assert_eq!(parsed.value("f", &[("service", "a\"b\\c\nd")]), Some(1.0));
}

#[test]
fn an_empty_snapshot_is_a_legal_page() {
    let page = parse(&render(&Snapshot::default(), &ProcessView::default()));
    assert_eq!(page.value("tidegate_config_last_reload_success", &[]), Some(0.0));
    assert_eq!(page.value("tidegate_journal_writable", &[]), Some(1.0));
}

#[test]
fn what_is_left_in_processes_before_this_one_is_summed_up() {
    let left = |in_flight| VersionLeft { in_flight, long_lived: 0 };
    let old = |pid, v2: u64| PredecessorView {
        pid,
        connections: 9,
        in_flight: 9,
        requests: [("shop".to_owned(), [("v1".to_owned(), left(1)), ("v2".to_owned(), left(v2))].into())].into(),
        left_s: 1.0,
    };
    let process = ProcessView { predecessors: vec![old(7, 3), old(8, 4)], ..ProcessView::default() };
    let page = parse(&render(&Snapshot::default(), &process));
    let there = |version| page.value("tidegate_draining_requests", &[("service", "shop"), ("version", version)]);
    assert_eq!(page.value("tidegate_draining_processes", &[]), Some(2.0));
    assert_eq!((there("v1"), there("v2")), (Some(2.0), Some(7.0)));
}

#[test]
fn a_dry_run_says_how_often_it_would_have_been_rolled_back_and_other_rollouts_do_not() {
    let of_rollout = |dry_run, times| {
        let mut snapshot = snapshot();
        let mut service = Arc::into_inner(snapshot.services.remove("shop").unwrap()).unwrap();
        let rollout = service.view.rollout.as_mut().unwrap();
        (rollout.dry_run, rollout.would_have_rolled_back) = (dry_run, times);
        snapshot.services.insert("shop".into(), Arc::new(service));
        parse(&render(&snapshot, &ProcessView::default())).samples.remove("tidegate_dry_run_rollbacks")
    };
    assert_eq!(of_rollout(false, 0), None);
    let labels = BTreeMap::from([("service".to_owned(), "shop".to_owned())]);
    assert_eq!(of_rollout(true, 3), Some(vec![(labels, 3.0)]));
}
