//! Origins do over real sockets what their dial says.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in the functions it shares too")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use loadtest::{Behaviour, Fraction, Latency, Origin, OriginOptions, Setting};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Long enough for anything that happens at all.
const LIMIT: Duration = Duration::from_secs(10);

async fn origin(setting: Setting) -> Origin {
    Origin::start("v1", OriginOptions { setting, ..OriginOptions::default() }).await.unwrap()
}

async fn with_behaviour(behaviour: Behaviour) -> Origin {
    origin(Setting { behaviour, ..Setting::default() }).await
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// Sends a request and reads until the origin closes.
async fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> std::io::Result<String> {
    let mut stream = connect(address).await;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn get(address: SocketAddr, path: &str) -> String {
    ask(address, "GET", path, "").await.unwrap()
}

/// Reads one response with a body of known length.
async fn response(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 1024];
    while !text.ends_with(end) {
        let read = stream.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "closed after {text:?}");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    text
}

/// The one bounded poll.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let poll = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LIMIT, poll).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

#[tokio::test]
async fn an_origin_answers_with_its_name() {
    let origin = origin(Setting::default()).await;
    let answer = get(origin.address(), "/any/path").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("x-version: v1\r\n") && answer.ends_with("\r\n\r\nv1\n"), "{answer}");
    let arrivals = origin.arrivals();
    assert_eq!((arrivals.connections, arrivals.requests, arrivals.bad, arrivals.incident), (1, 1, 0, None));
}

#[tokio::test]
async fn the_body_is_as_long_as_the_dial_says() {
    let origin = origin(Setting { body_bytes: Some(70_000), ..Setting::default() }).await;
    let answer = get(origin.address(), "/").await;
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1.len(), 70_000);
}

#[tokio::test]
async fn the_paths_for_tests_answer_each_in_their_way() {
    let origin = origin(Setting::default()).await;
    let echo = ask(origin.address(), "POST", "/echo", "hello").await.unwrap();
    assert!(echo.ends_with("\r\n\r\nhello"), "{echo}");
    let headers = get(origin.address(), "/headers").await;
    assert!(headers.contains("GET /headers HTTP/1.1\nhost: shop\nconnection: close\n"), "{headers}");
    let chunked = get(origin.address(), "/chunked").await;
    assert!(chunked.contains("transfer-encoding: chunked"), "{chunked}");
    assert!(chunked.ends_with("7\r\nv1 one\n\r\n7\r\nv1 two\n\r\n9\r\nv1 three\n\r\n0\r\n\r\n"), "{chunked}");
    let events = get(origin.address(), "/sse/2").await;
    assert!(events.contains("text/event-stream") && events.contains("id: 2\ndata: event 2\n\n"), "{events}");
    assert!(!events.contains("id: 3"), "{events}");
}

#[tokio::test]
async fn events_without_a_number_go_on() {
    let origin = origin(Setting::default()).await;
    let mut stream = connect(origin.address()).await;
    stream.write_all(b"GET /sse HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    let events = response(&mut stream, "data: event 3\n\n\r\n").await;
    assert!(events.contains("data: event 1\n\n"), "{events}");
    drop(stream);
}

#[tokio::test]
async fn a_turn_of_the_dial_holds_for_the_next_request_on_an_open_connection() {
    let origin = origin(Setting::default()).await;
    let mut stream = connect(origin.address()).await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    assert!(response(&mut stream, "v1\n").await.starts_with("HTTP/1.1 200"));

    origin.dial().set_errors(Fraction::ONE);
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    let bad = response(&mut stream, "v1 fails\n").await;

    assert!(bad.starts_with("HTTP/1.1 500") && bad.contains("x-version: v1"), "{bad}");
    let arrivals = origin.arrivals();
    assert_eq!((arrivals.connections, arrivals.requests, arrivals.bad), (1, 2, 1));
    let incident = arrivals.incident.unwrap();
    assert_eq!((incident.requests_after, incident.span()), (0, Duration::ZERO));
}

#[tokio::test]
async fn a_hang_reads_the_request_and_ends_when_the_client_leaves() {
    let origin = with_behaviour(Behaviour::Hang).await;
    let mut stream = connect(origin.address()).await;
    stream.write_all(b"POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 3\r\n\r\na").await.unwrap();
    eventually("the head arrives", || origin.arrivals().in_progress == 1).await;
    assert_eq!(origin.arrivals().bad, 0, "the body is not whole yet");
    stream.write_all(b"bc").await.unwrap();
    eventually("the request hangs", || origin.arrivals().bad == 1).await;
    assert_eq!(origin.arrivals().in_progress, 1);
    drop(stream);
    eventually("the origin notices", || origin.arrivals().in_progress == 0).await;
}

#[tokio::test]
async fn a_reset_reaches_the_client_as_one() {
    let origin = with_behaviour(Behaviour::Reset).await;
    let error = ask(origin.address(), "POST", "/", "abc").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(origin.arrivals().bad, 1);
}

#[tokio::test]
async fn a_cut_answer_announces_more_than_it_sends() {
    let origin = with_behaviour(Behaviour::Cut).await;
    origin.dial().set_body_bytes(Some(100));
    let answer = get(origin.address(), "/").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\ncontent-length: 101\r\nx-version: v1\r\n"), "{answer}");
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1.len(), 50);
}

