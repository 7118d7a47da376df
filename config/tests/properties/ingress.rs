//! Listeners, rules, routes and versions: each that can be is read as it is written.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::{
    AccessLog, AddressRange, Affinity, Bytes, CertificateFiles, ClientCertificates, Configuration, Drain, Endpoint,
    EndpointTls, Forced, Fraction, Handling, HeaderMatch, HostName, Hsts, Limits, ListenAddress, Listener, ListenerTls,
    LogTarget, Protocol, Rules, Service, ServiceTimeouts, Strictness, Timeouts, TlsVersion, Version,
};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::care::{any_mirror, any_retries, cared_for};
use crate::writing::written;
use crate::{FULL, read};

/// A service of one version, with `more` beside it.
pub(crate) fn service(more: &str) -> Service {
    read(&format!("services: {{ shop: {{ versions: {{ v1: {{ endpoints: ['a:1'] }} }}, {more} }} }}"))
        .services
        .remove(0)
}

pub(crate) fn top(text: &str) -> Configuration {
    read(&format!("{text}\nservices: {{ shop: {{ versions: {{ v1: {{ endpoints: ['a:1'] }} }} }} }}"))
}

#[test]
fn a_full_configuration_uses_every_part_that_is_optional() {
    let full = read(FULL);
    let checkout = &full.services[0];
    assert!(full.rules.access_log.is_some() && full.rules.limits.body.is_some() && full.rules.timeouts.total.is_some());
    assert!(checkout.forced.is_some() && checkout.body.is_some() && checkout.timeouts.total.is_some());
    assert!(checkout.versions.iter().any(|version| version.protocol == Protocol::H2));
    assert!(checkout.versions.iter().any(|version| version.protocol == Protocol::H2c));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn listeners_and_rules_are_read_as_they_are_written(listeners in any_listeners(), rules in any_rules()) {
        let expected = Configuration { listeners, rules: Arc::new(rules), ..top("") };
        prop_assert_eq!(read(&written(&expected).to_string()), expected);
    }

    #[test]
    fn a_service_is_read_as_it_is_written(expected in any_service()) {
        let expected = Configuration { services: vec![expected], ..top("") };
        prop_assert_eq!(read(&written(&expected).to_string()), expected);
    }

    #[test]
    fn codes_of_grpc_are_those_that_are_written(codes in subsequence((1_u32..=16).collect::<Vec<_>>(), 0..=16)) {
        let names: Vec<_> = codes.iter().map(|code| config::GrpcCodes::NAMES[*code as usize]).collect();
        let read = service(&format!("grpc_errors: [{}]", names.join(", "))).grpc_errors;
        for code in 0..=16 {
            prop_assert_eq!(read.contains(code), codes.contains(&code), "{}", code);
        }
        prop_assert_eq!(read.contains(99), codes.contains(&2));
    }
}

/// What two services on one host and path ask for: methods, and for each of two headers nothing, any value or one value.
type Asked = (Vec<&'static str>, [Option<&'static str>; 2]);

fn any_asked() -> impl Strategy<Value = Asked> {
    let header = || option::of(select(vec!["*", "a", "b"]));
    (subsequence(vec!["GET", "PUT", "POST"], 0..=2), [header(), header()])
}

fn takes((methods, headers): &Asked, method: &str, sent: [Option<&str>; 2]) -> bool {
    let matched = headers.iter().zip(sent).all(|(asked, sent)| match asked {
        None => true,
        Some("*") => sent.is_some(),
        Some(_) => sent == *asked,
    });
    (methods.is_empty() || methods.contains(&method)) && matched
}

/// Whether some request is for both, and neither goes before the other: tried with every request.
fn are_rivals(one: &Asked, other: &Asked) -> bool {
    let rank = |(methods, headers): &Asked| (!methods.is_empty(), headers.iter().flatten().count());
    let values = [None, Some("a"), Some("b"), Some("c")];
    let headers = values.iter().flat_map(|x| values.iter().map(move |y| [*x, *y]));
    let requests = headers.flat_map(|sent| ["GET", "PUT", "POST", "HEAD"].map(|method| (method, sent)));
    let both = |(method, sent): (&str, _)| takes(one, method, sent) && takes(other, method, sent);
    rank(one) == rank(other) && requests.into_iter().any(both)
}

