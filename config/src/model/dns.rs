//! How the names of endpoints are resolved.

use std::net::SocketAddr;
use std::time::Duration;

/// How the names of endpoints are resolved: `/etc/hosts` first, then the servers; again whenever an answer is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Whom to ask, in this order; no two the same, at most 8. Empty: those of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// An answer holds for at least so long, whatever its TTL; 1 s.
    pub at_least: Duration,
    /// An answer holds for at most so long, whatever its TTL; 5 min. Never below `at_least`.
    pub at_most: Duration,
    /// How long a server has to answer before the next one is asked; 2 s.
    pub timeout: Duration,
    /// Which addresses are used of a name that has both kinds.
    pub prefer: IpFamily,
}

/// A kind of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum IpFamily {
    /// IPv4.
    #[default]
    V4,
    /// IPv6.
    V6,
}

impl Dns {
    /// More servers than this are not asked.
    pub const MOST_SERVERS: usize = 8;
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            at_least: Duration::from_secs(1),
            at_most: Duration::from_secs(300),
            timeout: Duration::from_secs(2),
            prefer: IpFamily::default(),
        }
    }
}
