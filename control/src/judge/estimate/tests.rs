use std::time::Duration;

use config::{GateRole, GateRule};

use super::*;
use crate::judge::tests::{
    DEFAULT_TOLERANCE,
    clients::{Answers, Rollout},
};
use crate::judge::tests::{error_limit, errors, gate, latency_limit, plan};

const INDEPENDENT: Dispersion = Dispersion { errors: 1.0, latency: 1.0 };

/// Of a step without a warm-up.
const FIRST: Waits = Waits { cold_for: Duration::ZERO, first_byte: Duration::ZERO };

fn weight(percent: u16) -> Weight {
    Weight::from_basis_points(100 * percent).unwrap()
}

/// At 1 000 requests a second of which one in a hundred fails, without a warm-up.
fn of(rule: GateRule, percent: u16) -> GateEstimate {
    let plan = Plan { warmup: Duration::ZERO, ..plan(&[rule]) };
    forecast(&plan, weight(percent), 1_000.0, 0.01, INDEPENDENT, FIRST)
}

#[test]
fn the_edges_are_quantiles_of_the_normal_law() {
    for (edge, quantile) in EDGE_NORMALS.into_iter().zip(EDGE_QUANTILES) {
        assert!((edge - normal_quantile(quantile)).abs() < 1e-8, "{quantile}: {edge}");
        assert!((above(edge) - (1.0 - quantile)).abs() < 1e-12);
    }
    let chances = level_chances(0.4);
    assert!((chances.iter().sum::<f64>() - 1.0).abs() < 1e-12);
}

#[test]
fn ten_times_the_traffic_takes_a_tenth_of_the_time() {
    let plan = Plan { warmup: Duration::ZERO, ..Plan::built_in() };
    let at = |requests| forecast(&plan, weight(5), requests, 0.01, INDEPENDENT, FIRST);
    let (little, much) = (at(10.0), at(100.0));
    // Nothing is proven in the first 15 s.
    for (little, much, waits) in [(little.fail_s, much.fail_s, 0.0), (little.pass_s, much.pass_s, 15.0)] {
        assert!(((little.unwrap() - waits) / (much.unwrap() - waits) - 10.0).abs() < 1e-4, "{little:?} {much:?}");
    }
}

#[test]
fn without_traffic_without_a_gate_and_without_a_canary_there_is_no_estimate() {
    let none = GateEstimate { fail_s: None, pass_s: None };
    assert_eq!(forecast(&Plan::built_in(), weight(5), 0.0, 0.01, INDEPENDENT, FIRST), none);
    assert_eq!(forecast(&Plan::built_in(), Weight::ZERO, 100.0, 0.01, INDEPENDENT, FIRST), none);
    assert_eq!(forecast(&plan(&[]), weight(5), 100.0, 0.01, INDEPENDENT, FIRST), none);
    assert_eq!(forecast(&Plan::built_in(), weight(5), f64::NAN, 0.01, INDEPENDENT, FIRST), none);
}

#[test]
fn bursts_and_a_warm_up_make_verdicts_later() {
    let bursty = Dispersion { errors: 5.0, latency: 5.0 };
    let plan = Plan { warmup: Duration::ZERO, ..Plan::built_in() };
    let estimate =
        |plan: &Plan, phi| forecast(plan, weight(5), 1_000.0, 0.01, phi, Waits { cold_for: plan.warmup, ..FIRST });
    let (calm, burst) = (estimate(&plan, INDEPENDENT), estimate(&plan, bursty));
    assert!(burst.fail_s > calm.fail_s && burst.pass_s > calm.pass_s);
    let cold = estimate(&Plan { warmup: Duration::from_secs(30), ..Plan::built_in() }, INDEPENDENT);
    assert!((cold.pass_s.unwrap() - calm.pass_s.unwrap() - (30.0 - 15.0)).abs() < 2e-3);
}

