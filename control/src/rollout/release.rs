//! What is in force, what waits for the disk, and how one becomes the other.

use std::sync::Arc;
use std::time::Duration;

use config::Service;

use super::readiness::Readiness;
use super::state::{HISTORY, Question, Reading, State};
use super::{Change, Effect, Moment};
use crate::command::Refused;
use crate::view::Phase;

/// The release of one service: the state in force, and the one that waits for the disk.
#[derive(Debug, Clone)]
pub struct Release {
    pub(super) service: Arc<Service>,
    pub(super) state: State,
    pub(super) proposal: Option<Proposal>,
    /// The highest revision given out, in force or not.
    pub(super) last_revision: u64,
    /// When the present step's hold began.
    pub(super) step_began: Duration,
    /// What a rollout that could advance waits for.
    pub(super) waits_for: Option<String>,
    /// A person resumed although a limit is broken on both versions; cleared when it no longer is.
    pub(super) hold_acknowledged: bool,
    /// What a dry run has told already of what it would have asked.
    pub(super) told: Option<Question>,
    /// The harm that a dry run counted last.
    pub(super) counted: Option<Counted>,
    /// What the tests of the running rollout say.
    pub(super) reading: Reading,
    /// How the canary's endpoints are.
    pub(super) readiness: Readiness,
    /// What an operator should know of this release until the process ends.
    pub(super) warnings: Vec<String>,
}

/// Harm that a dry run counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    pub(super) at: Duration,
    /// The step in which the tests that established it began.
    pub(super) step: usize,
    /// Whether it is still shown: the tests have not begun anew since.
    pub(super) stands: bool,
}

/// A step forward that waits for its journal entry.
#[derive(Debug, Clone)]
pub(super) struct Proposal {
    pub(super) next: State,
    news: Vec<News>,
    by: By,
}

/// Something to announce once it is in force.
#[derive(Debug, Clone)]
pub(super) struct News {
    pub(super) kind: &'static str,
    pub(super) text: String,
}

/// Who proposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The plan: what it proposes may be replaced by anything.
    Plan,
    /// A person, who waits for an answer.
    Person,
    /// The file.
    File,
}

impl Release {
    /// The state in force.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The service's configuration in force.
    #[must_use]
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// The state that waits for the disk.
    #[must_use]
    pub fn proposed(&self) -> Option<&State> {
        self.proposal.as_ref().map(|proposal| &proposal.next)
    }

    /// What an operator should know of this release.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Proposes a step forward: it comes into force when it is on disk.
    pub(super) fn propose(&mut self, moment: &Moment, by: By, next: State, news: Vec<News>) -> Result<Change, Refused> {
        self.may_propose(moment)?;
        let mut effects = Vec::new();
        self.cancel("another step took its place before it was on disk", &mut effects);
        let next = self.numbered(next, moment, false);
        let revision = next.revision;
        effects.push(Effect::Journal { state: Box::new(next.clone()), cause: cause_of(&news) });
        self.proposal = Some(Proposal { next, news, by });
        Ok(Change { effects, waits_for: Some(revision) })
    }

