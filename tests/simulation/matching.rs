//! Rollouts that begin with people who choose the canary themselves.

use control::command::Action;
use control::view::{Matched, Phase, Verdict};

use crate::traffic::Manner;
use crate::with_seeds;
use crate::world::{World, answered};

/// People first, then weights, under the default gates and a limit.
const PEOPLE_FIRST: &str = "services: { shop: { stable: v1, \
    versions: { v1: { endpoints: ['a:1'] }, v2: { endpoints: ['b:1'] }, v3: { endpoints: ['c:1'] } }, \
    plan: { steps: [{ match: { x-beta: '1' }, hold: 5s }, { weight: 20%, hold: 5s }, { match: nobody }, \
            { weight: 50%, hold: 5s }], gates: [{ errors: {} }, { latency: {} }, { errors: { limit: 5% } }] } } }";

/// A world in which so large a part of the requests has the header.
fn world(seed: u64, matching: f64) -> World {
    let world = World::new(seed, PEOPLE_FIRST, 500);
    world.traffic.matches(matching);
    world
}

#[test]
fn a_healthy_canary_gets_its_people_first_and_then_everybody() {
    with_seeds("a_healthy_canary_gets_its_people_first_and_then_everybody", 20, |seed| {
        let mut world = world(seed, 0.01);
        world.start("v2");
        world.run(4);
        let rollout = world.rollout().unwrap();
        assert_eq!((rollout.step, rollout.weight, rollout.requests.canary), (1, 0, 0), "{rollout:?}");
        assert!(rollout.matching.is_some() && rollout.matched.requests > 5, "{rollout:?}");
        assert_eq!(world.traffic.sent("v2"), rollout.matched.requests, "nobody else");
        let compared = rollout.gates.iter().filter(|gate| gate.name != "errors-limit");
        compared.for_each(|gate| assert_eq!(gate.verdict, Verdict::NoData, "{gate:?}"));
        world.run_until(60, |world| world.phase() == Some(Phase::Promoted)).expect("it is promoted");
        assert_eq!(world.stable(), "v2");
    });
}

#[test]
fn people_who_fail_more_than_others_take_no_canary_back() {
    with_seeds("people_who_fail_more_than_others_take_no_canary_back", 20, |seed| {
        let mut world = world(seed, 0.2);
        // Two in a hundred of their requests fail, below the limit and twenty times what others have.
        world.traffic.answers_matching(Manner { errors: 0.02, ..Manner::GOOD });
        world.start("v2");
        world.run_until(60, |world| world.phase() == Some(Phase::Promoted)).expect("it is promoted");
        let rollout = world.rollout().unwrap();
        let Matched { requests, failed } = rollout.matched;
        assert!(failed * 200 > requests, "they did not fail: {rollout:?}");
    });
}

#[test]
fn a_canary_that_is_dead_is_taken_back_before_it_has_a_weight() {
    with_seeds("a_canary_that_is_dead_is_taken_back_before_it_has_a_weight", 20, |seed| {
        for manner in [Manner::DEAD, Manner::BAD] {
            let mut world = world(seed, 0.01);
            world.traffic.answers("v2", manner);
            world.start("v2");
            world.run_until(10, |world| world.phase() == Some(Phase::RolledBack)).expect("it is taken back");
            let rollout = world.rollout().unwrap();
            assert_eq!((rollout.step, rollout.requests.canary, rollout.matching), (1, 0, None), "{:?}", rollout.gates);
            let sent = world.traffic.sent("v2");
            world.run(5);
            assert_eq!(world.traffic.sent("v2"), sent, "nobody is sent to it any more");
        }
    });
}

#[test]
fn a_limit_takes_back_what_is_sickly_for_those_who_match() {
    with_seeds("a_limit_takes_back_what_is_sickly_for_those_who_match", 10, |seed| {
        let mut world = world(seed, 0.2);
        world.traffic.answers_matching(Manner { errors: 0.15, ..Manner::GOOD });
        world.start("v2");
        world.run_until(60, |world| world.phase() == Some(Phase::RolledBack)).expect("it is taken back");
        let reason = world.rollout().unwrap().reason.unwrap();
        assert!(reason.starts_with("errors-limit: "), "{reason}");
    });
}

#[test]
fn without_anybody_who_matches_the_plan_waits_and_says_for_whom() {
    let mut world = world(5, 0.0);
    world.start("v2");
    world.run(60);
    let rollout = world.rollout().unwrap();
    assert_eq!((rollout.step, rollout.phase), (1, Phase::Progressing));
    assert!(rollout.reason.as_ref().is_some_and(|why| why.contains("matches x-beta: 1")), "{rollout:?}");
    world.traffic.matches(0.01);
    world.run_until(60, |world| world.phase() == Some(Phase::Promoted)).expect("somebody came");
}

#[test]
fn a_restart_finds_them_again_and_weight_0_takes_the_canary_from_them_at_once() {
    with_seeds("a_restart_finds_them_again_and_weight_0_takes_the_canary_from_them_at_once", 10, |seed| {
        let mut world = world(seed, 0.05);
        world.start("v2");
        world.run(2);
        world.crash_somehow();
        world.run(1);
        let before = world.traffic.sent("v2");
        world.run(2);
        assert!(world.traffic.sent("v2") > before, "they are there again");
        assert!(answered(&mut world.set_weight(None, 0, None)).unwrap().is_ok());
        let before = world.traffic.sent("v2");
        world.run(2);
        assert_eq!(world.traffic.sent("v2"), before);
        world.act(Action::Resume);
        world.run_until(60, |world| world.phase() == Some(Phase::Promoted)).expect("it goes on");
    });
}
