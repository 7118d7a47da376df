//! Whether a request head of HTTP/1.1 is well formed, found in its bytes as they arrive.
//!
//! A parser that is lenient where another is strict is how requests are smuggled. pingora's is lenient in places (line
//! ends of a bare LF, spaces that it repairs, `Content-Length` beside `Transfer-Encoding`), so a head is read here
//! first, once, and nothing but the strict grammar of RFC 9112 reaches pingora, the endpoints and their parsers.
//!
//! Pure: bytes in, a verdict out, however the bytes are cut. Nothing is allocated but for a target in absolute form.

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
pub(super) const fn bad(why: &'static str) -> Refused {
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
    fields: usize,
    /// The method, the scheme, the version or the field's name, as far as it is told apart.
    word: Word,
    field: Field,
    /// Something of the field's value has been read, and a space after it.
    value_begun: bool,
    gap: bool,
    asks_options: bool,
    is_old: bool,
    /// The authority of a target in absolute form.
    authority: Option<Vec<u8>>,
    host: Option<Host>,
    /// How much of the authority the host has repeated.
    repeated: usize,
    length: Option<u64>,
    chunked: bool,
    expects: bool,
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
    FieldStart,
    Name,
    Gap,
    Value,
    ValueLf,
    EndLf,
    Done,
}

