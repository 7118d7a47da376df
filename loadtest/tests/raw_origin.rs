//! Raw origins record what arrives, to the byte.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in the functions it shares too")]

use std::io::ErrorKind;
use std::time::Duration;

use loadtest::{RawAnswer, RawOrigin, Then, When};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Long enough for anything that happens at all.
const LIMIT: Duration = Duration::from_secs(10);
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

async fn connect(origin: &RawOrigin) -> TcpStream {
    TcpStream::connect(origin.address()).await.unwrap()
}

async fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&read), String::from_utf8_lossy(bytes));
}

async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    tokio::time::timeout(LIMIT, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    bytes
}

#[tokio::test]
async fn each_request_gets_its_answer_and_the_last_one_is_repeated() {
    let origin = RawOrigin::start(vec![RawAnswer::new("first"), RawAnswer::new("second")]).await.unwrap();
    let mut stream = connect(&origin).await;
    stream.write_all(&[GET, GET].concat()).await.unwrap();
    expect(&mut stream, b"firstsecond").await;
    let mut other = connect(&origin).await;
    other.write_all(GET).await.unwrap();
    expect(&mut other, b"second").await;
    let seen = origin.until(LIMIT, |all| all.iter().map(|c| c.requests).sum::<usize>() == 3).await.unwrap();
    assert_eq!((seen[0].received.as_slice(), seen[1].received.as_slice()), ([GET, GET].concat().as_slice(), GET));
}

#[tokio::test]
async fn a_terminator_too_many_is_recorded_and_not_answered() {
    let origin = RawOrigin::start(vec![RawAnswer::new("answer")]).await.unwrap();
    let mut stream = connect(&origin).await;
    let request = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n0\r\n\r\n";
    stream.write_all(request).await.unwrap();
    expect(&mut stream, b"answer").await;
    let seen = origin.until(LIMIT, |all| all[0].malformed).await.unwrap();
    assert_eq!((seen[0].requests, seen[0].received.as_slice()), (1, request.as_slice()));
    stream.shutdown().await.unwrap();
    let rest = until_closed(&mut stream).await;
    assert_eq!(rest, b"", "one request, one answer");
}

#[tokio::test]
async fn an_answer_may_come_before_the_body_and_close() {
    let early = RawAnswer { when: When::AfterHead, then: Then::Close, ..RawAnswer::new("early") };
    let origin = RawOrigin::start(vec![early]).await.unwrap();
    let mut stream = connect(&origin).await;
    stream.write_all(b"POST / HTTP/1.1\r\ncontent-length: 10\r\n\r\nabc").await.unwrap();
    assert_eq!(until_closed(&mut stream).await, b"early");
    assert_eq!(origin.connections()[0].requests, 0);
}

#[tokio::test]
async fn an_answer_may_end_in_a_reset() {
    let origin = RawOrigin::start(vec![RawAnswer { then: Then::Reset, ..RawAnswer::default() }]).await.unwrap();
    let mut stream = connect(&origin).await;
    stream.write_all(GET).await.unwrap();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn what_never_comes_is_told_with_what_came_instead() {
    let origin = RawOrigin::start(Vec::new()).await.unwrap();
    let mut stream = connect(&origin).await;
    stream.write_all(b"GET / HT").await.unwrap();
    stream.shutdown().await.unwrap();
    origin.until(LIMIT, |all| all.iter().any(|c| c.closed)).await.unwrap();
    let instead = origin.until(Duration::ZERO, |all| all.len() == 2).await.unwrap_err();
    assert_eq!((instead.len(), instead[0].received.as_slice()), (1, b"GET / HT".as_slice()));
}
