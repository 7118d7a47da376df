//! Gates that only signal, dry runs, and the traffic check.

use expect_test::expect;
use meter::Drawn;

use super::clients::{Answers, Rollout};
use super::*;

const FAILING: Answers = Answers { failing: 0.06, ..Answers::WELL };

/// The gates of these rules, those from the second on as signals.
fn with_signals(rules: &[GateRule]) -> Plan {
    let mut plan = Plan { warmup: Duration::ZERO, ..plan(rules) };
    plan.gates.iter_mut().skip(1).for_each(|gate| gate.role = GateRole::Signal);
    plan
}

#[test]
fn a_signal_asks_and_never_takes_the_canary_back() {
    let mut rollout = Rollout::of(1, &with_signals(&[GateRule::LATENCY, errors(DEFAULT_TOLERANCE)]));
    rollout.seconds(20, Answers::WELL, FAILING);
    let judgement = rollout.judge.judgement();
    assert_eq!((judgement.harm, judgement.suspicion, judgement.proven), (None, false, false));
    let signal = judgement.signal.unwrap();
    assert_eq!(signal.gate, "errors");
    expect!["v2 fails 5.7 % of requests, v1 0 % (in the 3 s before, 17 of 300 against 0 of 1 200): harm is established (chance of seeing this without harm: at most 1 in 470)"].assert_eq(&signal.explain);
    let view = rollout.gate("errors");
    assert_eq!((view.role, view.verdict, view.explain), (Role::Signal, Verdict::Fail, signal.explain));
}

#[test]
fn a_signal_that_was_acknowledged_begins_anew_and_leaves_the_guardrails_as_they_were() {
    let mut rollout = Rollout::of(2, &with_signals(&[error_limit(0.2), errors(DEFAULT_TOLERANCE)]));
    rollout.seconds(20, Answers::WELL, FAILING);
    let guardrail = rollout.gate("errors-limit");
    rollout.judge.acknowledge();
    assert_eq!(rollout.judge.judgement().signal, None);
    let signal = rollout.gate("errors");
    assert!(signal.log_evidence.unwrap().abs() < 1e-9 && signal.verdict != Verdict::Fail, "{signal:?}");
    assert_eq!(rollout.gate("errors-limit").log_evidence, guardrail.log_evidence);
    rollout.seconds(20, Answers::WELL, FAILING);
    assert!(rollout.judge.judgement().signal.is_some());
}

#[test]
fn each_family_has_its_alpha_to_itself() {
    let threshold = |plan: &Plan| Rollout::of(3, plan).gate("latency").threshold;
    let alone = plan(&[GateRule::LATENCY]);
    let beside_signals = with_signals(&[GateRule::LATENCY, errors(DEFAULT_TOLERANCE), error_limit(0.1)]);
    assert!((threshold(&alone) - threshold(&beside_signals)).abs() < 1e-12);
    assert!(threshold(&plan(&default_gates())) > threshold(&alone) + 0.5);
}

#[test]
fn a_dry_run_counts_established_harm_and_begins_anew() {
    let mut rollout = Rollout::warm(4, &default_gates());
    for times in 1..=2 {
        rollout.until_harm(60, FAILING).unwrap();
        let before = rollout.judge.judgement();
        rollout.judge.begin_anew();
        let after = rollout.judge.judgement();
        assert_eq!((after.harm, after.suspicion, rollout.judge.dry_rollbacks()), (None, false, times));
        assert_eq!((after.requests, after.failed), (before.requests, before.failed));
        let restored: Judge = serde_json::from_str(&serde_json::to_string(&rollout.judge).unwrap()).unwrap();
        assert_eq!(restored.dry_rollbacks(), times);
    }
    rollout.judge.begin_anew();
    assert_eq!(rollout.judge.dry_rollbacks(), 2, "no harm, no rollback");
}

