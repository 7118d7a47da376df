//! Canaries that answer well and are not ready for users: no room, or no endpoint that passes its health check.

use std::time::Duration;

use control::view::{Phase, VersionView};
use loadtest::{Behaviour, Fraction, Latency, Origin, failures};

use crate::patience::until_true;
use crate::shop::{Place, Server, origin};

/// One step of half the users.
const PLAN: &str = "{ steps: [{ weight: 50%, hold: 3s }], gates: [{ errors: {} }], min_requests: 10, warmup: 0s }";

/// Writes a shop whose v2 has these keys beside its endpoint.
fn write(place: &Place, v1: &Origin, (v2, keys): (&Origin, &str)) {
    let (head, v1, v2) = (place.head(), v1.address(), v2.address());
    place.write(&format!(
        "{head}  shop:\n    stable: v1\n    versions:\n      v1: {{ endpoints: ['{v1}'] }}\n      \
         v2: {{ endpoints: ['{v2}'], {keys} }}\n    plan: {PLAN}\n"
    ));
}

fn canary(server: &Server) -> VersionView {
    server.admin.service("shop").versions.into_iter().find(|version| version.name == "v2").unwrap()
}

#[test]
fn a_canary_that_has_no_room_for_its_share_is_not_promoted_and_status_says_why() {
    let (v1, v2, place) = (origin("v1"), origin("v2"), Place::new());
    v2.dial().set_latency(Latency::fixed(Duration::from_millis(50)));
    write(&place, &v1, (&v2, "limits: { requests: 2 }"));
    let server = place.serve();
    let load = server.load(200.0).start().unwrap();
    assert_eq!(server.admin.start("shop", "v2").status, 201);

    let held = server.admin.until("shop", "a step that is over its time and waits", |rollout| {
        rollout.step_elapsed_s > 5.0 && rollout.reason.is_some()
    });
    assert_eq!(held.phase, Phase::Progressing, "{held:?}");
    assert!(held.reason.as_deref().unwrap().starts_with("waiting for room on v2: "), "{held:?}");
    let status = server.tidegate(&["status", "shop"]).out;
    assert!(status.contains("requests of v2 found no room"), "{status}");

    // With its limit raised it has room, and goes on.
    write(&place, &v1, (&v2, "limits: { requests: 100 }"));
    let reloaded = server.tidegate(&["reload"]);
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    server.admin.until_phase("shop", Phase::Promoted);
    let report = load.stop();
    assert_eq!(failures(&report), 0, "{report}");
    server.stop();
}

#[test]
fn a_canary_whose_health_check_fails_gets_no_users_until_it_passes() {
    let (v1, v2, place) = (origin("v1"), origin("v2"), Place::new());
    let check = "health: { path: /ready, interval: 100ms, timeout: 90ms, unhealthy: 2, healthy: 1 }";
    v2.dial().set_errors(Fraction::ONE);
    write(&place, &v1, (&v2, check));
    let server = place.serve();
    until_true("an endpoint that is ill", || !canary(&server).endpoints[0].healthy);

    let started = server.admin.start("shop", "v2");
    assert_eq!(started.status, 201, "{started:?}");
    let reason = started.body["reason"].as_str().unwrap();
    assert!(reason.starts_with("waiting for v2 to be well: 0 of 1 endpoint passes its health check ("), "{reason}");
    assert!(!reason.contains("its health check fails"), "said once: {reason}");
    assert_eq!(started.body["weight"], 0);
    assert_eq!(server.answers(200)("v2"), 0);

    v2.dial().set_errors(Fraction::ZERO);
    until_true("its first users", || canary(&server).weight == 5_000);
    let load = server.load(200.0).start().unwrap();
    server.admin.until_phase("shop", Phase::Promoted);
    let report = load.stop();
    assert_eq!(failures(&report), 0, "{report}");
    server.stop();
}

#[test]
fn an_abort_towards_a_stable_that_is_dead_is_carried_out_and_says_so() {
    let (v1, v2, place) = (origin("v1"), origin("v2"), Place::new());
    write(&place, &v1, (&v2, "slow_start: 0s"));
    let server = place.serve();
    assert_eq!(server.admin.start("shop", "v2").status, 201);
    until_true("its first users", || canary(&server).weight == 5_000);
    v1.dial().set_behaviour(Behaviour::Refuse);
    let load = server.load(100.0).start().unwrap();
    let said = "stable v1 has no endpoint that is well, of 1 (no connection: ";
    until_true("a warning", || server.tidegate(&["status", "shop"]).out.contains(&format!("warning: {said}")));

    let aborted = server.tidegate(&["rollout", "abort", "shop"]);

    assert_eq!(aborted.code, Some(0), "{aborted:?}");
    assert!(aborted.out.contains(&format!("aborted by hand; {said}")), "{aborted:?}");
    assert_eq!(canary(&server).weight, 0);
    until_true("the log", || server.process.errors().contains(&format!("v2 aborted by hand; {said}")));
    drop(load.stop());
    server.stop();
}
