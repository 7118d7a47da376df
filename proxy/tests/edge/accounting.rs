//! What is judged and what is counted, as an origin that misbehaves sees to it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use config::{Protocol, Timeouts};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use loadtest::{Behaviour, Latency, Origin, OriginOptions, RawAnswer, RawOrigin, Then, When};
use meter::{Attempt, Class};
use proxy::client_stream::ClientTimeouts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::{self, Shop, configuration, exchange, get, judged, nobody, origin_has, status};
use crate::http2::http2_origin;
use crate::ways::Way;

async fn origin(name: &str, behaviour: Behaviour) -> Origin {
    let origin = Origin::start(name, OriginOptions::default()).await.unwrap();
    origin.dial().set_behaviour(behaviour);
    origin
}

/// All traffic on a v2 that behaves so; waits 200 ms for a first byte.
async fn canary(behaviour: Behaviour) -> (Shop, Origin, Origin) {
    let (v1, v2) = (origin("v1", Behaviour::Serve).await, origin("v2", behaviour).await);
    let upstream = Timeouts { first_byte: Duration::from_millis(200), ..Timeouts::default() };
    let shop = Shop::open_with(&[v1.address()], &[v2.address()], 100, "", upstream, ClientTimeouts::default());
    (shop, v1, v2)
}

#[tokio::test]
async fn a_success_is_judged_once_with_its_latency() {
    let (shop, _v1, _v2) = canary(Behaviour::Serve).await;
    assert_eq!(status(&get(shop.address()).await), 200);
    let tally = shop.tally_until("v2", |tally| tally.requests() == 1 && tally.duration.total() == 1).await;
    assert_eq!(judged(&tally, Class::Success), 1);
    assert_eq!(tally.latency_good.total(), 1);
    assert_eq!(tally.attempts.iter().flatten().sum::<u64>(), 1);
    shop.idle("v2").await;
    assert_eq!(shop.responses(Class::Success), 1);
    assert_eq!(shop.tally("v1").requests(), 0);
}

#[tokio::test]
async fn each_way_to_fail_has_its_class_and_its_status() {
    for (behaviour, class, wanted) in [
        (Behaviour::Hang, Class::Timeout, 504),
        (Behaviour::Reset, Class::Reset, 502),
        (Behaviour::Garbage, Class::ProtocolError, 502),
    ] {
        let (shop, _v1, _v2) = canary(behaviour).await;
        let answer = get(shop.address()).await;
        assert_eq!(status(&answer), wanted, "{behaviour:?}: {answer}");
        let tally = shop.tally_until("v2", |tally| tally.requests() == 1).await;
        assert_eq!((judged(&tally, class), tally.bad()), (1, 1), "{behaviour:?}: {tally:?}");
        shop.idle("v2").await;
        assert_eq!(shop.responses(class), 1, "{behaviour:?}");
    }
}

#[tokio::test]
async fn a_reset_outranks_the_status_that_it_followed() {
    let (shop, _v1, _v2) = canary(Behaviour::Cut).await;
    let answer = get(shop.address()).await;
    assert_eq!(status(&answer), 200, "the head was sent before the cut");
    let tally = shop.tally_until("v2", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&tally, Class::Reset), judged(&tally, Class::Success)), (1, 0));
    shop.idle("v2").await;
    assert_eq!(shop.responses(Class::Reset), 1);
}

#[tokio::test]
async fn a_canary_that_nobody_can_reach_is_charged_and_no_user_is_hurt() {
    let v1 = origin("v1", Behaviour::Serve).await;
    let shop = Shop::open(&[v1.address()], &[nobody()], 100);
    for _ in 0..20 {
        assert_eq!(status(&get(shop.address()).await), 200);
    }
    let canary = shop.tally_until("v2", |tally| tally.requests() == 20).await;
    assert_eq!(judged(&canary, Class::ConnectError), 20);
    let stable = shop.tally_until("v1", |t| t.attempts[Attempt::Shield as usize][Class::Success as usize] == 20).await;
    assert_eq!(stable.requests(), 0, "what stable answered in the canary's stead is not judged");
    // After three failures in a row the endpoint is left alone, so most requests did not even try.
    assert!(canary.attempts.iter().flatten().sum::<u64>() <= 21, "{:?}", canary.attempts);
}

