//! Reading the configuration again: a good one comes into force, a bad one changes nothing.

use control::view::{Phase, ServiceView};
use loadtest::failures;

use crate::connection::KeptConnection;
use crate::process::Signal;
use crate::shop::{Shop, configuration, origin, shop};

const PLAN: &str = "{ steps: [{ weight: 5%, hold: 10m }] }";

/// A service but for its figures.
fn in_force(service: &ServiceView) -> (String, u16, u64, Vec<String>) {
    let versions = service.versions.iter().map(|version| version.name.clone()).collect();
    (service.stable.clone(), service.weight, service.generation, versions)
}

#[test]
fn a_broken_configuration_on_hup_changes_nothing_and_a_good_one_takes_effect() {
    let Shop { mut server, v1, v2, place } = Shop::open(PLAN);
    let v3 = origin("v3");
    let load = server.load(200.0).start().unwrap();
    let mut kept = KeptConnection::open(server.address);
    assert_eq!(kept.version(), "v1");
    let before = in_force(&server.admin.service("shop"));

    // When the file is broken.
    let good = configuration(&place, &v1, &v2, PLAN);
    place.write(&good.replace("stable: v1", "stable: v9"));
    server.process.signal(Signal::Hup);

    server.process.has_said("configuration not reloaded");
    let file = place.file();
    let file = file.to_str().unwrap();
    let problem = server.process.said("where the problem is", |line| {
        line.contains(&format!("{file}:6:13: services.shop.stable")).then(|| line.to_owned())
    });
    assert!(problem.contains("v9") && problem.contains("v1"), "{problem}");
    assert_eq!(in_force(&server.admin.service("shop")), before);
    assert_eq!(server.answers(50)("v1"), 50);

    // When it is mended, and has a third version.
    let versions = [("v1", &[v1.address()][..]), ("v2", &[v2.address()]), ("v3", &[v3.address()])];
    place.write(&(place.head() + &shop("v1", &versions, PLAN)));
    server.process.signal(Signal::Hup);

    server.process.has_said("configuration reloaded");
    let names: Vec<_> = server.admin.service("shop").versions.into_iter().map(|version| version.name).collect();
    assert_eq!(names, ["v1", "v2", "v3"]);
    assert_eq!(server.admin.set_weight("shop", "v3", 10_000).status, 200);
    assert_eq!(server.answers(50)("v3"), 50);
    assert_eq!(kept.version(), "v3", "on the connection of before");
    let report = load.stop();
    assert_eq!((failures(&report), report.not_sent), (0, 0), "{report}");
}

#[test]
fn the_reload_command_prints_every_problem_and_fails() {
    let Shop { server, v1, v2, place } = Shop::open(PLAN);
    let before = in_force(&server.admin.service("shop"));
    let broken = configuration(&place, &v1, &v2, "{ steps: [{ weight: 500%, hold: 10m }] }");
    place.write(&broken.replace("stable: v1", "stabel: v1"));

    let end = server.tidegate(&["reload"]);

    assert_eq!(end.code, Some(1), "{end:?}");
    let problems: Vec<_> = end.err.lines().filter(|line| line.contains("shop.yaml:")).collect();
    assert!(problems.len() >= 2, "{end:?}");
    assert!(problems.iter().any(|line| line.contains("stabel") && line.contains("stable")), "{problems:?}");
    assert!(problems.iter().any(|line| line.contains("weight") && line.contains("500%")), "{problems:?}");
    assert_eq!(in_force(&server.admin.service("shop")), before);
    assert_eq!(server.answers(50)("v1"), 50);
}

#[test]
fn a_reload_that_would_take_the_canary_out_of_a_rollout_is_refused() {
    let Shop { server, v1, v2, place } = Shop::open(PLAN);
    assert_eq!(server.admin.start("shop", "v2").status, 201);
    place.write(&(place.head() + &shop("v1", &[("v1", &[v1.address()])], PLAN)));

    let refused = server.tidegate(&["reload"]);

    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("v2") && refused.err.contains("abort or promote it first"), "{refused:?}");
    let rollout = server.admin.rollout("shop");
    assert_eq!((rollout.phase, rollout.weight), (Phase::Progressing, 500));

    // When the rollout is over, nothing stands against it.
    assert_eq!(server.admin.act("shop", "abort").status, 200);
    let taken = server.tidegate(&["reload"]);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    assert_eq!(server.admin.service("shop").versions.len(), 1);
    assert_eq!(server.answers(50)("v1"), 50);
    drop(v2);
}

#[test]
fn a_rolled_back_canary_does_not_come_back_with_a_reload() {
    let shop = Shop::open(PLAN);
    shop.release_v2();
    assert_eq!(shop.admin().act("shop", "abort").status, 200);
    // Whatever else changed in the file.
    shop.place.write(&configuration(&shop.place, &shop.v1, &shop.v2, "{ steps: [{ weight: 50%, hold: 10m }] }"));

    let taken = shop.server.tidegate(&["reload"]);

    assert_eq!(taken.code, Some(0), "{taken:?}");
    assert_eq!(shop.admin().service("shop").weight, 0);
    assert_eq!(shop.server.answers(100)("v1"), 100);
}

#[test]
fn an_address_that_changed_is_said_to_need_a_restart() {
    let Shop { server, v1, v2, place } = Shop::open(PLAN);
    let changed = configuration(&place, &v1, &v2, PLAN)
        .replace("listeners: [{ address: '127.0.0.1:0' }]", "listeners: [{ address: '127.0.0.1:1' }]");
    place.write(&changed);

    let taken = server.tidegate(&["reload"]);

    assert_eq!(taken.code, Some(0), "{taken:?}");
    assert!(taken.out.contains("takes a restart") && taken.out.contains("127.0.0.1:1"), "{taken:?}");
    assert_eq!(server.answers(20)("v1"), 20);
}