#[test]
fn a_request_without_an_outcome_is_a_finding_until_it_is_acknowledged() {
    let mut judge = judge_of(&default_gates());
    let (stable, mut canary) = (window(95, 0), window(5, 0));
    judge.tick(&Tick::of(0, &stable, &canary));
    assert_eq!(judge.judgement().traffic, None);
    assert!(judge.gates().iter().all(|gate| gate.name != "traffic"));
    canary.drawn = Drawn { all: 6, at_random: 6, ended: 6, lost: 1 };
    judge.tick(&Tick::of(0, &stable, &canary));
    let found = judge.judgement().traffic.unwrap();
    expect!["1 request to v2 ended without an outcome on record: the proxy itself is at fault, neither version is, and what is measured cannot be trusted; resume to go on all the same, and please report it"].assert_eq(&found);
    let gates = judge.gates();
    let view = gate(&gates, "traffic");
    assert_eq!((view.role, view.verdict, view.progress, &view.explain), (Role::Signal, Verdict::Fail, 1.0, &found));
    judge.acknowledge();
    canary.drawn = Drawn::default();
    judge.tick(&Tick::of(1, &stable, &canary));
    assert_eq!(judge.judgement().traffic, None);
}

#[test]
fn draws_that_do_not_follow_the_split_are_a_finding() {
    let run = |to_canary: u64| {
        let mut judge = judge_of(&default_gates());
        let (stable, canary) = (window(900, 0), window(100, 0));
        for second in 0..200 {
            let draws = Draws::under(Weight::from_basis_points(1_000).unwrap(), to_canary, 1_000);
            judge.tick(&Tick { draws, ..Tick::of(second, &stable, &canary) });
        }
        judge
    };
    let fair = run(100);
    assert_eq!(fair.judgement().traffic, None);
    let gates = fair.gates();
    expect!["20 000 of 200 000 random draws went to v2 (10 %), 20 000 were to be expected: nothing unusual"]
        .assert_eq(&gate(&gates, "traffic").explain);
    assert_eq!(gate(&gates, "traffic").verdict, Verdict::Inconclusive);
    for (to_canary, expected) in [
        (
            93,
            expect![
                "5 208 of 56 000 random draws went to v2 (9.3 %), 5 600 were to be expected: the split is not what it says (chance of this if it were: at most 1 in 120 000), so what is measured cannot be trusted"
            ],
        ),
        (
            107,
            expect![
                "6 099 of 57 000 random draws went to v2 (11 %), 5 700 were to be expected: the split is not what it says (chance of this if it were: at most 1 in 110 000), so what is measured cannot be trusted"
            ],
        ),
    ] {
        expected.assert_eq(&run(to_canary).judgement().traffic.unwrap());
    }
}

#[test]
fn draws_that_go_wrong_with_a_step_are_found_sooner_than_in_the_midst_of_one() {
    let seconds = |steps: bool| {
        let mut judge = judge_of(&default_gates());
        let second = |judge: &mut Judge, second: i64, to_canary: u64| {
            let draws = Draws::under(Weight::from_basis_points(1_000).unwrap(), to_canary, 1_000);
            judge.tick(&Tick { draws, ..Tick::of(second, &window(900, 0), &window(100, 0)) });
        };
        (0..600).for_each(|at| second(&mut judge, at, 100));
        if steps {
            judge.new_step();
        }
        (600..).position(|at| {
            second(&mut judge, at, 80);
            judge.judgement().traffic.is_some()
        })
    };
    assert!(seconds(true) < seconds(false), "{:?} {:?}", seconds(true), seconds(false));
}

#[test]
fn what_stable_lost_beside_the_slice_that_is_compared_is_a_finding_too() {
    let mut judge = judge_of(&default_gates());
    let (mut stable, slice, canary) = (window(90, 0), window(5, 0), window(5, 0));
    stable.drawn = Drawn { all: 91, at_random: 91, ended: 91, lost: 1 };
    judge.tick(&Tick { baseline: &slice, ..Tick::of(0, &stable, &canary) });
    assert!(judge.judgement().traffic.unwrap().starts_with("1 request to v1 ended without an outcome"));
}