fn asking(name: &str, (methods, headers): &Asked) -> String {
    let methods = if methods.is_empty() { String::new() } else { format!("methods: [{}], ", methods.join(", ")) };
    let headers = ["x", "y"].iter().zip(headers).filter_map(|(name, value)| Some(format!("{name}: '{}'", (*value)?)));
    let headers: Vec<_> = headers.collect();
    let headers = if headers.is_empty() { String::new() } else { format!("headers: {{ {} }}, ", headers.join(", ")) };
    format!("{name}: {{ {methods}{headers}versions: {{ v1: {{ endpoints: ['a:1'] }} }} }}")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_services_are_refused_exactly_where_a_request_could_be_for_both(one in any_asked(), other in any_asked()) {
        let text = format!("services: {{ {}, {} }}", asking("one", &one), asking("other", &other));
        prop_assert_eq!(config::parse(&text, "f").is_err(), are_rivals(&one, &other), "{}", text);
    }
}

fn time() -> impl Strategy<Value = Duration> {
    (1_u64..=8784 * 3_600_000).prop_map(Duration::from_millis)
}

fn whole_seconds(least: u64) -> impl Strategy<Value = Duration> {
    (least..=8784 * 3600).prop_map(Duration::from_secs)
}

fn path() -> impl Strategy<Value = PathBuf> {
    "/?[a-z]{1,8}(/[a-z .-]{1,8}x){0,2}".prop_map(PathBuf::from)
}

fn token() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9_-]{0,11}"
}

fn ranges() -> impl Strategy<Value = Vec<AddressRange>> {
    let v4 = (any::<u32>(), 1_u32..=32)
        .prop_map(|(bits, length)| format!("{}/{length}", Ipv4Addr::from(bits & (u32::MAX << (32 - length)))));
    let v6 = (any::<u128>(), 1_u32..=96).prop_map(|(bits, length)| {
        // Never IPv4 in the form of IPv6.
        let bits = (bits | 1 << 127) & (u128::MAX << (128 - length));
        format!("{}/{length}", std::net::Ipv6Addr::from(bits))
    });
    prop::collection::hash_set(prop_oneof![v4, v6], 0..4)
        .prop_map(|ranges| ranges.iter().map(|range| range.parse().unwrap()).collect())
}

fn some_ranges() -> impl Strategy<Value = Vec<AddressRange>> {
    ranges().prop_filter("not empty", |ranges| !ranges.is_empty())
}

fn files() -> impl Strategy<Value = CertificateFiles> {
    (path(), path()).prop_map(|(cert, key)| CertificateFiles { cert, key })
}

fn any_tls() -> impl Strategy<Value = ListenerTls> {
    let clients = (path(), any::<bool>()).prop_map(|(ca, optional)| ClientCertificates { ca, optional });
    let hsts = (whole_seconds(0), any::<bool>(), any::<bool>()).prop_map(|(max_age, subdomains, preload)| Hsts {
        max_age,
        subdomains,
        preload,
    });
    let certificates = prop::collection::hash_set(files(), 1..4).prop_map(|files| files.into_iter().collect());
    (certificates, option::of(clients), select(vec![TlsVersion::V12, TlsVersion::V13]), option::of(hsts))
        .prop_map(|(certificates, clients, oldest, hsts)| ListenerTls { certificates, clients, oldest, hsts })
}

/// What a listener may say beside its address; of TLS and a redirect only one.
fn any_spoken() -> impl Strategy<Value = (Option<ListenerTls>, Option<u16>)> {
    prop_oneof![
        Just((None, None)),
        any_tls().prop_map(|tls| (Some(tls), None)),
        (1_u16..).prop_map(|port| (None, Some(port))),
    ]
}

