//! Endpoints that take the connection of an upload and nothing of its body: it is they who are late, whatever is spoken, and
//! others do not wait for them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use config::{Protocol, Timeouts};
use futures::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use meter::Class;
use proxy::client_stream::ClientTimeouts;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::time::timeout;

use crate::fixture::{LONG, Shop, configuration, judged, nobody, status};
use crate::http2::http2_server;

const SHORT: Duration = Duration::from_millis(400);
const PIECE: usize = 64 * 1024;

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// An endpoint of HTTP/1.1 that reads the head of what is sent to `/stuck`, and nothing else; other bodies it reads whole.
async fn stuck() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            drop(tokio::spawn(async move {
                while let Some(head) = read_head(&mut stream).await {
                    if head.contains(" /stuck ") {
                        std::future::pending::<()>().await;
                    }
                    let mut body = Vec::new();
                    while !body.ends_with(b"0\r\n\r\n") {
                        body.push(stream.read_u8().await.unwrap());
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                }
            }));
        }
    }));
    address
}

/// One that answers at once, and reads no more than the head.
async fn hasty(protocol: Protocol) -> SocketAddr {
    if protocol != Protocol::H1 {
        return http2_server(|mut connection, _| async move {
            let mut streams = Vec::new();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                respond.send_response(hyper::Response::new(()), true).unwrap();
                streams.push((request, respond));
            }
        })
        .await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(tokio::spawn(async move {
        let mut streams = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            read_head(&mut stream).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            streams.push(stream);
        }
    }));
    address
}

/// As [`stuck`], over HTTP/2, where nobody reads anything.
async fn stuck_http2() -> SocketAddr {
    http2_server(|mut connection, _| async move {
        let mut streams = Vec::new();
        while let Some(Ok(stream)) = connection.accept().await {
            streams.push(stream);
        }
    })
    .await
}

async fn stuck_at(protocol: Protocol) -> SocketAddr {
    match protocol {
        Protocol::H1 => stuck().await,
        Protocol::H2 | Protocol::H2c => stuck_http2().await,
    }
}

fn serve(v1: SocketAddr, protocol: Protocol, timeouts: Timeouts) -> Shop {
    let mut configuration = configuration(&[v1], &[nobody()], "");
    configuration.services[0].versions[0].protocol = protocol;
    configuration.rules = config::Rules { timeouts, ..config::Rules::default() }.into();
    Shop::serve(1, 0, &configuration, ClientTimeouts::from(&timeouts))
}

/// How an upload comes.
#[derive(Debug, Clone, Copy)]
enum Upload {
    Length,
    Chunks,
    Http2,
    Http2Length,
}

impl Upload {
    const ALL: [Self; 4] = [Self::Length, Self::Chunks, Self::Http2, Self::Http2Length];

    /// The status of the answer to one that is never at its end.
    async fn endless(self, address: SocketAddr) -> u16 {
        let framing = match self {
            Self::Length => "content-length: 1000000000",
            Self::Chunks => "transfer-encoding: chunked",
            Self::Http2 | Self::Http2Length => return self.endless_http2(address).await,
        };
        let (mut answers, mut asks) = TcpStream::connect(address).await.unwrap().into_split();
        asks.write_all(format!("PUT /stuck HTTP/1.1\r\nhost: shop\r\n{framing}\r\n\r\n").as_bytes()).await.unwrap();
        let piece = match self {
            Self::Chunks => [b"10000\r\n", &[b'x'; PIECE][..], b"\r\n"].concat(),
            Self::Length | Self::Http2 | Self::Http2Length => vec![b'x'; PIECE],
        };
        let sends = tokio::spawn(async move { while asks.write_all(&piece).await.is_ok() {} });
        let mut answer = Vec::new();
        while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
            assert_ne!(timeout(LONG, answers.read_buf(&mut answer)).await.unwrap().unwrap(), 0, "{answer:?}");
        }
        sends.abort();
        status(&String::from_utf8_lossy(&answer))
    }

    async fn endless_http2(self, address: SocketAddr) -> u16 {
        let mut client = connect(address).await;
        let mut request = Request::put("http://shop/stuck");
        if matches!(self, Self::Http2Length) {
            request = request.header("content-length", "1000000000");
        }
        let request = request.body(endless(&Arc::default())).unwrap();
        timeout(LONG, client.send_request(request)).await.expect("an answer in time").unwrap().status().as_u16()
    }
}

type Body = BoxBody<Bytes, std::convert::Infallible>;

async fn connect(address: SocketAddr) -> SendRequest<Body> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    drop(tokio::spawn(connection));
    client
}

/// A body without an end, which counts its pieces.
fn endless(pieces: &Arc<AtomicUsize>) -> Body {
    let pieces = Arc::clone(pieces);
    let frames = stream::repeat_with(move || {
        pieces.fetch_add(1, Ordering::Relaxed);
        Ok(Frame::data(Bytes::from_static(&[b'x'; 1024])))
    });
    BodyExt::boxed(StreamBody::new(frames))
}

/// A body of some bytes.
fn small() -> Body {
    BodyExt::boxed(StreamBody::new(stream::iter([Ok(Frame::data(Bytes::from_static(&[b'y'; 100])))])))
}

