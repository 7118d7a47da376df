//! What an origin is told beside what its client said: fields, gathered as the lines that they are in HTTP/1.1.
//!
//! Where the connection is ours, these lines are written behind the other fields as they are. Set in the request's map,
//! each would be a value of its own, a name that is hashed, and four copies as pingora writes it.

use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;

/// Room for what an ordinary request's origin is told, in bytes and in fields.
const USUAL_LINES: usize = 384;
const USUAL_FIELDS: usize = 10;

/// Fields that an origin is told, or is not to hear of.
#[derive(Debug)]
pub struct Told {
    /// `name: value` and the end of the line, of each.
    lines: Vec<u8>,
    fields: Vec<Field>,
}

#[derive(Debug, Clone, Copy)]
struct Field {
    name: &'static HeaderName,
    /// Where its value begins in the lines, and ends; none where nobody is to say it.
    value: Option<(usize, usize)>,
}

/// What was told last on a connection of its client and of the host that was asked for. It is told again as long as the
/// same host is asked for.
#[derive(Debug, Default)]
pub struct Last(Mutex<Option<Kept>>);

#[derive(Debug)]
struct Kept {
    host: Box<str>,
    lines: Box<[u8]>,
    fields: Box<[Field]>,
}

impl Told {
    /// Nothing yet.
    #[must_use]
    pub fn nothing() -> Self {
        Self { lines: Vec::with_capacity(USUAL_LINES), fields: Vec::with_capacity(USUAL_FIELDS) }
    }

    /// Tells a field. `write` appends its value.
    pub(crate) fn tell(&mut self, name: &'static HeaderName, write: impl FnOnce(&mut Vec<u8>)) {
        self.lines.extend_from_slice(name.as_str().as_bytes());
        self.lines.extend_from_slice(b": ");
        let from = self.lines.len();
        write(&mut self.lines);
        // All of it is visible ASCII or comes from a header, so this is never needed: that it is not is no other room's
        // business, since the end of a line in a value would begin a field of somebody else's choice.
        if !is_value(&self.lines[from..]) {
            self.lines.truncate(from);
            self.lines.extend_from_slice(b"unknown");
        }
        self.fields.push(Field { name, value: Some((from, self.lines.len())) });
        self.lines.extend_from_slice(b"\r\n");
    }

    /// Nothing is told in this field, whatever its client said in it.
    pub(crate) fn leave_out(&mut self, name: &'static HeaderName) {
        self.fields.push(Field { name, value: None });
    }

    /// Whether what a client said in the field of this name is not passed on.
    pub(crate) fn replaces(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name.as_str() == name)
    }

    /// Sets it among the fields of a request, from which what it replaces was taken.
    pub fn set(&self, fields: &mut HeaderMap) {
        // Here and below an error means more fields than any request has: it would have been refused.
        let _ = fields.try_reserve(self.fields.len());
        for field in &self.fields {
            let value = field.value.and_then(|(from, to)| HeaderValue::from_bytes(&self.lines[from..to]).ok());
            if let Some(value) = value {
                let _ = fields.try_insert(field.name.clone(), value);
            }
        }
    }

    /// The lines, each with its end.
    pub(crate) fn into_lines(self) -> Vec<u8> {
        self.lines
    }
}

impl Last {
    /// Tells what was told last of this host, where that was the last one; else what `tell` tells.
    pub(crate) fn tell(&self, told: &mut Told, host: &str, tell: impl FnOnce(&mut Told)) {
        let mut last = self.0.lock();
        if last.as_ref().is_none_or(|last| *last.host != *host) {
            let mut new = Told::nothing();
            tell(&mut new);
            let Told { lines, fields } = new;
            *last = Some(Kept { host: host.into(), lines: lines.into(), fields: fields.into() });
        }
        if let Some(last) = &*last {
            let begins = told.lines.len();
            let moved = |field: &Field| {
                let value = field.value.map(|(from, to)| (begins + from, begins + to));
                Field { name: field.name, value }
            };
            told.fields.extend(last.fields.iter().map(moved));
            told.lines.extend_from_slice(&last.lines);
        }
    }
}

/// Whether these bytes may be a field's value (RFC 9110, section 5.5).
fn is_value(bytes: &[u8]) -> bool {
    // Not `all`, which would look at one byte at a time.
    bytes.iter().fold(true, |legal, byte| legal & ((*byte >= b' ') & (*byte != 0x7f) | (*byte == b'\t')))
}

#[cfg(test)]
mod tests {
    use super::*;

    use http::header;
    use proptest::prelude::*;

    /// What is set among fields, as the lines that it would be.
    fn set(told: &Told) -> Vec<u8> {
        let mut fields = HeaderMap::new();
        told.set(&mut fields);
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat()
        };
        fields.iter().flat_map(line).collect()
    }

    #[test]
    fn what_is_left_out_is_replaced_and_not_told() {
        let mut told = Told::nothing();
        told.leave_out(&header::TE);
        told.tell(&header::VIA, |value| value.extend_from_slice(b"x"));
        assert!(told.replaces("te") && told.replaces("via") && !told.replaces("host"));
        assert_eq!(set(&told), b"via: x\r\n");
        assert_eq!(told.into_lines(), b"via: x\r\n");
    }

    #[test]
    fn what_was_told_last_of_a_host_is_told_again_until_another_is_asked_for() {
        let last = Last::default();
        let mut made = 0;
        let mut tell = |host: &'static str| {
            let mut told = Told::nothing();
            told.tell(&header::VIA, |value| value.extend_from_slice(b"us"));
            last.tell(&mut told, host, |told| {
                made += 1;
                told.leave_out(&header::TE);
                told.tell(&header::FROM, |value| value.extend_from_slice(host.as_bytes()));
            });
            assert!(told.replaces("te") && told.replaces("from") && told.replaces("via"));
            assert_eq!(set(&told), told.lines);
            String::from_utf8(told.into_lines()).unwrap()
        };
        assert_eq!(
            ["a", "a", "b", "a"].map(&mut tell),
            ["a", "a", "b", "a"].map(|host| format!("via: us\r\nfrom: {host}\r\n"))
        );
        assert_eq!(made, 3);
    }

    proptest! {
        #[test]
        fn lines_and_fields_tell_the_same_and_no_value_begins_another_line(
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 3)
        ) {
            let mut told = Told::nothing();
            for (name, value) in [&header::VIA, &header::FROM, &header::WARNING].into_iter().zip(&values) {
                told.tell(name, |line| line.extend_from_slice(value));
            }
            // Blanks around a value are none of it, and a map keeps them.
            prop_assert_eq!(set(&told), told.lines.clone());
            prop_assert_eq!(told.lines.windows(2).filter(|end| end == b"\r\n").count(), 3);
            for byte in [b'\r', b'\n', 0] {
                prop_assert!(told.lines.split(|b| *b == b'\n').all(|line| !line.trim_ascii_end().contains(&byte)));
            }
        }
    }
}
