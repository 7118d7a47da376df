//! What the lines of a record after the first may say.

use serde_json::Value;

use super::count::Object;
use super::form::VersionForm;
use super::moment::Moment;
use crate::judge::{Copies, Draws};
use crate::view::{Arms, Phase};

/// A line after the first.
#[derive(Debug)]
pub enum Line {
    /// What was counted.
    Counted(Box<Counted>),
    /// Something that the tests were told.
    Marked(Moment, Mark),
    /// The tests' state at this place.
    Checkpoint(Box<Checkpoint>),
    /// So many windows are missing here.
    Gap(u64),
    /// The rollout is over; with its outcome where that is known.
    End(Moment, Option<Phase>),
}

impl Line {
    /// When it was; none for a gap.
    #[must_use]
    pub fn at(&self) -> Option<Moment> {
        match self {
            Self::Counted(counted) => Some(counted.at),
            Self::Marked(at, _) | Self::End(at, _) => Some(*at),
            Self::Checkpoint(checkpoint) => Some(checkpoint.at),
            Self::Gap(_) => None,
        }
    }
}

/// The line of a window.
#[derive(Debug)]
pub struct Counted {
    /// When it ended.
    pub at: Moment,
    /// The service's.
    pub generation: Option<u64>,
    /// The canary's, in basis points.
    pub weight: Option<u16>,
    /// So many ticks in a row: more than one only where nothing was counted.
    pub times: u32,
    /// Merged from windows of so many seconds.
    pub span: Option<u64>,
    /// How the split drew.
    pub draws: Option<Draws>,
    /// What became of copies of requests; none where none were sent.
    pub copies: Option<Copies>,
    /// How many endpoints each version has from here on.
    pub endpoints: Option<Arms<u32>>,
    /// Compared with all of stable, where the record compares with something else.
    pub(super) compared_with_stable: bool,
    pub(super) versions: Vec<(String, Object<VersionForm>)>,
    pub(super) slice: Option<Object<VersionForm>>,
    pub(super) matched: Option<Object<VersionForm>>,
}

/// The tests' state.
#[derive(Debug)]
pub struct Checkpoint {
    /// When it was.
    pub at: Moment,
    /// Why it is there.
    pub why: Why,
    /// As a judge is serialised.
    pub state: Value,
}

/// What the tests were told beside counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The canary's weight changed, or a step began.
    NewStep,
    /// A person has seen what was signalled and goes on.
    Acknowledge,
    /// A dry run goes on after established harm.
    BeginAnew,
    /// The canary got more endpoints.
    WarmUpAgain,
    /// The wall clock was set back: the next line may be earlier than the last.
    ClockSetBack,
}

/// Why a checkpoint is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// So that a replay can begin here when what is before it was thinned.
    Routine,
    /// The process began anew, with the state that it had saved.
    Restart,
    /// Windows are missing before it.
    Gap,
}

impl Mark {
    pub(super) const ALL: [Self; 5] =
        [Self::NewStep, Self::Acknowledge, Self::BeginAnew, Self::WarmUpAgain, Self::ClockSetBack];

    /// The word in a record.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NewStep => "new_step",
            Self::Acknowledge => "acknowledge",
            Self::BeginAnew => "begin_anew",
            Self::WarmUpAgain => "warm_up_again",
            Self::ClockSetBack => "clock_set_back",
        }
    }
}

impl Why {
    pub(super) const ALL: [Self; 3] = [Self::Routine, Self::Restart, Self::Gap];

    /// The word in a record.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Routine => "routine",
            Self::Restart => "restart",
            Self::Gap => "gap",
        }
    }
}
