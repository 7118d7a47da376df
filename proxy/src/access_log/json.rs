//! JSON, written straight into bytes.

use std::io::Write;

use super::clock::write_number;

/// Longer values are cut: a client may send heads of many kilobytes.
const LONGEST: usize = 2 << 10;

/// An object that is being written, on one line.
#[derive(Debug)]
pub(super) struct Object<'a> {
    into: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    /// Begins one. [`end`](Self::end) ends it.
    pub(super) fn begin(into: &'a mut Vec<u8>) -> Self {
        into.push(b'{');
        Self { into, is_empty: true }
    }

    /// Ends it, and its line.
    pub(super) fn end(self) {
        self.into.extend_from_slice(b"}\n");
    }

    /// A member's name, which is ASCII without quotes, and then its value.
    fn name(&mut self, name: &'static str) -> &mut Vec<u8> {
        self.into.extend_from_slice(if self.is_empty { b"\"" } else { b",\"" });
        self.is_empty = false;
        self.into.extend_from_slice(name.as_bytes());
        self.into.extend_from_slice(b"\":");
        self.into
    }

    /// A string of any bytes. What is no UTF-8 becomes U+FFFD; what is too long ends with an ellipsis.
    pub(super) fn text(&mut self, name: &'static str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        let into = self.name(name);
        into.push(b'"');
        escape(into, cut(value));
        if value.len() > LONGEST {
            into.extend_from_slice("…".as_bytes());
        }
        into.push(b'"');
    }

    /// As [`text`](Self::text), where there is one.
    pub(super) fn text_of(&mut self, name: &'static str, value: Option<impl AsRef<[u8]>>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A string that needs no escaping: an address, a hexadecimal number.
    pub(super) fn plain(&mut self, name: &'static str, value: impl std::fmt::Display) {
        // Writing to a vector does not fail.
        let _ = write!(self.name(name), "\"{value}\"");
    }

    /// As [`plain`](Self::plain), where there is one.
    pub(super) fn plain_of(&mut self, name: &'static str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.plain(name, value);
        }
    }

    /// A number, where there is one.
    pub(super) fn number_of(&mut self, name: &'static str, value: Option<impl Into<u64>>) {
        if let Some(value) = value {
            write_number(self.name(name), value.into(), 1);
        }
    }

    /// A string that something else writes, and that needs no escaping.
    pub(super) fn written(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        let into = self.name(name);
        into.push(b'"');
        write(into);
        into.push(b'"');
    }
}

/// The beginning of a value, up to the end of a character.
fn cut(value: &[u8]) -> &[u8] {
    if value.len() <= LONGEST {
        return value;
    }
    let is_within = |place: usize| value[place] & 0xC0 == 0x80;
    // A character has at most four bytes; where it has more of that kind, it is none.
    let end = (LONGEST - 3..=LONGEST).rev().find(|place| !is_within(*place));
    &value[..end.unwrap_or(LONGEST)]
}

/// Writes what stands between the quotes of a string. Control characters are escaped, those beyond ASCII and DEL too:
/// a line may be looked at on a terminal.
fn escape(into: &mut Vec<u8>, value: &[u8]) {
    // Nearly every value is like this, and told so many bytes at a time.
    if value.iter().all(|byte| matches!(byte, b' '..=b'~') & (*byte != b'"') & (*byte != b'\\')) {
        into.extend_from_slice(value);
        return;
    }
    for chunk in value.utf8_chunks() {
        let text = chunk.valid();
        let mut from = 0;
        for (place, c) in text.char_indices() {
            if c.is_control() || c == '"' || c == '\\' {
                into.extend_from_slice(&text.as_bytes()[from..place]);
                from = place + c.len_utf8();
                // Writing to a vector does not fail.
                let _ = match c {
                    '"' | '\\' => write!(into, "\\{c}"),
                    '\n' => into.write_all(b"\\n"),
                    '\r' => into.write_all(b"\\r"),
                    '\t' => into.write_all(b"\\t"),
                    _ => write!(into, "\\u{:04x}", u32::from(c)),
                };
            }
        }
        into.extend_from_slice(&text.as_bytes()[from..]);
        if !chunk.invalid().is_empty() {
            into.extend_from_slice(b"\\ufffd");
        }
    }
}
