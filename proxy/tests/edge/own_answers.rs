//! What becomes of a client's connection behind an answer that the proxy gives in its own name.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use config::Timeouts;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use loadtest::{Origin, OriginOptions};
use proxy::client_stream::ClientTimeouts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::fixture::{LONG, Shop, http2, nobody, status};

/// A client that keeps its connection.
struct Client {
    stream: TcpStream,
    /// Read, and no part of an answer that was returned.
    ahead: Vec<u8>,
}

impl Client {
    async fn of(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), ahead: Vec::new() }
    }

    async fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// The next answer, head and body; that of a HEAD has none. Empty where the connection has ended.
    async fn hear(&mut self, is_head: bool) -> String {
        loop {
            if let Some(end) = self.ahead.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(self.ahead[..end + 4].to_vec()).unwrap();
                let length = head.to_lowercase();
                let length = length.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
                let length = if is_head { 0 } else { length.map_or(0, |length| length.parse().unwrap()) };
                if self.ahead.len() >= end + 4 + length {
                    let answer = self.ahead.drain(..end + 4 + length).collect();
                    return String::from_utf8(answer).unwrap();
                }
            }
            let read = timeout(LONG, self.stream.read_buf(&mut self.ahead)).await.expect("an answer in time");
            if read.unwrap_or(0) == 0 {
                assert!(self.ahead.is_empty(), "half an answer: {}", String::from_utf8_lossy(&self.ahead));
                return String::new();
            }
        }
    }

    /// Sends this, and hears that: the connection goes on.
    async fn gets(&mut self, request: &str, wanted: u16) -> String {
        self.send(request).await;
        let answer = self.hear(request.starts_with("HEAD")).await;
        assert_eq!(status(&answer), wanted, "{request}: {answer}");
        assert!(!answer.to_lowercase().contains("connection: close"), "{request}: {answer}");
        answer
    }

    /// Sends this, hears that, and that it is the last.
    async fn hears_last(mut self, request: &str, wanted: u16) {
        self.send(request).await;
        let answer = self.hear(false).await;
        assert_eq!(status(&answer), wanted, "{request}: {answer}");
        assert!(answer.to_lowercase().contains("connection: close\r\n"), "{request}: {answer}");
        assert_eq!(self.hear(false).await, "", "nothing follows");
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: shop\r\n\r\n")
}

/// A service at `/ok` that is well, beside `shop`, whose endpoint is `v1`.
async fn beside(v1: SocketAddr, upstream: Timeouts) -> (Shop, Origin) {
    let origin = Origin::start("ok", OriginOptions::default()).await.unwrap();
    let more = format!(
        "    hosts: [shop]\n  ok:\n    hosts: [shop]\n    path: /ok\n    versions: {{ v1: {{ endpoints: ['{}'] }} }}\n",
        origin.address()
    );
    (Shop::open_with(&[v1], &[nobody()], 0, &more, upstream, ClientTimeouts::default()), origin)
}

/// An endpoint that takes connections and never says anything.
async fn silent() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap(), listener)
}

#[tokio::test]
async fn a_connection_goes_on_behind_an_answer_of_ours_where_nothing_is_in_doubt() {
    let (shop, origin) = beside(nobody(), Timeouts::default()).await;
    let mut client = Client::of(shop.address()).await;
    let asked = [
        (get("/"), 502),
        (get("/ok"), 200),
        (get("/ok/a%2fb"), 400),
        (get("/.."), 400),
        ("HEAD / HTTP/1.1\r\nhost: shop\r\n\r\n".to_owned(), 502),
        ("GET / HTTP/1.1\r\nhost: elsewhere\r\n\r\n".to_owned(), 404),
        ("POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 5\r\n\r\nhello".to_owned(), 502),
        ("POST /ok/a%2fb HTTP/1.1\r\nhost: shop\r\ncontent-length: 5\r\n\r\nhello".to_owned(), 400),
        (get("/ok"), 200),
    ];
    for (request, wanted) in &asked {
        client.gets(request, *wanted).await;
    }
    // All at once: each has its own answer, in order.
    client.send(&asked.iter().map(|(request, _)| request.as_str()).collect::<String>()).await;
    for (request, wanted) in &asked {
        assert_eq!(status(&client.hear(request.starts_with("HEAD")).await), *wanted, "{request}");
    }
    assert_eq!(origin.arrivals().requests, 4);
    shop.idle("v1").await;
}

