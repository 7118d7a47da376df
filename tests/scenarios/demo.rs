//! The demo, as a newcomer runs it.

use std::time::Duration;

use crate::process::{Process, tidegate};

#[test]
fn the_demo_tells_of_a_rollback_and_a_promotion_and_ends_well() {
    let mut command = tidegate();
    command.args(["demo", "--once"]);

    // It promises to be over by then.
    let end = Process::start(command).end_within(Duration::from_secs(45));

    assert_eq!(end.code, Some(0), "{end:?}");
    for told in ["v2 rolled back", "how fast", "the price", "v3 promoted", "The story went as told"] {
        assert!(end.out.contains(told), "{told} is missing:\n{}", end.out);
    }
    let (rollback, promotion) = (end.out.find("v2 rolled back"), end.out.find("v3 promoted"));
    assert!(rollback < promotion, "{}", end.out);
}
