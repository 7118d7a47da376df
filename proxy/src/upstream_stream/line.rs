//! A connection to an endpoint as bytes: plain, or with TLS.
//!
//! Plain ones are ours from the socket on: pingora's own stream would add a layer to each read (a buffer of 64 KiB that is
//! copied from, two looks at the clock). TLS is pingora's.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::Stream;
use pingora_core::upstreams::peer::{HttpPeer, Peer};
use pingora_error::{Error, ErrorType, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::dial::{Dialled, For, dial};
use crate::client_stream::deadline::Deadline;

/// A connection to an endpoint.
#[derive(Debug)]
pub(crate) struct Line {
    wire: Wire,
    /// For the endpoint to say something. Kept from one request to the next, with its timer.
    silence: Deadline,
}

/// What carries it.
#[derive(Debug)]
enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// By pingora: with TLS.
    Secured(Stream),
}

impl From<Stream> for Line {
    fn from(stream: Stream) -> Self {
        Self::over(Wire::Secured(stream))
    }
}

impl Line {
    fn over(wire: Wire) -> Self {
        Self { wire, silence: Deadline::default() }
    }

    /// A new connection to what `peer` names. Errors are those that pingora's connector makes.
    pub(crate) async fn to(peer: &HttpPeer, connector: &TransportConnector) -> Result<Self> {
        if peer.is_tls() {
            return connector.new_stream(peer).await.map(Self::from);
        }
        let wire = async {
            Ok(match dial(peer.address(), For::Requests).await? {
                Dialled::Tcp(stream) => Wire::Tcp(stream),
                Dialled::Unix(stream) => Wire::Unix(stream),
            })
        };
        let longest = peer.options.connection_timeout.unwrap_or(Duration::MAX);
        match tokio::time::timeout(longest, wire).await {
            Ok(wire) => wire.map(Self::over),
            Err(_) => {
                Err(Error::explain(ErrorType::ConnectTimedout, format!("no connection to {peer} in {longest:?}")))
            }
        }
    }

    /// Whether nothing has come on it while nothing is awaited: its end neither.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.silence.clear();
        let mut byte = [0; 1];
        let read = self.poll_read_wire(&mut Context::from_waker(Waker::noop()), &mut ReadBuf::new(&mut byte));
        matches!(read, Poll::Pending)
    }

    /// Reads; an error once the endpoint has been silent for so long, counted from the first wait after it was heard or
    /// told something.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        longest: Option<Duration>,
    ) -> Poll<io::Result<()>> {
        let read = self.poll_read_wire(cx, buf);
        if read.is_ready() {
            self.silence.clear();
        } else if let Some(longest) = longest
            && self.silence.poll(cx, longest).is_ready()
        {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, Silent)));
        }
        read
    }

    /// The endpoint may be silent from now on for as long as it may, whatever it was before.
    pub(super) fn wait_anew(&mut self) {
        self.silence.clear();
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = match &mut self.wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Secured(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        if written.is_ready() {
            self.silence.clear();
        }
        written
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Secured(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Secured(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_read_wire(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Wire::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Wire::Secured(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsRawFd for Line {
    fn as_raw_fd(&self) -> RawFd {
        match &self.wire {
            Wire::Tcp(stream) => stream.as_raw_fd(),
            Wire::Unix(stream) => stream.as_raw_fd(),
            Wire::Secured(stream) => stream.id(),
        }
    }
}

/// An endpoint said nothing for as long as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the endpoint was silent for too long")]
pub(crate) struct Silent;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(30);

    fn line() -> (Line, DuplexStream) {
        let (ours, theirs) = duplex(64);
        (Line::from(Box::new(ours) as Stream), theirs)
    }

    /// Reads a byte from an endpoint that may be silent for so long.
    async fn read(line: &mut Line, longest: Option<Duration>) -> io::Result<u8> {
        let mut byte = [0];
        poll_fn(|cx| line.poll_read(cx, &mut ReadBuf::new(&mut byte), longest)).await.map(|()| byte[0])
    }

    /// How long an endpoint was waited for that never said anything.
    async fn waited(line: &mut Line) -> Duration {
        let began = Instant::now();
        let error = read(line, Some(LONGEST)).await.unwrap_err();
        assert!(error.get_ref().unwrap().is::<Silent>());
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_says_nothing_is_waited_for_as_long_as_it_may_be_silent() {
        let (mut line, _endpoint) = line();
        assert_eq!(waited(&mut line).await.as_secs(), LONGEST.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_begins_anew_with_what_the_endpoint_says_or_is_told() {
        let (mut line, mut endpoint) = line();
        for _ in 0..3 {
            let half = tokio::time::timeout(LONGEST * 2 / 3, read(&mut line, Some(LONGEST)));
            assert!(half.await.is_err());
            endpoint.write_u8(7).await.unwrap();
            assert_eq!(read(&mut line, Some(LONGEST)).await.unwrap(), 7);
            let half = tokio::time::timeout(LONGEST * 2 / 3, read(&mut line, Some(LONGEST)));
            assert!(half.await.is_err());
            poll_fn(|cx| line.poll_write(cx, b"x")).await.unwrap();
        }
        assert_eq!(waited(&mut line).await.as_secs(), LONGEST.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_waited_for_one_request_does_not_count_for_the_next() {
        let (mut line, _endpoint) = line();
        let half = tokio::time::timeout(LONGEST * 2 / 3, read(&mut line, Some(LONGEST)));
        assert!(half.await.is_err());
        assert!(line.is_quiet());
        assert_eq!(waited(&mut line).await.as_secs(), LONGEST.as_secs());
        assert!(tokio::time::timeout(LONGEST * 10, read(&mut line, None)).await.is_err(), "no limit");
    }
}
