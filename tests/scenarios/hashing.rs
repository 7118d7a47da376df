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

/// Where most of some requests of each key go: one may go elsewhere while its endpoint is busy.
fn owners(server: &Server) -> Vec<String> {
    let mut connection = KeptConnection::open(server.address);
    let mut owner = |key: usize| {
        let mut seen = BTreeMap::<String, u32>::new();
        for _ in 0..9 {
            *seen.entry(connection.version_with(&format!("x-tenant: tenant-{key}\r\n"))).or_default() += 1;
        }
        seen.into_iter().max_by_key(|(_, times)| *times).unwrap().0
    };
    (0..KEYS).map(&mut owner).collect()
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
    let load = Load { clients: Some(others.clone()), ..server.load(500.0) }.start().unwrap();
    until_true("traffic", || load.live().answered > 100);
    let before = owners(&server);
    for name in ["aa", "bb", "cc"] {
        let share = before.iter().filter(|owner| *owner == name).count();
        assert!((KEYS / 6..KEYS * 2 / 3).contains(&share), "{share} of {KEYS} keys on {name}");
    }

    origins[2].dial().set_behaviour(Behaviour::Refuse);
    now(origins[2].settled());
    let state = || server.admin.service("shop").versions[0].endpoints[2].state;
    until_true("the third to be down", || state() == EndpointHealth::Down);
    for (was, is) in before.iter().zip(owners(&server)) {
        assert!(is != "cc" && (was == "cc" || *was == is), "{was} became {is}");
    }
    origins[2].dial().set_behaviour(Behaviour::Serve);
    until_true("the third to be well", || state() == EndpointHealth::Well);
    assert_eq!(owners(&server), before);
    let report = load.stop();
    assert_eq!((failures(&report), report.not_sent), (0, 0), "{report}");

    server.stop();
    let server = place.serve();
    let load = Load { clients: Some(others), ..server.load(500.0) }.start().unwrap();
    assert_eq!(owners(&server), before, "after a restart");
    drop(load.stop());
    server.stop();
}
