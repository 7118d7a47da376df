//! What arrives on an HTTP/1.1 connection: which bytes are whose.
//!
//! pingora is given a head once it is whole and well formed, and then no byte beyond the end of its request. What a
//! client sends ahead (pipelining) waits here until its turn: what belongs to which request is decided in one place,
//! and pingora, which takes early bytes for a fault, never sees any.

use super::chunks::ChunkCheck;
use super::head_check::{Framing, HeadCheck, HeadLimits, Refused};

/// What is held grows in steps of so many bytes: a slow head is to cost little.
const STEP: usize = 1024;
/// So much is held of what a client sends ahead; the rest waits in its connection, where a client that leaves is not seen
/// before its turn.
const AHEAD: usize = 16 * 1024;

/// Bytes on their way to pingora. Pure.
#[derive(Debug)]
pub(super) struct Inbound {
    limits: HeadLimits,
    reading: Reading,
    /// Reads the head, where that is what is read.
    head: HeadCheck,
    /// Read and not given to pingora yet.
    held: Vec<u8>,
    /// How much of what is held may be given.
    ready: usize,
    /// How much of it has been looked at.
    scanned: usize,
}

/// What the next byte belongs to.
#[derive(Debug)]
enum Reading {
    Head,
    Length {
        left: u64,
        awaits_leave: bool,
    },
    Chunks {
        check: Box<ChunkCheck>,
        awaits_leave: bool,
    },
    /// The next request, or a tunnel.
    Over,
    Tunnel,
}

/// What is awaited of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The first byte of a head.
    Request,
    /// The rest of a head.
    Head,
    /// More of a body.
    Body,
    /// More of a body, once the client is told to go on.
    Leave,
    /// Nothing that has a limit here.
    Nothing,
}

impl Inbound {
    pub(super) fn new(limits: HeadLimits) -> Self {
        let head = HeadCheck::new(limits);
        Self { limits, reading: Reading::Head, head, held: Vec::new(), ready: 0, scanned: 0 }
    }

    /// These bytes arrived after all that were given before. Says how many of them may go to pingora at once; the
    /// others are held. An error is for whoever sent them.
    pub(super) fn arrived(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        if !self.held.is_empty() {
            self.hold(bytes);
            self.scan_held()?;
            return Ok(0);
        }
        let (ready, scanned) = self.scan(bytes)?;
        self.hold(&bytes[ready..]);
        self.scanned = scanned - ready;
        Ok(ready)
    }

    /// Bytes that are held and may go to pingora now.
    pub(super) fn ready(&self) -> &[u8] {
        &self.held[..self.ready]
    }

    /// So many of those that are ready were given.
    pub(super) fn gave(&mut self, count: usize) {
        self.held.drain(..count);
        self.ready -= count;
        self.scanned -= count;
        if self.held.is_empty() {
            self.held = Vec::new();
        }
    }

    /// The request is over: what is held begins another. `false` where its body has not been read to its end, so that
    /// there is no telling where another begins.
    pub(super) fn next_request(&mut self) -> Result<bool, Refused> {
        if !matches!(self.reading, Reading::Over) {
            return Ok(false);
        }
        self.reading = Reading::Head;
        self.head = HeadCheck::new(self.limits);
        self.scan_held()?;
        Ok(true)
    }

    /// What follows the request is not HTTP.
    pub(super) fn begin_tunnel(&mut self) {
        if matches!(self.reading, Reading::Over) {
            self.reading = Reading::Tunnel;
            (self.ready, self.scanned) = (self.held.len(), self.held.len());
        }
    }

    /// Whether what comes is not HTTP.
    pub(super) fn is_tunnel(&self) -> bool {
        matches!(self.reading, Reading::Tunnel)
    }

    /// The client was told something: if it waited to be told to go on, it waits no more.
    /// Says whether it did.
    pub(super) fn told(&mut self) -> bool {
        match &mut self.reading {
            Reading::Length { awaits_leave, .. } | Reading::Chunks { awaits_leave, .. } => std::mem::take(awaits_leave),
            Reading::Head | Reading::Over | Reading::Tunnel => false,
        }
    }

    /// Whether more may be held of what was sent ahead.
    pub(super) fn has_room_ahead(&self) -> bool {
        self.held.len() < AHEAD
    }

    /// How many bytes are held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether there is more here than pingora may have, so that nothing needs to be read.
    pub(super) fn is_ahead(&self) -> bool {
        matches!(self.reading, Reading::Over) && !self.held.is_empty()
    }

    pub(super) fn awaited(&self) -> Awaited {
        match &self.reading {
            Reading::Head if self.held.is_empty() => Awaited::Request,
            Reading::Head => Awaited::Head,
            Reading::Length { awaits_leave: false, .. } | Reading::Chunks { awaits_leave: false, .. } => Awaited::Body,
            Reading::Length { .. } | Reading::Chunks { .. } => Awaited::Leave,
            Reading::Over | Reading::Tunnel => Awaited::Nothing,
        }
    }

    fn hold(&mut self, bytes: &[u8]) {
        if self.held.capacity() - self.held.len() < bytes.len() {
            self.held.reserve_exact(bytes.len().next_multiple_of(STEP));
        }
        self.held.extend_from_slice(bytes);
    }

    fn scan_held(&mut self) -> Result<(), Refused> {
        let held = std::mem::take(&mut self.held);
        let scanned = self.scan(&held[self.scanned..]);
        self.held = held;
        let (ready, scanned) = scanned?;
        if ready > 0 {
            self.ready = self.scanned + ready;
        }
        self.scanned += scanned;
        Ok(())
    }

    /// Reads on: how many of these bytes end what pingora may have, and how many have been looked at.
    fn scan(&mut self, bytes: &[u8]) -> Result<(usize, usize), Refused> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let (used, next) = match &mut self.reading {
                Reading::Head => match self.head.feed(rest)? {
                    None => return Ok((at, bytes.len())),
                    Some(head) => (head.used, Some(body(head.framing, head.expects, self.limits))),
                },
                Reading::Length { left, awaits_leave } => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= count as u64;
                    *awaits_leave = false;
                    (count, (*left == 0).then_some(Reading::Over))
                }
                Reading::Chunks { check, awaits_leave } => {
                    *awaits_leave = false;
                    (check.feed(rest)?, check.is_whole().then_some(Reading::Over))
                }
                Reading::Over => break,
                Reading::Tunnel => (rest.len(), None),
            };
            at += used;
            if let Some(next) = next {
                self.reading = next;
            }
        }
        Ok((at, at))
    }
}

/// What follows a head.
fn body(framing: Framing, awaits_leave: bool, limits: HeadLimits) -> Reading {
    match framing {
        Framing::Empty => Reading::Over,
        Framing::Length(left) => Reading::Length { left, awaits_leave },
        Framing::Chunked => Reading::Chunks { check: Box::new(ChunkCheck::new(limits)), awaits_leave },
    }
}

#[cfg(test)]
mod tests;
