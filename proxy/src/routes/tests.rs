use config::{HeaderMatch, HostName, PathPrefix};
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

/// A service for every host, path and method.
fn anything() -> Service {
    let text = "services: { s: { versions: { v1: { endpoints: ['127.0.0.1:1'] } } } }";
    config::parse(text, "test.yaml").unwrap().configuration.services.remove(0)
}

fn host(text: &str) -> HostName {
    text.parse().unwrap()
}

fn service(hosts: &[&str], path: &str) -> Service {
    let hosts = hosts.iter().map(|text| host(text)).collect();
    Service { hosts, path: PathPrefix::new(path).unwrap(), ..anything() }
}

fn header(name: &str, value: Option<&str>) -> HeaderMatch {
    HeaderMatch { name: name.to_owned(), value: value.map(str::to_owned) }
}

/// A table of services by their hosts and path.
fn table(routes: &[(&[&str], &str)]) -> RouteTable {
    RouteTable::new(&routes.iter().map(|(hosts, path)| service(hosts, path)).collect::<Vec<_>>())
}

impl RouteTable {
    /// Where a GET without headers leads.
    fn get(&self, host: &str, path: &str) -> Option<usize> {
        self.find(&Asked { host, path, method: &Method::GET, headers: &HeaderMap::new() })
    }
}

#[test]
fn the_longest_prefix_wins() {
    let table = table(&[(&[], "/"), (&[], "/shop"), (&[], "/shop/cart")]);
    assert_eq!(table.get("a", "/"), Some(0));
    assert_eq!(table.get("a", "/shop"), Some(1));
    assert_eq!(table.get("a", "/shop/"), Some(1));
    assert_eq!(table.get("a", "/shop/cart/7"), Some(2));
    assert_eq!(table.get("a", "/other"), Some(0));
}

#[test]
fn a_prefix_matches_whole_segments() {
    let table = table(&[(&[], "/shop")]);
    for path in ["/shopping", "/", "", "*", "/sho", "shop", "//shop"] {
        assert_eq!(table.get("a", path), None, "{path}");
    }
}

#[test]
fn a_named_host_goes_before_every_host_whatever_its_case_and_port() {
    let table = table(&[(&[], "/"), (&["shop.example.com"], "/cart")]);
    assert_eq!(table.get("Shop.Example.COM:8080", "/cart"), Some(1));
    assert_eq!(table.get("shop.example.com", "/"), Some(0));
    assert_eq!(table.get("other.example.com", "/cart"), Some(0));
}

#[test]
fn a_wildcard_takes_every_depth_below_its_name_and_not_the_name() {
    let table = table(&[(&["*.example.com"], "/")]);
    for below in ["a.example.com", "a.b.example.com", "A.B.Example.Com.:443", "*.example.com"] {
        assert_eq!(table.get(below, "/"), Some(0), "{below}");
    }
    for other in ["example.com", ".example.com", "aexample.com", "example.com.evil", "com", "", ".", "[::1]:80"] {
        assert_eq!(table.get(other, "/"), None, "{other}");
    }
}

#[test]
fn an_exact_host_goes_before_the_longest_wildcard_and_that_before_a_shorter_one() {
    let table = table(&[(&["*.com"], "/"), (&["*.b.com"], "/"), (&["a.b.com"], "/"), (&[], "/")]);
    for (host, place) in
        [("a.b.com", 2), ("x.b.com", 1), ("x.a.b.com", 1), ("b.com", 0), ("x.y.com", 0), ("com", 3), ("b.org", 3)]
    {
        assert_eq!(table.get(host, "/"), Some(place), "{host}");
    }
}

#[test]
fn where_no_path_of_a_host_fits_a_less_specific_host_is_asked() {
    let table = table(&[(&["a.b.com"], "/exact"), (&["*.b.com"], "/below"), (&["*.com"], "/further"), (&[], "/every")]);
    for (path, place) in
        [("/exact", Some(0)), ("/below", Some(1)), ("/further", Some(2)), ("/every", Some(3)), ("/", None)]
    {
        assert_eq!(table.get("a.b.com", path), place, "{path}");
    }
}

