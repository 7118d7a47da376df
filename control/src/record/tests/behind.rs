//! What a record has behind a state that was saved.

use std::fs;
use std::io::Write as _;

use proptest::prelude::*;

use super::super::tail::{CaughtUp, NoTail, Place, caught_up};
use super::*;

/// Tests as they were saved, with their place in the record.
struct Saved {
    place: Option<Place>,
    judge: String,
}

impl Story {
    fn save(&self) -> Saved {
        Saved { place: self.recorder.place(), judge: self.saved() }
    }

    fn catch_up(&self, Saved { place, judge }: &Saved) -> Result<CaughtUp, NoTail> {
        caught_up(&self.path(), place.unwrap(), serde_json::from_str(judge).unwrap())
    }
}

fn busy(random: &mut fastrand::Rng) -> Traffic {
    let (stable, canary) = (random_window(random, 40, 0.02, 3), random_window(random, 6, 0.05, 3));
    Traffic { stable, canary, ..Traffic::default() }
}

/// What may happen between two ticks.
fn something(story: &mut Story, random: &mut fastrand::Rng) {
    match random.u8(..40) {
        0 => story.mark(Mark::NewStep),
        1 => story.mark(Mark::Acknowledge),
        2 => story.mark(Mark::BeginAnew),
        3 => story.mark(Mark::WarmUpAgain),
        4 => story.endpoints.canary += 1,
        5 => story.weight = random.u16(1..10_000),
        6 => story.keep(),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn tests_that_were_saved_at_any_moment_catch_up_with_their_record_to_the_last_bit(
        seed: u64,
        baseline in prop::sample::select(vec!["stable", "equal", "v0"]),
        leaves_people_out: bool,
        sends_copies: bool,
        before in 1usize..80,
        after in 0usize..80,
    ) {
        let plan = plan_of(every_gate());
        let plan = if leaves_people_out { with_people(plan) } else { plan };
        let plan = if sends_copies { with_copies(plan) } else { plan };
        let plan = with_baseline(plan, baseline);
        let mut random = fastrand::Rng::with_seed(seed);
        let mut story = Story::of(&plan);
        let mut tick = |story: &mut Story| {
            something(story, &mut random);
            let traffic = if random.bool() { Traffic::default() } else { random_traffic(&mut random, &plan, 0.04) };
            story.tick(random.i64(0..130), &traffic);
        };
        // The first tick ends what may wait: there is a line that the place is behind.
        story.mark(Mark::NewStep);
        (0..before).for_each(|_| tick(&mut story));
        let saved = story.save();
        (0..after).for_each(|_| tick(&mut story));
        // Ticks without anything are no line before they end.
        story.mark(Mark::Acknowledge);
        story.keep();

        let caught_up = story.catch_up(&saved).unwrap();

        prop_assert!(caught_up.stopped.is_none(), "{:?}", caught_up.stopped);
        prop_assert_eq!(caught_up.windows, after as u64);
        prop_assert_eq!(caught_up.at.map(|at| at.milliseconds()), story.recorder.place().map(|place| place.t));
        prop_assert_eq!(serde_json::to_string(&caught_up.judge).unwrap(), story.saved());
    }
}

/// A rollout that was saved after half a second of two.
fn two_seconds() -> (Story, Saved, fastrand::Rng) {
    let mut random = fastrand::Rng::with_seed(5);
    let mut story = Story::of(&plan_of(every_gate()));
    let mut ticks = |story: &mut Story, count: usize| (0..count).for_each(|_| story.tick(100, &busy(&mut random)));
    ticks(&mut story, 5);
    let saved = story.save();
    ticks(&mut story, 15);
    story.keep();
    (story, saved, random)
}

#[test]
fn a_line_that_was_not_written_to_its_end_costs_that_line_alone() {
    let (story, saved, _) = two_seconds();
    let record = fs::read(story.path()).unwrap();
    fs::write(story.path(), &record[..record.len() - 9]).unwrap();

    let caught_up = story.catch_up(&saved).unwrap();

    assert_eq!((caught_up.windows, caught_up.stopped.is_none()), (14, true));
}

#[test]
fn tests_that_were_saved_with_more_than_their_record_has_are_not_behind_it() {
    let (story, _, _) = two_seconds();
    let saved = story.save();
    let record = fs::read_to_string(story.path()).unwrap();
    let last = record.trim_end().rfind('\n').unwrap();
    fs::write(story.path(), &record[..=last]).unwrap();

    let caught_up = story.catch_up(&saved).unwrap();

    assert_eq!((caught_up.windows, caught_up.ahead, caught_up.stopped.is_none()), (0, 1, true));
    assert_eq!(caught_up.judge, story.judge);
}

#[test]
fn lines_that_cannot_be_read_end_what_is_taken_from_the_record() {
    let (story, saved, mut random) = two_seconds();
    fs::File::options().append(true).open(story.path()).unwrap().write_all(&[0, 0, 0, b'\n', b'{', b'\n']).unwrap();

    let caught_up = story.catch_up(&saved).unwrap();

    assert_eq!(caught_up.windows, 15);
    assert!(caught_up.stopped.is_some());
    let mut twin = caught_up.judge;
    assert_eq!(twin, story.judge);
    let Traffic { stable, canary, .. } = busy(&mut random);
    twin.tick(&Tick::of(BEGAN / 1_000 + 9, &stable, &canary));
}

#[test]
fn where_windows_are_missing_the_state_behind_them_is_taken() {
    let (mut story, saved, mut random) = two_seconds();
    let (path, aside) = (story.path(), story.state().join("aside"));
    fs::rename(&path, &aside).unwrap();
    fs::create_dir(&path).unwrap();
    (0..60).for_each(|_| story.tick(100, &busy(&mut random)));
    story.keep();
    story.tick(100, &busy(&mut random));
    assert_eq!(story.recorder.place(), None, "nothing is recorded for the time being");
    fs::remove_dir(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    (0..60).for_each(|_| story.tick(100, &busy(&mut random)));
    story.keep();
    let record = text(&fs::read(story.path()).unwrap());
    assert!(fs::read_to_string(story.path()).unwrap().contains("{\"gap\":"), "{record}");

    assert_eq!(story.catch_up(&saved).unwrap().judge, story.judge);
}

#[test]
fn a_record_that_is_gone_or_was_begun_anew_and_a_clock_that_was_set_back_help_no_tests() {
    let (mut story, saved, mut random) = two_seconds();
    let place_is_unknown = |refused: NoTail| matches!(refused, NoTail::NoSuchPlace);

    story.clock_ms -= 1_000;
    story.tick(100, &busy(&mut random));
    story.keep();
    assert!(place_is_unknown(story.catch_up(&saved).unwrap_err()), "the same moment may be there twice");

    let record = fs::read_to_string(story.path()).unwrap();
    fs::write(story.path(), record.split_inclusive('\n').next().unwrap()).unwrap();
    assert!(place_is_unknown(story.catch_up(&saved).unwrap_err()));

    fs::remove_file(story.path()).unwrap();
    assert!(matches!(story.catch_up(&saved).unwrap_err(), NoTail::Unreadable(_)));
}