pub(crate) fn any_listeners() -> impl Strategy<Value = Vec<Listener>> {
    prop::collection::vec((any::<bool>(), ranges(), any_spoken()), 1..5).prop_map(|listeners| {
        let numbered = listeners.into_iter().zip(7000..);
        let listener = numbered.map(|((unix, ranges, (tls, redirect)), number)| {
            let (address, proxy_protocol) = if unix {
                (ListenAddress::Unix(PathBuf::from(format!("/run/{number}.sock"))), Vec::new())
            } else {
                (ListenAddress::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), number)), ranges)
            };
            Listener { address, tls, proxy_protocol, redirect }
        });
        listener.collect()
    })
}

fn any_timeouts() -> impl Strategy<Value = Timeouts> {
    (prop::array::uniform12(time()), option::of(time())).prop_map(|(times, total)| {
        let [
            handshake,
            head,
            body,
            connect,
            first_byte,
            response,
            write,
            keepalive,
            http2_idle,
            tunnel,
            connection,
            upstream_idle,
        ] = times;
        Timeouts {
            handshake,
            head,
            body,
            connect,
            first_byte,
            response,
            write,
            keepalive,
            http2_idle,
            tunnel,
            connection,
            upstream_idle,
            total,
        }
    })
}

fn size(least: u64, most: u64) -> impl Strategy<Value = Bytes> {
    (least..=most).prop_map(|bytes| Bytes::new(bytes).unwrap())
}

fn any_limits() -> impl Strategy<Value = Limits> {
    let connections = (1_u64..=10_000_000, 1_u64..=10_000_000, 1_u64..=10_000_000);
    let heads = (size(1024, 64 << 10), size(1024, 1 << 20), 1_u64..=256, size(1024, 1 << 20));
    let http2 = (1_u32..=10_000, 1_u32..=1_000_000, 1_u32..=1_000_000);
    (connections, heads, http2, option::of(size(1, 1 << 50))).prop_map(|(connections, heads, http2, body)| Limits {
        connections: connections.0,
        connections_per_client: connections.1,
        requests_per_client: connections.2,
        request_line: heads.0.min(heads.1),
        head: heads.0.max(heads.1),
        headers: heads.2,
        body,
        http2_streams: http2.0,
        http2_header_list: heads.3,
        http2_resets: http2.1,
        http2_glitches: http2.2,
    })
}

pub(crate) fn any_rules() -> impl Strategy<Value = Rules> {
    let handling = || select(vec![Handling::Refuse, Handling::Pass]);
    let requests =
        (handling(), handling()).prop_map(|(underscores, encoded_slashes)| Strictness { underscores, encoded_slashes });
    let to = prop_oneof![
        Just(LogTarget::Stdout),
        "(/[a-z]{1,8}){1,3}\\.log".prop_map(|path| LogTarget::File(PathBuf::from(path))),
    ];
    let log = (to, 0_u32..=1_000_000)
        .prop_map(|(to, millionths)| AccessLog { to, sample: Fraction::new(f64::from(millionths) / 1e6).unwrap() });
    let time = || (0_u64..=8_784 * 3_600_000).prop_map(Duration::from_millis);
    let drain = (time(), time()).prop_map(|(grace, deadline)| Drain { grace, deadline });
    (any_timeouts(), any_limits(), requests, ranges(), option::of(log), drain).prop_map(
        |(timeouts, limits, requests, trusted, access_log, drain)| Rules {
            timeouts,
            limits,
            requests,
            trusted,
            access_log,
            drain,
        },
    )
}

fn any_affinity() -> impl Strategy<Value = Affinity> {
    prop_oneof![
        Just(Affinity::Random),
        Just(Affinity::ClientAddress),
        token().prop_map(Affinity::Header),
        token().prop_map(Affinity::User),
        (token(), option::of(whole_seconds(1))).prop_map(|(name, issue)| Affinity::Cookie { name, issue }),
    ]
}

