//! An endpoint's connection of HTTP/1.1 as pingora reads and writes it, for one request: our own IO type.
//!
//! It brings what pingora's own stream cannot give (docs/decisions/0034):
//! - heads and chunks are checked in their bytes ([`response_head`], and [`chunks`](crate::client_stream::chunks) of the
//!   client's side) before pingora has any: a response that pingora would repair is refused, and charged to its version;
//! - pingora never has a byte beyond the response;
//! - connections that wait for their next request cost little ([`pool`]).
//!
//! TLS is below it: what is read here is plain.

mod as_pingora_asks;
#[cfg(test)]
mod corpus;
mod dial;
pub(crate) mod flaw;
mod inbound;
mod line;
mod link;
mod pool;
pub(crate) mod response_head;
mod taking;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(crate) use self::dial::For;
pub use self::flaw::Flaw;
pub(crate) use self::flaw::{FlawCounts, Malformed};
use self::inbound::Inbound;
pub(crate) use self::line::{Line, Silent};
pub(crate) use self::link::{Asked, Link};
pub(crate) use self::pool::Pool;
use self::taking::Taking;
pub(crate) use self::taking::Untaken;

/// The pieces of a chunk are gathered up to this many bytes.
const GATHER: usize = 16 * 1024;
const END_OF_LINE: &[u8] = b"\r\n";

/// An endpoint's connection while it carries one request.
pub(crate) struct UpstreamStream {
    /// None once it is given back.
    inner: Option<Line>,
    inbound: Inbound,
    /// Which way it goes, and for what.
    link: Arc<Link>,
    /// The request's head was written.
    is_told: bool,
    /// Written and not sent, from `sent` on.
    gathered: Vec<u8>,
    sent: usize,
    /// What was wrong with the response: nothing is read any more.
    malformed: Option<Malformed>,
    /// How long the endpoint may say nothing, as far as is known.
    silence: Option<Duration>,
    taking: Taking,
    /// The endpoint took nothing of the request for too long: nothing more is written.
    is_untaken: bool,
    /// pingora has read on after the response's end, which it does before it would keep the connection.
    is_released: bool,
    /// pingora has ended it.
    is_ended: bool,
}

impl fmt::Debug for UpstreamStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamStream").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl UpstreamStream {
    fn new(inner: Line, link: Arc<Link>) -> Self {
        Self {
            inner: Some(inner),
            inbound: Inbound::new(link.asked.limits, link.asked.is_head),
            silence: link.silence(),
            link,
            is_told: false,
            gathered: Vec::new(),
            sent: 0,
            malformed: None,
            taking: Taking::default(),
            is_untaken: false,
            is_released: false,
            is_ended: false,
        }
    }

    /// The response was read and its connection may carry another, as far as HTTP says.
    pub(crate) fn release(&mut self) {
        self.is_released = self.inbound.is_over();
    }

    fn inner(&mut self) -> io::Result<&mut Line> {
        self.inner.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Sends the request's head, which pingora writes in one piece, and in it, behind all other fields, what else the
    /// origin is told.
    fn poll_write_head(&mut self, cx: &mut Context<'_>, head: &[u8]) -> Poll<io::Result<usize>> {
        if self.gathered.is_empty() {
            let Some(fields) = head.strip_suffix(END_OF_LINE).filter(|fields| fields.ends_with(END_OF_LINE)) else {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "not the head of a request")));
            };
            let told = self.link.take_told();
            self.gathered.reserve_exact(head.len() + told.len());
            self.gathered.extend_from_slice(fields);
            self.gathered.extend_from_slice(&told);
            self.gathered.extend_from_slice(END_OF_LINE);
        }
        ready!(self.poll_send(cx))?;
        self.is_told = true;
        Poll::Ready(Ok(head.len()))
    }

    /// Sends what was gathered.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.gathered.len() {
            let Some(inner) = self.inner.as_mut() else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
            let written = inner.poll_write(cx, &self.gathered[self.sent..]);
            let sent = ready!(self.poll_taken(cx, written))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        self.gathered.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// What a write comes to: an error where it waits and the endpoint took nothing for as long as it may.
    fn poll_taken<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match written {
            Poll::Ready(Ok(_)) => {
                if self.taking.clear() {
                    self.link.set_untaken_since(None);
                }
                written
            }
            Poll::Ready(Err(_)) => {
                self.taking.stop();
                written
            }
            Poll::Pending => {
                let (Some(longest), Some(fd)) = (self.link.asked.uptake, self.link.fd()) else { return written };
                let taken = self.taking.poll(cx, fd, longest);
                self.link.set_untaken_since(self.taking.since());
                ready!(taken);
                self.taking.stop();
                self.is_untaken = true;
                // What it says now is a response as any other.
                self.link.is_told_all();
                Poll::Ready(Err(Untaken.into()))
            }
        }
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(malformed) = this.malformed {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, malformed)));
        }
        loop {
            let ready = this.inbound.ready();
            if !ready.is_empty() {
                let count = ready.len().min(buf.remaining());
                buf.put_slice(&ready[..count]);
                this.inbound.gave(count);
                return Poll::Ready(Ok(()));
            }
            if this.inbound.is_over() {
                // The end, as pingora sees it: it keeps no connection that has ended, and so this one comes back to us.
                this.is_released = true;
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            let silence = this.link.silence();
            if silence != this.silence {
                // The wait may have begun before it was known what comes, or before the request was whole.
                this.silence = silence;
                this.inner()?.wait_anew();
            }
            match this.inner()?.poll_read(cx, buf, silence) {
                Poll::Ready(read) => read?,
                // It may have answered before it took no more.
                Poll::Pending if this.is_untaken && this.inbound.awaits_head() => {
                    return Poll::Ready(Err(Untaken.into()));
                }
                Poll::Pending => return Poll::Pending,
            }
            if buf.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
            let arrived = this.inbound.arrived(&buf.filled()[before..]);
            buf.set_filled(before + *arrived.as_ref().unwrap_or(&0));
            match arrived {
                Ok(0) => {}
                Ok(_) => return Poll::Ready(Ok(())),
                Err(malformed) => {
                    this.malformed = Some(malformed);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, malformed)));
                }
            }
        }
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.is_told {
            return this.poll_write_head(cx, bytes);
        }
        if !this.link.asked.in_chunks || (this.gathered.is_empty() && bytes.len() >= GATHER) {
            let written = this.inner()?.poll_write(cx, bytes);
            return this.poll_taken(cx, written);
        }
        if this.gathered.len() + bytes.len() > GATHER {
            ready!(this.poll_send(cx))?;
        }
        let count = bytes.len().min(GATHER);
        this.gathered.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        let flushed = this.inner()?.poll_flush(cx);
        this.poll_taken(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.is_ended = true;
        ready!(this.poll_send(cx))?;
        this.inner()?.poll_shutdown(cx)
    }
}

impl VirtualSocket for UpstreamStream {
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        // pingora's connector has set them on the socket itself.
        Ok(())
    }
}

impl Drop for UpstreamStream {
    fn drop(&mut self) {
        let Link { pool, at, asked, .. } = &*self.link;
        if self.inbound.has_surplus() {
            at.malformed(Flaw::Surplus);
            return;
        }
        let is_at_rest = self.is_released && !self.is_ended && !self.is_untaken && self.gathered.is_empty();
        // One that went apart is nobody else's.
        if is_at_rest
            && !asked.is_apart
            && let Some(inner) = self.inner.take()
        {
            pool.put(at.pool_key(), inner, self.link.rest());
        }
    }
}

#[cfg(test)]
mod tests;
