//! How the API (and tests) reach the control loop.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::command::Command;
use crate::control_loop::{Clock, Now};
use crate::events::EventLog;
use crate::view::Snapshot;

/// A handle to a running control loop. Cheap to clone. Reads never wait for the loop: they see its last snapshot.
#[derive(Debug, Clone)]
pub struct Handle {
    /// Where commands go. An error on sending means that the loop has ended.
    pub commands: mpsc::Sender<Command>,
    /// What the loop last published.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// What happened.
    pub events: Arc<EventLog>,
    /// Set once the loop is over, however it came to its end: from then on nothing is judged.
    pub ended: Arc<AtomicBool>,
    /// When the loop was last at work: one that hangs has not ended.
    pub pulse: Arc<Pulse>,
}

/// When a control loop last looked at the traffic.
pub struct Pulse {
    clock: Arc<dyn Clock>,
    /// Milliseconds on the clock.
    last: AtomicU64,
}

impl Pulse {
    /// A loop that has not looked at the traffic for so long does not judge: it looks ten times a second.
    pub const STALLED: Duration = Duration::from_secs(5);

    /// That of a loop which begins now.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let last = AtomicU64::new(milliseconds(clock.now()));
        Self { clock, last }
    }

    /// The loop has looked at the traffic.
    pub fn beat(&self, now: Now) {
        self.last.store(milliseconds(now), Ordering::Relaxed);
    }

    /// For how long the loop has not looked at the traffic; none where that is less than [`STALLED`](Self::STALLED).
    #[must_use]
    pub fn stalled_for(&self) -> Option<Duration> {
        let silent = milliseconds(self.clock.now()).saturating_sub(self.last.load(Ordering::Relaxed));
        Some(Duration::from_millis(silent)).filter(|silent| *silent >= Self::STALLED)
    }
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pulse").field("last", &self.last).finish_non_exhaustive()
    }
}

fn milliseconds(now: Now) -> u64 {
    u64::try_from(now.elapsed.as_millis()).unwrap_or(u64::MAX)
}