fn any_forced() -> impl Strategy<Value = Forced> {
    let by = prop_oneof![
        token().prop_map(|header| (Some(header), None)),
        token().prop_map(|cookie| (None, Some(cookie))),
        (token(), token()).prop_map(|(header, cookie)| (Some(header), Some(cookie))),
    ];
    let who = prop_oneof![
        some_ranges().prop_map(|from| (from, None)),
        path().prop_map(|secret| (Vec::new(), Some(secret))),
        (some_ranges(), path()).prop_map(|(from, secret)| (from, Some(secret))),
    ];
    (by, who, any::<bool>()).prop_map(|((header, cookie), (from, secret), judged)| Forced {
        header,
        cookie,
        from,
        secret,
        judged,
    })
}

fn any_version() -> impl Strategy<Value = Version> {
    let hosts = || prop::collection::btree_set("[a-y][a-z0-9]{0,8}(\\.[a-z]{1,5}){0,2}", 1..4);
    let plain = |(hosts, unix, protocol): (std::collections::BTreeSet<String>, bool, Protocol)| {
        let tcp = hosts.into_iter().map(|host| Endpoint::Tcp { host, port: 8080, tls: false });
        let socket = unix.then(|| Endpoint::Unix(PathBuf::from("/run/shop.sock")));
        (tcp.chain(socket).collect(), protocol, None)
    };
    let with_tls = |(hosts, protocol, (server_name, ca, certificate)): (std::collections::BTreeSet<String>, _, _)| {
        let tcp = hosts.into_iter().map(|host| Endpoint::Tcp { host, port: 443, tls: true });
        (tcp.collect(), protocol, Some(EndpointTls { server_name, ca, certificate }))
    };
    let tls = (option::of("[a-y]{1,9}(\\.[a-z]{1,5}){0,2}"), option::of(path()), option::of(files()));
    let spoken = prop_oneof![
        (hosts(), any::<bool>(), select(vec![Protocol::H1, Protocol::H2c])).prop_map(plain),
        (hosts(), select(vec![Protocol::H1, Protocol::H2]), tls).prop_map(with_tls),
    ];
    let spoken = spoken.prop_map(|(endpoints, protocol, tls)| Version {
        protocol,
        tls,
        ..Version::plain(config::Name::new("v1").unwrap(), endpoints)
    });
    spoken.prop_flat_map(cared_for)
}

fn any_route() -> impl Strategy<Value = (Vec<HostName>, Vec<String>, Vec<HeaderMatch>)> {
    let host = "(\\*\\.)?[a-y]{1,5}(\\.[a-z]{1,5}){1,2}";
    let hosts = prop::collection::btree_set(host, 0..4);
    let methods = prop::collection::btree_set("[A-Z]{1,7}(-[A-Z]{1,3})?", 0..4);
    let value = option::of("[!-)+-~]([ -)+-~]{0,10}[!-)+-~])?");
    let headers = prop::collection::btree_map(token(), value, 0..4);
    (hosts, methods, headers).prop_map(|(hosts, methods, headers)| {
        let headers = headers.into_iter().filter(|(name, _)| name != "host");
        (
            hosts.iter().map(|host| host.parse().unwrap()).collect(),
            methods.into_iter().collect(),
            headers.map(|(name, value)| HeaderMatch { name, value }).collect(),
        )
    })
}

pub(crate) fn any_service() -> impl Strategy<Value = Service> {
    let times = prop::array::uniform4(option::of(time()));
    let upgrades = prop::collection::btree_set("[a-g][a-z]{0,9}", 0..3);
    let decided = (any_affinity(), option::of(any_forced()), any::<bool>());
    let taken = (upgrades, option::of(size(1, 1 << 50)), times, any_retries(), any::<bool>(), any_mirror());
    (any_route(), decided, taken, any_version()).prop_map(|(route, decided, taken, version)| {
        let (upgrades, body, times, retries, shield, mirror) = taken;
        let [first_byte, response, tunnel, total] = times;
        let (hosts, methods, headers) = route;
        let (affinity, forced, version_header) = decided;
        Service {
            hosts,
            methods,
            headers,
            affinity,
            forced,
            version_header,
            upgrades: upgrades.into_iter().collect(),
            body,
            timeouts: ServiceTimeouts { first_byte, response, tunnel, total },
            retries,
            shield,
            mirror,
            versions: vec![version],
            ..service("")
        }
    })
}
