//! The latest events, for `/events` and for whoever resumes there.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::view::Event;

/// How many events are kept for those who resume.
const KEPT: usize = 1024;

/// A bounded log of events that readers can follow, and share. A reader that is too slow loses the oldest and is told how many.
#[derive(Debug)]
pub struct EventLog {
    kept: Mutex<VecDeque<Arc<Event>>>,
    live: broadcast::Sender<Arc<Event>>,
}

impl Default for EventLog {
    fn default() -> Self {
        Self { kept: Mutex::default(), live: broadcast::channel(KEPT).0 }
    }
}

impl EventLog {
    /// Appends an event. Its `id` is set here; identifiers begin with `first_id` of the process and only grow.
    pub fn append(&self, mut event: Event) {
        let mut kept = self.kept.lock();
        event.id = kept.back().map_or(event.id.max(1), |last| last.id + 1);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        let event = Arc::new(event);
        kept.push_back(Arc::clone(&event));
        // No reader is no error. Sent under the lock, so that a follower misses nothing and sees nothing twice.
        let _ = self.live.send(event);
    }

    /// The kept events after `last_id` (all kept ones for `None`), and a receiver for those that follow.
    pub fn follow(&self, last_id: Option<u64>) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let kept = self.kept.lock();
        let missed = kept.iter().filter(|event| last_id.is_none_or(|id| event.id > id)).cloned().collect();
        (missed, self.live.subscribe())
    }
}
