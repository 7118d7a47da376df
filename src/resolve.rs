//! From names to addresses, once a load.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;

use config::{Configuration, Endpoint};
use control::plane::Resolved;

/// How many names are asked for at once: a resolver that is slow to answer is not waited for in a row.
const AT_ONCE: usize = 32;

/// Resolves every endpoint of a configuration, and looks at the certificates that it names for them and at its secrets.
/// Blocks as long as the system's resolver does. The error names each endpoint that has no address, and each file that
/// is of no use.
pub fn resolve(configuration: Configuration) -> Result<Resolved, Vec<String>> {
    let mut problems = proxy::endpoint::check(&configuration);
    problems.extend(proxy::selection::check(&configuration));
    let endpoints: HashSet<&Endpoint> =
        configuration.services.iter().flat_map(|s| &s.versions).flat_map(|version| &version.endpoints).collect();
    // A Unix socket is its own address.
    let mut endpoints: Vec<&Endpoint> =
        endpoints.into_iter().filter(|endpoint| matches!(endpoint, Endpoint::Tcp { .. })).collect();
    endpoints.sort();
    let share = endpoints.len().div_ceil(AT_ONCE).max(1);
    let answers: Vec<(&Endpoint, io::Result<SocketAddr>)> = thread::scope(|scope| {
        let asked: Vec<_> = endpoints
            .chunks(share)
            .map(|share| {
                scope.spawn(|| share.iter().map(|endpoint| (*endpoint, address_of(endpoint))).collect::<Vec<_>>())
            })
            .collect();
        asked.into_iter().flat_map(|answers| answers.join().unwrap_or_default()).collect()
    });
    let mut addresses = HashMap::new();
    for (endpoint, answer) in answers {
        match answer {
            Ok(address) => drop(addresses.insert(endpoint.clone(), address)),
            Err(error) => problems.push(format!("endpoint {endpoint}: no address found for this name ({error})")),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Resolved { configuration: Arc::new(configuration), addresses, notes: Vec::new() })
}

fn address_of(endpoint: &Endpoint) -> io::Result<SocketAddr> {
    let Endpoint::Tcp { host, port, .. } = endpoint else { return Err(io::ErrorKind::Unsupported.into()) };
    let addresses: Vec<SocketAddr> = (host.as_str(), *port).to_socket_addrs()?.collect();
    // One address is used for now. IPv4 where there is one: `localhost` is ::1 first on many machines, and what listens
    // there seldom does.
    let address = addresses.iter().find(|address| address.is_ipv4()).or_else(|| addresses.first());
    address.copied().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the answer was empty"))
}
