//! What can be read, and the probes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use control::control_loop::Clock;
use serde_json::json;

use crate::SHOP;
use crate::world::{World, snapshot};

#[test]
fn services_and_their_rollouts_can_be_read() {
    let world = World::new();
    let services = world.get("/api/v1/services").json();
    assert_eq!(services[0]["service"], "mail");
    assert_eq!(services[1]["service"], "shop");
    let shop = world.get(SHOP);
    assert_eq!((shop.status, shop.headers["content-type"].as_str()), (200, "application/json"));
    assert_eq!(shop.json()["rollout"]["phase"], "progressing");
    let rollout = world.get(&format!("{SHOP}/rollout")).json();
    assert_eq!((&rollout["canary"], &rollout["weight"]), (&json!("v2"), &json!(500)));
    let history = world.get(&format!("{SHOP}/history")).json();
    assert_eq!(history[0]["phase"], "rolled-back");
    assert_eq!(world.get("/api/v1/services/mail/history").json(), json!([]));
}

#[test]
fn a_service_without_a_rollout_says_how_to_begin_one() {
    let detail = World::new().get("/api/v1/services/mail/rollout").detail(404);
    assert_eq!(detail, "mail never had a rollout; begin one with: tidegate rollout start mail --canary VERSION");
}

#[test]
fn unknown_paths_services_and_actions_are_404_with_a_near_miss() {
    let world = World::new();
    assert!(world.get("/api/v1/service").detail(404).contains("/api/v1/openapi.json"));
    let detail = world.get("/api/v1/services/shpo").detail(404);
    assert_eq!(detail, "there is no service \"shpo\"; did you mean \"shop\"?; the services are mail, shop");
    assert!(world.get("/api/v1/services/%2e%2e%2f").detail(404).contains("no name of a service"));
    assert!(world.get("/api/v1/services/%ff").detail(404).contains("no name of a service"));
    assert!(world.post(&format!("{SHOP}/rollout/paus"), "").detail(404).contains("did you mean \"pause\"?"));
    let changes = [("PUT", "weights"), ("POST", "rollout"), ("POST", "rollout/pause"), ("GET", "events")];
    for (method, tail) in changes {
        let headers = [("content-type", "application/json")];
        world.send(method, &format!("/api/v1/services/nope/{tail}"), &headers, "").detail(404);
    }
    assert!(world.asked.try_recv().is_err());
}

#[test]
fn a_control_loop_that_is_over_is_no_life() {
    let world = World::new();
    assert_eq!(world.get("/livez").status, 200);
    world.handle.ended.store(true, Ordering::Release);
    let problem = world.get("/livez").problem(503);
    assert!(problem["detail"].as_str().unwrap().contains("restart"), "{problem}");
    world.draining.store(true, Ordering::Release);
    assert_eq!(world.get("/livez").status, 200, "a process that ends in good order is not to be killed");
}

#[test]
fn a_control_loop_that_has_not_looked_at_the_traffic_for_five_seconds_is_no_life() {
    let world = World::new();
    world.clock.pass(4_999);
    assert_eq!(world.get("/livez").status, 200);
    world.clock.pass(1);
    let problem = world.get("/livez").problem(503);
    assert_eq!(problem["type"], "urn:tidegate:problem:control-loop-silent");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("the control loop has not looked at the traffic for 5 s: "), "{detail}");
    assert_eq!(world.get("/readyz").status, 200, "traffic keeps its last split");

    world.handle.pulse.beat(world.clock.now());
    assert_eq!(world.get("/livez").status, 200);
    world.clock.pass(60_000);
    world.draining.store(true, Ordering::Release);
    assert_eq!(world.get("/livez").status, 200, "a process that ends in good order is not to be killed");
}

#[test]
fn it_is_ready_once_the_journal_is_replayed_and_until_it_drains() {
    let world = World::new();
    world.handle.snapshot.store(Arc::new(snapshot(false)));
    world.get("/readyz").problem(503);
    assert_eq!(world.get("/livez").status, 200);
    world.handle.snapshot.store(Arc::new(snapshot(true)));
    assert_eq!(world.get("/readyz").status, 200);
    world.draining.store(true, Ordering::Release);
    assert!(world.get("/readyz").detail(503).contains("drains"));
    assert_eq!(world.get("/livez").status, 200);
}

#[test]
fn metrics_are_prometheus_text() {
    let answer = World::new().get("/metrics");
    assert_eq!(
        (answer.status, answer.headers["content-type"].as_str()),
        (200, "text/plain; version=0.0.4; charset=utf-8")
    );
    assert!(
        answer.text.contains("tidegate_weight_basis_points{service=\"shop\",version=\"v2\"} 500\n"),
        "{}",
        answer.text
    );
}

#[test]
fn nothing_is_cached_and_no_type_is_guessed() {
    let world = World::new();
    for answer in [world.get(SHOP), world.get("/nowhere"), world.send("GET", SHOP, &[("host", "evil.example")], "")] {
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
}

#[test]
fn every_route_of_the_document_is_there() {
    let world = World::new();
    let document = world.get("/api/v1/openapi.json").json();
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["get", "put", "post"].into_iter().filter(|method| item.get(method).is_some()) {
            let path = path.replace("{service}", "shop").replace("{action}", "pause");
            let answer = if path.ends_with("/events") {
                world.events(&path, "").map_or_else(|answer| answer.status, |_| 200)
            } else {
                world.send(&method.to_uppercase(), &path, &[("content-type", "application/json")], "").status
            };
            assert!(![404, 405, 500].contains(&answer), "{method} {path}: {answer}");
            asked += 1;
        }
    }
    assert_eq!(asked, 15);
}
