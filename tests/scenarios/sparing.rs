//! What a bad canary does is charged to it, and no user sees it.

use control::view::Phase;
use loadtest::{Behaviour, Fraction, failures};

use crate::patience::until_true;
use crate::shop::Shop;

/// A canary with 5 % of 500 requests a second turns bad like this: it is taken back, its tally holds every failure, and
/// users see none.
fn nobody_notices(turn_bad: impl Fn(&Shop)) {
    let shop = Shop::open("{ steps: [{ weight: 5%, hold: 10m }] }");
    let load = shop.server.load(500.0).start().unwrap();
    shop.release_v2();
    shop.admin().until("shop", "good traffic on v2", |rollout| rollout.requests.canary >= 20);

    turn_bad(&shop);

    let rollout = shop.admin().until_phase("shop", Phase::RolledBack);
    let report = load.stop();
    assert_eq!((failures(&report), report.server_errors), (0, 0), "{report}");
    let bad = shop.v2.arrivals().bad;
    assert!(bad > 0 && rollout.failed.canary > 0, "{rollout:?}");
    // A kept connection that is reset at once is forgiven, and the next attempt judged in its place.
    until_true("every failure in v2's tally, and every one hidden", || {
        let service = shop.admin().service("shop");
        let v2 = service.versions.iter().find(|version| version.name == "v2").unwrap();
        v2.in_flight == 0 && v2.failed == v2.saved && (bad.div_ceil(2)..=bad).contains(&v2.failed)
    });
}

#[test]
fn of_a_canary_that_answers_5xx_to_everything_users_see_nothing() {
    nobody_notices(|shop| shop.v2.dial().set_errors(Fraction::ONE));
}

#[test]
fn of_a_canary_that_resets_its_connections_users_see_nothing() {
    nobody_notices(|shop| shop.v2.dial().set_behaviour(Behaviour::Reset));
}

#[test]
fn of_a_canary_that_sends_broken_heads_users_see_nothing() {
    nobody_notices(|shop| shop.v2.dial().set_behaviour(Behaviour::Garbage));
}
