//! A canary that is broken outright after stable has had incidents of its own.

use meter::GroupCounts;

use super::*;

const SECONDS: i64 = 300;

/// Stable traffic of three endpoints; every twentieth second one of them fails all that it gets.
fn after_incidents() -> Background {
    let mut background = Background::default();
    for second in 0..SECONDS {
        let mut window = window(300, 0);
        for (place, group) in window.endpoints.iter_mut().take(3).enumerate() {
            let bad = if second % 20 == 0 && second / 20 % 3 == place as i64 { 100 } else { 0 };
            *group = GroupCounts { requests: 100, bad, ..GroupCounts::default() };
        }
        background.observe(second, &window);
    }
    background
}

fn begun() -> Judge {
    let plan = plan(&default_gates());
    Judge::new(Trial { background: after_incidents(), ..Trial::of(&plan, "v1", "v2") })
}

/// So many ticks, ten a second.
fn ticks(judge: &mut Judge, from: i64, ticks: i64, stable: &Window, canary: &Window) {
    (0..ticks).for_each(|tick| judge.tick(&Tick::of(SECONDS + from + tick / 10, stable, canary)));
}

#[test]
fn while_a_canary_looks_broken_nobody_else_is_given_to_it_however_long_the_tests_take_to_believe_it() {
    let mut judge = begun();
    ticks(&mut judge, 0, 40, &window(60, 0), &window(4, 0));
    assert!(judge.dispersion().unwrap().errors > 20.0, "{:?}", judge.dispersion());
    assert!(!judge.judgement().suspicion);
    ticks(&mut judge, 4, 10, &window(60, 0), &window(4, 4));
    let judgement = judge.judgement();
    assert_eq!(judgement.harm, None, "it is not established yet");
    assert!(judgement.suspicion);
    ticks(&mut judge, 5, 100, &window(60, 0), &window(4, 0));
    assert!(!judge.judgement().suspicion, "it is well again");
}

#[test]
fn where_stable_fails_as_much_a_canary_does_not_look_broken() {
    let mut judge = begun();
    ticks(&mut judge, 0, 40, &window(60, 0), &window(4, 0));
    ticks(&mut judge, 4, 10, &window(60, 60), &window(4, 4));
    assert!(!judge.judgement().suspicion, "{:?}", judge.gates());
}

#[test]
fn three_failures_in_a_row_may_be_chance_and_a_fourth_looks_broken() {
    let mut judge = begun();
    ticks(&mut judge, 0, 40, &window(60, 0), &window(4, 0));
    for failures in 1..=4 {
        ticks(&mut judge, 4, 1, &window(60, 0), &window(1, 1));
        assert_eq!(judge.judgement().suspicion, failures == 4, "{failures}");
    }
}

#[test]
fn a_client_of_whom_all_fails_makes_no_canary_look_broken_and_two_do() {
    let failing = |of: u16| Window { clients: meter::Clients { seen: 0b11, bad: of }, ..window(1, 1) };
    let mut judge = begun();
    ticks(&mut judge, 0, 40, &window(60, 0), &window(4, 0));
    ticks(&mut judge, 4, 10, &window(60, 0), &failing(0b01));
    assert!(!judge.judgement().suspicion);
    ticks(&mut judge, 5, 1, &window(60, 0), &failing(0b10));
    assert!(judge.judgement().suspicion);
}
