//! Where pingora 0.9.1 needs a way round. Each test fails without it.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use config::Timeouts;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use loadtest::{Origin, OriginOptions, RawAnswer, RawOrigin};
use proxy::client_stream::ClientTimeouts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::fixture::{LONG, Shop, exchange, get, http2 as http2_to, nobody, status};

async fn origin() -> Origin {
    Origin::start("v1", OriginOptions::default()).await.unwrap()
}

#[tokio::test]
async fn a_streamed_http2_upload_ends_once_at_an_http1_origin() {
    let origin = RawOrigin::start(vec![RawAnswer::new("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]).await.unwrap();
    let shop = Shop::open(&[origin.address()], &[nobody()], 0);
    let stream = TcpStream::connect(shop.address()).await.unwrap();
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    drop(tokio::spawn(connection));

    let upload = || {
        let pieces = ["one", "two"].map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from(piece))));
        Request::post("http://shop/").body(StreamBody::new(stream::iter(pieces))).unwrap()
    };
    let response = client.send_request(upload()).await.unwrap();

    assert_eq!(response.status(), 200);
    let seen = origin.until(LONG, |seen| seen.first().is_some_and(|c| c.requests == 1)).await.unwrap();
    // The end of the chunks may arrive after the answer was sent; a second one would make the connection malformed.
    let ends = String::from_utf8_lossy(&seen[0].received).matches("0\r\n\r\n").count();
    assert_eq!((ends, seen[0].malformed), (1, false), "{:?}", String::from_utf8_lossy(&seen[0].received));
    // Whoever comes next on that connection finds it clean.
    assert_eq!(client.send_request(upload()).await.unwrap().status(), 200);
    assert!(origin.connections().iter().all(|connection| !connection.malformed));
}

/// pingora flushes a body of a known length at its end alone.
#[tokio::test]
async fn what_an_endpoint_has_sent_reaches_the_client_while_the_rest_is_still_to_come() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shop = Shop::open(&[listener.local_addr().unwrap()], &[nobody()], 0);
    for method in ["GET", "POST"] {
        let mut client = TcpStream::connect(shop.address()).await.unwrap();
        // A body that never ends is read meanwhile.
        let head =
            format!("{method} / HTTP/1.1\r\nhost: shop\r\ncontent-length: {}\r\n\r\n", u8::from(method == "POST"));
        client.write_all(head.as_bytes()).await.unwrap();
        let (mut endpoint, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n\r\n") {
            assert_ne!(endpoint.read_buf(&mut heard).await.unwrap(), 0);
        }
        let mut seen = Vec::new();
        for (sent, tail) in
            [("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "\r\n\r\n"), ("one", "one"), ("two", "two")]
        {
            endpoint.write_all(sent.as_bytes()).await.unwrap();
            while !seen.ends_with(tail.as_bytes()) {
                assert_ne!(timeout(LONG, client.read_buf(&mut seen)).await.expect(tail).unwrap(), 0);
            }
        }
    }
}

#[tokio::test]
async fn a_request_shorter_than_the_http2_preface_is_answered() {
    let origin = origin().await;
    let shop = Shop::open(&[origin.address()], &[nobody()], 0);
    let answer = exchange(shop.address(), b"GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(status(&answer), 200, "{answer}");
}

#[tokio::test]
async fn half_a_preface_and_half_a_head_are_given_up_at_the_deadline() {
    let origin = origin().await;
    let times = ClientTimeouts { head: Duration::from_millis(200), idle: LONG, ..ClientTimeouts::default() };
    let shop = Shop::open_with(&[origin.address()], &[nobody()], 0, "", Timeouts::default(), times);
    for beginning in [&b"PRI * HTTP/2"[..], b"GET / HTTP/1.1\r\nhost: sh"] {
        let answer = exchange(shop.address(), beginning).await;
        assert_eq!(status(&answer), 408, "{answer}");
    }
    assert_eq!(origin.arrivals().requests, 0);
}

#[tokio::test]
async fn the_second_head_on_a_connection_has_a_deadline_too() {
    let origin = origin().await;
    let times = ClientTimeouts { head: Duration::from_millis(300), idle: LONG, ..ClientTimeouts::default() };
    let shop = Shop::open_with(&[origin.address()], &[nobody()], 0, "", Timeouts::default(), times);
    let mut stream = TcpStream::connect(shop.address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    let mut buffer = vec![0; 4096];
    let count = stream.read(&mut buffer).await.unwrap();
    assert_eq!(status(&String::from_utf8_lossy(&buffer[..count])), 200);
    // It may idle for longer than a head may take.
    tokio::time::sleep(Duration::from_millis(400)).await;
    stream.write_all(b"GET / HTT").await.unwrap();
    let mut answer = String::new();
    timeout(LONG, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert_eq!(status(&answer), 408, "{answer}");
}

#[tokio::test]
async fn http_1_1_without_a_host_is_refused_and_http_1_0_is_not() {
    let origin = origin().await;
    let shop = Shop::open(&[origin.address()], &[nobody()], 0);
    assert_eq!(status(&exchange(shop.address(), b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await), 400);
    assert_eq!(status(&exchange(shop.address(), b"GET / HTTP/1.0\r\n\r\n").await), 200);
    assert_eq!(origin.arrivals().requests, 1);
}

#[tokio::test]
async fn a_request_has_an_attempt_and_an_answer_even_where_nothing_listens() {
    let shop = Shop::open(&[nobody()], &[nobody()], 0);
    let answer = get(shop.address()).await;
    assert_eq!(status(&answer), 502, "{answer}");
    assert!(answer.contains("could not be reached"), "{answer}");
}

#[tokio::test]
async fn http2_and_http1_clients_share_a_listener() {
    let origin = origin().await;
    let shop = Shop::open(&[origin.address()], &[nobody()], 0);
    let mut client = http2_to(shop.address()).await;
    let request = Request::get("http://shop/").body(http_body_util::Full::default()).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "v1\n");
    assert_eq!(status(&get(shop.address()).await), 200);
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_the_next_client_is_served() {
    let origin = origin().await;
    let shop = Shop::open(&[origin.address()], &[nobody()], 0);
    let garbage: [&[u8]; 5] = [
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\r\n\r\n",
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect(shop.address()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        drop(stream);
    }
    assert_eq!(status(&get(shop.address()).await), 200);
    assert_eq!(origin.arrivals().requests, 1);
}

#[tokio::test]
async fn an_event_stream_arrives_event_by_event() {
    let origin = origin().await;
    let shop = Shop::open(&[origin.address()], &[nobody()], 0);
    let mut stream = TcpStream::connect(shop.address()).await.unwrap();
    stream.write_all(b"GET /sse HTTP/1.1\r\nhost: shop\r\naccept: text/event-stream\r\n\r\n").await.unwrap();
    let mut seen = Vec::new();
    let mut buffer = [0u8; 4096];
    // The stream has no end: to see three events at all, none may have been kept back.
    while seen.windows(5).filter(|w| w == b"data:").count() < 3 {
        let count = timeout(LONG, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert!(count > 0, "ended early: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..count]);
    }
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_no_chunks() {
    let origin = origin().await;
    let shop = Shop::open(&[origin.address()], &[nobody()], 0);
    let answer = exchange(shop.address(), b"GET /chunked HTTP/1.0\r\n\r\n").await.to_lowercase();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("transfer-encoding"), "{answer}");
    assert!(!body.contains("\r\n0\r\n"), "{answer}");
    let whole = exchange(shop.address(), b"GET /chunked HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(whole.to_lowercase().contains("transfer-encoding: chunked"), "this origin would not show it: {whole}");
}
