//! Whether a request head of HTTP/1.1 is well formed, found in its bytes as they arrive.
//!
//! A parser that is lenient where another is strict is how requests are smuggled. pingora's is lenient in places (line
//! ends of a bare LF, spaces that it repairs, `Content-Length` beside `Transfer-Encoding`), so a head is read here
//! first, once, and nothing but the strict grammar of RFC 9112 reaches pingora, the endpoints and their parsers.
//!
//! Pure: bytes in, a verdict out, however the bytes are cut. Nothing is allocated but for a target in absolute form.

use super::characters::{Word, is_target, is_token, run};
use super::field_check::FieldCheck;
use super::field_lines::{BARE_CR, FieldLines};
use super::host::Host;

/// How much a head may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the request line, without its end.
    pub line: usize,
    /// Bytes of the whole head, its last empty line included.
    pub head: usize,
    /// Fields.
    pub fields: usize,
}

impl Default for HeadLimits {
    /// 8 KiB, 32 KiB and 100.
    fn default() -> Self {
        Self { line: 8 * 1024, head: 32 * 1024, fields: 100 }
    }
}

/// Why a request is not read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// What the client gets.
    pub status: u16,
    /// In plain words.
    pub why: &'static str,
}

/// The request is not what HTTP says.
pub(crate) const fn bad(why: &'static str) -> Refused {
    Refused { status: 400, why }
}

/// What follows a head that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Nothing.
    Empty,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// A head that is whole and well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How many of the bytes given last belong to it.
    pub used: usize,
    /// How its body is told from what follows it.
    pub framing: Framing,
    /// Its fields.
    pub fields: usize,
    /// The client waits to be told to go on before it sends the body (`Expect: 100-continue`).
    pub expects: bool,
}

/// Reads one head.
#[derive(Debug)]
pub struct HeadCheck {
    limits: HeadLimits,
    state: State,
    /// Bytes read.
    seen: usize,
    /// As many as there may be by the end of what is being read: the request line, then the head.
    most: usize,
    /// The method, the scheme or the version, as far as it is told apart.
    word: Word,
    asks_options: bool,
    is_old: bool,
    /// How far the host in a target of absolute form has been read.
    host: Host,
    fields: FieldLines,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    StartLf,
    Method,
    TargetStart,
    Scheme,
    Authority,
    Target,
    Asterisk,
    Version,
    LineCr,
    LineLf,
    Fields,
}

