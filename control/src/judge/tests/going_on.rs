//! What goes on, and what begins anew: after a restart, an acknowledgement, harm in a dry run; and what waits for what.

use super::clients::{Answers, Rollout};
use super::*;

const FAILING: Answers = Answers { failing: 0.06, ..Answers::WELL };

#[test]
fn a_restart_keeps_what_is_proven_and_feeds_it_after_fifteen_seconds() {
    let mut rollout = Rollout::warm(1, &default_gates());
    rollout.seconds(20, Answers::WELL, Answers::WELL);
    let proofs = |rollout: &Rollout| [0, 1].map(|place| rollout.judge.family.proof_now(place));
    let (before, evidence) = (proofs(&rollout), rollout.judge.evidence());
    rollout.judge.settle();
    assert_eq!((proofs(&rollout), rollout.judge.evidence()), (before.clone(), evidence), "nothing is staked");
    rollout.seconds(15, Answers::WELL, Answers::WELL);
    assert_eq!(proofs(&rollout), before);
    let explain = rollout.gate("errors").explain;
    let ending = "; v2 is not judged for proof in the first 15 s after a restart";
    assert!(explain.ends_with(ending), "{explain}");
    rollout.seconds(3, Answers::WELL, Answers::WELL);
    assert_ne!(proofs(&rollout), before);
    assert!(!rollout.gate("errors").explain.contains("15 s"));
    // The step's figures stay, too.
    assert_eq!(rollout.judge.judgement().step_requests, rollout.judge.judgement().requests);
}

#[test]
fn a_batch_that_is_open_at_a_restart_is_no_proof() {
    let mut rollout = Rollout::warm(1, &[errors(DEFAULT_TOLERANCE)]);
    rollout.seconds(20, Answers::WELL, Answers::WELL);
    let proof = |rollout: &Rollout| rollout.judge.family.proof_now(0);
    let before = proof(&rollout);
    rollout.judge.tick(&Tick::of(rollout.second, &window(9, 0), &window(1, 0)));
    rollout.judge.settle();
    rollout.judge.tick(&Tick::of(rollout.second, &window(900, 0), &window(100, 0)));
    assert_eq!(proof(&rollout), before);
}

#[test]
fn a_step_after_a_restart_waits_as_any_step_does() {
    let mut rollout = Rollout::warm(1, &default_gates());
    rollout.seconds(3, Answers::WELL, Answers::WELL);
    rollout.judge.settle();
    rollout.seconds(3, Answers::WELL, Answers::WELL);
    rollout.judge.new_step();
    rollout.seconds(13, Answers::WELL, Answers::WELL);
    let explain = rollout.gate("errors").explain;
    assert!(explain.ends_with("in the first 15 s of a step"), "{explain}");
}

/// The spans that a sentence speaks of, in seconds: `in the 3 s before`, `in the last 70 s`.
fn span(explain: &str) -> u64 {
    let words: Vec<&str> = explain.split(' ').collect();
    let place = words.iter().position(|word| *word == "the").unwrap();
    words[place..].iter().find_map(|word| word.parse().ok()).unwrap_or(1)
}

#[test]
fn what_begins_anew_speaks_of_the_time_since_then() {
    let mut plan = Plan { warmup: Duration::ZERO, ..plan(&default_gates()) };
    plan.gates[0].role = GateRole::Signal;
    let mut rollout = Rollout::of(2, &plan);
    rollout.seconds(70, Answers::WELL, Answers::WELL);
    for dry in [false, true] {
        rollout.seconds(10, Answers::WELL, FAILING);
        if dry {
            rollout.judge.begin_anew();
        } else {
            rollout.judge.acknowledge();
        }
        rollout.seconds(6, Answers::WELL, FAILING);
        let explain = rollout.judge.judgement().signal.unwrap().explain;
        assert!(span(&explain) <= 6, "{explain}");
    }
}

#[test]
fn a_limit_that_is_judged_anew_speaks_of_the_time_since_then() {
    let mut rollout = Rollout::warm(2, &[error_limit(0.05)]);
    let over = Answers { failing: 0.3, ..Answers::WELL };
    rollout.seconds(70, Answers::WELL, Answers::WELL);
    rollout.judge.begin_anew();
    rollout.seconds(6, over, over);
    let hold = rollout.judge.judgement().hold.unwrap();
    assert!(span(&hold) <= 7, "{hold}");
}

/// The default gates, and this one on a path that nobody asks for.
fn with_quiet_path(role: GateRole) -> Plan {
    let mut plan = Plan { warmup: Duration::ZERO, ..plan(&[error_limit(0.05), errors(DEFAULT_TOLERANCE)]) };
    plan.gates[1].path = config::PathPrefix::new("/checkout");
    plan.gates[1].role = role;
    plan
}

