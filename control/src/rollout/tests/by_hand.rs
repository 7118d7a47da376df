//! Weights, starts, retries and undos that people ask for.

use super::*;

#[test]
fn a_start_that_the_disk_refuses_supersedes_nothing() {
    let mut world = World::in_phase(Phase::Progressing);
    world.problem = Some("no space".into());
    world.start("v3").unwrap_err();
    assert_eq!((world.phase(), world.weight("v2")), (Phase::Progressing, 100));
}

#[test]
fn a_weight_by_hand_pauses_the_plan_and_a_resume_keeps_the_lower_weight() {
    for (by_hand, kept) in [(50, 50), (3_000, 100)] {
        let mut world = World::in_phase(Phase::Progressing);
        world.set_weight("v2", by_hand).unwrap();
        world.sync();
        assert_eq!((world.phase(), world.weight("v2")), (Phase::Paused, by_hand));
        assert!(world.reason().contains("by hand"));
        world.act(Action::Resume).unwrap();
        world.sync();
        assert_eq!((world.phase(), world.weight("v2")), (Phase::Progressing, kept));
        world.pass(10);
        world.sync();
        assert_eq!(world.weight("v2"), 1_000, "the next step is as planned");
    }
}

#[test]
fn a_start_keeps_the_lower_of_the_weight_by_hand_and_the_first_step() {
    for (by_hand, kept) in [(50, 50), (3_000, 100)] {
        let mut world = World::new();
        world.set_weight("v2", by_hand).unwrap();
        world.sync();
        world.start("v2").unwrap();
        world.sync();
        assert_eq!(world.weight("v2"), kept);
    }
}

#[test]
fn a_raised_weight_waits_for_the_disk_and_a_lowered_one_does_not() {
    let mut world = World::new();
    assert!(world.set_weight("v2", 1_000).unwrap().is_some());
    assert_eq!(world.weight("v2"), 0);
    world.sync();
    assert_eq!(world.set_weight("v2", 400).unwrap(), None);
    assert_eq!(world.weight("v2"), 400);
}

#[test]
fn weights_that_make_no_sense_are_refused() {
    let mut world = World::in_phase(Phase::Progressing);
    let Err(Refused::Invalid(text)) = world.set_weight("v1", 100) else { panic!("the stable took a weight") };
    assert!(text.contains("stable") && text.contains("v2"), "{text}");
    let Err(Refused::Invalid(text)) = world.set_weight("v9", 100) else { panic!("an unknown version took a weight") };
    assert!(text.contains("v2, v3"), "{text}");
    assert!(is_conflict(&world.set_weight("v3", 100)), "another version than the rollout's");
    let unnamed = || Event::SetWeight { version: None, weight: weight(1), if_generation: None, reason: None };
    assert!(matches!(World::new().event(unnamed()), Err(Refused::Invalid(_))), "two versions could be meant");
}

#[test]
fn a_weight_without_a_name_is_for_the_version_that_has_traffic() {
    let mut world = World::in_phase(Phase::Progressing);
    let off = || Event::SetWeight { version: None, weight: weight(0), if_generation: None, reason: None };
    world.event(off()).unwrap();
    assert_eq!(world.weight("v2"), 0);

    let mut world = World::new();
    world.set_weight("v3", 500).unwrap();
    world.sync();
    world.event(off()).unwrap();
    assert_eq!(world.weight("v3"), 0);
}

#[test]
fn compare_and_set_refuses_a_weight_for_another_generation() {
    let mut world = World::new();
    let generation = world.release.state().generation;
    let set = |generation| Event::SetWeight {
        version: Some(name("v2")),
        weight: weight(100),
        if_generation: Some(generation),
        reason: None,
    };
    assert!(is_conflict(&world.event(set(generation + 1))));
    world.event(set(generation)).unwrap();
    world.sync();
    assert_eq!(world.release.state().generation, generation + 1);
}

#[test]
fn the_generation_grows_by_one_with_every_change_of_the_split_and_no_other() {
    let mut world = World::in_phase(Phase::Progressing);
    let generation = world.release.state().generation;
    world.act(Action::Pause).unwrap();
    assert_eq!(world.release.state().generation, generation);
    world.act(Action::Abort).unwrap();
    assert_eq!(world.release.state().generation, generation + 1);
}

#[test]
fn starts_that_make_no_sense_are_refused() {
    let mut world = World::in_phase(Phase::Progressing);
    assert!(matches!(world.start("v1"), Err(Refused::Invalid(_))), "the stable");
    assert!(matches!(world.start("v9"), Err(Refused::Invalid(_))), "unknown");
    assert!(is_conflict(&world.start("v2")), "running already");
}

#[test]
fn another_canary_supersedes_the_running_rollout_at_once() {
    let mut world = World::in_phase(Phase::Progressing);
    world.start("v3").unwrap();
    assert_eq!((world.phase(), world.weight("v2")), (Phase::Superseded, 0));
    world.sync();
    assert_eq!((world.phase(), world.weight("v3")), (Phase::Progressing, 100));
    assert_eq!(world.release.state().history[0].phase, Phase::Superseded);
}

#[test]
fn a_retry_is_a_new_rollout_of_the_same_canary_under_the_same_plan() {
    let mut world = World::in_phase(Phase::RolledBack);
    let old = world.release.state().rollout.clone().unwrap();
    world.act(Action::Retry).unwrap();
    world.sync();
    let new = world.release.state().rollout.clone().unwrap();
    assert_ne!(new.id, old.id);
    assert_eq!((new.canary, new.plan, new.step), (old.canary, old.plan, 0));
}

#[test]
fn an_undo_returns_to_the_previous_stable_at_once_and_only_once() {
    let mut world = World::in_phase(Phase::Promoted);
    world.problem = Some("no space".into());
    world.act(Action::Undo).unwrap();
    assert_eq!(world.release.state().stable, name("v1"));
    world.problem = None;
    assert!(is_conflict(&world.act(Action::Undo)));
}

#[test]
fn history_keeps_the_last_twenty_and_outcomes_count_them_all() {
    let mut world = World::new();
    for _ in 0..25 {
        world.start("v2").unwrap();
        world.sync();
        world.act(Action::Abort).unwrap();
    }
    let state = world.release.state();
    assert_eq!((state.history.len(), state.outcomes[&Phase::Aborted]), (HISTORY, 25));
    assert_eq!(state.history[0].id, "rollout-49", "the newest comes first");
}

#[test]
fn the_canary_of_those_who_ask_for_it_is_the_one_under_test_or_the_files_until_it_was_tested() {
    let mut world = World::with("stable: v1, canary: v2, weight: 0%");
    let canary =
        |world: &World| world.release.state().split().canary.map(|(canary, weight)| (canary.to_string(), weight));
    let waiting = |version: &str| Some((version.to_owned(), Weight::ZERO));
    assert_eq!(canary(&world), waiting("v2"), "before its rollout");

    world.start("v3").unwrap();
    world.sync();
    world.set_weight("v3", 0).unwrap();
    world.sync();
    assert_eq!(canary(&world), waiting("v3"), "under test, and pulled by hand");

    world.act(Action::Abort).unwrap();
    world.sync();
    assert_eq!(canary(&world), waiting("v2"), "it had no part in that");

    world.start("v2").unwrap();
    world.sync();
    world.judged(bad());
    assert_eq!((world.phase(), canary(&world)), (Phase::RolledBack, None));
}
