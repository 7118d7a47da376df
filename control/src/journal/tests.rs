use std::collections::VecDeque;

use config::{Name, Service};
use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::judge::Copies;
use crate::rollout::{Question, Reading, Rollout, State};
use crate::view::{Arms, Dispersion, GateView, Matched, Phase, Role, Verdict};

/// A journal in memory whose next calls fail as told.
#[derive(Debug, Default)]
struct Memory {
    journal: Vec<u8>,
    aside: Vec<Vec<u8>>,
    evidence: Vec<u8>,
    background: Vec<u8>,
    /// What the next calls that write do: none means that they succeed.
    faults: VecDeque<Option<io::ErrorKind>>,
    syncs: usize,
    /// There is a file, even where nothing is in it.
    is_there: bool,
}

impl Memory {
    fn fault(&mut self) -> io::Result<()> {
        self.faults.pop_front().flatten().map_or(Ok(()), |kind| Err(kind.into()))
    }
}

impl Storage for Memory {
    fn load(&mut self) -> io::Result<Option<Vec<u8>>> {
        Ok((!self.journal.is_empty() || self.is_there).then(|| self.journal.clone()))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.fault() {
            self.journal.extend(&bytes[..bytes.len() / 2]);
            return Err(error);
        }
        self.journal.extend(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.syncs += 1;
        self.fault()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.journal.truncate(usize::try_from(length).unwrap());
        Ok(())
    }

    fn rewrite(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.fault()?;
        self.journal = bytes.to_vec();
        Ok(())
    }

    fn set_aside(&mut self, bytes: &[u8]) -> io::Result<String> {
        self.fault()?;
        self.aside.push(bytes.to_vec());
        Ok(format!("journal.corrupt-{}", self.aside.len()))
    }

    fn load_evidence(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.evidence.clone())
    }

    fn write_evidence(&mut self, bytes: &[u8], _synced: bool) -> io::Result<()> {
        self.evidence = bytes.to_vec();
        Ok(())
    }

    fn load_background(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.background.clone())
    }

    fn write_background(&mut self, bytes: &[u8], _synced: bool) -> io::Result<()> {
        self.background = bytes.to_vec();
        Ok(())
    }
}

const FULL: &str = "services: { shop: { stable: v1, canary: v2, weight: 0.07%, \
    versions: { v1: { endpoints: ['a:1'] }, v2: { endpoints: ['b:1'] } }, \
    plan: { alpha: 0.3%, min_requests: 7, steps: [{ weight: 0.01%, hold: 1500ms }, { approval: true }, { weight: 33.33%, hold: 2h }], \
            gates: [{ errors: { tolerance: 0.1% } }, { errors: { limit: 5% } }, \
                    { latency: { quantile: p99.9, limit: 300ms } }] } } }";

fn service() -> Service {
    config::parse(FULL, "test.yaml").unwrap().configuration.services.remove(0)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::new(1_795_310_400 + seconds, 123_456_789).unwrap()
}

/// A state that uses every part of a record.
fn full_state(revision: u64) -> State {
    let service = service();
    let mut state = State::from_file(&service);
    state.revision = revision;
    state.generation = revision * 3;
    let gate = GateView {
        path: None,
        proof: None,
        counts: None,
        estimate: None,
        ratio: None,
        name: "errors".into(),
        role: Role::Guardrail,
        verdict: Verdict::Inconclusive,
        log_evidence: Some(0.1 + 0.2),
        threshold: 4.71,
        progress: 0.063,
        explain: "\"v2\" fails\n0.13 % of requests".into(),
    };
    let mut plan = service.plan;
    plan.gates.push(config::Gate {
        name: Name::new("latency").unwrap(),
        role: config::GateRole::Guardrail,
        path: None,
        rule: config::GateRule::LATENCY,
    });
    state.rollout = Some(Rollout {
        id: "01J".into(),
        stable: state.stable.clone(),
        canary: Name::new("v2").unwrap(),
        plan_name: "default".into(),
        plan,
        phase: Phase::Paused,
        reason: Some("ünpaused 一".into()),
        step: 2,
        started_at: at(1),
        ended_at: Some(at(2)),
        idempotency_key: Some("key".into()),
        asks: Some(Question::Found { signal: true, traffic: false }),
        acknowledged: 2,
        would_have_rolled_back: 3,
        withdrawn: true,
        awaits_endpoints: true,
        reading: Reading {
            requests: Arms { stable: 5, canary: 6 },
            failed: Arms { stable: 1, canary: 2 },
            matched: Matched { requests: 7, failed: 3 },
            copies: Copies { ended: 20, compared: 19, failed: 1, status: 2, body: 3 },
            gates: vec![gate],
            dispersion: Some(Dispersion { errors: 1.5, latency: 14.25 }),
        },
    });
    state.outcomes.insert(Phase::RolledBack, 3);
    state
}

