mod asking;
mod baseline;
mod by_hand;
mod dry_run;
mod matching;
mod mirror;
mod over_time;
mod proof;
mod readiness;
mod world;

use std::collections::BTreeMap;

use self::world::{PLAN, VERSIONS, World, bad, configuration, gate, good, moment, name, proven, service, weight};
use super::*;
use crate::judge::{Copies, Harm, Unanswered};
use crate::view::{Arms, Matched, Phase, Verdict};

fn is_conflict(result: &Result<Option<u64>, Refused>) -> bool {
    matches!(result, Err(Refused::Conflict { .. }))
}

#[test]
fn every_action_in_every_phase_does_what_the_table_says() {
    use Action::{Abort, Approve, Pause, Promote, Resume, Retry, Skip, Undo};
    let table: BTreeMap<Phase, &[(Action, Phase)]> = BTreeMap::from([
        (
            Phase::Progressing,
            &[(Pause, Phase::Paused), (Skip, Phase::Progressing), (Promote, Phase::Promoted), (Abort, Phase::Aborted)]
                as &[_],
        ),
        (Phase::Paused, &[(Resume, Phase::Progressing), (Promote, Phase::Promoted), (Abort, Phase::Aborted)]),
        (
            Phase::AwaitingApproval,
            &[(Approve, Phase::Progressing), (Promote, Phase::Promoted), (Abort, Phase::Aborted)],
        ),
        (Phase::Promoting, &[(Abort, Phase::Aborted)]),
        (Phase::Promoted, &[(Undo, Phase::Promoted)]),
        (Phase::RolledBack, &[(Retry, Phase::Progressing)]),
        (Phase::Aborted, &[(Retry, Phase::Progressing)]),
        (Phase::Superseded, &[(Retry, Phase::Progressing)]),
    ]);
    for phase in Phase::ALL {
        for action in Action::ALL {
            let mut world = World::in_phase(phase);
            let before = world.release.state().clone();
            let expected = table[&phase].iter().find(|(legal, _)| *legal == action);
            let result = world.act(action);
            let case = format!("{} in {}", action.word(), phase.word());
            let Some((_, then)) = expected else {
                let Err(Refused::Conflict { detail, .. }) = result else { panic!("{case}: {result:?}") };
                assert_eq!(world.release.state(), &before, "{case} changed something");
                for (legal, _) in table[&phase] {
                    assert!(detail.contains(legal.word()), "{case} does not name {}: {detail}", legal.word());
                }
                continue;
            };
            assert!(result.is_ok(), "{case}: {result:?}");
            world.sync();
            assert_eq!(world.phase(), *then, "{case}");
        }
    }
}

#[test]
fn no_action_is_possible_before_the_first_rollout() {
    for action in Action::ALL {
        let result = World::new().act(action);
        assert!(matches!(result, Err(Refused::Unknown(_))), "{action:?}: {result:?}");
    }
}

#[test]
fn a_good_canary_goes_through_its_steps_and_becomes_the_stable() {
    let mut world = World::new();
    world.start("v2").unwrap();
    world.sync();
    let mut weights = vec![world.weight("v2")];
    while world.phase() == Phase::Progressing {
        world.pass(10);
        world.sync();
        weights.push(world.weight("v2"));
    }
    assert_eq!((weights, world.phase()), (vec![100, 1000, 1000], Phase::AwaitingApproval));
    world.pass(1_000);
    assert_eq!(world.phase(), Phase::AwaitingApproval, "nobody approved");

    world.act(Action::Approve).unwrap();
    world.sync();
    assert_eq!(world.weight("v2"), 5_000);
    world.pass(10);
    assert_eq!((world.phase(), world.weight("v2")), (Phase::Promoting, 5_000));
    world.sync();

    assert_eq!(world.phase(), Phase::Promoted);
    let state = world.release.state();
    assert_eq!((&state.stable, &state.canary), (&name("v2"), &None));
    let view = world.release.rollout_view(&moment(0, None)).unwrap();
    assert_eq!((view.weight, view.stable.as_str()), (10_000, "v1"));
}

#[test]
fn a_step_forward_steers_only_when_it_is_on_disk() {
    let mut world = World::new();
    let revision = world.start("v2").unwrap().unwrap();
    assert_eq!(world.weight("v2"), 0);
    assert!(!world.effects.contains(&Effect::Steer));
    world.event(Event::Journalled { revision }).unwrap();
    assert_eq!(world.weight("v2"), 100);
    assert!(world.effects.contains(&Effect::Steer) && world.effects.contains(&Effect::BeginJudge));
}

