//! Rules for all traffic, whatever the service: how long, how much, how strictly, and what is told of it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::units::{Bytes, Fraction};

/// Rules for all traffic. A reload changes them for connections and requests that begin after it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    /// How long each phase may take.
    pub timeouts: Timeouts,
    /// How much is taken.
    pub limits: Limits,
    /// How strictly request heads are read.
    pub requests: Strictness,
    /// Hops in front whose `X-Forwarded-*` and `Forwarded` are believed. Empty: nobody's.
    pub trusted: Vec<AddressRange>,
    /// The access log; none by default.
    pub access_log: Option<AccessLog>,
    /// The times of an orderly end.
    pub drain: Drain,
}

/// The times of an orderly end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// For so long after it is said that the process ends, connections are still accepted and kept: whoever sends them
    /// may not have heard yet; 1 s.
    pub grace: Duration,
    /// So long after that, what is still under way is cut; 30 s.
    pub deadline: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { grace: Duration::from_secs(1), deadline: Duration::from_secs(30) }
    }
}

/// How long each phase may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// A TLS handshake of a client; 10 s.
    pub handshake: Duration,
    /// A whole request head, from its first byte; 10 s.
    pub head: Duration,
    /// Silence within a request body; 30 s.
    pub body: Duration,
    /// A connection to an endpoint, TLS included; 2 s.
    pub connect: Duration,
    /// From the request to the response head; 15 s.
    pub first_byte: Duration,
    /// Silence within a response; 30 s.
    pub response: Duration,
    /// A client that takes nothing of a response; 30 s.
    pub write: Duration,
    /// Between the requests of a client's HTTP/1.1 connection; 75 s.
    pub keepalive: Duration,
    /// An HTTP/2 connection of a client without a stream; 5 min.
    pub http2_idle: Duration,
    /// Silence in a tunnel (an upgraded connection) or a stream of events; 1 h.
    pub tunnel: Duration,
    /// The life of a client's connection, after which it is ended gently; 1 h.
    pub connection: Duration,
    /// An unused connection to an endpoint; 50 s, below the usual 60 s or 75 s of origins, so that we close first.
    pub upstream_idle: Duration,
    /// A whole request with its response; none by default. Tunnels, streams of events and gRPC are exempt.
    pub total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self {
            handshake: s(10),
            head: s(10),
            body: s(30),
            connect: s(2),
            first_byte: s(15),
            response: s(30),
            write: s(30),
            keepalive: s(75),
            http2_idle: s(300),
            tunnel: s(3600),
            connection: s(3600),
            upstream_idle: s(50),
            total: None,
        }
    }
}

/// How much is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Client connections in all; 100 000.
    pub connections: u64,
    /// Client connections of one address; 4 096. Of an IPv6 address its /64. Trusted hops are exempt.
    pub connections_per_client: u64,
    /// Requests under way of one address, on all its connections together; 4 096. Of an IPv6 address its /64. Trusted hops
    /// are exempt.
    pub requests_per_client: u64,
    /// A request line; 8 KiB, or the head's where that is less. Never more than the head's, nor than 64 KiB.
    pub request_line: Bytes,
    /// A request or response head; 32 KiB. At most 1 MiB.
    pub head: Bytes,
    /// The fields of a head; 100. At most 256, which is the parser's own limit.
    pub headers: u64,
    /// A request body; none by default.
    pub body: Option<Bytes>,
    /// Streams of an HTTP/2 connection at a time; 100.
    pub http2_streams: u32,
    /// A list of fields in HTTP/2, as RFC 9113 counts it; 64 KiB.
    pub http2_header_list: Bytes,
    /// Streams of an HTTP/2 connection that are reset, by either side, within ten seconds; 200.
    pub http2_resets: u32,
    /// Frames of an HTTP/2 connection that carry nothing (PING, SETTINGS, PRIORITY, empty DATA, CONTINUATION,
    /// WINDOW_UPDATE beyond need) within ten seconds; 2 000.
    pub http2_glitches: u32,
}

impl Limits {
    /// The most connections that can be asked for; more than a system has descriptors.
    pub(crate) const MOST_CONNECTIONS: u64 = 10_000_000;
    /// The least that a head, a request line or a list of fields may be limited to.
    pub(crate) const LEAST_HEAD: Bytes = Bytes::kib(1);
    /// The most: each connection may hold so much.
    pub(crate) const MOST_HEAD: Bytes = Bytes::kib(1024);
    /// The longest request line: what the library takes of a target ends 2 bytes below it.
    pub(crate) const MOST_LINE: Bytes = Bytes::kib(64);
    /// The most fields: the parser's own limit.
    pub(crate) const MOST_HEADERS: u64 = 256;
    /// The most streams of an HTTP/2 connection.
    pub(crate) const MOST_STREAMS: u64 = 10_000;
    /// The most frames in ten seconds that can be asked for.
    pub(crate) const MOST_FRAMES: u64 = 1_000_000;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 100_000,
            connections_per_client: 4_096,
            requests_per_client: 4_096,
            request_line: Bytes::kib(8),
            head: Bytes::kib(32),
            headers: 100,
            body: None,
            http2_streams: 100,
            http2_header_list: Bytes::kib(64),
            http2_resets: 200,
            http2_glitches: 2_000,
        }
    }
}

/// How strictly request heads are read, where strictness is a matter of taste.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Strictness {
    /// Header names with an underscore, which many origins cannot tell from a hyphen.
    pub underscores: Handling,
    /// `%2F` and `%5C` in a path, which some origins take for a slash.
    pub encoded_slashes: Handling,
}

/// What is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Handling {
    /// 400.
    #[default]
    Refuse,
    /// Passed on as it is.
    Pass,
}

/// A log line for each request.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessLog {
    /// Where to.
    pub to: LogTarget,
    /// The share of requests that are logged; all by default. Those that failed are always.
    pub sample: Fraction,
}

/// Where a log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// A file, appended to; opened again at USR1.
    File(PathBuf),
}

/// A range of addresses, written `10.0.0.0/8`, `fd00::/8` or as one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressRange(pub(crate) ipnet::IpNet);

impl AddressRange {
    /// Whether an address is in this range. An IPv4 address in IPv6 form is the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// Whether every address of a family is in this range.
    pub(crate) fn is_everybody(&self) -> bool {
        self.0.prefix_len() == 0
    }
}

impl std::fmt::Display for AddressRange {
    /// As the operator writes it; a range of one address is the address.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}