#[tokio::test]
async fn of_two_canary_endpoints_the_live_one_serves_and_the_dead_one_is_charged() {
    let (v1, v2) = (origin("v1", Behaviour::Serve).await, origin("v2", Behaviour::Serve).await);
    let shop = Shop::open(&[v1.address()], &[nobody(), v2.address()], 100);
    for _ in 0..40 {
        let answer = get(shop.address()).await;
        assert!(answer.ends_with("v2\n"), "{answer}");
    }
    let tally = shop.tally_until("v2", |tally| tally.requests() == 40).await;
    let failed = judged(&tally, Class::ConnectError);
    assert!((1..=4).contains(&failed), "down after three failures in a row, tried again a second later: {failed}");
    assert_eq!(tally.attempts[Attempt::Retry as usize][Class::Success as usize], failed);
}

#[tokio::test]
async fn a_client_that_leaves_a_hanging_version_is_a_latency_and_no_error() {
    let (v1, v2) = (origin("v1", Behaviour::Serve).await, origin("v2", Behaviour::Hang).await);
    let shop = Shop::open(&[v1.address()], &[v2.address()], 100);
    let mut stream = TcpStream::connect(shop.address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    origin_has(&v2, 1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(stream);
    let tally = shop.tally_until("v2", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&tally, Class::ClientAbort), tally.bad()), (1, 0));
    assert!(tally.latency_good.quantile_us(0.5).unwrap() >= 50_000, "it counts at its age");
    shop.idle("v2").await;
    assert_eq!(shop.responses(Class::ClientAbort), 1);
}

#[tokio::test]
async fn a_client_that_leaves_an_endpoint_of_http2_that_hangs_has_waited_for_it_too() {
    let mut configuration = configuration(&[http2_origin(true).await], &[nobody()], "");
    configuration.services[0].versions[0].protocol = Protocol::H2c;
    for way in Way::ALL.into_iter().filter(|way| !way.http2) {
        let shop = Shop::serve(1, 0, &configuration, ClientTimeouts::default());
        let mut stream = TcpStream::connect(shop.address()).await.unwrap();
        stream.write_all(&way.bytes("GET", &[])).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(stream);
        let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
        assert_eq!((judged(&tally, Class::ClientAbort), tally.bad()), (1, 0), "{way:?}");
        assert!(tally.latency_good.quantile_us(0.5).is_some_and(|us| us >= 50_000), "{way:?}: it counts at its age");
    }
}

#[tokio::test]
async fn a_pooled_connection_that_was_closed_is_nobodys_failure() {
    // The second request finds its kept connection closed under its hands, as when a keep-alive time runs out.
    let good = RawAnswer::new("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let closes = RawAnswer { then: Then::Close, ..RawAnswer::new("") };
    let v1 = RawOrigin::start(vec![good.clone(), closes, good]).await.unwrap();
    // One core, so that there is one pool.
    let shop = Shop::open_on(1, &[v1.address()], &[nobody()]);
    for _ in 0..2 {
        assert_eq!(status(&get(shop.address()).await), 200);
    }
    let tally = shop.tally_until("v1", |tally| tally.requests() == 2).await;
    assert_eq!((judged(&tally, Class::Success), tally.bad()), (2, 0), "{tally:?}");
    assert_eq!(tally.attempts[Attempt::First as usize][Class::Reset as usize], 1, "it is counted all the same");
    assert_eq!(v1.connections().len(), 2);
}

/// What the client gets whose second request finds its kept connection closed, and how often the endpoint was asked.
async fn on_a_stale_connection(method: &str, first_of_second: &'static str, more: &str) -> (u16, usize) {
    let good = RawAnswer::new("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let closes = RawAnswer { then: Then::Close, ..RawAnswer::new(first_of_second) };
    let v1 = RawOrigin::start(vec![good.clone(), closes, good]).await.unwrap();
    let shop = Shop::with(&[v1.address()], more, |_| {});
    assert_eq!(status(&get(shop.address()).await), 200);
    let request = format!("{method} / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
    let answer = exchange(shop.address(), request.as_bytes()).await;
    // Behind an interim head there is the one that counts.
    let answer = answer.strip_prefix("HTTP/1.1 103 Early Hints\r\n\r\n").unwrap_or(&answer);
    (status(answer), v1.connections().len())
}

#[tokio::test]
async fn without_retries_only_what_is_safe_is_sent_anew_after_a_stale_connection() {
    assert_eq!(on_a_stale_connection("DELETE", "", "").await, (200, 2));
    assert_eq!(on_a_stale_connection("GET", "", "    retries: off\n").await, (200, 2));
    for method in ["DELETE", "PUT"] {
        assert_eq!(on_a_stale_connection(method, "", "    retries: off\n").await, (502, 1), "{method}");
    }
}

#[tokio::test]
async fn a_connection_that_gave_an_interim_head_was_not_stale() {
    let hints = "HTTP/1.1 103 Early Hints\r\n\r\n";
    assert_eq!(on_a_stale_connection("GET", hints, "    retries: off\n").await, (502, 1));
}

#[tokio::test]
async fn a_tunnel_is_counted_and_its_length_is_no_latency() {
    let upgrade = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello";
    let v1 = RawOrigin::start(vec![RawAnswer { then: Then::Close, ..RawAnswer::new(upgrade) }]).await.unwrap();
    let shop = Shop::open(&[v1.address()], &[nobody()], 0);
    let request = b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
    let mut stream = TcpStream::connect(shop.address()).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0u8; 1024];
    while !answer.ends_with(b"hello") {
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..count]);
    }
    drop(stream);
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!(judged(&tally, Class::Upgrade), 1, "{tally:?}");
    assert!(tally.latency_good.is_empty() && tally.duration.is_empty());
}

