//! The list of hops that a request has come by, as the nearest hop tells it.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};

use http::HeaderValue;
use http::header::{FORWARDED, GetAll};
use http::request::Parts;

use super::FOR;

/// Elements that are read, and told on. A longer list is cut from the left, where its least credible part is.
const MOST: usize = 64;
/// Bytes of a list that are read, and told on.
const MOST_BYTES: usize = 4 << 10;

/// The hops before the peer, the nearest last. Told by `X-Forwarded-For`, or, where there is none, by `Forwarded`:
/// most hops write the former and let pass what a client says in the latter, so the two are never mixed.
#[derive(Debug)]
pub(super) struct Chain<'a> {
    elements: [&'a [u8]; MOST],
    /// Where the first one is in `elements`.
    from: usize,
    syntax: Syntax,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    /// `X-Forwarded-For`: addresses.
    Plain,
    /// `Forwarded` (RFC 7239): parameters, of which `for` is the address.
    Parameters,
}

/// Who a hop was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Address(IpAddr),
    /// Hidden, or not written as an address.
    Unknown,
}

impl Default for Chain<'_> {
    /// No hops.
    fn default() -> Self {
        Self { elements: [b""; MOST], from: MOST, syntax: Syntax::Plain }
    }
}

impl<'a> Chain<'a> {
    /// The hops that a request tells of.
    pub(super) fn of(request: &'a Parts) -> Self {
        let mut chain = Self::default();
        let plain = request.headers.get_all(&FOR);
        if plain.iter().next().is_some() {
            chain.take(&plain, |value, take| value.rsplit(|byte| *byte == b',').all(take));
        } else {
            chain.syntax = Syntax::Parameters;
            chain.take(&request.headers.get_all(FORWARDED), from_the_right);
        }
        chain
    }

    /// Takes elements from the right until there are enough. `split` gives the elements of a value from the right, as
    /// long as it is told to go on, and says whether it was.
    fn take(
        &mut self,
        values: &GetAll<'a, HeaderValue>,
        split: impl Fn(&'a [u8], &mut dyn FnMut(&'a [u8]) -> bool) -> bool,
    ) {
        let mut room = MOST_BYTES;
        let mut take = |element: &'a [u8]| {
            let element = element.trim_ascii();
            if element.is_empty() {
                return true;
            }
            // With the comma and blank that it is told on with.
            let size = element.len() + 2;
            if self.from == 0 || size > room {
                return false;
            }
            room -= size;
            self.from -= 1;
            self.elements[self.from] = element;
            true
        };
        for value in values.iter().rev() {
            if !split(value.as_bytes(), &mut take) {
                break;
            }
        }
    }

    /// The hops' addresses, the nearest first; none for one that is not written as an address.
    pub(super) fn nearest_first(&self) -> impl Iterator<Item = Option<IpAddr>> + '_ {
        self.elements().iter().rev().map(|element| match self.node(element) {
            Node::Address(address) => Some(address),
            Node::Unknown => None,
        })
    }

    fn elements(&self) -> &[&'a [u8]] {
        &self.elements[self.from..]
    }

    fn node(&self, element: &[u8]) -> Node {
        let text = match self.syntax {
            Syntax::Plain => std::str::from_utf8(element).ok(),
            Syntax::Parameters => parameter(element, "for"),
        };
        text.and_then(address).map_or(Node::Unknown, Node::Address)
    }

    /// What the nearest hop says in a parameter of its own.
    pub(super) fn said_by_the_nearest(&self, name: &str) -> Option<&'a str> {
        match self.syntax {
            Syntax::Plain => None,
            Syntax::Parameters => parameter(self.elements().last()?, name),
        }
    }

    /// Writes the list as `X-Forwarded-For` has it, ready for one more.
    pub(super) fn write_hops(&self, into: &mut Vec<u8>) {
        for element in self.elements() {
            match self.syntax {
                Syntax::Plain => into.extend_from_slice(element),
                Syntax::Parameters => self.node(element).write(into),
            }
            into.extend_from_slice(b", ");
        }
    }

    /// Writes the list as `Forwarded` has it, ready for one more. The nearest hop, where it spoke in other headers,
    /// said these of the request that it got.
    pub(super) fn write_forwarded(&self, into: &mut Vec<u8>, proto: Option<&str>, host: Option<&str>) {
        let elements = self.elements();
        for (place, element) in elements.iter().enumerate() {
            match self.syntax {
                Syntax::Parameters => into.extend_from_slice(element),
                Syntax::Plain => {
                    into.extend_from_slice(b"for=");
                    self.node(element).write_quoted(into);
                    if place + 1 == elements.len() {
                        write_host_and_proto(into, host, proto);
                    }
                }
            }
            into.extend_from_slice(b", ");
        }
    }
}

