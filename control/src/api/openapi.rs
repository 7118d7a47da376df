//! `/openapi.json`: the API as a document for programs. Written by hand, held to the routes and to the views by tests.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn document() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::{Arc, mpsc};

    use arc_swap::ArcSwap;
    use axum::body::Body;
    use axum::http::header::{ALLOW, HOST};
    use axum::http::{Method, Request, StatusCode};
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;
    use serde_json::{Value, json};
    use tokio::sync::{Semaphore, watch};

    use super::super::{Api, ApiOptions, Shared, routes};
    use super::*;
    use crate::command::Action;
    use crate::control_loop::SystemClock;
    use crate::events::EventLog;
    use crate::handle::{Handle, Pulse};
    use crate::judge::Copies;
    use crate::plane::{CheckCounts, MalformedCounts, MirrorAnswer};
    use crate::process::{DrainView, PredecessorView, ProcessView, UpgradeView, VersionLeft};
    use crate::view::{
        Arms, Dispersion, EndpointView, Event, GateCounts, GateEstimate, GateView, LeavingView, MatchView, Matched,
        MirrorSampleView, MirrorView, NameView, NotCopied, Phase, RatioView, Role, RolloutView, ServiceView, Snapshot,
        StepEstimate, Verdict, VersionView,
    };

    fn read() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    /// The methods that the document gives to each path, in capitals.
    fn documented() -> BTreeMap<String, BTreeSet<String>> {
        let methods = ["get", "put", "post", "delete", "patch"];
        let of_path = |item: &Value| {
            methods.iter().filter(|it| item.get(**it).is_some()).map(|it| it.to_uppercase()).collect::<BTreeSet<_>>()
        };
        read()["paths"].as_object().unwrap().iter().map(|(path, item)| (path.clone(), of_path(item))).collect()
    }

    fn api() -> Api {
        let handle = Handle {
            commands: mpsc::channel().0,
            snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::default())),
            events: Arc::new(EventLog::default()),
            ended: Arc::default(),
            pulse: Arc::new(Pulse::new(Arc::new(SystemClock::new()))),
        };
        Api(Arc::new(Shared {
            options: ApiOptions::default(),
            handle,
            reload: Arc::new(|| Err(Vec::new())),
            readers: Arc::new(Semaphore::new(1)),
            stopping: watch::channel(false).1,
        }))
    }

    #[tokio::test]
    async fn the_document_has_the_routes_of_the_router_and_no_others() {
        let router = TowerToHyperService::new(routes::router(api()));
        let mut routed = BTreeMap::new();
        for (path, _) in routes::table() {
            // No route has this method, so the router answers with those that it has.
            let request =
                Request::builder().method(Method::TRACE).uri(path.replace(['{', '}'], "")).header(HOST, "localhost");
            let response = router.call(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
            let allowed = response.headers()[ALLOW].to_str().unwrap().split(',').map(str::to_owned);
            // HEAD goes wherever GET does, and is not listed apart.
            routed.insert(path.to_owned(), allowed.filter(|method| method != "HEAD").collect::<BTreeSet<_>>());
        }
        assert_eq!(documented(), routed);
    }

    #[test]
    fn the_document_names_every_action_and_phase() {
        let document = read();
        let path = "/api/v1/services/{service}/rollout/{action}";
        assert_eq!(document["paths"][path]["parameters"][1]["schema"]["enum"], json!(Action::ALL.map(Action::word)));
        assert_eq!(document["components"]["schemas"]["Phase"]["enum"], json!(Phase::ALL.map(Phase::word)));
    }

    #[test]
    fn the_schemas_have_the_fields_that_are_sent_and_no_others() {
        let gate = GateView {
            path: None,
            proof: None,
            counts: None,
            estimate: None,
            ratio: None,
            name: "errors".into(),
            role: Role::Guardrail,
            verdict: Verdict::NoData,
            log_evidence: None,
            threshold: 4.7,
            progress: 0.0,
            explain: String::new(),
        };
        let rollout = RolloutView {
            baseline: None,
            dry_run: false,
            would_have_rolled_back: 0,
            dispersion: None,
            estimates: Vec::new(),
            id: String::new(),
            service: String::new(),
            stable: String::new(),
            canary: String::new(),
            plan: String::new(),
            phase: Phase::Progressing,
            reason: None,
            step: 0,
            steps: 4,
            weight: 0,
            generation: 0,
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
            gates: vec![gate.clone()],
        };
        let endpoint = EndpointView::well(String::new());
        let (answered_at, problem, failing_since) = (None, None, None);
        let name = NameView { name: String::new(), addresses: Vec::new(), answered_at, problem, failing_since };
        let version = VersionView {
            name: String::new(),
            weight: 0,
            endpoints: vec![endpoint.clone()],
            in_flight: 0,
            requests: 0,
            failed: 0,
            saved: 0,
            retried: 0,
            requests_per_second: 0.0,
            error_rate: None,
            latency_p50_ms: None,
            latency_p99_ms: None,
            panic: false,
            ejections: 0,
            overflows: 0,
            malformed_responses: MalformedCounts::default(),
            health_checks: None,
            names: Vec::new(),
            mirror: None,
            long_lived: 0,
            long_lived_ended: 0,
            leaving: None,
        };
        let service = ServiceView {
            service: String::new(),
            stable: String::new(),
            canary: None,
            weight: 0,
            generation: 0,
            versions: Vec::new(),
            rollout: None,
            differs_from_file: Vec::new(),
            warnings: Vec::new(),
            estimates: Vec::new(),
        };
        let event =
            Event { id: 1, at: String::new(), service: None, kind: String::new(), text: String::new(), rollout: None };
        let sample = MirrorSampleView {
            at: String::new(),
            differs_in: String::new(),
            method: String::new(),
            path: String::new(),
            stable: MirrorAnswer::default(),
            canary: MirrorAnswer::default(),
        };
        let (requests, left_s) = (BTreeMap::new(), 0.0);
        let predecessor = PredecessorView { pid: 7, connections: 0, in_flight: 0, requests, left_s };
        let sent = [
            ("PredecessorView", json!(predecessor)),
            ("VersionLeft", json!(VersionLeft::default())),
            ("ProcessView", json!(ProcessView::default())),
            ("DrainView", json!(DrainView { connections: 0, requests: BTreeMap::new(), left_s: 0.0 })),
            ("UpgradeView", json!(UpgradeView { at: String::new(), failed: None })),
            ("GateView", json!(gate)),
            ("GateCounts", json!(GateCounts::default())),
            ("RatioView", json!(RatioView { low: None, high: None, confidence: 0.99, explain: String::new() })),
            ("GateEstimate", json!(GateEstimate { fail_s: None, pass_s: None })),
            ("Dispersion", json!(Dispersion { errors: 1.0, latency: 1.0 })),
            ("StepEstimate", json!(StepEstimate { step: 1, weight: 1, mirror: None, fail_s: None, pass_s: None })),
            ("RolloutView", json!(rollout)),
            ("Copies", json!(Copies::default())),
            ("MirrorView", json!(MirrorView::default())),
            ("LeavingView", json!(LeavingView { since: String::new(), asked: false, asked_in_s: None })),
            ("NotCopied", json!(NotCopied::default())),
            ("MirrorAnswer", json!(MirrorAnswer::default())),
            ("MirrorSampleView", json!(sample)),
            ("MatchView", json!(MatchView { headers: BTreeMap::new(), judged: false })),
            ("Matched", json!(Matched::default())),
            ("CheckCounts", json!(CheckCounts::default())),
            ("MalformedCounts", json!(MalformedCounts::default())),
            ("EndpointView", json!(endpoint)),
            ("NameView", json!(name)),
            ("VersionView", json!(version)),
            ("ServiceView", json!(service)),
            ("Event", json!(event)),
        ];
        let schemas = &read()["components"]["schemas"];
        for (name, value) in sent {
            let fields: BTreeSet<&String> = value.as_object().unwrap().keys().collect();
            let described: BTreeSet<&String> = schemas[name]["properties"].as_object().unwrap().keys().collect();
            assert_eq!(fields, described, "{name}");
        }
    }
}
