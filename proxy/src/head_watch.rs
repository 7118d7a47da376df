//! Ends an attempt whose response head does not come in time, where pingora's own limit is too wide.
//!
//! pingora has one limit for every read of a response, head and body alike. A stream of events or a tunnel may be
//! silent for long once it has begun, so it is given a wide one; this is what then bounds the wait for its head.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use tokio::task::JoinHandle;

/// A limit on the wait for a head; forgotten when dropped.
#[derive(Debug)]
pub(crate) struct HeadWatch {
    alarm: JoinHandle<()>,
    ended: Arc<AtomicBool>,
}

impl HeadWatch {
    /// Shuts the connection `fd` down after `limit`, so that whoever reads from it finds its end.
    ///
    /// The descriptor cannot be another's by then. The watch lives in the context of the request, on the one thread of
    /// its core; the connection is open for as long as its attempt is, and whatever ends the attempt drops the watch on
    /// that same thread before the connection can be closed or given back.
    pub(crate) fn begin(fd: RawFd, limit: Duration) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ended);
        let alarm = tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            told.store(true, Ordering::Relaxed);
            // An error means that it has ended already: that is what was wanted.
            let _ = shutdown(fd, Shutdown::Both);
        });
        Self { alarm, ended }
    }

    /// Whether it was this that ended the attempt.
    pub(crate) fn has_ended_it(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

impl Drop for HeadWatch {
    fn drop(&mut self) {
        self.alarm.abort();
    }
}
