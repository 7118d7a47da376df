//! `tidegate rollout ...`.

use std::time::Duration;

use clap::{Args, Subcommand};
use config::Name;
use control::command::Action;

use super::words;

pub(super) const HELP: &str = "\
Examples:
  tidegate rollout start shop --canary v2 --wait
  tidegate rollout watch shop
  tidegate rollout abort shop --reason 'wrong build'

With --wait, and with watch: exits 0 when promoted, 10 when rolled back by the gates, 11 when aborted or superseded,
12 when --timeout came first, 1 when the server is gone, 130 at Ctrl-C (the rollout goes on).";

/// What may be done with rollouts.
#[derive(Debug, Clone, Subcommand)]
pub enum RolloutCommand {
    /// Begin a rollout
    #[command(after_help = HELP)]
    Start(Start),
    /// Show the latest rollout
    Status(Show),
    /// Follow the latest rollout to its end
    #[command(after_help = HELP)]
    Watch(Watch),
    /// Stop advancing; the split stays
    Pause(Act),
    /// Go on after a pause; the present step's hold begins anew
    Resume(Act),
    /// Give the approval that the rollout awaits
    Approve(Act),
    /// End the present step now
    Skip(Act),
    /// Make the canary the stable now, whatever steps are left
    Promote(Act),
    /// Stop the rollout; all traffic goes back to stable
    Abort(Act),
    /// Begin the latest ended rollout again
    Retry(Act),
    /// After a promotion: return to the previous stable
    Undo(Act),
}

/// `rollout start`.
#[derive(Debug, Clone, Args)]
pub struct Start {
    /// The service
    #[arg(value_parser = words::name)]
    pub service: Name,
    /// The version to roll out
    #[arg(long, value_name = "VERSION", value_parser = words::name)]
    pub canary: Name,
    /// A plan by name; the service's own without it
    #[arg(long, value_name = "NAME", value_parser = words::name)]
    pub plan: Option<Name>,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Follow it to its end
    #[arg(long)]
    pub wait: bool,
    /// Give up following after this long, like 30m; the rollout goes on
    #[arg(long, value_name = "TIME", requires = "wait", value_parser = config::literal::duration)]
    pub timeout: Option<Duration>,
    /// Print what the control API says; with --wait a line of JSON for each change
    #[arg(long)]
    pub json: bool,
}

/// `rollout status`.
#[derive(Debug, Clone, Args)]
pub struct Show {
    /// The service
    #[arg(value_parser = words::name)]
    pub service: Name,
    /// Print what the control API says
    #[arg(long)]
    pub json: bool,
}

/// `rollout watch`.
#[derive(Debug, Clone, Args)]
pub struct Watch {
    /// The service
    #[arg(value_parser = words::name)]
    pub service: Name,
    /// Give up following after this long, like 30m; the rollout goes on
    #[arg(long, value_name = "TIME", value_parser = config::literal::duration)]
    pub timeout: Option<Duration>,
    /// Print a line of JSON for each change
    #[arg(long)]
    pub json: bool,
}

/// An action on the latest rollout.
#[derive(Debug, Clone, Args)]
pub struct Act {
    /// The service
    #[arg(value_parser = words::name)]
    pub service: Name,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Print what the control API says
    #[arg(long)]
    pub json: bool,
}

impl RolloutCommand {
    /// The action that this is, with its arguments, where it is one.
    #[must_use]
    pub const fn action(&self) -> Option<(Action, &Act)> {
        match self {
            Self::Start(_) | Self::Status(_) | Self::Watch(_) => None,
            Self::Pause(act) => Some((Action::Pause, act)),
            Self::Resume(act) => Some((Action::Resume, act)),
            Self::Approve(act) => Some((Action::Approve, act)),
            Self::Skip(act) => Some((Action::Skip, act)),
            Self::Promote(act) => Some((Action::Promote, act)),
            Self::Abort(act) => Some((Action::Abort, act)),
            Self::Retry(act) => Some((Action::Retry, act)),
            Self::Undo(act) => Some((Action::Undo, act)),
        }
    }
}
