//! What the system knows of names: `/etc/hosts` and `/etc/resolv.conf`, as the C library reads them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use config::Dns;
use hickory_proto::rr::Name;
use resolv_conf::ScopedIp;

/// More of a file is not read.
const LONGEST: u64 = 4 << 20;
/// Whom the C library asks where nobody is named.
const THIS_MACHINE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);

/// Where the system keeps what it knows.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) hosts: PathBuf,
    pub(super) resolv_conf: PathBuf,
}

impl Default for Files {
    fn default() -> Self {
        Self { hosts: "/etc/hosts".into(), resolv_conf: "/etc/resolv.conf".into() }
    }
}

/// What tells a file from what it was before.
pub(super) type Stamp = [Option<(SystemTime, u64)>; 2];

impl Files {
    /// Another one after one of them was changed.
    pub(super) fn stamp(&self) -> Stamp {
        [&self.hosts, &self.resolv_conf].map(|path| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        })
    }
}

/// What the system knows of names.
#[derive(Debug, Default)]
pub(super) struct System {
    /// By name, in lower case.
    pub(super) hosts: HashMap<String, Vec<IpAddr>>,
    /// Whom to ask where the configuration names nobody. Never empty.
    pub(super) servers: Vec<SocketAddr>,
    /// Domains that names without enough dots may be in.
    pub(super) search: Vec<Name>,
    /// So many dots are enough for a name to be whole.
    pub(super) ndots: usize,
}

impl System {
    /// Reads these files. One that is not there says nothing, which is what the C library makes of it; what is wrong in
    /// one is passed over line by line.
    pub(super) fn read(files: &Files) -> Self {
        let hosts = hosts(&text(&files.hosts).unwrap_or_default());
        let written = text(&files.resolv_conf).unwrap_or_default();
        let (written, _) = resolv_conf::Config::parse_with_errors(written.as_bytes());
        let mut servers: Vec<SocketAddr> = Vec::new();
        for server in written.nameservers.iter().filter_map(server) {
            if !servers.contains(&server) && servers.len() < Dns::MOST_SERVERS {
                servers.push(server);
            }
        }
        if servers.is_empty() {
            servers.push(THIS_MACHINE);
        }
        let domains = written.get_last_search_or_domain().map(|domain| domain.trim_end_matches('.'));
        let domains = domains.filter(|domain| !domain.is_empty() && *domain != "--");
        let search = domains.filter_map(|domain| Name::from_ascii(format!("{domain}.")).ok()).collect();
        Self { hosts, servers, search, ndots: written.ndots as usize }
    }
}

fn text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn hosts(text: &str) -> HashMap<String, Vec<IpAddr>> {
    let mut hosts: HashMap<String, Vec<IpAddr>> = HashMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
        for name in words {
            let addresses = hosts.entry(name.trim_end_matches('.').to_ascii_lowercase()).or_default();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    hosts
}

fn server(written: &ScopedIp) -> Option<SocketAddr> {
    const PORT: u16 = 53;
    match written {
        ScopedIp::V6(ip, Some(scope)) => {
            // An address with the name of an interface: the C library reads it, and asks nobody.
            (format!("{ip}%{scope}"), PORT).to_socket_addrs().ok()?.next()
        }
        ScopedIp::V4(_) | ScopedIp::V6(_, None) => Some(SocketAddr::new(written.into(), PORT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(hosts: &str, resolv_conf: &str) -> System {
        let directory = tempfile::tempdir().unwrap();
        let files = Files { hosts: directory.path().join("hosts"), resolv_conf: directory.path().join("resolv.conf") };
        fs::write(&files.hosts, hosts).unwrap();
        fs::write(&files.resolv_conf, resolv_conf).unwrap();
        System::read(&files)
    }

    #[test]
    fn hosts_are_known_by_every_name_of_theirs_and_what_is_no_address_is_passed_over() {
        let system = read(
            "127.0.0.1 localhost Shop.Internal # shop2\n::1 localhost\n\nnonsense shop3\n10.0.0.7\tshop.internal.\n",
            "",
        );
        assert_eq!(system.hosts["localhost"], [[127, 0, 0, 1].into(), "::1".parse::<IpAddr>().unwrap()]);
        assert_eq!(system.hosts["shop.internal"], [IpAddr::from([127, 0, 0, 1]), [10, 0, 0, 7].into()]);
        assert_eq!(system.hosts.len(), 2);
    }

    #[test]
    fn servers_and_domains_are_those_of_resolv_conf_whatever_else_stands_there() {
        let system = read(
            "",
            "# by hand\nnameserver 10.0.0.2\nnameserver nonsense\nnameserver fd00::2\nnameserver 10.0.0.2\nsearch a.internal \
             b.internal.\noptions ndots:5 trust-ad edns0 unheard-of\n",
        );
        assert_eq!(system.servers, ["10.0.0.2:53".parse().unwrap(), "[fd00::2]:53".parse().unwrap()]);
        let search: Vec<_> = system.search.iter().map(ToString::to_string).collect();
        assert_eq!((search, system.ndots), (vec!["a.internal.".to_owned(), "b.internal.".to_owned()], 5));
    }

    #[test]
    fn without_any_file_this_machine_is_asked() {
        let missing = Files { hosts: "/nowhere/hosts".into(), resolv_conf: "/nowhere/resolv.conf".into() };
        let system = System::read(&missing);
        assert_eq!((system.servers, system.hosts.len(), system.ndots), (vec![THIS_MACHINE], 0, 1));
        assert_eq!(missing.stamp(), [None, None]);
    }
}
