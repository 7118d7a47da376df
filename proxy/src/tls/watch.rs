//! Looks at the files of all listeners once a second, on a thread of its own: reading a file may take long.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use super::Tls;

const LOOK: Duration = Duration::from_secs(1);

/// The thread that looks. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins; where there is nothing to look at, there is no thread.
    pub(crate) fn begin(watched: Vec<Arc<Tls>>) -> io::Result<Self> {
        if watched.is_empty() {
            return Ok(Self { end: None, thread: None });
        }
        let (end, ended) = mpsc::channel();
        let look = move || {
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                let now = SystemTime::now();
                watched.iter().for_each(|tls| tls.look(now));
            }
        };
        let thread = thread::Builder::new().name("tidegate-certificates".into()).spawn(look)?;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}
