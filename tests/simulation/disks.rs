//! Disks that are full, flaky or slow.

use control::command::{Action, Refused};
use control::view::Phase;

use crate::disk::Mood;
use crate::traffic::Manner;
use crate::world::{Crash, World, answered};
use crate::{SHOP, with_seeds};

#[test]
fn while_the_disk_is_full_steps_forward_stop_rollback_works_and_it_recovers() {
    with_seeds("while_the_disk_is_full_steps_forward_stop_rollback_works_and_it_recovers", 30, |seed| {
        let mut world = World::new(seed, SHOP, 500);
        world.start("v2");
        let ticks = world.random.u32(1..140);
        (0..ticks).for_each(|_| world.tick());
        world.disk.set_mood(Mood::Full);
        let weight = world.weight();
        world.run(20);
        assert!(world.weight() <= weight, "a step forward on a full disk");
        assert_eq!(world.stable(), "v1");
        let refused = answered(&mut world.act(Action::Promote)).expect("it is refused now");
        assert!(matches!(refused, Err(Refused::JournalUnwritable(_))), "{refused:?}");
        assert!(world.core.snapshot().load().journal_problem.is_some());

        world.traffic.answers("v2", Manner::BAD);
        world.run_until(5, |world| world.phase() == Some(Phase::RolledBack)).expect("it is rolled back");
        world.disk.set_mood(Mood::Fine);
        world.run(3);
        assert_eq!(world.core.snapshot().load().journal_problem, None);
        world.crash(Crash::PowerLoss);
        assert_eq!((world.phase(), world.weight()), (Some(Phase::RolledBack), 0), "the rollback is on disk by now");
    });
}

#[test]
fn a_flaky_disk_delays_a_rollout_and_breaks_nothing() {
    with_seeds("a_flaky_disk_delays_a_rollout_and_breaks_nothing", 30, |seed| {
        let mut world = World::new(seed, SHOP, 500);
        world.disk.set_mood(Mood::Flaky);
        world.run(1);
        for _ in 0..50 {
            if world.phase().is_some() {
                break;
            }
            world.start("v2");
            world.run(1);
        }
        for _ in 0..4 {
            let ticks = world.random.u32(..60);
            (0..ticks).for_each(|_| world.tick());
            world.crash_somehow();
        }
        world.disk.set_mood(Mood::Fine);
        world.run(3);
        if world.phase().is_none() {
            world.start("v2");
        }
        world.run_until(60, |world| world.phase() == Some(Phase::Promoted)).expect("it is promoted in the end");
    });
}

#[test]
fn a_step_that_reaches_a_slow_disk_after_the_rollback_does_not_steer() {
    with_seeds("a_step_that_reaches_a_slow_disk_after_the_rollback_does_not_steer", 20, |seed| {
        let mut world = World::new(seed, SHOP, 500);
        world.start("v2");
        world.run(4);
        // The step is proposed and not on disk when the canary turns bad.
        world.hangs = true;
        world
            .run_until(5, |world| world.core.release("shop").unwrap().proposed().is_some())
            .expect("a step is proposed");
        world.traffic.answers("v2", Manner::BAD);
        world.run_until(5, |world| world.phase() == Some(Phase::RolledBack)).expect("it is rolled back");
        world.hangs = false;
        world.run(3);
        assert_eq!((world.phase(), world.weight()), (Some(Phase::RolledBack), 0));
    });
}

#[test]
fn a_disk_that_hangs_stops_steps_forward_after_a_while_and_they_go_on_when_it_answers() {
    let mut world = World::new(6, SHOP, 500);
    world.start("v2");
    world.run(1);
    world.hangs = true;
    world.tick();
    world.run(20);
    assert_eq!(world.weight(), 500, "the step is not on disk");
    assert!(world.core.snapshot().load().journal_problem.as_ref().is_some_and(|text| text.contains("not answered")));
    world.hangs = false;
    world.settle_all();
    world.run(2);
    assert_eq!(world.core.snapshot().load().journal_problem, None);
    world.run_until(60, |world| world.phase() == Some(Phase::Promoted)).expect("it goes on");
}

#[test]
fn a_rollback_while_the_disk_hangs_is_on_disk_once_it_answers() {
    let mut world = World::new(9, SHOP, 500);
    world.start("v2");
    world.run(1);
    world.hangs = true;
    world.run(20);
    assert!(world.core.snapshot().load().journal_problem.is_some());
    world.traffic.answers("v2", Manner::BAD);
    world.run_until(5, |world| world.phase() == Some(Phase::RolledBack)).expect("it is rolled back");
    world.hangs = false;
    world.run(3);
    world.crash(Crash::PowerLoss);
    assert_eq!((world.phase(), world.weight()), (Some(Phase::RolledBack), 0));
}

#[test]
fn evidence_that_cannot_be_saved_is_warned_of_until_it_can() {
    let mut world = World::new(12, SHOP, 500);
    world.start("v2");
    world.run(2);
    let unsaved = |world: &World| {
        let warnings = world.view().warnings;
        let warning = warnings.iter().find(|warning| warning.starts_with("the evidence cannot be saved: ")).cloned();
        (warning, world.told("the evidence "))
    };
    assert_eq!(unsaved(&world), (None, 0));
    world.disk.set_mood(Mood::Full);
    world.run(5);
    let (warning, told) = unsaved(&world);
    assert!(warning.as_ref().is_some_and(|it| it.contains(": after a crash the tests go back to ")), "{warning:?}");
    assert_eq!(told, 1, "said once");
    world.disk.set_mood(Mood::Fine);
    world.run(2);
    assert_eq!(unsaved(&world), (None, 2), "and that it works again");
}

#[test]
fn a_read_only_disk_serves_as_journalled_and_says_so() {
    let mut world = World::new(7, SHOP, 500);
    world.set_weight(Some("v2"), 1_000, None);
    world.disk.set_mood(Mood::Full);
    world.crash(Crash::Kill);
    world.run(2);
    assert_eq!(world.weight(), 1_000);
    let refused = answered(&mut world.set_weight(Some("v2"), 2_000, None)).expect("it is refused now");
    assert!(matches!(refused, Err(Refused::JournalUnwritable(_))), "{refused:?}");
    assert!(answered(&mut world.set_weight(Some("v2"), 500, None)).expect("it is taken now").is_ok());
    assert_eq!(world.weight(), 500);
}