#[tokio::test]
async fn what_matches_no_service_is_counted_apart() {
    let v1 = origin("v1", Behaviour::Serve).await;
    let more = "    path: /shop";
    let shop = Shop::open_with(&[v1.address()], &[nobody()], 0, more, Timeouts::default(), ClientTimeouts::default());
    assert_eq!(status(&get(shop.address()).await), 404);
    let found: SocketAddr = shop.address();
    assert_eq!(status(&exchange(found, b"GET /shop HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await), 200);
    assert_eq!(shop.publisher.unmatched().responses()[Class::Local as usize], 1);
    assert_eq!(shop.responses(Class::Local), 0);
}

/// Sends bytes, reads until `until` shows in what comes back, and leaves.
async fn leave_after(address: SocketAddr, request: &[u8], until: &str) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut seen = Vec::new();
    let mut buffer = [0u8; 1024];
    while !String::from_utf8_lossy(&seen).contains(until) {
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "ended early: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..count]);
    }
}

#[tokio::test]
async fn a_version_that_closes_each_connection_it_gets_is_charged_though_they_were_pooled() {
    let good = RawAnswer::new("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let dies = RawAnswer { then: Then::Close, ..RawAnswer::new("") };
    let v1 = RawOrigin::start(vec![good, dies]).await.unwrap();
    let shop = Shop::open_on(1, &[v1.address()], &[nobody()]);
    assert_eq!(status(&get(shop.address()).await), 200);
    assert_eq!(status(&get(shop.address()).await), 502);
    let tally = shop.tally_until("v1", |tally| tally.requests() == 2).await;
    assert_eq!((judged(&tally, Class::Success), judged(&tally, Class::Reset)), (1, 1), "{tally:?}");
}

#[tokio::test]
async fn a_pooled_connection_that_ends_after_some_work_is_a_failure() {
    let (shop, _v1, v2) = canary(Behaviour::Serve).await;
    assert_eq!(status(&get(shop.address()).await), 200);
    v2.dial().set_latency(Latency::fixed(Duration::from_millis(60)));
    v2.dial().set_behaviour(Behaviour::Reset);
    // Both cores may have to be asked until one has a pooled connection; each request fails once on the canary.
    for _ in 0..4 {
        get(shop.address()).await;
    }
    let tally = shop.tally_until("v2", |tally| tally.requests() == 5).await;
    assert_eq!((judged(&tally, Class::Success), judged(&tally, Class::Reset)), (1, 4), "{tally:?}");
}

#[tokio::test]
async fn a_client_that_stops_in_its_upload_is_no_fault_of_the_version() {
    let (v1, v2) = (origin("v1", Behaviour::Serve).await, origin("v2", Behaviour::Serve).await);
    let short = Duration::from_millis(200);
    let client = ClientTimeouts { body: short, ..ClientTimeouts::default() };
    let shop = Shop::open_with(&[v1.address()], &[v2.address()], 100, "", Timeouts::default(), client);
    let request = b"POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 10\r\n\r\nabc";
    let answer = exchange(shop.address(), request).await;
    assert_eq!(status(&answer), 408, "{answer}");
    let tally = shop.tally_until("v2", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&tally, Class::ClientAbort), tally.bad()), (1, 0), "{tally:?}");
}

#[tokio::test]
async fn a_client_that_waits_for_no_leave_and_says_nothing_is_no_fault_of_the_version() {
    // Another expectation than 100-continue, and one of a version of HTTP in which there is none.
    for head in ["HTTP/1.1\r\nhost: shop\r\nexpect: more", "HTTP/1.0\r\nhost: shop\r\nexpect: 100-continue"] {
        let v1 = RawOrigin::start(vec![RawAnswer::new("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]).await.unwrap();
        let short = Duration::from_millis(200);
        let client = ClientTimeouts { body: short, ..ClientTimeouts::default() };
        let shop = Shop::open_with(&[v1.address()], &[nobody()], 0, "", Timeouts::default(), client);
        let request = format!("POST / {head}\r\ncontent-length: 5\r\nconnection: close\r\n\r\n");
        let answer = exchange(shop.address(), request.as_bytes()).await;
        assert_eq!(status(&answer), 408, "{head:?}: {answer}");
        let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
        assert_eq!((judged(&tally, Class::ClientAbort), tally.bad()), (1, 0), "{head:?}: {tally:?}");
    }
}

#[tokio::test]
async fn a_client_that_calls_a_service_that_knows_no_grpc_makes_no_error_of_its_success() {
    let (shop, _v1, _v2) = canary(Behaviour::Serve).await;
    let request = b"POST / HTTP/1.1\r\nhost: shop\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    assert_eq!(status(&exchange(shop.address(), request).await), 200);
    let mut client = fixture::http2(shop.address()).await;
    let request = hyper::Request::post("http://shop/").header("content-type", "application/grpc");
    let response = client.send_request(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    drop(response.into_body().collect().await);
    let tally = shop.tally_until("v2", |tally| tally.requests() == 2).await;
    assert_eq!((judged(&tally, Class::Success), tally.bad()), (2, 0), "{tally:?}");
}

/// Begins a POST over HTTP/2 whose body never comes, with this header; says how it was answered, if it was within half
/// a second.
async fn begin_post(shop: &Shop, headers: &[(&str, &str)]) -> Option<u16> {
    let (mut client, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(TcpStream::connect(shop.address()).await.unwrap()))
            .await
            .unwrap();
    drop(tokio::spawn(connection));
    let silent = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, std::convert::Infallible>>());
    let request = headers
        .iter()
        .fold(hyper::Request::post("http://shop/"), |request, (name, value)| request.header(*name, *value));
    let answer = client.send_request(request.body(silent).unwrap());
    let answer = tokio::time::timeout(Duration::from_millis(500), answer).await.ok()?;
    answer.ok().map(|answer| answer.status().as_u16())
}

#[tokio::test]
async fn an_http2_client_that_nobody_tells_to_go_on_is_no_fault_of_the_version() {
    let leave = RawAnswer { when: When::AfterHead, ..RawAnswer::new("HTTP/1.1 100 Continue\r\n\r\n") };
    let v1 = RawOrigin::start(vec![leave]).await.unwrap();
    let short = Duration::from_millis(150);
    let client = ClientTimeouts { body: short, ..ClientTimeouts::default() };
    let shop = Shop::open_with(&[v1.address()], &[nobody()], 0, "", Timeouts::default(), client);
    assert_eq!(begin_post(&shop, &[("expect", "100-continue"), ("content-length", "5")]).await, Some(408));
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&tally, Class::ClientAbort), tally.bad()), (1, 0), "{tally:?}");
}

#[tokio::test]
async fn a_call_that_is_not_said_by_its_own_deadline_is_no_failure_of_the_version() {
    let v1 = http2_origin(true).await;
    let mut configuration = configuration(&[v1], &[nobody()], "");
    configuration.services[0].versions[0].protocol = Protocol::H2c;
    let shop = Shop::serve(1, 0, &configuration, ClientTimeouts::default());
    let headers = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "20m")];
    assert_eq!(begin_post(&shop, &headers).await, None);
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&tally, Class::ClientAbort), tally.bad()), (1, 0), "{tally:?}");
}

