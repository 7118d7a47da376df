//! What pingora writes to a client's stream.

use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::inbound::Awaited;
use super::{ClientStream, GATHER, Unchunk};
use crate::deadlines::Holder;
use crate::transport::Carrier;

const END_OF_LINE: &[u8] = b"\r\n";

impl<S: Carrier> AsyncWrite for ClientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        // HTTP/2 gathers its frames itself.
        if this.is_http2() {
            let count = ready!(this.poll_out(cx, buf))?;
            return Poll::Ready(this.wrote_frames(cx, &buf[..count]).map(|()| count));
        }
        let Some(mut websocket) = this.take_websocket() else { return this.poll_write_response(cx, buf) };
        let polled = this.poll_write_websocket(&mut websocket, cx, buf);
        this.websocket = Some(websocket);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if !this.is_http2() {
            let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| &**buf);
            return self.poll_write(cx, first);
        }
        let written = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        let count = ready!(this.poll_taken(cx, written))?;
        let mut left = count;
        for buf in bufs {
            let part = &buf[..left.min(buf.len())];
            left -= part.len();
            this.wrote_frames(cx, part)?;
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.is_http2() && self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.poll_taken(cx, flushed)
    }

    /// By this pingora ends a connection: what it calls is this and not its own `Shutdown`.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.inbound.awaited() == Awaited::Body || self.awaits_close() {
            // It was answered before it said all, or told to close and has not yet: it may hear that.
            self.farewell.get_or_insert_default();
            return self.poll_farewell(cx);
        }
        ready!(self.poll_send(cx))?;
        let ended = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.poll_taken(cx, ended)
    }
}

/// Whether this is the head of a response, which pingora writes in one piece, and not of one that is yet to come: several
/// heads pass the hooks before the first of them is written.
fn is_final_head(bytes: &[u8]) -> bool {
    let is_interim = |status: &[u8]| status.starts_with(b"1") && status != b"101";
    bytes.starts_with(b"HTTP/1.") && bytes.ends_with(b"\r\n\r\n") && !bytes.get(9..12).is_none_or(is_interim)
}

impl<S: Carrier> ClientStream<S> {
    /// Writes for HTTP/1.1.
    pub(super) fn poll_write_response(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.inbound.told() {
            self.read_by.clear();
        }
        if self.gathered.len() + buf.len() > GATHER {
            ready!(self.poll_send(cx))?;
        }
        let is_well = if let Some(told) = self.told.get_mut().take_if(|_| is_final_head(buf)) {
            let (fields, end) = buf.split_at(buf.len() - END_OF_LINE.len());
            [fields, &told, end].into_iter().all(|piece| self.gather(piece))
        } else if buf.len() >= GATHER && !self.unchunks.load(Ordering::Relaxed) {
            return self.poll_out(cx, buf);
        } else {
            self.gather(buf)
        };
        Poll::Ready(if is_well { Ok(buf.len()) } else { Err(io::ErrorKind::InvalidData.into()) })
    }

    /// Keeps what is to be sent with the next flush. `false` where it is not what pingora said that it would write.
    fn gather(&mut self, piece: &[u8]) -> bool {
        if self.unchunks.load(Ordering::Relaxed) {
            let unchunk = self.unchunk.get_or_insert_with(|| Box::new(Unchunk::new()));
            return unchunk.pass(piece, &mut self.gathered);
        }
        self.gathered.extend_from_slice(piece);
        true
    }

    /// So many bytes of HTTP/2 were sent.
    fn wrote_frames(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        let now = self.age_ms();
        match self.frames.as_mut().map(|frames| frames.wrote(bytes, now)) {
            Some(Err(flood)) => Err(self.end_flood(cx, flood)),
            Some(Ok(())) | None => {
                self.heed_warning();
                Ok(())
            }
        }
    }

    /// Sends, and loses patience with a client that takes nothing.
    fn poll_out(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.poll_taken(cx, written)
    }

    fn poll_taken<T>(&mut self, cx: &mut Context<'_>, taken: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if taken.is_ready() {
            self.write_by.clear();
            self.hold = None;
            return taken;
        }
        if self.hold.is_none() {
            self.hold = self.holder.lock().as_ref().map(Holder::hold);
        }
        ready!(self.write_by.poll(cx, self.timeouts.write));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }

    /// Sends what is gathered.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.gathered.len() {
            let gathered = std::mem::take(&mut self.gathered);
            let written = self.poll_out(cx, &gathered[self.sent..]);
            self.gathered = gathered;
            let count = ready!(written)?;
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
