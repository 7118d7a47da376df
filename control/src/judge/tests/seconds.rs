//! What is established needs three distinct seconds, whatever happens within one.

use super::*;

/// A judge after some good seconds, the last of them 29.
fn good_start() -> Judge {
    let mut judge = judge_of(&default_gates());
    (0..30).for_each(|second| judge.tick(&Tick::of(second, &window(960, 0), &window(480, 0))));
    judge
}

fn bad_tick(judge: &mut Judge, second: i64) {
    judge.tick(&Tick::of(second, &window(960, 0), &window(400, 40)));
}

#[test]
fn steps_within_a_second_do_not_make_more_of_it() {
    for steps in 0..4 {
        let mut judge = good_start();
        for tick in 0..4 {
            bad_tick(&mut judge, 30);
            if tick < steps {
                judge.new_step();
            }
        }
        assert_eq!(judge.judgement().harm, None, "{steps} steps in one second");
        (31..33).for_each(|second| bad_tick(&mut judge, second));
        assert!(judge.judgement().harm.is_some());
    }
}

#[test]
fn a_step_in_the_middle_of_a_second_is_invested_in_once_the_second_is_over_and_only_once() {
    let (mut within, mut after) = (good_start(), good_start());
    for judge in [&mut within, &mut after] {
        judge.tick(&Tick::of(30, &window(960, 1), &window(480, 1)));
    }
    within.new_step();
    let restored: Judge = serde_json::from_str(&serde_json::to_string(&within).unwrap()).unwrap();
    assert_eq!(restored, within);
    within.tick(&Tick::of(30, &window(960, 1), &window(480, 1)));
    within.new_step();
    after.tick(&Tick::of(30, &window(960, 1), &window(480, 1)));
    // Here the step begins between two seconds.
    after.family.end_block(Default::default());
    after.family.begin_step();
    within.family.end_block(Default::default());
    let wealth = |judge: &Judge| serde_json::to_value(judge).unwrap()["family"]["wealths"].clone();
    assert_eq!(wealth(&within), wealth(&after));
    assert_ne!(wealth(&good_start()), wealth(&after));
}

#[test]
fn a_clock_that_wavers_about_the_turn_of_a_second_makes_no_seconds() {
    let mut judge = good_start();
    (0..8).for_each(|tick| bad_tick(&mut judge, 30 + tick % 2));
    assert_eq!(judge.judgement().harm, None);
    bad_tick(&mut judge, 32);
    assert!(judge.judgement().harm.is_some());
}
