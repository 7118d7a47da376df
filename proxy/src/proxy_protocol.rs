//! The PROXY protocol, versions 1 and 2 (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>): who the client
//! of a load balancer is. A pure reading of bytes; who may send them is decided elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 1, its line end included (section 2.1).
pub const LONGEST_V1: usize = 107;
/// The longest header of version 2 that is read: what comes before the length, and 536 bytes, which is what the
/// specification has every receiver accept at once (section 2.2).
pub const LONGEST_V2: usize = 16 + 536;

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with.
const WORD: &[u8; 6] = b"PROXY ";

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// It speaks for the client at this address.
    Client(SocketAddr),
    /// It speaks for itself (LOCAL), or does not know for whom (UNKNOWN, UNSPEC), or for a client that has no address
    /// (a Unix socket).
    Nobody,
}

/// How far a header has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It is whole: what it says, and how many bytes it took.
    Whole(Announced, usize),
    /// More bytes are needed. Never where there are [`LONGEST_V2`] already.
    Partial,
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They begin otherwise.
    #[error("the connection does not begin with a PROXY protocol header")]
    NoHeader,
    /// A line of version 1 that does not end.
    #[error("a PROXY line longer than {LONGEST_V1} bytes")]
    LongLine,
    /// A line of version 1 that says something else.
    #[error("a PROXY line that cannot be understood")]
    BadLine,
    /// Another version than 1 and 2, or another command than LOCAL and PROXY.
    #[error("a PROXY header of an unknown version or command")]
    Unknown,
    /// A header of version 2 that is longer than it may be.
    #[error("a PROXY header longer than {LONGEST_V2} bytes")]
    Long,
    /// A header of version 2 that is shorter than its addresses.
    #[error("a PROXY header too short for its addresses")]
    Short,
}

/// Reads the header that these bytes begin with.
///
/// # Errors
/// As soon as the bytes cannot become one.
pub fn read(bytes: &[u8]) -> Result<Reading, Malformed> {
    if is_beginning(bytes, SIGNATURE) {
        version_2(bytes)
    } else if is_beginning(bytes, WORD) {
        version_1(bytes)
    } else {
        Err(Malformed::NoHeader)
    }
}

/// Whether bytes begin with these, as far as there are any.
fn is_beginning(bytes: &[u8], with: &[u8]) -> bool {
    let both = bytes.len().min(with.len());
    bytes[..both] == with[..both]
}

fn version_1(bytes: &[u8]) -> Result<Reading, Malformed> {
    let within = &bytes[..bytes.len().min(LONGEST_V1)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() >= LONGEST_V1 { Err(Malformed::LongLine) } else { Ok(Reading::Partial) };
    };
    let line = str::from_utf8(&within[..end]).map_err(|_| Malformed::BadLine)?;
    let announced = line_of_v1(line).ok_or(Malformed::BadLine)?;
    Ok(Reading::Whole(announced, end + 2))
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443`: the client's address, ours, its port, ours.
fn line_of_v1(line: &str) -> Option<Announced> {
    let mut words = line.split(' ');
    words.next().filter(|word| *word == "PROXY")?;
    let family = words.next()?;
    if family == "UNKNOWN" {
        // Whatever follows is to be ignored.
        return Some(Announced::Nobody);
    }
    let address = |word: &str| match family {
        "TCP4" => word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    let (from, _to) = (address(words.next()?)?, address(words.next()?)?);
    let (port, _to) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then(|| Announced::Client(SocketAddr::new(from, port)))
}

/// A decimal number without sign and leading zeros.
fn port(word: &str) -> Option<u16> {
    let is_plain = word == "0" || (!word.starts_with('0') && word.bytes().all(|digit| digit.is_ascii_digit()));
    word.parse().ok().filter(|_| is_plain)
}

fn version_2(bytes: &[u8]) -> Result<Reading, Malformed> {
    if bytes.get(12).is_some_and(|byte| !is_known(*byte)) {
        return Err(Malformed::Unknown);
    }
    let Some(&[version_and_command, family, high, low]) = bytes.get(12..16) else { return Ok(Reading::Partial) };
    let end = 16 + usize::from(u16::from_be_bytes([high, low]));
    if end > LONGEST_V2 {
        return Err(Malformed::Long);
    }
    let Some(rest) = bytes.get(16..end) else { return Ok(Reading::Partial) };
    let is_local = version_and_command & 0xf == 0;
    let announced = if is_local { Announced::Nobody } else { addresses(family, rest)? };
    Ok(Reading::Whole(announced, end))
}

/// Version 2, and LOCAL or PROXY.
fn is_known(version_and_command: u8) -> bool {
    matches!(version_and_command, 0x20 | 0x21)
}

/// The client's address; what follows the addresses (TLVs) is skipped.
fn addresses(family: u8, rest: &[u8]) -> Result<Announced, Malformed> {
    let port = |at: usize| rest.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_be_bytes);
    let client = match family >> 4 {
        // IPv4: two addresses, two ports.
        1 => {
            let whole = rest.first_chunk::<12>().ok_or(Malformed::Short)?;
            let from = Ipv4Addr::new(whole[0], whole[1], whole[2], whole[3]);
            SocketAddr::new(from.into(), port(8).ok_or(Malformed::Short)?)
        }
        // IPv6, the same.
        2 => {
            let _whole = rest.first_chunk::<36>().ok_or(Malformed::Short)?;
            let from = rest.first_chunk::<16>().ok_or(Malformed::Short)?;
            SocketAddr::new(Ipv6Addr::from(*from).into(), port(32).ok_or(Malformed::Short)?)
        }
        // Unix: two paths of 108 bytes.
        3 if rest.len() < 216 => return Err(Malformed::Short),
        // Unspecified, or a family that is yet to come: the connection itself tells all that is known.
        _ => return Ok(Announced::Nobody),
    };
    Ok(Announced::Client(client))
}

#[cfg(test)]
mod tests;
