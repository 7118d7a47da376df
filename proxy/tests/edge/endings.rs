//! How the data plane begins and ends.

use std::time::Duration;

use config::Listener;
use loadtest::{Latency, Origin, OriginOptions};
use proxy::client_stream::ClientTimeouts;
use proxy::{DataPlane, Limits, Listeners, Publisher};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{LONG, Shop, get, nobody, origin_has, status};
use crate::raw_http2::{END_HEADERS, END_STREAM, HEADERS, Raw, Seen, frame, request};

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
async fn a_head_that_has_come_in_part_as_a_drain_begins_is_served() {
    let origin = Origin::start("v1", OriginOptions::default()).await.unwrap();
    let shop = Shop::open(&[origin.address()], &[nobody()], 0);
    let address = shop.address();
    let mut silent = TcpStream::connect(address).await.unwrap();
    // Once the first is answered, what came with it has been read.
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\nPOST /pay HTTP/1.1\r\nhost: sh").await.unwrap();
    let mut answer = [0; 4096];
    assert!(client.read(&mut answer).await.unwrap() > 0);

    let drain = tokio::task::spawn_blocking(move || shop.data.drain(LONG));
    assert_eq!(silent.read(&mut answer).await.unwrap_or(0), 0, "who has said nothing is closed");
    client.write_all(b"op\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();

    assert_eq!(status(&answer), 200, "{answer}");
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    assert_eq!(drain.await.unwrap(), 0);
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

/// Sends bytes on a connection and reads until its other side closes, or falls silent behind so many answers.
async fn answers(shop: &Shop, requests: &str, wanted: usize) -> String {
    let mut stream = TcpStream::connect(shop.address()).await.unwrap();
    stream.write_all(requests.as_bytes()).await.unwrap();
    let (mut said, mut buffer) = (String::new(), [0; 4096]);
    while said.matches("HTTP/1.1 ").count() < wanted || !said.ends_with('\n') {
        let count = tokio::time::timeout(LONG, stream.read(&mut buffer)).await.expect("an answer in time").unwrap();
        if count == 0 {
            break;
        }
        said.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    said.to_lowercase()
}

#[tokio::test]
async fn a_connection_goes_on_behind_an_answer_of_our_own_where_nothing_is_in_doubt() {
    let origin = Origin::start("v1", OriginOptions::default()).await.unwrap();
    let (times, client) = (config::Timeouts::default(), ClientTimeouts::default());
    let shop = Shop::open_with(&[origin.address()], &[nobody()], 0, "    path: /shop", times, client);
    let served = "GET /shop HTTP/1.1\r\nhost: a\r\n\r\n";
    for (what, first, goes_on) in [
        ("nothing is here", "GET /x HTTP/1.1\r\nhost: a\r\n\r\n", true),
        ("for a body that came whole", "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", true),
        ("for HEAD", "HEAD /x HTTP/1.1\r\nhost: a\r\n\r\n", true),
        ("for HTTP/1.0 that asks for it", "GET /x HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n", true),
        ("for HTTP/1.0", "GET /x HTTP/1.0\r\nhost: a\r\n\r\n", false),
        ("the client closes", "GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", false),
        ("a long body that was not read", "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 65537\r\n\r\n", false),
        ("chunks", "POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n21\r\n", false),
        (
            "a body that waits",
            "POST /x HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 65537\r\n\r\n",
            false,
        ),
        ("another protocol", "GET /x HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", false),
        ("a path that is refused", "GET /shop/%2f HTTP/1.1\r\nhost: a\r\n\r\n", true),
        ("no host", "GET /x HTTP/1.1\r\n\r\n", false),
    ] {
        // What is sent ahead is answered where the connection goes on, and taken for a request nowhere else.
        let said = answers(&shop, &format!("{first}{served}{first}{served}"), 4).await;
        let statuses = said.matches("http/1.1 404").count() + said.matches("http/1.1 400").count();
        let wanted = if goes_on { (2, 2) } else { (1, 0) };
        assert_eq!((statuses, said.matches("http/1.1 200").count()), wanted, "{what}: {said}");
        assert_eq!(said.contains("connection: close"), !goes_on, "{what}: {said}");
    }
}

#[tokio::test]
async fn a_redirect_leaves_the_connection_to_the_next_request() {
    let origin = Origin::start("v1", OriginOptions::default()).await.unwrap();
    let listener = Listener { redirect: Some(443), ..Listener::plain("127.0.0.1:0".parse().unwrap()) };
    let shop = Shop::listening(&[listener], config::Rules::default(), origin.address());
    let said = answers(&shop, &"GET /a HTTP/1.1\r\nhost: shop.test\r\n\r\n".repeat(3), 3).await;
    assert_eq!(
        (said.matches("http/1.1 308").count(), said.matches("connection: keep-alive").count()),
        (3, 3),
        "{said}"
    );
}

#[tokio::test]
async fn an_http2_connection_that_idles_is_told_before_it_is_closed_and_one_that_waits_is_left_alone() {
    let origin = Origin::start("v1", OriginOptions::default()).await.unwrap();
    let shop = Shop::under(&[origin.address()], |rules| rules.timeouts.http2_idle = Duration::from_millis(200));
    let mut client = Raw::connect(&shop).await;
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &request(&[]))).await;
    // The answer takes longer than a connection may idle.
    origin.dial().set_latency(Latency::fixed(Duration::from_millis(900)));
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &request(&[]))).await;
    let seen = client.rest().await;
    let answered = seen.iter().filter(|seen| matches!(seen, Seen::Response(1 | 3, 200))).count();
    assert_eq!((answered, seen.last()), (2, Some(&Seen::Goaway(0))), "{seen:?}");
    // Without a request, too.
    assert_eq!(Raw::connect(&shop).await.rest().await, [Seen::Goaway(0)]);
}
