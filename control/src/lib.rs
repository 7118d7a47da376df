//! What is decided: statistics, verdicts, rollouts, the journal, the control API.

pub mod api;
pub mod command;
pub mod control_loop;
pub mod events;
pub mod handle;
pub mod journal;
pub mod judge;
pub mod metrics;
pub mod plane;
pub mod process;
pub mod record;
pub mod rollout;
pub mod state_directory;
pub mod statistics;
pub mod view;
