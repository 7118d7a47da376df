//! Restarts, reloads and the file.

use super::*;

#[test]
fn a_restart_goes_on_at_the_journalled_step_with_its_hold_begun_anew() {
    let mut world = World::in_phase(Phase::Progressing);
    world.pass(10);
    world.sync();
    world.pass(9);
    let journalled = world.journal.last().unwrap().clone();
    let mut world = world.restart(&journalled, "stable: v1");
    assert_eq!((world.phase(), world.weight("v2")), (Phase::Progressing, 1_000));
    world.pass(9);
    assert!(world.release.proposed().is_none(), "time before the restart counted");
    world.pass(1);
    assert!(world.release.proposed().is_some());
}

#[test]
fn a_promotion_outlives_restart_and_wins_until_the_files_own_stable_changes() {
    let world = World::in_phase(Phase::Promoted);
    let journalled = world.journal.last().unwrap().clone();
    let again = world.restart(&journalled, "stable: v1");
    assert_eq!(again.release.state().stable, name("v2"));
    assert!(again.release.differs_from_file()[0].contains("the file says v1"));

    let mut changed = world.restart(&journalled, "stable: v3");
    changed.sync();
    assert_eq!(changed.release.state().stable, name("v3"));
    assert_eq!(changed.release.differs_from_file(), Vec::<String>::new());
    assert!(is_conflict(&changed.act(Action::Undo)), "v2 is not the stable any more");
}

#[test]
fn a_file_brought_up_to_date_with_a_promotion_does_not_bring_back_the_canary_that_it_still_names() {
    let mut world = World::new();
    world.event(Event::FileChanged(service("stable: v1, canary: v2, weight: 10%"))).unwrap();
    world.sync();
    assert_eq!(world.weight("v2"), 1_000);
    world.set_weight("v2", 0).unwrap();
    world.sync();
    world.start("v3").unwrap();
    world.sync();
    world.act(Action::Promote).unwrap();
    world.sync();
    assert_eq!(world.release.state().stable, name("v3"));

    world.event(Event::FileChanged(service("stable: v3, canary: v2, weight: 10%"))).unwrap();
    world.sync();
    assert_eq!((world.release.state().stable.as_str(), world.weight("v2")), ("v3", 0));

    world.event(Event::FileChanged(service("stable: v3, canary: v2, weight: 20%"))).unwrap();
    world.sync();
    assert_eq!(world.weight("v2"), 2_000, "its own value changed");
}

#[test]
fn a_weight_by_hand_outlives_a_reload_and_wins_until_the_files_own_weight_changes() {
    let mut world = World::with("stable: v1, canary: v2, weight: 10%");
    world.set_weight("v2", 500).unwrap();
    world.event(Event::FileChanged(service("stable: v1, canary: v2, weight: 10%"))).unwrap();
    assert_eq!(world.weight("v2"), 500);
    assert_eq!(world.release.differs_from_file().len(), 1);

    let waits = world.event(Event::FileChanged(service("stable: v1, canary: v2, weight: 20%"))).unwrap();
    assert_eq!((waits.is_some(), world.weight("v2")), (true, 500), "more canary waits for the disk");
    world.sync();
    assert_eq!(world.weight("v2"), 2_000);
    world.event(Event::FileChanged(service("stable: v1"))).unwrap();
    assert_eq!(world.weight("v2"), 0, "less canary does not wait");
}

#[test]
fn a_reload_may_not_take_away_what_is_in_use() {
    let without = |version: &str| {
        let versions = VERSIONS.replace(&format!("{version}:"), "v9:");
        let stable = if version == "v1" { "v9" } else { "v1" };
        Arc::new(configuration(&format!("stable: {stable}, {versions}, {PLAN}")).services.remove(0))
    };
    let world = World::in_phase(Phase::Progressing);
    let refused = |world: &World, new: Option<&Service>, word: &str| match world
        .release
        .may_become(&moment(0, None), new)
    {
        Err(Refused::Conflict { detail, .. }) => assert!(detail.contains("shop") && detail.contains(word), "{detail}"),
        other => panic!("{other:?}"),
    };
    refused(&world, Some(&without("v2")), "v2");
    refused(&world, Some(&without("v1")), "v1");
    refused(&world, None, "v2");
    refused(&World::in_phase(Phase::Promoted), Some(&without("v2")), "v2");
    let free = World::in_phase(Phase::RolledBack);
    assert_eq!(free.release.may_become(&moment(0, None), Some(&without("v2"))), Ok(()));
}

#[test]
fn a_running_rollout_keeps_the_plan_it_began_with() {
    let mut world = World::in_phase(Phase::Progressing);
    let other = format!("stable: v1, {VERSIONS}, plan: {{ steps: [{{ weight: 90%, hold: 1s }}] }}");
    let other = configuration(&other).services.remove(0);
    world.event(Event::FileChanged(Arc::new(other))).unwrap();
    assert_eq!(world.release.state().running().unwrap().plan.steps.len(), 4);
    assert_eq!(world.weight("v2"), 100);
}

#[test]
fn a_rollout_whose_canary_left_the_file_while_nothing_ran_is_aborted() {
    let world = World::in_phase(Phase::Progressing);
    let journalled = world.journal.last().unwrap().clone();
    let text = "stable: v1, versions: { v1: { endpoints: ['a:1'] } }";
    let gone = Arc::new(configuration(text).services.remove(0));
    let (release, _) = Release::restore(gone, journalled, None, &moment(0, None));
    assert_eq!((release.phase(), release.state().split().canary), (Some(Phase::Aborted), None));
    assert_eq!(release.warnings().len(), 2);
}
