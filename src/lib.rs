//! The executable `tidegate`, as a library: the only place that knows both planes.
//!
//! `main.rs` parses, dispatches and gives the exit code; everything else is here, so that tests start the real thing.

pub mod check;
pub mod cli;
pub mod client;
mod control_plane;
pub mod demo;
pub mod drain;
pub mod exit;
pub mod life;
pub mod log;
pub mod plane;
pub mod reload;
mod remembered;
pub mod replay;
pub mod resolve;
pub mod run;
pub mod serve;
pub mod signals;
mod supervisor;
pub mod upgrade;