impl HeadCheck {
    /// Begins to read a head.
    #[must_use]
    pub fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            state: State::Start,
            seen: 0,
            most: limits.head.min(limits.line.saturating_add(2)),
            word: Word::default(),
            asks_options: false,
            is_old: false,
            host: Host::Begin,
            fields: FieldLines::new(limits.fields, FieldCheck::default()),
        }
    }

    /// Reads on. `None`: all of these bytes are the head's, and more must come.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<Head>, Refused> {
        let mut at = 0;
        while at < bytes.len() {
            let room = self.most.saturating_sub(self.seen);
            if room == 0 {
                return Err(self.too_much());
            }
            let end = bytes.len().min(at.saturating_add(room));
            let used = self.step(&bytes[at..end])?;
            at += used;
            self.seen += used;
            if self.fields.is_done() {
                return self.whole(at).map(Some);
            }
        }
        Ok(None)
    }

    fn too_much(&self) -> Refused {
        match self.state {
            State::Fields => Refused { status: 431, why: "the request head is too large" },
            State::Start
            | State::StartLf
            | State::Method
            | State::TargetStart
            | State::Scheme
            | State::Authority
            | State::Target
            | State::Asterisk
            | State::Version
            | State::LineCr
            | State::LineLf => Refused { status: 414, why: "the request line is too long" },
        }
    }

    /// Reads as much as one state takes, and says how much that was; 0 where only the state has changed. `part` is not
    /// empty.
    fn step(&mut self, part: &[u8]) -> Result<usize, Refused> {
        let first = part[0];
        match self.state {
            State::Start => match self.line(part) {
                0 => self.start(first),
                used => Ok(used),
            },
            State::StartLf => self.line_end(first, State::Start),
            State::Method => self.method(part),
            State::TargetStart => self.target_start(first),
            State::Scheme => self.scheme(first),
            State::Authority => self.authority(first),
            State::Target => self.target(part),
            State::Asterisk => match first {
                b' ' => Ok(self.now(State::Version)),
                _ => Err(bad("the target of this request is neither a path nor `*`")),
            },
            State::Version => self.version(part),
            State::LineCr => match first {
                b'\r' => Ok(self.now(State::LineLf)),
                b'\n' => Err(BARE_LF),
                _ => Err(bad("the request line does not end with its version")),
            },
            State::LineLf => {
                self.most = self.limits.head;
                self.line_end(first, State::Fields)
            }
            State::Fields => self.fields.step(part),
        }
    }

    /// One byte was read, and this comes next.
    fn now(&mut self, next: State) -> usize {
        self.state = next;
        self.word.clear();
        1
    }

    fn line_end(&mut self, byte: u8, next: State) -> Result<usize, Refused> {
        if byte == b'\n' { Ok(self.now(next)) } else { Err(BARE_CR) }
    }

    /// Reads a request line for a path that is there as a whole, as nearly all are, in one go; 0 where it is read by its
    /// parts.
    fn line(&mut self, part: &[u8]) -> usize {
        const REST: &[u8] = b" HTTP/1.1\r\n";
        let method = run(part, is_token);
        let Some(target) = part[method..].strip_prefix(b" ").filter(|target| target.starts_with(b"/")) else {
            return 0;
        };
        let length = run(target, is_target);
        if method == 0 || &part[..method] == b"CONNECT" || !target[length..].starts_with(REST) {
            return 0;
        }
        self.asks_options = &part[..method] == b"OPTIONS";
        self.most = self.limits.head;
        self.now(State::Fields);
        method + 1 + length + REST.len()
    }

    fn start(&mut self, byte: u8) -> Result<usize, Refused> {
        match byte {
            // One empty line before a request is an old client's mistake (RFC 9112, section 2.2).
            b'\r' if self.seen == 0 => {
                self.most = self.limits.head.min(self.most.saturating_add(2));
                Ok(self.now(State::StartLf))
            }
            b'\n' => Err(BARE_LF),
            0x16 if self.seen == 0 => Err(bad("this is TLS, and HTTP without TLS is spoken here")),
            _ if is_token(byte) => {
                self.state = State::Method;
                Ok(0)
            }
            _ => Err(bad("this is not an HTTP request")),
        }
    }

    fn method(&mut self, part: &[u8]) -> Result<usize, Refused> {
        let token = run(part, is_token);
        self.word.push(&part[..token]);
        match part.get(token) {
            None => Ok(token),
            Some(b' ') if self.word.is(b"CONNECT") => Err(NO_TUNNELS),
            Some(b' ') => {
                self.asks_options = self.word.is(b"OPTIONS");
                Ok(token + self.now(State::TargetStart))
            }
            Some(_) => Err(bad("the method of this request is not valid")),
        }
    }

    fn target_start(&mut self, byte: u8) -> Result<usize, Refused> {
        match byte {
            b'/' => Ok(self.now(State::Target)),
            b'*' if self.asks_options => Ok(self.now(State::Asterisk)),
            b'h' | b'H' => {
                self.state = State::Scheme;
                Ok(0)
            }
            _ => Err(bad("the target of this request is neither a path nor an http or https address")),
        }
    }

    fn scheme(&mut self, byte: u8) -> Result<usize, Refused> {
        self.word.push(&[byte.to_ascii_lowercase()]);
        let (http, https) = (b"http://", b"https://");
        if self.word.is(http) || self.word.is(https) {
            self.fields.check.authority = Some(Vec::new());
            return Ok(self.now(State::Authority));
        }
        if !self.word.begins(http) && !self.word.begins(https) {
            return Err(bad("the target of this request is neither a path nor an http or https address"));
        }
        Ok(1)
    }

    fn authority(&mut self, byte: u8) -> Result<usize, Refused> {
        const INVALID: Refused = bad("the host in the target of this request is not valid");
        if !matches!(byte, b'/' | b'?' | b' ') {
            self.host = self.host.then(byte).ok_or(INVALID)?;
            self.fields.check.authority.get_or_insert_default().push(byte);
            return Ok(1);
        }
        if !self.host.is_whole() {
            return Err(INVALID);
        }
        Ok(self.now(if byte == b' ' { State::Version } else { State::Target }))
    }

    fn target(&mut self, part: &[u8]) -> Result<usize, Refused> {
        let target = run(part, is_target);
        match part.get(target) {
            None => Ok(target),
            Some(b' ') => Ok(target + self.now(State::Version)),
            Some(b'\r' | b'\n') => Err(bad("the request line has no version")),
            Some(_) => Err(NOT_ENCODED),
        }
    }

    fn version(&mut self, part: &[u8]) -> Result<usize, Refused> {
        const WHOLE: usize = "HTTP/1.1".len();
        let missing = WHOLE - self.word.length();
        let part = &part[..part.len().min(missing)];
        self.word.push(part);
        let word = self.word.bytes();
        let fits = word.iter().zip(b"HTTP/0.0").all(|(b, like)| match like {
            b'0' => b.is_ascii_digit(),
            _ => b == like,
        });
        if !fits {
            return Err(bad("the version of this request is not one of HTTP"));
        }
        if word.len() == WHOLE {
            self.is_old = match word {
                b"HTTP/1.1" => false,
                b"HTTP/1.0" => true,
                _ => return Err(Refused { status: 505, why: "HTTP/1.1, HTTP/1.0 and HTTP/2 are spoken here" }),
            };
            self.now(State::LineCr);
        }
        Ok(part.len())
    }

    fn whole(&self, used: usize) -> Result<Head, Refused> {
        let framing = self.fields.check.framing(self.is_old)?;
        Ok(Head { used, framing, fields: self.fields.fields(), expects: self.fields.check.expects && !self.is_old })
    }
}

pub(crate) const NO_TUNNELS: Refused = Refused { status: 405, why: "tunnels by CONNECT are not offered here" };
pub(crate) const NOT_ENCODED: Refused = bad("the target of this request has a character that must be percent-encoded");
pub(crate) const BARE_LF: Refused = bad("a line ends with a bare LF");

#[cfg(test)]
mod tests;
