//! A moment by which something must have happened, and a timer that is made only when it is waited for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Runs from the first time that it is polled in vain until it is cleared.
#[derive(Debug, Default)]
pub(crate) struct Deadline {
    due: Option<Instant>,
    /// Kept from one wait to the next, and set anew only where it would come too late, or came too early: nearly every
    /// wait ends long before its deadline, and a timer costs as much as a small request's whole check.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// It runs already.
    pub(crate) fn set(&mut self, due: Instant) {
        self.due = Some(due);
    }

    /// What was waited for has happened.
    pub(crate) fn clear(&mut self) {
        self.due = None;
    }

    /// Ready once it is too late; else wakes the task then. Begins to run for `longest` where it does not run.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, longest: Duration) -> Poll<()> {
        self.poll_until(cx, |now| now + longest)
    }

    /// As [`poll`](Self::poll), until the moment that `due` tells of the present one.
    pub(crate) fn poll_until(&mut self, cx: &mut Context<'_>, due: impl FnOnce(Instant) -> Instant) -> Poll<()> {
        let due = *self.due.get_or_insert_with(|| due(Instant::now()));
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if alarm.deadline() > due {
            alarm.as_mut().reset(due);
        }
        loop {
            ready!(alarm.as_mut().poll(cx));
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            // It was set for an earlier wait, of those that follow each other on a busy connection.
            alarm.as_mut().reset(due);
        }
    }
}
