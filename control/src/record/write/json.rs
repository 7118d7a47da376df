//! JSON, written by hand.

use std::sync::LazyLock;

use meter::LATENCY_BUCKETS;

/// An object that is being written.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    before: u8,
}

impl<'a> Object<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        Self { out, before: b'{' }
    }

    /// Writes the key, which needs no escapes; its value is to follow.
    pub(super) fn key(&mut self, key: &str) -> &mut Vec<u8> {
        self.out.push(self.before);
        self.before = b',';
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub(super) fn end(self) {
        if self.before == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }
}

/// The beginnings of tuples that begin with the number of a bucket, with the comma before them: `,[700,`. Most of a line
/// is made of them.
static BEGINNINGS: LazyLock<Vec<Beginning>> = LazyLock::new(|| (0..LATENCY_BUCKETS).map(Beginning::of).collect());

/// Text of at most seven bytes, and how many.
#[derive(Debug, Clone, Copy)]
struct Beginning([u8; 8]);

const _: () = assert!(LATENCY_BUCKETS <= 10_000, "four digits, two commas and a bracket");

impl Beginning {
    fn of(bucket: usize) -> Self {
        let text = format!(",[{bucket},");
        let mut bytes = [0; 8];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        bytes[7] = text.len() as u8;
        Self(bytes)
    }
}

/// Tuples of a bucket and a count, put together aside and copied many at once.
pub(super) struct Tuples {
    beginnings: &'static [Beginning],
    text: [u8; Self::ROOM],
    length: usize,
    first: bool,
}

impl Tuples {
    const ROOM: usize = 512;
    /// A beginning with what lies behind it, a count, and a bracket.
    const LONGEST: usize = 8 + MOST_DIGITS + 1;

    pub(super) fn begin() -> Self {
        Self { beginnings: &BEGINNINGS, text: [0; Self::ROOM], length: 0, first: true }
    }

    pub(super) fn add(&mut self, out: &mut Vec<u8>, bucket: usize, count: u64) {
        if self.length > Self::ROOM - Self::LONGEST {
            self.end(out);
        }
        let Some(Beginning(beginning)) = self.beginnings.get(bucket) else { return };
        let Self { text, length, .. } = self;
        text[*length..*length + 8].copy_from_slice(beginning);
        *length += usize::from(beginning[7]);
        if count < 10 {
            text[*length] = b'0' + count as u8;
            *length += 1;
        } else {
            let mut room = [0; MOST_DIGITS];
            let first = digits(count, &mut room, MOST_DIGITS);
            let digits = &room[first..];
            text[*length..*length + digits.len()].copy_from_slice(digits);
            *length += digits.len();
        }
        text[*length] = b']';
        *length += 1;
    }

    /// Copies what was put together.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        // No comma is before the first of all.
        let from = usize::from(std::mem::take(&mut self.first) && self.length > 0);
        out.extend_from_slice(&self.text[from..self.length]);
        self.length = 0;
    }
}

/// A list of small tuples: each is put together aside and copied once.
pub(super) struct List {
    before: u8,
}

impl List {
    /// A tuple has at most so many numbers.
    pub(super) const MOST: usize = 6;

    pub(super) const fn begin() -> Self {
        Self { before: b'[' }
    }

    /// Writes a tuple of at least one number; numbers beyond [`MOST`](Self::MOST) are left out.
    pub(super) fn tuple(&mut self, out: &mut Vec<u8>, numbers: &[u64]) {
        let mut text = [0; 3 + Self::MOST * (MOST_DIGITS + 1)];
        // From its end to its beginning, as digits come.
        let mut first = text.len() - 1;
        text[first] = b']';
        for number in numbers.iter().take(Self::MOST).rev() {
            first = digits(*number, &mut text, first) - 1;
            text[first] = b',';
        }
        text[first] = b'[';
        first -= 1;
        text[first] = self.before;
        self.before = b',';
        out.extend_from_slice(&text[first..]);
    }

    pub(super) fn end(self, out: &mut Vec<u8>) {
        if self.before == b'[' {
            out.push(b'[');
        }
        out.push(b']');
    }
}

/// Writes a number in digits.
pub(super) fn number(out: &mut Vec<u8>, value: u64) {
    if value < 10 {
        return out.push(b'0' + value as u8);
    }
    let mut text = [0; MOST_DIGITS];
    let first = digits(value, &mut text, MOST_DIGITS);
    out.extend_from_slice(&text[first..]);
}

/// As many as the largest number has.
const MOST_DIGITS: usize = 20;

/// Writes the digits of a number that end before `end`; gives the place of the first.
fn digits(mut value: u64, text: &mut [u8], end: usize) -> usize {
    let mut first = end;
    loop {
        first -= 1;
        text[first] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return first;
        }
    }
}
