//! Listeners: TLS, Unix sockets, the PROXY protocol, redirects, caps, and the life of a connection.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use config::{CertificateFiles, Hsts, Limits, ListenAddress, Listener, ListenerTls, Rules, Timeouts, TlsVersion};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use loadtest::{Latency, Origin, OriginOptions};
use meter::Class;
use proxy::Listeners;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::fixture::{LONG, Shop, exchange, get, origin_has, status};
use crate::secure::{Secure, plain};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n";

async fn origin() -> Origin {
    Origin::start("v1", OriginOptions::default()).await.unwrap()
}

/// A request over HTTP/2: the status, and the value of a header.
async fn over_http2(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
    header: &str,
) -> (u16, Option<String>) {
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    drop(tokio::spawn(connection));
    let request = Request::get(format!("https://shop.test{path}")).body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    let value = response.headers().get(header).map(|value| value.to_str().unwrap().to_owned());
    (response.status().as_u16(), value)
}

async fn said(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is no concern of these tests.
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.expect("an answer in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn tls_carries_http1_and_http2_and_every_answer_tells_to_come_back_over_https() {
    let origin = origin().await;
    let hsts = Hsts { max_age: Duration::from_secs(600), subdomains: false, preload: false };
    let secure = Secure::new(Some(hsts));
    let shop = Shop::listening(&[secure.listener.clone(), plain()], Rules::default(), origin.address());
    let address = shop.address();

    for alpn in [&["h2", "http/1.1"][..], &["h2"]] {
        let stream = secure.connect(address, alpn).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let answer = over_http2(stream, "/", "strict-transport-security").await;
        assert_eq!(answer, (200, Some("max-age=600".to_owned())));
    }
    for alpn in [&["http/1.1"][..], &["http/1.0"], &[]] {
        let answer = said(secure.connect(address, alpn).await, REQUEST).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("\r\nstrict-transport-security: max-age=600\r\n"), "{answer}");
    }
    // What Tidegate says itself, too; and never without TLS.
    let answer = said(secure.connect(address, &[]).await, b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert_eq!(status(&answer), 400, "{answer}");
    let in_clear = get(shop.data.addresses()[1]).await;
    assert!(!in_clear.to_ascii_lowercase().contains("strict-transport-security"), "{in_clear}");
}

#[tokio::test]
async fn a_client_that_was_promised_http1_does_not_get_http2_by_its_preface() {
    let origin = origin().await;
    let secure = Secure::new(None);
    let shop = Shop::listening(std::slice::from_ref(&secure.listener), Rules::default(), origin.address());
    let stream = secure.connect(shop.address(), &["http/1.1"]).await;
    let answer = said(stream, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test]
async fn a_redirect_listener_answers_with_the_same_place_over_https() {
    let origin = origin().await;
    let listener = Listener { redirect: Some(8443), ..plain() };
    let shop = Shop::listening(&[listener], Rules::default(), origin.address());
    let request = b"POST /a?b=c HTTP/1.1\r\nhost: shop.test:80\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let answer = exchange(shop.address(), request).await;
    assert_eq!(status(&answer), 308, "{answer}");
    assert!(answer.to_ascii_lowercase().contains("\r\nlocation: https://shop.test:8443/a?b=c\r\n"), "{answer}");
    let stream = TcpStream::connect(shop.address()).await.unwrap();
    assert_eq!(over_http2(stream, "/x", "location").await, (308, Some("https://shop.test:8443/x".to_owned())));
    assert_eq!(status(&exchange(shop.address(), b"GET / HTTP/1.0\r\n\r\n").await), 400);
    assert_eq!(origin.arrivals().requests, 0);
}

#[tokio::test]
async fn a_unix_socket_is_served_replaces_what_a_dead_process_left_and_is_gone_at_the_end() {
    let origin = origin().await;
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("edge.sock");
    // A dead process leaves the file of its socket.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listener = Listener { address: ListenAddress::Unix(path.clone()), ..plain() };
    let shop = Shop::listening(std::slice::from_ref(&listener), Rules::default(), origin.address());

    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let answer = said(UnixStream::connect(&path).await.unwrap(), REQUEST).await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(over_http2(UnixStream::connect(&path).await.unwrap(), "/", "server").await.0, 200);
    let taken = Listeners::bind(std::slice::from_ref(&listener)).unwrap_err().to_string();
    assert!(taken.contains("in use") && taken.contains("unix:"), "{taken}");

    tokio::task::spawn_blocking(move || shop.data.drain(LONG)).await.unwrap();
    assert!(!path.exists());

    fs::write(&path, "a file of somebody else's").unwrap();
    let refused = Listeners::bind(&[listener]).unwrap_err().to_string();
    assert!(refused.contains("no socket"), "{refused}");
    assert!(path.exists());
}

#[test]
fn a_socket_file_that_another_process_took_over_is_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("edge.sock");
    let listeners = Listeners::bind(&[Listener { address: ListenAddress::Unix(path.clone()), ..plain() }]).unwrap();
    fs::remove_file(&path).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(listeners);
    assert!(path.exists());
}

/// A listener for whose loopback peers the PROXY protocol is mandatory.
fn announced() -> Listener {
    Listener { proxy_protocol: vec!["127.0.0.0/8".parse().unwrap()], ..plain() }
}

fn one_each() -> Rules {
    Rules { limits: Limits { connections_per_client: 1, ..Limits::default() }, ..Rules::default() }
}

/// A binary header (version 2) that announces this IPv4 address.
fn binary(client: [u8; 4]) -> Vec<u8> {
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &client[..], &[127, 0, 0, 1, 0x30, 0x39, 0, 80]].concat()
}