#[tokio::test]
async fn a_body_that_drips_or_floods_begins_at_once_and_has_no_end() {
    for (behaviour, enough) in [(Behaviour::Drip, 1), (Behaviour::Flood, 3 * 65_536)] {
        let origin = with_behaviour(behaviour).await;
        let mut stream = connect(origin.address()).await;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while answer.iter().rev().filter(|byte| **byte == b'x').count() < enough {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "{behaviour:?} ended");
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{behaviour:?}");
        assert!(!answer.ends_with(b"0\r\n\r\n"), "{behaviour:?} ended");
        assert_eq!(origin.arrivals().bad, 1);
    }
}

#[tokio::test]
async fn garbage_is_no_http() {
    let origin = with_behaviour(Behaviour::Garbage).await;
    let answer = get(origin.address(), "/").await;
    assert!(!answer.is_empty() && !answer.starts_with("HTTP/"), "{answer}");
}

#[tokio::test]
async fn a_refusing_origin_closes_its_connections_and_comes_back_on_the_same_port() {
    let origin = origin(Setting::default()).await;
    let mut stream = connect(origin.address()).await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    response(&mut stream, "v1\n").await;

    origin.dial().set_behaviour(Behaviour::Refuse);
    origin.settled().await;
    let refused = TcpStream::connect(origin.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(LIMIT, stream.read_to_end(&mut rest)).await;
    assert_eq!(closed.expect("the open connection is closed too").unwrap(), 0);

    origin.dial().set_behaviour(Behaviour::Serve);
    origin.settled().await;
    assert!(get(origin.address(), "/").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_origin_may_start_by_refusing() {
    let origin = with_behaviour(Behaviour::Refuse).await;
    let refused = TcpStream::connect(origin.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_leaving_origin_answers_what_is_under_way_and_comes_back_on_the_same_port() {
    let origin = origin(Setting { latency: Latency::fixed(Duration::from_millis(200)), ..Setting::default() }).await;
    let mut idle = connect(origin.address()).await;
    idle.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    response(&mut idle, "v1\n").await;
    let address = origin.address();
    let asked = tokio::spawn(async move { get(address, "/").await });
    eventually("the request arrives", || origin.arrivals().in_progress == 1).await;

    origin.dial().set_behaviour(Behaviour::Leave);
    assert!(asked.await.unwrap().ends_with("v1\n"));
    origin.settled().await;
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let closed = tokio::time::timeout(LIMIT, idle.read_to_end(&mut Vec::new())).await;
    assert_eq!(closed.expect("the idle connection is closed too").unwrap(), 0);

    origin.dial().set(Setting::default());
    origin.settled().await;
    assert!(get(address, "/").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_part_of_the_requests_meets_a_behaviour_and_the_others_are_served() {
    let affected = Fraction::new(0.5).unwrap();
    let origin = origin(Setting { behaviour: Behaviour::Garbage, affected, ..Setting::default() }).await;
    let mut served = 0;
    for _ in 0..200 {
        served += u64::from(get(origin.address(), "/").await.starts_with("HTTP/1.1 200 "));
    }
    assert!((60..140).contains(&served), "{served}");
    assert_eq!(origin.arrivals().bad, 200 - served);
}

#[tokio::test]
async fn errors_have_the_status_that_the_dial_says() {
    let error_status = http::StatusCode::SERVICE_UNAVAILABLE;
    let origin = origin(Setting { errors: Fraction::ONE, error_status, ..Setting::default() }).await;
    assert!(get(origin.address(), "/").await.starts_with("HTTP/1.1 503 "));
    assert_eq!(origin.arrivals().bad, 1);
}

#[tokio::test]
async fn stopping_lets_a_request_in_progress_end() {
    let origin = origin(Setting { latency: Latency::fixed(Duration::from_millis(200)), ..Setting::default() }).await;
    let address = origin.address();
    let asked = tokio::spawn(async move { get(address, "/").await });
    eventually("the request arrives", || origin.arrivals().in_progress == 1).await;
    origin.stop().await;
    assert!(asked.await.unwrap().ends_with("v1\n"));
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_dropped_origin_is_gone_at_once_and_its_port_is_free() {
    let origin = with_behaviour(Behaviour::Hang).await;
    let address = origin.address();
    let mut stream = connect(address).await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    eventually("the request hangs", || origin.arrivals().in_progress == 1).await;
    drop(origin);
    let next = Origin::start("v2", OriginOptions { address, ..OriginOptions::default() }).await.unwrap();
    assert!(get(next.address(), "/").await.ends_with("v2\n"));
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let first = origin(Setting::default()).await;
    let taken = OriginOptions { address: first.address(), ..OriginOptions::default() };
    assert_eq!(Origin::start("v2", taken).await.unwrap_err().kind(), ErrorKind::AddrInUse);
    let nameless = Origin::start("a\nb", OriginOptions::default()).await.unwrap_err();
    assert_eq!(nameless.to_string(), "an origin cannot be named \"a\\nb\": it must be printable ASCII");
}
