//! A version that gets a share finds its connections made.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::available_parallelism;

use crate::patience::until_true;
use crate::shop::Shop;

#[test]
fn the_first_users_of_a_version_find_its_connections_made_where_that_is_wanted() {
    let shop = Shop::open("{}");
    assert_eq!(shop.v2.arrivals().connections, 0);
    assert_eq!(shop.admin().set_weight("shop", "v2", 10_000).status, 200);
    // Four for each core, and no request was sent yet.
    let ahead = (4 * available_parallelism().unwrap().get() as u64).min(64);
    until_true("connections ahead", || shop.v2.arrivals().connections >= ahead);
    assert_eq!(shop.v2.arrivals().requests, 0);
    for _ in 0..20 {
        let mut client = TcpStream::connect(shop.server.address).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert_eq!(shop.v2.arrivals().connections, ahead, "the first requests used those");
    shop.server.stop();
}
