//! Clients that leave before they have their whole answer.

use expect_test::expect;

use super::*;

/// So many requests at once, of which clients left so many, and so many failed.
fn window_left(requests: u64, left: u64, bad: u64) -> Window {
    let mut window = window(requests - left, bad);
    window.judged[Class::ClientAbort as usize] = left;
    window
}

fn judge() -> Judge {
    Judge::new(Trial::of(&Plan { warmup: Duration::ZERO, ..plan(&[errors(DEFAULT_TOLERANCE)]) }, "v1", "v2"))
}

/// A second in which clients left so many of 100 requests to stable and of 20 to the canary.
fn second(judge: &mut Judge, second: i64, left: Arms<u64>) {
    judge.tick(&Tick::of(second, &window_left(100, left.stable, 0), &window_left(20, left.canary, 0)));
}

#[test]
fn a_canary_whose_clients_leave_is_asked_about_and_not_taken_back() {
    let mut judge = judge();
    let found = (0..30).find_map(|at| {
        second(&mut judge, at, Arms { stable: u64::from(at % 3 == 0), canary: 19 });
        judge.judgement().signal
    });
    let Harm { gate, explain } = found.unwrap();
    assert_eq!(gate, "clients");
    expect!["clients left 95 % of v2's requests before their end, 0.33 % of v1's (in the 3 s before, 57 of 60 against 1 of 300; chance of seeing this if they left both alike: at most 1 in 530): v2 keeps them waiting, to the first byte or between the others"].assert_eq(&explain);
    assert_eq!(judge.judgement().harm, None);
    let gates = judge.gates();
    let view = super::gate(&gates, "clients");
    assert_eq!((view.role, view.verdict, &view.explain), (Role::Signal, Verdict::Fail, &explain));
    let restored: Judge = serde_json::from_str(&serde_json::to_string(&judge).unwrap()).unwrap();
    assert_eq!(restored, judge);
    judge.acknowledge();
    assert_eq!(judge.judgement().signal, None);
    (30..60).for_each(|at| second(&mut judge, at, Arms { stable: 0, canary: 19 }));
    assert!(judge.judgement().signal.is_some(), "it goes on, and is asked about again");
}

#[test]
fn whoever_looks_at_what_a_gate_signals_sees_that_clients_leave() {
    let mut plan = Plan { warmup: Duration::ZERO, ..plan(&[GateRule::LATENCY, errors(DEFAULT_TOLERANCE)]) };
    plan.gates[1].role = GateRole::Signal;
    let mut judge = Judge::new(Trial::of(&plan, "v1", "v2"));
    (0..60).for_each(|at| judge.tick(&Tick::of(at, &window_left(100, 0, 0), &window_left(20, 10, 5))));
    let Harm { gate, explain } = judge.judgement().signal.unwrap();
    assert_eq!(gate, "errors");
    assert!(explain.contains("; clients: clients left 50 % of v2's requests"), "{explain}");
}

#[test]
fn clients_that_leave_both_versions_alike_are_nothing_unusual() {
    let mut asked = 0;
    for seed in 0..400 {
        let (mut random, mut judge) = (fastrand::Rng::with_seed(seed), judge());
        for at in 0..240 {
            if at % 60 == 0 {
                judge.new_step();
            }
            // One client in twenty leaves, in some minutes one in five.
            let part = if (at / 60 + seed as i64) % 4 == 0 { 0.2 } else { 0.05 };
            let mut left = |of: u64| (0..of).filter(|_| random.f64() < part).count() as u64;
            let left = Arms { stable: left(100), canary: left(20) };
            second(&mut judge, at, left);
        }
        asked += u32::from(judge.judgement().signal.is_some());
        if seed == 0 {
            expect!["clients left 9.1 % of v2's requests before their end, 8.6 % of v1's: nothing unusual"]
                .assert_eq(&gate(&judge.gates(), "clients").explain);
        }
    }
    assert!(asked <= 4, "{asked} of 400, at an alpha of 1 %");
}

