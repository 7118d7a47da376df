//! `kill -9`, and what the next process finds.

use std::fs;

use control::view::{Phase, RolloutView};
use loadtest::{Fraction, failures};

use crate::patience::{Stopwatch, until_true};
use crate::shop::{Place, Shop, configuration, origin};

#[test]
fn a_rollout_that_is_killed_goes_on_at_its_step_with_the_hold_begun_anew() {
    let plan =
        "{ warmup: 0s, steps: [{ weight: 5%, hold: 1s }, { weight: 30%, hold: 4s }, { weight: 60%, hold: 1s }] }";
    let shop = Shop::open(plan);
    let load = shop.server.load(500.0).start().unwrap();
    shop.release_v2();
    let killed = shop
        .admin()
        .until("shop", "most of the second step", |rollout| rollout.step == 2 && rollout.step_elapsed_s >= 2.0);
    assert_eq!((killed.phase, killed.weight), (Phase::Progressing, 3_000), "{killed:?}");
    drop(load.stop());

    let since = Stopwatch::start();
    let shop = shop.kill_and_restart();
    let load = shop.server.load(500.0).start().unwrap();

    let found = shop.admin().rollout("shop");
    assert_eq!((&found.id, found.phase, found.step, found.weight), (&killed.id, Phase::Progressing, 2, 3_000));
    // Time without evidence does not count: the hold is as old as the process at most.
    assert!(found.step_elapsed_s <= since.elapsed().as_secs_f64(), "{found:?}");
    assert!(found.generation > killed.generation, "a generation came back with another meaning: {found:?}");
    shop.admin().until("shop", "the third step", |rollout| {
        assert!(rollout.step == 3 || (rollout.step == 2 && rollout.weight == 3_000), "{rollout:?}");
        rollout.step == 3
    });
    assert!(since.elapsed().as_secs_f64() >= 4.0, "the hold was cut short");
    let promoted = shop.admin().until_phase("shop", Phase::Promoted);
    assert_eq!((&promoted.id, promoted.weight), (&killed.id, 10_000));
    let report = load.stop();
    assert_eq!((failures(&report), report.not_sent), (0, 0), "{report}");
}

/// Under load, three times in a row: clients are refused for a moment, and the rollout goes on as if nothing had been.
#[test]
fn a_process_that_is_killed_in_a_rollout_serves_again_within_a_second() {
    let mut shop = Shop::open("{ warmup: 0s, steps: [{ weight: 10%, hold: 1s }, { weight: 30%, hold: 10m }] }");
    let load = shop.server.load(500.0).start().unwrap();
    shop.release_v2();
    let before = shop.admin().until("shop", "the second step", |rollout| rollout.step == 2);
    drop(load.stop());
    let mut away = Vec::new();
    for _ in 0..3 {
        let load = shop.server.load(500.0).start().unwrap();
        until_true("traffic", || load.live().answered >= 100);
        let since = Stopwatch::start();
        shop = shop.kill_and_restart();
        // The split is in force from the first request on.
        let answered = shop.server.answers(300);
        away.push(since.elapsed());
        assert!((50..130).contains(&answered("v2")) && answered("v1") + answered("v2") == 300, "{}", answered("v2"));
        drop(load.stop());
        let found = shop.admin().rollout("shop");
        assert_eq!((&found.id, found.phase, found.step, found.weight), (&before.id, Phase::Progressing, 2, 3_000));
    }
    // 300 requests take 0.6 s of it; what else this machine does makes one of them longer, and not all.
    let (least, most) = (away.iter().min().unwrap().as_secs_f64(), away.iter().max().unwrap().as_secs_f64());
    assert!(least < 1.6 && most < 5.0, "{away:?}");
    shop.v2.dial().set_errors(Fraction::ONE);
    let load = shop.server.load(500.0).start().unwrap();
    let ended = shop.admin().until_phase("shop", Phase::RolledBack);
    assert_eq!((ended.id, failures(&load.stop())), (before.id, 0));
}