fn record(service: &str, seq: u64) -> Record {
    let (service, cause) = (Name::new(service).unwrap(), format!("change {seq}"));
    Record { seq, at: at(0), service, cause, state: full_state(seq) }
}

fn append(record: &Record) -> Request {
    Request::Append(Box::new(record.clone()))
}

fn opened(bytes: &[u8]) -> (Journal<Memory>, Replayed) {
    Journal::open(Memory { journal: bytes.to_vec(), ..Memory::default() }).unwrap()
}

/// The bytes of a journal with these records.
fn written(records: &[Record]) -> Vec<u8> {
    let (mut journal, _) = opened(&[]);
    journal.commit(records.iter().map(append).collect());
    journal.into_storage().journal
}

#[test]
fn a_record_comes_back_as_it_was_written() {
    let record = record("shop", 4);
    let (replayed, ending) = replay(&written(std::slice::from_ref(&record)));
    assert_eq!((replayed.last_seq, ending), (4, Ending::Whole));
    assert_eq!(replayed.records.into_values().collect::<Vec<_>>(), [record]);
}

#[test]
fn the_last_record_of_a_service_wins() {
    let records = [record("shop", 1), record("cart", 2), record("shop", 3)];
    let (_, replayed) = opened(&written(&records));
    let found: Vec<_> = replayed.records.values().map(|record| (record.service.as_str(), record.seq)).collect();
    assert_eq!(found, [("cart", 2), ("shop", 3)]);
}

#[test]
fn records_that_come_together_are_synced_together() {
    let (mut journal, _) = opened(&[]);
    let answers = journal.commit(vec![append(&record("shop", 1)), append(&record("shop", 2))]);
    let size = journal.storage.journal.len() as u64;
    assert_eq!(answers, [Answer::Journalled { through: 2, size }]);
    assert_eq!(journal.storage.syncs, 1);
}

#[test]
fn a_journal_cut_off_anywhere_gives_a_prefix_of_its_records_and_takes_more() {
    let records = [record("shop", 1), record("cart", 2), record("shop", 3)];
    let bytes = written(&records);
    let ends: Vec<usize> = (0..bytes.len()).filter(|end| bytes[*end] == b'\n').map(|end| end + 1).collect();
    let at_ends = ends.iter().flat_map(|end| [end - 1, *end]);
    for cut in (0..bytes.len()).step_by(23).chain(at_ends).filter(|cut| *cut == 0 || *cut >= ends[0]) {
        let (mut journal, replayed) = opened(&bytes[..cut]);
        let whole = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1);
        assert_eq!(replayed.last_seq, whole as u64, "cut at {cut}");
        assert_eq!(replayed.corrupt, None, "cut at {cut}");
        let torn = cut != 0 && !ends.contains(&cut);
        assert_eq!(replayed.warnings.len(), usize::from(torn), "cut at {cut}");

        journal.commit(vec![append(&record("shop", 9))]);
        let (_, again) = opened(&journal.into_storage().journal);
        assert_eq!((again.last_seq, again.warnings.len()), (9, 0), "cut at {cut}");
    }
}

/// Flips a bit in this line, counted from 1.
fn damage(bytes: &mut [u8], line: usize) {
    let start = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(line - 2).unwrap().0;
    bytes[start + 20] ^= 1;
}

/// A line that is what was written, whatever it says.
fn line_of(json: &str) -> Vec<u8> {
    format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())).into_bytes()
}

