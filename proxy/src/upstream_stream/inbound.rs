//! What arrives from an endpoint: which bytes are the response's, and whether they are what HTTP says.
//!
//! pingora is given a head once it is whole and well formed, and then no byte beyond the response's end.

use crate::client_stream::chunks::ChunkCheck;
use crate::client_stream::field_check::Extent;
use crate::client_stream::head_check::HeadLimits;

use super::flaw::{Flaw, Malformed};
use super::response_head::{ResponseHead, ResponseHeadCheck};

/// Bytes of one response on their way to pingora, interim heads included. Pure.
#[derive(Debug)]
pub(crate) struct Inbound {
    limits: HeadLimits,
    /// The request was a HEAD: whatever the head says, no body follows.
    asks_head: bool,
    reading: Reading,
    /// Reads the head, where that is what is read.
    head: ResponseHeadCheck,
    /// Of a head that came in pieces: looked at, and not given to pingora yet.
    held: Vec<u8>,
    /// How much of what is held may be given.
    ready: usize,
    has_surplus: bool,
}

/// What the next byte belongs to.
#[derive(Debug)]
enum Reading {
    Head,
    Length(u64),
    Chunks(Box<ChunkCheck>),
    /// The body ends with the connection.
    ToTheEnd,
    /// It is not HTTP any more.
    Tunnel,
    Over,
}

impl Inbound {
    /// Awaits the response to a request. `asks_head`: to a HEAD.
    pub(crate) fn new(limits: HeadLimits, asks_head: bool) -> Self {
        let head = ResponseHeadCheck::new(limits);
        Self { limits, asks_head, reading: Reading::Head, head, held: Vec::new(), ready: 0, has_surplus: false }
    }

    /// These bytes arrived after all that were given before. Says how many of them may go to pingora at once; others
    /// may be [`ready`](Self::ready) then. An error is the endpoint's, and nothing of these bytes is of any use.
    pub(crate) fn arrived(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let ready = self.scan(bytes)?;
        let is_partial = matches!(self.reading, Reading::Head);
        if self.held.is_empty() {
            if is_partial {
                self.held.extend_from_slice(&bytes[ready..]);
            }
            return Ok(ready);
        }
        if ready > 0 {
            self.ready = self.held.len() + ready;
        }
        self.held.extend_from_slice(if is_partial { bytes } else { &bytes[..ready] });
        Ok(0)
    }

    /// Bytes that were held and may go to pingora now.
    pub(crate) fn ready(&self) -> &[u8] {
        &self.held[..self.ready]
    }

    /// So many of those that are ready were given.
    pub(crate) fn gave(&mut self, count: usize) {
        self.held.drain(..count);
        self.ready -= count;
        if self.held.is_empty() {
            self.held = Vec::new();
        }
    }

    /// Whether the response is whole: nothing more may come.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.reading, Reading::Over)
    }

    /// Whether the head is still to come, or the rest of it.
    pub(crate) const fn awaits_head(&self) -> bool {
        matches!(self.reading, Reading::Head)
    }

    /// Whether something came after its end.
    pub(crate) const fn has_surplus(&self) -> bool {
        self.has_surplus
    }

    /// Reads on: where what pingora may have ends.
    fn scan(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let (used, next) = match &mut self.reading {
                Reading::Head => match self.head.feed(rest)? {
                    None => return Ok(at),
                    Some(head) => (head.used, Some(self.after(head))),
                },
                Reading::Length(left) => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= count as u64;
                    (count, (*left == 0).then_some(Reading::Over))
                }
                Reading::Chunks(check) => {
                    let used = check.feed(rest).map_err(|refused| Malformed {
                        flaw: if refused.status == 431 { Flaw::TooLarge } else { Flaw::Chunks },
                        why: refused.why,
                    })?;
                    (used, check.is_whole().then_some(Reading::Over))
                }
                Reading::ToTheEnd | Reading::Tunnel => return Ok(bytes.len()),
                Reading::Over => {
                    self.has_surplus = true;
                    return Ok(at);
                }
            };
            at += used;
            if let Some(next) = next {
                self.reading = next;
            }
        }
        Ok(at)
    }

    /// What follows a head (RFC 9112, section 6.3).
    fn after(&mut self, head: ResponseHead) -> Reading {
        match (head.status, head.extent) {
            (101, _) => Reading::Tunnel,
            (100..200, _) => {
                self.head = ResponseHeadCheck::new(self.limits);
                Reading::Head
            }
            (204 | 304, _) => Reading::Over,
            _ if self.asks_head => Reading::Over,
            (_, Extent::Length(0)) => Reading::Over,
            (_, Extent::Length(length)) => Reading::Length(length),
            (_, Extent::Chunked) => Reading::Chunks(Box::new(ChunkCheck::new(self.limits))),
            (_, Extent::Unsaid) => Reading::ToTheEnd,
        }
    }
}

#[cfg(test)]
mod tests;
