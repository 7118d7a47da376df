//! Proof, early ends and deadlines.

use super::*;

fn step(extra: &str) -> String {
    format!("steps: [{{ weight: 1%, hold: 10s{extra} }}, {{ weight: 10%, hold: 10s }}]")
}

#[test]
fn with_advance_proof_a_step_waits_for_its_proof_and_names_the_gates() {
    let mut world = World::under(&format!("advance: proof, {}", step("")));
    world.seconds += 1_000;
    let gates = vec![gate("errors", Verdict::Pass, Some(1.0)), gate("latency", Verdict::Inconclusive, Some(0.4))];
    world.shown(good(), gates);
    assert!(world.release.proposed().is_none());
    assert_eq!(world.reason(), "waiting for proof: latency");
    world.judged(proven());
    world.sync();
    assert_eq!(world.step(), 2);
}

#[test]
fn with_advance_time_no_proof_is_waited_for() {
    let mut world = World::under(&step(""));
    world.pass(10);
    assert!(world.release.proposed().is_some());
}

#[test]
fn an_early_step_ends_with_its_proof_and_never_without_data_requests_or_under_suspicion() {
    let few = Arms { stable: 1_000, canary: 49 };
    let held_back = [
        good(),
        Judgement { has_data: false, ..proven() },
        Judgement { step_requests: few, ..proven() },
        Judgement { suspicion: true, ..proven() },
    ];
    for judgement in held_back {
        let mut world = World::under(&step(", early: true"));
        world.seconds += 3;
        world.judged(judgement.clone());
        assert!(world.release.proposed().is_none(), "{judgement:?}");
        assert_eq!(world.reason(), "", "nothing is waited for before the hold is over");
        world.judged(proven());
        world.sync();
        assert_eq!(world.step(), 2);
        assert!(world.told()[0].contains("every gate passed before its hold was over"), "{:?}", world.told());
    }
}

#[test]
fn a_step_that_is_not_early_holds_for_its_time_also_when_it_is_proven() {
    let mut world = World::under(&step(""));
    world.seconds += 9;
    world.judged(proven());
    assert!(world.release.proposed().is_none());
}

#[test]
fn at_a_deadline_that_holds_it_pauses_and_says_which_gate_lacks_what() {
    let mut world = World::under(&format!("advance: proof, {}", step(", deadline: 90s")));
    let gates = || {
        let named = |name, verdict, proof| gate(name, verdict, proof);
        vec![
            named("errors", Verdict::Inconclusive, Some(0.634)),
            named("latency", Verdict::NoData, None),
            named("traffic", Verdict::Inconclusive, None),
        ]
    };
    world.seconds += 89;
    world.shown(good(), gates());
    assert_eq!(world.phase(), Phase::Progressing);
    world.seconds += 1;
    world.shown(good(), gates());
    assert_eq!((world.phase(), world.weight("v2")), (Phase::Paused, 100));
    assert_eq!(
        world.reason(),
        "step 1 is over its deadline of 1m30s: waiting for proof: errors, latency (errors: 63 % of the way to pass; \
         latency: no data); resume to wait another 1m30s, promote, or abort"
    );
    world.act(Action::Resume).unwrap();
    world.sync();
    world.seconds += 89;
    world.judged(good());
    assert_eq!(world.phase(), Phase::Progressing, "the deadline is counted anew");
    world.seconds += 1;
    world.judged(good());
    assert_eq!(world.phase(), Phase::Paused);
}

#[test]
fn at_a_deadline_that_promotes_it_goes_on_without_proof_and_never_without_data_or_under_suspicion() {
    let plan = format!("advance: proof, {}", step(", deadline: 60s, on_deadline: promote"));
    for judgement in [Judgement { has_data: false, ..good() }, Judgement { suspicion: true, ..good() }] {
        let mut world = World::under(&plan);
        world.seconds += 100;
        world.judged(judgement);
        assert_eq!((world.phase(), world.release.proposed().is_some()), (Phase::Progressing, false));
        assert!(world.reason().starts_with("waiting for "), "{}", world.reason());
        world.judged(good());
        world.sync();
        assert_eq!(world.step(), 2, "one step further, and no more");
        assert!(world.told()[0].contains("its deadline is over, without proof"), "{:?}", world.told());
    }
}

#[test]
fn at_a_deadline_that_rolls_back_it_does_so_with_the_reason() {
    let mut world = World::under(&step(", deadline: 60s, on_deadline: roll-back"));
    world.seconds += 60;
    world.judged(Judgement { has_data: false, ..good() });
    assert_eq!((world.phase(), world.weight("v2")), (Phase::RolledBack, 0));
    assert!(world.reason().contains("deadline of 1m") && world.reason().contains("traffic"), "{}", world.reason());
}

#[test]
fn a_step_that_only_the_disk_holds_back_is_not_late() {
    for then in ["hold", "roll-back"] {
        let mut world = World::under(&step(&format!(", deadline: 60s, on_deadline: {then}")));
        world.problem = Some("no space".into());
        world.seconds += 100;
        world.judged(good());
        assert_eq!(world.phase(), Phase::Progressing, "{then}");
        assert!(world.reason().contains("no space"), "{}", world.reason());
    }
}

#[test]
fn a_resume_begins_the_hold_anew_and_keeps_the_proof() {
    let mut world = World::under(&step(""));
    world.seconds += 9;
    world.act(Action::Pause).unwrap();
    world.act(Action::Resume).unwrap();
    world.sync();
    assert!(!world.effects.iter().any(|effect| matches!(effect, Effect::NewStep { .. })), "{:?}", world.effects);
    world.pass(9);
    assert!(world.release.proposed().is_none());
    world.pass(1);
    assert!(world.release.proposed().is_some());
}

#[test]
fn a_resume_that_lowers_the_weight_to_that_of_the_plan_begins_the_proof_anew() {
    let mut world = World::under(&step(""));
    world.set_weight("v2", 2_000).unwrap();
    world.sync();
    world.effects.clear();
    world.act(Action::Resume).unwrap();
    world.sync();
    assert_eq!((world.weight("v2"), world.count(&Effect::NewStep { fell: true })), (100, 1));
}

#[test]
fn a_restart_counts_the_deadline_anew() {
    let mut world = World::under(&step(", deadline: 60s, on_deadline: roll-back"));
    world.seconds += 50;
    let journalled = world.journal.last().unwrap().clone();
    let mut world = world.restart(&journalled, "stable: v1");
    world.seconds += 50;
    world.judged(Judgement { has_data: false, ..good() });
    assert_eq!(world.phase(), Phase::Progressing);
}
