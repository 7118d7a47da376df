//! What waits for the journal's thread.

use parking_lot::{Condvar, Mutex};

use crate::journal::Request;

/// Requests for the journal. Evidence waits at most once, the latest, so that a disk that hangs costs no memory; the
/// core sends nothing else to a journal that does not answer.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    requests: Vec<Request>,
    closed: bool,
}

impl Queue {
    /// Adds requests, in order.
    pub(super) fn push(&self, requests: Vec<Request>) {
        if requests.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock();
        for request in requests {
            if matches!(request, Request::Evidence(_)) {
                waiting.requests.retain(|older| !matches!(older, Request::Evidence(_)));
            }
            waiting.requests.push(request);
        }
        self.arrived.notify_one();
    }

    /// Everything that waits, as soon as something does; none when the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Vec<Request>> {
        let mut waiting = self.waiting.lock();
        while waiting.requests.is_empty() && !waiting.closed {
            self.arrived.wait(&mut waiting);
        }
        let requests = std::mem::take(&mut waiting.requests);
        (!requests.is_empty()).then_some(requests)
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.arrived.notify_one();
    }
}
