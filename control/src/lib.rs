//! What is decided: statistics, verdicts, rollouts, the journal, the control API.

pub mod api;
pub mod command;
pub mod events;
pub mod handle;
pub mod journal;
pub mod judge;
pub mod metrics;
pub mod plane;
pub mod rollout;
pub mod statistics;
pub mod view;
