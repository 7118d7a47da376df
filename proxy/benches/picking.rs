//! What it costs to choose an endpoint, of few and of many. Run with `cargo bench -p proxy --bench picking`.

#![expect(clippy::disallowed_methods, reason = "endpoints begin their lives now")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use config::{Balance, Configuration, Endpoint, HashKey, Name};
use divan::{AllocProfiler, Bencher, black_box};
use proxy::Publisher;
use proxy::endpoint::Ask;
use proxy::routing::{Addresses, Version};

/// Shows in the output what was allocated: nothing.
#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// A version with so many endpoints, of which each has answered once.
fn version(endpoints: u16, balance: &Balance) -> Option<Arc<Version>> {
    let list = (0..endpoints).map(|number| format!("'10.0.{}.{}:80'", number / 250, number % 250 + 1));
    let list = list.collect::<Vec<_>>().join(", ");
    let text = format!("services: {{ s: {{ stable: v1, versions: {{ v1: {{ endpoints: [{list}] }} }} }} }}");
    let mut configuration: Configuration = config::parse(&text, "bench.yaml").ok()?.configuration;
    configuration.services[0].versions[0].balance = balance.clone();
    let address = |endpoint: &Endpoint| match endpoint {
        Endpoint::Tcp { host, port, .. } => {
            Some((endpoint.clone(), Arc::from([SocketAddr::new(host.parse().ok()?, *port)])))
        }
        Endpoint::Unix(_) => None,
    };
    let addresses: Addresses = configuration.services[0].versions[0].endpoints.iter().filter_map(address).collect();
    let mut publisher = Publisher::new(1);
    let now = Instant::now();
    publisher.install(&configuration, &addresses, |_| None, now);
    let routing = publisher.shared().load_full();
    let version = Arc::clone(routing.service(&Name::new("s")?)?.stable());
    for place in 0..10 * u64::from(endpoints) {
        let ask = Ask { key: Some(spread(place)), avoid: None, repeats: false, now };
        version.pick(&ask).ok()?.heard(5_000 + place, 200, now);
    }
    Some(version)
}

const fn spread(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn bench(bencher: Bencher<'_, '_>, version: Option<Arc<Version>>, keyed: bool) {
    let Some(version) = version else { unreachable!() };
    let mut number = 0_u64;
    let now = Instant::now();
    bencher.bench_local(|| {
        number += 1;
        let ask = Ask { key: keyed.then(|| spread(number)), avoid: None, repeats: false, now };
        drop(black_box(version.pick(black_box(&ask))));
    });
}

#[divan::bench(args = [1, 3, 8, 20, 1_000])]
fn peak_ewma(bencher: Bencher<'_, '_>, endpoints: u16) {
    bench(bencher, version(endpoints, &Balance::PeakEwma), false);
}

#[divan::bench(args = [1, 3, 8, 20, 1_000])]
fn least_requests(bencher: Bencher<'_, '_>, endpoints: u16) {
    bench(bencher, version(endpoints, &Balance::LeastRequests), false);
}

#[divan::bench(args = [1, 3, 8, 20, 1_000])]
fn hash(bencher: Bencher<'_, '_>, endpoints: u16) {
    bench(bencher, version(endpoints, &Balance::Hash(HashKey::Path)), true);
}