#[test]
fn a_damaged_line_hides_no_other_record_pauses_and_is_kept_aside() {
    let mut bytes = written(&[record("shop", 1), record("cart", 2), record("shop", 3), record("desk", 4)]);
    damage(&mut bytes, 3);

    let (journal, replayed) = opened(&bytes);

    let found: Vec<_> = replayed.records.values().map(|record| (record.service.as_str(), record.seq)).collect();
    assert_eq!(found, [("desk", 4), ("shop", 3)]);
    assert_eq!((replayed.last_seq, replayed.ended_well), (4, false));
    assert!(replayed.corrupt.is_some_and(|reason| reason.contains("line 3")));
    for told in ["every other record was read", "a change in that line is lost", "paused", "as journal.corrupt-1"] {
        assert!(replayed.warnings[0].contains(told), "{told}: {:?}", replayed.warnings);
    }
    let storage = journal.into_storage();
    assert_eq!(storage.aside, [bytes]);
    let (_, again) = opened(&storage.journal);
    assert_eq!((again.last_seq, again.records.len(), again.corrupt), (4, 2, None));
}

#[test]
fn of_a_service_whose_last_line_is_damaged_the_line_before_is_used() {
    let mut bytes = written(&[record("shop", 1), record("shop", 2), record("cart", 3), record("shop", 4)]);
    damage(&mut bytes, 3);
    bytes.truncate(bytes.len() - 1);

    let (_, replayed) = opened(&bytes);

    let found: Vec<_> = replayed.records.values().map(|record| (record.service.as_str(), record.seq)).collect();
    assert_eq!(found, [("cart", 3), ("shop", 1)]);
    let warning = &replayed.warnings[0];
    assert!(warning.contains("line 3") && warning.contains("first of 2"), "{warning}");
}

#[test]
fn a_journal_whose_first_line_is_damaged_or_gone_gives_all_its_records() {
    let bytes = written(&[record("shop", 1), record("cart", 2)]);
    let gone = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut flipped = bytes.clone();
    flipped[3] ^= 1;
    for damaged in [&flipped[..], &bytes[gone..]] {
        let (_, replayed) = opened(damaged);
        assert_eq!((replayed.last_seq, replayed.records.len()), (2, 2));
        assert!(replayed.corrupt.is_some_and(|reason| reason.contains("line 1 ")));
    }
}

#[test]
fn a_damaged_journal_that_cannot_be_kept_aside_is_not_replaced() {
    let mut bytes = written(&[record("shop", 1), record("cart", 2)]);
    damage(&mut bytes, 2);
    let faults = [Some(io::ErrorKind::StorageFull)].into();

    let (mut journal, replayed) =
        Journal::open(Memory { journal: bytes.clone(), faults, ..Memory::default() }).unwrap();

    assert!(replayed.problem.is_some());
    assert!(replayed.warnings[0].contains("left as it is"), "{:?}", replayed.warnings);
    assert_eq!((&journal.storage.journal, journal.storage.aside.len()), (&bytes, 0));
    journal.commit(vec![Request::Rewrite(replayed.records.into_values().collect())]);
    assert_eq!(journal.into_storage().aside, [bytes]);
}

#[test]
fn a_journal_in_which_nothing_can_be_read_is_lost_and_kept_aside() {
    let header = record::header();
    for bytes in [Vec::new(), vec![0; 2_016], header[..10].to_vec(), header[..header.len() - 1].to_vec()] {
        let memory = Memory { journal: bytes.clone(), is_there: true, ..Memory::default() };
        let (mut journal, replayed) = Journal::open(memory).unwrap();
        assert!(replayed.lost && !replayed.ended_well, "{bytes:?}");
        for told in ["holds nothing that can be read", "the stable that the file names", "as journal.corrupt-1"] {
            assert!(replayed.warnings[0].contains(told), "{told}: {:?}", replayed.warnings);
        }
        journal.commit(vec![append(&record("shop", 1))]);
        let storage = journal.into_storage();
        assert_eq!(storage.aside, [bytes]);
        let (_, again) = opened(&storage.journal);
        assert_eq!((again.last_seq, again.lost, again.warnings.len()), (1, false, 0));
    }
}

#[test]
fn evidence_without_a_journal_is_told_of() {
    let (_, replayed) = Journal::open(Memory { evidence: b"{}".to_vec(), ..Memory::default() }).unwrap();
    assert!(!replayed.lost && replayed.warnings[0].contains("there is no journal"), "{:?}", replayed.warnings);
    assert_eq!(opened(&[]).1.warnings, Vec::<String>::new());
}

