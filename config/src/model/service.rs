//! What clients reach: services, their routes, what decides the version, and the versions with their endpoints.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::listener::CertificateFiles;
use super::{AddressRange, Balance, Ejection, HealthCheck, InFlightLimits, MirrorRules, Name, Plan, Retries};
use crate::literal::is_ip;
use crate::units::{Bytes, Weight};

/// What clients reach, by host, path, method and headers.
///
/// A request leads to the first of all services that it matches in all four, in this order:
///
/// 1. by host: one that names it exactly, before one with a wildcard (the longest wildcard first), before one for every
///    host;
/// 2. then the longest path;
/// 3. then one with methods, before one for every method;
/// 4. then the one with more headers.
///
/// A service that does not match in one of the four is passed over, however well the others fit: a request for an exact
/// host whose services all have other paths, methods or headers goes on to the wildcards, and to the services for every
/// host. Two services that a request could both match, and that this order does not tell apart, are never both in a
/// [`Configuration`](super::Configuration).
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Unique over the configuration.
    pub name: Name,
    /// Hosts that lead here, no two the same; empty means every host.
    pub hosts: Vec<HostName>,
    /// The path prefix that leads here; `/` by default. The longest prefix of all services wins.
    pub path: PathPrefix,
    /// Methods that lead here, upper case and compared exactly (`GET` does not mean `HEAD`), no two the same; empty means
    /// every method.
    pub methods: Vec<String>,
    /// Headers that a request must have to lead here; all of them. No two have the same name.
    pub headers: Vec<HeaderMatch>,
    /// What keeps a client on one version.
    pub affinity: Affinity,
    /// Who may choose the version of a request; nobody by default.
    pub forced: Option<Forced>,
    /// Whether the version that served is told in a response header, and the version drawn to the origin.
    pub version_header: bool,
    /// Protocols that a client may upgrade to, lower case; `websocket` by default.
    pub upgrades: Vec<String>,
    /// The gRPC status codes that count as failures.
    pub grpc_errors: GrpcCodes,
    /// A request body's limit where it is not that of all services.
    pub body: Option<Bytes>,
    /// Times that are not those of all services.
    pub timeouts: ServiceTimeouts,
    /// What is tried again, and how often.
    pub retries: Retries,
    /// Whether stable answers in place of a canary whose failure can be hidden; on.
    pub shield: bool,
    /// Which requests may be copied to the canary while a plan asks for it, and what bounds the copies.
    pub mirror: MirrorRules,
    /// The version that serves users by the file.
    pub stable: Name,
    /// A split that stands until a rollout or a person says otherwise.
    pub canary: Option<Canary>,
    /// The versions, in the order of the file; names are unique, `stable` is among them.
    pub versions: Vec<Version>,
    /// The plan of a rollout that names none.
    pub plan: Plan,
}

impl Service {
    /// What a client may upgrade to where nothing is written.
    pub(crate) fn usual_upgrades() -> Vec<String> {
        vec!["websocket".to_owned()]
    }

    /// A service for every host and path, with everything else at its default.
    pub(crate) fn plain(name: Name, stable: Name, versions: Vec<Version>) -> Self {
        Self {
            name,
            hosts: Vec::new(),
            path: PathPrefix::root(),
            methods: Vec::new(),
            headers: Vec::new(),
            affinity: Affinity::default(),
            forced: None,
            version_header: true,
            upgrades: Self::usual_upgrades(),
            grpc_errors: GrpcCodes::default(),
            body: None,
            timeouts: ServiceTimeouts::default(),
            retries: Retries::default(),
            shield: true,
            mirror: MirrorRules::default(),
            stable,
            canary: None,
            versions,
            plan: Plan::built_in(),
        }
    }
}

/// A static split in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// Another version than the stable.
    pub version: Name,
    /// Its weight.
    pub weight: Weight,
}

/// A host name, lower case, without port: exact, or `*.example.com` for every name below it, however deep, and not for
/// `example.com` itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName(pub(crate) String);

impl HostName {
    /// The host as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that every host must be below, where this is a wildcard: `example.com` of `*.example.com`.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
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

    /// This prefix and each shorter one of whole segments, down to the root.
    pub(crate) fn ancestors(&self) -> impl Iterator<Item = Self> {
        let shorter = |prefix: &Self| {
            let cut = prefix.0.rfind('/').filter(|_| prefix.0.len() > 1)?;
            Some(Self(prefix.0[..cut.max(1)].to_owned()))
        };
        std::iter::successors(Some(self.clone()), shorter)
    }

    /// The prefix as text, without a trailing `/` unless it is the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A header that a request must have. One that is sent in several lines has no single value: only a match of any value
/// takes it, so a request is never for two services that match different values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HeaderMatch {
    /// Its name, lower case.
    pub name: String,
    /// The whole value of its only line, byte for byte; none means any, the empty one as well.
    pub value: Option<String>,
}

/// What keeps a client on one version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Affinity {
    /// Nothing: each request draws anew.
    #[default]
    Random,
    /// The value of a cookie.
    Cookie {
        /// Its name.
        name: String,
        /// Set by us, for so long (whole seconds, at least one), on a request that has none; where this is none it is the application's own cookie
        /// and a request without it draws at random.
        issue: Option<Duration>,
    },
    /// The value of this request header (lower case); a request without it draws at random.
    Header(String),
    /// The value of this request header (lower case), which names the authenticated user, and is believed from trusted
    /// hops alone; a request without it draws at random.
    User(String),
    /// The client's address.
    ClientAddress,
}

impl Affinity {
    /// How long an issued cookie lives where nothing is written: 30 days.
    pub const MAX_AGE: Duration = Duration::from_secs(720 * 3600);
}

