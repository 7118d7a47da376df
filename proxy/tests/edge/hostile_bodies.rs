//! Clients that attack with the body of a request: too much of it, badly cut, too slowly.

use std::time::Duration;

use bytes::Bytes;
use config::Bytes as Size;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use loadtest::{Origin, OriginOptions, RawAnswer, RawOrigin, When};
use meter::Class;
use proxy::client_stream::ClientTimeouts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{LONG, Shop, exchange, get, judged, nobody, status};
use crate::ways::Way;

async fn origin() -> Origin {
    Origin::start("v1", OriginOptions::default()).await.unwrap()
}

/// One that answers when a request is whole.
async fn patient() -> RawOrigin {
    RawOrigin::start(vec![RawAnswer::new("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]).await.unwrap()
}

#[tokio::test]
async fn a_chunked_body_that_is_badly_cut_is_the_clients_fault() {
    let long = format!("1;{}\r\nx\r\n0\r\n\r\n", "x".repeat(1025));
    let many = format!("0\r\n{}\r\n", "x: y\r\n".repeat(101));
    let attacks: [(&str, u16); 13] = [
        ("x\r\n", 400),
        ("-1\r\n", 400),
        ("0x5\r\nhello\r\n", 400),
        ("5 \r\nhello\r\n", 400),
        ("5\nhello\r\n", 400),
        ("5\r\nhelloX\r\n", 400),
        ("5\r\nhello\n0\r\n\r\n", 400),
        ("ffffffffffffffff\r\nhello\r\n", 400),
        ("0\r\nContent-Length: 5\r\n\r\n", 400),
        ("0\r\nx\r\n\r\n", 400),
        ("0\r\n x: y\r\n\r\n", 400),
        (&long, 400),
        (&many, 431),
    ];
    let origin = patient().await;
    let shop = Shop::under(&[origin.address()], |_| {});
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    for (body, wanted) in attacks {
        // In one piece the whole is refused; after the head it is an attempt that the client spoils.
        assert_eq!(status(&exchange(shop.address(), format!("{head}{body}").as_bytes()).await), wanted, "{body:?}");
        let mut stream = TcpStream::connect(shop.address()).await.unwrap();
        let seen = origin.connections().len();
        stream.write_all(format!("{head}1\r\nx\r\n").as_bytes()).await.unwrap();
        origin.until(LONG, |all| all.len() > seen).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let _ = tokio::time::timeout(LONG, stream.read_to_string(&mut answer)).await.unwrap();
        assert_eq!(status(&answer), wanted, "{body:?}: {answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    }
    let tally = shop.tally_until("v1", |tally| tally.requests() == attacks.len() as u64).await;
    assert_eq!((judged(&tally, Class::ClientAbort), tally.bad()), (13, 0), "no fault of the version: {tally:?}");
    shop.unmatched_until(13).await;
    assert_eq!(origin.connections().iter().map(|c| c.requests).sum::<usize>(), 0, "none is a whole request");
    assert_eq!(status(&get(shop.address()).await), 200);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_by_its_length_or_cut_as_it_grows() {
    let origin = patient().await;
    let shop = Shop::under(&[origin.address()], |rules| rules.limits.body = Some(Size::kib(1)));
    let said = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1025\r\n\r\n";
    let answer = exchange(shop.address(), said).await;
    assert_eq!(status(&answer), 413, "before a byte of it came: {answer}");
    assert!(origin.connections().is_empty());
    let grown =
        format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n401\r\n{}\r\n", "x".repeat(1025));
    assert_eq!(status(&exchange(shop.address(), grown.as_bytes()).await), 413);
    let tally = shop.tally_until("v1", |tally| tally.attempts.iter().flatten().sum::<u64>() == 2).await;
    assert_eq!((judged(&tally, Class::ClientAbort), tally.bad()), (1, 0), "{tally:?}");
    let fits =
        format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 1024\r\n\r\n{}", "x".repeat(1024));
    assert_eq!(status(&exchange(shop.address(), fits.as_bytes()).await), 200);
}

#[tokio::test]
async fn the_limit_of_a_service_goes_before_that_of_all_and_holds_in_http2() {
    let origin = patient().await;
    let times = (config::Timeouts::default(), ClientTimeouts::default());
    let shop = Shop::open_with(&[origin.address()], &[nobody()], 0, "    body: 10B", times.0, times.1);
    let stream = TcpStream::connect(shop.address()).await.unwrap();
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    drop(tokio::spawn(connection));
    for (pieces, wanted) in [(1, 200), (3, 413)] {
        let pieces = (0..pieces).map(|_| Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from_static(b"five!"))));
        let request = hyper::Request::post("http://shop/").body(StreamBody::new(stream::iter(pieces))).unwrap();
        assert_eq!(client.send_request(request).await.unwrap().status(), wanted);
    }
}

#[tokio::test]
async fn a_body_that_stops_is_408_and_no_fault_of_the_version() {
    let origin = patient().await;
    let shop = Shop::under(&[origin.address()], |rules| rules.timeouts.body = Duration::from_millis(100));
    for body in ["content-length: 10\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n5\r\nab"] {
        let request = format!("POST / HTTP/1.1\r\nhost: a\r\n{body}");
        let answer = exchange(shop.address(), request.as_bytes()).await;
        assert_eq!(status(&answer), 408, "{answer}");
    }
    let tally = shop.tally_until("v1", |tally| tally.requests() == 2).await;
    assert_eq!((judged(&tally, Class::ClientAbort), tally.bad()), (2, 0), "{tally:?}");
    assert_eq!(status(&get(shop.address()).await), 200);
}

#[tokio::test]
async fn a_client_that_waits_to_be_told_to_go_on_is_not_cut_for_its_silence() {
    let leave = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let origin = RawOrigin::start(vec![RawAnswer { when: When::AfterHead, ..RawAnswer::new(leave) }]).await.unwrap();
    let shop = Shop::under(&[origin.address()], |rules| rules.timeouts.body = Duration::from_secs(5));
    let head = b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n\r\n";
    let answer = exchange(shop.address(), head).await;
    assert!(answer.starts_with("HTTP/1.1 100 ") && answer.contains("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_left_and_is_no_fault_of_the_version() {
    let origin = origin().await;
    let shop = Shop::under(&[origin.address()], |rules| rules.timeouts.write = Duration::from_millis(200));
    origin.dial().set_body_bytes(Some(100_000_000));
    for (before, body) in [false, true].into_iter().enumerate() {
        let mut stream = TcpStream::connect(shop.address()).await.unwrap();
        stream.write_all(&Way { http2: false, body }.bytes("GET", &[])).await.unwrap();
        let tally = shop.tally_until("v1", |tally| tally.requests() > before as u64).await;
        assert_eq!(judged(&tally, Class::ClientAbort) as usize, before + 1, "{tally:?}");
        assert_eq!(tally.bad(), 0, "{tally:?}");
        shop.idle("v1").await;
    }
    origin.dial().set_body_bytes(None);
    assert_eq!(status(&get(shop.address()).await), 200);
}

#[tokio::test]
async fn a_stream_of_http2_that_takes_nothing_is_left_and_the_others_flow() {
    let origin = origin().await;
    let shop = Shop::under(&[origin.address()], |rules| rules.timeouts.write = Duration::from_millis(200));
    let stream = TcpStream::connect(shop.address()).await.unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_connection_window_size(8 << 20).initial_stream_window_size(64 * 1024);
    let (mut client, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    drop(tokio::spawn(connection));
    for (before, body) in [false, true].into_iter().enumerate() {
        let get = || Way { http2: true, body }.request("GET", &[]);
        origin.dial().set_body_bytes(Some(10_000_000));
        let stuck = client.send_request(get()).await.unwrap();
        origin.dial().set_body_bytes(None);
        let tally = shop.tally_until("v1", |tally| tally.requests() > 2 * before as u64).await;
        assert_eq!(judged(&tally, Class::ClientAbort) as usize, before + 1, "{tally:?}");
        assert_eq!(tally.bad(), 0, "{tally:?}");
        assert_eq!(client.send_request(get()).await.unwrap().status(), 200);
        assert!(stuck.into_body().collect().await.is_err(), "it was cut");
        shop.tally_until("v1", |tally| tally.requests() == 2 * (before as u64 + 1)).await;
    }
}
