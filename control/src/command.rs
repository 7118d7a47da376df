//! What a person (or a program, through the API) may ask of the control loop, and how it is refused.

use config::{Name, Weight};
use tokio::sync::oneshot;

use crate::plane::{Addresses, Resolved};
use crate::view::{RolloutView, ServiceView};

/// A request to the control loop. Each carries where its answer goes; an answer is given once the change is in force
/// and, for a step forward, on disk.
#[derive(Debug)]
pub enum Command {
    /// Begin a rollout.
    Start {
        /// The service.
        service: Name,
        /// The version to roll out.
        canary: Name,
        /// A plan by name; `None` and `default` mean the service's own.
        plan: Option<String>,
        /// Why, in the person's words.
        reason: Option<String>,
        /// Makes a retry safe: the same key again gives the rollout that the first one began.
        idempotency_key: Option<String>,
        /// The rollout.
        reply: oneshot::Sender<Result<RolloutView, Refused>>,
    },
    /// Act on the latest rollout of a service.
    Act {
        /// The service.
        service: Name,
        /// What to do.
        action: Action,
        /// Why, in the person's words.
        reason: Option<String>,
        /// The rollout after it.
        reply: oneshot::Sender<Result<RolloutView, Refused>>,
    },
    /// Set a version's weight by hand.
    SetWeight {
        /// The service.
        service: Name,
        /// The version; `None` where only one other than the stable exists.
        version: Option<Name>,
        /// Its weight.
        weight: Weight,
        /// Only if the service still has this generation.
        if_generation: Option<u64>,
        /// Why, in the person's words.
        reason: Option<String>,
        /// The service after it.
        reply: oneshot::Sender<Result<ServiceView, Refused>>,
    },
    /// Take a new configuration into use.
    Reload {
        /// The configuration, its endpoints resolved.
        resolved: Resolved,
        /// What is to be known of it.
        reply: oneshot::Sender<Result<Reloaded, Refused>>,
    },
    /// Names were resolved again: use these addresses for their endpoints, wherever they are used.
    Readdress {
        /// What changed. Endpoints that the configuration in force does not have change nothing.
        changed: Addresses,
        /// Told when they are in use.
        reply: oneshot::Sender<()>,
    },
    /// A configuration was to be taken into use and could not be read. Nothing changes; it is told and shown.
    ReloadFailed {
        /// Every problem with it.
        problems: Vec<String>,
    },
    /// End the control loop: save the state of the tests, sync the journal, and answer when it is done. The split
    /// stays as it is.
    Stop {
        /// Told when everything is on disk.
        reply: oneshot::Sender<()>,
    },
    /// The journal's answer. Sent by the journal's own thread alone, so that the loop waits on one channel.
    Journal(crate::journal::Answer),
}

/// What is to be known of a configuration that was taken into use, in words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reloaded {
    /// What changed but needs a restart.
    pub needs_restart: Vec<String>,
    /// What else goes on as before: running rollouts keep the plan they began with.
    pub notes: Vec<String>,
}

/// What a person may do to a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Stop advancing; the split stays.
    Pause,
    /// Go on after a pause. The present step's hold and deadline begin anew; what was seen and proven stays.
    Resume,
    /// Give the approval that the rollout awaits.
    Approve,
    /// End the present step now.
    Skip,
    /// Make the canary the stable now, whatever steps are left.
    Promote,
    /// Stop the rollout; all traffic back to stable.
    Abort,
    /// Begin the latest ended rollout again, with the same canary and plan.
    Retry,
    /// After a promotion: return to the previous stable.
    Undo,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 8] =
        [Self::Pause, Self::Resume, Self::Approve, Self::Skip, Self::Promote, Self::Abort, Self::Retry, Self::Undo];

    /// The word in commands and paths.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Approve => "approve",
            Self::Skip => "skip",
            Self::Promote => "promote",
            Self::Abort => "abort",
            Self::Retry => "retry",
            Self::Undo => "undo",
        }
    }
}

/// Why a request changed nothing. The text says what is wrong, what is legal and what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refused {
    /// There is no such service, version, plan or rollout (404; a version or plan named in a body is 422).
    #[error("{0}")]
    Unknown(String),
    /// The values are legal by themselves and not here (422): a weight for the stable, a canary that is the stable.
    #[error("{0}")]
    Invalid(String),
    /// The present state does not allow it (409). With the service's state where a comparison failed.
    #[error("{detail}")]
    Conflict {
        /// What stands against it, and what is allowed.
        detail: String,
        /// The present state.
        present: Option<Box<ServiceView>>,
    },
    /// The journal cannot be written, so no step forward is taken (503).
    #[error("{0}")]
    JournalUnwritable(String),
}
