//! What is known of a service's stable traffic, rollout or not.
//!
//! Where its latencies lie, and how bursty its failures are: the tests of a rollout need both from before it begins.

use meter::Window;
use serde::{Deserialize, Serialize};

/// Learnt from stable traffic alone, so that nothing in it depends on the canary.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Background {}

impl Background {
    /// Adds what the stable version did in the wall-clock second `second`; several times a second or once.
    pub fn observe(&mut self, _second: i64, _stable: &Window) {}

    /// The latencies, in microseconds, that the groups of stable traffic are to be counted over: its median and its
    /// p95. None before there was enough traffic.
    #[must_use]
    pub fn watched_us(&self) -> Option<[u64; 2]> {
        None
    }
}
