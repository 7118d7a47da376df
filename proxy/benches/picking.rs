//! What it costs a request to be given an endpoint, and that endpoint to be told what became of it. Allocations are
//! shown beside the times. Run with `cargo bench -p proxy --bench picking`.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench: it reads the clock, and fails where it cannot be set up"
)]

use std::sync::Arc;
use std::time::Instant;

use config::{Ejection, Endpoint as Written, Name, Timeouts, Version};
use divan::{AllocProfiler, Bencher, black_box};
use meter::Class;
use proxy::endpoint::{Address, Care, Contact, Endpoint, pick};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// So many endpoints that are well; the last one is ejected where that is wanted.
fn endpoints(count: u16, with_ejected: bool) -> Vec<Arc<Endpoint>> {
    let written = |place| Written::Tcp { host: "127.0.0.1".into(), port: 1 + place, tls: false };
    let version = Version::plain(Name::new("v1").unwrap(), (0..count).map(written).collect());
    assert_eq!(version.ejection, Some(Ejection::default()));
    let contact = Contact::new(&Name::new("shop").unwrap(), &version, &Timeouts::default(), None);
    let (care, now) = (Arc::new(Care::of(&version, None)), Instant::now());
    care.has(usize::from(count));
    let endpoint = |place| {
        let address = Address::Tcp(([127, 0, 0, 1], 1 + place).into());
        Arc::new(Endpoint::new(written(place), address, place, &contact, &care, now))
    };
    let endpoints: Vec<_> = (0..count).map(endpoint).collect();
    if with_ejected {
        for _ in 0..5 {
            pick(&endpoints[usize::from(count) - 1..], None, now).unwrap().ended(Class::ServerError, now);
        }
    }
    endpoints
}

/// An endpoint is picked, and answers well.
#[divan::bench(args = [1, 3, 10, 100])]
fn well(bencher: Bencher<'_, '_>, count: u16) {
    let (endpoints, now) = (endpoints(count, false), Instant::now());
    bencher.bench_local(|| pick(black_box(&endpoints), None, now).unwrap().ended(Class::Success, now));
}

/// The same beside one that is ejected.
#[divan::bench(args = [3, 10, 100])]
fn beside_one_that_is_ejected(bencher: Bencher<'_, '_>, count: u16) {
    let (endpoints, now) = (endpoints(count, true), Instant::now());
    bencher.bench_local(|| pick(black_box(&endpoints), None, now).unwrap().ended(Class::Success, now));
}