#[test]
fn clients_with_a_key_who_leave_all_that_they_ask_for_at_once_are_nothing_unusual() {
    let mut asked = 0;
    for seed in 0..300 {
        let (mut random, mut judge) = (fastrand::Rng::with_seed(seed), judge());
        for at in 0..240 {
            // Whoever leaves, one in twenty, leaves the four requests of a page: all of them on one version.
            let mut left = |pages: u64| 4 * (0..pages).filter(|_| random.f64() < 0.05).count() as u64;
            let left = Arms { stable: left(25), canary: left(5) };
            second(&mut judge, at, left);
        }
        asked += u32::from(judge.judgement().signal.is_some());
    }
    assert!(asked <= 3, "{asked} of 300, at an alpha of 1 %");
}

#[test]
fn clients_that_begin_to_leave_with_a_step_are_noticed_sooner_than_in_the_midst_of_one() {
    let seconds = |steps: bool| {
        let mut judge = judge();
        (0..600).for_each(|at| second(&mut judge, at, Arms { stable: 5, canary: 1 }));
        if steps {
            judge.new_step();
        }
        (600..).position(|at| {
            second(&mut judge, at, Arms { stable: 5, canary: 5 });
            judge.judgement().signal.is_some()
        })
    };
    assert!(seconds(true) < seconds(false), "{:?} {:?}", seconds(true), seconds(false));
}

#[test]
fn a_request_that_its_client_left_is_no_success_anywhere() {
    let run = |stable: &Window, canary: &Window| {
        let mut judge = judge();
        (0..200).for_each(|at| judge.tick(&Tick::of(at, stable, canary)));
        judge
    };
    let nobody_served = run(&window_left(100, 0, 0), &window_left(20, 20, 0));
    let judgement = nobody_served.judgement();
    assert_eq!(judgement.step_requests, Arms { stable: 20_000, canary: 0 });
    assert_eq!(judgement.left_in_step, Arms { stable: 0, canary: 4_000 });
    let errors = gate(&nobody_served.gates(), "errors").clone();
    assert_eq!((errors.verdict, errors.proof), (Verdict::Inconclusive, Some(0.0)), "{errors:?}");

    // What clients leave proves nothing: what is left of it, as much as if nothing were beside it.
    let proof = |canary: &Window| gate(&run(&window_left(100, 0, 0), canary).gates(), "errors").proof.unwrap();
    assert_eq!(proof(&window_left(20, 19, 0)).to_bits(), proof(&window_left(1, 0, 0)).to_bits());
    assert!(proof(&window_left(20, 0, 0)) > proof(&window_left(20, 19, 0)));
}

#[test]
fn whoever_is_left_waiting_is_not_served_within_a_limit() {
    let proof = |canary: Window| {
        let mut judge = judge_of(&[latency_limit(0.99, 300)]);
        (0..200).for_each(|at| judge.tick(&Tick::of(at, &window_left(100, 0, 0), &canary)));
        gate(&judge.gates(), "latency-limit").proof.unwrap()
    };
    assert_eq!(proof(window_left(20, 20, 0)).to_bits(), 0.0_f64.to_bits());
    assert_eq!(proof(window_left(20, 19, 0)).to_bits(), proof(window_left(1, 0, 0)).to_bits());
    assert!(proof(window_left(20, 0, 0)) > proof(window_left(20, 19, 0)));
}

#[test]
fn streams_that_clients_end_on_both_versions_count_as_requests() {
    let mut judge = judge();
    (0..20).for_each(|at| judge.tick(&Tick::of(at, &window_left(100, 98, 0), &window_left(20, 20, 0))));
    let judgement = judge.judgement();
    assert_eq!(
        (judgement.step_requests, judgement.left_in_step),
        (Arms { stable: 2_000, canary: 400 }, Arms::default())
    );
    assert_eq!(judgement.signal, None);
}

#[test]
fn what_was_saved_by_a_tidegate_of_before_is_read_and_looked_after_from_here_on() {
    let mut judge = judge();
    (0..20).for_each(|at| second(&mut judge, at, Arms { stable: 1, canary: 1 }));
    let mut state = serde_json::to_value(&judge).unwrap();
    state.as_object_mut().unwrap().remove("leaving").unwrap();
    let mut older: Judge = serde_json::from_value(state).unwrap();
    assert_eq!(older.judgement(), judge.judgement());
    (20..60).for_each(|at| second(&mut older, at, Arms { stable: 1, canary: 19 }));
    assert!(older.judgement().signal.is_some());
}
