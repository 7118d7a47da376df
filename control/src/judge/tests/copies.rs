//! Copies of requests, which the canary gets before it has users: gates hold what became of them against limits.

use config::MirrorLimits;

use super::*;
use crate::statistics::Batcher;

/// In so many seconds, at the least, evidence gathers.
const LEAST_SECONDS: i64 = 3;

fn limits(errors: Option<f64>, status: Option<f64>, body: Option<f64>) -> GateRule {
    let [errors, status, body] = [errors, status, body].map(|limit| limit.map(fraction));
    GateRule::Mirror(MirrorLimits { errors, status, body })
}

/// Of each kind a test: failures over 1 %, other statuses over 1 %, other bodies over 5 %.
fn every_limit() -> GateRule {
    limits(Some(0.01), Some(0.01), Some(0.05))
}

/// A judge of v2 against v1 whose canary gets copies.
fn mirrored(rules: &[GateRule]) -> Judge {
    Judge::new(Trial::of(&with_copies(plan(rules)), "v1", "v2"))
}

/// A tick in which stable did well, the canary had no user, and this became of copies.
fn copy(judge: &mut Judge, tick: i64, copies: Copies) {
    judge.tick(&Tick { copies: Some(copies), ..Tick::of(tick / 10, &window(100, 0), &window(0, 0)) });
}

/// So many copies, of which so many failed, and were answered with another status or body.
const fn copies(of: u64, failed: u64, status: u64, body: u64) -> Copies {
    Copies { ended: of, compared: of - failed, failed, status, body }
}

/// Feeds ticks of the same copies, ten a second.
fn seconds(judge: &mut Judge, from: i64, seconds: i64, each: Copies) {
    (from * 10..(from + seconds) * 10).for_each(|tick| copy(judge, tick, each));
}

#[test]
fn answers_that_differ_more_often_than_the_limit_take_the_canary_back_before_it_has_a_user() {
    let rules = [errors(DEFAULT_TOLERANCE), GateRule::LATENCY, every_limit()];
    for (each, gate, said) in [
        (copies(10, 1, 0, 0), "mirror-errors", "v2 failed 10 % of "),
        (copies(10, 0, 1, 0), "mirror-status", "v2 answered 10 % of "),
        (copies(10, 0, 0, 2), "mirror-body", "v2 answered 20 % of "),
    ] {
        let mut judge = mirrored(&rules);
        seconds(&mut judge, 0, 20, each);
        let harm = judge.judgement().harm.unwrap_or_else(|| panic!("{:?}", judge.gates()));
        assert_eq!(harm.gate, gate);
        assert!(harm.explain.starts_with(said), "{}", harm.explain);
        assert_eq!(judge.judgement().requests.canary, 0);
    }
}

#[test]
fn harm_is_said_with_what_was_copied_and_the_limit() {
    let mut judge = mirrored(&[every_limit()]);
    seconds(&mut judge, 0, 20, copies(10, 0, 1, 0));
    let explain = judge.judgement().harm.unwrap().explain;
    let words = ["copied requests with another status than v1 (the limit is 1 %) (in the ", "harm is established"];
    assert!(words.iter().all(|words| explain.contains(words)), "{explain}");
    assert!(explain.contains("differences in bursts"), "the dispersion of no stable traffic is unmeasured: {explain}");
}

#[test]
fn evidence_of_harm_needs_several_seconds() {
    let mut judge = mirrored(&[every_limit()]);
    let all = copies(20, 20, 0, 0);
    for tick in 0..10 * (LEAST_SECONDS - 1) {
        copy(&mut judge, tick, all);
        assert_eq!(judge.judgement().harm, None, "after {tick} ticks");
    }
    seconds(&mut judge, LEAST_SECONDS - 1, 3, all);
    assert!(judge.judgement().harm.is_some(), "{:?}", judge.gates());
}

#[test]
fn a_canary_below_its_limits_is_proven_by_copies_alone() {
    let mut judge = mirrored(&[errors(DEFAULT_TOLERANCE), GateRule::LATENCY, every_limit()]);
    seconds(&mut judge, 0, 15, copies(20, 0, 0, 0));
    assert!(!judge.judgement().proven, "in the first 15 s of a step only fast copies have ended");
    let waits = gate(&judge.gates(), "mirror-status").explain.clone();
    assert!(waits.contains("not judged for proof in the first 15 s of a step"), "{waits}");
    seconds(&mut judge, 15, 60, copies(20, 0, 0, 0));
    let judgement = judge.judgement();
    let told: Vec<_> = judge.gates().into_iter().map(|gate| (gate.name, gate.verdict)).collect();
    assert!(judgement.proven && judgement.has_data && !judgement.suspicion, "{told:?}");
    assert_eq!(gate(&judge.gates(), "errors").verdict, Verdict::NoData);
    let explain = gate(&judge.gates(), "mirror-status").explain.clone();
    assert_eq!(
        explain,
        "v2 answered 0 % of 15 000 copied requests with another status than v1 (the limit is 1 %): 1 % or more is ruled out"
    );
}

#[test]
fn what_gates_saw_of_copies_neither_holds_a_later_step_back_nor_lets_it_pass() {
    let mut judge = mirrored(&[limits(None, Some(0.05), None)]);
    seconds(&mut judge, 0, 2, copies(20, 0, 8, 0));
    assert!(judge.judgement().suspicion && judge.judgement().harm.is_none(), "{:?}", judge.gates());
    judge.new_step();
    for tick in 20..600 {
        judge.tick(&Tick::of(tick / 10, &window(95, 0), &window(5, 0)));
    }
    let judgement = judge.judgement();
    assert!(judgement.has_data && !judgement.suspicion, "{:?}", judge.gates());
    let of_copies = gate(&judge.gates(), "mirror-status").clone();
    assert_eq!(of_copies.verdict, Verdict::NoData);
    assert_eq!(of_copies.explain, "no copies of requests go to v2 now: nothing to judge");
    assert!(of_copies.log_evidence.is_some_and(|nats| nats > 0.0), "{of_copies:?}");
}