#[test]
fn the_slowest_gate_decides_and_signals_count_paths_do_not() {
    let mut both = plan(&[errors(DEFAULT_TOLERANCE), GateRule::LATENCY]);
    both.warmup = Duration::ZERO;
    both.gates[1].role = GateRole::Signal;
    let slowest = forecast(&both, weight(5), 1_000.0, 0.01, INDEPENDENT, FIRST);
    let alone = [of(errors(DEFAULT_TOLERANCE), 5), of(GateRule::LATENCY, 5)];
    assert_eq!(slowest.pass_s, alone.iter().map(|of| of.pass_s).max_by(|a, b| a.partial_cmp(b).unwrap()).unwrap());
    for (on_path, other) in [(0, alone[1]), (1, alone[0])] {
        let mut plan = both.clone();
        plan.gates[on_path].path = config::PathPrefix::new("/checkout");
        assert_eq!(forecast(&plan, weight(5), 1_000.0, 0.01, INDEPENDENT, FIRST), other);
    }
}

#[test]
fn a_limit_that_stable_breaks_is_never_passed() {
    assert_eq!(of(error_limit(0.005), 5).pass_s, None);
    let kept = of(error_limit(0.05), 5);
    assert!(kept.pass_s.is_some() && kept.fail_s.is_some());
    assert!(of(latency_limit(0.99, 300), 5).pass_s.is_some());
}

#[test]
fn an_equal_baseline_costs_time_where_the_canary_is_small() {
    let plan = |baseline| Plan { warmup: Duration::ZERO, baseline, ..Plan::built_in() };
    let at = |baseline| forecast(&plan(baseline), weight(5), 1_000.0, 0.01, INDEPENDENT, FIRST).fail_s;
    assert!(at(config::Baseline::Equal) > at(config::Baseline::Stable));
}

/// The time that the real tests take, at the median of some rollouts, of what was told before they began.
#[test]
fn real_verdicts_come_about_when_they_were_told() {
    let rules = [errors(DEFAULT_TOLERANCE), GateRule::LATENCY];
    let told = forecast(&Plan { warmup: Duration::ZERO, ..plan(&rules) }, weight(20), 500.0, 0.01, INDEPENDENT, FIRST);
    let stable = Answers { failing: 0.01, ..Answers::WELL };
    let median = |mut seconds: Vec<i64>| {
        seconds.sort_unstable();
        seconds[seconds.len() / 2] as f64
    };
    let until = |seed: u64, canary: Answers, done: &dyn Fn(&Rollout) -> bool| {
        let mut rollout = Rollout::warm(seed, &rules);
        (1..600)
            .find(|_| {
                rollout.seconds(1, stable, canary);
                done(&rollout)
            })
            .unwrap_or(600)
    };
    let passes = median((0..15).map(|seed| until(seed, stable, &|rollout| rollout.judge.judgement().proven)).collect());
    let worse = Answers { failing: 1.5 * 0.01 + 0.001, ..stable };
    let fails =
        median((0..15).map(|seed| until(seed, worse, &|rollout| rollout.judge.judgement().harm.is_some())).collect());
    for (real, told) in [(passes, told.pass_s.unwrap()), (fails, told.fail_s.unwrap())] {
        assert!((0.4..2.5).contains(&(real / told)), "took {real} s, told {told} s");
    }
}

#[test]
fn a_running_gate_tells_its_estimate() {
    let mut rollout = Rollout::warm(1, &[errors(DEFAULT_TOLERANCE), GateRule::LATENCY]);
    assert_eq!(rollout.gate("errors").estimate, None);
    rollout.seconds(7, Answers::WELL, Answers::WELL);
    let estimate = rollout.gate("errors").estimate.unwrap();
    assert!(estimate.fail_s.unwrap() > 3.0 && estimate.pass_s.unwrap() > 1.0, "{estimate:?}");
    while rollout.gate("errors").proof != Some(1.0) {
        rollout.seconds(1, Answers::WELL, Answers::WELL);
    }
    rollout.seconds(10, Answers::WELL, Answers::WELL);
    assert_eq!(rollout.gate("errors").estimate.unwrap().pass_s, Some(0.0));
    assert!(gate(&rollout.judge.gates(), "latency").estimate.is_some());
}
