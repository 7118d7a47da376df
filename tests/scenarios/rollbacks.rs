//! A bad canary is taken back, whatever is bad about it.

use std::time::Duration;

use control::view::{Phase, RolloutView, Verdict};
use loadtest::{Behaviour, Fraction, Load, OriginOptions, Setting, failures};

use crate::patience::{LONG, until_true};
use crate::shop::{Place, Shop, origin, origin_with, shop};

#[test]
fn a_canary_that_turns_bad_after_a_good_while_is_taken_back_and_gets_no_further_request() {
    let shop = Shop::open("{ steps: [{ weight: 5%, hold: 10m }] }");
    let load = shop.server.load(1_000.0).start().unwrap();
    let waiting = shop.server.command(&["rollout", "start", "shop", "--canary", "v2", "--wait"]);
    waiting.has_printed("v2 at 5%");
    let good = shop.admin().until("shop", "a good while", |rollout| rollout.step_elapsed_s >= 3.0);
    assert_eq!((good.phase, good.weight, good.failed.canary), (Phase::Progressing, 500, 0), "{good:?}");
    assert!(good.requests.canary > 0, "{good:?}");

    shop.v2.begin_incident();
    shop.v2.dial().set_errors(Fraction::ONE);
    let end = waiting.end();

    assert_eq!(end.code, Some(10), "{end:?}");
    assert!(end.out.contains("rolled-back"), "{end:?}");
    let rollout = shop.admin().rollout("shop");
    assert_eq!((rollout.phase, rollout.weight), (Phase::RolledBack, 0), "{rollout:?}");
    let reason = rollout.reason.unwrap();
    assert!(reason.contains("v2") && reason.contains("failed"), "{reason}");

    // What was drawn before the rollback ends, and then nothing comes any more.
    until_true("the last requests to v2", || {
        let service = shop.admin().service("shop");
        service.versions.iter().all(|version| version.name != "v2" || version.in_flight == 0)
    });
    let at_its_end = shop.v2.arrivals().requests;
    let seen = load.live().answered;
    until_true("a thousand further answers", || load.live().answered >= seen + 1_000);
    let report = load.stop();
    assert_eq!(shop.v2.arrivals().requests, at_its_end);
    let bad = shop.v2.arrivals().bad;
    assert!(bad > 0 && bad <= 200, "{bad} requests met it");
    assert_eq!((failures(&report), report.server_errors), (0, 0), "stable answered in its stead: {report}");
}

#[test]
fn a_canary_that_hangs_is_taken_back_although_its_clients_leave() {
    let shop = Shop::open("{ steps: [{ weight: 20%, hold: 10m }], gates: [{ latency: { limit: 300ms } }] }");
    let load = Load { timeout: Some(Duration::from_millis(400)), ..shop.server.load(200.0) }.start().unwrap();
    shop.release_v2();
    shop.admin().until("shop", "good traffic on v2", |rollout| rollout.requests.canary >= 20);

    shop.v2.dial().set_behaviour(Behaviour::Hang);

    let rollout = shop.admin().until_phase("shop", Phase::RolledBack);
    assert_eq!(rollout.weight, 0);
    let reason = rollout.reason.unwrap();
    assert!(reason.contains("latency-p99") && reason.contains("300 ms"), "{reason}");
    let report = load.stop();
    assert!(report.timeouts > 0, "nobody left: {report}");
    assert_eq!(failures(&report), report.timeouts, "{report}");
    // Leaving is no error of the version: what it is charged with is the time that it took.
    assert_eq!(rollout.failed.canary, 0);
}

/// It never answered anybody: how long an answer may take is seen at stable alone.
#[test]
fn a_canary_that_hangs_from_its_start_is_taken_back_long_before_its_first_byte_is_late() {
    let shop = Shop::open("{ steps: [{ weight: 20%, hold: 10m }] }");
    shop.v2.dial().set_behaviour(Behaviour::Hang);
    let load = Load { grace: LONG, ..shop.server.load(100.0) }.start().unwrap();
    until_true("a hundred answers of stable", || load.live().answered >= 100);
    shop.release_v2();

    let rollout = shop.admin().until_phase("shop", Phase::RolledBack);

    assert!(rollout.failed.canary >= 4, "{rollout:?}");
    let report = load.stop();
    assert_eq!((failures(&report), report.server_errors), (0, 0), "stable answered in its stead: {report}");
    // A service waits 15 s for a first byte.
    let longest = Duration::from_micros(report.latency.max());
    assert!(longest < Duration::from_secs(14), "{report}");
}

