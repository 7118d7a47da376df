//! The proven configuration: what the rest of Tidegate works with.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use crate::units::Weight;

mod gate;
mod plan;

pub use gate::{Gate, GateRole, GateRule, LatencyMargin, LatencyOf, Tolerance};
pub use plan::{Advance, Baseline, Deadline, OnDeadline, Plan, Step};

/// A whole configuration. Service names and routes are unique; every reference resolves.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    /// Where clients connect. Never empty.
    pub listeners: Vec<Listener>,
    /// Where operators connect.
    pub admin: Admin,
    /// The state directory.
    pub state: PathBuf,
    /// The services, in the order of the file.
    pub services: Vec<Service>,
    /// Plans that a rollout may name (`rollout start --plan NAME`), beside each service's own.
    pub plans: Vec<(Name, Plan)>,
}

impl Configuration {
    /// The state directory where none is written.
    pub const DEFAULT_STATE: &'static str = "./tidegate-state";
}

/// An address that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The address; port 0 asks the system for one.
    pub address: SocketAddr,
}

impl Listener {
    /// Every IPv4 address, port 8080: the listener where none is written.
    pub const DEFAULT: Self = Self { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080) };
}

/// The control API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// The address; loopback by default.
    pub address: SocketAddr,
    /// A file that holds the token, alone or one a line; needed where the address is not loopback
    /// (or `TIDEGATE_TOKEN`).
    pub tokens: Option<PathBuf>,
}

impl Default for Admin {
    /// Loopback, port 9900, without tokens.
    fn default() -> Self {
        Self { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9900), tokens: None }
    }
}

/// A name that an operator gave to a service, version, plan or gate: 1 to 63 letters, digits, `.`, `_` and `-`,
/// beginning with a letter or digit. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// What a name may be, in words.
    pub const LEGAL: &'static str = "1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit";

    /// A name, where the text is a legal one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let legal = (1..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            && text.as_bytes()[0].is_ascii_alphanumeric();
        legal.then(|| Self(text.into()))
    }

    /// A name that the program itself gives, and that is legal.
    pub(crate) fn given(text: &str) -> Self {
        debug_assert!(Self::new(text).is_some(), "{text} is no legal name");
        Self(text.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What clients reach, by host and path.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Unique over the configuration.
    pub name: Name,
    /// Hosts that lead here, lower case, without port; empty means every host.
    pub hosts: Vec<HostName>,
    /// The path prefix that leads here; `/` by default. The longest prefix of all services wins.
    pub path: PathPrefix,
    /// What keeps a client on one version.
    pub affinity: Affinity,
    /// The version that serves users by the file.
    pub stable: Name,
    /// A split that stands until a rollout or a person says otherwise.
    pub canary: Option<Canary>,
    /// The versions, in the order of the file; names are unique, `stable` is among them.
    pub versions: Vec<Version>,
    /// The plan of a rollout that names none.
    pub plan: Plan,
}

/// A static split in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// Another version than the stable.
    pub version: Name,
    /// Its weight.
    pub weight: Weight,
}

/// An exact host name, lower case, without port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName(pub(crate) String);

impl HostName {
    /// The host as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A path prefix that begins with `/` and matches whole segments: `/shop` matches `/shop` and `/shop/x`,
/// not `/shopping`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPrefix(pub(crate) String);

impl PathPrefix {
    /// A prefix, where the text is a legal one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    /// The prefix of every path.
    pub(crate) fn root() -> Self {
        Self("/".to_owned())
    }

    /// Whether every path with this prefix has `other` as a prefix, too: `/shop/cart` is within `/shop` and `/`.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let rest = self.0.strip_prefix(other.0.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The prefix as text, without a trailing `/` unless it is the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What keeps a client on one version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Affinity {
    /// Nothing: each request draws anew.
    #[default]
    Random,
    /// The value of the application's own cookie of this name; a request without it draws at random.
    Cookie(String),
    /// The value of this request header (lower case); a request without it draws at random.
    Header(String),
    /// The address of the client's connection.
    ClientAddress,
}

/// A named set of endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Unique within the service.
    pub name: Name,
    /// Never empty, no two the same.
    pub endpoints: Vec<Endpoint>,
}

/// A backend address as written: a host name or an IP address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Host name or IP address (without the brackets of IPv6).
    pub host: String,
    /// 1 to 65 535.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
