//! What a client gets whose request is not read any further, and how its connection is left.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::deadline::Deadline;
use super::frames::Flood;
use super::head_check::{HeadLimits, Refused};

/// For so long, and so many bytes, a client that is answered before it has said all is listened to, and not heard.
const LINGER: Duration = Duration::from_secs(1);
const MOST_DISCARDED: usize = 8 * 1024 * 1024;

pub(super) const LATE_HEAD: Refused = Refused { status: 408, why: "the request head did not arrive whole in time" };
pub(super) const LATE_BODY: Refused = Refused { status: 408, why: "the client stopped in its body" };

/// The answer as it is sent.
pub(super) fn answer(refused: Refused) -> String {
    let Refused { status, why } = refused;
    let reason =
        http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error");
    let body = format!("{status}: {why}\n");
    let length = body.len();
    format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\n\
         cache-control: no-store\r\nconnection: close\r\n\r\n{body}"
    )
}

/// How far a refused client has been left.
#[derive(Debug, Default)]
pub(super) struct Farewell {
    until: Deadline,
    is_said: bool,
    discarded: usize,
}

impl Farewell {
    /// Ends our half of the connection once the answer is `sent`, and waits a moment for the client to end its own.
    pub(super) fn poll<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        inner: &mut S,
        sent: &Poll<io::Result<()>>,
    ) -> Poll<()> {
        let is_late = self.until.poll(cx, LINGER).is_ready();
        match sent {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Pending if is_late => return Poll::Ready(()),
            Poll::Pending => return Poll::Pending,
        }
        if !self.is_said && Pin::new(&mut *inner).poll_shutdown(cx).is_ready() {
            self.is_said = true;
        }
        while !is_late && self.discarded < MOST_DISCARDED {
            let mut scrap = [0; 2048];
            let mut buf = ReadBuf::new(&mut scrap);
            let read = ready!(Pin::new(&mut *inner).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                break;
            }
            self.discarded += buf.filled().len();
        }
        Poll::Ready(())
    }
}

impl Flood {
    /// What the client did too much of.
    pub(super) const fn why(self) -> &'static str {
        match self {
            Self::Resets => "too many HTTP/2 streams were reset",
            Self::Glitches => "too many HTTP/2 frames that carry nothing",
        }
    }
}

impl From<&config::Limits> for HeadLimits {
    fn from(limits: &config::Limits) -> Self {
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self { line: size(limits.request_line.get()), head: size(limits.head.get()), fields: size(limits.headers) }
    }
}
