//! Changes reach the control loop, and its answer comes back.

use control::command::Action;
use serde_json::json;

use crate::SHOP;
use crate::world::World;

#[test]
fn a_weight_is_set_and_the_service_after_it_is_answered() {
    let world = World::new();
    let body = r#"{"canary": "v2", "weight": 1000, "if_generation": 42, "reason": "a try"}"#;
    let answer = world.put(&format!("{SHOP}/weights"), body);
    assert_eq!((answer.status, &answer.json()["weight"]), (200, &json!(1_000)));
    assert_eq!(world.asked.recv().unwrap(), "weight shop v2 10% Some(42) a try");
    assert_eq!(world.put(&format!("{SHOP}/weights"), r#"{"weight": 0}"#).status, 200);
    assert_eq!(world.asked.recv().unwrap(), "weight shop - 0% None -");
}

#[test]
fn a_weight_for_another_generation_is_a_conflict_with_the_present_state() {
    let answer = World::new().put(&format!("{SHOP}/weights"), r#"{"weight": 1, "if_generation": 41}"#);
    assert_eq!(answer.detail(409), "the generation is 42");
    assert_eq!(answer.json()["present"]["generation"], 42);
}

#[test]
fn a_rollout_is_started_with_its_reason_plan_and_idempotency_key() {
    let world = World::new();
    let headers = [("content-type", "application/json; charset=utf-8"), ("idempotency-key", "k-1")];
    let body = r#"{"canary": "v2", "plan": "slow", "reason": "release"}"#;
    let answer = world.send("POST", &format!("{SHOP}/rollout"), &headers, body);
    assert_eq!((answer.status, answer.headers["location"].as_str()), (201, "/api/v1/services/shop/rollout"));
    assert_eq!(answer.json()["id"], "01JDTIDE");
    assert_eq!(world.asked.recv().unwrap(), "start shop v2 slow release k-1");
}

#[test]
fn every_refusal_of_the_control_loop_has_its_status() {
    let world = World::new();
    let start = |canary: &str| world.post(&format!("{SHOP}/rollout"), &json!({ "canary": canary }).to_string());
    assert_eq!(start("v9").detail(422), "shop has no version v9");
    assert_eq!(start("v1").detail(422), "v1 is the stable");
    assert_eq!(start("nodisk").detail(503), "the disk is full");
    let busy = start("busy");
    assert_eq!(busy.detail(409), "busy is in a rollout already");
    assert_eq!(busy.json()["present"]["rollout"]["phase"], "progressing");
}

#[test]
fn every_action_reaches_the_control_loop() {
    let world = World::new();
    for action in Action::ALL {
        let answer = world.post(&format!("{SHOP}/rollout/{}", action.word()), r#"{"reason": "so"}"#);
        assert!([200, 404, 409].contains(&answer.status), "{answer:?}");
        assert_eq!(world.asked.recv().unwrap(), format!("{} shop so", action.word()));
    }
    let paused = world.post(&format!("{SHOP}/rollout/pause"), "");
    assert_eq!((paused.status, &paused.json()["phase"]), (200, &json!("paused")));
    assert_eq!(world.post(&format!("{SHOP}/rollout/undo"), "").detail(404), "shop never had a rollout");
}

#[test]
fn an_action_that_the_phase_forbids_is_a_conflict_with_the_present_state() {
    let answer = World::new().post(&format!("{SHOP}/rollout/approve"), "");
    assert!(answer.detail(409).contains("can pause"));
    assert_eq!(answer.json()["present"]["rollout"]["phase"], "progressing");
    assert_eq!(answer.json()["phase"], "progressing");
    assert_eq!(answer.json()["allowed"], json!(["pause", "skip", "promote", "abort"]));
}

#[test]
fn an_idempotency_key_that_is_none_is_400() {
    let world = World::new();
    let long = "k".repeat(256);
    for key in ["", "é", long.as_str()] {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        world.send("POST", &format!("{SHOP}/rollout"), &headers, r#"{"canary": "v2"}"#).problem(400);
    }
}

#[test]
fn a_control_loop_that_has_ended_is_503_and_reads_go_on() {
    let world = World::without_a_control_loop();
    assert!(world.post(&format!("{SHOP}/rollout/abort"), "").detail(503).contains("traffic keeps its last split"));
    assert_eq!(world.get(SHOP).status, 200);
}

#[test]
fn a_control_loop_that_never_answers_is_503_and_the_change_may_still_come() {
    let world = World::with_a_silent_control_loop();
    let answer = world.post(&format!("{SHOP}/rollout/abort"), "");
    assert!(answer.detail(503).contains("did not answer within 10 s; the change may still come into force"));
    assert_eq!(world.asked.recv().unwrap(), "a command");
}