#[tokio::test]
async fn a_load_balancer_names_the_client_before_http_and_before_tls() {
    let origin = origin().await;
    let secure = Secure::new(None);
    let over_tls = Listener { proxy_protocol: announced().proxy_protocol, ..secure.listener.clone() };
    let shop = Shop::listening(&[announced(), over_tls], one_each(), origin.address());
    let line = |client: &str| format!("PROXY TCP4 {client} 127.0.0.1 1 2\r\n").into_bytes();

    // The header and the request in one piece; in two; byte by byte.
    let answer = exchange(shop.address(), &[&line("192.0.2.1"), REQUEST].concat()).await;
    assert_eq!(status(&answer), 200, "{answer}");
    let mut stream = TcpStream::connect(shop.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in binary([192, 0, 2, 2]) {
        stream.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(status(&said(stream, REQUEST).await), 200);
    let mut stream = TcpStream::connect(shop.data.addresses()[1]).await.unwrap();
    stream.write_all(&line("192.0.2.3")).await.unwrap();
    assert_eq!(over_http2(secure.over(stream, &["h2"]).await, "/", "server").await.0, 200);

    // It is the announced client that has so many connections, not the load balancer.
    let mut kept = TcpStream::connect(shop.address()).await.unwrap();
    kept.write_all(&[&line("192.0.2.9")[..], b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"].concat()).await.unwrap();
    assert!(kept.read(&mut [0; 4096]).await.unwrap() > 0);
    let another = exchange(shop.address(), &[&binary([192, 0, 2, 8])[..], REQUEST].concat()).await;
    assert_eq!(status(&another), 200, "{another}");
    assert_eq!(exchange(shop.address(), &[&binary([192, 0, 2, 9])[..], REQUEST].concat()).await, "");
}

#[tokio::test]
async fn without_its_header_a_listed_peer_is_closed_and_anybody_elses_header_is_no_http() {
    let origin = origin().await;
    let shop = Shop::listening(&[announced(), plain()], Rules::default(), origin.address());
    for bytes in [REQUEST, b"PROXY TCP4 nobody 127.0.0.1 1 2\r\n", b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c"] {
        assert_eq!(exchange(shop.address(), bytes).await, "");
    }
    let unlisted = shop.data.addresses()[1];
    for header in [&b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n"[..], &binary([192, 0, 2, 1])] {
        let answer = exchange(unlisted, &[header, REQUEST].concat()).await;
        assert_eq!(status(&answer), 400, "{answer}");
    }
    assert_eq!(origin.arrivals().requests, 0);
    assert!(shop.publisher.unmatched().responses()[Class::Local as usize] >= 3);
}

#[tokio::test]
async fn a_header_that_does_not_come_is_not_waited_for_for_ever() {
    let origin = origin().await;
    let timeouts = Timeouts { head: Duration::from_millis(100), ..Timeouts::default() };
    let shop = Shop::listening(&[announced()], Rules { timeouts, ..Rules::default() }, origin.address());
    assert_eq!(exchange(shop.address(), b"PROXY TCP4 192").await, "");
}

/// Waits until so many connections are open.
async fn open(shop: &Shop, connections: u64) {
    let until = Instant::now() + LONG;
    while shop.data.connections() != connections {
        assert!(Instant::now() < until, "{} connections are open", shop.data.connections());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_client_with_too_many_connections_gets_no_further_one_and_a_trusted_hop_does() {
    let origin = origin().await;
    let shop = Shop::listening(&[plain()], one_each(), origin.address());
    let kept = TcpStream::connect(shop.address()).await.unwrap();
    open(&shop, 1).await;
    assert_eq!(get(shop.address()).await, "");
    assert_eq!(shop.publisher.unmatched().responses()[Class::Local as usize], 1);
    drop(kept);
    open(&shop, 0).await;
    assert_eq!(status(&get(shop.address()).await), 200);

    let trusting = Rules { trusted: vec!["127.0.0.1/32".parse().unwrap()], ..one_each() };
    let shop = Shop::listening(&[plain()], trusting, origin.address());
    let _kept = TcpStream::connect(shop.address()).await.unwrap();
    open(&shop, 1).await;
    assert_eq!(status(&get(shop.address()).await), 200);
}

#[tokio::test]
async fn over_the_cap_of_all_connections_a_further_one_is_closed_before_its_handshake() {
    let origin = origin().await;
    let secure = Secure::new(None);
    let rules = Rules { limits: Limits { connections: 1, ..Limits::default() }, ..Rules::default() };
    let shop = Shop::listening(std::slice::from_ref(&secure.listener), rules, origin.address());
    let kept = TcpStream::connect(shop.address()).await.unwrap();
    open(&shop, 1).await;
    let mut refused = TcpStream::connect(shop.address()).await.unwrap();
    assert_eq!(refused.read(&mut [0]).await.unwrap_or(0), 0);
    drop(kept);
    open(&shop, 0).await;
    assert_eq!(status(&said(secure.connect(shop.address(), &[]).await, REQUEST).await), 200);
}

#[tokio::test]
async fn a_connection_whose_life_is_over_ends_with_its_response() {
    let origin = origin().await;
    let timeouts = Timeouts { connection: Duration::ZERO, ..Timeouts::default() };
    let shop = Shop::listening(&[plain()], Rules { timeouts, ..Rules::default() }, origin.address());
    let stream = TcpStream::connect(shop.address()).await.unwrap();
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("/").header("host", "shop.test").body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.headers()["connection"], "close");
    response.into_body().collect().await.unwrap();
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_that_idles_ends_as_its_life_does_and_waits_for_no_keep_alive() {
    let origin = origin().await;
    let secure = Secure::new(None);
    let timeouts = Timeouts { connection: Duration::from_millis(500), keepalive: 10 * LONG, ..Timeouts::default() };
    let listeners = [plain(), secure.listener.clone()];
    let shop = Shop::listening(&listeners, Rules { timeouts, ..Rules::default() }, origin.address());
    let request = b"GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n";
    let in_clear = TcpStream::connect(shop.address()).await.unwrap();
    assert_eq!(status(&said(in_clear, request).await), 200, "the end came by itself");
    let over_tls = secure.connect(shop.data.addresses()[1], &["http/1.1"]).await;
    assert_eq!(status(&said(over_tls, request).await), 200, "the end came by itself");
    open(&shop, 0).await;
    assert_eq!(shop.unmatched(), 0, "nobody was refused anything");
}

#[tokio::test]
async fn an_http2_connection_whose_life_is_over_ends_when_its_streams_do() {
    let origin = origin().await;
    origin.dial().set_latency(Latency::fixed(Duration::from_millis(600)));
    let timeouts = Timeouts { connection: Duration::from_millis(200), ..Timeouts::default() };
    let shop = Shop::listening(&[plain()], Rules { timeouts, ..Rules::default() }, origin.address());
    let stream = TcpStream::connect(shop.address()).await.unwrap();
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://shop.test/").body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap();
    // The client goes on holding it: it is the server that ends it.
    tokio::time::timeout(LONG, connection).await.expect("a GOAWAY").unwrap().unwrap();
    drop(client);
    origin_has(&origin, 1).await;
}

#[tokio::test]
async fn random_bytes_on_any_listener_kill_no_worker() {
    let origin = origin().await;
    let secure = Secure::new(None);
    let over_tls = Listener { proxy_protocol: announced().proxy_protocol, ..secure.listener.clone() };
    let timeouts =
        Timeouts { head: Duration::from_millis(50), handshake: Duration::from_millis(50), ..Timeouts::default() };
    let listeners = [plain(), secure.listener.clone(), announced(), over_tls];
    let shop = Shop::listening(&listeners, Rules { timeouts, ..Rules::default() }, origin.address());
    let beginnings: [&[u8]; 5] =
        [b"", b"\x16\x03\x01\x02\0\x01", b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11", b"GET / "];
    let mut random = fastrand::Rng::with_seed(20);
    for address in shop.data.addresses() {
        for beginning in beginnings.iter().cycle().take(40) {
            let bytes: Vec<u8> = (0..random.usize(0..700)).map(|_| random.u8(..)).collect();
            let mut stream = TcpStream::connect(address).await.unwrap();
            // It may be closed before all is written.
            let _ = stream.write_all(&[beginning, &bytes[..]].concat()).await;
        }
    }
    // Each core serves some of these.
    for _ in 0..8 {
        assert_eq!(status(&get(shop.address()).await), 200);
    }
    assert_eq!(status(&said(secure.connect(shop.data.addresses()[1], &[]).await, REQUEST).await), 200);
}

#[test]
fn certificates_that_cannot_be_used_keep_every_address_free_and_are_all_told() {
    let missing =
        |name: &str| CertificateFiles { cert: format!("/nowhere/{name}.pem").into(), key: "/nowhere/k".into() };
    let certificates = vec![missing("one"), missing("two")];
    let tls = ListenerTls { certificates, clients: None, oldest: TlsVersion::V12, hsts: None };
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bad = Listener { tls: Some(tls), ..plain() };
    let error = Listeners::bind(&[Listener::plain(address), bad]).unwrap_err().to_string();
    let told: Vec<_> = error.lines().collect();
    assert_eq!(told.len(), 2, "{error}");
    assert!(told[0].starts_with("listeners[1].tls.certificates[0]: cannot read /nowhere/one.pem"), "{error}");
    assert!(told[1].starts_with("listeners[1].tls.certificates[1]: cannot read /nowhere/two.pem"), "{error}");
    assert!(std::net::TcpListener::bind(address).is_ok());
}
