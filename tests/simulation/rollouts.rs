//! Rollouts of good, bad, dead and idle canaries.

use control::command::Action;
use control::view::{Phase, Verdict};
use meter::Class;

use crate::traffic::Manner;
use crate::world::{World, answered};
use crate::{SHOP, with_seeds};

#[test]
fn a_healthy_canary_is_promoted() {
    with_seeds("a_healthy_canary_is_promoted", 20, |seed| {
        let mut world = World::new(seed, SHOP, 500);
        world.start("v2");
        world.run_until(60, |world| world.phase() == Some(Phase::Promoted)).expect("it is promoted");
        assert_eq!((world.stable().as_str(), world.weight()), ("v2", 0));
        let rollout = world.rollout().unwrap();
        assert_eq!(rollout.weight, 10_000);
        assert!(rollout.requests.canary > 1_000, "{rollout:?}");
    });
}

#[test]
fn a_canary_that_turns_bad_at_any_step_is_rolled_back() {
    with_seeds("a_canary_that_turns_bad_at_any_step_is_rolled_back", 20, |seed| {
        for step in 1..=3 {
            let mut world = World::new(seed, SHOP, 500);
            world.start("v2");
            let there = |world: &World| world.rollout().is_some_and(|rollout| rollout.step == step);
            world.run_until(60, there).expect("it comes to that step");
            world.run(2);
            world.traffic.answers("v2", Manner::BAD);
            world.run_until(5, |world| world.phase() == Some(Phase::RolledBack)).expect("it is rolled back");
            assert_eq!((world.stable().as_str(), world.weight()), ("v1", 0));

            let sent = world.traffic.sent("v2");
            world.run(10);
            assert_eq!(world.traffic.sent("v2"), sent, "nothing goes to it any more");
            let rollout = world.rollout().unwrap();
            assert!(rollout.reason.is_some_and(|reason| reason.contains("v2")));
            assert!(rollout.gates.iter().any(|gate| gate.verdict == Verdict::Fail), "{:?}", rollout.gates);
        }
    });
}

/// What waits for its answer is nobody's evidence, and the steps are shorter than an answer may take.
#[test]
fn a_canary_that_hangs_at_any_step_is_rolled_back_before_the_next() {
    with_seeds("a_canary_that_hangs_at_any_step_is_rolled_back_before_the_next", 10, |seed| {
        for step in 1..=3 {
            let mut world = World::new(seed, SHOP, 1_000);
            world.start("v2");
            let there = |world: &World| world.rollout().is_some_and(|rollout| rollout.step == step);
            world.run_until(60, there).expect("it comes to that step");
            world.run(2);
            world.traffic.answers("v2", Manner { late: 1.0, failure: Class::Timeout, ..Manner::BAD });
            let over =
                |world: &World| world.rollout().is_some_and(|rollout| rollout.step > step || rollout.phase.has_ended());
            let waits = |world: &World| world.rollout().is_some_and(|rollout| rollout.reason.is_some());
            world.run_until(5, waits).expect("it says what it waits for");
            let reason = world.rollout().unwrap().reason.unwrap();
            assert!(reason.starts_with("waiting for answers of v2: "), "{reason}");
            world.run_until(20, over).expect("it is over");
            assert_eq!(world.phase(), Some(Phase::RolledBack), "{:?}", world.rollout());
        }
    });
}

#[test]
fn a_step_lasts_longer_by_the_time_in_which_the_process_was_stopped() {
    with_seeds("a_step_lasts_longer_by_the_time_in_which_the_process_was_stopped", 10, |seed| {
        let mut world = World::new(seed, SHOP, 500);
        world.start("v2");
        world.run_until(60, |world| world.rollout().is_some_and(|rollout| rollout.step == 3)).expect("the last step");
        world.run(1);
        world.stand_still(3_600);
        world.run(3);
        assert_eq!(world.phase(), Some(Phase::Progressing), "{:?}", world.rollout());
        world.run_until(10, |world| world.phase() == Some(Phase::Promoted)).expect("it is promoted");
    });
}

