//! A long record is made shorter, and stays exact behind its checkpoint.

use super::super::thin::{thinned, thinned_once};
use super::*;

/// A record of so many seconds, long enough for checkpoints.
fn long(seconds: usize) -> (Vec<u8>, Judge) {
    let plan = Plan::built_in();
    let mut random = fastrand::Rng::with_seed(5);
    let mut story = Story::of(&plan);
    for second in 0..seconds {
        if second % 100 == 99 {
            story.mark(Mark::NewStep);
        }
        for _ in 0..10 {
            let traffic = Traffic {
                stable: random_window(&mut random, 70, 0.01, 0),
                canary: random_window(&mut random, 30, 0.01, 0),
                ..Traffic::default()
            };
            story.tick(100, &traffic);
        }
    }
    (story.end(), story.judge)
}

fn requests(record: &[u8]) -> (u64, u64, usize) {
    let mut reader = Reader::begin(record).unwrap();
    let mut filled = Filled::default();
    let mut sum = (0, 0, 0);
    while let Some(line) = reader.read().unwrap() {
        if let Line::Counted(counted) = line {
            reader.fill(&counted, &mut filled).unwrap();
            sum.0 += filled.arms.stable.requests();
            sum.1 += filled.arms.canary.bad();
            sum.2 += 1;
        }
    }
    sum
}

#[test]
fn a_thinned_record_counts_the_same_requests_in_fewer_lines_and_ends_in_the_same_state() {
    let (record, judge) = long(320);
    assert!(record.len() > 3 << 20, "{}", record.len());
    let full = requests(&record);
    let mut sizes = vec![(record.len(), full.2)];

    let mut thinner = record;
    for _ in 0..3 {
        thinner = thinned(&thinner, thinner.len() * 95 / 100).unwrap();
        let counted = requests(&thinner);
        assert_eq!((counted.0, counted.1), (full.0, full.1));
        sizes.push((thinner.len(), counted.2));
        let replay = replayed(&thinner, None);
        assert!(replay.is_exact());
        assert!(replay.tallied().merged > 0, "{:?}", replay.tallied());
        assert_eq!(serde_json::to_string(replay.judge()).unwrap(), serde_json::to_string(&judge).unwrap());
    }
    assert!(sizes.is_sorted_by(|a, b| a.0 > b.0 && a.1 > b.1), "{sizes:?}");
}

#[test]
fn checkpoints_of_a_whole_record_are_the_states_that_a_replay_has_there() {
    let (record, _) = long(200);
    let (same, different) = replayed(&record, None).tallied().checkpoints;
    assert!(same >= 1 && different == 0, "{same} {different}");
}

#[test]
fn what_cannot_be_thinned_enough_loses_its_oldest_windows_and_says_how_many() {
    let (record, judge) = long(200);
    let longest = 300_000;

    let thinned = thinned(&record, longest).unwrap();

    assert!(thinned.len() <= longest, "{}", thinned.len());
    let replay = replayed(&thinned, None);
    assert!(replay.tallied().missing > 0, "{:?}", replay.tallied());
    assert_eq!(replay.judge().judgement().requests, judge.judgement().requests);
}

#[test]
fn marks_stay_where_they_are_and_windows_are_not_merged_over_them() {
    let mut story = Story::of(&Plan::built_in());
    let mut random = fastrand::Rng::with_seed(1);
    for place in 0..20 {
        if place == 5 {
            story.mark(Mark::NewStep);
        }
        let traffic = Traffic { stable: random_window(&mut random, 9, 0.0, 0), ..Traffic::default() };
        story.tick(10, &traffic);
    }
    let record = story.end();

    let thinned = thinned_once(&record).unwrap();

    let text = String::from_utf8(thinned).unwrap();
    let kinds: Vec<&str> = text
        .lines()
        .skip(1)
        .map(|line| {
            let kinds = ["\"mark\"", "\"span\":1,", "\"end\""];
            kinds.into_iter().find(|kind| line.contains(kind)).unwrap_or(line)
        })
        .collect();
    assert_eq!(kinds, ["\"span\":1,", "\"mark\"", "\"span\":1,", "\"end\""], "{text}");
}
