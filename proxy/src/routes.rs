//! Which service a request is for: by host, then by the longest path prefix.

use std::borrow::Cow;
use std::collections::HashMap;

use config::Service;

/// Finds services by host and path. Built once a configuration; a lookup allocates nothing for a lower-case host.
#[derive(Debug, Default)]
pub struct RouteTable {
    by_host: HashMap<String, PathTable>,
    any_host: PathTable,
}

/// Prefixes without a trailing slash (the root is empty), to the service's place in its configuration.
#[derive(Debug, Default)]
struct PathTable {
    places: HashMap<String, usize>,
    /// Bytes of the longest prefix: no more of a path is looked at, however long a client makes it.
    longest: usize,
}

impl RouteTable {
    /// The table of these services; the result of [`find`](Self::find) is a place in this slice.
    #[must_use]
    pub fn new(services: &[Service]) -> Self {
        let mut table = Self::default();
        for (place, service) in services.iter().enumerate() {
            let prefix = without_last_slash(service.path.as_str()).to_owned();
            for host in &service.hosts {
                table.by_host.entry(host.as_str().to_owned()).or_default().insert(&prefix, place);
            }
            if service.hosts.is_empty() {
                table.any_host.insert(&prefix, place);
            }
        }
        table
    }

    /// The service for a host (with or without port, in any case) and a path (without query). A service that names
    /// the host goes before one that takes every host; among those the longest prefix wins.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<usize> {
        let host = without_port(host);
        // A name that is written out to the root of the DNS is the same name.
        let host = host.strip_suffix('.').unwrap_or(host);
        let named = if self.by_host.is_empty() { None } else { self.by_host.get(lower_case(host).as_ref()) };
        named.and_then(|paths| paths.longest_prefix(path)).or_else(|| self.any_host.longest_prefix(path))
    }
}

impl PathTable {
    fn insert(&mut self, prefix: &str, place: usize) {
        self.longest = self.longest.max(prefix.len());
        self.places.insert(prefix.to_owned(), place);
    }

    /// Cuts the path at one slash after the other from its end: the first prefix that is known is the longest.
    fn longest_prefix(&self, path: &str) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        let mut prefix = match path.as_bytes().get(self.longest) {
            None => path,
            Some(b'/') => &path[..self.longest],
            Some(_) => &path[..path[..path.floor_char_boundary(self.longest)].rfind('/')?],
        };
        loop {
            if let Some(place) = self.places.get(prefix) {
                return Some(*place);
            }
            prefix = &prefix[..prefix.rfind('/')?];
        }
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

fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        // In an IPv6 address the colon of a port follows the bracket.
        Some(colon) if host[colon + 1..].bytes().all(|b| b.is_ascii_digit()) && !host[..colon].ends_with(':') => {
            if host.starts_with('[') && !host[..colon].ends_with(']') { host } else { &host[..colon] }
        }
        _ => host,
    }
}

fn lower_case(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_path_is_within_a_prefix_where_a_service_of_that_prefix_would_be_found(
            prefix in "(/[ab]{0,2}){1,3}",
            path in "[/ab*]{0,8}",
        ) {
            // As the reader of the configuration leaves it: no segment is empty.
            prop_assume!(prefix == "/" || (!prefix.contains("//") && !prefix.ends_with('/')));
            let found = table(&[(&[], &prefix)]).find("a", &path).is_some();
            prop_assert_eq!(is_within(&path, without_last_slash(&prefix)), found);
        }
    }

    /// A table of services by their hosts and path.
    fn table(routes: &[(&[&str], &str)]) -> RouteTable {
        let text: String = routes
            .iter()
            .enumerate()
            .map(|(i, (hosts, path))| {
                let hosts = if hosts.is_empty() { String::new() } else { format!("hosts: {hosts:?}, ") };
                format!("  s{i}: {{ {hosts}path: {path}, versions: {{ v1: {{ endpoints: ['127.0.0.1:1'] }} }} }}\n")
            })
            .collect();
        RouteTable::new(&config::parse(&format!("services:\n{text}"), "test.yaml").unwrap().configuration.services)
    }

    #[test]
    fn the_longest_prefix_wins() {
        let table = table(&[(&[], "/"), (&[], "/shop"), (&[], "/shop/cart")]);
        assert_eq!(table.find("a", "/"), Some(0));
        assert_eq!(table.find("a", "/shop"), Some(1));
        assert_eq!(table.find("a", "/shop/"), Some(1));
        assert_eq!(table.find("a", "/shop/cart/7"), Some(2));
        assert_eq!(table.find("a", "/other"), Some(0));
    }

    #[test]
    fn a_prefix_matches_whole_segments() {
        let table = table(&[(&[], "/shop")]);
        assert_eq!(table.find("a", "/shopping"), None);
        assert_eq!(table.find("a", "/"), None);
        assert_eq!(table.find("a", ""), None);
        assert_eq!(table.find("a", "*"), None);
    }

    #[test]
    fn a_named_host_goes_before_every_host_whatever_its_case_and_port() {
        let table = table(&[(&[], "/"), (&["shop.example.com"], "/cart")]);
        assert_eq!(table.find("Shop.Example.COM:8080", "/cart"), Some(1));
        assert_eq!(table.find("shop.example.com", "/"), Some(0));
        assert_eq!(table.find("other.example.com", "/cart"), Some(0));
    }

    #[test]
    fn a_path_is_looked_at_no_further_than_the_longest_prefix() {
        let table = table(&[(&[], "/"), (&[], "/shop/cart")]);
        assert_eq!(table.find("a", "/shop/cart"), Some(1));
        assert_eq!(table.find("a", "/shop/cartoon"), Some(0));
        assert_eq!(table.find("a", "/shop/cart/oon"), Some(1));
        assert_eq!(table.find("a", "/shop/ca\u{20ac}\u{20ac}"), Some(0));
        assert_eq!(table.find("a", &"/".repeat(1_000_000)), Some(0));
        assert_eq!(table.any_host.longest, "/shop/cart".len());
    }

    #[test]
    fn a_name_with_its_last_dot_is_the_same_name() {
        let table = table(&[(&[], "/"), (&["shop.example.com"], "/")]);
        assert_eq!(table.find("shop.example.com.", "/"), Some(1));
        assert_eq!(table.find("shop.example.com.:80", "/"), Some(1));
    }

    #[test]
    fn ports_are_cut_and_addresses_are_left_whole() {
        assert_eq!(without_port("a:80"), "a");
        assert_eq!(without_port("a"), "a");
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
        assert_eq!(without_port(""), "");
        assert_eq!(without_port(":80"), "");
    }
}
