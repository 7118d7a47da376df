//! What a process that was killed leaves, and what the next one says of it.

use std::fs::{self, File};
use std::time::SystemTime;

use super::*;

/// Makes the files of an orderly end those of a process that was killed so long after its evidence was saved.
fn as_if_killed(directory: &Path, rollout: &str, after: Duration) {
    let journal = directory.join("journal");
    let text = fs::read_to_string(&journal).unwrap();
    let (before, end) = text.trim_end().rsplit_once('\n').unwrap();
    assert!(end.contains("end"), "{end}");
    fs::write(&journal, format!("{before}\n")).unwrap();
    let evidence: serde_json::Value =
        serde_json::from_slice(&fs::read(directory.join("evidence.json")).unwrap()).unwrap();
    let saved = Duration::from_millis(evidence[rollout]["at"].as_u64().unwrap());
    let record = directory.join(format!("records/shop/{rollout}.jsonl"));
    File::options().append(true).open(record).unwrap().set_modified(SystemTime::UNIX_EPOCH + saved + after).unwrap();
}

#[test]
fn a_restart_says_how_much_evidence_before_the_stop_was_lost() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    let rollout = running.start_rollout(None).unwrap().id;
    running.stop();
    as_if_killed(directory.path(), &rollout, Duration::from_millis(3_200));

    let again = Running::start(directory.path());

    let lost = "shop: restart: about 3.2 s of evidence before the stop were lost; the tests of v2 go on from ";
    let warnings = again.view().warnings;
    assert!(matches!(&warnings[..], [only] if only.starts_with(lost)), "{warnings:?}");
    let (told, _) = again.handle.events.follow(None);
    assert!(told.iter().any(|event| event.kind == "warning" && event.text == warnings[0]), "{told:?}");
    again.act(Action::Abort).unwrap();
    assert_eq!(again.view().warnings, Vec::<String>::new(), "it was of that rollout");
    again.stop();
}

#[test]
fn a_process_that_was_killed_right_after_its_evidence_was_saved_has_lost_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    let rollout = running.start_rollout(None).unwrap().id;
    running.stop();
    as_if_killed(directory.path(), &rollout, Duration::ZERO);

    let again = Running::start(directory.path());

    assert_eq!(again.view().warnings, Vec::<String>::new());
    again.stop();
}

#[test]
fn evidence_that_did_not_survive_is_said_of_its_service_alone() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    running.start_rollout(None).unwrap();
    running.stop();
    fs::write(directory.path().join("evidence.json"), "{}").unwrap();

    let again = Running::start(directory.path());

    let warnings = again.view().warnings;
    assert!(matches!(&warnings[..], [only] if only.contains("did not survive: its tests begin anew")), "{warnings:?}");
    again.act(Action::Abort).unwrap();
    assert_eq!(again.view().warnings, Vec::<String>::new());
    again.stop();
}