/// Who may choose the version of a request. At least one of `header` and `cookie`, and of `from` and `secret`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forced {
    /// The request header (lower case) that names the version: `always` (the canary), `never` (the stable), or a name.
    /// Goes before the cookie.
    pub header: Option<String>,
    /// The cookie that does.
    pub cookie: Option<String>,
    /// Client addresses that may, with or without the secret.
    pub from: Vec<AddressRange>,
    /// A file that holds a secret: whoever sends it in the header [`SECRET_HEADER`](Self::SECRET_HEADER) may, from
    /// wherever.
    pub secret: Option<PathBuf>,
    /// Whether such requests are judged; not by default.
    pub judged: bool,
}

impl Forced {
    /// The request header, in lower case, that holds the secret.
    pub const SECRET_HEADER: &'static str = "tidegate-secret";
}

/// Times of one service that are not those of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServiceTimeouts {
    /// As [`Timeouts::first_byte`](super::Timeouts::first_byte).
    pub first_byte: Option<Duration>,
    /// As [`Timeouts::response`](super::Timeouts::response).
    pub response: Option<Duration>,
    /// As [`Timeouts::tunnel`](super::Timeouts::tunnel).
    pub tunnel: Option<Duration>,
    /// As [`Timeouts::total`](super::Timeouts::total).
    pub total: Option<Duration>,
}

/// A set of gRPC status codes, 0 to 16: bit `n` is code `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrpcCodes(pub(crate) u32);

impl GrpcCodes {
    /// The names of the codes, by number (the gRPC specification, statuscodes.md).
    pub const NAMES: [&'static str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];

    /// Whether a code is in the set. Codes that the specification does not know count as `UNKNOWN`.
    #[must_use]
    pub const fn contains(self, code: u32) -> bool {
        let code = if code > 16 { 2 } else { code };
        self.0 & (1 << code) != 0
    }
}

impl Default for GrpcCodes {
    /// UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and DATA_LOSS.
    fn default() -> Self {
        Self(1 << 2 | 1 << 4 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 15)
    }
}

/// A named set of endpoints.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// Unique within the service.
    pub name: Name,
    /// Never empty, no two the same.
    pub endpoints: Vec<Endpoint>,
    /// What is spoken to them.
    pub protocol: Protocol,
    /// How they prove who they are: written down where TLS is spoken, which is to all endpoints (`https://`) or to none.
    /// None exactly where it is to none.
    pub tls: Option<EndpointTls>,
    /// How its endpoints are asked whether they are well; they are not by default.
    pub health: Option<HealthCheck>,
    /// When traffic shows that one is ill; none: never.
    pub ejection: Option<Ejection>,
    /// Which of them a request goes to.
    pub balance: Balance,
    /// How long an endpoint that was down takes to come back to its full share; 10 s. Zero: it has it at once.
    pub slow_start: Duration,
    /// How many connections to each endpoint every core opens ahead where the version gets a share, or a much larger one;
    /// 4. Zero: none. At most [`MOST_WARM`](Self::MOST_WARM) in all.
    pub warm_start: u32,
    /// How many requests may be under way.
    pub limits: InFlightLimits,
}

impl Version {
    /// How long an endpoint takes to come back to its full share where nothing is written.
    pub const SLOW_START: Duration = Duration::from_secs(10);
    /// How many connections a core opens ahead to an endpoint where nothing is written.
    pub const WARM_START: u32 = 4;
    /// How many connections are opened ahead at once for a version, on all cores together.
    pub const MOST_WARM: u32 = 64;

    /// A version that speaks HTTP/1.1 without TLS, with everything else at its default.
    #[must_use]
    pub fn plain(name: Name, endpoints: Vec<Endpoint>) -> Self {
        Self {
            name,
            endpoints,
            protocol: Protocol::H1,
            tls: None,
            health: None,
            ejection: Some(Ejection::default()),
            balance: Balance::default(),
            slow_start: Self::SLOW_START,
            warm_start: Self::WARM_START,
            limits: InFlightLimits::default(),
        }
    }
}

/// What is spoken to endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Protocol {
    /// HTTP/1.1, with or without TLS.
    #[default]
    H1,
    /// HTTP/2 over TLS (ALPN); one that does not speak it is a connection that failed.
    H2,
    /// HTTP/2 without TLS, known beforehand.
    H2c,
}

/// How endpoints prove who they are. Verification is always on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct EndpointTls {
    /// The name, in lower case, that their certificates must hold and that is sent (SNI); each endpoint's own host where
    /// none is written, and then no host is an address.
    pub server_name: Option<String>,
    /// A PEM file of the authorities that may have signed them; the system's where none is written.
    pub ca: Option<PathBuf>,
    /// The certificate that is shown to them.
    pub certificate: Option<CertificateFiles>,
}

/// A backend address as written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// A host name or an IP address, and a port.
    Tcp {
        /// Host name or IP address (without the brackets of IPv6).
        host: String,
        /// 1 to 65 535.
        port: u16,
        /// Whether TLS is spoken: it was written `https://`.
        tls: bool,
    },
    /// The path of a Unix socket, written `unix:/path`.
    Unix(PathBuf),
}

impl Endpoint {
    /// Whether TLS is spoken.
    #[must_use]
    pub const fn speaks_tls(&self) -> bool {
        match self {
            Self::Tcp { tls, .. } => *tls,
            Self::Unix(_) => false,
        }
    }

    /// The name that has to be resolved, where it is written with one; none of an address.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Tcp { host, .. } => Some(host.as_str()).filter(|host| !is_ip(host)),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, tls } => {
                let scheme = if *tls { "https://" } else { "" };
                if host.contains(':') {
                    write!(f, "{scheme}[{host}]:{port}")
                } else {
                    write!(f, "{scheme}{host}:{port}")
                }
            }
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