#[test]
fn no_copies_are_no_data_and_say_so() {
    let mut judge = mirrored(&[every_limit()]);
    seconds(&mut judge, 0, 2, Copies::default());
    let said = |judge: &Judge| gate(&judge.gates(), "mirror-body").explain.clone();
    assert!(!judge.judgement().has_data);
    assert_eq!(said(&judge), "no copy of a request to v1 has ended yet: nothing to judge");
    copy(&mut judge, 20, copies(3, 0, 0, 0));
    assert_eq!(said(&judge), format!("3 copied requests wait to be judged: {} are needed", Batcher::MIN_TOTAL));
    seconds(&mut judge, 3, 3, copies(10, 0, 0, 0));
    assert!(judge.judgement().has_data);
    seconds(&mut judge, 6, 35, Copies::default());
    assert!(!judge.judgement().has_data);
    assert_eq!(said(&judge), "no copy of a request to v1 has ended in the last 35 s: nothing to judge");
}

#[test]
fn a_gate_that_signals_asks_and_takes_nothing_back() {
    let mut plan = with_copies(plan(&[errors(DEFAULT_TOLERANCE), every_limit()]));
    plan.gates[1].role = GateRole::Signal;
    let mut judge = Judge::new(Trial::of(&plan, "v1", "v2"));
    seconds(&mut judge, 0, 20, copies(10, 0, 5, 0));
    let judgement = judge.judgement();
    assert_eq!((judgement.harm, judgement.signal.map(|harm| harm.gate)), (None, Some("mirror-status".to_owned())));
    judge.acknowledge();
    assert_eq!(judge.judgement().signal, None);
}

#[test]
fn copies_change_nothing_for_the_other_gates() {
    let rules = [errors(DEFAULT_TOLERANCE), GateRule::LATENCY, error_limit(0.05)];
    let (mut alone, mut beside) = (judge_of(&rules), mirrored(&rules));
    let mut random = fastrand::Rng::with_seed(1);
    for tick in 0..600 {
        let (bad, slow) = (random.u64(..3), random.u64(1..50));
        let (stable, canary) = (window(95, bad), window_of(5, Class::Success, slow));
        let now = Tick::of(tick / 10, &stable, &canary);
        alone.tick(&now);
        beside.tick(&Tick { copies: Some(copies(10, 1, 2, 3)), ..now });
    }
    let evidence =
        |judge: &Judge| judge.gates().into_iter().map(|gate| (gate.name, gate.log_evidence)).collect::<Vec<_>>();
    assert_eq!(evidence(&beside), evidence(&alone), "there is no gate that looks at them");
    assert_eq!(beside.judgement().copies.ended, 6_000);
}

#[test]
fn a_judge_of_copies_restored_at_any_moment_goes_on_to_the_same_bits() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut judge = mirrored(&[errors(DEFAULT_TOLERANCE), every_limit(), limits(Some(0.3), None, None)]);
    let mut twin = judge.clone();
    for tick in 0..400 {
        let ended = random.u64(..9);
        let failed = random.u64(..=ended) / 4;
        let each = Copies { body: random.u64(..=ended - failed) / 2, ..copies(ended, failed, 0, 0) };
        let copies = (!(120..180).contains(&tick)).then_some(each);
        for judge in [&mut judge, &mut twin] {
            judge.tick(&Tick { copies, ..Tick::of(tick / 10, &window(20, 0), &window(0, 0)) });
            match tick {
                120 | 180 => judge.new_step(),
                250 => judge.settle(),
                333 => judge.begin_anew(),
                _ => {}
            }
        }
        twin = serde_json::from_str(&serde_json::to_string(&twin).unwrap()).unwrap();
        assert_eq!(twin, judge, "after tick {tick}");
        assert_eq!(twin.judgement(), judge.judgement(), "after tick {tick}");
    }
    assert_eq!(judge.gates().iter().filter(|gate| gate.name.starts_with("mirror")).count(), 4);
}

#[test]
fn chance_alone_takes_hardly_any_canary_back_that_differs_as_often_as_is_allowed() {
    let mut taken_back = 0;
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut judge = mirrored(&[every_limit()]);
        for tick in 0..600 {
            let mut count = |chance: f64| (0..20).filter(|_| random.f64() < chance).count() as u64;
            let (failed, status, body) = (count(0.01), count(0.01), count(0.05));
            copy(&mut judge, tick, Copies { ended: 20, compared: 20, failed, status, body });
        }
        taken_back += u32::from(judge.judgement().harm.is_some());
    }
    // At alpha 1 %, of which the family has nine tenths: 1.8 of 200 at the most, on average.
    assert!(taken_back <= 4, "{taken_back}");
}

#[test]
fn half_again_as_many_differences_as_are_allowed_are_found_within_minutes() {
    let mut random = fastrand::Rng::with_seed(3);
    let mut judge = mirrored(&[every_limit()]);
    let found = (0..6_000).find(|tick| {
        let status = (0..20).filter(|_| random.f64() < 0.03).count() as u64;
        copy(&mut judge, *tick, copies(20, 0, status, 0));
        judge.judgement().harm.is_some()
    });
    assert!(found.is_some_and(|tick| tick < 600), "{found:?} ticks: {:?}", judge.gates());
}
