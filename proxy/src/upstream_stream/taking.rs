//! Whether an endpoint takes what it is sent.
//!
//! A write that waits tells late that the endpoint goes on: the system says so once much of its buffer is free, which may be
//! megabytes. So it is asked meanwhile what the other side has acknowledged.

use std::io;
use std::os::fd::RawFd;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pingora_core::protocols::l4::ext::get_tcp_info;
use tokio::time::Instant;

use crate::client_stream::deadline::Deadline;

/// The system is asked so often while a write waits, or eight times within its limit where that is oftener.
const LOOK: Duration = Duration::from_secs(1);

/// An endpoint took nothing of what waited for it, for as long as that may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the endpoint took nothing of the request for too long")]
pub(crate) struct Untaken;

impl From<Untaken> for io::Error {
    fn from(untaken: Untaken) -> Self {
        Self::new(io::ErrorKind::TimedOut, untaken)
    }
}

/// The wait of a write.
#[derive(Debug, Default)]
pub(super) struct Taking {
    /// When the endpoint last took something, as far as is known; none while nothing waits.
    since: Option<Instant>,
    /// What it had acknowledged by then, in bytes.
    acked: u64,
    look: Deadline,
    /// A write failed: what is known is known.
    is_over: bool,
}

impl Taking {
    /// A write waits: ready once the endpoint took nothing for so long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, fd: RawFd, longest: Duration) -> Poll<()> {
        let mut since = match self.since {
            Some(since) => since,
            None => {
                self.acked = acked(fd);
                Instant::now()
            }
        };
        loop {
            self.since = Some(since);
            let step = LOOK.min(longest / 8);
            ready!(self.look.poll_until(cx, |now| (now + step).min(since + longest)));
            self.look.clear();
            let (now, acked) = (Instant::now(), acked(fd));
            if acked != self.acked {
                (self.acked, since) = (acked, now);
            } else if now.saturating_duration_since(since) >= longest {
                return Poll::Ready(());
            }
        }
    }

    /// A write went on. Whether one had waited.
    pub(super) fn clear(&mut self) -> bool {
        self.look.clear();
        !self.is_over && self.since.take().is_some()
    }

    /// A write failed. What still seems to go well, like a flush of nothing, tells nothing.
    pub(super) const fn stop(&mut self) {
        self.is_over = true;
    }

    /// When the endpoint last took something, while something waits for it.
    pub(super) fn since(&self) -> Option<std::time::Instant> {
        self.since.map(Instant::into_std)
    }
}

/// How much of what was sent the other side has; always the same where the system does not tell.
fn acked(fd: RawFd) -> u64 {
    get_tcp_info(fd).map_or(0, |info| info.tcpi_bytes_acked)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_write_waits_for_as_long_as_told_and_what_went_on_begins_anew() {
        let mut taking = Taking::default();
        let began = Instant::now();
        let half = tokio::time::timeout(LONGEST * 2 / 3, poll_fn(|cx| taking.poll(cx, -1, LONGEST)));
        assert!(half.await.is_err());
        assert_eq!(taking.since(), Some(began.into_std()));
        assert!(taking.clear() && !taking.clear());
        assert_eq!(taking.since(), None);
        let began = Instant::now();
        poll_fn(|cx| taking.poll(cx, -1, LONGEST)).await;
        assert_eq!(began.elapsed().as_secs(), LONGEST.as_secs());
    }
}
