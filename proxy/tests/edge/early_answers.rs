//! Endpoints that answer before they have all of a request: once the client has the answer, what becomes of the rest of its
//! body is nobody's failure, and holds nothing.

use std::time::Duration;

use bytes::Bytes;
use config::Protocol;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use meter::Class;
use proxy::client_stream::ClientTimeouts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::fixture::{LONG, Shop, configuration, judged, nobody, status};

/// An endpoint that says this as soon as it has a head, and reads no more.
async fn hasty(says: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut byte = [0];
            let mut heard = Vec::new();
            while !heard.ends_with(b"\r\n\r\n") {
                assert_eq!(stream.read(&mut byte).await.unwrap(), 1);
                heard.push(byte[0]);
            }
            stream.write_all(says.as_bytes()).await.unwrap();
            open.push(stream);
        }
    }));
    address
}

#[tokio::test]
async fn a_client_that_has_its_answer_and_leaves_its_body_has_not_left() {
    for (says, end) in [
        ("HTTP/1.1 401 Who\r\ncontent-length: 0\r\n\r\n", "\r\n\r\n"),
        ("HTTP/1.1 401 Who\r\nconnection: close\r\ncontent-length: 5\r\n\r\nwho?\n", "who?\n"),
        ("HTTP/1.1 401 Who\r\ntransfer-encoding: chunked\r\n\r\n5\r\nwho?\n\r\n0\r\n\r\n", "\r\n0\r\n\r\n"),
    ] {
        let v1 = hasty(says).await;
        for more in ["", "expect: 100-continue\r\n"] {
            let shop = Shop::under(&[v1], |_| {});
            let mut client = TcpStream::connect(shop.address()).await.unwrap();
            let head = format!("PUT / HTTP/1.1\r\nhost: shop\r\ncontent-length: 1000\r\n{more}\r\n");
            client.write_all(head.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(end.as_bytes()) {
                assert_ne!(timeout(LONG, client.read_buf(&mut answer)).await.unwrap().unwrap(), 0, "{answer:?}");
            }
            drop(client);
            let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
            assert_eq!(judged(&tally, Class::ClientError), 1, "{says:?} {more:?}: {:?}", tally.judged);
            shop.idle("v1").await;
            assert_eq!(shop.responses(Class::ClientError), 1, "{says:?} {more:?}: as it is logged");
        }
    }
}

type Head = fn() -> http::Response<()>;

/// An endpoint of HTTP/2 whose answer to each request is this head alone, at once.
async fn hasty_http2(head: Head) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let mut bodies = Vec::new();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    bodies.push(request.into_body());
                    respond.send_response(head(), true).unwrap();
                }
            }));
        }
    }));
    address
}

#[tokio::test]
async fn a_head_of_http2_that_says_it_is_all_is_an_answer() {
    let refusal = || http::Response::builder().status(413).header("content-length", "0").body(()).unwrap();
    let call = || {
        let head = http::Response::builder().header("content-type", "application/grpc");
        head.header("grpc-status", "16").body(()).unwrap()
    };
    let refused = (refusal as Head, "text/plain", Class::ClientError, "413");
    for (head, content, class, status) in [refused, (call, "application/grpc", Class::Success, "200")] {
        let mut configuration = configuration(&[hasty_http2(head).await], &[nobody()], "");
        configuration.services[0].versions[0].protocol = Protocol::H2c;
        let shop = Shop::serve(1, 0, &configuration, ClientTimeouts::default());
        let mut client = TcpStream::connect(shop.address()).await.unwrap();
        let head = format!("PUT / HTTP/1.1\r\nhost: shop\r\ncontent-type: {content}\r\ncontent-length: 1000\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
            assert_ne!(timeout(LONG, client.read_buf(&mut answer)).await.unwrap().unwrap(), 0, "{answer:?}");
        }
        assert!(answer.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{answer:?}");
        drop(client);
        let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
        assert_eq!(judged(&tally, class), 1, "{status}: {:?}", tally.judged);
        shop.idle("v1").await;
        assert_eq!(shop.responses(class), 1, "{status}: as it is logged");
    }
}

/// A client that sends on once it was answered finds a connection that takes it: else a reset overtakes the answer.
#[tokio::test]
async fn who_is_answered_in_the_middle_of_a_body_hears_it() {
    let dies = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = dies.local_addr().unwrap();
    drop(tokio::spawn(async move {
        while let Ok((mut stream, _)) = dies.accept().await {
            stream.read_exact(&mut [0; 100]).await.unwrap();
        }
    }));
    let most = |rules: &mut config::Rules| rules.limits.body = Some(config::Bytes::kib(1));
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // The system takes its connections, and what little comes.
    let silence = silent.local_addr().unwrap();
    for (shop, wanted) in [(Shop::under(&[silence], most), 413), (Shop::under(&[dead], |_| {}), 502)] {
        let mut client = TcpStream::connect(shop.address()).await.unwrap();
        let chunk = [b"400\r\n".as_slice(), &[b'x'; 0x400], b"\r\n"].concat();
        client.write_all(b"POST / HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        for _ in 0..3 {
            client.write_all(&chunk).await.unwrap();
        }
        let mut answer = String::new();
        timeout(LONG, client.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert_eq!(status(&answer), wanted, "{answer}");
        for sent in 0..20 {
            let taken = client.write_all(&chunk).await;
            assert!(taken.is_ok(), "{wanted}: reset after {sent} more chunks");
        }
    }
}

#[tokio::test]
async fn an_upload_over_http2_that_was_answered_and_that_nobody_reads_ends_in_time() {
    let v1 = hasty("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly").await;
    let shop = Shop::under(&[v1], |rules| rules.timeouts.body = Duration::from_millis(300));
    let stream = TcpStream::connect(shop.address()).await.unwrap();
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    drop(tokio::spawn(connection));
    // More than anybody between here and there can hold.
    let pieces = (0..2_000).map(|_| Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![b'x'; 64 * 1024]))));
    let body = StreamBody::new(stream::iter(pieces));
    let response = client.send_request(Request::put("http://shop/").body(body).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "early");
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&tally, Class::Success), tally.bad()), (1, 0), "{:?}", tally.judged);
    shop.idle("v1").await;
    assert_eq!(shop.responses(Class::Success), 1);
}
