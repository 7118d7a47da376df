//! People who choose the canary themselves come first, with a real client.

use std::fs;

use control::view::Phase;
use loadtest::{Fraction, failures};

use crate::choosing::curl;
use crate::patience::{until, until_true};
use crate::shop::{Place, Server, Shop, configuration, origin};

/// The versions that so many requests got, half of them with the header and half without.
fn served(server: &Server, requests: usize) -> (Vec<String>, Vec<String>) {
    let ask = |arguments: &[&str]| curl(server, arguments).version().to_owned();
    (0..requests).map(|_| (ask(&["-H", "x-beta: 1"]), ask(&["-H", "x-beta: 0"]))).unzip()
}

fn all(versions: &[String], version: &str) -> bool {
    versions.iter().all(|served| served == version)
}

#[test]
fn people_with_the_header_come_first_then_the_weights_and_a_rollback_takes_both_back_at_once() {
    let (v1, v2, place) = (origin("v1"), origin("v2"), Place::new());
    let log = place.file().with_file_name("access.log");
    let plan = "{ steps: [{ match: { x-beta: '1' }, hold: 10m }, { weight: 50%, hold: 10m }] }";
    let shop = configuration(&place, &v1, &v2, plan);
    place.write(&format!("access_log: {{ to: '{}' }}\n{shop}", log.display()));
    let server = place.serve();
    let (beta, others) = served(&server, 5);
    assert!(all(&beta, "v1") && all(&others, "v1"), "before any rollout: {beta:?} {others:?}");

    assert_eq!(server.admin.start("shop", "v2").status, 201);
    let (beta, others) = served(&server, 20);
    assert!(all(&beta, "v2") && all(&others, "v1"), "{beta:?} {others:?}");
    let rollout = server.admin.until("shop", "those who match", |rollout| rollout.matched.requests == 20);
    assert_eq!((rollout.step, rollout.weight, rollout.requests.canary), (1, 0, 0), "{rollout:?}");
    let status = server.tidegate(&["status", "shop"]);
    let said = "match: whoever has x-beta: 1 goes to v2: 20 requests (0 failed)";
    assert!(status.out.contains(said), "{status:?}");
    assert!(server.admin.text("/metrics").contains("tidegate_match_in_force{service=\"shop\"} 1\n"));
    until_true("lines of those who matched", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.matches("\"tidegate.decision\":\"match\"").count() == 20
    });

    assert_eq!(server.admin.act("shop", "skip").status, 200);
    let (beta, others) = served(&server, 40);
    assert!(all(&beta, "v2"), "{beta:?}");
    let on_canary = others.iter().filter(|version| *version == "v2").count();
    assert!((5..=35).contains(&on_canary), "half of the others: {on_canary} of 40");

    assert_eq!(server.admin.act("shop", "abort").status, 200);
    let (beta, others) = served(&server, 10);
    assert!(all(&beta, "v1") && all(&others, "v1"), "{beta:?} {others:?}");
    assert!(server.admin.text("/metrics").contains("tidegate_match_in_force{service=\"shop\"} 0\n"));
    server.stop();
}

#[test]
fn a_canary_that_is_broken_is_taken_back_before_anybody_else_had_it() {
    let shop = Shop::open("{ steps: [{ match: { cookie: beta=1 }, hold: 10m }, { weight: 50%, hold: 10m }] }");
    let load = shop.server.load(300.0).start().unwrap();
    until_true("traffic", || load.live().answered >= 100);
    shop.v2.dial().set_errors(Fraction::ONE);
    shop.release_v2();
    let beta = || curl(&shop.server, &["-H", "cookie: a=b; beta=1"]);
    let first = beta();
    assert_eq!((first.status(), first.version()), (200, "v1"), "stable answers in its stead");

    until("the end of it", || {
        beta();
        Some(shop.admin().rollout("shop")).filter(|rollout| rollout.phase == Phase::RolledBack)
    });

    let after = beta();
    assert_eq!((after.status(), after.version()), (200, "v1"));
    let rollout = shop.admin().rollout("shop");
    let reason = rollout.reason.clone().unwrap();
    assert!(reason.starts_with("breaker: ") && reason.contains("v2"), "{reason}");
    assert_eq!((rollout.step, rollout.weight, rollout.requests.canary), (1, 0, 0), "{rollout:?}");
    assert_eq!(rollout.matched.requests, rollout.matched.failed, "{rollout:?}");
    let report = load.stop();
    assert_eq!(failures(&report), 0, "nobody else noticed: {report}");
}

#[test]
fn a_match_ends_by_its_time_and_a_process_that_was_killed_finds_it_again() {
    let shop = Shop::open("{ steps: [{ match: { x-beta: '*' }, hold: 2s }, { weight: 1%, hold: 10m }] }");
    shop.release_v2();
    shop.admin().until("shop", "the wait for somebody", |rollout| {
        rollout
            .reason
            .as_ref()
            .is_some_and(|reason| reason.contains("waiting for the first request that matches x-beta: *"))
    });
    let shop = shop.kill_and_restart();
    assert_eq!(curl(&shop.server, &["-H", "x-beta: anything"]).version(), "v2");
    let rollout = shop.admin().until("shop", "the weight", |rollout| rollout.step == 2);
    assert_eq!(rollout.weight, 100, "{rollout:?}");
    assert_eq!(curl(&shop.server, &["-H", "x-beta: anything"]).version(), "v2");
    shop.server.stop();
}
