//! Where clients connect, and how.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::AddressRange;

/// An address that clients connect to, and what is spoken there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The address.
    pub address: ListenAddress,
    /// TLS, where it is spoken here.
    pub tls: Option<ListenerTls>,
    /// Peers that must begin each connection with a PROXY protocol header (version 1 or 2), which names the client.
    /// From any other peer such a header is an error. Empty: nobody's is read.
    pub proxy_protocol: Vec<AddressRange>,
    /// Every request is answered with a redirect to the same place over HTTPS, at this port.
    pub redirect: Option<u16>,
}

impl Listener {
    /// Every IPv4 address, port 8080, without TLS: the listener where none is written.
    pub const DEFAULT: Self = Self::plain(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080));

    /// A listener without TLS.
    #[must_use]
    pub const fn plain(address: SocketAddr) -> Self {
        Self { address: ListenAddress::Tcp(address), tls: None, proxy_protocol: Vec::new(), redirect: None }
    }
}

/// What is listened on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListenAddress {
    /// A TCP address; port 0 asks the system for one.
    Tcp(SocketAddr),
    /// The path of a Unix socket, written `unix:/path`.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The TCP address, where it is one.
    #[must_use]
    pub const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// TLS of a listener. HTTP/2 and HTTP/1.1 are offered (ALPN).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// Never empty. The first is shown to a client that names no server or an unknown one.
    pub certificates: Vec<CertificateFiles>,
    /// Whom clients must prove to be, if anybody.
    pub clients: Option<ClientCertificates>,
    /// The oldest version that is spoken; TLS 1.2 by default.
    pub oldest: TlsVersion,
    /// What browsers are told to remember (RFC 6797); nothing by default.
    pub hsts: Option<Hsts>,
}

/// A certificate with its chain, and its key: two PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    /// The chain, the server's own certificate first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Client certificates that a listener asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// A PEM file of the authorities that may have signed them.
    pub ca: PathBuf,
    /// Whether a client without one is let in.
    pub optional: bool,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V12,
    /// TLS 1.3.
    V13,
}

/// `Strict-Transport-Security`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hsts {
    /// For how long, in whole seconds; none at all tells browsers to forget it.
    pub max_age: Duration,
    /// Whether names below the host are meant, too.
    pub subdomains: bool,
    /// Whether browsers may ship with it.
    pub preload: bool,
}

impl Hsts {
    /// The shortest time with which a host is taken into browsers' own lists (hstspreload.org): a year.
    pub(crate) const LEAST_PRELOADED: Duration = Duration::from_secs(365 * 24 * 3600);
}
