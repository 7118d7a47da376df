//! People who choose the canary themselves: left out where it is compared, and seen by limits and the breaker.

use config::{HeaderMatch, Match};

use super::*;
use crate::view::Matched;

/// A plan that gives the canary people before it gives it a weight.
fn with_people(rules: &[GateRule], judged: bool) -> Plan {
    let plan = plan(rules);
    let headers = vec![HeaderMatch { name: "x-beta".to_owned(), value: None }];
    let who = Some(Match { headers, cookie: None, judged });
    let first = Step::Match { who, hold: Duration::from_secs(60) };
    Plan { warmup: Duration::ZERO, steps: [first].into_iter().chain(plan.steps).collect(), ..plan }
}

/// So many ticks of ten a second, in which stable does well and the canary has those.
fn watch(judge: &mut Judge, ticks: i64, canary: &Window, matched: &Window) {
    let stable = window(95, 0);
    for tick in 0..ticks {
        judge.tick(&Tick { matched: Some(matched), ..Tick::of(tick / 10, &stable, canary) });
        if judge.judgement().harm.is_some() {
            break;
        }
    }
}

fn harm_of(judge: &Judge) -> String {
    judge.judgement().harm.map(|harm| harm.gate).unwrap_or_default()
}

#[test]
fn a_canary_that_is_dead_for_those_who_chose_it_is_broken() {
    let mut judge = Judge::new(Trial::of(&with_people(&default_gates(), false), "v1", "v2"));
    watch(&mut judge, 20, &Window::default(), &window(1, 1));
    assert_eq!(harm_of(&judge), BREAKER);
    let judgement = judge.judgement();
    assert!(judgement.matched.requests < 12, "{judgement:?}");
    assert_eq!(judgement.requests.canary, 0, "nobody was compared");
}

#[test]
fn without_people_left_out_nobody_counts_them() {
    // What a data plane may say of an older plan is no evidence.
    let mut judge = judge_of(&default_gates());
    watch(&mut judge, 100, &window(5, 0), &window(5, 5));
    assert_eq!(harm_of(&judge), "");
}

#[test]
fn people_who_fail_more_than_others_are_no_harm_where_the_canary_is_compared() {
    // A twentieth of their requests fails, as it may have before: they are not the people that stable has.
    let mut judge = Judge::new(Trial::of(&with_people(&default_gates(), false), "v1", "v2"));
    watch(&mut judge, 6_000, &window(5, 0), &window(20, 1));
    let judgement = judge.judgement();
    assert_eq!((judgement.harm, judgement.suspicion), (None, false));
    assert_eq!(judgement.matched, Matched { requests: 120_000, failed: 6_000 });
    assert_eq!((judgement.requests.canary, judgement.failed.canary), (30_000, 0));
    assert_eq!(gate(&judge.gates(), "errors").verdict, Verdict::Pass);
}

#[test]
fn the_same_people_are_harm_where_the_plan_says_that_they_are_judged() {
    // Then the data plane counts them among the canary's own.
    let mut judge = Judge::new(Trial::of(&with_people(&default_gates(), true), "v1", "v2"));
    watch(&mut judge, 6_000, &window(25, 1), &Window::default());
    assert_eq!(harm_of(&judge), "errors");
}

#[test]
fn limits_see_them_before_the_canary_has_a_weight() {
    let slow = |ms| window_of(2, Class::Success, ms);
    for (rule, matched, name) in
        [(error_limit(0.05), window(20, 2), "errors-limit"), (latency_limit(0.9, 300), slow(900), "latency-limit")]
    {
        let mut plan = with_people(&[errors(DEFAULT_TOLERANCE), rule], false);
        let mut judge = Judge::new(Trial::of(&plan, "v1", "v2"));
        watch(&mut judge, 600, &Window::default(), &matched);
        assert_eq!(harm_of(&judge), name);
        let gates = judge.gates();
        assert_eq!(gate(&gates, "errors").verdict, Verdict::NoData, "{gates:?}");
        assert!(gate(&gates, name).counts.unwrap().requests.canary > 0);

        // One on a path has those alone who are on it.
        plan.gates[1].path = config::PathPrefix::new("/checkout");
        let mut judge = Judge::new(Trial::of(&plan, "v1", "v2"));
        watch(&mut judge, 600, &Window::default(), &matched);
        assert_eq!(harm_of(&judge), "");
    }
}

#[test]
fn a_limit_counts_everybody_and_what_compares_the_drawn_alone() {
    let plan = with_people(&[errors(DEFAULT_TOLERANCE), error_limit(0.05)], false);
    let mut judge = Judge::new(Trial::of(&plan, "v1", "v2"));
    watch(&mut judge, 50, &window(5, 0), &window(3, 0));
    let counted = |name| gate(&judge.gates(), name).counts.unwrap().requests.canary;
    assert_eq!((counted("errors"), counted("errors-limit")), (250, 400));
}

#[test]
fn those_of_a_step_are_counted_anew_with_it() {
    let mut judge = Judge::new(Trial::of(&with_people(&default_gates(), false), "v1", "v2"));
    watch(&mut judge, 10, &Window::default(), &window(3, 1));
    judge.new_step();
    watch(&mut judge, 2, &Window::default(), &window(3, 0));
    let judgement = judge.judgement();
    assert_eq!((judgement.matched, judgement.matched_in_step), (Matched { requests: 36, failed: 10 }, 6));
    watch(&mut judge, 2, &Window::default(), &window(3, 3));
    assert_eq!(judge.judgement().matched_in_step, 6, "those that failed show nothing");
}

#[test]
fn what_is_known_of_them_survives_a_restart_to_the_last_bit() {
    let rules = [errors(DEFAULT_TOLERANCE), error_limit(0.05), latency_limit(0.9, 300), GateRule::LATENCY];
    let mut judge = Judge::new(Trial::of(&with_people(&rules, false), "v1", "v2"));
    watch(&mut judge, 37, &window(5, 0), &window_of(3, Class::Success, 20));
    let mut again: Judge = serde_json::from_str(&serde_json::to_string(&judge).unwrap()).unwrap();
    assert_eq!(again, judge);
    for judge in [&mut judge, &mut again] {
        watch(judge, 37, &window(5, 0), &window(3, 1));
    }
    assert_eq!(again, judge);
}
