//! The same endpoint for the same key, under 500 requests a second of others.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use control::plane::EndpointHealth;
use loadtest::{Behaviour, ClientKey, Clients, Load, failures};
use ureq::http::HeaderName;

use crate::connection::KeptConnection;
use crate::patience::until_true;
use crate::shop::{Place, Server, now, origin};

const KEYS: usize = 60;

/// Where most of some requests of a key go: one may go elsewhere while its endpoint is busy.
fn owner(connection: &mut KeptConnection, key: usize) -> String {
    let mut seen = BTreeMap::<String, u32>::new();
    for _ in 0..9 {
        *seen.entry(connection.version_with(&format!("x-tenant: tenant-{key}\r\n"))).or_default() += 1;
    }
    seen.into_iter().max_by_key(|(_, times)| *times).unwrap().0
}

/// The owner of each key.
fn owners(server: &Server) -> Vec<String> {
    let mut connection = KeptConnection::open(server.address);
    (0..KEYS).map(|key| owner(&mut connection, key)).collect()
}

/// Each key comes to an endpoint that is as wanted. What is too much for one goes elsewhere, which on a busy machine may
/// be much for a moment.
fn each(server: &Server, is_wanted: impl Fn(usize, &str) -> bool) {
    let mut connection = KeptConnection::open(server.address);
    for key in 0..KEYS {
        until_true("a key at its endpoint", || is_wanted(key, &owner(&mut connection, key)));
    }
}

#[test]
fn a_key_stays_with_its_endpoint_through_a_restart_and_only_those_of_one_that_is_gone_move() {
    let origins = ["aa", "bb", "cc"].map(origin);
    let addresses = origins.each_ref().map(|origin| format!("'{}'", origin.address())).join(", ");
    let place = Place::new();
    let head = place.head();
    let keys = "slow_start: 0s, balance: { hash: { header: x-tenant } }";
    place.write(&format!("{head}  shop: {{ versions: {{ v1: {{ endpoints: [{addresses}], {keys} }} }} }}\n"));
    let server = place.serve();
    let others = Clients {
        population: NonZeroU32::new(1_000).unwrap(),
        key: ClientKey::Header(HeaderName::from_static("x-tenant")),
    };
    // Before anybody else comes, so that nothing is too much for any of them.
    let before = owners(&server);
    let load = Load { clients: Some(others.clone()), ..server.load(500.0) }.start().unwrap();
    until_true("traffic", || load.live().answered > 100);
    for name in ["aa", "bb", "cc"] {
        let share = before.iter().filter(|owner| *owner == name).count();
        assert!((KEYS / 6..KEYS * 2 / 3).contains(&share), "{share} of {KEYS} keys on {name}");
    }

    origins[2].dial().set_behaviour(Behaviour::Refuse);
    now(origins[2].settled());
    let state = || server.admin.service("shop").versions[0].endpoints[2].state;
    until_true("the third to be down", || state() == EndpointHealth::Down);
    each(&server, |key, is| is != "cc" && (before[key] == "cc" || before[key] == is));
    origins[2].dial().set_behaviour(Behaviour::Serve);
    until_true("the third to be well", || state() == EndpointHealth::Well);
    each(&server, |key, is| before[key] == is);
    let report = load.stop();
    assert_eq!((failures(&report), report.not_sent), (0, 0), "{report}");

    server.stop();
    let server = place.serve();
    let load = Load { clients: Some(others), ..server.load(500.0) }.start().unwrap();
    each(&server, |key, is| before[key] == is);
    drop(load.stop());
    server.stop();
}