/// Nothing of it fails before the step is over: it just does not answer.
#[test]
fn a_canary_that_hangs_at_the_end_of_its_last_step_is_not_promoted() {
    let (v1, v2, place) = (origin("v1"), origin("v2"), Place::new());
    let versions = [("v1", &[v1.address()][..]), ("v2", &[v2.address()][..])];
    let text = shop("v1", &versions, "{ steps: [{ weight: 50%, hold: 6s }] }");
    place.write(&format!("{}{text}    timeouts: {{ first_byte: 6s }}\n", place.head()));
    let server = place.serve();
    let load = Load { grace: LONG, ..server.load(100.0) }.start().unwrap();
    assert_eq!(server.admin.start("shop", "v2").status, 201);
    server.admin.until("shop", "a good while", |rollout| rollout.step_elapsed_s >= 3.0);

    v2.dial().set_behaviour(Behaviour::Hang);

    let waits =
        |rollout: &RolloutView| rollout.reason.as_ref().is_some_and(|it| it.starts_with("waiting for answers of v2: "));
    let rollout = server.admin.until("shop", "a word of what it waits for", waits);
    assert_eq!((rollout.phase, rollout.weight), (Phase::Progressing, 5_000), "{rollout:?}");
    let rollout = server.admin.until_phase("shop", Phase::RolledBack);
    assert!(rollout.failed.canary > 0, "{rollout:?}");
    let report = load.stop();
    assert_eq!((failures(&report), report.timeouts), (0, 0), "stable answered in its stead: {report}");
}

#[test]
fn a_canary_whose_answers_drip_is_paused_though_its_heads_are_in_time() {
    let shop = Shop::open("{ steps: [{ weight: 20%, hold: 5s }, { weight: 50%, hold: 10m }] }");
    shop.v2.dial().set_behaviour(Behaviour::Drip);
    let load = Load { timeout: Some(Duration::from_millis(400)), ..shop.server.load(500.0) }.start().unwrap();
    shop.release_v2();

    let rollout = shop.admin().until_phase("shop", Phase::Paused);

    assert_eq!((rollout.step, rollout.weight), (1, 2_000), "nobody else is given to it: {rollout:?}");
    let reason = rollout.reason.unwrap();
    assert!(reason.starts_with("clients: clients left "), "{reason}");
    // They left: that is no error of the version.
    assert_eq!(rollout.failed.canary, 0);
    let report = load.stop();
    assert!(report.timeouts > 0, "nobody left: {report}");
    assert_eq!(failures(&report), report.timeouts, "{report}");
}

#[test]
fn a_canary_that_was_dead_from_the_start_is_taken_back_and_no_user_notices() {
    let dead = || {
        let setting = Setting { behaviour: Behaviour::Refuse, ..Setting::default() };
        origin_with("v2", OriginOptions { setting, ..OriginOptions::default() })
    };
    let (v1, first, second, place) = (origin("v1"), dead(), dead(), Place::new());
    let versions = [("v1", &[v1.address()][..]), ("v2", &[first.address(), second.address()][..])];
    place.write(
        &(place.head()
            + &shop("v1", &versions, "{ warmup: 0s, steps: [{ weight: 5%, hold: 1s }, { weight: 50%, hold: 1s }] }")),
    );
    let server = place.serve();
    let load = server.load(400.0).start().unwrap();
    until_true("traffic", || load.live().answered >= 100);

    assert_eq!(server.admin.start("shop", "v2").status, 201);

    let rollout = server.admin.until_phase("shop", Phase::RolledBack);
    assert_eq!((rollout.step, rollout.weight), (1, 0), "{rollout:?}");
    let reason = rollout.reason.unwrap();
    assert!(reason.starts_with("breaker: ") && reason.contains("it is broken"), "{reason}");
    assert!(rollout.failed.canary > 0 && rollout.failed.canary == rollout.requests.canary, "{:?}", rollout.failed);
    let errors = rollout.gates.iter().find(|gate| gate.name == "errors").unwrap();
    assert_ne!(errors.verdict, Verdict::NoData, "{errors:?}");
    let report = load.stop();
    assert_eq!((failures(&report), report.not_sent), (0, 0), "{report}");
}

#[test]
fn a_canary_that_is_as_bad_as_stable_is_not_taken_back() {
    let shop = Shop::open("{ steps: [{ weight: 50%, hold: 10m }] }");
    for origin in [&shop.v1, &shop.v2] {
        origin.dial().set_errors(Fraction::new(0.2).unwrap());
    }
    let load = shop.server.load(400.0).start().unwrap();
    shop.release_v2();

    let rollout = shop.admin().until("shop", "many judged requests", |rollout| rollout.requests.canary >= 600);

    assert!(rollout.failed.canary > 50 && rollout.failed.stable > 50, "{rollout:?}");
    assert_eq!((rollout.phase, rollout.weight), (Phase::Progressing, 5_000), "{rollout:?}");
    let report = load.stop();
    // Stable answers in the canary's stead, as well as it can.
    until_true("every answer", || shop.v1.arrivals().bad == report.server_errors);
}
