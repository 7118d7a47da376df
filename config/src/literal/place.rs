//! How places are written: endpoints, addresses to listen on, ranges of addresses, hosts, paths.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use super::Illegal;
use crate::encoded;
use crate::model::{AddressRange, Endpoint, HostName, ListenAddress, PathPrefix};
use crate::problem::quoted;

/// The longest path of a Unix socket, which the system ends with a NUL in 108 bytes.
const LONGEST_SOCKET: usize = 107;

impl FromStr for Endpoint {
    type Err = Illegal;

    /// An endpoint as the operator writes it: `10.0.0.1:8080`, `https://shop.internal:443`, `[::1]:8080`, `unix:/run/shop`.
    fn from_str(text: &str) -> Result<Self, Illegal> {
        if let Some(path) = text.strip_prefix("unix:") {
            return socket_path(text, path).map(Self::Unix);
        }
        if let Some(rest) = text.strip_prefix("https://") {
            return with_tls(text, rest);
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return Err(other_url(text, scheme, rest));
        }
        let (host, port) = host_and_port(text).map_err(|wrong| wrong.illegal(text))?;
        Ok(Self::Tcp { host, port, tls: false })
    }
}

const ENDPOINT: &str = "host:port, https://host:port or unix:/path, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080";

fn with_tls(text: &str, rest: &str) -> Result<Endpoint, Illegal> {
    match host_and_port(rest) {
        Ok((host, port)) => Ok(Endpoint::Tcp { host, port, tls: true }),
        Err(wrong) => {
            let bare = rest.split('/').next().unwrap_or_default();
            let meant = [bare.to_owned(), format!("{bare}:443")].into_iter().find(|one| host_and_port(one).is_ok());
            let near = meant
                .map_or_else(String::new, |meant| format!("; did you mean {}?", quoted(&format!("https://{meant}"))));
            let what = if rest.contains('/') { "holds a path" } else { wrong.what };
            Err(Illegal::new(format!("{} {what}; legal is {ENDPOINT}{near}", quoted(text))))
        }
    }
}

fn other_url(text: &str, scheme: &str, rest: &str) -> Illegal {
    let (bare, tls) = (rest.split('/').next().unwrap_or_default(), scheme.eq_ignore_ascii_case("https"));
    let near = match host_and_port(bare) {
        Ok((host, port)) => format!("; did you mean `{}`?", Endpoint::Tcp { host, port, tls }),
        Err(_) => String::new(),
    };
    let scheme = quoted(&format!("{scheme}://"));
    Illegal::new(format!("{} is a URL; legal is {ENDPOINT}, without {scheme}{near}", quoted(text)))
}

/// What is wrong with a host and a port, and what was perhaps meant.
#[derive(Debug)]
struct NoEndpoint {
    what: &'static str,
    near: Option<String>,
}

impl NoEndpoint {
    fn illegal(self, text: &str) -> Illegal {
        let near = self.near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        Illegal::new(format!("{} {}; legal is {ENDPOINT}{near}", quoted(text), self.what))
    }
}

fn host_and_port(text: &str) -> Result<(String, u16), NoEndpoint> {
    let wrong = |what| NoEndpoint { what, near: None };
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Err(NoEndpoint { what: "has no port", near: Some(format!("[{address}]:80")) });
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("has no port"))?;
    let port = match port.parse::<u16>() {
        Ok(port) if port > 0 && port_is_plain(text) => port,
        Ok(_) | Err(_) => return Err(wrong("has no port from 1 to 65535")),
    };
    let host = match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
        Some(Some(address)) if address.parse::<Ipv6Addr>().is_ok() => address,
        Some(_) => return Err(wrong("has no IPv6 address in its brackets")),
        None if host.is_empty() => return Err(wrong("has no host")),
        None if host.contains(':') => {
            return Err(wrong("holds more than one colon (an IPv6 address needs brackets)"));
        }
        None if is_host(host) => host,
        None => return Err(wrong("has no legal host")),
    };
    Ok((host.to_owned(), port))
}

