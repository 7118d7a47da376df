//! Whether a response head of HTTP/1.1 is well formed, found in its bytes as they arrive.
//!
//! The counterpart of [`head_check`](crate::client_stream::head_check), by the same rules for fields: pingora repairs
//! some of what it parses, and a canary whose responses need repair is to be known for it.
//!
//! Pure: bytes in, a verdict out, however the bytes are cut. Nothing is allocated.

use crate::client_stream::characters::value_run;
use crate::client_stream::field_check::{Extent, FieldCheck};
use crate::client_stream::field_lines::{BARE_CR, FieldLines};
use crate::client_stream::head_check::{BARE_LF, HeadLimits};

use super::flaw::{Flaw, Malformed};

/// What an HTTP/1 status line begins with.
const VERSION: &[u8; 8] = b"HTTP/1.1";

/// A head that is whole and well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResponseHead {
    /// How many of the bytes given last belong to it.
    pub(crate) used: usize,
    /// Its status, from 100 to 599.
    pub(crate) status: u16,
    /// What it says of where the response ends.
    pub(crate) extent: Extent,
    /// Its fields.
    pub(crate) fields: usize,
}

/// Reads one head.
#[derive(Debug)]
pub(crate) struct ResponseHeadCheck {
    limits: HeadLimits,
    state: State,
    /// Bytes read.
    seen: usize,
    /// Bytes of the version, then digits of the status.
    at: u8,
    is_old: bool,
    status: u16,
    fields: FieldLines,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Version,
    Space,
    Status,
    StatusEnd,
    Reason,
    LineLf,
    Fields,
}

const fn line(why: &'static str) -> Malformed {
    Malformed { flaw: Flaw::StatusLine, why }
}

impl ResponseHeadCheck {
    /// Begins to read a head.
    pub(crate) fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            state: State::Version,
            seen: 0,
            at: 0,
            is_old: false,
            status: 0,
            fields: FieldLines::new(limits.fields, FieldCheck::of_response()),
        }
    }

    /// Reads on. `None`: all of these bytes are the head's, and more must come.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Option<ResponseHead>, Malformed> {
        let mut at = 0;
        while at < bytes.len() {
            let room = self.limits.head.saturating_sub(self.seen);
            if room == 0 {
                return Err(Malformed { flaw: Flaw::TooLarge, why: "the head is too large" });
            }
            let end = bytes.len().min(at.saturating_add(room));
            let used = self.step(&bytes[at..end])?;
            at += used;
            self.seen += used;
            if self.fields.is_done() {
                let extent = self.fields.check.extent(self.is_old);
                let extent = extent.map_err(|refused| Malformed { flaw: Flaw::Framing, why: refused.why })?;
                return Ok(Some(ResponseHead { used: at, status: self.status, extent, fields: self.fields.fields() }));
            }
        }
        Ok(None)
    }

    /// Reads as much as one state takes, and says how much that was. `part` is not empty.
    fn step(&mut self, part: &[u8]) -> Result<usize, Malformed> {
        let first = part[0];
        match self.state {
            State::Version => match self.version_and_status(part) {
                Some(used) => Ok(used),
                None => self.version(first),
            },
            State::Space if first == b' ' => Ok(self.now(State::Status)),
            State::Space => Err(line("the status line has no status after its version")),
            State::Status => self.status(first),
            State::StatusEnd => match first {
                b' ' => Ok(self.now(State::Reason)),
                b'\r' => Ok(self.now(State::LineLf)),
                b'\n' => Err(line(BARE_LF.why)),
                _ => Err(line("the status has more than three digits")),
            },
            State::Reason => {
                let reason = value_run(part);
                match part.get(reason) {
                    None => Ok(reason),
                    Some(b'\r') => Ok(reason + self.now(State::LineLf)),
                    Some(b'\n') => Err(line(BARE_LF.why)),
                    Some(_) => Err(line("the reason of the status has a control character")),
                }
            }
            State::LineLf if first == b'\n' => Ok(self.now(State::Fields)),
            State::LineLf => Err(line(BARE_CR.why)),
            State::Fields => self.fields.step(part).map_err(|refused| {
                let flaw = match refused.status {
                    431 => Flaw::TooLarge,
                    _ if self.fields.check.is_at_framing() => Flaw::Framing,
                    _ => Flaw::Header,
                };
                Malformed { flaw, why: refused.why }
            }),
        }
    }

    /// One byte was read, and this comes next.
    const fn now(&mut self, next: State) -> usize {
        self.state = next;
        self.at = 0;
        1
    }

    /// Reads a version and a status that are there as a whole, as nearly always, in one go; none where they are read by
    /// their parts.
    fn version_and_status(&mut self, part: &[u8]) -> Option<usize> {
        let rest = part.strip_prefix(b"HTTP/1.1 ").filter(|_| self.at == 0)?;
        let digits = rest.first_chunk::<3>().filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        if !(100..=599).contains(&status) {
            return None;
        }
        self.status = status;
        self.now(State::StatusEnd);
        Some(part.len() - rest.len() + digits.len())
    }

    fn version(&mut self, byte: u8) -> Result<usize, Malformed> {
        let at = usize::from(self.at);
        let is_last = at + 1 == VERSION.len();
        if is_last && byte == b'0' {
            self.is_old = true;
        } else if byte != VERSION[at] {
            return Err(line("this is neither HTTP/1.1 nor HTTP/1.0"));
        }
        if is_last {
            return Ok(self.now(State::Space));
        }
        self.at += 1;
        Ok(1)
    }

    fn status(&mut self, byte: u8) -> Result<usize, Malformed> {
        if !byte.is_ascii_digit() {
            return Err(line("the status is not three digits"));
        }
        self.status = self.status * 10 + u16::from(byte - b'0');
        self.at += 1;
        if self.at < 3 {
            return Ok(1);
        }
        if !(100..=599).contains(&self.status) {
            return Err(line("HTTP knows no such status"));
        }
        Ok(self.now(State::StatusEnd))
    }
}
