//! The release of one service as a pure state machine: (state, event) gives the next state and effects.
//!
//! Safety is in the order of things. A step forward (more canary) is *proposed*: it comes into force only when the
//! journal says that it is on disk. A step back comes into force at once, cancels whatever waits for the disk, and is
//! journalled after. So a [`Release`] is the state in force and at most one state that waits, and a journal entry that
//! arrives late finds nothing to put in force.
//!
//! Absent here: clocks (time is an argument), I/O, randomness, statistics.

mod act;
mod advance;
mod file;
mod readiness;
mod release;
mod state;
mod view;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use config::{Name, Plan, Service, Weight};
use jiff::Timestamp;

pub use self::readiness::{Full, Readiness, Room, Unwell};
pub use self::release::Release;
pub use self::state::{FileValues, HISTORY, Question, Reading, Rollout, State, name_of_compared};
pub use self::view::allowed;
use crate::command::{Action, Refused};
use crate::judge::Judgement;
use crate::view::{Dispersion, GateView};

/// When an event happens, and whether the disk would take a step forward.
#[derive(Debug, Clone)]
pub struct Moment {
    /// Time since the process began; never goes back.
    pub elapsed: Duration,
    /// The wall clock, for people.
    pub wall: Timestamp,
    /// Why the journal cannot be written, while it cannot.
    pub journal_problem: Option<Arc<str>>,
}

/// What happens to a release.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "what is judged comes at each tick, and is moved once: no allocation")]
pub enum Event {
    /// A person begins a rollout.
    Start(Box<Start>),
    /// A person acts on the latest rollout.
    Act {
        /// What to do.
        action: Action,
        /// Why, in the person's words.
        reason: Option<String>,
        /// The identifier of the rollout that a retry begins.
        id: String,
    },
    /// A person sets a weight by hand.
    SetWeight {
        /// The version; `None` where only one other than the stable exists.
        version: Option<Name>,
        /// Its weight.
        weight: Weight,
        /// Only if the service still has this generation.
        if_generation: Option<u64>,
        /// Why, in the person's words.
        reason: Option<String>,
    },
    /// The tests were fed what happened since the last tick. Time passes with this event; it is for services whose
    /// rollout runs.
    Judged {
        /// What the tests say.
        judgement: Judgement,
        /// What people see of the evidence, where it was looked at anew.
        exhibit: Option<Exhibit>,
    },
    /// A state of this service is on disk.
    Journalled {
        /// Its revision.
        revision: u64,
    },
    /// A state of this service is not, or not surely, on disk.
    JournalFailed {
        /// Its revision.
        revision: u64,
        /// Why, in words.
        problem: String,
    },
    /// The file gives the service another configuration. Whether it may is asked before, with
    /// [`Release::may_become`].
    FileChanged(Arc<Service>),
}

/// What people see of the evidence.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Exhibit {
    /// The gates.
    pub gates: Vec<GateView>,
    /// How bursty stable's events are, where that was measured.
    pub dispersion: Option<Dispersion>,
}

/// What a rollout begins with.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// A fresh identifier.
    pub id: String,
    /// The version to roll out.
    pub canary: Name,
    /// The plan's name.
    pub plan_name: String,
    /// The plan.
    pub plan: Plan,
    /// Why, in the person's words.
    pub reason: Option<String>,
    /// What makes it safe to repeat.
    pub idempotency_key: Option<String>,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Publish the split in force.
    Steer,
    /// Write this state to the journal, and answer with its revision.
    Journal {
        /// The whole state.
        state: Box<State>,
        /// What led to it, in a sentence.
        cause: String,
    },
    /// A rollout begins: begin its tests.
    BeginJudge,
    /// A step begins, or the weight changed: close the batch. Where the canary's weight fell, the requests in flight are
    /// judged no more: the canary's slow ones would come from a time when it had more, beside the fast ones of now.
    NewStep {
        /// Whether it fell.
        fell: bool,
    },
    /// A person has seen what was signalled and goes on: those tests begin anew.
    Acknowledge,
    /// A dry run goes on after established harm that it counted: its tests begin anew.
    BeginAnew,
    /// The canary got more endpoints, and the new ones are cold.
    WarmUpAgain,
    /// The rollout is over, and so are its tests.
    EndJudge,
    /// Tell what happened.
    Announce {
        /// As in [`Event::kind`](crate::view::Event::kind).
        kind: &'static str,
        /// In a sentence.
        text: String,
    },
    /// What waited for this revision is over: it is in force, or it was refused.
    Settle {
        /// The revision.
        revision: u64,
        /// How it ended.
        result: Result<(), Refused>,
    },
}

/// What an accepted event leads to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Change {
    /// What is to be done now.
    pub effects: Vec<Effect>,
    /// The revision that waits for the disk, where this event proposed one. A [`Effect::Settle`] follows, now or later.
    pub waits_for: Option<u64>,
}

impl Change {
    fn then(mut self, next: Self) -> Self {
        self.effects.extend(next.effects);
        self.waits_for = next.waits_for.or(self.waits_for);
        self
    }
}

impl Release {
    /// What an event leads to. A refusal changes nothing.
    pub fn transition(&mut self, moment: &Moment, event: Event) -> Result<Change, Refused> {
        match event {
            Event::Start(start) => self.start(moment, *start),
            Event::Act { action, reason, id } => self.act(moment, action, reason.as_deref(), id),
            Event::SetWeight { version, weight, if_generation, reason } => {
                self.set_weight(moment, version, weight, if_generation, reason.as_deref())
            }
            Event::Judged { judgement, exhibit } => Ok(self.judged(moment, &judgement, exhibit)),
            Event::Journalled { revision } => Ok(self.journalled(moment, revision)),
            Event::JournalFailed { revision, problem } => Ok(self.journal_failed(revision, &problem)),
            Event::FileChanged(service) => Ok(self.file_changed(moment, service)),
        }
    }
}
