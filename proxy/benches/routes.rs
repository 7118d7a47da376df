//! What choosing costs with ten thousand services: a lookup, and a reload. Run with `cargo bench -p proxy --bench routes`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::{Configuration, HeaderMatch, HostName, Name, PathPrefix, Service};
use divan::{AllocProfiler, Bencher, black_box};
use http::{HeaderMap, HeaderValue, Method};
use proxy::Publisher;
use proxy::routes::{Asked, RouteTable};
use proxy::routing::Addresses;

/// Shows in the output what was allocated: nothing, for a lookup.
#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

const SERVICES: usize = 10_000;

fn main() {
    divan::main();
}

/// Of each ten services four have a host of their own, two a wildcard, three share a host (with paths of one to three
/// segments), and one has a method on the same path as its neighbour.
fn configuration() -> Configuration {
    let text = "services: { s: { stable: v1, versions: { v1: { endpoints: ['10.0.0.1:80'] }, v2: { endpoints: ['10.0.0.2:80'] } } } }";
    let mut configuration =
        config::parse(text, "bench.yaml").map(|read| read.configuration).unwrap_or_else(|_| unreachable!());
    let base = configuration.services.remove(0);
    configuration.services = (0..SERVICES).map(|number| service(&base, number)).collect();
    configuration
}

fn service(base: &Service, number: usize) -> Service {
    let host = |text: String| text.parse::<HostName>().into_iter().collect::<Vec<_>>();
    let path = |text: String| PathPrefix::new(&text).unwrap_or_else(|| base.path.clone());
    let name = Name::new(&format!("s{number}")).unwrap_or_else(|| base.name.clone());
    let base = Service { name, ..base.clone() };
    match number % 10 {
        0..4 => Service { hosts: host(format!("shop-{number}.example.com")), ..base },
        4 | 5 => Service { hosts: host(format!("*.tenant-{number}.example.com")), ..base },
        6 => Service { hosts: host("api.example.com".to_owned()), path: path(format!("/v1-{number}")), ..base },
        7 => Service { hosts: host("api.example.com".to_owned()), path: path(format!("/v1/orders-{number}")), ..base },
        8 => Service { hosts: host("api.example.com".to_owned()), path: path(format!("/v1/a/items-{number}")), ..base },
        _ => Service {
            hosts: host("api.example.com".to_owned()),
            path: path(format!("/v1/a/items-{}", number - 1)),
            methods: vec!["POST".to_owned()],
            ..base
        },
    }
}

/// Requests that follow no order that a cache or a predictor could learn, each with the place it leads to.
fn requests() -> Vec<(String, String, Method)> {
    let next =
        |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    let numbers = std::iter::successors(Some(1), next).map(|state: u64| (state >> 33) as usize % SERVICES);
    let request = |number: usize| match number % 10 {
        0..4 => (format!("shop-{number}.example.com"), "/cart/17".to_owned(), Method::GET),
        4 | 5 => (format!("a.b.tenant-{number}.example.com"), "/cart/17".to_owned(), Method::GET),
        6 => ("api.example.com".to_owned(), format!("/v1-{number}/a/b/c"), Method::GET),
        7 => ("api.example.com:443".to_owned(), format!("/v1/orders-{number}/a/b"), Method::GET),
        8 => ("api.example.com".to_owned(), format!("/v1/a/items-{number}/7"), Method::GET),
        _ => ("api.example.com".to_owned(), format!("/v1/a/items-{}/7", number - 1), Method::POST),
    };
    numbers.take(SERVICES).map(request).collect()
}

#[divan::bench(sample_size = 1000)]
fn a_lookup(bencher: Bencher) {
    let table = RouteTable::new(&configuration().services);
    let (requests, headers) = (requests(), HeaderMap::new());
    let mut turn = 0;
    bencher.bench_local(|| {
        turn = (turn + 1) % requests.len();
        let (host, path, method) = &requests[turn];
        black_box(table.find(&Asked { host, path, method, headers: &headers }))
    });
}

#[divan::bench(sample_size = 1000)]
fn a_lookup_of_what_no_service_has(bencher: Bencher) {
    let table = RouteTable::new(&configuration().services);
    let headers = HeaderMap::new();
    let (host, path) = ("a.".repeat(120) + "example.com", "/".repeat(8_000));
    let asked = Asked { host: &host, path: &path, method: &Method::GET, headers: &headers };
    bencher.bench_local(|| black_box(table.find(black_box(&asked))));
}

/// Ten thousand services of one host and path, each for the tenant that a header names; the request is the last one's,
/// or nobody's.
#[divan::bench(sample_size = 1000, args = ["t9999", "nobody"])]
fn a_lookup_by_header(bencher: Bencher, tenant: &str) {
    let base = service(&configuration().services[0], 9);
    let wants = |number: usize| {
        let value = Some(format!("t{number}"));
        vec![HeaderMatch { name: "x-tenant".to_owned(), value }]
    };
    let services: Vec<Service> =
        (0..SERVICES).map(|number| Service { headers: wants(number), methods: Vec::new(), ..base.clone() }).collect();
    let table = RouteTable::new(&services);
    let mut headers = HeaderMap::new();
    for name in ["host", "user-agent", "accept", "x-tenant"] {
        headers.insert(name, HeaderValue::from_str(tenant).unwrap_or(HeaderValue::from_static("-")));
    }
    let asked = Asked { host: "api.example.com", path: "/v1/a/items-8/7", method: &Method::GET, headers: &headers };
    bencher.bench_local(|| black_box(table.find(black_box(&asked))));
}

#[divan::bench(max_time = Duration::from_secs(10))]
fn a_reload(bencher: Bencher) {
    let configuration = configuration();
    let endpoints = configuration.services.iter().flat_map(|s| &s.versions).flat_map(|v| &v.endpoints);
    let address: Arc<[SocketAddr]> = Arc::from([([10, 0, 0, 1], 80).into()]);
    let addresses: Addresses = endpoints.map(|endpoint| (endpoint.clone(), Arc::clone(&address))).collect();
    let mut publisher = Publisher::new(2);
    #[expect(clippy::disallowed_methods, reason = "endpoints begin their lives now")]
    let now = Instant::now();
    publisher.install(&configuration, &addresses, |_| None, now);
    bencher.bench_local(|| publisher.install(&configuration, &addresses, |_| None, now));
}

#[divan::bench(max_time = Duration::from_secs(10))]
fn a_first_start(bencher: Bencher) {
    let configuration = configuration();
    let endpoints = configuration.services.iter().flat_map(|s| &s.versions).flat_map(|v| &v.endpoints);
    let address: Arc<[SocketAddr]> = Arc::from([([10, 0, 0, 1], 80).into()]);
    let addresses: Addresses = endpoints.map(|endpoint| (endpoint.clone(), Arc::clone(&address))).collect();
    #[expect(clippy::disallowed_methods, reason = "endpoints begin their lives now")]
    let now = Instant::now();
    bencher.with_inputs(|| Publisher::new(2)).bench_local_values(|mut publisher| {
        publisher.install(&configuration, &addresses, |_| None, now);
        publisher
    });
}
