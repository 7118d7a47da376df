//! What the core knows of its journal: what waits there, and whether the disk can be trusted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use config::Name;
use jiff::Timestamp;

use crate::journal::{Answer, Record, Request};
use crate::rollout::State;

/// A journal longer than this is written anew.
const COMPACT_AT: u64 = 8 << 20;
/// How often a fresh journal is tried after an error.
const RETRY: Duration = Duration::from_secs(1);
/// A disk that has not answered for so long is taken for one that refuses.
const PATIENCE: Duration = Duration::from_secs(5);

/// The core's end of the journal.
#[derive(Debug)]
pub(super) struct Link {
    last_seq: u64,
    size: u64,
    size_when_fresh: u64,
    unanswered: VecDeque<Unanswered>,
    problem: Option<Problem>,
    /// A rewrite is on its way.
    rewriting: bool,
    rewrite_tried: Option<Duration>,
    outbox: Vec<Request>,
    evidence: Kept,
    /// Why what is known of stable traffic cannot be saved, while it cannot.
    background: Option<String>,
}

/// What is known of the saved evidence.
#[derive(Debug, Default)]
struct Kept {
    /// As of when this process saved it last.
    at: Option<Timestamp>,
    /// Why that cannot be done any more.
    problem: Option<String>,
}

/// A record that was sent and not answered.
#[derive(Debug)]
struct Unanswered {
    seq: u64,
    service: Name,
    revision: u64,
    since: Duration,
}

#[derive(Debug)]
struct Problem {
    text: Arc<str>,
    /// The journal lacks something of the live state, or cannot be trusted: only a rewrite ends the problem.
    needs_rewrite: bool,
}

/// What an answer means for a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// This revision of the service is on disk.
    Journalled(Name, u64),
    /// It is not.
    Failed(Name, u64, String),
    /// Tell people: the journal cannot be written.
    Lost(String),
    /// Tell people: it can again.
    Regained,
    /// Tell people: something cannot be saved, and what that means.
    Unsaved(String),
    /// Tell people: it is saved again.
    SavedAgain(&'static str),
}

impl Link {
    pub(super) fn new(last_seq: u64, size: u64, problem: Option<String>) -> Self {
        Self {
            last_seq,
            size,
            size_when_fresh: 0,
            unanswered: VecDeque::new(),
            problem: problem.map(|text| Problem { text: text.into(), needs_rewrite: true }),
            rewriting: false,
            rewrite_tried: None,
            outbox: Vec::new(),
            evidence: Kept::default(),
            background: None,
        }
    }

    /// Why the journal cannot be written, while it cannot.
    pub(super) fn problem(&self) -> Option<&Arc<str>> {
        self.problem.as_ref().map(|problem| &problem.text)
    }

