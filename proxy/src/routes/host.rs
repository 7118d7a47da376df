//! The name in a `Host` header or an authority.

use std::borrow::Cow;

/// The longest name in the DNS, in characters (RFC 1035, section 2.3.4). No service has a longer one.
const LONGEST: usize = 253;

/// The name as services have it: lower case, without port and without the last dot, which a name has that is written
/// out to the root of the DNS. None where it is longer than any name.
pub(super) fn name(host: &str) -> Option<Cow<'_, str>> {
    let name = without_port(host);
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > LONGEST {
        return None;
    }
    let has_capitals = name.bytes().any(|b| b.is_ascii_uppercase());
    Some(if has_capitals { name.to_ascii_lowercase().into() } else { name.into() })
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // In an IPv6 address the colon of a port follows the bracket.
        Some((name, port)) if !name.starts_with('[') || name.ends_with(']') => {
            if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') { name } else { host }
        }
        Some(_) | None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_cut_and_addresses_are_left_whole() {
        for (host, bare) in [
            ("a:80", "a"),
            ("a", "a"),
            ("a:", "a"),
            ("a:http", "a:http"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("[fe80::1", "[fe80::1"),
            ("::1", "::1"),
            ("", ""),
            (":80", ""),
        ] {
            assert_eq!(without_port(host), bare, "{host}");
        }
    }

    #[test]
    fn a_name_has_no_capitals_no_port_and_no_last_dot() {
        assert_eq!(name("Shop.Example.COM.:8080").as_deref(), Some("shop.example.com"));
        assert!(matches!(name("shop.example.com:80"), Some(Cow::Borrowed("shop.example.com"))));
        assert_eq!(name("a%2Eb").as_deref(), Some("a%2eb"));
        assert_eq!(name("."), Some("".into()));
    }

    #[test]
    fn what_is_longer_than_any_name_is_none() {
        assert_eq!(name(&"a".repeat(LONGEST)).map(|name| name.len()), Some(LONGEST));
        assert_eq!(name(&"a".repeat(LONGEST + 1)), None);
        assert_eq!(name(&"a.".repeat(1_000_000)), None);
    }
}
