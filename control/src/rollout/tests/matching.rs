//! Steps that give the canary whoever matches, whatever its weight.

use super::*;

const MATCHES: &str = "steps: [{ match: { x-beta: '1' }, hold: 10s }, { weight: 10%, hold: 10s }, \
                       { match: { cookie: team=a }, hold: 10s }, { approval: true }, { match: nobody }, \
                       { weight: 50%, hold: 10s }]";

/// Who goes to the canary whatever its weight, as it is written; nobody is nothing.
fn matched(world: &World) -> String {
    world.release.state().split().matched.map(|matched| matched.to_string()).unwrap_or_default()
}

fn tried() -> Judgement {
    Judgement { matched_in_step: 1, matched: Matched { requests: 1, failed: 0 }, ..good() }
}

/// Somebody who matches comes, and the time of the step is over.
fn held(world: &mut World) {
    world.seconds += 10;
    world.judged(tried());
    world.sync();
}

#[test]
fn people_come_first_and_stay_until_the_plan_says_otherwise() {
    let mut world = World::under(MATCHES);
    let mut course = vec![(world.step(), world.weight("v2"), matched(&world))];
    for _ in 0..2 {
        held(&mut world);
        course.push((world.step(), world.weight("v2"), matched(&world)));
    }
    held(&mut world);
    assert_eq!(world.phase(), Phase::AwaitingApproval);
    course.push((world.step(), world.weight("v2"), matched(&world)));
    world.act(Action::Approve).unwrap();
    world.sync();
    course.push((world.step(), world.weight("v2"), matched(&world)));
    world.judged(good());
    world.sync();
    course.push((world.step(), world.weight("v2"), matched(&world)));
    let (beta, team) = ("x-beta: 1", "cookie: team=a");
    let expected = [(1, 0, beta), (2, 1_000, beta), (3, 1_000, team), (4, 1_000, team), (5, 1_000, ""), (6, 5_000, "")];
    assert_eq!(course, expected.map(|(step, weight, who)| (step, weight, who.to_owned())));
    let told = world.told().join("\n");
    assert!(told.contains("v2 at step 3 of 6: whoever matches cookie: team=a; its hold is over"), "{told}");
    assert!(told.contains("v2 at step 5 of 6: nobody by a match any more"), "{told}");
}

#[test]
fn a_canary_that_is_taken_back_has_nobody_at_once_whatever_the_disk_does() {
    for end in [Phase::RolledBack, Phase::Aborted] {
        let mut world = World::under(MATCHES);
        world.problem = Some("no space".into());
        if end == Phase::RolledBack {
            world.judged(bad());
        } else {
            world.act(Action::Abort).unwrap();
        }
        assert_eq!((world.phase(), matched(&world).as_str(), world.weight("v2")), (end, "", 0));
        assert_eq!(world.effects.first(), Some(&Effect::Steer));
        let view = world.release.rollout_view(&moment(1, None)).unwrap();
        assert_eq!(view.matching, None);
    }
}

#[test]
fn a_promoted_canary_has_everybody_and_no_match() {
    let mut world = World::under(MATCHES);
    world.act(Action::Promote).unwrap();
    assert_eq!(matched(&world), "x-beta: 1", "until it is on disk");
    world.sync();
    assert_eq!((world.phase(), matched(&world).as_str()), (Phase::Promoted, ""));
}

#[test]
fn people_come_when_the_disk_has_it_and_not_before() {
    let shop = format!("stable: v1, {VERSIONS}, plan: {{ {MATCHES} }}");
    let mut world = World::of(Arc::new(configuration(&shop).services.remove(0)));
    world.start("v2").unwrap();
    assert_eq!(matched(&world), "");
    world.sync();
    assert_eq!(matched(&world), "x-beta: 1");
    let steered = world.effects.contains(&Effect::Steer);
    assert!(steered && world.release.state().split().canary == Some((name("v2"), Weight::ZERO)));
}

#[test]
fn a_match_waits_for_its_time_and_for_somebody_who_tries_it() {
    let mut world = World::under(MATCHES);
    world.seconds += 9;
    world.judged(tried());
    assert_eq!((world.step(), world.release.proposed().is_some()), (1, false));
    world.seconds += 100;
    world.judged(good());
    assert_eq!((world.step(), world.release.proposed().is_some()), (1, false));
    assert_eq!(
        world.reason(),
        "waiting for the first request that matches x-beta: 1 and that v2 serves well; skip to go on without"
    );
    // The gates that compare have nothing to judge then, and nobody waits for them.
    world.judged(Judgement { has_data: false, step_requests: Arms::default(), ..tried() });
    world.sync();
    assert_eq!((world.step(), world.weight("v2")), (2, 1_000));
}

