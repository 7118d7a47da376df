//! The client's connection as pingora reads and writes it: our own IO type.
//!
//! It brings what pingora's own stream cannot give on a plain listener (docs/decisions/0003):
//! - small responses leave in one send: writes are gathered until the flush;
//! - a deadline for the whole request head, however slowly its bytes drip;
//! - the decision between HTTP/1.1 and HTTP/2 prior knowledge after as few bytes as tell them apart, under the same
//!   deadline;
//! - no buffer is held while a connection idles.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use meter::{Class, ServiceMeter};
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until, timeout, timeout_at};

use crate::connection::Connection;
use crate::transport::Carrier;

/// What an HTTP/2 client with prior knowledge sends first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Writes are gathered up to this many bytes.
const GATHER: usize = 16 * 1024;
/// A write buffer up to this size is kept while the connection idles.
const KEEP: usize = 1024;
const TIMED_OUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// How long clients may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// For a whole request head, from its first byte; 10 s.
    pub head: Duration,
    /// For the first byte on a new connection, and between requests; 75 s.
    pub idle: Duration,
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        Self { head: Duration::from_secs(10), idle: Duration::from_secs(75) }
    }
}

/// Where requests that never reached a service are counted.
#[derive(Debug, Clone)]
pub struct Unmatched {
    /// The meter of what matches no service.
    pub meter: Arc<ServiceMeter>,
    /// The core that writes.
    pub core: usize,
}

/// A client's connection.
pub struct ClientStream<S: Carrier> {
    inner: S,
    id: UniqueIDType,
    socket: Option<Arc<SocketDigest>>,
    connection: Option<Arc<ProxyDigest>>,
    timeouts: ClientTimeouts,
    unmatched: Unmatched,
    /// Bytes that were read to tell the protocol and not given to pingora yet.
    peeked: Vec<u8>,
    /// Gathered writes, from `sent` on.
    gathered: Vec<u8>,
    sent: usize,
    /// Odd while a request is under way (and for HTTP/2, where pingora frames requests), even while a head is awaited
    /// or read; grows at each change.
    turn: AtomicU32,
    /// The turn that `head_due` belongs to.
    turn_of_head: u32,
    /// When the head that is being read must be whole; none before its first byte.
    head_due: Option<Instant>,
    /// Wakes the reader at `head_due`; made only when a head comes in more than one piece.
    alarm: Option<Pin<Box<Sleep>>>,
    http2: bool,
}

impl<S: Carrier> fmt::Debug for ClientStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream").field("id", &self.id).field("http2", &self.http2).finish_non_exhaustive()
    }
}

impl<S: Carrier> ClientStream<S> {
    /// Wraps a connection that a client made. `id` tells it from other open ones (its file descriptor);
    /// `socket` is what pingora may read of the socket.
    pub fn new(
        inner: S,
        id: UniqueIDType,
        socket: Option<Arc<SocketDigest>>,
        timeouts: ClientTimeouts,
        unmatched: Unmatched,
    ) -> Self {
        Self {
            inner,
            id,
            socket,
            connection: None,
            timeouts,
            unmatched,
            peeked: Vec::new(),
            gathered: Vec::new(),
            sent: 0,
            turn: AtomicU32::new(0),
            turn_of_head: 0,
            head_due: None,
            alarm: None,
            http2: false,
        }
    }

    /// The same stream, of which every request knows this.
    #[must_use]
    pub fn with_connection(mut self, connection: Connection) -> Self {
        self.connection = Some(connection.into_digest());
        self
    }

    /// The head of a request is whole: what is read now is its body.
    pub fn begin_request(&self) {
        self.turn.fetch_or(1, Ordering::Relaxed);
    }

