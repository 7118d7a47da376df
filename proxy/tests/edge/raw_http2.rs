//! A client of HTTP/2 that frames by hand, and so may send anything.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{LONG, Shop};

/// What carries bytes in both directions: TCP, or TLS over it.
pub(crate) trait Bytes: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Bytes for T {}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame (RFC 9113, section 4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as literals that are not remembered (RFC 7541, section 6.2.2).
pub(crate) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| {
        let length = text.len();
        // A prefix of seven bits, and what is beyond it in sevens (section 5.1).
        let mut bytes = vec![u8::try_from(length.min(127)).unwrap()];
        let mut rest = length.saturating_sub(127);
        if length >= 127 {
            while rest >= 128 {
                bytes.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            bytes.push(u8::try_from(rest).unwrap());
        }
        bytes.extend_from_slice(text.as_bytes());
        bytes
    };
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

pub(crate) fn request(more: &[(&str, &str)]) -> Vec<u8> {
    fields(&[&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "shop")], more].concat())
}

/// What came back of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A response on a stream, with its status where that is a usual one.
    Response(u32, u16),
    /// A stream that was reset.
    Reset(u32, u32),
    /// The connection ends.
    Goaway(u32),
}

/// A client that frames by hand.
pub(crate) struct Raw {
    stream: Box<dyn Bytes>,
    read: Vec<u8>,
}

impl Raw {
    /// Over a connection of its own, without TLS.
    pub(crate) async fn connect(shop: &Shop) -> Self {
        Self::over(TcpStream::connect(shop.address()).await.unwrap()).await
    }

    /// Over this connection.
    pub(crate) async fn over(stream: impl Bytes + 'static) -> Self {
        let mut stream: Box<dyn Bytes> = Box::new(stream);
        // No field is remembered, so that each status is written out.
        let settings = frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]);
        stream.write_all(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings].concat()).await.unwrap();
        stream.flush().await.unwrap();
        Self { stream, read: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // The proxy may have closed already, which is what is looked for.
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// The next thing of interest; none once the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<Seen> {
        loop {
            while self.read.len() >= 9 {
                let length = usize::from(self.read[1]) << 8 | usize::from(self.read[2]);
                if self.read.len() < 9 + length {
                    break;
                }
                let rest = self.read.split_off(9 + length);
                let frame = std::mem::replace(&mut self.read, rest);
                let word = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().unwrap());
                match frame[3] {
                    HEADERS => return Some(Seen::Response(word(5), status_in(&frame[9..]))),
                    RESET => return Some(Seen::Reset(word(5), word(9))),
                    GOAWAY => return Some(Seen::Goaway(word(13))),
                    _ => {}
                }
            }
            let mut buffer = [0; 4096];
            match tokio::time::timeout(LONG, self.stream.read(&mut buffer)).await.expect("an end in time") {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.read.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// All that comes until the connection ends.
    pub(crate) async fn rest(&mut self) -> Vec<Seen> {
        let mut all = Vec::new();
        while let Some(seen) = self.next().await {
            all.push(seen);
        }
        all
    }
}

/// The status that a response begins with (RFC 7541: in the static table, or a literal of the name at its place 8).
fn status_in(block: &[u8]) -> u16 {
    match block.iter().find(|byte| **byte & 0xe0 != 0x20) {
        Some(0x88) => 200,
        Some(0x8c) => 400,
        Some(0x8d) => 404,
        Some(0x8e) => 500,
        Some(_) => literal_status(block).unwrap_or(0),
        None => 0,
    }
}

fn literal_status(block: &[u8]) -> Option<u16> {
    let at = block.iter().position(|byte| matches!(byte, 0x48 | 0x08 | 0x18))?;
    let (length, value) = block.get(at + 1..)?.split_first()?;
    let value = value.get(..usize::from(length & 0x7f))?;
    if length & 0x80 == 0 {
        return std::str::from_utf8(value).ok()?.parse().ok();
    }
    // Huffman's code of digits (appendix B): 0 to 2 have five bits, the others six.
    let bits: String = value.iter().map(|byte| format!("{byte:08b}")).collect();
    let (mut status, mut at) = (0, 0);
    for _ in 0..3 {
        let of = |length| u16::from_str_radix(bits.get(at..at + length)?, 2).ok();
        let short = of(5)?;
        let (digit, length) = if short <= 2 { (short, 5) } else { (of(6)?.checked_sub(22)?, 6) };
        status = status * 10 + digit;
        at += length;
    }
    Some(status)
}