#[tokio::test]
async fn an_endpoint_that_takes_nothing_of_an_upload_is_late_whatever_is_spoken() {
    for protocol in [Protocol::H1, Protocol::H2c] {
        for upload in Upload::ALL {
            // Its client is not the one that is silent, whichever of the two times is shorter.
            for body in [SHORT / 2, LONG] {
                let v1 = stuck_at(protocol).await;
                let timeouts = Timeouts { first_byte: SHORT, response: SHORT, body, ..Timeouts::default() };
                let shop = serve(v1, protocol, timeouts);
                assert_eq!(upload.endless(shop.address()).await, 504, "{protocol:?} {upload:?} {body:?}");
                let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
                assert_eq!(judged(&tally, Class::Timeout), 1, "{protocol:?} {upload:?} {body:?}: {:?}", tally.judged);
                shop.idle("v1").await;
                assert_eq!(shop.responses(Class::Timeout), 1, "{protocol:?} {upload:?} {body:?}: as it is logged");
            }
        }
    }
}

#[tokio::test]
async fn an_endpoint_on_a_unix_socket_that_takes_nothing_is_late_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("v1.sock");
    let listener = UnixListener::bind(&path).unwrap();
    drop(tokio::spawn(async move {
        let mut streams = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            assert!(read_head(&mut stream).await.is_some());
            streams.push(stream);
        }
    }));
    let timeouts = Timeouts { first_byte: SHORT, response: SHORT, body: SHORT / 2, ..Timeouts::default() };
    for upload in Upload::ALL {
        let mut configuration = configuration(&[nobody()], &[nobody()], "");
        configuration.services[0].versions[0].endpoints = vec![config::Endpoint::Unix(path.clone())];
        configuration.rules = config::Rules { timeouts, ..config::Rules::default() }.into();
        let shop = Shop::serve(1, 0, &configuration, ClientTimeouts::from(&timeouts));
        assert_eq!(upload.endless(shop.address()).await, 504, "{upload:?}");
        let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
        assert_eq!(judged(&tally, Class::Timeout), 1, "{upload:?}: {:?}", tally.judged);
    }
}

#[tokio::test]
async fn the_limit_of_the_whole_blames_no_client_for_an_endpoint_that_takes_nothing() {
    for protocol in [Protocol::H1, Protocol::H2c] {
        for upload in Upload::ALL {
            let v1 = stuck_at(protocol).await;
            let shop = serve(v1, protocol, Timeouts { total: Some(2 * SHORT), ..Timeouts::default() });
            assert_eq!(upload.endless(shop.address()).await, 504, "{protocol:?} {upload:?}");
            let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
            assert_eq!(judged(&tally, Class::Timeout), 1, "{protocol:?} {upload:?}: {:?}", tally.judged);
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_has_answered_may_leave_the_rest() {
    for protocol in [Protocol::H1, Protocol::H2c] {
        for upload in Upload::ALL {
            let timeouts = Timeouts { first_byte: SHORT, response: SHORT, ..Timeouts::default() };
            let shop = serve(hasty(protocol).await, protocol, timeouts);
            assert_eq!(upload.endless(shop.address()).await, 200, "{protocol:?} {upload:?}");
            drop(shop.tally_until("v1", |tally| tally.requests() == 1).await);
            shop.idle("v1").await;
            let tally = shop.tally("v1");
            assert_eq!(
                (judged(&tally, Class::Success), tally.bad()),
                (1, 0),
                "{protocol:?} {upload:?}: {:?}",
                tally.judged
            );
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_takes_a_little_at_a_time_is_not_late() {
    // More than anybody between here and there can hold, so that most of it is taken while something waits.
    const ENOUGH: usize = 12_000_000;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let timeouts = Timeouts { first_byte: SHORT, response: SHORT, ..Timeouts::default() };
    let shop = serve(listener.local_addr().unwrap(), Protocol::H1, timeouts);
    drop(tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await.unwrap();
        let (mut taken, mut buffer) = (0, vec![0; 4 * PIECE]);
        while taken < ENOUGH {
            // Slower than the system tells whoever writes.
            tokio::time::sleep(SHORT / 4).await;
            taken += stream.read_exact(&mut buffer).await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    }));
    assert_eq!(Upload::Length.endless(shop.address()).await, 200);
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&tally, Class::Success), tally.bad()), (1, 0), "{:?}", tally.judged);
}

#[tokio::test]
async fn uploads_that_nobody_takes_hold_up_no_other_on_their_connection() {
    // For so long nobody takes anything.
    let stall = LONG / 2;
    let timeouts = Timeouts { first_byte: stall, response: stall, ..Timeouts::default() };
    let shop = serve(stuck().await, Protocol::H1, timeouts);
    let mut client = connect(shop.address()).await;
    let pieces = Arc::new(AtomicUsize::new(0));
    let stuck: Vec<_> = (0..8)
        .map(|_| {
            let request = Request::put("http://shop/stuck").body(endless(&pieces)).unwrap();
            tokio::spawn(client.send_request(request))
        })
        .collect();
    // Until nobody takes any more of those.
    let (mut seen, mut rounds, mut all) = (0, 0, 0);
    while rounds < 20 || seen == 0 {
        let request = Request::put("http://shop/").body(small()).unwrap();
        let answer = timeout(stall * 3 / 4, client.send_request(request)).await.expect("an answer before they end");
        assert_eq!(answer.unwrap().status(), 200);
        let sent = pieces.load(Ordering::Relaxed);
        rounds = if sent == seen { rounds + 1 } else { 0 };
        (seen, all) = (sent, all + 1);
    }
    for answer in stuck {
        assert_eq!(timeout(LONG, answer).await.expect("an end in time").unwrap().unwrap().status(), 504);
    }
    let tally = shop.tally_until("v1", |tally| tally.requests() == all + 8).await;
    assert_eq!((judged(&tally, Class::Success), judged(&tally, Class::Timeout)), (all, 8), "{:?}", tally.judged);
}