#[test]
fn a_canary_with_a_few_more_errors_is_rolled_back() {
    with_seeds("a_canary_with_a_few_more_errors_is_rolled_back", 20, |seed| {
        let mut world = World::new(seed, SHOP, 1_000);
        world.traffic.answers("v2", Manner::SICKLY);
        world.start("v2");
        world.run_until(60, |world| world.phase() == Some(Phase::RolledBack)).expect("it is rolled back");
    });
}

#[test]
fn a_canary_without_a_live_endpoint_is_rolled_back_and_not_waited_for() {
    with_seeds("a_canary_without_a_live_endpoint_is_rolled_back_and_not_waited_for", 10, |seed| {
        let mut world = World::new(seed, SHOP, 500);
        world.traffic.answers("v2", Manner::DEAD);
        world.start("v2");
        world.run_until(10, |world| world.phase() == Some(Phase::RolledBack)).expect("it is rolled back");
    });
}

#[test]
fn without_traffic_nothing_moves_and_status_says_why() {
    let mut world = World::new(1, SHOP, 0);
    world.start("v2");
    world.run(600);
    let rollout = world.rollout().unwrap();
    assert_eq!((rollout.phase, rollout.step, rollout.weight), (Phase::Progressing, 1, 500));
    assert!(rollout.reason.is_some_and(|reason| reason.contains("traffic")));
    assert!(rollout.gates.iter().all(|gate| gate.verdict == Verdict::NoData), "{:?}", rollout.gates);

    world.traffic.set_rate(500);
    world.run_until(60, |world| world.phase() == Some(Phase::Promoted)).expect("traffic came, and it is promoted");
}

#[test]
fn a_bad_canary_is_rolled_back_while_the_rollout_is_paused() {
    with_seeds("a_bad_canary_is_rolled_back_while_the_rollout_is_paused", 10, |seed| {
        let mut world = World::new(seed, SHOP, 500);
        world.start("v2");
        world.run(2);
        world.act(Action::Pause);
        world.run(60);
        assert_eq!((world.phase(), world.weight()), (Some(Phase::Paused), 500));
        world.traffic.answers("v2", Manner::BAD);
        world.run_until(10, |world| world.phase() == Some(Phase::RolledBack)).expect("it is rolled back");
    });
}

#[test]
fn errors_of_both_versions_roll_nothing_back() {
    with_seeds("errors_of_both_versions_roll_nothing_back", 10, |seed| {
        let mut world = World::new(seed, SHOP, 500);
        for version in ["v1", "v2"] {
            world.traffic.answers(version, Manner::SICKLY);
        }
        world.start("v2");
        world.run_until(120, |world| world.phase() == Some(Phase::Promoted)).expect("it is no worse, and promoted");
    });
}

#[test]
fn traffic_from_before_the_rollout_is_not_judged() {
    let mut world = World::new(3, SHOP, 500);
    world.traffic.answers("v2", Manner::BAD);
    world.set_weight(Some("v2"), 5_000, None);
    world.run(5);
    // v2 is bad until the moment of the start, within a second that was not looked at yet.
    (0..5).for_each(|_| world.tick());
    world.traffic.answers("v2", Manner::GOOD);
    world.start("v2");
    world.tick();
    assert_eq!(world.rollout().unwrap().failed.canary, 0);
}

#[test]
fn a_promotion_is_undone_at_once() {
    let mut world = World::new(4, SHOP, 500);
    world.start("v2");
    world.act(Action::Promote);
    assert_eq!(world.stable(), "v2");
    world.hangs = true;
    world.tick();
    let undone = answered(&mut world.act(Action::Undo)).expect("it does not wait for the disk");
    assert!(undone.is_ok_and(|rollout| rollout.weight == 0));
    assert_eq!(world.stable(), "v1");
}
