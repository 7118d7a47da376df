//! What a request's head says: its host, and the key that keeps its client on one version.

use std::borrow::Cow;
use std::net::IpAddr;

use config::{Affinity, HashKey};
use http::request::Parts;
use http::{Version, header};
use pingora_http::RequestHeader;
use xxhash_rust::xxh3::xxh3_64;

use crate::ticket::group_of;

/// Whether a request breaks the rule that HTTP/1.1 names its host (RFC 9112, section 3.2).
pub(crate) fn lacks_host(request: &RequestHeader) -> bool {
    request.version == Version::HTTP_11
        && !request.headers.contains_key(header::HOST)
        && request.uri.authority().is_none()
}

/// The host that a request names: the authority goes before the header (RFC 9112, section 3.2.2).
pub(crate) fn host_of(request: &Parts) -> &str {
    let authority = request.uri.authority().map(http::uri::Authority::as_str);
    let header = || request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = authority.or_else(header).unwrap_or_default();
    host.rsplit_once('@').map_or(host, |(_, host)| host)
}

/// What the service's affinity takes of a request; none draws at random. `trusted` tells whether the peer is a hop
/// whose word on the user is believed.
pub(crate) fn affinity_key<'a>(
    affinity: &Affinity,
    request: &'a RequestHeader,
    client: Option<IpAddr>,
    trusted: bool,
) -> Option<Cow<'a, [u8]>> {
    let header = |name: &str| request.headers.get(name).map(|value| value.as_bytes().into());
    match affinity {
        Affinity::Random => None,
        Affinity::Header(name) => header(name),
        Affinity::User(name) => header(name).filter(|_| trusted),
        Affinity::Cookie { name, .. } => cookie(request, name).map(Into::into),
        Affinity::ClientAddress => client.map(|address| address_bytes(address).to_vec().into()),
    }
    // An empty key is nobody's: users who are logged out must not all move as one.
    .filter(|key: &Cow<'_, [u8]>| !key.is_empty())
}

/// The hash of the key that a request is given its endpoint by; none where it has no such key, or an empty one.
pub(crate) fn balance_key(key: &HashKey, request: &RequestHeader, client: Option<IpAddr>) -> Option<u64> {
    let hash = |key: &[u8]| (!key.is_empty()).then(|| xxh3_64(key));
    match key {
        HashKey::Header(name) => hash(request.headers.get(name)?.as_bytes()),
        HashKey::Cookie(name) => hash(cookie(request, name)?),
        HashKey::ClientAddress => hash(&address_bytes(client?)),
        HashKey::Path => hash(request.uri.path().as_bytes()),
    }
}

/// The value of a cookie (RFC 6265, section 5.4).
pub(crate) fn cookie<'a>(request: &'a RequestHeader, name: &str) -> Option<&'a [u8]> {
    let pairs = request.headers.get_all(header::COOKIE).iter().flat_map(|value| value.as_bytes().split(|b| *b == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The hash group of a client that has no key.
pub(crate) fn group_of_address(address: Option<IpAddr>) -> u8 {
    address.map_or(0, |address| group_of(&address_bytes(address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in headers {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name_in_any_header() {
        let request = request(&[("cookie", "xid=1; id=abc; other=2"), ("cookie", "last=9")]);
        assert_eq!(cookie(&request, "id"), Some(&b"abc"[..]));
        assert_eq!(cookie(&request, "last"), Some(&b"9"[..]));
        assert_eq!(cookie(&request, "i"), None);
    }

    #[test]
    fn without_the_key_a_request_draws_at_random() {
        let key = |affinity| affinity_key(&affinity, &request(&[("x-user", "7")]), None, false).map(|key| key.to_vec());
        assert_eq!(key(Affinity::Header("x-user".into())), Some(b"7".to_vec()));
        assert_eq!(key(Affinity::Header("x-other".into())), None);
        assert_eq!(key(Affinity::Cookie { name: "id".into(), issue: None }), None);
        assert_eq!(key(Affinity::Random), None);
    }

    #[test]
    fn an_endpoint_is_found_by_what_a_request_has_of_the_key_and_by_nothing_else() {
        let one = request(&[("x-user", "7"), ("cookie", "id=7"), ("x-empty", "")]);
        let key = |key: HashKey| balance_key(&key, &one, Some([127, 0, 0, 1].into()));
        let of_seven = Some(xxh3_64(b"7"));
        assert_eq!(key(HashKey::Header("x-user".into())), of_seven);
        assert_eq!(key(HashKey::Cookie("id".into())), of_seven);
        assert_eq!(key(HashKey::Path), Some(xxh3_64(b"/")));
        let [v4, v6] = ["127.0.0.1", "::ffff:127.0.0.1"].map(|text| text.parse().ok());
        assert_eq!(key(HashKey::ClientAddress), balance_key(&HashKey::ClientAddress, &one, v6));
        assert_eq!(key(HashKey::ClientAddress), balance_key(&HashKey::ClientAddress, &one, v4));
        assert_eq!(balance_key(&HashKey::ClientAddress, &one, None), None);
        assert_eq!(key(HashKey::Header("x-empty".into())), None);
        assert_eq!(key(HashKey::Cookie("other".into())), None);
    }

    #[test]
    fn the_path_as_a_key_is_without_its_query() {
        let of = |target: &str| {
            let request = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
            balance_key(&HashKey::Path, &request, None)
        };
        assert_eq!(of("/a?x=1"), of("/a?x=2"));
        assert_ne!(of("/a"), of("/b"));
    }

    #[test]
    fn the_header_that_names_the_user_is_believed_from_trusted_hops_alone() {
        let request = request(&[("x-user", "7")]);
        let affinity = Affinity::User("x-user".into());
        assert_eq!(affinity_key(&affinity, &request, None, true).as_deref(), Some(&b"7"[..]));
        assert_eq!(affinity_key(&affinity, &request, None, false), None);
    }

    #[test]
    fn a_host_header_is_wanted_of_http_1_1_alone() {
        let mut bare = request(&[]);
        assert!(lacks_host(&bare));
        bare.set_version(Version::HTTP_10);
        assert!(!lacks_host(&bare));
        assert!(!lacks_host(&request(&[("host", "a")])));
    }
}