#[tokio::test]
async fn no_header_of_a_client_widens_the_wait_for_a_hanging_version() {
    for header in
        ["upgrade: h2c", "accept: text/event-stream\r\nconnection: close", "connection: upgrade\r\nupgrade: websocket"]
    {
        let (shop, _v1, _v2) = canary(Behaviour::Hang).await;
        let request = format!("GET / HTTP/1.1\r\nhost: shop\r\n{header}\r\n\r\n");
        let answer = exchange(shop.address(), request.as_bytes()).await;
        assert_eq!(status(&answer), 504, "{header}: {answer}");
        let tally = shop.tally_until("v2", |tally| tally.requests() == 1).await;
        assert_eq!(judged(&tally, Class::Timeout), 1, "{header}: {tally:?}");
    }
}

#[tokio::test]
async fn an_error_that_the_client_did_not_stay_for_is_an_error() {
    let slow = "HTTP/1.1 500 Oh No\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    let v1 = RawOrigin::start(vec![RawAnswer::new(slow)]).await.unwrap();
    let shop = Shop::open(&[v1.address()], &[nobody()], 0);
    leave_after(shop.address(), b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n", "500").await;
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!(judged(&tally, Class::ServerError), 1, "{tally:?}");
}

/// An endpoint that gives up on its response once nobody has taken any of it for a while.
async fn impatient() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            drop(tokio::spawn(async move {
                assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n").await.unwrap();
                let piece = vec![b'x'; 64 * 1024];
                while let Ok(Ok(())) =
                    tokio::time::timeout(Duration::from_millis(1_500), stream.write_all(&piece)).await
                {}
            }));
        }
    }));
    address
}

