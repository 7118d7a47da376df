//! Which service a request leads to: by host, path, method and headers, in the order that [`config::Service`] tells.

mod candidates;
mod condition;
mod host;
mod paths;

use std::collections::HashMap;

use config::Service;
use http::{HeaderMap, Method};

use self::condition::Condition;
pub(crate) use self::condition::has;
use self::paths::PathTable;

/// Finds services. Built once a configuration; a lookup allocates nothing for a lower-case host.
///
/// What a client sends bounds no work here: a host is probed at no more places than wildcards have different lengths, a
/// path at no more than prefixes have. Of many services of the same hosts and path those are tried in turn whose rarest
/// header the request has.
#[derive(Debug, Default)]
pub struct RouteTable {
    exact: HashMap<Box<str>, PathTable>,
    /// By the name that a host must be below.
    below: HashMap<Box<str>, PathTable>,
    /// The lengths of those names, the longest first.
    lengths_below: Vec<usize>,
    every: PathTable,
}

/// What of a request decides where it leads.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// With or without port, in any case, as the client wrote it.
    pub host: &'a str,
    /// Without query.
    pub path: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The headers.
    pub headers: &'a HeaderMap,
}

impl RouteTable {
    /// The table of these services; the result of [`find`](Self::find) is a place in this slice.
    #[must_use]
    pub fn new(services: &[Service]) -> Self {
        let mut table = Self::default();
        for (place, service) in services.iter().enumerate() {
            let prefix = without_last_slash(service.path.as_str());
            for host in &service.hosts {
                let (paths, name) = match host.parent() {
                    Some(parent) => (&mut table.below, parent),
                    None => (&mut table.exact, host.as_str()),
                };
                paths.entry(name.into()).or_default().insert(prefix, place, Condition::of(service));
            }
            if service.hosts.is_empty() {
                table.every.insert(prefix, place, Condition::of(service));
            }
        }
        let tables = table.exact.values_mut().chain(table.below.values_mut()).chain([&mut table.every]);
        tables.for_each(PathTable::finish);
        table.lengths_below = table.below.keys().map(|name| name.len()).collect();
        table.lengths_below.sort_unstable_by(|a, b| b.cmp(a));
        table.lengths_below.dedup();
        table
    }

    /// The service that a request leads to. One that does not match in its path, method or headers is passed over, for
    /// one with a shorter path or a less specific host.
    #[must_use]
    pub fn find(&self, asked: &Asked<'_>) -> Option<usize> {
        let find = |paths: &PathTable| paths.find(asked);
        if self.exact.is_empty() && self.below.is_empty() {
            return find(&self.every);
        }
        let name = host::name(asked.host);
        let name = name.as_deref().unwrap_or_default();
        let exact = self.exact.get(name).and_then(find);
        exact.or_else(|| self.wildcards(name).find_map(find)).or_else(|| find(&self.every))
    }

    /// The paths of every wildcard that a name is below, the longest first.
    fn wildcards<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a PathTable> {
        let parent = |length: &usize| {
            // Something stands before the dot, or the name would be below nothing.
            let dot = name.len().checked_sub(length + 1).filter(|dot| *dot > 0)?;
            if name.as_bytes()[dot] == b'.' { self.below.get(&name[dot + 1..]) } else { None }
        };
        self.lengths_below.iter().filter_map(parent)
    }
}

/// A prefix as it is compared: the root is empty.
pub(crate) fn without_last_slash(prefix: &str) -> &str {
    prefix.trim_end_matches('/')
}

/// Whether a path (without query) begins with whole segments of a prefix, which has no trailing slash.
#[inline]
pub(crate) fn is_within(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
