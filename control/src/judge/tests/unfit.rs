//! A baseline that is broken itself makes no broken canary look well.

use expect_test::expect;

use super::clients::{Answers, Clients};
use super::*;

const BROKEN: Answers = Answers { failing: 1.0, ..Answers::WELL };

fn plan_against(baseline: config::Baseline, rules: &[GateRule]) -> Plan {
    Plan { warmup: Duration::ZERO, baseline, ..plan(rules) }
}

fn v3() -> config::Baseline {
    config::Baseline::Version(Name::new("v3").unwrap())
}

/// A judge against this baseline, and what the versions are asked.
struct Compared {
    judge: Judge,
    clients: Clients,
    second: i64,
    to_baseline: u64,
}

impl Compared {
    fn with(baseline: config::Baseline, rules: &[GateRule]) -> Self {
        let mut clients = Clients::new(1);
        let background = clients.background(30, 200);
        let plan = plan_against(baseline, rules);
        let judge = Judge::new(Trial { background, ..Trial::of(&plan, "v1", "v2") });
        Self { judge, clients, second: 0, to_baseline: 100 }
    }

    fn seconds(&mut self, seconds: i64, baseline: Answers, canary: Answers) {
        for _ in 0..seconds {
            let stable = self.clients.ask(800, Answers::WELL);
            let (baseline, canary) = (self.clients.ask(self.to_baseline, baseline), self.clients.ask(100, canary));
            self.judge.tick(&Tick { baseline: &baseline, ..Tick::of(self.second, &stable, &canary) });
            self.second += 1;
            let again: Judge = serde_json::from_str(&serde_json::to_string(&self.judge).unwrap()).unwrap();
            assert_eq!(again, self.judge);
        }
    }
}

#[test]
fn the_breaker_compares_with_all_of_stable_whoever_the_baseline_is() {
    for (baseline, to_baseline) in [(v3(), 100), (v3(), 0), (config::Baseline::Equal, 100)] {
        let mut compared = Compared::with(baseline, &default_gates());
        compared.to_baseline = to_baseline;
        compared.seconds(1, BROKEN, BROKEN);
        let harm = compared.judge.judgement().harm.unwrap();
        assert_eq!(harm.gate, "breaker");
        expect!["100 of the last 100 requests to v2 failed while v1 is well (1 of 800): it is broken (chance of seeing this without harm: less than 1 in 1 000 000 000)"].assert_eq(&harm.explain.replace("(0 of 800)", "(1 of 800)"));
    }
}

#[test]
fn a_change_of_weight_closes_what_the_breaker_gathers() {
    let mut judge = Judge::new(Trial::of(&plan_against(v3(), &default_gates()), "v1", "v2"));
    judge.tick(&Tick { baseline: &window(1, 1), ..Tick::of(0, &window(9, 0), &window(9, 9)) });
    assert_eq!(judge.judgement().harm, None, "no batch yet");
    judge.new_step();
    assert_eq!(judge.judgement().harm.unwrap().gate, "breaker");
}

#[test]
fn a_baseline_that_fails_more_than_stable_is_a_finding_and_nothing_passes_beside_it() {
    let mut compared = Compared::with(v3(), &[errors(DEFAULT_TOLERANCE), error_limit(0.05)]);
    compared.seconds(60, Answers::WELL, Answers::WELL);
    assert!(compared.judge.judgement().proven, "{:?}", compared.judge.gates());
    assert_eq!(compared.judge.judgement().traffic, None);
    assert!(compared.judge.gates().iter().all(|gate| gate.name != "baseline"));

    compared.seconds(4, BROKEN, Answers::WELL);
    let judgement = compared.judge.judgement();
    let found = judgement.traffic.unwrap();
    expect!["the baseline v3 fails 43 % of requests, v1 0.036 % (in the 8 s before, 301 of 700 against 2 of 5 600; chance of seeing this if it were no worse: at most 1 in 130): nothing can be compared with it; abort, or mend it and resume"].assert_eq(&found);
    let gates = compared.judge.gates();
    let view = gate(&gates, "baseline");
    assert_eq!((view.role, view.verdict, &view.explain), (Role::Signal, Verdict::Fail, &found));
    assert!(view.log_evidence.unwrap() >= view.threshold);
    assert!(!judgement.proven && gates.iter().all(|gate| gate.verdict != Verdict::Pass), "{gates:?}");
    let errors = &gate(&gates, "errors").explain;
    assert!(errors.ends_with(": nothing passes while the baseline v3 is worse than v1"), "{errors}");

    // It stays until somebody has seen it, also once the baseline is well.
    compared.seconds(20, Answers::WELL, Answers::WELL);
    assert_eq!(compared.judge.judgement().traffic.unwrap(), found);
    compared.judge.acknowledge();
    let judgement = compared.judge.judgement();
    assert_eq!((judgement.traffic, judgement.proven), (None, true));
    compared.seconds(4, BROKEN, Answers::WELL);
    assert!(compared.judge.judgement().traffic.unwrap().contains("in the 4 s before"));
}

#[test]
fn a_baseline_needs_three_seconds_to_be_found_worse() {
    let mut judge = Judge::new(Trial::of(&plan_against(v3(), &default_gates()), "v1", "v2"));
    for tick in 0..20 {
        judge.tick(&Tick { baseline: &window(100, 100), ..Tick::of(tick / 10, &window(900, 0), &window(100, 0)) });
        assert_eq!(judge.judgement().traffic, None);
    }
    judge.tick(&Tick { baseline: &window(100, 100), ..Tick::of(2, &window(900, 0), &window(100, 0)) });
    assert!(judge.judgement().traffic.is_some());
}

#[test]
fn a_step_gives_the_test_of_the_baseline_new_money_once_the_second_is_over() {
    let of = |judge: &Judge| serde_json::to_value(judge).unwrap()["baseline"]["test"].clone();
    let mut compared = Compared::with(v3(), &default_gates());
    compared.seconds(5, Answers::WELL, Answers::WELL);
    let mut twin = Judge::clone(&compared.judge);
    let before = of(&compared.judge);
    compared.judge.new_step();
    assert_eq!(of(&compared.judge), before);
    let quiet = Window::default();
    for judge in [&mut compared.judge, &mut twin] {
        judge.tick(&Tick { baseline: &quiet, ..Tick::of(9, &window(1, 0), &quiet) });
    }
    assert_ne!(of(&compared.judge), of(&twin));
}

#[test]
fn a_slice_of_stable_is_not_tested_against_it_and_nor_is_stable() {
    for baseline in [config::Baseline::Stable, config::Baseline::Equal] {
        let mut compared = Compared::with(baseline, &default_gates());
        compared.seconds(10, BROKEN, Answers::WELL);
        assert_eq!(compared.judge.judgement().traffic, None);
    }
}

#[test]
fn a_baseline_that_is_as_good_as_stable_is_seldom_found_worse() {
    let mut found = 0;
    for seed in 0..100 {
        let mut compared = Compared::with(v3(), &[errors(DEFAULT_TOLERANCE)]);
        compared.clients.random = fastrand::Rng::with_seed(seed);
        compared.judge.new_step();
        for second in 0..60 {
            let [stable, baseline] = [800, 100].map(|requests| {
                let failed = (0..requests).filter(|_| compared.clients.random.f64() < 0.03).count();
                window(requests, failed as u64)
            });
            compared.judge.tick(&Tick { baseline: &baseline, ..Tick::of(second, &stable, &window(100, 3)) });
        }
        found += u32::from(compared.judge.judgement().traffic.is_some());
    }
    assert!(found <= 2, "{found} of 100");
}
