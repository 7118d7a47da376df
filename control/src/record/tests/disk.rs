//! What the disk does to a record: full, gone, torn.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use ulid::Ulid;

use super::super::file::RecordFile;
use super::*;

fn some(random: &mut fastrand::Rng) -> Traffic {
    Traffic {
        stable: random_window(random, 40, 0.01, 0),
        canary: random_window(random, 10, 0.05, 0),
        ..Traffic::default()
    }
}

fn ticks(story: &mut Story, random: &mut fastrand::Rng, count: usize) {
    for _ in 0..count {
        let traffic = some(random);
        story.tick(100, &traffic);
    }
}

#[test]
fn a_disk_that_refuses_costs_windows_which_are_counted_and_the_record_is_exact_again_behind_them() {
    let mut random = fastrand::Rng::with_seed(2);
    let mut story = Story::of(&Plan::built_in());
    ticks(&mut story, &mut random, 30);
    story.keep();

    // A folder of its name: nothing can be written there.
    let (path, aside) = (story.path(), story.state().join("aside"));
    fs::rename(&path, &aside).unwrap();
    fs::create_dir(&path).unwrap();
    ticks(&mut story, &mut random, 7);
    story.keep();
    ticks(&mut story, &mut random, 30);
    story.keep();
    fs::remove_dir(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    ticks(&mut story, &mut random, 60);
    let record = story.end();

    let replay = replayed(&record, None);
    assert!(replay.is_exact());
    assert_eq!(replay.judge(), &story.judge);
    let tallied = replay.tallied();
    assert_eq!(tallied.windows + tallied.missing, 127, "{tallied:?}");
    assert!(tallied.missing >= 37, "{tallied:?}");
}

#[test]
fn a_record_that_was_deleted_begins_anew_with_the_state_of_then() {
    let mut random = fastrand::Rng::with_seed(2);
    let mut story = Story::of(&Plan::built_in());
    ticks(&mut story, &mut random, 30);
    story.keep();
    fs::remove_file(story.path()).unwrap();
    ticks(&mut story, &mut random, 10);
    story.keep();
    ticks(&mut story, &mut random, 80);

    let record = story.end();

    let replay = replayed(&record, None);
    assert_eq!(replay.judge(), &story.judge);
    assert!(replay.is_exact());
}

#[test]
fn a_line_that_a_crash_tore_is_cut_off_and_the_record_goes_on_with_the_saved_state() {
    let mut random = fastrand::Rng::with_seed(4);
    let mut story = Story::of(&Plan::built_in());
    ticks(&mut story, &mut random, 30);
    story.keep();
    let saved = story.saved();
    ticks(&mut story, &mut random, 5);
    story.keep();
    let mut torn = fs::read(story.path()).unwrap();
    torn.truncate(torn.len() - 7);
    fs::write(story.path(), torn).unwrap();

    story.restart(&saved);
    ticks(&mut story, &mut random, 30);
    let record = story.end();

    let replay = replayed(&record, None);
    assert_eq!(replay.judge(), &story.judge);
    assert_eq!(replay.tallied().restarts, 1);
}

#[test]
fn the_queue_is_bounded_and_what_does_not_fit_is_counted() {
    let mut random = fastrand::Rng::with_seed(4);
    let mut story = Story::of(&Plan::built_in());
    let traffic = some(&mut random);
    let mut written = 0;
    // The keeper sleeps. Most of the room is taken by another record: one alone would be thinned.
    let other = story.shared.begin("shop", "other");
    other.lines(1, 1, |out| out.resize(18 << 20, b' '));
    while other.has_room() {
        story.tick(100, &traffic);
        written += 1;
    }
    for _ in 0..100 {
        story.tick(100, &traffic);
    }
    let waiting = story.shared.waiting();
    assert!((24 << 20..25 << 20).contains(&waiting), "{waiting} bytes wait");
    story.keep();
    for _ in 0..60 {
        story.tick(100, &traffic);
    }
    let record = story.end();

    let replay = replayed(&record, None);
    let tallied = replay.tallied();
    assert_eq!(tallied.windows + tallied.missing, written + 160, "{tallied:?}");
    assert!(tallied.missing >= 100, "{tallied:?}");
    assert_eq!(replay.judge(), &story.judge);
}

#[test]
fn a_record_is_for_its_owner_alone() {
    let mut story = Story::of(&Plan::built_in());
    story.end();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let path = story.path();
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
}

#[test]
fn twenty_records_of_a_service_are_kept_and_the_oldest_go() {
    let place = tempfile::tempdir().unwrap();
    let mut ids = Vec::new();
    for number in 0..25 {
        let id = Ulid::from_parts(1_795_305_600_000 + number, 7).to_string();
        ids.push(format!("{id}.jsonl"));
        RecordFile::new(&place.path().join("records"), "shop", &id).create(b"{}\n").unwrap();
    }
    let mut names: Vec<String> = fs::read_dir(place.path().join("records/shop"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ids[5..]);
}

#[test]
fn only_records_make_room_for_records() {
    let place = tempfile::tempdir().unwrap();
    let (records, folder) = (place.path().join("records"), place.path().join("records/shop"));
    fs::create_dir_all(&folder).unwrap();
    let id = |number: u64| Ulid::from_parts(1_795_305_600_000 + number, 7).to_string();
    // What a person put there sorts before every record, and so does what only looks like one.
    let kept = [
        "0-notes.txt",
        "00.jsonl",
        "01K.jsonl.gz",
        &format!("{}.txt", id(0)),
        &id(0),
        &format!("{}.jsonl", id(0).to_lowercase()),
    ]
    .map(|name| folder.join(name));
    for path in &kept {
        fs::write(path, b"mine").unwrap();
    }
    fs::create_dir(folder.join(format!("{}.jsonl", id(1)))).unwrap();
    let leftovers = [format!("{}.damaged", id(2)), format!("{}.new", id(3))].map(|name| folder.join(name));
    for path in &leftovers {
        fs::write(path, b"{}").unwrap();
    }
    for number in 10..35 {
        RecordFile::new(&records, "shop", &id(number)).create(b"{}\n").unwrap();
    }

    assert!(kept.iter().all(|path| path.is_file()), "{kept:?}");
    assert!(!leftovers.iter().any(|path| path.exists()), "{leftovers:?}");
    let count = fs::read_dir(&folder).unwrap().count();
    assert_eq!(count, 20 + kept.len() + 1);
}

#[test]
fn about_once_a_minute_old_records_make_room_where_all_together_take_too_much() {
    let mut story = Story::of(&Plan::built_in());
    story.keeper.most = 10;
    story.keep();
    let old = story.path().with_file_name(format!("{}.jsonl", Ulid::from_parts(1_795_305_600_000, 7)));
    fs::write(&old, b"longer than ten bytes").unwrap();

    let rounds = (1..100).find(|_| {
        story.keep();
        !old.exists()
    });

    assert_eq!(rounds, Some(60));
    assert!(story.path().exists());
}

#[test]
fn a_record_never_grows_beyond_its_bound() {
    let mut random = fastrand::Rng::with_seed(9);
    let plan = plan_of(every_gate());
    let mut story = Story::of(&plan);
    let traffic: Vec<Traffic> = (0..40)
        .map(|_| Traffic {
            stable: random_window(&mut random, 400, 0.01, 2),
            canary: random_window(&mut random, 100, 0.01, 2),
            ..Traffic::default()
        })
        .collect();
    let mut longest = 0;
    let mut thinnings = 0;
    for tick in 0..3_000 {
        story.tick(100, &traffic[tick % traffic.len()]);
        if tick % 20 == 19 {
            story.keep();
            let length = fs::metadata(story.path()).unwrap().len();
            thinnings += u64::from(length < longest);
            longest = longest.max(length);
        }
    }
    assert!(thinnings > 0 && longest <= file::LONGEST, "{thinnings} {longest}");
    let record = story.end();
    assert_eq!(replayed(&record, None).judge(), &story.judge);
}