    pub(super) fn take_requests(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.outbox)
    }

    /// Sends a record. While the journal cannot be written only steps back arrive here; the next rewrite holds them.
    pub(super) fn append(&mut self, service: &Name, state: State, cause: String, elapsed: Duration, wall: Timestamp) {
        if let Some(problem) = &mut self.problem {
            problem.needs_rewrite = true;
            return;
        }
        let record = self.record(service, state, cause, wall);
        self.unanswered.push_back(Unanswered {
            seq: record.seq,
            service: service.clone(),
            revision: record.state.revision,
            since: elapsed,
        });
        self.outbox.push(Request::Append(Box::new(record)));
    }

    fn record(&mut self, service: &Name, state: State, cause: String, at: Timestamp) -> Record {
        self.last_seq += 1;
        Record { seq: self.last_seq, at, service: service.clone(), cause, state }
    }

    pub(super) fn save_evidence(&mut self, bytes: Vec<u8>, at: Timestamp) {
        self.outbox.push(Request::Evidence { bytes, at });
    }

    /// That what is known of stable traffic cannot be saved and what that means, while it cannot.
    pub(super) fn unsaved_background(&self) -> Option<String> {
        let problem = self.background.as_ref()?;
        Some(format!(
            "what is known of stable traffic cannot be saved: {problem}: after a crash the tests of the next rollouts \
             begin with less of it, and take longer"
        ))
    }

    /// That the evidence cannot be saved and what that means, while it cannot.
    pub(super) fn unsaved(&self) -> Option<String> {
        let Kept { at, problem } = &self.evidence;
        let back_to = match at {
            Some(at) => format!("go back to {} UTC", at.strftime("%H:%M:%S")),
            None => "go back to what an earlier process saved, or begin anew".to_owned(),
        };
        Some(format!("the evidence cannot be saved: {}: after a crash the tests {back_to}", problem.as_ref()?))
    }

    pub(super) fn save_background(&mut self, bytes: Vec<u8>) {
        self.outbox.push(Request::Background(bytes));
    }

    pub(super) fn close(&mut self, evidence: Vec<u8>, background: Vec<u8>) {
        let complete = self.problem.as_ref().is_none_or(|problem| !problem.needs_rewrite);
        self.outbox.push(Request::Close { evidence, background, complete });
    }

    /// What an answer of the journal means.
    pub(super) fn answered(&mut self, answer: Answer) -> Vec<Told> {
        match answer {
            Answer::Journalled { through, size } => {
                self.size = size;
                let mut told: Vec<Told> =
                    self.settle(through).map(|waited| Told::Journalled(waited.service, waited.revision)).collect();
                let stall_is_over = !self.rewriting
                    && self.unanswered.is_empty()
                    && self.problem.as_ref().is_some_and(|problem| !problem.needs_rewrite);
                if stall_is_over {
                    self.problem = None;
                    told.push(Told::Regained);
                }
                told
            }
            Answer::Failed { through, problem } => {
                let failed = |waited: Unanswered| Told::Failed(waited.service, waited.revision, problem.clone());
                let mut told: Vec<Told> = self.settle(through).map(failed).collect();
                told.extend(self.lose(problem.clone()));
                told
            }
            Answer::Rewritten { size } => {
                self.rewriting = false;
                self.size = size;
                self.size_when_fresh = size;
                match self.problem.take_if(|problem| !problem.needs_rewrite) {
                    Some(_) => vec![Told::Regained],
                    None => Vec::new(),
                }
            }
            Answer::NotRewritten { problem } => {
                self.rewriting = false;
                self.lose(problem).into_iter().collect()
            }
            Answer::EvidenceSaved { at } => {
                let was_unsaved = std::mem::replace(&mut self.evidence, Kept { at: Some(at), problem: None }).problem;
                was_unsaved.map(|_| Told::SavedAgain("the evidence is saved again")).into_iter().collect()
            }
            Answer::EvidenceNotSaved { problem } => {
                // Said once, and again only when it had worked meanwhile.
                let known = self.evidence.problem.replace(problem).is_some();
                self.unsaved().filter(|_| !known).map(Told::Unsaved).into_iter().collect()
            }
            Answer::BackgroundSaved => {
                let again = Told::SavedAgain("what is known of stable traffic is saved again");
                self.background.take().map(|_| again).into_iter().collect()
            }
            Answer::BackgroundNotSaved { problem } => {
                let known = self.background.replace(problem).is_some();
                self.unsaved_background().filter(|_| !known).map(Told::Unsaved).into_iter().collect()
            }
            Answer::Closed => Vec::new(),
        }
    }

    fn settle(&mut self, through: u64) -> std::vec::IntoIter<Unanswered> {
        let settled = self.unanswered.iter().take_while(|waited| waited.seq <= through).count();
        self.unanswered.drain(..settled).collect::<Vec<_>>().into_iter()
    }

    /// Marks the journal as one that cannot be trusted. Told once as long as the reason stays the same.
    fn lose(&mut self, text: String) -> Option<Told> {
        let known = self.problem.as_ref().is_some_and(|problem| *problem.text == *text);
        self.problem = Some(Problem { text: text.as_str().into(), needs_rewrite: true });
        (!known).then_some(Told::Lost(text))
    }

    /// A disk that hangs answers neither yes nor no.
    pub(super) fn notice_stall(&mut self, elapsed: Duration) -> Option<Told> {
        let oldest = self.unanswered.front()?;
        if self.problem.is_some() || elapsed.saturating_sub(oldest.since) < PATIENCE {
            return None;
        }
        let text = format!("the disk of the state directory has not answered for {} s", PATIENCE.as_secs());
        self.problem = Some(Problem { text: text.as_str().into(), needs_rewrite: false });
        Some(Told::Lost(text))
    }

    /// Whether a fresh journal should be written now: after an error, or because it has grown long. Never while a
    /// record is unanswered, so that the live state and what the journal was asked cannot disagree.
    pub(super) fn wants_rewrite(&self, elapsed: Duration) -> bool {
        if self.rewriting || !self.unanswered.is_empty() {
            return false;
        }
        let recovers = self.problem.as_ref().is_some_and(|problem| problem.needs_rewrite);
        let due = self.rewrite_tried.is_none_or(|tried| elapsed.saturating_sub(tried) >= RETRY);
        let compacts = self.problem.is_none() && self.size > COMPACT_AT.max(2 * self.size_when_fresh);
        (recovers && due) || compacts
    }

    /// Asks for a fresh journal of the live state.
    pub(super) fn rewrite<'a>(
        &mut self,
        elapsed: Duration,
        wall: Timestamp,
        live: impl Iterator<Item = (&'a Name, &'a State)>,
    ) {
        let records = live.map(|(service, state)| {
            self.record(service, state.clone(), "the journal was written anew".to_owned(), wall)
        });
        let records = records.collect();
        self.outbox.push(Request::Rewrite(records));
        self.rewriting = true;
        self.rewrite_tried = Some(elapsed);
        if let Some(problem) = &mut self.problem {
            // A step back from here on is not in these records, and needs the next rewrite.
            problem.needs_rewrite = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: Timestamp = Timestamp::UNIX_EPOCH;

    fn state() -> (Name, State) {
        let text = "services: { shop: { versions: { v1: { endpoints: ['a:1'] } } } }";
        let service = config::parse(text, "test.yaml").unwrap().configuration.services.remove(0);
        (service.name.clone(), State::from_file(&service))
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A link whose first record is unanswered for so long that the disk is taken for one that hangs.
    fn stalled() -> Link {
        let (name, state) = state();
        let mut link = Link::new(0, 0, None);
        link.append(&name, state, String::new(), at(0), WALL);
        assert_eq!(link.notice_stall(at(4)), None);
        assert!(link.notice_stall(at(5)).is_some());
        link
    }

    #[test]
    fn no_rewrite_overtakes_a_record_that_is_not_answered() {
        let (name, state) = state();
        let mut link = stalled();
        link.append(&name, state, String::new(), at(6), WALL);
        assert_eq!(link.take_requests().len(), 1, "nothing more is sent to a disk that hangs");
        assert!(!link.wants_rewrite(at(7)));
        link.answered(Answer::Journalled { through: 1, size: 1 });
        assert!(link.problem().is_some() && link.wants_rewrite(at(7)), "the step back is still to be written");
    }

    #[test]
    fn a_stall_that_held_nothing_back_is_over_when_the_disk_answers() {
        let mut link = stalled();
        assert!(link.answered(Answer::Journalled { through: 1, size: 1 }).contains(&Told::Regained));
        assert!(link.problem().is_none() && !link.wants_rewrite(at(7)));
    }

    #[test]
    fn a_journal_that_lacks_something_is_not_ended_in_good_order() {
        for (problem, expected) in [(Some("full".to_owned()), false), (None, true)] {
            let mut link = Link::new(0, 0, problem);
            link.close(Vec::new(), Vec::new());
            let requests = link.take_requests();
            assert!(matches!(requests[..], [Request::Close { complete, .. }] if complete == expected), "{requests:?}");
        }
    }

    #[test]
    fn evidence_that_cannot_be_saved_is_told_once_with_where_the_tests_go_back_to_and_so_is_its_end() {
        let mut link = Link::new(0, 0, None);
        let refused = || Answer::EvidenceNotSaved { problem: "full".to_owned() };
        let told = link.answered(refused());
        assert!(matches!(&told[..], [Told::Unsaved(text)] if text.contains("begin anew")), "{told:?}");
        assert_eq!(link.answered(refused()), []);
        assert_eq!(
            link.answered(Answer::EvidenceSaved { at: WALL }),
            [Told::SavedAgain("the evidence is saved again")]
        );
        assert_eq!((link.answered(Answer::EvidenceSaved { at: WALL }), link.unsaved()), (Vec::new(), None));
        let text = "the evidence cannot be saved: full: after a crash the tests go back to 00:00:00 UTC";
        assert_eq!(link.answered(refused()), [Told::Unsaved(text.to_owned())]);
        assert_eq!(link.unsaved().as_deref(), Some(text));
    }

    #[test]
    fn what_is_known_of_stable_traffic_and_cannot_be_saved_is_told_once_and_so_is_its_end() {
        let mut link = Link::new(0, 0, None);
        let refused = || Answer::BackgroundNotSaved { problem: "full".to_owned() };
        let text = "what is known of stable traffic cannot be saved: full: after a crash the tests of the next \
                    rollouts begin with less of it, and take longer";
        assert_eq!(link.answered(refused()), [Told::Unsaved(text.to_owned())]);
        assert_eq!((link.answered(refused()), link.unsaved_background().as_deref()), (Vec::new(), Some(text)));
        let again = Told::SavedAgain("what is known of stable traffic is saved again");
        assert_eq!(link.answered(Answer::BackgroundSaved), [again]);
        assert_eq!((link.answered(Answer::BackgroundSaved), link.unsaved_background()), (Vec::new(), None));
    }

    #[test]
    fn a_rewrite_is_tried_once_a_second_and_a_lasting_reason_is_told_once() {
        let (name, state) = state();
        let mut link = Link::new(0, 0, None);
        link.append(&name, state.clone(), String::new(), at(0), WALL);
        let told = link.answered(Answer::Failed { through: 1, problem: "full".to_owned() });
        assert!(matches!(told[..], [Told::Failed(..), Told::Lost(_)]), "{told:?}");
        for second in 1..4 {
            assert!(link.wants_rewrite(at(second)));
            link.rewrite(at(second), WALL, [(&name, &state)].into_iter());
            assert!(!link.wants_rewrite(at(second)), "one at a time");
            assert_eq!(link.answered(Answer::NotRewritten { problem: "full".to_owned() }), []);
        }
        link.rewrite(at(9), WALL, [(&name, &state)].into_iter());
        assert_eq!(link.answered(Answer::Rewritten { size: 1 }), [Told::Regained]);
    }
}
