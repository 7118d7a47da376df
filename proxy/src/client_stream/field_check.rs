//! The fields of a head that say where a request goes and where a message ends: each there but once, and not to be
//! misread. Pure.

use super::characters::{Word, is_space, is_value};
use super::head_check::{BARE_LF, Framing, Refused, bad};
use super::host::{Host, is_host};

/// What the fields of one head say.
#[derive(Debug, Default)]
pub(crate) struct FieldCheck {
    /// Of a response: it has no host, and expects nothing.
    is_response: bool,
    field: Field,
    /// Something of the field's value has been read, and a space after it.
    value_begun: bool,
    gap: bool,
    /// The value, as far as it is told apart.
    word: Word,
    /// The authority of a target in absolute form.
    pub(super) authority: Option<Vec<u8>>,
    host: Option<Host>,
    /// How much of the authority the host has repeated.
    repeated: usize,
    length: Option<u64>,
    chunked: bool,
    /// The client waits to be told to go on before it sends the body.
    pub(super) expects: bool,
}

/// What the fields of a response say of where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Nothing.
    Unsaid,
    /// After so many bytes.
    Length(u64),
    /// With its last chunk.
    Chunked,
}

/// The fields whose values are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Field {
    Host,
    ContentLength,
    TransferEncoding,
    Expect,
    #[default]
    Other,
}

impl FieldCheck {
    /// For the head of a response.
    pub(crate) fn of_response() -> Self {
        Self { is_response: true, ..Self::default() }
    }

    /// Whether the field being read says where the message ends.
    pub(crate) const fn is_at_framing(&self) -> bool {
        matches!(self.field, Field::ContentLength | Field::TransferEncoding)
    }

    /// Another line begins.
    pub(super) const fn begin_line(&mut self) {
        self.field = Field::Other;
    }

    /// Whether the value of a field of this name is to be looked at.
    pub(super) fn is_telling(&self, name: &[u8]) -> bool {
        self.field_of(name, name.len()) != Field::Other
    }

    /// The field whose name begins so and has so many bytes.
    fn field_of(&self, name: &[u8], length: usize) -> Field {
        let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
        match length {
            4 if !self.is_response && is(b"host") => Field::Host,
            6 if !self.is_response && is(b"expect") => Field::Expect,
            14 if is(b"content-length") => Field::ContentLength,
            17 if is(b"transfer-encoding") => Field::TransferEncoding,
            _ => Field::Other,
        }
    }

    /// A field's name has been read. Says whether its value is to be looked at.
    pub(super) fn begin(&mut self, name: &Word) -> Result<bool, Refused> {
        self.field = self.field_of(name.bytes(), name.length());
        if self.field == Field::Other {
            return Ok(false);
        }
        (self.value_begun, self.gap) = (false, false);
        self.word.clear();
        match self.field {
            Field::Host if self.host.is_some() => Err(bad("there is more than one Host header")),
            Field::Host => {
                self.host = Some(Host::Begin);
                Ok(true)
            }
            Field::ContentLength if self.length.is_some() => Err(bad("there is more than one Content-Length header")),
            Field::TransferEncoding if self.chunked => Err(bad("there is more than one Transfer-Encoding header")),
            Field::ContentLength | Field::TransferEncoding | Field::Expect | Field::Other => Ok(true),
        }
    }

    /// The whole value.
    pub(super) fn read(&mut self, value: &[u8]) -> Result<(), Refused> {
        if self.field == Field::Host && self.authority.is_none() && is_host(value.trim_ascii()) {
            self.host = Some(Host::Name);
            return Ok(());
        }
        for byte in value {
            self.push(*byte)?;
        }
        self.push(b'\r').map(drop)
    }

    /// A byte of the value. `true` at its end, which is a CR.
    pub(super) fn push(&mut self, byte: u8) -> Result<bool, Refused> {
        match byte {
            b'\r' => return self.end().map(|()| true),
            b'\n' => return Err(BARE_LF),
            _ if !is_value(byte) => return Err(bad("the value of a header has a control character")),
            _ if is_space(byte) => {
                self.gap = self.value_begun;
                return Ok(false);
            }
            _ => self.value_begun = true,
        }
        match self.field {
            Field::Host => self.push_host(byte)?,
            Field::ContentLength => {
                let digit = byte.wrapping_sub(b'0');
                if self.gap || digit > 9 {
                    return Err(BAD_LENGTH);
                }
                let length = self.length.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(u64::from(digit)));
                self.length = Some(length.filter(|length| i64::try_from(*length).is_ok()).ok_or(BAD_LENGTH)?);
            }
            Field::TransferEncoding if self.gap => return Err(BAD_CODING),
            Field::TransferEncoding | Field::Expect => self.word.push(&[byte.to_ascii_lowercase()]),
            Field::Other => {}
        }
        Ok(false)
    }

    fn push_host(&mut self, byte: u8) -> Result<(), Refused> {
        let host = self.host.unwrap_or(Host::Begin);
        self.host = Some(host.then(byte).filter(|_| !self.gap).ok_or(BAD_HOST)?);
        if let Some(authority) = &self.authority {
            if authority.get(self.repeated) != Some(&byte) {
                return Err(OTHER_HOST);
            }
            self.repeated += 1;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Refused> {
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

    /// What only the whole head of a request shows. `is_old`: it is one of HTTP/1.0.
    pub(super) fn framing(&self, is_old: bool) -> Result<Framing, Refused> {
        if self.host.is_none() && !is_old {
            return Err(bad("this HTTP/1.1 request has no Host header"));
        }
        Ok(match self.extent(is_old)? {
            Extent::Chunked => Framing::Chunked,
            Extent::Unsaid | Extent::Length(0) => Framing::Empty,
            Extent::Length(length) => Framing::Length(length),
        })
    }

    /// What the whole head says of where the message ends. `is_old`: it is one of HTTP/1.0.
    pub(crate) fn extent(&self, is_old: bool) -> Result<Extent, Refused> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(bad("there are both Content-Length and Transfer-Encoding")),
            (true, None) if is_old => Err(bad("HTTP/1.0 knows no Transfer-Encoding")),
            (true, None) => Ok(Extent::Chunked),
            (false, None) => Ok(Extent::Unsaid),
            (false, Some(length)) => Ok(Extent::Length(length)),
        }
    }
}

const BAD_HOST: Refused = bad("the Host header is not the name of one host");
const OTHER_HOST: Refused = bad("the Host header and the target of this request name different hosts");
const BAD_LENGTH: Refused = bad("the Content-Length is not one number");
const BAD_CODING: Refused = bad("the Transfer-Encoding is not `chunked` alone");