/// The path of a Unix socket; `text` is what is written, with `unix:`.
fn socket_path(text: &str, path: &str) -> Result<PathBuf, Illegal> {
    const LEGAL: &str = "legal is unix: and a path from the root, like unix:/run/shop.sock";
    let bare = path.trim_start_matches('/');
    if bare.is_empty() || !path.starts_with('/') || path.starts_with("//") {
        let near = if bare.is_empty() {
            String::new()
        } else {
            format!("; did you mean {}?", quoted(&format!("unix:/{bare}")))
        };
        return Err(Illegal::new(format!("{} names no Unix socket; {LEGAL}{near}", quoted(text))));
    }
    if path.chars().any(char::is_control) {
        return Err(Illegal::new(format!("{} holds a control character; {LEGAL}", quoted(text))));
    }
    if path.len() > LONGEST_SOCKET {
        let message =
            format!("the path of {} is too long; the system takes at most {LONGEST_SOCKET} bytes", quoted(text));
        return Err(Illegal::new(message));
    }
    Ok(PathBuf::from(path))
}

/// Whether the port is digits alone: `str::parse` takes a sign, too.
fn port_is_plain(text: &str) -> bool {
    text.rsplit(':').next().is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Endpoint {
    /// What makes two endpoints the same, however they are written: case of names and form of addresses aside.
    pub(crate) fn identity(&self) -> String {
        match self {
            Self::Tcp { host, port, .. } => {
                let host = host.parse::<IpAddr>().map_or_else(|_| host.to_ascii_lowercase(), |ip| ip.to_string());
                format!("{host} {port}")
            }
            Self::Unix(path) => path.display().to_string(),
        }
    }
}

/// Whether this is an IPv4 address or a name that DNS could know. What looks like an IPv4 address must be one.
fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let numeric = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if numeric {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    host.len() <= 253 && host.split('.').all(label)
}

/// What a request may send as its `Host`, in lower case: a name or an address, perhaps with a port. None of anything else.
pub(crate) fn authority(text: &str) -> Option<String> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_ipv6 = bracketed.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    (is_ipv6 || is_host(text) || host_and_port(text).is_ok()).then(|| text.to_ascii_lowercase())
}

/// Whether a host is an address, and no name.
pub(crate) fn is_ip(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

/// A socket address to listen on: `0.0.0.0:8080`, `[::]:8080`; port 0 asks the system for one.
pub fn address(text: &str) -> Result<SocketAddr, Illegal> {
    ip_and_port(text, "IP:PORT, like 0.0.0.0:8080 or [::]:8080")
}

fn ip_and_port(text: &str, legal: &str) -> Result<SocketAddr, Illegal> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let bare = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")).unwrap_or(text);
    let near = if let Ok(port) = bare.parse::<u16>() {
        format!("; did you mean `0.0.0.0:{port}`?")
    } else if let Some(Ok(port)) = text.strip_prefix("localhost:").map(str::parse::<u16>) {
        format!("; did you mean `127.0.0.1:{port}`?")
    } else {
        String::new()
    };
    Err(Illegal::new(format!("{} is no address to listen on; legal is {legal}{near}", quoted(text))))
}

impl FromStr for ListenAddress {
    type Err = Illegal;

    /// An address to listen on as the operator writes it: `0.0.0.0:8080`, `[::]:8080`, `unix:/run/tidegate.sock`.
    fn from_str(text: &str) -> Result<Self, Illegal> {
        match text.strip_prefix("unix:") {
            Some(path) => socket_path(text, path).map(Self::Unix),
            None => ip_and_port(text, "IP:PORT or unix:/path, like 0.0.0.0:8080 or [::]:8080").map(Self::Tcp),
        }
    }
}

impl FromStr for AddressRange {
    type Err = Illegal;