#[tokio::test]
async fn a_connection_goes_on_behind_a_late_endpoint_and_behind_one_that_closed() {
    let (address, _listener) = silent().await;
    let times = Timeouts { first_byte: Duration::from_millis(100), ..Timeouts::default() };
    let (shop, _origin) = beside(address, times).await;
    let mut client = Client::of(shop.address()).await;
    for _ in 0..3 {
        client.gets(&get("/"), 504).await;
        client.gets(&get("/ok"), 200).await;
    }

    let (address, listener) = silent().await;
    drop(tokio::spawn(async move { while listener.accept().await.is_ok() {} }));
    let (shop, _origin) = beside(address, Timeouts::default()).await;
    let mut client = Client::of(shop.address()).await;
    for _ in 0..3 {
        let said = client.gets(&get("/"), 502).await;
        assert!(said.ends_with("502: the service ended the connection in place of an answer\n"), "{said}");
        client.gets(&get("/ok"), 200).await;
    }
}

#[tokio::test]
async fn a_connection_ends_behind_a_body_that_is_not_read_and_behind_a_client_that_wants_it_to() {
    let (shop, origin) = beside(nobody(), Timeouts::default()).await;
    for (request, wanted) in [
        ("POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 1000000\r\n\r\nhello", 502),
        ("POST / HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", 502),
        // It may never send it.
        ("POST / HTTP/1.1\r\nhost: shop\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n", 502),
        ("GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n", 502),
        ("GET /ok/a%2fb HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n", 400),
        // What is behind it may be its own.
        (
            "GET / HTTP/1.1\r\nhost: shop\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nGET /ok HTTP/1.1\r\nhost: shop\r\n\r\n",
            502,
        ),
        ("GET /ok HTTP/1.1\r\nhost: shop\r\na_b: c\r\n\r\nGET /ok HTTP/1.1\r\nhost: shop\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\nx\r\nGET /ok HTTP/1.1\r\nhost: shop\r\n\r\n",
            400,
        ),
    ] {
        Client::of(shop.address()).await.hears_last(request, wanted).await;
    }
    assert_eq!(origin.arrivals().requests, 0);
}

#[tokio::test]
async fn an_answer_of_ours_reaches_a_client_that_is_still_sending_its_body() {
    let (shop, _origin) = beside(nobody(), Timeouts::default()).await;
    let mut client = Client::of(shop.address()).await;
    client.send("POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 1000000\r\n\r\n").await;
    client.send(&"x".repeat(100_000)).await;
    let answer = client.hear(false).await;
    assert_eq!(status(&answer), 502, "{answer}");
    let end = timeout(LONG, client.stream.read(&mut [0])).await.expect("an end in time");
    assert_eq!(end.ok(), Some(0), "an end, and no reset, which may overtake the answer");
}

#[tokio::test]
async fn no_connection_goes_on_behind_an_answer_of_ours_when_the_process_is_ending() {
    let (shop, _origin) = beside(nobody(), Timeouts::default()).await;
    let mut client = Client::of(shop.address()).await;
    client.gets(&get("/"), 502).await;
    shop.data.announce_drain();
    client.hears_last(&get("/"), 502).await;

    // Nor where the end begins while an answer is awaited.
    let (address, _listener) = silent().await;
    let times = Timeouts { first_byte: Duration::from_millis(500), ..Timeouts::default() };
    let (shop, _origin) = beside(address, times).await;
    let client = Client::of(shop.address()).await;
    let waits = tokio::spawn(async move { client.hears_last(&get("/"), 504).await });
    let meter = shop.meter("v1");
    timeout(LONG, async {
        while meter.in_flight() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    shop.data.announce_drain();
    waits.await.unwrap();
}

#[tokio::test]
async fn an_answer_of_ours_to_head_has_no_content_over_http2_either() {
    let shop = shop_of(nobody());
    for (path, wanted) in [("/shop", 502), ("/none", 404), ("/a%2fb", 400)] {
        let mut client = http2(shop.address()).await;
        let request = Request::head(format!("http://shop{path}")).body(Full::<Bytes>::default()).unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status(), wanted, "{path}");
        assert!(response.headers()["content-length"].to_str().unwrap().parse::<u32>().unwrap() > 0, "{path}");
        assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty(), "{path}");
    }
}

/// A shop at `/shop` with this endpoint.
fn shop_of(v1: SocketAddr) -> Shop {
    Shop::open_with(&[v1], &[nobody()], 0, "    path: /shop", Timeouts::default(), ClientTimeouts::default())
}
