//! What happened: outcomes recorded in the data path, read as monotone tallies.
//!
//! Each version of a service owns one [`VersionMeter`] with a shard per core, so that recording never contends.
//! Once a tick one reader takes the shards' content as a [`Window`] and adds it to the version's [`Tally`]: a window
//! is a difference of tallies by construction.
//!
//! Absent here: clocks (time is an argument), sockets, tokio, pingora.

mod latency;
mod mirror;
mod outcome;
mod service;
mod shard;
mod tally;
mod waiting;

pub use latency::{LATENCY_BUCKETS, LatencyCounts, latency_bound_us, latency_bounds_us, latency_bucket_of};
pub use mirror::{Comparison, MirrorCounts, MirrorMeter, Unsent};
pub use outcome::{Attempt, Class, GROUPS, Outcome};
pub use service::ServiceMeter;
pub use shard::{Exposure, VersionMeter};
pub use tally::{Clients, Drawn, GroupCounts, PathTally, Tally, Window};
pub use waiting::{DrawnAt, Waiting};