#[test]
fn a_line_of_another_version_is_refused_and_left_wherever_it_is() {
    let (head, tail) = (written(&[record("shop", 1)]), &written(&[record("cart", 2)])[record::header().len()..]);
    let unknown = line_of(r#"{"seq":2,"service":"shop","split":"of another time"}"#);
    let unfinished = &unknown[..unknown.len() - 1];
    for rest in [[&unknown[..], tail].concat(), unknown.clone(), unfinished.to_vec()] {
        let bytes = [&head[..], &rest].concat();
        let opened = Journal::open(Memory { journal: bytes, ..Memory::default() });
        let Err(OpenError::Foreign { what }) = opened else { panic!("{opened:?}") };
        assert!(what.contains("line 3 was written by another version"), "{what}");
    }
}

#[test]
fn something_that_is_no_journal_is_not_touched() {
    for foreign in [&b"hello\nworld\n"[..], b"00000000 {}\n"] {
        let opened = Journal::open(Memory { journal: foreign.to_vec(), ..Memory::default() });
        let Err(OpenError::Foreign { what }) = opened else { panic!("{opened:?}") };
        assert!(what.contains("no journal"), "{what}");
    }
}

#[test]
fn a_journal_of_a_later_format_is_refused_by_its_number() {
    let line = line_of(r#"{"journal":"tidegate-journal","version":7}"#);
    let opened = Journal::open(Memory { journal: line, ..Memory::default() });
    let Err(OpenError::Foreign { what }) = opened else { panic!("{opened:?}") };
    assert!(what.contains("format 7"), "{what}");
}

#[test]
fn after_an_error_nothing_is_taken_until_a_rewrite_succeeded() {
    for at_sync in [false, true] {
        let (mut journal, _) = opened(&[]);
        let full = Some(io::ErrorKind::StorageFull);
        journal.storage.faults = if at_sync { [None, full].into() } else { [full].into() };
        let [Answer::Failed { through: 1, problem }] = &journal.commit(vec![append(&record("shop", 1))])[..] else {
            panic!("the error was not told")
        };
        assert!(problem.contains("no space"), "{problem}");
        let refused = journal.commit(vec![append(&record("shop", 2))]);
        assert!(matches!(refused[..], [Answer::Failed { through: 2, .. }]), "{refused:?}");

        journal.storage.faults = [full].into();
        let refused = journal.commit(vec![Request::Rewrite(vec![record("shop", 3)])]);
        assert!(matches!(refused[..], [Answer::NotRewritten { .. }]), "{refused:?}");
        let taken = journal.commit(vec![Request::Rewrite(vec![record("shop", 4)]), append(&record("cart", 5))]);
        assert!(matches!(taken[..], [Answer::Rewritten { .. }, Answer::Journalled { through: 5, .. }]), "{taken:?}");
        let (_, replayed) = opened(&journal.into_storage().journal);
        assert_eq!(replayed.records.values().map(|record| record.seq).collect::<Vec<_>>(), [5, 4]);
    }
}

#[test]
fn a_directory_deleted_under_a_running_journal_is_told_and_made_good_by_a_rewrite() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let (mut journal, _) = Journal::open(Files::new(state.clone())).unwrap();
    journal.commit(vec![append(&record("shop", 1))]);
    std::fs::remove_dir_all(&state).unwrap();

    let [Answer::Failed { through: 2, problem }] = &journal.commit(vec![append(&record("shop", 2))])[..] else {
        panic!("the loss was not told")
    };
    assert!(problem.contains("deleted or replaced while in use"), "{problem}");

    let healed = journal.commit(vec![Request::Rewrite(vec![record("shop", 3)]), append(&record("cart", 4))]);
    assert!(matches!(healed[..], [Answer::Rewritten { .. }, Answer::Journalled { through: 4, .. }]), "{healed:?}");
    let (_, replayed) = Journal::open(Files::new(state)).unwrap();
    assert_eq!(replayed.records.values().map(|record| record.seq).collect::<Vec<_>>(), [4, 3]);
}

#[test]
fn a_record_that_was_refused_is_not_found_by_a_replay() {
    let (mut journal, _) = opened(&[]);
    journal.storage.faults = [None, Some(io::ErrorKind::Other)].into();
    journal.commit(vec![append(&record("shop", 1))]);
    let (_, replayed) = opened(&journal.into_storage().journal);
    assert_eq!((replayed.records.len(), replayed.warnings.len()), (0, 0));
}

#[test]
fn a_journal_that_cannot_be_written_still_opens_and_says_why() {
    let bytes = written(&[record("shop", 1)]);
    let faults = [Some(io::ErrorKind::ReadOnlyFilesystem)].into();
    let (_, replayed) = Journal::open(Memory { journal: bytes, faults, ..Memory::default() }).unwrap();
    assert_eq!(replayed.last_seq, 1);
    assert!(replayed.problem.is_some_and(|problem| problem.contains("read-only")));
}

#[test]
fn only_a_journal_that_was_closed_ended_well() {
    let (mut journal, replayed) = opened(&[]);
    assert!(replayed.ended_well, "nothing can be lost from an empty one");
    journal.commit(vec![append(&record("shop", 1))]);
    assert!(!opened(&journal.storage.journal).1.ended_well);
    let answers =
        journal.commit(vec![Request::Close { evidence: b"{}".to_vec(), background: b"[]".to_vec(), complete: true }]);
    assert_eq!((answers, &journal.storage.evidence[..]), (vec![Answer::Closed], &b"{}"[..]));
    assert_eq!(journal.storage.background, b"[]");
    let closed = journal.into_storage().journal;
    let (mut journal, replayed) = opened(&closed);
    assert!(replayed.ended_well && replayed.last_seq == 1);
    journal.commit(vec![append(&record("shop", 2))]);
    assert!(!opened(&journal.storage.journal).1.ended_well, "the end was that of an earlier process");
}

#[test]
fn a_crash_before_the_first_change_is_a_crash_too() {
    let (mut journal, _) = opened(&written(&[record("shop", 1)]));
    let close = || Request::Close { evidence: Vec::new(), background: Vec::new(), complete: true };
    journal.commit(vec![close()]);
    let closed = journal.into_storage().journal;
    // Who only opened it, and could not start, has lost nothing.
    let (mut journal, first) = opened(&closed);
    let generation = first.records.values().next().unwrap().state.generation;
    assert!(opened(&journal.storage.journal).1.ended_well);
    journal.begin();
    let (_, replayed) = opened(&journal.storage.journal);
    assert!(!replayed.ended_well);
    assert_eq!(replayed.records.values().next().unwrap().state.generation, generation + GENERATION_LEAP);
    // What is written after it is begun follows what was there.
    journal.commit(vec![append(&record("shop", 2)), close()]);
    let (_, replayed) = opened(&journal.storage.journal);
    assert!(replayed.ended_well && replayed.last_seq == 2);
}

#[test]
fn each_end_that_was_not_in_order_leaps_the_generation_and_an_orderly_one_does_not() {
    let mut journal = written(&[record("shop", 1)]);
    let before = full_state(1).generation;
    for crashes in 1..=3 {
        let (opened, replayed) = opened(&journal);
        assert_eq!(replayed.records.values().next().unwrap().state.generation, before + crashes * GENERATION_LEAP);
        journal = opened.into_storage().journal;
    }
    let (mut last, _) = opened(&journal);
    last.commit(vec![Request::Close { evidence: Vec::new(), background: Vec::new(), complete: true }]);
    let (_, replayed) = opened(&last.into_storage().journal);
    assert_eq!(replayed.records.values().next().unwrap().state.generation, before + 4 * GENERATION_LEAP);
}

proptest! {
    #[test]
    fn no_bytes_make_a_replay_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0usize..10_000) {
        let mut damaged = written(&[record("shop", 1), record("cart", 2)]);
        let at = at % damaged.len();
        damaged.splice(at..(at + bytes.len()).min(damaged.len()), bytes.clone());
        let _ = Journal::open(Memory { journal: bytes, ..Memory::default() });
        if let Ok((_, replayed)) = Journal::open(Memory { journal: damaged, ..Memory::default() }) {
            prop_assert!(replayed.last_seq <= 2);
        }
    }

    #[test]
    fn one_flipped_bit_never_changes_a_record(at in 0usize..100_000, bit in 0u32..8) {
        let records = [record("shop", 1), record("cart", 2)];
        let mut bytes = written(&records);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let (replayed, _) = replay(&bytes);
        for found in replayed.records.values() {
            prop_assert!(records.contains(found));
        }
    }
}
