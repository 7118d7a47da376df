//! What pingora reads of a client's stream.

use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use super::head_check::Refused;
use super::inbound::Awaited;
use super::refusal::{Farewell, LATE_BODY, LATE_HEAD};
use super::{ClientStream, KEEP};
use crate::transport::Carrier;

/// A client that waits for leave to send its body is given it after so long, where the endpoint says nothing.
const LEAVE: Duration = Duration::from_secs(1);
/// What is read at a time of what a client sends ahead.
const READ_AHEAD: usize = 1024;

impl<S: Carrier> AsyncRead for ClientStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_http2() {
            return self.poll_read_frames(cx, buf);
        }
        let Some(mut websocket) = self.take_websocket() else { return self.poll_read_request(cx, buf) };
        let polled = self.poll_read_websocket(&mut websocket, cx, buf);
        self.websocket = Some(websocket);
        polled
    }
}

impl<S: Carrier> ClientStream<S> {
    /// Reads for HTTP/1.1.
    pub(super) fn poll_read_request(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // pingora reads here when it has nothing more to write, and flushes a body of a known length at its end only: what
        // the endpoint has sent so far does not wait for the rest.
        if !self.gathered.is_empty()
            && let Poll::Ready(Err(error)) = self.poll_send(cx)
        {
            return Poll::Ready(Err(error));
        }
        if let Err(refused) = self.follow_turns() {
            self.refuse(refused);
        }
        loop {
            if self.farewell.is_some() {
                return self.poll_farewell(cx);
            }
            let count = self.inbound.ready().len().min(buf.remaining());
            if count > 0 {
                buf.put_slice(&self.inbound.ready()[..count]);
                self.inbound.gave(count);
                self.head_given = true;
                return Poll::Ready(Ok(()));
            }
            if self.inbound.is_ahead() {
                return self.poll_ahead(cx);
            }
            let before = buf.filled().len();
            let idled = self.peeked.is_empty() && self.inbound.awaited() == Awaited::Request;
            if self.peeked.is_empty() {
                match Pin::new(&mut self.inner).poll_read(cx, buf) {
                    Poll::Ready(read) => read?,
                    Poll::Pending => {
                        self.give_back_buffers();
                        self.begun.set(self.inbound.awaited() == Awaited::Head && !self.head_given);
                        ready!(self.poll_patience(cx))?;
                        continue;
                    }
                }
                if buf.filled().len() == before {
                    return Poll::Ready(Ok(()));
                }
            } else {
                let count = self.peeked.len().min(buf.remaining());
                buf.put_slice(&self.peeked[..count]);
                self.peeked.drain(..count);
            }
            let arrived = self.inbound.arrived(&buf.filled()[before..]);
            let ready = *arrived.as_ref().unwrap_or(&0);
            buf.set_filled(before + ready);
            self.begun.set(self.inbound.awaited() == Awaited::Head && !self.head_given);
            // The whole head has one deadline, which begins with its first byte.
            if idled || self.inbound.awaited() != Awaited::Head {
                self.read_by.clear();
            }
            match arrived {
                Ok(0) => {}
                Ok(_) => {
                    self.head_given = true;
                    return Poll::Ready(Ok(()));
                }
                Err(refused) if self.head_given => return Poll::Ready(Err(self.break_off(refused))),
                Err(refused) => self.refuse(refused),
            }
        }
    }

