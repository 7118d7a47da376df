//! Exit codes: scripts hold on to them.

use std::process::ExitCode;

use control::view::Phase;

/// How the executable ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It is done; with `--wait`: the canary was promoted.
    Done = 0,
    /// A bad configuration, an address that cannot be bound, a refused request, a server that is gone.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The drain's deadline came before its end.
    Forced = 3,
    /// The gates took the canary back.
    RolledBack = 10,
    /// A person stopped the rollout, or another took its place.
    Aborted = 11,
    /// No end within `--timeout`. The rollout goes on.
    NoEnd = 12,
    /// Ctrl-C while following. The rollout goes on.
    Interrupted = 130,
}

impl Exit {
    /// The table for help texts.
    pub const HELP: &'static str = "\
Exit codes:
  0    done; with --wait: promoted
  1    failed: bad configuration, cannot bind, refused, server gone
  2    usage
  3    forced exit at the drain deadline
  10   rolled back by the gates
  11   aborted by a person, or superseded
  12   no end within --timeout
  130  interrupted; a rollout goes on";

    /// The number that the system sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What following a rollout ends with; none while the rollout runs.
    #[must_use]
    pub const fn of(phase: Phase) -> Option<Self> {
        match phase {
            Phase::Progressing | Phase::Paused | Phase::AwaitingApproval | Phase::Promoting => None,
            Phase::Promoted => Some(Self::Done),
            Phase::RolledBack => Some(Self::RolledBack),
            Phase::Aborted | Phase::Superseded => Some(Self::Aborted),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Whether whoever read the output has read enough, as in `tidegate status | head -1`: no failure.
#[must_use]
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
