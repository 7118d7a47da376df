//! A good canary is promoted, and its promotion lasts.

use control::view::Phase;
use loadtest::failures;

use crate::patience::until_true;
use crate::process::Signal;
use crate::shop::{Place, Shop, origin, shop};

#[test]
fn a_good_canary_goes_through_every_step_and_becomes_the_stable_without_a_failed_request() {
    let shop = Shop::open(
        "{ warmup: 0s, steps: [{ weight: 20%, hold: 1s }, { weight: 50%, hold: 1s }, { weight: 80%, hold: 1s }] }",
    );
    let load = shop.server.load(500.0).start().unwrap();

    let end = shop.server.tidegate(&["rollout", "start", "shop", "--canary", "v2", "--wait"]);

    assert_eq!(end.code, Some(0), "{end:?}");
    for told in ["v2 at 20%, step 1 of 3", "v2 at 50%, step 2 of 3", "v2 at 80%, step 3 of 3", "promoted"] {
        assert!(end.out.contains(told), "{told} is missing: {}", end.out);
    }
    let service = shop.admin().service("shop");
    let rollout = service.rollout.unwrap();
    assert_eq!((service.stable.as_str(), rollout.phase, rollout.weight), ("v2", Phase::Promoted, 10_000));
    let weights: Vec<_> = service.versions.iter().map(|version| (version.name.as_str(), version.weight)).collect();
    assert_eq!(weights, [("v1", 0), ("v2", 10_000)]);
    let only = shop.server.answers(100);
    assert_eq!((only("v1"), only("v2")), (0, 100));

    let undone = shop.server.tidegate(&["rollout", "undo", "shop"]);

    assert_eq!(undone.code, Some(0), "{undone:?}");
    assert_eq!(shop.admin().service("shop").stable, "v1");
    let only = shop.server.answers(100);
    assert_eq!((only("v1"), only("v2")), (100, 0));
    let report = load.stop();
    assert_eq!((failures(&report), report.not_sent), (0, 0), "{report}");
}

#[test]
fn a_promotion_outlives_restart_and_reload_until_the_files_own_stable_changes() {
    let (v1, v2, v3, place) = (origin("v1"), origin("v2"), origin("v3"), Place::new());
    let file = |stable: &str| {
        let versions = [("v1", &[v1.address()][..]), ("v2", &[v2.address()]), ("v3", &[v3.address()])];
        place.write(&(place.head() + &shop(stable, &versions, "{ steps: [{ weight: 5%, hold: 10m }] }")));
    };
    file("v1");
    let server = place.serve();
    assert_eq!(server.admin.start("shop", "v2").status, 201);
    assert_eq!(server.admin.act("shop", "promote").status, 200);
    let served_by = |server: &crate::shop::Server| {
        let answers = server.answers(50);
        (answers("v1"), answers("v2"), answers("v3"))
    };
    assert_eq!(served_by(&server), (0, 50, 0));

    // When the process ends and another takes its place.
    server.stop();
    let mut server = place.serve();
    let service = server.admin.service("shop");
    assert_eq!(service.stable, "v2");
    assert!(service.differs_from_file.iter().any(|words| words.contains("v1") && words.contains("v2")), "{service:?}");
    assert_eq!(service.rollout.map(|rollout| rollout.phase), Some(Phase::Promoted));
    assert_eq!(served_by(&server), (0, 50, 0));

    // When the same file is read again.
    let reloaded = server.tidegate(&["reload"]);
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    assert_eq!(server.admin.service("shop").stable, "v2");
    assert_eq!(served_by(&server), (0, 50, 0));

    // When the file's own value changes.
    file("v3");
    server.process.signal(Signal::Hup);
    server.process.has_said("configuration reloaded");
    until_true("the file's stable", || server.admin.service("shop").stable == "v3");
    assert_eq!(served_by(&server), (0, 0, 50));
    assert_eq!(server.admin.service("shop").differs_from_file, Vec::<String>::new());
}
