//! A judge that is saved and read again is the same judge.

use super::clients::{Answers, Clients, Rollout};
use super::*;

fn every_rule() -> [GateRule; 5] {
    [errors(DEFAULT_TOLERANCE), GateRule::LATENCY, error_limit(0.05), latency_limit(0.99, 300), latency_limit(0.5, 20)]
}

fn restored(judge: &Judge) -> Judge {
    serde_json::from_str(&serde_json::to_string(judge).unwrap()).unwrap()
}

/// Gates of every rule, on all requests and on a path, as guardrails and as signals.
fn every_kind_of_gate() -> Plan {
    let GateRule::Latency { tolerance, margin, .. } = GateRule::LATENCY else { panic!() };
    let of_total =
        GateRule::Latency { quantile: Some(Quantile::new(0.9).unwrap()), tolerance, margin, of: LatencyOf::Total };
    let mut rules = every_rule().to_vec();
    rules.extend([of_total, errors((1.0, 0.01)), GateRule::LATENCY, error_limit(0.1)]);
    let mut plan = Plan { warmup: Duration::from_secs(2), ..plan(&rules) };
    plan.gates.iter_mut().skip(6).for_each(|gate| gate.path = config::PathPrefix::new("/checkout"));
    plan.gates.iter_mut().step_by(2).for_each(|gate| gate.role = GateRole::Signal);
    plan
}

/// A tick of random traffic, sometimes of one version only, sometimes none.
fn random_tick(random: &mut fastrand::Rng) -> (Window, Window) {
    let mut window = |most: u64| {
        let (mut window, mut on_path) = (Window::default(), meter::PathTally::default());
        for nth in 0..random.u64(..=most) {
            let class = if random.u8(..20) == 0 { Class::Timeout } else { Class::Success };
            let us = random.u64(1_000..600_000);
            window.judged[class as usize] += 1;
            let group = random.usize(..4);
            window.groups[group].requests += 1;
            window.groups[group].bad += u64::from(class.is_bad());
            window.endpoints[group % 2] = window.groups[group];
            if class == Class::Success {
                window.latency_good.record_us(us);
                window.total_good.record_us(us + 5_000);
            }
            if nth % 3 == 0 {
                on_path.judged[class as usize] += 1;
                on_path.latency_good.record_us(us);
            }
        }
        window.paths = vec![on_path];
        window
    };
    (window(30), window(4))
}

#[test]
fn a_judge_restored_at_any_moment_goes_on_to_the_same_bits() {
    let mut random = fastrand::Rng::with_seed(20_261_122);
    let mut judge = Judge::new(Trial::of(&every_kind_of_gate(), "v1", "v2"));
    let mut twin = restored(&judge);
    for tick in 0..400 {
        let (stable, canary) = random_tick(&mut random);
        let draws = Draws::under(Weight::from_basis_points(1_000).unwrap(), canary.requests(), 40);
        for judge in [&mut judge, &mut twin] {
            judge.tick(&Tick { draws, ..Tick::of(tick / 10, &stable, &canary) });
            match tick {
                96 | 193 | 290 => judge.new_step(),
                150 => judge.warm_up_again(),
                250 => judge.acknowledge(),
                333 => judge.begin_anew(),
                _ => {}
            }
        }
        twin = restored(&twin);
        assert_eq!(serde_json::to_string(&twin).unwrap(), serde_json::to_string(&judge).unwrap(), "after tick {tick}");
        assert_eq!(twin, judge, "after tick {tick}");
        assert_eq!(twin.gates(), judge.gates(), "after tick {tick}");
    }
    let gates = judge.gates();
    assert_eq!(gates.len(), 10, "{gates:?}");
    assert!(gates.iter().all(|gate| gate.log_evidence.is_some_and(|nats| nats != 0.0)), "{gates:?}");
}

#[test]
fn established_harm_survives_a_restart() {
    let mut judge = judge_of(&default_gates());
    (0..20).for_each(|tick| judge.tick(&Tick::of(tick / 10, &window(95, 0), &window(5, 5))));
    let before = judge.judgement();
    assert!(before.harm.is_some());
    assert_eq!(restored(&judge).judgement(), before);
}

