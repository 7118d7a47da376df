//! Endpoints that answer before they have all of a request: once the client has the answer, what becomes of the rest of its
//! body is nobody's failure, and holds nothing.

use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use meter::Class;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::fixture::{LONG, Shop, judged};

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
