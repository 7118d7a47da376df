//! The proven configuration: what the rest of Tidegate works with.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

mod care;
mod gate;
mod listener;
mod matching;
mod mirror;
mod plan;
mod rules;
mod service;

pub use care::{Balance, Ejection, HashKey, HealthCheck, HealthQuestion, InFlightLimits, Retries};
pub use gate::{Gate, GateRole, GateRule, LatencyMargin, LatencyOf, Tolerance};
pub use listener::{CertificateFiles, ClientCertificates, Hsts, ListenAddress, Listener, ListenerTls, TlsVersion};
pub use matching::{CookieMatch, Match};
pub use mirror::{MirrorLimits, MirrorPart, MirrorRules};
pub use plan::{Advance, Baseline, Deadline, OnDeadline, Plan, Step};
pub use rules::{AccessLog, AddressRange, Drain, Handling, Limits, LogTarget, Rules, Strictness, Timeouts};
pub use service::{
    Affinity, Canary, Endpoint, EndpointTls, Forced, GrpcCodes, HeaderMatch, HostName, PathPrefix, Protocol, Service,
    ServiceTimeouts, Version,
};

/// A whole configuration. Service names and routes are unique; every reference resolves.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    /// Where clients connect. Never empty.
    pub listeners: Vec<Listener>,
    /// Rules for all traffic.
    pub rules: Arc<Rules>,
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
