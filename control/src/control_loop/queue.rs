//! What waits for the journal's thread.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::journal::Request;

/// Requests for the journal. Evidence waits at most once, the latest, and so does what is
/// known of stable traffic, so that a disk that hangs costs no memory; the
/// core sends nothing else to a journal that does not answer.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    finished: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    requests: Vec<Request>,
    closed: bool,
    /// How often something was added, and how many of those have been dealt with.
    added: u64,
    dealt_with: u64,
}

impl Queue {
    /// Adds requests, in order.
    pub(super) fn push(&self, requests: Vec<Request>) {
        if requests.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock();
        for request in requests {
            match request {
                Request::Evidence { .. } => waiting.requests.retain(|older| !matches!(older, Request::Evidence { .. })),
                Request::Background(_) => waiting.requests.retain(|older| !matches!(older, Request::Background(_))),
                Request::Append(_) | Request::Rewrite(_) | Request::Close { .. } => {}
            }
            waiting.requests.push(request);
        }
        waiting.added += 1;
        self.arrived.notify_one();
    }

    /// Waits until all that was added has been dealt with, or for as long as `patience`.
    pub(super) fn wait(&self, patience: Duration) {
        let mut waiting = self.waiting.lock();
        let added = waiting.added;
        // Whether it was in time makes no difference to the caller.
        let _ = self.finished.wait_while_for(&mut waiting, |waiting| waiting.dealt_with < added, patience);
    }

    /// What was taken up to this number has been dealt with.
    pub(super) fn finish(&self, taken: u64) {
        self.waiting.lock().dealt_with = taken;
        self.finished.notify_all();
    }

    /// Everything that waits, as soon as something does, and the number to [`finish`](Self::finish) it with; none when
    /// the queue is closed and empty.
    pub(super) fn take(&self) -> Option<(Vec<Request>, u64)> {
        let mut waiting = self.waiting.lock();
        while waiting.requests.is_empty() && !waiting.closed {
            self.arrived.wait(&mut waiting);
        }
        let requests = std::mem::take(&mut waiting.requests);
        (!requests.is_empty()).then_some((requests, waiting.added))
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.arrived.notify_one();
    }
}
