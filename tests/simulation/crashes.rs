//! Processes that end at any moment.

use control::view::Phase;

use crate::traffic::Manner;
use crate::world::{Crash, World};
use crate::{SHOP, with_seeds};

/// The world checks its invariants after every step; see `World::check` and `World::crash`.
#[test]
fn a_rollout_goes_on_after_a_crash_at_any_moment() {
    with_seeds("a_rollout_goes_on_after_a_crash_at_any_moment", 60, |seed| {
        let mut world = World::new(seed, SHOP, 500);
        world.disk_delay = world.random.u32(..8);
        world.start("v2");
        for _ in 0..5 {
            let ticks = world.random.u32(..80);
            (0..ticks).for_each(|_| world.tick());
            world.crash_somehow();
        }
        world.disk_delay = 0;
        world.settle_all();
        // Either the start never reached the disk, or the rollout goes on to its end.
        if world.phase().is_none() {
            assert_eq!(world.weight(), 0);
            world.start("v2");
        }
        world.run_until(60, |world| world.phase() == Some(Phase::Promoted)).expect("it is promoted in the end");
        world.crash(Crash::PowerLoss);
        assert_eq!((world.stable().as_str(), world.phase()), ("v2", Some(Phase::Promoted)));
    });
}

#[test]
fn a_rolled_back_canary_gets_no_traffic_after_a_crash() {
    with_seeds("a_rolled_back_canary_gets_no_traffic_after_a_crash", 60, |seed| {
        let mut world = World::new(seed, SHOP, 500);
        world.start("v2");
        let ticks = world.random.u32(..120);
        (0..ticks).for_each(|_| world.tick());
        world.traffic.answers("v2", Manner::BAD);
        world.run_until(5, |world| world.phase() == Some(Phase::RolledBack)).expect("it is rolled back");
        world.tick();
        let sent = world.traffic.sent("v2");
        for crash in [Crash::PowerLoss, Crash::Kill] {
            world.crash(crash);
            world.run(5);
            assert_eq!((world.phase(), world.traffic.sent("v2")), (Some(Phase::RolledBack), sent));
        }
    });
}

#[test]
fn the_present_step_is_held_anew_after_a_crash_and_its_evidence_goes_on() {
    with_seeds("the_present_step_is_held_anew_after_a_crash_and_its_evidence_goes_on", 10, |seed| {
        let mut world = World::new(seed, SHOP, 500);
        world.start("v2");
        world.run(4);
        let before = world.rollout().unwrap();
        world.crash(Crash::Kill);
        world.run(4);
        let after = world.rollout().unwrap();
        assert_eq!((after.id, after.step), (before.id, 1), "4 s twice are not 5 s");
        assert!(after.requests.stable > before.requests.stable, "the evidence was saved");
        world.run(2);
        assert_eq!(world.rollout().unwrap().step, 2);
    });
}

#[test]
fn evidence_that_is_lost_is_said() {
    let mut world = World::new(5, SHOP, 500);
    world.start("v2");
    // Less than a second: nothing was saved.
    (0..5).for_each(|_| world.tick());
    world.crash(Crash::Kill);
    assert!(world.view().warnings.iter().any(|warning| warning.contains("begin anew")), "{:?}", world.view().warnings);
    assert_eq!(world.rollout().unwrap().requests.stable, 0);
}

#[test]
fn an_orderly_restart_loses_nothing() {
    with_seeds("an_orderly_restart_loses_nothing", 20, |seed| {
        let mut world = World::new(seed, SHOP, 500);
        world.start("v2");
        let ticks = world.random.u32(1..100);
        (0..ticks).for_each(|_| world.tick());
        let before = world.view();
        world.restart();
        let after = world.view();
        let (old, new) = (before.rollout.unwrap(), after.rollout.unwrap());
        assert_eq!((old.id, old.phase, old.step, old.weight), (new.id, new.phase, new.step, new.weight));
        assert_eq!(before.generation, after.generation);
        assert_eq!(after.warnings, Vec::<String>::new());
        world.tick();
        let counted = world.rollout().unwrap().requests;
        assert!(counted.stable >= old.requests.stable && counted.canary >= old.requests.canary);
    });
}

#[test]
fn a_loop_that_ends_decides_nothing_that_the_disk_would_not_hold() {
    let mut world = World::new(10, SHOP, 500);
    world.start("v2");
    world.run(2);
    let generation = world.view().generation;
    let mut stopped = world.begin_stop();
    world.traffic.answers("v2", Manner::BAD);
    world.run(3);
    assert_eq!((world.phase(), world.weight()), (Some(Phase::Progressing), 500));
    assert!(stopped.try_recv().is_err(), "not on disk yet");
    world.finish_stop();
    assert_eq!(world.view().generation, generation, "it ended in good order");
    world.run_until(5, |world| world.phase() == Some(Phase::RolledBack)).expect("the next process sees it");
}

#[test]
fn a_stop_does_not_wait_for_a_disk_that_hangs() {
    let mut world = World::new(11, SHOP, 500);
    let mut stopped = world.begin_stop();
    world.run(6);
    assert!(world.core.has_stopped() && !world.core.closed());
    assert_eq!(stopped.try_recv(), Ok(()));
}