#[tokio::test]
async fn an_endpoint_that_loses_patience_with_a_slow_client_has_not_failed() {
    let shop = Shop::open(&[impatient().await], &[nobody()], 0);
    let slow = Duration::from_millis(2_500);
    let mut stream = TcpStream::connect(shop.address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    stream.readable().await.unwrap();
    let mut client = fixture::http2(shop.address()).await;
    let request = hyper::Request::get("http://shop/").body(Full::<Bytes>::default()).unwrap();
    let response = client.send_request(request).await.unwrap();
    tokio::time::sleep(slow).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(fixture::LONG, stream.read_to_end(&mut answer)).await.unwrap();
    assert!(read.is_err() || answer.len() < 100_000_000);
    assert!(tokio::time::timeout(fixture::LONG, response.into_body().collect()).await.unwrap().is_err());
    let tally = shop.tally_until("v1", |tally| tally.requests() == 2).await;
    assert_eq!((judged(&tally, Class::ClientAbort), tally.bad()), (2, 0), "{:?}", tally.judged);
}

/// An endpoint that closes each connection after so long without an answer.
async fn closing_after(patience: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            drop(tokio::spawn(tokio::time::timeout(patience, async move {
                while stream.read(&mut [0; 64 * 1024]).await.is_ok_and(|count| count > 0) {}
            })));
        }
    }));
    address
}

#[tokio::test]
async fn an_endpoint_that_loses_patience_with_a_client_that_sends_slowly_has_not_failed() {
    let head = "POST / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: ";
    // A byte and no more; all of it; and more than a slow client sends. And one that closes sooner than anybody waits.
    for (patience, length, sent, class) in [
        (1_300, 10, 1, Class::ClientAbort),
        (1_300, 10, 10, Class::Reset),
        (1_300, 1_000_000, 300_000, Class::Reset),
        (300, 10, 1, Class::Reset),
    ] {
        let shop = Shop::open(&[closing_after(Duration::from_millis(patience)).await], &[nobody()], 0);
        let request = format!("{head}{length}\r\n\r\n{}", "x".repeat(sent));
        let answer = exchange(shop.address(), request.as_bytes()).await;
        assert_eq!(status(&answer), if class == Class::Reset { 502 } else { 408 }, "{patience} {sent}: {answer}");
        let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
        assert_eq!(judged(&tally, class), 1, "{patience} {sent}: {:?}", tally.judged);
    }
}

#[tokio::test]
async fn a_tunnel_that_nobody_asked_for_is_a_broken_answer() {
    let unasked = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let v1 = RawOrigin::start(vec![RawAnswer::new(unasked)]).await.unwrap();
    let shop = Shop::open(&[v1.address()], &[nobody()], 0);
    let answer = get(shop.address()).await;
    assert_eq!(status(&answer), 502, "{answer}");
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!(judged(&tally, Class::ProtocolError), 1, "{tally:?}");
}

#[tokio::test]
async fn what_was_in_flight_when_a_comparison_began_is_counted_and_not_judged() {
    let (mut shop, _v1, v2) = canary(Behaviour::Hang).await;
    let hanging = tokio::spawn(get(shop.address()));
    origin_has(&v2, 1).await;
    shop.begin_exposure("v2");
    v2.dial().set_behaviour(Behaviour::Serve);
    assert_eq!(status(&get(shop.address()).await), 200);
    assert_eq!(status(&hanging.await.unwrap()), 504);
    let tally = shop.tally_until("v2", |tally| tally.attempts.iter().flatten().sum::<u64>() == 2).await;
    assert_eq!((tally.requests(), tally.bad()), (1, 0), "{tally:?}");
}