    /// Whether a step forward would be taken at all.
    pub(super) fn may_propose(&self, moment: &Moment) -> Result<(), Refused> {
        if let Some(problem) = &moment.journal_problem {
            return Err(Refused::JournalUnwritable(format!(
                "{}: no step forward is taken while the journal cannot be written: {problem}; \
                 steps back (abort, a lower weight) work",
                self.service.name
            )));
        }
        match &self.proposal {
            Some(waiting) if waiting.by == By::Person => Err(Refused::Conflict {
                detail: format!(
                    "{}: a step forward is on its way to the disk; ask again when it is in force, or abort it",
                    self.service.name
                ),
                present: None,
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Puts a step that is not forward into force now; it is journalled after.
    pub(super) fn at_once(&mut self, moment: &Moment, next: State, news: Vec<News>) -> Change {
        self.at_once_with(moment, next, news, false)
    }

    /// As [`at_once`](Self::at_once), for a change that counts as one of the service's even if the split stays.
    pub(super) fn at_once_with(&mut self, moment: &Moment, next: State, news: Vec<News>, reconfigured: bool) -> Change {
        let mut effects = Vec::new();
        let mut cancelled = Vec::new();
        self.cancel("it was cancelled before it was on disk", &mut cancelled);
        let next = self.numbered(next, moment, reconfigured);
        let record = Effect::Journal { state: Box::new(next.clone()), cause: cause_of(&news) };
        self.put_in_force(moment, next, news, &mut effects);
        // The traffic first, the disk after it, and talk last.
        let after_steering = usize::from(effects.first() == Some(&Effect::Steer));
        effects.insert(after_steering, record);
        effects.extend(cancelled);
        Change { effects, waits_for: None }
    }

    /// Drops what waits for the disk. Its journal entry may still arrive and finds nothing.
    pub(super) fn cancel(&mut self, why: &str, effects: &mut Vec<Effect>) {
        if let Some(waiting) = self.proposal.take() {
            let detail = format!("{}: {why}", self.service.name);
            effects.push(Effect::Settle {
                revision: waiting.next.revision,
                result: Err(Refused::Conflict { detail, present: None }),
            });
        }
    }

    /// Gives a next state its numbers, and an ended rollout its place in the history.
    fn numbered(&mut self, mut next: State, moment: &Moment, reconfigured: bool) -> State {
        self.last_revision += 1;
        next.revision = self.last_revision;
        next.generation = self.state.generation + u64::from(next.steers_from(&self.state) || reconfigured);
        let Some(rollout) = &mut next.rollout else { return next };
        let had_ended = self.state.rollout.as_ref().is_some_and(|old| old.id == rollout.id && old.phase.has_ended());
        if rollout.phase.has_ended() && !had_ended {
            rollout.ended_at = Some(moment.wall);
            if self.state.running().is_some_and(|old| old.id == rollout.id) {
                rollout.reading = self.reading.clone();
            }
            *next.outcomes.entry(rollout.phase).or_default() += 1;
            let rollout = rollout.clone();
            let ended = self.view_of(&rollout, &next, moment);
            next.history.insert(0, Arc::new(ended));
            next.history.truncate(HISTORY);
        }
        next
    }

    /// The one place where what is in force changes. What follows from it is read off the difference.
    fn put_in_force(&mut self, moment: &Moment, next: State, news: Vec<News>, effects: &mut Vec<Effect>) {
        let old = std::mem::replace(&mut self.state, next);
        let steers = self.state.steers_from(&old);
        if steers {
            effects.push(Effect::Steer);
        }
        match (old.running(), self.state.running()) {
            (None, None) => {}
            (Some(_), None) => {
                effects.push(Effect::EndJudge);
                self.waits_for = None;
            }
            (Some(before), Some(now)) if before.id == now.id => {
                let resumed = before.phase == Phase::Paused && now.phase != Phase::Paused;
                let asked = before.asks.as_ref().filter(|_| resumed);
                // Only what the person has seen: after another pause the next tick says what there is to say.
                let (sees_limit, sees_findings) =
                    (asked == Some(&Question::Limit), asked.is_some_and(Question::is_of_findings));
                let new_step = steers || before.step != now.step;
                if new_step {
                    let lost_people = before.matched().is_some_and(|before| now.matched() != Some(before));
                    let fell = lost_people || self.state.weight_of(&now.canary) < old.weight_of(&before.canary);
                    effects.push(Effect::NewStep { fell });
                }
                // A pause ends no proof: what was seen at this weight stays seen.
                if new_step || resumed {
                    self.begin_hold(moment);
                }
                if sees_findings {
                    effects.push(Effect::Acknowledge);
                }
                self.hold_acknowledged |= sees_limit;
            }
            (_, Some(_)) => {
                effects.push(Effect::BeginJudge);
                self.reading = Reading::default();
                self.hold_acknowledged = false;
                self.told = None;
                self.counted = None;
                self.begin_hold(moment);
            }
        }
        effects.extend(news.into_iter().map(|News { kind, text }| Effect::Announce { kind, text }));
    }

    /// Nobody looked for so long: the present step lasts so much longer. Whether a rollout runs.
    pub fn stood_still(&mut self, lost: Duration) -> bool {
        self.step_began = self.step_began.saturating_add(lost);
        self.state.running().is_some()
    }

    fn begin_hold(&mut self, moment: &Moment) {
        self.step_began = moment.elapsed;
        self.waits_for = None;
    }

    pub(super) fn journalled(&mut self, moment: &Moment, revision: u64) -> Change {
        let Some(waiting) = self.proposal.take_if(|waiting| waiting.next.revision == revision) else {
            return Change::default();
        };
        let mut effects = Vec::new();
        self.put_in_force(moment, waiting.next, waiting.news, &mut effects);
        effects.push(Effect::Settle { revision, result: Ok(()) });
        Change { effects, waits_for: None }
    }

    pub(super) fn journal_failed(&mut self, revision: u64, problem: &str) -> Change {
        if self.proposal.take_if(|waiting| waiting.next.revision == revision).is_none() {
            return Change::default();
        }
        let text = format!("{}: the step was not taken: the journal cannot be written: {problem}", self.service.name);
        Change {
            effects: vec![Effect::Settle { revision, result: Err(Refused::JournalUnwritable(text)) }],
            waits_for: None,
        }
    }
}

fn cause_of(news: &[News]) -> String {
    news.iter().map(|news| news.text.as_str()).collect::<Vec<_>>().join("; ")
}
