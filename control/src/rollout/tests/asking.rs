//! Pauses that ask: signals, the check of the traffic.

use super::*;

fn signalled() -> Judgement {
    Judgement { signal: Some(Harm { gate: "slow".into(), explain: "v2 is slower".into() }), ..good() }
}

fn lost() -> Judgement {
    Judgement { traffic: Some("3 requests to v2 were lost".into()), ..good() }
}

#[test]
fn what_is_signalled_pauses_with_its_gate_and_what_to_do() {
    let cases = [(signalled(), "slow: v2 is slower"), (lost(), "traffic: 3 requests to v2 were lost")];
    for (judgement, seen) in cases {
        let mut world = World::in_phase(Phase::Progressing);
        world.effects.clear();
        world.judged(judgement.clone());
        assert_eq!((world.phase(), world.weight("v2")), (Phase::Paused, 100));
        assert_eq!(world.reason(), format!("{seen}; resume to go on and judge it anew, or abort"));
        assert_eq!(world.told(), [format!("v2 paused: {seen}")]);
        world.judged(judgement);
        assert_eq!(world.told().len(), 1, "said once");
    }
}

#[test]
fn a_resume_acknowledges_what_was_signalled_and_the_journal_says_that_its_alpha_is_spent_again() {
    let mut world = World::in_phase(Phase::Progressing);
    world.judged(signalled());
    world.effects.clear();
    world.act(Action::Resume).unwrap();
    assert_eq!(world.count(&Effect::Acknowledge), 0, "not before it is on disk");
    let cause = world.effects.iter().find_map(|effect| {
        let Effect::Journal { cause, .. } = effect else { return None };
        Some(cause.clone())
    });
    assert!(cause.is_some_and(|cause| cause.ends_with("judged anew, and its alpha is spent again")));
    world.sync();
    assert_eq!((world.count(&Effect::Acknowledge), world.rollout().acknowledged), (1, 1));
    assert_eq!((world.phase(), &world.rollout().asks), (Phase::Progressing, &None));
}

#[test]
fn a_resume_after_another_pause_acknowledges_nothing_that_its_person_has_not_seen() {
    let mut world = World::in_phase(Phase::Progressing);
    world.act(Action::Pause).unwrap();
    world.judged(signalled());
    world.act(Action::Resume).unwrap();
    world.sync();
    assert_eq!((world.count(&Effect::Acknowledge), world.rollout().acknowledged), (0, 0));
    world.judged(signalled());
    assert_eq!(world.phase(), Phase::Paused);
    assert!(world.reason().starts_with("slow:"), "{}", world.reason());
}

#[test]
fn a_second_finding_is_shown_beside_the_first() {
    let both = Judgement { traffic: lost().traffic, ..signalled() };
    let mut world = World::in_phase(Phase::Progressing);
    world.judged(signalled());
    world.judged(both.clone());
    assert!(world.reason().contains("slow: ") && world.reason().contains("traffic: "), "{}", world.reason());
    world.effects.clear();
    world.judged(both);
    assert_eq!(world.effects, []);
}

#[test]
fn a_weight_by_hand_leaves_the_question_open_and_one_resume_answers_it() {
    let mut world = World::in_phase(Phase::Progressing);
    world.judged(signalled());
    for basis_points in [50, 40] {
        world.set_weight("v2", basis_points).unwrap();
    }
    assert_eq!(
        world.reason(),
        "paused: weight of v2 set by hand to 0.4%; still to answer: slow: v2 is slower; resume to go on and judge it \
         anew, or abort"
    );
    world.judged(signalled());
    world.effects.clear();
    world.act(Action::Resume).unwrap();
    world.sync();
    assert_eq!((world.count(&Effect::Acknowledge), world.rollout().acknowledged), (1, 1));

    let mut world = World::in_phase(Phase::Progressing);
    let limit = Judgement { hold: Some("both are over the limit".into()), ..good() };
    world.judged(limit.clone());
    world.set_weight("v2", 50).unwrap();
    assert!(world.reason().contains("set by hand") && world.reason().contains("both are over"), "{}", world.reason());
    world.act(Action::Resume).unwrap();
    world.sync();
    world.judged(limit);
    assert_eq!(world.phase(), Phase::Progressing);
}

#[test]
fn a_question_outlives_a_restart() {
    let mut world = World::in_phase(Phase::Progressing);
    world.judged(signalled());
    let journalled = world.journal.last().unwrap().clone();
    let mut world = world.restart(&journalled, "stable: v1");
    world.act(Action::Resume).unwrap();
    world.sync();
    assert_eq!(world.count(&Effect::Acknowledge), 1);
}

#[test]
fn what_is_signalled_at_an_approval_and_on_the_way_to_a_promotion_pauses_too() {
    for phase in [Phase::AwaitingApproval, Phase::Promoting] {
        let mut world = World::in_phase(phase);
        world.judged(signalled());
        world.sync();
        assert_eq!((world.phase(), &world.release.state().stable), (Phase::Paused, &name("v1")), "{}", phase.word());
    }
}

#[test]
fn harm_outranks_what_is_signalled() {
    let mut world = World::in_phase(Phase::Progressing);
    world.judged(Judgement { harm: bad().harm, ..signalled() });
    assert_eq!(world.phase(), Phase::RolledBack);
}
