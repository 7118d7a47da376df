//! How the API (and tests) reach the control loop.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};

use arc_swap::ArcSwap;

use crate::command::Command;
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
}
