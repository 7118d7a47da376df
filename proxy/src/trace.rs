//! The trace that a request is part of: W3C Trace Context, level 1 (<https://www.w3.org/TR/trace-context-1/>), passed
//! on or begun.
//!
//! Tidegate records no spans. So a valid `traceparent` goes on as it is, and the origin's parent is whoever called us.
//! Where there is none, a trace begins here with the flag "sampled" off, as the standard wants of whoever leaves the
//! decision to others (section 3.2.2.5.1).

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora_http::RequestHeader;

use crate::told::Told;

static PARENT: HeaderName = HeaderName::from_static("traceparent");
static STATE: HeaderName = HeaderName::from_static("tracestate");
/// The length of version 00. Later versions may be longer.
const LENGTH: usize = 55;
/// What at least is passed on of a `tracestate` (section 3.3.1.5).
const LONGEST_STATE: usize = 512;

/// A trace's id: 16 bytes, not all 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The trace of one request, the same for each of its attempts.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Its id.
    pub id: TraceId,
    /// What begins it, where the client did not.
    begun: Option<[u8; LENGTH]>,
}

impl Trace {
    /// The trace that a request belongs to: the client's, or a new one.
    pub fn of(request: &RequestHeader) -> Self {
        let mut parents = request.headers.get_all(&PARENT).iter();
        // Two are none: nobody knows which one the origin would take.
        let one = parents.next().filter(|_| parents.next().is_none());
        one.and_then(|parent| id_of(parent.as_bytes())).map_or_else(Self::begin, |id| Self { id, begun: None })
    }

    /// A new trace.
    pub fn begin() -> Self {
        // Of numbers at random, one in 2^64 is 0, which is not allowed.
        let (id, parent) = (fastrand::u128(1..), fastrand::u64(1..));
        let mut text: [u8; LENGTH] = *b"00-................................-................-00";
        write_hexadecimal(&id.to_be_bytes(), &mut text[3..35]);
        write_hexadecimal(&parent.to_be_bytes(), &mut text[36..52]);
        Self { id: TraceId(id), begun: Some(text) }
    }

    /// Tells the origin. A `tracestate` goes with its `traceparent` alone, and its last entries are left out where it
    /// is longer than 512 bytes.
    pub fn to_origin(&self, told: &mut Told, request: &mut Parts) {
        if let Some(begun) = &self.begun {
            told.tell(&PARENT, |value| value.extend_from_slice(begun));
            told.leave_out(&STATE);
        } else {
            shorten_state(&mut request.headers);
        }
    }
}

/// Every byte in hexadecimal.
static PAIRS: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

/// Writes bytes as `{:x}` would, for a fifth of its price: most requests begin a trace.
fn write_hexadecimal(bytes: &[u8], into: &mut [u8]) {
    let (pairs, _) = into.as_chunks_mut();
    for (byte, pair) in bytes.iter().zip(pairs) {
        *pair = PAIRS[usize::from(*byte)];
    }
}

/// The trace id of a `traceparent` that is valid: version, trace id, parent id and flags in lower-case hexadecimal.
fn id_of(parent: &[u8]) -> Option<TraceId> {
    let well_formed = |field: &[u8]| field.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let (known, rest) = parent.split_at_checked(LENGTH)?;
    let fields = [&known[..2], &known[3..35], &known[36..52], &known[53..]];
    let hyphens = [2, 35, 52].iter().all(|place| known[*place] == b'-');
    let is_future = known[..2] != *b"00";
    let goes_on = rest.is_empty() || (is_future && rest[0] == b'-');
    if !hyphens || !goes_on || known[..2] == *b"ff" || !fields.iter().all(|field| well_formed(field)) {
        return None;
    }
    let number = |field: &[u8]| u128::from_str_radix(std::str::from_utf8(field).ok()?, 16).ok().filter(|n| *n > 0);
    number(fields[2])?;
    number(fields[1]).map(TraceId)
}

/// Cuts a `tracestate` that is too long at the end of an entry.
fn shorten_state(fields: &mut HeaderMap) {
    let values = fields.get_all(&STATE);
    // Joined with a comma each.
    let length: usize = values.iter().map(|value| value.len() + 1).sum();
    if length <= LONGEST_STATE + 1 {
        return;
    }
    let mut kept = BytesMut::with_capacity(LONGEST_STATE);
    for entry in values.iter().flat_map(|value| value.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii) {
        if kept.len() + 1 + entry.len() > LONGEST_STATE {
            break;
        }
        if !kept.is_empty() {
            kept.put_u8(b',');
        }
        kept.put_slice(entry);
    }
    let kept: Bytes = kept.freeze();
    fields.remove(&STATE);
    if !kept.is_empty()
        && let Ok(kept) = HeaderValue::from_maybe_shared(kept)
    {
        let _ = fields.try_insert(STATE.clone(), kept);
    }
}

#[cfg(test)]
mod tests;
