//! Weights by hand: no change of them costs a request.

use loadtest::{Load, failures};

use crate::connection::KeptConnection;
use crate::patience::until_true;
use crate::process::tidegate;
use crate::shop::{Place, Server, Shop, origin};

/// How often the weight changes.
const CHANGES: u64 = 10_000;
/// How many requests run meanwhile.
const REQUESTS: u64 = 50_000;
/// How many of them a second, where the machine is fast enough.
const RATE: f64 = 2_500.0;
/// More than this many are not in flight at once: what a busy machine cannot take is then not sent, and comes later.
const IN_FLIGHT: usize = 500;

#[test]
fn ten_thousand_changes_of_weight_lose_none_of_fifty_thousand_requests() {
    let shop = Shop::open("{ steps: [{ weight: 5%, hold: 10m }] }");
    let before = shop.admin().service("shop").generation;
    let load = Load { in_flight: IN_FLIGHT, ..shop.server.load(RATE) }.start().unwrap();
    let mut kept = KeptConnection::open(shop.server.address);
    assert_eq!(kept.version(), "v1");
    let mut random = fastrand::Rng::with_seed(7);
    let mut weight = 0;

    for change in 0..CHANGES {
        // Spread over all of the requests.
        until_true("requests between two changes", || load.live().sent >= change * REQUESTS / CHANGES);
        // Any other weight than the present one, so that each of them is a change.
        weight = (weight + random.u16(1..=10_000)) % 10_001;
        let changed = shop.admin().set_weight("shop", "v2", weight);
        assert_eq!((changed.status, changed.body["weight"].as_u64()), (200, Some(weight.into())), "{changed:?}");
        if change % 100 == 0 {
            kept.version();
        }
    }

    assert_eq!(shop.admin().service("shop").generation, before + CHANGES);
    // One connection went through all of it.
    shop.admin().set_weight("shop", "v2", 10_000);
    assert_eq!(kept.version(), "v2");
    until_true("the last requests", || load.live().sent >= REQUESTS);
    let report = load.stop();
    assert_eq!((failures(&report), report.answered), (0, report.sent), "{report}");
    let (v1, v2) = (report.by_version["v1"].responses, report.by_version["v2"].responses);
    assert!(v1 > 0 && v2 > 0 && v1 + v2 == report.sent, "{report}");
}

#[test]
fn without_a_file_the_flags_split_the_traffic() {
    let (v1, v2, place) = (origin("stable"), origin("canary"), Place::new());
    let mut command = tidegate();
    command.args(["run", "--stable", &v1.address().to_string(), "--canary", &v2.address().to_string()]);
    command.args(["--weight", "10%", "--listen", "127.0.0.1:0", "--admin-address", "127.0.0.1:0", "--state"]);
    let server = Server::start({
        command.arg(place.state());
        command
    });

    let answers = server.answers(2_000);

    // Six standard deviations around 200.
    let canary = answers("canary");
    assert!((120..=280).contains(&canary), "{canary} of 2000");
    assert_eq!(answers("stable") + canary, 2_000);
    let service = server.admin.service("default");
    assert_eq!((service.canary.as_deref(), service.weight), (Some("canary"), 1_000));
}
