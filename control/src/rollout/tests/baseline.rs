//! Whom the canary is compared with, in the split.

use super::*;

fn split(world: &World) -> Vec<(String, u16)> {
    world
        .release
        .state()
        .baseline()
        .into_iter()
        .map(|(name, weight)| (name.to_string(), weight.basis_points()))
        .collect()
}

/// What each version has of the traffic.
fn shares(world: &World) -> [u16; 3] {
    ["v1", "v2", "v3"].map(|version| world.release.state().share_of(&name(version)).basis_points())
}

fn at_weight(baseline: &str, basis_points: u16) -> World {
    let percent = f64::from(basis_points) / 100.0;
    World::under(&format!("baseline: {baseline}, steps: [{{ weight: {percent}%, hold: 10s }}]"))
}

#[test]
fn an_equal_slice_is_as_large_as_the_canary_or_all_that_is_left() {
    for (canary, slice) in [(1, 1), (1_000, 1_000), (5_000, 5_000), (7_000, 3_000)] {
        let world = at_weight("equal", canary);
        assert_eq!(split(&world), [("v1".to_owned(), slice)], "{canary}");
        assert_eq!(shares(&world), [10_000 - canary, canary, 0], "a slice of stable is stable's");
    }
}

#[test]
fn a_named_version_has_as_much_as_the_canary_or_half_of_what_is_left() {
    for (canary, baseline) in [(1_000, 1_000), (5_000, 2_500), (3_334, 3_333)] {
        let world = at_weight("v3", canary);
        assert_eq!(split(&world), [("v3".to_owned(), baseline)], "{canary}");
        assert_eq!(shares(&world), [10_000 - canary - baseline, canary, baseline]);
        assert_eq!(shares(&world).iter().sum::<u16>(), 10_000);
    }
    assert_eq!(split(&at_weight("v3", 9_999)), [], "half of one basis point is none");
}

#[test]
fn a_baseline_is_there_only_while_the_rollout_runs_and_its_canary_has_traffic() {
    for baseline in ["equal", "v3"] {
        for end in [Action::Promote, Action::Abort] {
            let mut world = at_weight(baseline, 1_000);
            world.act(end).unwrap();
            world.sync();
            assert_eq!(split(&world), [], "{baseline} {end:?}");
        }
        let mut world = at_weight(baseline, 1_000);
        world.judged(bad());
        assert_eq!((split(&world), shares(&world)), (vec![], [10_000, 0, 0]));
        let mut world = at_weight(baseline, 1_000);
        world.set_weight("v2", 0).unwrap();
        assert_eq!(split(&world), []);
    }
    let mut world = World::new();
    world.set_weight("v2", 1_000).unwrap();
    world.sync();
    assert_eq!(split(&world), [], "a weight by hand compares nothing");
}

#[test]
fn a_rollout_that_changes_only_the_baseline_or_the_paths_steers_and_grows_the_generation() {
    let gates = "gates: [{ errors: { tolerance: 0.1% }, path: /checkout }]";
    for plan in ["baseline: equal", gates] {
        let steps = "steps: [{ weight: 10%, hold: 10s }]";
        let shop = format!("stable: v1, canary: v2, weight: 10%, {VERSIONS}, plan: {{ {plan}, {steps} }}");
        let mut world = World::of(Arc::new(configuration(&shop).services.remove(0)));
        let before = world.release.state().split();
        world.start("v2").unwrap();
        world.sync();
        let after = world.release.state().split();
        assert_eq!(before.canary, after.canary);
        assert_eq!((world.count(&Effect::Steer), after.generation), (1, before.generation + 1), "{plan}");
        assert!(after.baseline.is_some() || after.paths.len() == 1, "{after:?}");
    }
}

#[test]
fn a_start_is_refused_whose_baseline_is_not_a_third_version() {
    for (baseline, why) in [("v1", "is the stable"), ("v2", "is the canary"), ("v9", "is no version")] {
        let Err(Refused::Invalid(text)) = start_with(baseline) else { panic!("{baseline} was taken") };
        assert!(text.contains(why) && text.contains("legal here: stable, equal, v3"), "{text}");
    }
    assert!(start_with("v3").is_ok());
}

fn start_with(baseline: &str) -> Result<Option<u64>, Refused> {
    let mut world = World::new();
    let plan = Plan { baseline: config::Baseline::Version(name(baseline)), ..Plan::built_in() };
    world.event(Event::Start(Box::new(Start {
        id: "1".into(),
        canary: name("v2"),
        plan_name: "default".into(),
        plan,
        reason: None,
        idempotency_key: None,
    })))
}

#[test]
fn a_reload_may_not_take_away_the_baseline() {
    let world = at_weight("v3", 1_000);
    let without = configuration(&format!("stable: v1, {}, {PLAN}", VERSIONS.replace("v3:", "v9:"))).services.remove(0);
    let Err(Refused::Conflict { detail, .. }) = world.release.may_become(&moment(0, None), Some(&without)) else {
        panic!("it was taken away")
    };
    assert!(detail.contains("v3") && detail.contains("part of a running rollout"), "{detail}");
    let journalled = world.journal.last().unwrap().clone();
    let (release, _) = Release::restore(Arc::new(without), journalled, None, &moment(0, None));
    assert_eq!(release.phase(), Some(Phase::Aborted), "it left the file while no process ran");
}

#[test]
fn a_reload_that_gives_the_canary_more_endpoints_warms_it_up_again() {
    let with = |version: &str, endpoints: &str| {
        let versions =
            VERSIONS.replace(&format!("{version}: {{ endpoints: ["), &format!("{version}: {{ endpoints: [{endpoints}"));
        Event::FileChanged(Arc::new(configuration(&format!("stable: v1, {versions}, {PLAN}")).services.remove(0)))
    };
    for (version, times) in [("v2", 1), ("v1", 0)] {
        let mut world = World::in_phase(Phase::Progressing);
        world.event(with(version, "'n:1', ")).unwrap();
        assert_eq!(world.count(&Effect::WarmUpAgain), times, "{version}");
        world.effects.clear();
        world.event(with(version, "")).unwrap();
        assert_eq!(world.count(&Effect::WarmUpAgain), 0, "fewer are no colder");
    }
}