    /// The request is over: the next byte begins another head.
    pub fn end_request(&self) {
        if !self.http2 && self.turn.load(Ordering::Relaxed) % 2 == 1 {
            self.turn.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reads the connection's first bytes, as many as tell whether it is HTTP/2, and keeps them for pingora. Waits for
    /// the first one as long as a connection may idle. To be called once, before pingora has the stream.
    pub async fn learn_protocol(&mut self) -> io::Result<()> {
        let first = read_some(&mut self.inner, &mut self.peeked, PREFACE.len());
        if timeout(self.timeouts.idle, first).await?? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let due = Instant::now() + self.timeouts.head;
        self.head_due = Some(due);
        while self.peeked.len() < PREFACE.len() && PREFACE.starts_with(&self.peeked) {
            let missing = PREFACE.len() - self.peeked.len();
            let more = read_some(&mut self.inner, &mut self.peeked, missing);
            match timeout_at(due, more).await {
                // The client ended: HTTP/1.1 will find what is wrong with what there is.
                Ok(Ok(0)) => break,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    let answered = self.inner.write_all(TIMED_OUT);
                    // A client that does not read is not waited for.
                    let _ = timeout(Duration::ZERO, answered).await;
                    return Err(self.count_late_head());
                }
            }
        }
        // What a TLS handshake agreed on holds, whatever comes then.
        self.http2 = self.inner.alpn().map_or(self.peeked == PREFACE, |agreed| agreed == ALPN::H2);
        if self.http2 {
            self.begin_request();
        }
        Ok(())
    }

    fn count_late_head(&self) -> io::Error {
        self.unmatched.meter.count(self.unmatched.core, Class::Local);
        io::Error::new(io::ErrorKind::TimedOut, "the request head was not whole in time")
    }

    /// Keeps time while a head is read: `Err` once it is too late.
    fn watch_head(&mut self, cx: &mut Context<'_>, waiting: bool) -> io::Result<()> {
        let Some(due) = self.head_due else { return Ok(()) };
        if Instant::now() >= due {
            // Best effort: whoever drips a head seldom reads.
            let _ = Pin::new(&mut self.inner).poll_write(cx, TIMED_OUT);
            return Err(self.count_late_head());
        }
        if waiting {
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
            alarm.as_mut().reset(due);
            if alarm.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Ok(())
    }

    /// Sends what is gathered.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.gathered.len() {
            let count = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.gathered[self.sent..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += count;
        }
        self.gathered.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

/// Reads what is there, up to `most` bytes; 0 at the end.
async fn read_some(inner: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    inner.take(most as u64).read_buf(into).await
}

impl<S: Carrier> Drop for ClientStream<S> {
    /// A head whose body never came is sent all the same, where the system takes it at once: a client that got nothing
    /// would take the connection for a stale one, and ask again.
    fn drop(&mut self) {
        let _ = self.poll_send(&mut Context::from_waker(std::task::Waker::noop()));
    }
}

impl<S: Carrier> AsyncRead for ClientStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.peeked.is_empty() {
            let count = this.peeked.len().min(buf.remaining());
            buf.put_slice(&this.peeked[..count]);
            this.peeked.drain(..count);
            if this.peeked.is_empty() {
                this.peeked = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        let turn = this.turn.load(Ordering::Relaxed);
        if turn != this.turn_of_head {
            this.turn_of_head = turn;
            this.head_due = None;
        }
        if turn % 2 == 1 {
            return Pin::new(&mut this.inner).poll_read(cx, buf);
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                if buf.filled().len() > before && this.head_due.is_none() {
                    this.head_due = Some(Instant::now() + this.timeouts.head);
                } else {
                    this.watch_head(cx, false)?;
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                if this.head_due.is_none() && this.gathered.is_empty() && this.gathered.capacity() > KEEP {
                    this.gathered = Vec::new();
                }
                this.watch_head(cx, true)?;
                Poll::Pending
            }
        }
    }
}

impl<S: Carrier> AsyncWrite for ClientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        // HTTP/2 gathers its frames itself.
        if this.http2 {
            return Pin::new(&mut this.inner).poll_write(cx, buf);
        }
        if this.gathered.len() + buf.len() > GATHER {
            ready!(this.poll_send(cx))?;
        }
        if buf.len() >= GATHER {
            return Pin::new(&mut this.inner).poll_write(cx, buf);
        }
        this.gathered.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.http2 {
            return Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        }
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| &**buf);
        self.poll_write(cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.http2 && self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[async_trait]
impl<S: Carrier + Send + Sync> Peek for ClientStream<S> {
    /// Fills `buf` with the connection's first bytes, as many as tell whether it is HTTP/2 (the rest stays as it
    /// was). Must not answer "cannot": pingora would take the connection for HTTP/2.
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        if self.peeked.is_empty() {
            self.learn_protocol().await?;
        }
        let count = self.peeked.len().min(buf.len());
        buf[..count].copy_from_slice(&self.peeked[..count]);
        Ok(true)
    }
}

#[async_trait]
impl<S: Carrier + Send + Sync> Shutdown for ClientStream<S> {
    async fn shutdown(&mut self) {
        // The client may be gone already.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl<S: Carrier> UniqueID for ClientStream<S> {
    fn id(&self) -> UniqueIDType {
        self.id
    }
}

impl<S: Carrier> Ssl for ClientStream<S> {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.tls_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.alpn()
    }
}

impl<S: Carrier> GetTimingDigest for ClientStream<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl<S: Carrier> GetProxyDigest for ClientStream<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.connection.clone()
    }
}

impl<S: Carrier> GetSocketDigest for ClientStream<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.socket.clone()
    }
}

#[cfg(test)]
mod tests;