/// With very many rollouts the state of each is saved every few seconds alone. Here it is put back to what it was then.
#[test]
fn evidence_that_was_not_saved_for_seconds_is_taken_from_the_record_after_a_kill() {
    let shop = Shop::open("{ steps: [{ weight: 30%, hold: 10m }] }");
    let load = shop.server.load(300.0).start().unwrap();
    shop.release_v2();
    let judged = |rollout: &RolloutView| rollout.requests.stable + rollout.requests.canary;
    let early = shop.admin().until("shop", "a second of evidence", |rollout| judged(rollout) >= 400);
    let evidence = shop.place.state().join("evidence.json");
    let saved = fs::read(&evidence).unwrap();
    shop.admin().until("shop", "four seconds more", |rollout| judged(rollout) >= judged(&early) + 1_200);
    drop(load.stop());
    let record = shop.place.state().join(format!("records/shop/{}.jsonl", early.id));
    // Ticks without anything are one line, which ends with their second.
    until_true("all windows are in the record", || {
        fs::read_to_string(&record).unwrap().lines().next_back().unwrap().contains("\"times\":10")
    });
    let before = shop.admin().rollout("shop");

    let Shop { server, place, v1: _v1, v2: _v2 } = shop;
    server.process.kill();
    fs::write(&evidence, saved).unwrap();
    let server = place.serve();

    let found = server.admin.rollout("shop");
    assert_eq!((&found.id, found.requests, found.failed), (&before.id, before.requests, before.failed));
    let evidence = |rollout: &RolloutView| rollout.gates.iter().map(|gate| gate.log_evidence).collect::<Vec<_>>();
    assert_eq!(evidence(&found), evidence(&before));
    let warnings = server.admin.service("shop").warnings;
    assert!(warnings.iter().all(|warning| !warning.contains("evidence")), "{warnings:?}");
}

#[test]
fn a_canary_that_was_rolled_back_stays_at_nothing_after_a_kill() {
    let plan = "{ steps: [{ weight: 30%, hold: 10m }] }";
    let shop = Shop::open(plan);
    shop.v2.dial().set_errors(Fraction::ONE);
    let load = shop.server.load(300.0).start().unwrap();
    shop.release_v2();
    let ended = shop.admin().until_phase("shop", Phase::RolledBack);

    let shop = shop.kill_and_restart();

    drop(load.stop());
    let before = shop.v2.arrivals().requests;
    let found = shop.admin().rollout("shop");
    assert_eq!((&found.id, found.phase, found.weight), (&ended.id, Phase::RolledBack, 0), "{found:?}");
    assert_eq!(found.reason, ended.reason);
    assert_eq!(shop.server.answers(300)("v1"), 300);
    assert_eq!(shop.v2.arrivals().requests, before);
}

#[test]
fn what_was_promoted_stays_promoted_after_a_kill() {
    let shop = Shop::open("{ steps: [{ weight: 5%, hold: 10m }] }");
    shop.release_v2();
    let promoted = shop.admin().act("shop", "promote");
    assert_eq!((promoted.status, promoted.body["phase"].as_str()), (200, Some("promoted")), "{promoted:?}");

    let shop = shop.kill_and_restart();

    let service = shop.admin().service("shop");
    assert_eq!((service.stable.as_str(), service.rollout.map(|it| it.phase)), ("v2", Some(Phase::Promoted)));
    assert_eq!(shop.server.answers(100)("v2"), 100);
}

#[test]
fn after_a_loss_of_power_that_left_a_journal_of_zeros_no_canary_has_a_weight_and_it_is_told() {
    let (v1, v2, place) = (origin("v1"), origin("v2"), Place::new());
    let file = configuration(&place, &v1, &v2, "{ steps: [{ weight: 5%, hold: 10m }] }");
    place.write(&file.replace("    stable: v1\n", "    stable: v1\n    canary: v2\n    weight: 30%\n"));
    for left in [vec![0; 2_000], Vec::new()] {
        let server = place.serve();
        assert_eq!(server.admin.set_weight("shop", "v2", 1_000).status, 200);
        server.process.kill();
        fs::write(place.state().join("journal"), left).unwrap();

        let server = place.serve();
        let shop = server.admin.service("shop");
        assert_eq!((shop.stable.as_str(), shop.weight), ("v1", 0));
        let told = shop.warnings.iter().any(|it| it.contains("holds nothing that can be read"));
        assert!(told, "{:?}", shop.warnings);
        assert_eq!(server.answers(200)("v2"), 0);
        server.process.kill();

        // The next start knows what the last one decided.
        let server = place.serve();
        let shop = server.admin.service("shop");
        assert_eq!((shop.weight, shop.warnings.len()), (0, 0), "{:?}", shop.warnings);
        server.stop();
    }
    assert!(place.state().join("journal.corrupt-2").exists());
}