/// The fields whose values are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Host,
    ContentLength,
    TransferEncoding,
    Expect,
    Other,
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
            fields: 0,
            word: Word::default(),
            field: Field::Other,
            value_begun: false,
            gap: false,
            asks_options: false,
            is_old: false,
            authority: None,
            host: None,
            repeated: 0,
            length: None,
            chunked: false,
            expects: false,
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
            if self.state == State::Done {
                return self.whole(at).map(Some);
            }
        }
        Ok(None)
    }

    fn too_much(&self) -> Refused {
        match self.state {
            State::FieldStart
            | State::Name
            | State::Gap
            | State::Value
            | State::ValueLf
            | State::EndLf
            | State::Done => Refused { status: 431, why: "the request head is too large" },
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
            State::Start => self.start(first),
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
            State::Version => self.version(first),
            State::LineCr => match first {
                b'\r' => Ok(self.now(State::LineLf)),
                b'\n' => Err(BARE_LF),
                _ => Err(bad("the request line does not end with its version")),
            },
            State::LineLf => {
                self.most = self.limits.head;
                self.line_end(first, State::FieldStart)
            }
            State::FieldStart => self.field_start(first),
            State::Name => self.name(part),
            State::Gap => {
                let spaces = run(part, is_space);
                if spaces < part.len() {
                    self.state = State::Value;
                }
                Ok(spaces)
            }
            State::Value if self.field == Field::Other => self.value(part),
            State::Value => self.telling_value(first),
            State::ValueLf => self.line_end(first, State::FieldStart),
            State::EndLf => self.line_end(first, State::Done),
            State::Done => Ok(0),
        }
    }

    /// One byte was read, and this comes next.
    fn now(&mut self, next: State) -> usize {
        self.state = next;
        self.word.clear();
        1
    }

    fn line_end(&mut self, byte: u8, next: State) -> Result<usize, Refused> {
        if byte == b'\n' { Ok(self.now(next)) } else { Err(bad("a line of the request ends with a bare CR")) }
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
            Some(b' ') if self.word.is(b"CONNECT") => {
                Err(Refused { status: 405, why: "tunnels by CONNECT are not offered here" })
            }
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
            self.authority = Some(Vec::new());
            self.host = Some(Host::Begin);
            return Ok(self.now(State::Authority));
        }
        if !self.word.begins(http) && !self.word.begins(https) {
            return Err(bad("the target of this request is neither a path nor an http or https address"));
        }
        Ok(1)
    }

    fn authority(&mut self, byte: u8) -> Result<usize, Refused> {
        let host = self.host.unwrap_or(Host::Begin);
        if !matches!(byte, b'/' | b'?' | b' ') {
            self.host = Some(host.then(byte).ok_or(bad("the host in the target of this request is not valid"))?);
            self.authority.get_or_insert_default().push(byte);
            return Ok(1);
        }
        if !host.is_whole() {
            return Err(bad("the host in the target of this request is not valid"));
        }
        self.host = None;
        Ok(self.now(if byte == b' ' { State::Version } else { State::Target }))
    }

    fn target(&mut self, part: &[u8]) -> Result<usize, Refused> {
        let target = run(part, is_target);
        match part.get(target) {
            None => Ok(target),
            Some(b' ') => Ok(target + self.now(State::Version)),
            Some(b'\r' | b'\n') => Err(bad("the request line has no version")),
            Some(_) => Err(bad("the target of this request has a character that must be percent-encoded")),
        }
    }

    fn version(&mut self, byte: u8) -> Result<usize, Refused> {
        self.word.push(&[byte]);
        let word = self.word.bytes();
        let fits = word.iter().zip(b"HTTP/0.0").all(|(b, like)| match like {
            b'0' => b.is_ascii_digit(),
            _ => b == like,
        });
        if !fits {
            return Err(bad("the version of this request is not one of HTTP"));
        }
        if word.len() < 8 {
            return Ok(1);
        }
        self.is_old = match word {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ => return Err(Refused { status: 505, why: "HTTP/1.1, HTTP/1.0 and HTTP/2 are spoken here" }),
        };
        Ok(self.now(State::LineCr))
    }

    fn field_start(&mut self, byte: u8) -> Result<usize, Refused> {
        match byte {
            b'\r' => Ok(self.now(State::EndLf)),
            b'\n' => Err(BARE_LF),
            b' ' | b'\t' => Err(bad("a header is continued on a second line")),
            b':' => Err(bad("a header has no name")),
            _ if self.fields >= self.limits.fields => {
                Err(Refused { status: 431, why: "the request has too many headers" })
            }
            _ => {
                self.fields += 1;
                self.word.clear();
                self.state = State::Name;
                Ok(0)
            }
        }
    }

    fn name(&mut self, part: &[u8]) -> Result<usize, Refused> {
        let token = run(part, is_token);
        self.word.push(&part[..token]);
        match part.get(token) {
            None => Ok(token),
            Some(b':') => {
                self.begin_value()?;
                Ok(token + self.now(State::Gap))
            }
            Some(b' ' | b'\t') => Err(bad("a header has a space before its colon")),
            Some(b'\r' | b'\n') => Err(bad("a header has no colon")),
            Some(_) => Err(bad("the name of a header has a character that is not allowed")),
        }
    }

    /// The field's name is read: some must be there but once.
    fn begin_value(&mut self) -> Result<(), Refused> {
        let name = self.word.bytes();
        self.field = match self.word.length {
            4 if name.eq_ignore_ascii_case(b"host") => Field::Host,
            6 if name.eq_ignore_ascii_case(b"expect") => Field::Expect,
            14 if name.eq_ignore_ascii_case(b"content-length") => Field::ContentLength,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => Field::TransferEncoding,
            _ => {
                self.field = Field::Other;
                return Ok(());
            }
        };
        (self.value_begun, self.gap) = (false, false);
        match self.field {
            Field::Host if self.host.is_some() => Err(bad("the request has more than one Host header")),
            Field::Host => {
                self.host = Some(Host::Begin);
                Ok(())
            }
            Field::ContentLength if self.length.is_some() => {
                Err(bad("the request has more than one Content-Length header"))
            }
            Field::TransferEncoding if self.chunked => {
                Err(bad("the request has more than one Transfer-Encoding header"))
            }
            Field::ContentLength | Field::TransferEncoding | Field::Expect | Field::Other => Ok(()),
        }
    }

    fn value(&mut self, part: &[u8]) -> Result<usize, Refused> {
        let value = run(part, is_value);
        match part.get(value) {
            None => Ok(value),
            Some(b'\r') => Ok(value + self.now(State::ValueLf)),
            Some(b'\n') => Err(BARE_LF),
            Some(_) => Err(bad("the value of a header has a control character")),
        }
    }

    /// A byte of a value that decides where the request ends or goes.
    fn telling_value(&mut self, byte: u8) -> Result<usize, Refused> {
        if byte == b'\r' {
            self.end_value()?;
            return Ok(self.now(State::ValueLf));
        }
        if byte == b'\n' {
            return Err(BARE_LF);
        }
        if !is_value(byte) {
            return Err(bad("the value of a header has a control character"));
        }
        if is_space(byte) {
            self.gap = self.value_begun;
            return Ok(1);
        }
        let inner_gap = self.gap;
        self.value_begun = true;
        match self.field {
            Field::Host => {
                let host = self.host.unwrap_or(Host::Begin);
                let next = if inner_gap { None } else { host.then(byte) };
                self.host = Some(next.ok_or(BAD_HOST)?);
                if let Some(authority) = &self.authority {
                    if authority.get(self.repeated) != Some(&byte) {
                        return Err(OTHER_HOST);
                    }
                    self.repeated += 1;
                }
            }
            Field::ContentLength => {
                let digit = byte.wrapping_sub(b'0');
                if inner_gap || digit > 9 {
                    return Err(BAD_LENGTH);
                }
                let length = self.length.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(u64::from(digit)));
                self.length = Some(length.filter(|length| i64::try_from(*length).is_ok()).ok_or(BAD_LENGTH)?);
            }
            Field::TransferEncoding if inner_gap => return Err(BAD_CODING),
            Field::TransferEncoding | Field::Expect => self.word.push(&[byte.to_ascii_lowercase()]),
            Field::Other => {}
        }
        Ok(1)
    }

    fn end_value(&mut self) -> Result<(), Refused> {
        match self.field {
            Field::Host => {
                if !self.host.is_some_and(Host::is_whole) {
                    return Err(BAD_HOST);
                }
                if self.authority.as_ref().is_some_and(|authority| authority.len() != self.repeated) {
                    return Err(OTHER_HOST);
                }
            }
            Field::ContentLength if self.length.is_none() => return Err(BAD_LENGTH),
            Field::TransferEncoding => {
                if !self.word.is(b"chunked") {
                    return Err(BAD_CODING);
                }
                self.chunked = true;
            }
            Field::Expect => self.expects = self.word.is(b"100-continue"),
            Field::ContentLength | Field::Other => {}
        }
        Ok(())
    }

    /// What only the whole head shows.
    fn whole(&self, used: usize) -> Result<Head, Refused> {
        if self.host.is_none() && !self.is_old {
            return Err(bad("this HTTP/1.1 request has no Host header"));
        }
        let framing = match (self.chunked, self.length) {
            (true, Some(_)) => return Err(bad("the request has both Content-Length and Transfer-Encoding")),
            (true, None) if self.is_old => return Err(bad("HTTP/1.0 knows no Transfer-Encoding")),
            (true, None) => Framing::Chunked,
            (false, None | Some(0)) => Framing::Empty,
            (false, Some(length)) => Framing::Length(length),
        };
        Ok(Head { used, framing, fields: self.fields, expects: self.expects })
    }
}