#[test]
fn a_match_does_not_end_under_suspicion_and_waits_for_no_proof() {
    let mut world = World::under(&format!("advance: proof, {MATCHES}"));
    world.seconds += 10;
    world.judged(Judgement { suspicion: true, ..tried() });
    assert!(world.release.proposed().is_none() && world.reason().contains("suspicion"), "{}", world.reason());
    world.judged(tried());
    world.sync();
    assert_eq!(world.step(), 2);
    held(&mut world);
    assert_eq!(world.step(), 2, "a weight waits for it");
}

#[test]
fn a_match_that_is_judged_waits_for_data_as_a_weight_does() {
    let mut world = World::under("steps: [{ match: { x-beta: '1' }, hold: 10s, judged: true }, { weight: 10% }]");
    world.seconds += 10;
    let few = Arms { stable: 1_000, canary: 49 };
    for (judgement, said) in [
        (Judgement { has_data: false, ..good() }, "waiting for traffic"),
        (Judgement { step_requests: few, ..good() }, "v2 had 49"),
    ] {
        world.judged(judgement);
        assert!(world.release.proposed().is_none() && world.reason().contains(said), "{}", world.reason());
    }
    world.judged(good());
    world.sync();
    assert_eq!(world.step(), 2);
}

#[test]
fn weight_0_by_hand_takes_the_canary_from_everybody_and_a_resume_gives_it_back() {
    let mut world = World::under(MATCHES);
    assert_eq!(world.set_weight("v2", 0).unwrap(), None, "a step back waits for nothing");
    assert_eq!((world.phase(), matched(&world).as_str(), world.weight("v2")), (Phase::Paused, "", 0));
    assert_eq!(world.count(&Effect::NewStep { fell: true }), 1);
    world.set_weight("v2", 300).unwrap();
    world.sync();
    assert_eq!((matched(&world).as_str(), world.weight("v2")), ("", 300), "a weight is a weight");

    let restarted = world.restart(world.journal.last().unwrap(), "stable: v1");
    assert_eq!((matched(&restarted).as_str(), restarted.weight("v2")), ("", 300), "a restart gives nobody back");

    world.act(Action::Resume).unwrap();
    assert_eq!(matched(&world), "", "before it is on disk");
    world.sync();
    assert_eq!((world.phase(), matched(&world).as_str()), (Phase::Progressing, "x-beta: 1"));
}

#[test]
fn a_pause_keeps_those_who_match() {
    let mut world = World::under(MATCHES);
    world.act(Action::Pause).unwrap();
    assert_eq!((world.phase(), matched(&world).as_str()), (Phase::Paused, "x-beta: 1"));
    assert_eq!(world.count(&Effect::Steer), 0);
}

#[test]
fn a_restart_goes_on_with_those_who_matched() {
    let mut world = World::under(MATCHES);
    held(&mut world);
    let restarted = world.restart(world.journal.last().unwrap(), "stable: v1");
    assert_eq!((restarted.step(), matched(&restarted).as_str(), restarted.weight("v2")), (2, "x-beta: 1", 1_000));
}

#[test]
fn people_see_who_matches_and_what_they_got() {
    let mut world = World::under(MATCHES);
    world.judged(Judgement { matched: Matched { requests: 9, failed: 2 }, ..tried() });
    let view = world.release.rollout_view(&moment(1, None)).unwrap();
    let matching = view.matching.unwrap();
    assert_eq!(matching.headers, BTreeMap::from([("x-beta".to_owned(), "1".to_owned())]));
    assert_eq!((matching.judged, view.matched, view.weight), (false, Matched { requests: 9, failed: 2 }, 0));
    assert_eq!((view.step, view.steps, view.step_hold_s), (1, 6, Some(10.0)));
    world.judged(Judgement { matched: Matched { requests: 10, failed: 3 }, ..bad() });
    let view = world.release.rollout_view(&moment(1, None)).unwrap();
    assert_eq!((view.matching, view.matched), (None, Matched { requests: 10, failed: 3 }));
}