    /// A range of addresses as the operator writes it: `10.0.0.0/8`, `fd00::/8`, `10.0.0.7`.
    fn from_str(text: &str) -> Result<Self, Illegal> {
        const LEGAL: &str = "an address or a network, like 10.0.0.7, 10.0.0.0/8 or fd00::/8";
        let wrong = |what: &str| Illegal::new(format!("{} {what}; legal is {LEGAL}", quoted(text)));
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong("is no range of addresses"))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = bits.map_or(Some(most), |bits| {
            let digits = bits.bytes().all(|byte| byte.is_ascii_digit());
            bits.parse::<u8>().ok().filter(|bits| digits && *bits <= most)
        });
        let Some(length) = length else {
            return Err(Illegal::new(format!(
                "{} has no length of 0 to {most} after the /; legal is {LEGAL}",
                quoted(text)
            )));
        };
        let whole = ipnet::IpNet::new(address, length).map_err(|_| wrong("is no range of addresses"))?;
        let network = whole.trunc();
        if network.addr() != address {
            let near = Self(network);
            return Err(Illegal::new(format!(
                "{} is an address within its network; legal is the network or the address alone; did you mean `{near}`?",
                quoted(text)
            )));
        }
        // Clients are compared by their IPv4 address, so nobody would ever be in such a range.
        if address.to_canonical() != address && length >= 96 {
            let near = ipnet::IpNet::new(address.to_canonical(), length - 96).map(Self);
            let near = near.map_or_else(|_| String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(Illegal::new(format!("{} is IPv4 in the form of IPv6; legal is {LEGAL}{near}", quoted(text))));
        }
        Ok(Self(network))
    }
}

impl FromStr for HostName {
    type Err = Illegal;

    /// A host name, exact or with a wildcard as its whole first label; upper case is taken as lower case.
    fn from_str(text: &str) -> Result<Self, Illegal> {
        let wrong = |what: String| Illegal::new(format!("{} {what}", quoted(text)));
        if text == "*" {
            return Err(wrong("is every host; leave `hosts` out for that, or write one like *.example.com".to_owned()));
        }
        if text.contains('*') {
            let parent = text.strip_prefix("*.").filter(|parent| is_host(parent) && !is_ip(parent));
            let legal = "a wildcard is the whole first label of a name, like *.example.com";
            return match parent {
                Some(_) => Ok(Self(text.to_ascii_lowercase())),
                None => {
                    let parent =
                        text.rsplit_once('*').and_then(|(_, rest)| rest.split_once('.')).map(|(_, parent)| parent);
                    // `*.com` was certainly not meant.
                    let near = parent.filter(|parent| is_host(parent) && parent.contains('.') && !is_ip(parent));
                    let near = near.map_or_else(String::new, |parent| format!("; did you mean `*.{parent}`?"));
                    Err(wrong(format!("is no host name; {legal}{near}")))
                }
            };
        }
        if is_host(text) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        const LEGAL: &str = "legal is a host name, like shop.example.com or *.example.com";
        if !text.is_ascii() {
            return Err(wrong(format!("is not ASCII; {LEGAL}; write an international name as xn--...")));
        }
        let bare = text.rsplit_once("://").map_or(text, |(_, rest)| rest);
        let bare = bare.split([':', '/']).next().unwrap_or_default().trim_end_matches('.');
        let near = if is_host(bare) { format!("; did you mean {}?", quoted(bare)) } else { String::new() };
        Err(wrong(format!("is no host name; {LEGAL}, without scheme, port or path{near}")))
    }
}

impl FromStr for PathPrefix {
    type Err = Illegal;

    /// A path prefix; a trailing `/` is dropped. Encoded characters are as requests have them once they were made plain:
    /// letters, digits and `-._~` as they are, all others with digits in upper case (RFC 3986, section 6.2.2).
    fn from_str(text: &str) -> Result<Self, Illegal> {
        const LEGAL: &str = "legal is a path of whole segments that begins with /, like /checkout";
        let wrong = |what: &str, near: String| Illegal::new(format!("{} {what}; {LEGAL}{near}", quoted(text)));
        if !text.starts_with('/') {
            let near = Self::from_str(&format!("/{text}"));
            let near = near.map_or_else(|_| String::new(), |path| format!("; did you mean {}?", quoted(&path.0)));
            return Err(wrong("does not begin with /", near));
        }
        let changed = encoded::in_one_form(text);
        let text = changed.as_deref().unwrap_or(text);
        let bare = text.strip_suffix('/').unwrap_or(text);
        if bare.is_empty() {
            return Ok(Self("/".to_owned()));
        }
        if bare.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'?' | b'#' | b'*' | b'\\')) {
            return Err(wrong(
                "holds a character that no path prefix may (space, ?, #, *, \\, or beyond ASCII)",
                String::new(),
            ));
        }
        if bare.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(wrong("holds an empty segment, . or ..", String::new()));
        }
        Ok(Self(bare.to_owned()))
    }
}

#[cfg(test)]
mod tests;
