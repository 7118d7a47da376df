//! A thread with a runtime of its own.

use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use tokio::runtime;
use tokio::sync::watch;

/// Work on a thread of its own. Dropping it tells the work to end and waits until its sockets are closed.
#[derive(Debug)]
pub(crate) struct Background {
    stop: watch::Sender<bool>,
    /// Closes when the thread has ended.
    over: watch::Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

/// Tells the work that it should end.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// One that is told by sending `true`, or by dropping the sender.
    pub(crate) fn sign() -> (watch::Sender<bool>, Self) {
        let (tells, told) = watch::channel(false);
        (tells, Self(told))
    }

    /// Returns once the work should end.
    pub(crate) async fn wanted(&mut self) {
        // An error means that the owner is gone, which is as good as being told.
        drop(self.0.wait_for(|stop| *stop).await);
    }
}

impl Background {
    /// Runs a future on a new thread until it is done. It is given the sign to end.
    pub(crate) fn start<F>(name: String, work: impl FnOnce(Stop) -> F + Send + 'static) -> io::Result<Self>
    where
        F: Future<Output = ()>,
    {
        let (stop, wanted) = watch::channel(false);
        let (running, over) = watch::channel(());
        // The runtime is built and dropped on its own thread: dropping one inside the caller's would panic.
        let (built, ready) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name(name).spawn(move || {
            let _running = running;
            match runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => {
                    if built.send(Ok(())).is_ok() {
                        runtime.block_on(work(Stop(wanted)));
                    }
                }
                // A caller that is gone needs no error.
                Err(error) => drop(built.send(Err(error))),
            }
        })?;
        ready.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended before its work began")))?;
        Ok(Self { stop, over, thread: Some(thread) })
    }

    /// Tells the work to end.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Returns once the work is over and its sockets are closed.
    pub(crate) async fn over(&self) {
        let mut over = self.over.clone();
        while over.changed().await.is_ok() {}
    }

    /// Whether the work is over.
    pub(crate) fn is_over(&self) -> bool {
        self.over.has_changed().is_err()
    }

    /// Blocks until the work is over.
    pub(crate) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic on the thread was printed there; what it had counted is still worth reading.
            drop(thread.join());
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop();
        self.join();
    }
}
