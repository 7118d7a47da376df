//! A judge that is saved and read again is the same judge.

use super::*;

fn every_rule() -> [GateRule; 5] {
    [errors(DEFAULT_TOLERANCE), GateRule::LATENCY, error_limit(0.05), latency_limit(0.99, 300), latency_limit(0.5, 20)]
}

fn restored(judge: &Judge) -> Judge {
    serde_json::from_str(&serde_json::to_string(judge).unwrap()).unwrap()
}

/// A tick of random traffic, sometimes of one version only, sometimes none.
fn random_tick(random: &mut fastrand::Rng) -> (Window, Window) {
    let mut window = |most: u64| {
        let mut window = Window::default();
        for _ in 0..random.u64(..=most) {
            let class = if random.u8(..20) == 0 { Class::Timeout } else { Class::Success };
            window.judged[class as usize] += 1;
            if class == Class::Success {
                window.latency_good.record_us(random.u64(1_000..600_000));
            }
        }
        window
    };
    (window(30), window(4))
}

#[test]
fn a_judge_restored_at_any_moment_goes_on_to_the_same_bits() {
    let mut random = fastrand::Rng::with_seed(20_261_122);
    let mut judge = judge_of(&every_rule());
    let mut twin = restored(&judge);
    for tick in 0..400 {
        let (stable, canary) = random_tick(&mut random);
        for judge in [&mut judge, &mut twin] {
            judge.tick(&Tick::of(tick / 10, &stable, &canary));
            if tick % 97 == 96 {
                judge.new_step();
            }
        }
        twin = restored(&twin);
        assert_eq!(serde_json::to_string(&twin).unwrap(), serde_json::to_string(&judge).unwrap(), "after tick {tick}");
        assert_eq!(twin, judge, "after tick {tick}");
        assert_eq!(twin.gates(), judge.gates(), "after tick {tick}");
    }
    assert!(judge.gates().iter().all(|gate| gate.log_evidence.is_some_and(|nats| nats != 0.0)));
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
fn the_saved_state_of_ten_gates_takes_less_than_16_kib() {
    let mut rules = every_rule().to_vec();
    rules.extend([
        error_limit(0.01),
        error_limit(0.02),
        latency_limit(0.9, 100),
        latency_limit(0.95, 200),
        latency_limit(0.999, 900),
    ]);
    let mut random = fastrand::Rng::with_seed(7);
    let mut judge = judge_of(&rules);
    for tick in 0..1_000 {
        let (stable, canary) = random_tick(&mut random);
        judge.tick(&Tick::of(tick / 10, &stable, &canary));
    }
    let bytes = serde_json::to_string(&judge).unwrap().len();
    assert!(bytes < 16 * 1024, "{bytes} bytes");
}

#[test]
fn a_state_of_another_version_or_of_other_gates_is_refused_in_words() {
    let saved = serde_json::to_value(judge_of(&every_rule())).unwrap();
    let refusal = |path: &str, value: serde_json::Value| {
        let mut saved = saved.clone();
        *saved.pointer_mut(path).unwrap() = value;
        serde_json::from_value::<Judge>(saved).unwrap_err().to_string()
    };
    assert_eq!(refusal("/version", 1.into()), "the state of the gates is of version 1, this Tidegate reads version 2");
    let misfit = "the state of the gates does not fit the gates it was saved with";
    assert_eq!(refusal("/settings/gates", serde_json::json!([])), misfit);
    assert_eq!(refusal("/family/wealths", serde_json::json!([])), misfit);
    assert_eq!(refusal("/record/gates", serde_json::json!([])), misfit);
    assert_eq!(refusal("/measure/gauges", serde_json::json!([])), misfit);
    assert_eq!(refusal("/settings/alpha", 7.into()), misfit);
}