const BARE_LF: Refused = bad("a line of the request ends with a bare LF");
const BAD_HOST: Refused = bad("the Host header is not the name of one host");
const OTHER_HOST: Refused = bad("the Host header and the target of this request name different hosts");
const BAD_LENGTH: Refused = bad("the Content-Length is not one number");
const BAD_CODING: Refused = bad("the Transfer-Encoding is not `chunked` alone");

/// How far a host with an optional port has been read (RFC 3986, section 3.2.2, without what no name in use has).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    Begin,
    Name,
    /// Within the brackets of an IPv6 address.
    Brackets,
    AfterBrackets,
    Port,
}

impl Host {
    fn then(self, byte: u8) -> Option<Self> {
        let is_name = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        match (self, byte) {
            (Self::Begin, b'[') => Some(Self::Brackets),
            (Self::Begin | Self::Name, _) if is_name => Some(Self::Name),
            (Self::Name | Self::AfterBrackets, b':') => Some(Self::Port),
            (Self::Brackets, b']') => Some(Self::AfterBrackets),
            (Self::Brackets, _) if byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.') => Some(Self::Brackets),
            (Self::Port, b'0'..=b'9') => Some(Self::Port),
            (Self::Begin | Self::Name | Self::Brackets | Self::AfterBrackets | Self::Port, _) => None,
        }
    }

    const fn is_whole(self) -> bool {
        matches!(self, Self::Name | Self::AfterBrackets | Self::Port)
    }
}

/// Whether this is the name or address of one host, with or without a port.
#[must_use]
pub fn is_host(name: &[u8]) -> bool {
    name.iter().try_fold(Host::Begin, |host, byte| host.then(*byte)).is_some_and(Host::is_whole)
}

/// The beginning of a word, as much as tells it from others.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Word {
    bytes: [u8; 20],
    /// Of the whole word.
    length: usize,
}

impl Word {
    pub(super) const fn clear(&mut self) {
        self.length = 0;
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let kept = self.length.min(self.bytes.len());
        let room = &mut self.bytes[kept..];
        let count = room.len().min(bytes.len());
        room[..count].copy_from_slice(&bytes[..count]);
        self.length = self.length.saturating_add(bytes.len());
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length.min(self.bytes.len())]
    }

    pub(super) const fn length(&self) -> usize {
        self.length
    }

    fn is(&self, word: &[u8]) -> bool {
        self.length == word.len() && self.bytes() == word
    }

    fn begins(&self, word: &[u8]) -> bool {
        word.starts_with(self.bytes())
    }
}

/// How many bytes at the beginning are so.
pub(super) fn run(bytes: &[u8], is: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|b| !is(*b)).unwrap_or(bytes.len())
}

pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// A character of a token (RFC 9110, section 5.6.2).
pub(super) const fn is_token(byte: u8) -> bool {
    KINDS[byte as usize] & TOKEN != 0
}

/// A character of a field's value: visible, a space or tab, or beyond ASCII (RFC 9110, section 5.5).
pub(super) const fn is_value(byte: u8) -> bool {
    KINDS[byte as usize] & VALUE != 0
}

/// A character of a target that all parsers behind us take for the same.
const fn is_target(byte: u8) -> bool {
    KINDS[byte as usize] & TARGET != 0
}

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const TARGET: u8 = 4;

static KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let is_punctuation = matches!(
            b,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        );
        if b.is_ascii_alphanumeric() || is_punctuation {
            kinds[byte] |= TOKEN;
        }
        if b == b'\t' || (b >= b' ' && b != 0x7f) {
            kinds[byte] |= VALUE;
        }
        if b.is_ascii_graphic() && !matches!(b, b'#' | b'"' | b'<' | b'>' | b'`') {
            kinds[byte] |= TARGET;
        }
        byte += 1;
    }
    kinds
};

#[cfg(test)]
mod tests;
