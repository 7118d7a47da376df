//! Whether a chunked body is well formed, found in its bytes as they arrive, and where it ends.
//!
//! pingora finds the ends of chunks as well; this is stricter (no space around a size, short extensions, few and
//! harmless trailers), and it is what tells the bytes of one request from those of the next.
//!
//! Pure: bytes in, a verdict out, however the bytes are cut.

use super::characters::{Word, is_token, is_value, run};
use super::head_check::{HeadLimits, Refused, bad};

/// Bytes of the extensions of one chunk.
const MOST_EXTENSION: u64 = 1024;
/// Bytes of all extensions of a body beyond those of its data: signatures of chunks are in proportion to them.
const SPARE_EXTENSIONS: u64 = 16 * 1024;
/// Digits of a size; fewer than would overflow.
const MOST_DIGITS: u8 = 15;
/// Fields that frame, route or authorise a message must not come after it (RFC 9110, section 6.5.1).
const FORBIDDEN: [&[u8]; 14] = [
    b"authorization",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"host",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

/// Reads one chunked body.
#[derive(Debug)]
pub struct ChunkCheck {
    limits: HeadLimits,
    state: State,
    /// The size being read, then what is left of the chunk.
    left: u64,
    digits: u8,
    /// Bytes of data in all.
    data: u64,
    /// Bytes of this chunk's extensions, and of all.
    extension: u64,
    extensions: u64,
    /// Bytes and fields of the trailers.
    trailing: usize,
    trailers: usize,
    word: Word,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

impl ChunkCheck {
    /// Begins to read a body. Its trailers are held to the limits of a head.
    #[must_use]
    pub fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            state: State::Size,
            left: 0,
            digits: 0,
            data: 0,
            extension: 0,
            extensions: 0,
            trailing: 0,
            trailers: 0,
            word: Word::default(),
        }
    }

    /// Whether the body is whole.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes of data so far.
    #[must_use]
    pub fn data(&self) -> u64 {
        self.data
    }

    /// Reads on, and says how many of these bytes are the body's: all, unless it is whole.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        let mut at = 0;
        while at < bytes.len() && !self.is_whole() {
            at += self.step(&bytes[at..])?;
        }
        Ok(at)
    }

    /// Reads as much as one state takes. `part` is not empty.
    pub(super) fn step(&mut self, part: &[u8]) -> Result<usize, Refused> {
        let first = part[0];
        match self.state {
            State::Size => self.size(first),
            State::Extension => self.extension(part),
            State::SizeLf => {
                let next = if self.left == 0 { State::TrailerStart } else { State::Data };
                self.line_end(first, next)
            }
            State::Data => {
                let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(part.len());
                self.left -= count as u64;
                self.data = self.data.saturating_add(count as u64);
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                Ok(count)
            }
            State::DataCr if first == b'\r' => Ok(self.now(State::DataLf)),
            State::DataLf if first == b'\n' => {
                (self.digits, self.extension) = (0, 0);
                Ok(self.now(State::Size))
            }
            State::DataCr | State::DataLf => Err(bad("a chunk of the body is longer than its size")),
            State::TrailerStart => self.trailer_start(first),
            State::TrailerName => self.trailer_name(part),
            State::TrailerValue => self.trailer_value(part),
            State::TrailerLf => self.line_end(first, State::TrailerStart),
            State::EndLf => self.line_end(first, State::Done),
            State::Done => Ok(0),
        }
    }

    const fn now(&mut self, next: State) -> usize {
        self.state = next;
        1
    }

    const fn line_end(&mut self, byte: u8, next: State) -> Result<usize, Refused> {
        if byte == b'\n' { Ok(self.now(next)) } else { Err(bad("a line of the chunked body ends with a bare CR")) }
    }

    fn size(&mut self, byte: u8) -> Result<usize, Refused> {
        const INVALID: Refused = bad("the size of a chunk is not valid");
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if self.digits > 0 => return Ok(self.now(State::SizeLf)),
            b';' if self.digits > 0 => return Ok(self.now(State::Extension)),
            _ => return Err(INVALID),
        };
        if self.digits == MOST_DIGITS {
            return Err(INVALID);
        }
        self.left = if self.digits == 0 { u64::from(digit) } else { self.left * 16 + u64::from(digit) };
        self.digits += 1;
        Ok(1)
    }

    fn extension(&mut self, part: &[u8]) -> Result<usize, Refused> {
        let value = run(part, is_value);
        self.extension += value as u64;
        self.extensions += value as u64;
        if self.extension > MOST_EXTENSION || self.extensions > self.data.saturating_add(SPARE_EXTENSIONS) {
            return Err(bad("the extensions of the chunks are too long"));
        }
        match part.get(value) {
            None => Ok(value),
            Some(b'\r') => Ok(value + self.now(State::SizeLf)),
            Some(_) => Err(bad("the extension of a chunk has a control character")),
        }
    }

    fn trailer_start(&mut self, byte: u8) -> Result<usize, Refused> {
        match byte {
            b'\r' => Ok(self.now(State::EndLf)),
            _ if !is_token(byte) => Err(bad("a trailer of the body is not valid")),
            _ if self.trailers >= self.limits.fields => {
                Err(Refused { status: 431, why: "the body has too many trailers" })
            }
            _ => {
                self.trailers += 1;
                self.word.clear();
                self.state = State::TrailerName;
                Ok(0)
            }
        }
    }

    fn trailer_name(&mut self, part: &[u8]) -> Result<usize, Refused> {
        let token = run(part, is_token);
        self.word.push(&part[..token]);
        self.count_trailing(token)?;
        match part.get(token) {
            None => Ok(token),
            Some(b':') => {
                let name = self.word.bytes();
                let is_it = |word: &&[u8]| word.len() == self.word.length() && name.eq_ignore_ascii_case(word);
                if FORBIDDEN.iter().any(is_it) {
                    return Err(bad("a header that must come before the body comes after it"));
                }
                Ok(token + self.now(State::TrailerValue))
            }
            Some(_) => Err(bad("the name of a trailer is not valid")),
        }
    }

    fn trailer_value(&mut self, part: &[u8]) -> Result<usize, Refused> {
        let value = run(part, is_value);
        self.count_trailing(value)?;
        match part.get(value) {
            None => Ok(value),
            Some(b'\r') => Ok(value + self.now(State::TrailerLf)),
            Some(_) => Err(bad("the value of a trailer has a control character")),
        }
    }

    /// The sum over all trailers is bounded as a head is.
    const fn count_trailing(&mut self, bytes: usize) -> Result<(), Refused> {
        self.trailing = self.trailing.saturating_add(bytes);
        if self.trailing > self.limits.head {
            return Err(Refused { status: 431, why: "the trailers of the body are too large" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
