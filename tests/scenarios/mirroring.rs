//! A canary that gets copies of requests before it has users.

use control::view::{Phase, RolloutView};
use loadtest::{Fraction, failures};

use crate::patience::until_true;
use crate::shop::Shop;

const PLAN: &str = "{ min_requests: 50, steps: [{ mirror: 50%, hold: 2s }, { weight: 20%, hold: 10m }], \
                    gates: [{ errors: {} }, { mirror: { errors: 2%, status: 2% } }] }";

fn compared(rollout: &RolloutView) -> u64 {
    rollout.copies.map_or(0, |copies| copies.compared)
}

#[test]
fn a_canary_that_answers_copies_with_errors_is_taken_back_before_it_has_a_user() {
    let shop = Shop::open(PLAN);
    let load = shop.server.load(500.0).start().unwrap();
    until_true("traffic", || load.live().answered >= 100);
    shop.v2.dial().set_errors(Fraction::ONE);
    shop.release_v2();
    let rollout = shop.admin().until("shop", "the end of it", |rollout| rollout.phase == Phase::RolledBack);
    let reason = rollout.reason.clone().unwrap();
    assert!(reason.starts_with("mirror-") && reason.contains("copied requests"), "{reason}");
    assert_eq!((rollout.step, rollout.weight, rollout.mirror), (1, 0, None), "{rollout:?}");
    assert_eq!(rollout.requests.canary, 0, "no user had it: {rollout:?}");
    let status = shop.server.tidegate(&["status", "shop"]);
    assert!(
        status.out.contains("copies to v2: ") && status.out.contains("stable answered 200, the copy 500"),
        "{status:?}"
    );
    let metrics = shop.admin().text("/metrics");
    assert!(
        metrics.contains("tidegate_mirror_differences_total{service=\"shop\",version=\"v2\",difference=\"failed\"}")
    );
    let report = load.stop();
    assert_eq!(failures(&report), 0, "nobody noticed: {report}");
}

#[test]
fn a_canary_that_answers_copies_as_stable_does_comes_to_users_also_after_a_process_was_killed() {
    let shop = Shop::open(&PLAN.replace("hold: 2s", "hold: 4s"));
    shop.release_v2();
    let shop = shop.kill_and_restart();
    let load = shop.server.load(500.0).start().unwrap();
    let rollout = shop.admin().until("shop", "copies", |rollout| compared(rollout) >= 50);
    assert_eq!((rollout.step, rollout.weight, rollout.mirror), (1, 0, Some(5_000)), "{rollout:?}");
    let rollout = shop.admin().until("shop", "users", |rollout| rollout.step == 2);
    assert_eq!((rollout.phase, rollout.weight, rollout.mirror), (Phase::Progressing, 2_000, None), "{rollout:?}");
    let report = load.stop();
    assert_eq!(failures(&report), 0, "{report}");
}
