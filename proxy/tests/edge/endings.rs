//! How the data plane begins and ends.

use std::time::Duration;

use config::Listener;
use loadtest::{Latency, Origin, OriginOptions};
use proxy::{DataPlane, Limits, Listeners, Publisher};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{LONG, Shop, get, nobody, origin_has, status};

#[test]
fn a_port_in_use_is_said_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Listeners::bind(&[Listener::plain(address)]).unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("in use") && error.contains("ss -ltnp"), "{error}");
}

#[test]
fn a_second_data_plane_on_the_same_port_is_refused() {
    let publisher = Publisher::new(1);
    let any = Listener::plain("127.0.0.1:0".parse().unwrap());
    let first = DataPlane::start(Listeners::bind(&[any]).unwrap(), &Limits::default(), &publisher.reader()).unwrap();
    assert!(Listeners::bind(&[Listener::plain(first.addresses()[0])]).is_err());
}

#[tokio::test]
async fn a_drain_waits_for_requests_in_flight_and_ends_idle_connections() {
    let origin = Origin::start("v1", OriginOptions::default()).await.unwrap();
    let shop = Shop::open(&[origin.address()], &[nobody()], 0);
    let address = shop.address();
    // An idle connection that has served a request.
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    let mut buffer = [0u8; 4096];
    assert!(idle.read(&mut buffer).await.unwrap() > 0);
    // Ten requests that take a while.
    origin.dial().set_latency(Latency::fixed(Duration::from_millis(300)));
    let slow: Vec<_> = (0..10).map(|_| tokio::spawn(get(address))).collect();
    origin_has(&origin, 11).await;

    let cut = tokio::task::spawn_blocking(move || shop.data.drain(LONG)).await.unwrap();

    assert_eq!(cut, 0);
    for answer in slow {
        assert_eq!(status(&answer.await.unwrap()), 200);
    }
    assert_eq!(idle.read(&mut buffer).await.unwrap_or(0), 0, "an idle connection is closed");
    assert!(TcpStream::connect(address).await.is_err(), "nothing listens any more");
}

#[tokio::test]
async fn whoever_had_connected_when_it_stops_to_accept_is_counted_at_once_and_served() {
    let origin = Origin::start("v1", OriginOptions::default()).await.unwrap();
    for _ in 0..20 {
        let mut shop = Shop::open(&[origin.address()], &[nobody()], 0);
        let address = shop.address();
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        let shop = tokio::task::spawn_blocking(move || {
            shop.data.stop_accepting();
            shop
        });
        let shop = shop.await.unwrap();
        assert_eq!(shop.data.connections(), 20);
        for client in &mut clients {
            client.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert_eq!(status(&answer), 200, "{answer}");
        }
        assert_eq!(tokio::task::spawn_blocking(move || shop.data.drain(LONG)).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_drain_says_how_many_connections_it_had_to_cut() {
    let origin = Origin::start("v1", OriginOptions::default()).await.unwrap();
    origin.dial().set_behaviour(loadtest::Behaviour::Hang);
    let shop = Shop::open(&[origin.address()], &[nobody()], 0);
    let address = shop.address();
    let hanging = tokio::spawn(get(address));
    origin_has(&origin, 1).await;
    let cut = tokio::task::spawn_blocking(move || shop.data.drain(Duration::from_millis(100))).await.unwrap();
    assert_eq!(cut, 1);
    assert_eq!(status(&hanging.await.unwrap()), 0);
}

#[tokio::test]
async fn a_drain_does_not_wait_for_connections_that_have_said_nothing() {
    let origin = Origin::start("v1", OriginOptions::default()).await.unwrap();
    let shop = Shop::open(&[origin.address()], &[nobody()], 0);
    let silent = [TcpStream::connect(shop.address()).await.unwrap(), TcpStream::connect(shop.address()).await.unwrap()];
    let until = std::time::Instant::now() + LONG;
    while shop.data.connections() < 2 {
        assert!(std::time::Instant::now() < until, "the connections were never accepted");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let cut = tokio::task::spawn_blocking(move || shop.data.drain(LONG / 2)).await.unwrap();
    assert_eq!(cut, 0);
    drop(silent);
}

#[tokio::test]
async fn from_the_announcement_of_a_drain_every_response_ends_its_connection() {
    let origin = Origin::start("v1", OriginOptions::default()).await.unwrap();
    let shop = Shop::open(&[origin.address()], &[nobody()], 0);
    let mut stream = TcpStream::connect(shop.address()).await.unwrap();
    let mut buffer = [0u8; 4096];
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    let count = stream.read(&mut buffer).await.unwrap();
    assert!(!String::from_utf8_lossy(&buffer[..count]).to_lowercase().contains("connection: close"));
    shop.data.announce_drain();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(LONG, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.to_lowercase().contains("connection: close"), "{answer}");
}
