//! Without evidence nothing moves.

use control::view::{Phase, Verdict};

use crate::shop::Shop;

#[test]
fn without_traffic_a_rollout_stays_at_its_first_step_and_says_no_data() {
    let shop = Shop::open("{ steps: [{ weight: 5%, hold: 1s }, { weight: 50%, hold: 1s }] }");
    shop.release_v2();
    let begun = shop.admin().rollout("shop");

    // The hold is over, and the loop has looked at it again and again: a look each 100 ms.
    let rollout = shop.admin().until("shop", "many looks after the hold", |rollout| rollout.step_elapsed_s >= 2.0);

    assert_eq!((rollout.phase, rollout.step, rollout.weight), (Phase::Progressing, 1, 500), "{rollout:?}");
    assert_eq!(rollout.generation, begun.generation);
    let errors = rollout.gates.iter().find(|gate| gate.name == "errors").unwrap();
    assert_eq!(errors.verdict, Verdict::NoData, "{errors:?}");
    assert!(rollout.gates.iter().all(|gate| gate.verdict == Verdict::NoData), "{rollout:?}");
    assert!(rollout.reason.as_deref().is_some_and(|reason| reason.contains("waiting for traffic")), "{rollout:?}");
    assert_eq!((rollout.requests.stable, rollout.requests.canary), (0, 0));
}
