//! A response to a client of HTTP/1.0 that pingora writes in chunks, as it does whatever an HTTP/2 endpoint sends without a
//! length. HTTP/1.0 knows no chunks: what frames them is left out, and the body ends with the connection (RFC 9112,
//! section 6.3).

use super::chunks::ChunkCheck;
use super::head_check::HeadLimits;

/// What ends a head.
const END: &[u8] = b"\r\n\r\n";
/// The field that says so.
const FIELD: &[u8] = b"transfer-encoding:";

/// Leaves the frames out.
#[derive(Debug)]
pub(super) struct Unchunk {
    /// What is there of the head; none once it was passed on.
    head: Option<Vec<u8>>,
    chunks: ChunkCheck,
}

impl Unchunk {
    /// A response begins.
    pub(super) fn new() -> Self {
        Self { head: Some(Vec::new()), chunks: ChunkCheck::new(HeadLimits::default()) }
    }

    /// Adds to `out` what the client gets of these bytes, which are never fewer. `false` where they are no chunks.
    pub(super) fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(head) = &mut self.head else { return self.body(bytes, out) };
        // The end may have come in two pieces.
        let from = head.len().saturating_sub(END.len());
        head.extend_from_slice(bytes);
        let Some(end) = head[from..].windows(END.len()).position(|four| four == END) else { return true };
        let mut head = self.head.take().unwrap_or_default();
        let body = head.split_off(from + end + END.len());
        let lines = head.split_inclusive(|byte| *byte == b'\n');
        let is_it = |line: &[u8]| line.get(..FIELD.len()).is_some_and(|name| name.eq_ignore_ascii_case(FIELD));
        lines.filter(|line| !is_it(line)).for_each(|line| out.extend_from_slice(line));
        self.body(&body, out)
    }

    fn body(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> bool {
        while !bytes.is_empty() && !self.chunks.is_whole() {
            let before = self.chunks.data();
            let Ok(count) = self.chunks.step(bytes) else { return false };
            if self.chunks.data() > before {
                out.extend_from_slice(&bytes[..count]);
            }
            bytes = &bytes[count..];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &[u8] = b"HTTP/1.1 200 OK\r\nServer: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                             6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n";
    const READ: &[u8] = b"HTTP/1.1 200 OK\r\nServer: x\r\nConnection: close\r\n\r\nhello world";

    #[test]
    fn however_the_bytes_are_cut_the_client_gets_head_and_body_and_no_frames() {
        for size in 1..=WRITTEN.len() {
            let (mut unchunk, mut out) = (Unchunk::new(), Vec::new());
            assert!(WRITTEN.chunks(size).all(|piece| unchunk.pass(piece, &mut out)), "{size}");
            assert_eq!(out, READ, "{size}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_no_body() {
        let mut unchunk = Unchunk::new();
        assert!(!unchunk.pass(b"HTTP/1.1 200 OK\r\n\r\nhello", &mut Vec::new()));
    }
}
