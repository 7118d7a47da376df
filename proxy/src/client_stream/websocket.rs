//! A WebSocket that has to close although neither end wants to: its version has left, or the process ends.
//!
//! The client gets a close frame as soon as the frame is over that is just being sent to it; what the endpoint says after
//! that is dropped. What the client says goes on to the endpoint, its own close frame among it, with which the tunnel ends.
//! A client that does not answer in time is left, and the endpoint is told in its place. Where the bytes turn out not to be
//! frames, the tunnel ends at once. (RFC 6455, sections 5.5.1 and 7.)

mod frames;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;

use self::frames::Frames;
use super::ClientStream;
use super::deadline::Deadline;
use crate::parting::{PATIENCE, Parting};
use crate::transport::Carrier;

/// "Going away, such as a server going down." Of the codes on which clients come again the one that all of them know: 1012
/// (service restart) is younger than the protocol, and an error to some.
const GOING_AWAY: u16 = 1001;
const WHY: &[u8] = b"leaving: connect again";

/// What follows the head of a 101, by which the frames begin.
const END_OF_HEAD: &[u8; 4] = b"\r\n\r\n";

/// What goes by in a tunnel that is a WebSocket, and how far its end has come.
#[derive(Debug)]
pub(super) struct WebSocket {
    parting: Arc<Parting>,
    /// How much of the end of the head of the 101 was written just now.
    head: usize,
    to_client: Frames,
    from_client: Frames,
    stage: Stage,
    patience: Deadline,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing is known of an end.
    Open,
    /// The client was told, by us or by the endpoint.
    Said,
    /// The endpoint was told in the place of a client that does not answer.
    Told,
}

impl WebSocket {
    pub(super) fn new(parting: Arc<Parting>) -> Self {
        Self {
            parting,
            head: 0,
            to_client: Frames::of_endpoint(),
            from_client: Frames::of_client(),
            stage: Stage::Open,
            patience: Deadline::default(),
        }
    }

    /// What the client is sent now, where it is time to tell it: between two frames, once, and not where the endpoint has.
    fn goodbye(&mut self) -> Option<Vec<u8>> {
        let is_time = self.stage == Stage::Open && self.has_begun() && self.to_client.is_between();
        if !is_time || !self.parting.is_asked() {
            return None;
        }
        self.stage = Stage::Said;
        (!self.to_client.has_closed()).then(|| frames::close(GOING_AWAY, WHY, None))
    }

    /// What the endpoint is sent at last, where its client has not answered.
    fn goodbye_to_endpoint(&mut self) -> Option<Vec<u8>> {
        self.stage = Stage::Told;
        let may_be_told = self.from_client.is_between() && !self.from_client.has_closed();
        may_be_told.then(|| frames::close(GOING_AWAY, WHY, Some(fastrand::u32(..).to_ne_bytes())))
    }

    /// How many of these bytes for the client it still gets; the others, if any, are dropped.
    fn passes(&self, bytes: &[u8]) -> usize {
        match self.stage {
            Stage::Open if !self.has_begun() || !self.parting.is_asked() => bytes.len(),
            // The end of the frame under way.
            Stage::Open => self.to_client.rest(bytes),
            Stage::Said | Stage::Told => 0,
        }
    }

    /// The client was sent this.
    fn wrote(&mut self, mut bytes: &[u8]) {
        while !self.has_begun()
            && let Some((first, rest)) = bytes.split_first()
        {
            self.head = match *first {
                byte if byte == END_OF_HEAD[self.head] => self.head + 1,
                b'\r' => 1,
                _ => 0,
            };
            bytes = rest;
        }
        self.to_client.pass(bytes);
    }

    /// Whether the head of the 101 was written, so that frames follow.
    const fn has_begun(&self) -> bool {
        self.head == END_OF_HEAD.len()
    }

    /// Whether there is nothing left to wait for.
    fn is_over(&self) -> bool {
        self.stage == Stage::Told
            || self.from_client.has_closed()
            || self.from_client.is_lost()
            || self.to_client.is_lost()
    }

    /// Whether the client was told, and has not answered.
    fn awaits_answer(&self) -> bool {
        self.stage != Stage::Open && !self.from_client.has_closed()
    }
}

impl<S: Carrier> ClientStream<S> {
    /// The WebSocket that the tunnel is, if it is one.
    pub(super) fn take_websocket(&mut self) -> Option<Box<WebSocket>> {
        if let Some(parting) = self.parting.get_mut().take() {
            return Some(Box::new(WebSocket::new(parting)));
        }
        self.websocket.take()
    }

    /// Whether the client was told to close, and has not answered.
    pub(super) fn awaits_close(&self) -> bool {
        self.websocket.as_ref().is_some_and(|websocket| websocket.awaits_answer())
    }

    pub(super) fn poll_read_websocket(
        &mut self,
        websocket: &mut WebSocket,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if websocket.parting.poll(cx.waker()) {
            self.gathered.extend(websocket.goodbye().unwrap_or_default());
            let is_gone = match self.poll_send(cx) {
                Poll::Ready(Ok(())) => matches!(Pin::new(&mut self.inner).poll_flush(cx), Poll::Ready(Err(_))),
                Poll::Ready(Err(_)) => true,
                Poll::Pending => false,
            };
            if is_gone || websocket.is_over() {
                // The end of the tunnel, as pingora sees it.
                return Poll::Ready(Ok(()));
            }
            if websocket.patience.poll(cx, PATIENCE).is_ready() {
                let frame = websocket.goodbye_to_endpoint().unwrap_or_default();
                if frame.len() <= buf.remaining() {
                    buf.put_slice(&frame);
                }
                return Poll::Ready(Ok(()));
            }
        }
        let before = buf.filled().len();
        ready!(self.poll_read_request(cx, buf))?;
        if self.inbound.is_tunnel() {
            websocket.from_client.pass(&buf.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_write_websocket(
        &mut self,
        websocket: &mut WebSocket,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let passes = websocket.passes(buf);
        let count = match passes {
            // Nobody reads it any more.
            0 => buf.len(),
            _ => {
                let count = ready!(self.poll_write_response(cx, &buf[..passes]))?;
                websocket.wrote(&buf[..count]);
                count
            }
        };
        self.gathered.extend(websocket.goodbye().unwrap_or_default());
        Poll::Ready(Ok(count))
    }
}

#[cfg(test)]
mod tests;
