//! A version that gets a share finds its connections made.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::available_parallelism;

use loadtest::failures;

use crate::patience::until_true;
use crate::shop::{Place, Shop, configuration, origin};

#[test]
fn the_first_users_of_a_version_find_its_connections_made_where_that_is_wanted() {
    let shop = Shop::open("{}");
    assert_eq!(shop.v2.arrivals().connections, 0);
    assert_eq!(shop.admin().set_weight("shop", "v2", 10_000).status, 200);
    // Four for each core, and no request was sent yet.
    let ahead = (4 * available_parallelism().unwrap().get() as u64).min(64);
    until_true("connections ahead", || shop.v2.arrivals().connections >= ahead);
    assert_eq!(shop.v2.arrivals().requests, 0);
    ask_one_after_another(shop.server.address);
    assert_eq!(shop.v2.arrivals().connections, ahead, "the first requests used those");
    shop.server.stop();
}

/// As an endpoint wants it that serves one connection at a time.
#[test]
fn where_nothing_is_to_be_opened_ahead_a_version_has_the_connections_that_its_requests_make() {
    let (v1, v2, place) = (origin("v1"), origin("v2"), Place::new());
    let usual = configuration(&place, &v1, &v2, "{}");
    place.write(&usual.replace("] }", "], warm_start: 0 }"));
    let server = place.serve();
    // Stable has the load; the canary gets one request at a time once it has all of the traffic.
    let load = server.load(500.0).start().unwrap();
    until_true("traffic", || load.live().answered > 500);
    let report = load.stop();
    assert_eq!((failures(&report), v2.arrivals().connections), (0, 0), "{report}");
    assert_eq!(server.admin.set_weight("shop", "v2", 10_000).status, 200);
    ask_one_after_another(server.address);
    let arrived = v2.arrivals();
    let cores = available_parallelism().unwrap().get() as u64;
    assert_eq!(arrived.requests, ASKED);
    assert!((1..=cores).contains(&arrived.connections), "each core keeps one: {arrived:?}");
    server.stop();
}

/// How many requests are sent one after another.
const ASKED: u64 = 20;

/// Each on a connection of its own, so that every core has some.
fn ask_one_after_another(address: SocketAddr) {
    for _ in 0..ASKED {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}
