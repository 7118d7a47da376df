//! What a person may do to a rollout, and what is refused.

use control::view::Phase;
use ureq::http::Method;

use crate::admin::Answer;
use crate::patience::until_true;
use crate::shop::Shop;

/// Steps for people: an approval in the middle, and nothing that ends by itself.
const PLAN: &str = "{ steps: [{ weight: 5%, hold: 10m }, { approval: true }, { weight: 50%, hold: 10m }] }";
/// Every action.
const ACTIONS: [&str; 8] = ["pause", "resume", "approve", "skip", "promote", "abort", "retry", "undo"];

#[test]
fn an_abort_by_hand_takes_all_weight_at_once_and_ends_the_waiting_command_with_11() {
    let shop = Shop::open(PLAN);
    let load = shop.server.load(200.0).start().unwrap();
    let waiting = shop.server.command(&["rollout", "start", "shop", "--canary", "v2", "--wait"]);
    waiting.has_printed("v2 at 5%");
    until_true("traffic on v2", || shop.v2.arrivals().requests > 0);

    let aborted = shop.server.tidegate(&["rollout", "abort", "shop", "--reason", "wrong build"]);

    assert_eq!(aborted.code, Some(0), "{aborted:?}");
    let service = shop.admin().service("shop");
    assert_eq!((service.weight, service.rollout.as_ref().map(|it| it.weight)), (0, Some(0)), "{service:?}");
    assert!(service.rollout.unwrap().reason.unwrap().contains("wrong build"));
    let before = shop.v2.arrivals().requests;
    assert_eq!(shop.server.answers(100)("v1"), 100);
    assert_eq!(shop.v2.arrivals().requests, before, "v2 still gets requests");
    let end = waiting.end();
    assert_eq!(end.code, Some(11), "{end:?}");
    assert!(end.out.contains("aborted") && end.out.contains("wrong build"), "{end:?}");

    let again = shop.server.tidegate(&["rollout", "abort", "shop"]);

    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.err.contains("possible: retry"), "{again:?}");
    assert_eq!(loadtest::failures(&load.stop()), 0);
}

/// Tries every action that this phase forbids: each is a conflict that names the phase and what it allows, and changes
/// nothing.
fn assert_allows(shop: &Shop, phase: Phase, allowed: &[&str]) {
    let before = shop.admin().rollout("shop");
    assert_eq!(before.phase, phase);
    for action in ACTIONS.iter().filter(|action| !allowed.contains(action)) {
        let Answer { status, kind, body } = shop.admin().act("shop", action);
        assert_eq!((status, kind.as_str()), (409, "application/problem+json"), "{action}: {body}");
        assert_eq!(body["phase"], phase.word(), "{action}: {body}");
        assert_eq!(body["allowed"], serde_json::json!(allowed), "{action}: {body}");
        let detail = body["detail"].as_str().unwrap();
        assert!(detail.contains(action) && detail.contains(phase.word()), "{detail}");
        assert!(allowed.iter().all(|word| detail.contains(word)), "{detail}");
    }
    let after = shop.admin().rollout("shop");
    assert_eq!((after.id, after.phase, after.generation), (before.id, before.phase, before.generation));
}

/// Does what a phase allows.
fn act(shop: &Shop, action: &str) {
    let done = shop.admin().act("shop", action);
    assert_eq!(done.status, 200, "{action}: {done:?}");
}

#[test]
fn each_phase_refuses_what_it_does_not_allow_and_says_what_it_does() {
    let shop = Shop::open(PLAN);
    for action in ACTIONS {
        let none_yet = shop.admin().act("shop", action);
        assert_eq!(none_yet.status, 404, "{action}: {none_yet:?}");
    }
    shop.release_v2();
    assert_allows(&shop, Phase::Progressing, &["pause", "skip", "promote", "abort"]);
    let twice = shop.admin().start("shop", "v2");
    assert_eq!(twice.status, 409, "{twice:?}");
    assert!(twice.detail().contains("running already"), "{twice:?}");
    act(&shop, "pause");
    assert_allows(&shop, Phase::Paused, &["resume", "promote", "abort"]);
    act(&shop, "resume");
    act(&shop, "skip");
    assert_allows(&shop, Phase::AwaitingApproval, &["approve", "promote", "abort"]);
    act(&shop, "approve");
    assert_eq!(shop.admin().rollout("shop").weight, 5_000);
    act(&shop, "abort");
    assert_allows(&shop, Phase::Aborted, &["retry"]);
    act(&shop, "retry");
    act(&shop, "promote");
    assert_allows(&shop, Phase::Promoted, &["undo"]);
    act(&shop, "undo");
    assert_allows(&shop, Phase::Promoted, &[]);
    assert_eq!(shop.admin().service("shop").stable, "v1");
}

#[test]
fn a_weight_set_against_an_old_generation_is_refused_with_the_present_state() {
    let shop = Shop::open(PLAN);
    let generation = shop.admin().service("shop").generation;
    assert_eq!(shop.admin().set_weight("shop", "v2", 1_000).status, 200);

    let body = serde_json::json!({ "canary": "v2", "weight": 2_000, "if_generation": generation });
    let refused = shop.admin().change(Method::PUT, "/api/v1/services/shop/weights", &body);

    assert_eq!((refused.status, refused.kind.as_str()), (409, "application/problem+json"), "{refused:?}");
    assert_eq!(refused.body["present"]["weight"], 1_000);
    assert_eq!(refused.body["present"]["generation"], generation + 1);
    assert_eq!(shop.admin().service("shop").weight, 1_000);
}