    /// Reads on behind the request under way, of which all is here: a client that sent something ahead may leave like any
    /// other, and its end comes after all that it sent. Ready where it has. What came is held until its turn, which wakes
    /// whoever reads.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let peeked = std::mem::take(&mut self.peeked);
        self.hold_ahead(&peeked)?;
        while self.inbound.has_room_ahead() {
            // pingora asks for a byte at a time here.
            let mut bytes = [0; READ_AHEAD];
            let mut buf = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.hold_ahead(buf.filled())?;
        }
        Poll::Pending
    }

    fn hold_ahead(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inbound.arrived(bytes).map(|_| ()).map_err(|refused| self.break_off(refused))
    }

    /// Where a request has ended or become a tunnel since the last read, what is read from now on is another thing.
    fn follow_turns(&mut self) -> Result<(), Refused> {
        let turn = self.turn.load(Ordering::Relaxed);
        if turn / 2 != self.turn_read / 2 {
            self.turn_read = turn;
            self.read_by.clear();
            self.head_given = false;
            if !self.inbound.next_request()? {
                self.farewell = Some(Farewell::default());
            }
        } else if self.tunnel.load(Ordering::Relaxed) {
            self.inbound.begin_tunnel();
        }
        Ok(())
    }

    /// The request under way cannot be read on: pingora learns that it failed, and the edge why.
    fn break_off(&mut self, refused: Refused) -> io::Error {
        self.refused = Some(refused);
        io::Error::new(io::ErrorKind::InvalidData, refused.why)
    }

    /// Nothing has come: waits for it, as long as what is awaited may take. Ready where that was too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let awaited = self.inbound.awaited();
        let (longest, late) = match awaited {
            Awaited::Head => (self.timeouts.head, LATE_HEAD),
            Awaited::Body => (self.timeouts.body, LATE_BODY),
            Awaited::Request => {
                let (idle, ends) = (self.timeouts.idle, self.ends());
                // No further request is waited for once the connection's life is over.
                let due = |now: Instant| ends.map_or(now + idle, |ends| ends.max(now).min(now + idle));
                ready!(self.read_by.poll_until(cx, due));
                // The end of the connection, as pingora sees it.
                self.farewell = Some(Farewell::default());
                return Poll::Ready(Ok(()));
            }
            Awaited::Leave => {
                ready!(self.read_by.poll(cx, LEAVE));
                return self.say_go_on(cx);
            }
            Awaited::Nothing => return Poll::Pending,
        };
        ready!(self.read_by.poll(cx, longest));
        if self.head_given {
            return Poll::Ready(Err(self.break_off(late)));
        }
        self.refuse(late);
        Poll::Ready(Ok(()))
    }

    /// Tells the client to send its body, in place of an endpoint that does not: it may be one that never does, and waits
    /// for the body (RFC 9110, section 10.1.1). Should it say so yet, the client hears it twice, which is legal.
    fn say_go_on(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inbound.told();
        self.read_by.clear();
        self.gathered.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        match self.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // What is not sent yet goes before whatever is written next.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    /// Tells a refused client why, and reads for a moment what it still sends: a connection that is closed on unread
    /// bytes is reset, and the answer lost with it. pingora finds the end of the connection then.
    pub(super) fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(mut farewell) = self.farewell.take() else { return Poll::Ready(Ok(())) };
        let sent = self.poll_send(cx);
        let ended = farewell.poll(cx, &mut self.inner, &sent);
        self.farewell = Some(farewell);
        ended.map(Ok)
    }

    fn give_back_buffers(&mut self) {
        let idles = self.inbound.awaited() == Awaited::Request && self.gathered.is_empty();
        if idles && self.gathered.capacity() > KEEP {
            self.gathered = Vec::new();
        }
    }

    /// Reads for HTTP/2.
    fn poll_read_frames(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.peeked.is_empty() {
            match Pin::new(&mut self.inner).poll_read(cx, buf) {
                Poll::Ready(read) => read?,
                Poll::Pending => return self.poll_patience_with_frames(cx),
            }
        } else {
            let count = self.peeked.len().min(buf.remaining());
            buf.put_slice(&self.peeked[..count]);
            self.peeked.drain(..count);
        }
        let now = self.age_ms();
        match self.frames.as_mut().map(|frames| frames.read(&buf.filled()[before..], now)) {
            Some(Err(flood)) => {
                buf.set_filled(before);
                Poll::Ready(Err(self.end_flood(cx, flood)))
            }
            Some(Ok(())) | None => {
                self.heed_warning();
                if !self.awaits_head_in_frames() {
                    self.read_by.clear();
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    fn awaits_head_in_frames(&self) -> bool {
        self.frames.as_ref().is_some_and(|frames| frames.awaits_head())
    }

    /// Nothing has come: a head that was begun is waited for as long as any. It ends the connection where it is late,
    /// since nothing can be read beyond it.
    fn poll_patience_with_frames(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.awaits_head_in_frames() {
            return Poll::Pending;
        }
        ready!(self.read_by.poll(cx, self.timeouts.head));
        // Counted with the streams that never became a request.
        self.say_goodbye(cx);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, LATE_HEAD.why)))
    }
}