#[test]
fn a_service_whose_method_or_headers_do_not_fit_is_passed_over() {
    let mut services = [service(&["a.com"], "/x"), service(&["a.com"], "/x"), service(&["a.com"], "/"), anything()];
    services[0].methods = vec!["POST".to_owned(), "PUT".to_owned()];
    services[1].headers = vec![header("x-tenant", Some("blue")), header("x-beta", None)];
    services[2].methods = vec!["GET".to_owned()];
    let table = RouteTable::new(&services);
    let find = |method: &Method, headers: &[(&'static str, &'static str)]| {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        table.find(&Asked { host: "a.com", path: "/x/y", method, headers: &headers })
    };
    let (blue, beta) = (("x-tenant", "blue"), ("x-beta", ""));
    assert_eq!(find(&Method::POST, &[]), Some(0));
    assert_eq!(find(&Method::PUT, &[blue, beta]), Some(0), "methods go before headers");
    assert_eq!(find(&Method::GET, &[blue, beta]), Some(1));
    assert_eq!(find(&Method::GET, &[blue, beta, ("x-beta", "1")]), Some(1), "any value, and any number of them");
    assert_eq!(find(&Method::GET, &[("x-tenant", "red"), blue, beta]), Some(2), "two values are no single one");
    assert_eq!(find(&Method::GET, &[blue, ("x-tenant", "red"), beta]), Some(2));
    assert_eq!(find(&Method::GET, &[blue]), Some(2), "a shorter path");
    assert_eq!(find(&Method::GET, &[("x-tenant", "Blue"), beta]), Some(2));
    assert_eq!(find(&Method::HEAD, &[]), Some(3), "a less specific host; GET does not mean HEAD");
}

#[test]
fn of_two_services_the_one_with_more_headers_is_asked_first_whatever_their_order() {
    let mut services = [anything(), anything(), anything()];
    services[1].headers = vec![header("a", None)];
    services[2].headers = vec![header("a", None), header("b", None)];
    let table = RouteTable::new(&services);
    let mut headers = HeaderMap::new();
    let mut find = |name: &'static str| {
        headers.append(name, HeaderValue::from_static("1"));
        table.find(&Asked { host: "h", path: "/", method: &Method::GET, headers: &headers })
    };
    assert_eq!([find("c"), find("a"), find("b")], [Some(0), Some(1), Some(2)]);
}

#[test]
fn a_path_is_looked_at_no_further_than_the_longest_prefix() {
    let table = table(&[(&[], "/"), (&[], "/shop/cart")]);
    assert_eq!(table.get("a", "/shop/cart"), Some(1));
    assert_eq!(table.get("a", "/shop/cartoon"), Some(0));
    assert_eq!(table.get("a", "/shop/cart/oon"), Some(1));
    assert_eq!(table.get("a", "/shop/ca\u{20ac}\u{20ac}"), Some(0));
    assert_eq!(table.get("a", "/shop\u{20ac}/cart"), Some(0));
    assert_eq!(table.get("a", &"/".repeat(1_000_000)), Some(0));
}

#[test]
fn hosts_that_are_no_names_lead_where_every_host_does() {
    let table = table(&[(&["example.com", "*.example.com"], "/"), (&[], "/")]);
    let long = format!("{}.example.com", "a".repeat(300));
    for host in [&long, "", ".", "..", ":", "[::1]", "[::1", "a%2eexample.com%00", "\u{20ac}", "example.com..", "%"] {
        assert_eq!(table.get(host, "/"), Some(1), "{host}");
    }
    assert_eq!(table.get("\u{20ac}.example.com", "/"), Some(0), "below is below");
}

/// Where a request leads by the rule as it is written, service for service.
fn by_the_rule(services: &[Service], asked: &Asked<'_>) -> Option<usize> {
    let name = asked.host;
    let host_rank = |host: &HostName| match host.parent() {
        None => (host.as_str() == name).then_some((2, 0)),
        Some(parent) => {
            let is_below = name.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'));
            is_below.then_some((1, parent.len()))
        }
    };
    let rank = |(place, service): (usize, &Service)| {
        let host = if service.hosts.is_empty() { (0, 0) } else { service.hosts.iter().filter_map(host_rank).max()? };
        let prefix = without_last_slash(service.path.as_str());
        let has = |wanted: &HeaderMatch| {
            let sent: Vec<_> = asked.headers.get_all(&wanted.name).iter().collect();
            wanted.value.as_ref().map_or(!sent.is_empty(), |value| sent == [value.as_str()])
        };
        let matches = is_within(asked.path, prefix)
            && (service.methods.is_empty() || service.methods.iter().any(|method| method == asked.method.as_str()))
            && service.headers.iter().all(has);
        let specific = (host, prefix.len(), !service.methods.is_empty(), service.headers.len());
        matches.then_some((specific, std::cmp::Reverse(place)))
    };
    services.iter().enumerate().filter_map(rank).max().map(|(_, std::cmp::Reverse(place))| place)
}