#[test]
fn the_saved_state_of_ten_gates_takes_less_than_64_kib() {
    let GateRule::Latency { tolerance, margin, .. } = GateRule::LATENCY else { panic!() };
    let latency = |quantile, of| GateRule::Latency { quantile, tolerance, margin, of };
    let mut rules = every_rule().to_vec();
    rules.extend([
        latency(None, LatencyOf::Total),
        latency(Some(Quantile::P99), LatencyOf::Head),
        latency(Some(Quantile::new(0.5).unwrap()), LatencyOf::Total),
        errors((1.0, 0.001)),
        GateRule::LATENCY,
    ]);
    let mut plan = Plan { warmup: Duration::ZERO, ..plan(&rules) };
    plan.gates.iter_mut().skip(8).for_each(|gate| gate.path = config::PathPrefix::new("/checkout"));
    let mut rollout = Rollout::of(7, &plan);
    for second in 0..120 {
        let mut ask = |requests| {
            let mut window = rollout.clients.ask(requests, Answers { hanging: 0.001, ..Answers::WELL });
            let Window { judged, latency_good, total_good, .. } = window.clone();
            window.paths = vec![meter::PathTally { judged, latency_good, total_good, ..Default::default() }];
            window
        };
        let (stable, canary) = (ask(1_900), ask(100));
        let draws = Draws::under(Weight::from_basis_points(500).unwrap(), 100, 2_000);
        rollout.judge.tick(&Tick { draws, ..Tick::of(second, &stable, &canary) });
    }
    let bytes = |part: &dyn Fn(&serde_json::Value) -> serde_json::Value| {
        part(&serde_json::to_value(&rollout.judge).unwrap()).to_string().len()
    };
    let whole = bytes(&Clone::clone);
    let parts = ["family", "measure", "record", "background"].map(|part| (part, bytes(&|whole| whole[part].clone())));
    assert!(whole < 64 * 1024, "{whole} bytes: {parts:?}");
}

#[test]
fn the_saved_state_of_gates_on_sixteen_paths_takes_less_than_64_kib() {
    let mut plan = Plan { warmup: Duration::ZERO, ..plan(&default_gates()) };
    for path in 0..16 {
        for rule in [GateRule::LATENCY, errors(DEFAULT_TOLERANCE)] {
            plan.gates.push(Gate {
                name: Name::new(&format!("gate-{}", plan.gates.len())).unwrap(),
                role: GateRole::Guardrail,
                path: config::PathPrefix::new(&format!("/shop/part-{path}")),
                rule,
            });
        }
    }
    let mut judge = Judge::new(Trial::of(&plan, "v1", "v2"));
    let mut clients = Clients::new(1);
    let mut draw = |requests: u64| {
        let mut window = clients.ask(requests, Answers { failing: 0.02, ..Answers::WELL });
        let random = &mut clients.random;
        window.endpoints = std::array::from_fn(|_| meter::GroupCounts {
            requests: requests / 16,
            bad: random.u64(..3),
            timed: requests / 16,
            over: [random.u64(..requests / 16), random.u64(..3)],
        });
        window.groups = window.endpoints;
        window.paths.resize_with(16, meter::PathTally::default);
        for path in &mut window.paths {
            (path.judged, path.latency_good) = (window.judged, window.latency_good.clone());
        }
        window
    };
    for tick in 0..480 {
        let (stable, canary) = (draw(240), draw(60));
        let draws = Draws::under(Weight::from_basis_points(2_000).unwrap(), 60, 300);
        judge.tick(&Tick { draws, ..Tick::of(tick / 4, &stable, &canary) });
    }
    let whole = serde_json::to_value(&judge).unwrap();
    let bytes = |part: &serde_json::Value| part.to_string().len();
    let parts = ["settings", "family", "measure", "record", "background"].map(|part| (part, bytes(&whole[part])));
    assert!(bytes(&whole) < 64 * 1024, "{} bytes: {parts:?}", bytes(&whole));
    assert!(judge.gates().iter().all(|gate| gate.log_evidence.is_some_and(|nats| nats != 0.0)));
}

#[test]
fn a_state_of_another_version_or_of_other_gates_is_refused_in_words() {
    let saved = serde_json::to_value(judge_of(&every_rule())).unwrap();
    let refusal = |path: &str, value: serde_json::Value| {
        let mut saved = saved.clone();
        *saved.pointer_mut(path).unwrap() = value;
        serde_json::from_value::<Judge>(saved).unwrap_err().to_string()
    };
    assert_eq!(
        refusal("/version", 1.into()),
        "the state of the gates was made by another Tidegate (state 1, this reads 5)"
    );
    let misfit = "the state of the gates does not fit the gates it was saved with";
    assert_eq!(refusal("/settings/gates", serde_json::json!([])), misfit);
    assert_eq!(refusal("/family/wealths", serde_json::json!([])), misfit);
    assert_eq!(refusal("/record/gates", serde_json::json!([])), misfit);
    assert_eq!(refusal("/measure/gauges", serde_json::json!([])), misfit);
    assert_eq!(refusal("/settings/alpha", 7.into()), misfit);
    assert_eq!(refusal("/traffic/seen/canary", 1.into()), misfit, "more draws to the canary than there were");
}
