//! The record of a rollout: what its tests were given, so that it can be judged again.
//!
//! A file of JSON lines beside the journal, `records/SERVICE/ROLLOUT.jsonl`; the format is open and documented in
//! `docs/records.md`, so that other programs can write records too. It begins with the tests' first state and has a
//! line for each tick, so a replay under the same gates has the same evidence to the last bit. A record is bounded:
//! its older half is thinned (windows merged into seconds, later into minutes), and a checkpoint is left from which it
//! is exact.
//!
//! Recording never holds the control loop up: lines are handed to a thread of their own. What a slow or full disk does
//! not take is dropped and counted, and a checkpoint follows when it works again.

mod count;
mod file;
mod form;
mod header;
mod keeper;
mod lines;
mod moment;
mod read;
mod recorder;
mod recording;
mod replay;
mod slot;
mod tail;
mod thin;
mod total;
mod write;

pub use self::header::{Compared, Header, LatencyBounds};
pub use self::lines::{Checkpoint, Counted, Line, Mark, Why};
pub use self::moment::Moment;
pub use self::read::{Filled, Reader, Unreadable};
pub use self::recorder::Recorder;
pub use self::recording::Recording;
pub use self::replay::{Impossible, Replay, Tallied};
pub(crate) use self::tail::{CaughtUp, Place};

/// The version of the format that this Tidegate writes and reads.
pub const FORMAT: u64 = 1;

#[cfg(test)]
mod tests;