#[test]
fn a_signal_on_a_quiet_path_holds_nothing_up_and_a_guardrail_does() {
    for (role, expected) in [(GateRole::Signal, true), (GateRole::Guardrail, false)] {
        let mut rollout = Rollout::of(3, &with_quiet_path(role));
        rollout.seconds(60, Answers::WELL, Answers::WELL);
        let judgement = rollout.judge.judgement();
        assert_eq!((judgement.has_data, judgement.proven), (expected, expected), "{role:?}");
        assert_eq!(rollout.gate("errors").verdict, Verdict::NoData);
    }
}

/// A window whose requests are also those of the path.
fn on_path(mut window: Window) -> Window {
    window.paths = vec![meter::PathTally { judged: window.judged, ..meter::PathTally::default() }];
    window
}

#[test]
fn a_signal_that_has_data_is_waited_for() {
    let mut judge = Judge::new(Trial::of(&with_quiet_path(GateRole::Signal), "v1", "v2"));
    (0..60).for_each(|second| judge.tick(&Tick::of(second, &window(400, 0), &window(100, 0))));
    assert!(judge.judgement().proven);
    judge.tick(&Tick::of(60, &on_path(window(400, 0)), &on_path(window(100, 0))));
    assert!(!judge.judgement().proven, "{:?}", judge.gates());
    // Not by a step in which it has none, however lately it had some.
    judge.new_step();
    (61..80).for_each(|second| judge.tick(&Tick::of(second, &window(400, 0), &window(100, 0))));
    assert_ne!(gate(&judge.gates(), "errors").verdict, Verdict::NoData);
    assert!(judge.judgement().proven, "{:?}", judge.gates());
}

#[test]
fn signals_without_data_alone_prove_nothing() {
    let mut plan = with_quiet_path(GateRole::Signal);
    plan.gates.remove(0);
    let mut rollout = Rollout::of(4, &plan);
    rollout.seconds(60, Answers::WELL, Answers::WELL);
    let judgement = rollout.judge.judgement();
    assert_eq!((judgement.has_data, judgement.proven), (true, false));
}

#[test]
fn harm_in_a_dry_run_is_shown_as_it_was_established_until_it_is_counted() {
    let mut rollout = Rollout::warm(5, &[errors(DEFAULT_TOLERANCE), error_limit(0.05)]);
    rollout.until_harm(60, FAILING).unwrap();
    let (before, harm) = (rollout.judge.gates(), rollout.judge.judgement().harm.unwrap());
    let failed = gate(&before, &harm.gate).clone();
    // Whatever follows within the minute: good times, bad ones, those of both versions, and none.
    let (good, all) = (Answers::WELL, Answers { failing: 0.5, ..Answers::WELL });
    for (stable, canary, requests) in [(good, good, 100), (good, all, 100), (all, all, 100), (good, good, 0)] {
        rollout.requests.canary = requests;
        rollout.seconds(15, stable, canary);
        let (judgement, view) = (rollout.judge.judgement(), rollout.gate(&harm.gate));
        assert_eq!(judgement.harm.as_ref(), Some(&harm));
        assert_eq!((view.verdict, view.log_evidence, view.progress), (Verdict::Fail, failed.log_evidence, 1.0));
        assert_eq!(view.explain, harm.explain);
        assert_eq!((judgement.proven, judgement.suspicion, judgement.hold), (false, true, None));
        let others = rollout.judge.gates();
        assert_eq!(others.iter().filter(|gate| gate.verdict == Verdict::Fail).count(), 1, "{others:?}");
    }
    rollout.judge.begin_anew();
    assert_eq!(rollout.judge.judgement().harm, None);
    assert!(rollout.judge.gates().iter().all(|gate| gate.verdict != Verdict::Fail));
}

#[test]
fn of_a_state_of_another_form_only_the_version_is_looked_at() {
    for state in [r#"{"alpha":7,"settings":[],"version":2}"#, r#"{"version":2}"#] {
        let refusals = [
            serde_json::from_str::<Judge>(state).unwrap_err(),
            serde_json::from_value::<Judge>(serde_json::from_str(state).unwrap()).unwrap_err(),
        ];
        for refusal in refusals {
            let said = refusal.to_string();
            assert!(said.starts_with("the state of the gates was made by another Tidegate (state 2, this reads "));
        }
    }
    let refusal = serde_json::from_str::<Judge>("{}").unwrap_err().to_string();
    assert!(refusal.contains("missing field `version`"), "{refusal}");
}
