//! Open-loop load: requests leave when the schedule says, whatever became of those before them.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

mod client;
mod exchange;
mod pacer;
mod passage;
mod request;
mod running;
mod schedule;
mod tallies;

pub use running::RunningLoad;
pub use schedule::{InvalidRate, Length, Rate, Spacing};
pub use tallies::LiveCounts;

/// The HTTP version that a load speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1 on kept connections, one request at a time on each.
    #[default]
    Http1,
    /// HTTP/2 without TLS and without upgrade, up to 100 requests at a time on each connection.
    H2c,
}

/// Where a client says who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientKey {
    /// In a cookie of this name.
    Cookie(String),
    /// In a header of this name.
    Header(HeaderName),
}

/// The clients that requests come from: each request draws one of them, all as likely, and says `client-N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clients {
    /// How many there are.
    pub population: NonZeroU32,
    /// Where they say who they are.
    pub key: ClientKey,
}

/// What to send, where and how fast. Build one with [`Load::new`] and change what should differ:
///
/// ```no_run
/// # fn main() -> anyhow::Result<()> {
/// use std::time::Duration;
/// use loadtest::{Length, Load, Rate};
///
/// let load = Load {
///     rate: Rate::per_second(500.0)?,
///     length: Length::Lasts(Duration::from_secs(10)),
///     ..Load::new("127.0.0.1:8080".parse()?)
/// };
/// println!("{}", load.start()?.wait());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Load {
    /// Where requests go.
    pub target: SocketAddr,
    /// How many requests a second; [`RunningLoad::set_rate`] changes it later.
    pub rate: Rate,
    /// How they are spaced.
    pub spacing: Spacing,
    /// When the schedule ends.
    pub length: Length,
    /// What draws the random spacing and the clients.
    pub seed: u64,
    /// The host that requests name.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// The method.
    pub method: Method,
    /// Headers beside `host` and the client's.
    pub headers: HeaderMap<HeaderValue>,
    /// The body; empty for none.
    pub body: Bytes,
    /// The clients that requests come from; `None` for anonymous ones.
    pub clients: Option<Clients>,
    /// The HTTP version.
    pub protocol: Protocol,
    /// How many idle connections are kept. A request that finds none idle opens another, so that a slow server holds
    /// up nobody; `in_flight` bounds how many there can be.
    pub idle_connections: usize,
    /// How many requests may be waiting for their response. What the schedule wants beyond is not sent, and counted.
    pub in_flight: usize,
    /// When a client leaves without its whole response, counted from the moment it sends; `None` for never.
    pub timeout: Option<Duration>,
    /// How long requests may still take once the schedule is over, before they are given up as unfinished.
    pub grace: Duration,
}

impl Load {
    /// 100 evenly spaced requests a second for `/`, HTTP/1.1, until stopped; 512 idle connections, 10 000 requests in
    /// flight, no timeout, 5 s of grace.
    #[must_use]
    pub fn new(target: SocketAddr) -> Self {
        Self {
            target,
            rate: Rate::HUNDRED,
            spacing: Spacing::Even,
            length: Length::UntilStopped,
            seed: 1,
            host: target.to_string(),
            path: "/".to_owned(),
            method: Method::GET,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            clients: None,
            protocol: Protocol::Http1,
            idle_connections: 512,
            in_flight: 10_000,
            timeout: None,
            grace: Duration::from_secs(5),
        }
    }

    /// Starts sending, on two threads of its own: one that keeps the schedule, one that speaks HTTP.
    ///
    /// # Errors
    /// Where host, path or the clients' cookie cannot be sent, or the system has no thread left.
    pub fn start(self) -> anyhow::Result<RunningLoad> {
        RunningLoad::start(self)
    }
}