#[test]
fn a_rollback_steers_first_and_is_journalled_after() {
    let mut world = World::in_phase(Phase::Progressing);
    world.effects.clear();
    world.judged(bad());
    assert_eq!((world.weight("v2"), world.phase()), (0, Phase::RolledBack));
    let place = |wanted: fn(&Effect) -> bool| world.effects.iter().position(wanted).unwrap();
    assert_eq!(place(|effect| *effect == Effect::Steer), 0);
    assert_eq!(place(|effect| matches!(effect, Effect::Journal { .. })), 1);
    assert!(world.reason().contains("v2 fails 9 %"));
}

#[test]
fn a_rollback_works_while_the_disk_refuses_and_steps_forward_do_not() {
    let mut world = World::in_phase(Phase::Progressing);
    world.problem = Some("no space".into());
    let refused = |result: Result<Option<u64>, Refused>| matches!(result, Err(Refused::JournalUnwritable(text)) if text.contains("no space"));
    assert!(refused(world.act(Action::Skip)) && refused(world.act(Action::Promote)));
    assert!(refused(world.set_weight("v2", 2_000)));
    world.pass(10);
    assert_eq!(world.weight("v2"), 100);
    assert!(world.reason().contains("no space"), "{}", world.reason());
    world.set_weight("v2", 50).unwrap();
    assert_eq!(world.weight("v2"), 50);
    world.judged(bad());
    assert_eq!(world.phase(), Phase::RolledBack);
    assert!(refused(world.start("v2")) && refused(world.act(Action::Retry)));
}

#[test]
fn a_step_that_reaches_the_disk_after_a_rollback_does_not_steer() {
    let mut world = World::in_phase(Phase::Progressing);
    world.pass(10);
    let late = world.release.proposed().unwrap().revision;
    world.judged(bad());
    world.effects.clear();
    world.event(Event::Journalled { revision: late }).unwrap();
    assert_eq!((world.phase(), world.weight("v2")), (Phase::RolledBack, 0));
    assert_eq!(world.effects, []);
}

#[test]
fn a_step_that_waits_for_the_disk_is_not_taken_once_something_stands_against_it() {
    let mut world = World::in_phase(Phase::Progressing);
    world.pass(10);
    let late = world.release.proposed().unwrap().revision;
    world.effects.clear();
    let beyond = Some("errors: v2 fails 20 % of its requests in this step".to_owned());
    world.judged(Judgement { beyond, ..good() });
    assert!(world.release.proposed().is_none());
    let last = world.journal.last().unwrap();
    assert!(last.revision > late && last.weight_of(&name("v2")) == weight(100), "what is in force is on disk after it");
    assert!(world.told().iter().any(|text| text.contains("v2 fails 20 %")), "{:?}", world.told());
    assert!(world.reason().contains("v2 fails 20 %"), "{}", world.reason());
    world.event(Event::Journalled { revision: late }).unwrap();
    assert_eq!((world.phase(), world.weight("v2")), (Phase::Progressing, 100));

    world.judged(good());
    world.sync();
    assert_eq!(world.weight("v2"), 1_000, "it is taken once nothing does");
}

#[test]
fn what_a_person_asked_for_goes_on_whatever_the_tests_say_while_the_disk_is_slow() {
    let mut world = World::in_phase(Phase::Progressing);
    let waits = world.act(Action::Skip).unwrap().unwrap();
    world.judged(Judgement { suspicion: true, ..good() });
    world.event(Event::Journalled { revision: waits }).unwrap();
    assert_eq!(world.weight("v2"), 1_000);
}

#[test]
fn an_abort_cancels_a_promotion_that_waits_for_the_disk_and_its_asker_is_told() {
    let mut world = World::in_phase(Phase::Progressing);
    let waits = world.act(Action::Promote).unwrap().unwrap();
    world.act(Action::Abort).unwrap();
    world.sync();
    assert_eq!((world.phase(), &world.release.state().stable), (Phase::Aborted, &name("v1")));
    let told = world.effects.iter().any(
        |effect| matches!(effect, Effect::Settle { revision, result: Err(Refused::Conflict { .. }) } if *revision == waits),
    );
    assert!(told, "{:?}", world.effects);
}

#[test]
fn an_abort_cancels_a_start_that_waits_for_the_disk() {
    let mut world = World::new();
    world.start("v2").unwrap();
    world.act(Action::Abort).unwrap();
    world.sync();
    assert_eq!((world.phase(), world.weight("v2")), (Phase::Aborted, 0));
}

#[test]
fn a_promotion_that_the_disk_refuses_goes_back_to_the_last_step() {
    let mut world = World::in_phase(Phase::Promoting);
    let revision = world.release.proposed().unwrap().revision;
    world.event(Event::JournalFailed { revision, problem: "full".into() }).unwrap();
    assert_eq!((world.phase(), world.weight("v2")), (Phase::Progressing, 100));
}