const HOSTS: [&str; 6] = ["a.com", "b.a.com", "c.b.a.com", "*.a.com", "*.b.a.com", "*.com"];
const PATHS: [&str; 12] = ["/", "/a", "/b", "/a/b", "/b/a", "/a/b/a", "/ab", "/ab/a", "/aa", "/a/b/b", "/bb", "/b/b"];
const METHODS: [&str; 3] = ["GET", "POST", "PURGE"];

fn services() -> impl Strategy<Value = Vec<Service>> {
    let hosts = prop_oneof![subsequence(HOSTS.to_vec(), 0..=2), Just(vec!["a.com"]), Just(vec![])];
    let methods = subsequence(METHODS.to_vec(), 0..=2);
    let headers = subsequence(vec![("x", None), ("x", Some("1")), ("y", Some("2"))], 0..=2);
    let one = (hosts, select(PATHS.to_vec()), methods, headers).prop_map(|(hosts, path, methods, headers)| Service {
        methods: methods.into_iter().map(str::to_owned).collect(),
        headers: headers.into_iter().map(|(name, value)| header(name, value)).collect(),
        ..service(&hosts, path)
    });
    prop::collection::vec(one, 0..40)
}

proptest! {
    #[test]
    fn a_request_leads_where_the_rule_says(
        services in services(),
        host in "([abc]\\.){0,3}(com|a)",
        path in "(/[ab]{0,2}){0,4}|[/ab*]{0,6}",
        method in select(METHODS.to_vec()),
        headers in prop::collection::vec((select(vec!["x", "y", "z"]), select(vec!["1", "2"])), 0..4),
    ) {
        let headers = headers
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let asked = Asked { host: &host, path: &path, method: &method, headers: &headers };
        prop_assert_eq!(RouteTable::new(&services).find(&asked), by_the_rule(&services, &asked));
    }

    /// Of one host and path, as many as are not looked at one after the other.
    #[test]
    fn a_request_leads_where_the_rule_says_among_many_of_one_path(
        wanted in prop::collection::vec(
            (subsequence(METHODS.to_vec(), 0..=1), subsequence(
                vec![("x", None), ("x", Some("1")), ("y", Some("2")), ("y", Some("1")), ("z", None), ("v", Some("1"))],
                0..=3,
            )),
            0..40,
        ),
        method in select(METHODS.to_vec()),
        headers in prop::collection::vec(
            (select(vec!["x", "y", "z", "v", "a", "b", "c", "d"]), select(vec!["1", "2"])),
            0..8,
        ),
    ) {
        let one = |(methods, headers): (Vec<&str>, Vec<(&str, Option<&str>)>)| Service {
            methods: methods.into_iter().map(str::to_owned).collect(),
            headers: headers.into_iter().map(|(name, value)| header(name, value)).collect(),
            ..anything()
        };
        let services: Vec<Service> = wanted.into_iter().map(one).collect();
        let headers = headers
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let asked = Asked { host: "a.com", path: "/", method: &method, headers: &headers };
        prop_assert_eq!(RouteTable::new(&services).find(&asked), by_the_rule(&services, &asked));
    }

    #[test]
    fn whatever_a_client_writes_leads_somewhere_or_nowhere(host in "\\PC*", path in "\\PC*") {
        let table = table(&[(&["a.com", "*.com"], "/a"), (&[], "/\u{7e}")]);
        let found = table.get(&host, &path);
        prop_assert!(found.is_none_or(|place| place < 2));
    }

    #[test]
    fn a_path_is_within_a_prefix_where_a_service_of_that_prefix_would_be_found(
        prefix in select(PATHS.to_vec()),
        path in "[/ab*]{0,8}",
    ) {
        let found = table(&[(&[], prefix)]).get("a", &path).is_some();
        prop_assert_eq!(is_within(&path, without_last_slash(prefix)), found);
    }
}
