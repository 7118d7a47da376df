//! How a WebSocket is asked to close: by whoever ends what lasts, to the client's stream that carries it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use futures::task::AtomicWaker;

/// A client that was sent a close frame has so long to answer with its own.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Asks one WebSocket to close, once.
#[derive(Debug, Default)]
pub(crate) struct Parting {
    is_asked: AtomicBool,
    stream: AtomicWaker,
}

impl Parting {
    /// It is to close now.
    pub(crate) fn ask(&self) {
        self.is_asked.store(true, Ordering::Release);
        self.stream.wake();
    }

    /// Whether it is to close; whoever serves it is woken when that changes.
    pub(crate) fn poll(&self, waker: &Waker) -> bool {
        self.stream.register(waker);
        self.is_asked()
    }

    /// Whether it is to close.
    pub(crate) fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Acquire)
    }
}