#[test]
fn nothing_advances_before_the_hold_is_over() {
    let mut world = World::in_phase(Phase::Progressing);
    world.pass(9);
    assert!(world.release.proposed().is_none());
    world.pass(1);
    assert!(world.release.proposed().is_some());
}

#[test]
fn a_step_that_could_end_waits_and_says_for_what() {
    let few = Arms { stable: 1_000, canary: 49 };
    let unanswered =
        Unanswered { drawn: Arms { stable: 9_000, canary: 700 }, waiting: Arms { stable: 2, canary: 161 } };
    let cases = [
        (Judgement { has_data: false, ..good() }, "traffic"),
        (
            Judgement { uncompared: Some("v1 has had 9 answers".into()), ..good() },
            "waiting for latencies: v1 has had 9",
        ),
        (Judgement { step_requests: few, ..good() }, "v2 had 49"),
        (
            Judgement { step_requests: few, left_in_step: Arms { stable: 3, canary: 951 }, ..good() },
            "v2 had 49 (those that clients left before their end do not count: 3 to v1, 951 to v2)",
        ),
        (Judgement { warms_up_for: 7, ..good() }, "waiting for v2 to warm up: its latencies are compared in 7 s"),
        (Judgement { suspicion: true, ..good() }, "suspicion"),
        (
            Judgement { beyond: Some("errors: v2 fails 16 %".to_owned()), ..good() },
            "no step forward: errors: v2 fails 16 %. No harm is established; abort, or skip to go on all the same",
        ),
        (
            Judgement { unanswered: Some(unanswered), ..good() },
            "waiting for answers of v2: 161 of its last 700 requests are not answered yet, 2 of the last 9000 of v1",
        ),
        (Judgement { is_short: true, ..good() }, "waiting for the proxy: requests fail for its own want"),
    ];
    for (judgement, word) in cases {
        let mut world = World::in_phase(Phase::Progressing);
        world.seconds += 1_000;
        world.judged(judgement);
        assert!(world.release.proposed().is_none(), "{word}");
        assert!(world.reason().contains(word), "{} does not say {word}", world.reason());
        world.judged(good());
        assert!(world.release.proposed().is_some(), "{word}");
    }
}

#[test]
fn a_limit_broken_on_both_versions_pauses_and_a_resume_acknowledges_it() {
    let broken = Judgement { hold: Some("both are over the limit".into()), ..good() };
    let mut world = World::in_phase(Phase::Progressing);
    world.judged(broken.clone());
    assert_eq!((world.phase(), world.weight("v2")), (Phase::Paused, 100));
    assert!(world.reason().contains("both are over the limit"));
    let warned = |effect: &Effect| matches!(effect, Effect::Announce { kind: "warning", .. });
    assert_eq!(world.effects.iter().filter(|effect| warned(effect)).count(), 1);

    world.act(Action::Resume).unwrap();
    world.sync();
    world.judged(broken.clone());
    assert_eq!(world.phase(), Phase::Progressing);

    world.judged(good());
    world.judged(broken);
    assert_eq!(world.phase(), Phase::Paused, "a limit that breaks again pauses again");
}

#[test]
fn a_resume_acknowledges_no_broken_limit_that_its_person_has_not_seen() {
    let broken = Judgement { hold: Some("both are over the limit".into()), ..good() };
    let mut world = World::in_phase(Phase::Progressing);
    world.act(Action::Pause).unwrap();
    world.judged(broken.clone());
    world.act(Action::Resume).unwrap();
    world.sync();
    world.judged(broken);
    assert_eq!(world.phase(), Phase::Paused);
    assert!(world.reason().contains("both are over the limit"), "{}", world.reason());
}

#[test]
fn a_bad_canary_is_rolled_back_in_every_phase_that_runs() {
    for phase in [Phase::Progressing, Phase::Paused, Phase::AwaitingApproval, Phase::Promoting] {
        let mut world = World::in_phase(phase);
        world.judged(bad());
        world.sync();
        assert_eq!((world.phase(), world.weight("v2")), (Phase::RolledBack, 0), "{}", phase.word());
        assert_eq!(world.release.state().stable, name("v1"));
    }
}

#[test]
fn of_two_askers_the_second_is_told_that_a_step_is_on_its_way() {
    let mut world = World::in_phase(Phase::Progressing);
    world.act(Action::Skip).unwrap();
    assert!(is_conflict(&world.act(Action::Skip)));
    world.sync();
    assert_eq!(world.weight("v2"), 1_000);
}