impl Node {
    /// As `X-Forwarded-For` has it.
    pub(super) fn write(self, into: &mut Vec<u8>) {
        // Writing to a buffer does not fail.
        match self {
            Self::Address(IpAddr::V4(address)) => write_octets(address, into),
            Self::Address(IpAddr::V6(address)) => drop(write!(into, "{address}")),
            Self::Unknown => into.extend_from_slice(b"unknown"),
        }
    }

    /// As `Forwarded` has it: an IPv6 address in brackets and quotes (RFC 7239, section 6).
    pub(super) fn write_quoted(self, into: &mut Vec<u8>) {
        match self {
            Self::Address(IpAddr::V6(address)) => drop(write!(into, "\"[{address}]\"")),
            Self::Address(IpAddr::V4(_)) | Self::Unknown => self.write(into),
        }
    }
}

/// Writes an address as `Display` does, for a fifth of its price.
fn write_octets(address: Ipv4Addr, into: &mut Vec<u8>) {
    for (place, octet) in address.octets().into_iter().enumerate() {
        if place > 0 {
            into.push(b'.');
        }
        if octet >= 100 {
            into.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            into.push(b'0' + octet / 10 % 10);
        }
        into.push(b'0' + octet % 10);
    }
}

/// Writes these parameters of a `Forwarded` element, after its first.
pub(super) fn write_host_and_proto(into: &mut Vec<u8>, host: Option<&str>, proto: Option<&str>) {
    if let Some(host) = host.filter(|host| super::is_host(host)) {
        into.extend_from_slice(b";host=\"");
        into.extend_from_slice(host.as_bytes());
        into.push(b'"');
    }
    if let Some(proto) = proto {
        into.extend_from_slice(b";proto=");
        into.extend_from_slice(proto.as_bytes());
    }
}

/// Gives the elements of a `Forwarded` value from the right, and says whether it was told to go on. A comma within
/// quotes parts nothing; where a quote is not closed, nobody can tell the elements apart, and the value is one that
/// names no address.
fn from_the_right<'a>(value: &'a [u8], take: &mut dyn FnMut(&'a [u8]) -> bool) -> bool {
    let mut commas = [0; MOST];
    let mut seen = 0;
    let (mut quoted, mut escaped) = (false, false);
    for (place, byte) in value.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                commas[seen % MOST] = place;
                seen += 1;
            }
            _ => {}
        }
    }
    if quoted {
        // Told on as it is, it would take into its quotes what is said after it.
        return take(b"for=unknown");
    }
    let mut end = value.len();
    // Of the commas the last ones are known: as many as a list may have elements.
    for back in 0..seen.min(MOST) {
        let comma = commas[(seen - 1 - back) % MOST];
        if !take(&value[comma + 1..end]) {
            return false;
        }
        end = comma;
    }
    seen > MOST || take(&value[..end])
}

/// The value of a parameter of a `Forwarded` element, without its quotes. None where the element is malformed, has it
/// twice, or has an escape in it, which no address, host or scheme needs.
fn parameter<'a>(element: &'a [u8], wanted: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(element).ok()?;
    let mut found = None;
    for pair in text.split(';') {
        let (name, value) = pair.split_once('=')?;
        if name.trim().eq_ignore_ascii_case(wanted) {
            let value = value.trim();
            let bare = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
            if found.is_some() || bare.contains(['"', '\\']) {
                return None;
            }
            found = Some(bare);
        }
    }
    found
}

/// An address as hops write it: with or without a port, IPv6 with or without brackets. IPv4 in IPv6 form is IPv4.
fn address(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let has_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return address.parse::<std::net::Ipv6Addr>().ok().filter(|_| has_port).map(|v6| IpAddr::V6(v6).to_canonical());
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (address, port) = text.split_once(':')?;
    address.parse::<Ipv4Addr>().ok().filter(|_| is_port(port)).map(IpAddr::V4)
}

/// A port, or an obfuscated one (RFC 7239, section 6.2).
fn is_port(text: &str) -> bool {
    let number = !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    let hidden = text.len() > 1 && text.starts_with('_');
    number || hidden && text[1..].bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
