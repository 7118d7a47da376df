//! What is spoken to endpoints, and whom is believed.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use config::{Configuration, EndpointTls, Protocol};
use http_body_util::Full;
use loadtest::{Origin, OriginOptions};
use meter::{Attempt, Class};
use proxy::client_stream::ClientTimeouts;
use proxy::endpoint::{State, check};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use crate::certificates::{Authority, SecureOrigin};
use crate::fixture::{LONG, Shop, addresses, configuration, exchange, get, http2, judged, name, nobody, status};
use crate::http2::{answer, http2_origin, http2_server};

/// A v1 at `localhost`, over TLS, that proves itself so.
pub(crate) fn secure(port: u16, protocol: Protocol, tls: EndpointTls) -> Configuration {
    let mut configuration = configuration(&[nobody()], &[nobody()], "");
    let v1 = &mut configuration.services[0].versions[0];
    v1.endpoints = vec![config::Endpoint::Tcp { host: "localhost".into(), port, tls: true }];
    v1.protocol = protocol;
    v1.tls = Some(tls);
    configuration
}

pub(crate) fn believing(authority: &Authority) -> EndpointTls {
    EndpointTls { ca: Some(authority.file()), ..EndpointTls::default() }
}

fn serve(configuration: &Configuration) -> Shop {
    Shop::serve(1, 0, configuration, ClientTimeouts::default())
}

#[tokio::test]
async fn an_endpoint_over_tls_is_believed_by_its_authority_and_name_alone() {
    let (ours, other) = (Authority::new(), Authority::new());
    let origin = SecureOrigin::start(&ours.sign("localhost"), &["http/1.1"], None).await;
    let named = |tls: EndpointTls, name: &str| EndpointTls { server_name: Some(name.to_owned()), ..tls };
    for (tls, wanted) in [
        (believing(&ours), 200),
        (believing(&other), 502),
        (EndpointTls::default(), 502),
        (named(believing(&ours), "localhost"), 200),
        (named(believing(&ours), "elsewhere.test"), 502),
    ] {
        let before = origin.requests();
        let shop = serve(&secure(origin.address.port(), Protocol::H1, tls.clone()));
        let answer = get(shop.address()).await;
        assert_eq!(status(&answer), wanted, "{tls:?}: {answer}");
        let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
        let class = if wanted == 200 { Class::Success } else { Class::ConnectError };
        assert_eq!(judged(&tally, class), 1, "{tls:?}: {tally:?}");
        assert_eq!(origin.requests() - before, u64::from(wanted == 200), "{tls:?}");
    }
}

#[tokio::test]
async fn services_that_believe_different_authorities_share_no_connection() {
    for protocol in [Protocol::H1, Protocol::H2] {
        let (ours, other) = (Authority::new(), Authority::new());
        let origin = SecureOrigin::start(&ours.sign("localhost"), &["h2", "http/1.1"], None).await;
        let mut configuration = secure(origin.address.port(), protocol, believing(&ours));
        let mut second = configuration.services[0].clone();
        second.name = name("other");
        second.hosts = config::parse(
            "services: { a: { hosts: [other], stable: v, versions: { v: { endpoints: ['127.0.0.1:1'] } } } }",
            "a.yaml",
        )
        .unwrap()
        .configuration
        .services[0]
            .hosts
            .clone();
        second.versions[0].tls = Some(believing(&other));
        configuration.services.push(second);
        let shop = serve(&configuration);
        // A connection lies ready that the first service has made.
        assert_eq!(status(&get(shop.address()).await), 200, "{protocol:?}");
        let answer = exchange(shop.address(), b"GET / HTTP/1.1\r\nhost: other\r\nconnection: close\r\n\r\n").await;
        assert_eq!(status(&answer), 502, "{protocol:?}: {answer}");
        assert_eq!(status(&get(shop.address()).await), 200, "{protocol:?}");
        assert_eq!(origin.requests(), 2, "{protocol:?}");
    }
}

#[tokio::test]
async fn http2_over_tls_is_agreed_on_or_the_connection_has_failed() {
    let authority = Authority::new();
    let signed = authority.sign("localhost");
    for (protocols, wanted) in [(&["h2", "http/1.1"][..], 200), (&["http/1.1"], 502), (&[], 502)] {
        let origin = SecureOrigin::start(&signed, protocols, None).await;
        let shop = serve(&secure(origin.address.port(), Protocol::H2, believing(&authority)));
        for round in 1..=2 {
            let answer = get(shop.address()).await;
            assert_eq!(status(&answer), wanted, "{protocols:?}: {answer}");
            assert!(wanted != 200 || answer.ends_with("HTTP/2.0\n"), "{answer}");
            let tally = shop.tally_until("v1", |tally| tally.requests() == round).await;
            let class = if wanted == 200 { Class::Success } else { Class::ConnectError };
            assert_eq!(judged(&tally, class), round, "{protocols:?}: {tally:?}");
        }
        let served = if wanted == 200 { 2 } else { 0 };
        assert_eq!(origin.requests(), served, "{protocols:?}: never HTTP/1.1 in silence");
    }
}

#[tokio::test]
async fn a_request_without_a_host_is_refused_where_endpoints_speak_http2() {
    let shop = serve(&h2c(&[http2_origin(false).await]));
    let answer = exchange(shop.address(), b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("names no host"), "{answer}");
    assert_eq!(status(&exchange(shop.address(), b"GET / HTTP/1.0\r\nhost: shop\r\n\r\n").await), 200);
    let tally = shop.tally_until("v1", |tally| tally.drawn.ended == 2).await;
    assert_eq!((judged(&tally, Class::Success), tally.bad()), (1, 0), "{tally:?}");
}

/// Why the endpoint of v1 is down after a few requests, none of which tells its client.
async fn down(configuration: &Configuration) -> String {
    let shop = serve(configuration);
    for _ in 0..4 {
        let answer = get(shop.address()).await;
        assert!(answer.ends_with("\r\n\r\n502: the service could not be reached\n"), "{answer}");
    }
    let routing = shop.publisher.shared().load_full();
    let at = &routing.service(&name("shop")).unwrap().version(&name("v1")).unwrap().endpoints[0];
    let standing = at.standing(Instant::now());
    assert_eq!(standing.state, State::Down, "{standing:?}");
    standing.reason.unwrap()
}

#[tokio::test]
async fn an_endpoint_is_down_for_a_reason_that_its_operator_is_told() {
    let (ours, clients) = (Authority::new(), Authority::new());
    let signed = ours.sign("localhost");
    for (what, shown, protocols, asks, protocol, tls, wanted) in [
        ("expired", &ours.sign_old("localhost"), &[][..], None, Protocol::H1, believing(&ours), "has expired"),
        (
            "expired, by HTTP/2",
            &ours.sign_old("localhost"),
            &["h2"],
            None,
            Protocol::H2,
            believing(&ours),
            "has expired",
        ),
        ("another authority", &signed, &[], None, Protocol::H1, believing(&clients), "(tls.ca)"),
        ("another name", &ours.sign("other"), &[], None, Protocol::H1, believing(&ours), "(tls.server_name)"),
        ("no certificate", &signed, &[], Some(&clients), Protocol::H1, believing(&ours), "(tls.cert)"),
        ("no HTTP/2", &signed, &["http/1.1"], None, Protocol::H2, believing(&ours), "HTTP/2"),
        ("no ALPN", &signed, &[], None, Protocol::H2, believing(&ours), "HTTP/2"),
    ] {
        let origin = SecureOrigin::start(shown, protocols, asks).await;
        let why = down(&secure(origin.address.port(), protocol, tls)).await;
        assert!(why.starts_with("no connection: ") && why.contains(wanted), "{what}: {why}");
        assert_eq!(origin.requests(), 0, "{what}");
    }
    let why = down(&secure(nobody().port(), Protocol::H1, believing(&ours))).await;
    assert!(why.contains("refused"), "{why}");
    let plain = Origin::start("v1", OriginOptions::default()).await.unwrap();
    let why = down(&secure(plain.address().port(), Protocol::H1, believing(&ours))).await;
    assert!(why.contains("does not speak TLS"), "{why}");
    let mut configuration = configuration(&[nobody()], &[nobody()], "");
    configuration.services[0].versions[0].endpoints = vec![config::Endpoint::Unix("/nowhere/v1.sock".into())];
    assert!(down(&configuration).await.contains("no such socket"));
}

#[tokio::test]
async fn an_http2_endpoint_is_told_the_scheme_that_is_spoken_to_it_whatever_its_client_says() {
    let authority = Authority::new();
    let origin = SecureOrigin::start(&authority.sign("localhost"), &["h2"], None).await;
    let over_tls = serve(&secure(origin.address.port(), Protocol::H2, believing(&authority)));
    let plain = http2_server(|mut connection, _| async move {
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let head = http::Response::builder().header("seen-scheme", request.uri().scheme_str().unwrap_or("none"));
            respond.send_response(head.body(()).unwrap(), true).unwrap();
        }
    })
    .await;
    let without = serve(&h2c(&[plain]));
    for (shop, spoken) in [(&over_tls, "https"), (&without, "http")] {
        for said in ["http", "https"] {
            let request = http::Request::get(format!("{said}://shop/a?b=c")).body(Full::<Bytes>::default()).unwrap();
            let response = http2(shop.address()).await.send_request(request).await.unwrap();
            assert_eq!(response.headers()["seen-scheme"], spoken, "a client of HTTP/2 that says {said}");
        }
        let answer = get(shop.address()).await;
        assert!(answer.to_lowercase().contains(&format!("seen-scheme: {spoken}\r\n")), "{answer}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_there_is_one() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let origin = SecureOrigin::start(&authority.sign("localhost"), &[], Some(&clients)).await;
    let ours = EndpointTls { certificate: Some(clients.sign_into_files("proxy")), ..believing(&authority) };
    let shop = serve(&secure(origin.address.port(), Protocol::H1, ours));
    assert_eq!(status(&get(shop.address()).await), 200);
    let shop = serve(&secure(origin.address.port(), Protocol::H1, believing(&authority)));
    assert_eq!(status(&get(shop.address()).await), 502);
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn http2_connections_are_used_again() {
    let authority = Authority::new();
    let origin = SecureOrigin::start(&authority.sign("localhost"), &["h2"], None).await;
    let shop = serve(&secure(origin.address.port(), Protocol::H2, believing(&authority)));
    for _ in 0..20 {
        assert_eq!(status(&get(shop.address()).await), 200);
    }
    assert_eq!((origin.requests(), origin.connections()), (20, 1));
}

#[tokio::test]
async fn an_endpoint_may_be_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("v1.sock");
    let listener = UnixListener::bind(&path).unwrap();
    drop(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0_u8; 1024];
            while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nunix\n";
                stream.write_all(answer).await.unwrap();
            }
        }
    }));
    let mut configuration = configuration(&[nobody()], &[nobody()], "");
    configuration.services[0].versions[0].endpoints = vec![config::Endpoint::Unix(path)];
    let shop = serve(&configuration);
    for _ in 0..3 {
        let answer = get(shop.address()).await;
        assert!(status(&answer) == 200 && answer.ends_with("unix\n"), "{answer}");
    }
    let tally = shop.tally_until("v1", |tally| tally.requests() == 3).await;
    assert_eq!(judged(&tally, Class::Success), 3, "{tally:?}");
}

#[tokio::test]
async fn a_reload_that_changes_how_an_endpoint_is_spoken_to_keeps_what_is_known_of_it() {
    let (v1, v2) = (http2_origin(false).await, nobody());
    let mut configuration = configuration(&[v1], &[v2], "");
    let mut shop = Shop::serve(1, 100, &configuration, ClientTimeouts::default());
    // Three failures to connect take v2 down; what v1 says in its stead does not matter.
    for _ in 0..3 {
        get(shop.address()).await;
    }
    let v2_is_up = |shop: &Shop| {
        let routing = shop.publisher.shared().load_full();
        routing.service(&name("shop")).unwrap().version(&name("v2")).unwrap().endpoints[0].is_up()
    };
    assert!(!v2_is_up(&shop));
    configuration.services[0].versions.iter_mut().for_each(|version| version.protocol = Protocol::H2c);
    shop.publisher.install(&configuration, &addresses(&configuration), |_| None, Instant::now());
    assert!(!v2_is_up(&shop));
    assert_eq!(status(&get(shop.address()).await), 200);
}

fn h2c(v1: &[std::net::SocketAddr]) -> Configuration {
    let mut configuration = configuration(v1, &[nobody()], "");
    configuration.services[0].versions[0].protocol = Protocol::H2c;
    configuration
}

const POST: &[u8] = b"POST / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi";

/// Reads a frame: its type, flags and stream.
async fn frame(stream: &mut TcpStream) -> Option<(u8, u8, [u8; 4])> {
    let mut head = [0_u8; 9];
    stream.read_exact(&mut head).await.ok()?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    stream.read_exact(&mut vec![0; length]).await.ok()?;
    Some((head[3], head[4], [head[5], head[6], head[7], head[8]]))
}

#[tokio::test]
async fn an_http2_connection_whose_end_was_announced_fails_no_request() {
    const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    const ACKNOWLEDGED: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";
    // Without an error; the first stream was the last one.
    const GOAWAY: &[u8] = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\x01\0\0\0\0";
    let (headers, settings) = (1, 4);
    // Each connection serves one request, and says GOAWAY when the next one has come.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let refused = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&refused);
    drop(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            drop(tokio::spawn(async move {
                stream.read_exact(&mut [0; 24]).await.unwrap();
                stream.write_all(SETTINGS).await.unwrap();
                let mut served = false;
                while let Some((kind, flags, id)) = frame(&mut stream).await {
                    if kind == settings && flags == 0 {
                        stream.write_all(ACKNOWLEDGED).await.unwrap();
                    } else if kind == headers && served {
                        seen.fetch_add(1, Ordering::SeqCst);
                        stream.write_all(GOAWAY).await.unwrap();
                    } else if kind == headers {
                        served = true;
                        // A head that ends the stream: `:status: 200`.
                        let [a, b, c, d] = id;
                        stream.write_all(&[0, 0, 1, headers, 5, a, b, c, d, 0x88]).await.unwrap();
                    }
                }
            }));
        }
    }));
    let shop = serve(&h2c(&[address]));
    for _ in 0..6 {
        assert_eq!(status(&exchange(shop.address(), POST).await), 200);
    }
    let tally = shop.tally_until("v1", |tally| tally.requests() == 6).await;
    assert_eq!((judged(&tally, Class::Success), tally.bad()), (6, 0), "{tally:?}");
    assert!(refused.load(Ordering::SeqCst) > 0, "no connection was used a second time");
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_no_chunks_of_what_http2_endpoints_send_without_a_length() {
    let address = http2_server(|mut connection, _| async move {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut body = respond.send_response(http::Response::new(()), false).unwrap();
            body.send_data("hello ".into(), false).unwrap();
            body.send_data("world".into(), true).unwrap();
        }
    })
    .await;
    let shop = serve(&h2c(&[address]));
    for keeps in ["", "connection: keep-alive\r\n"] {
        let request = format!("GET / HTTP/1.0\r\nhost: shop\r\n{keeps}\r\n");
        let answer = exchange(shop.address(), request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(!head.to_lowercase().contains("transfer-encoding"), "{answer}");
        assert!(head.to_lowercase().contains("connection: close"), "{answer}");
        assert_eq!(body, "hello world");
    }
}

#[tokio::test]
async fn a_request_that_was_refused_before_it_began_is_tried_again_whatever_its_method() {
    let address = http2_server(|mut connection, place| async move {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            if place == 0 {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
            } else {
                answer(&mut respond);
            }
        }
    })
    .await;
    let other = http2_server(|mut connection, _| async move {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            answer(&mut respond);
        }
    })
    .await;
    let mut configuration = h2c(&[other]);
    configuration.services[0].versions[1].protocol = Protocol::H2c;
    let port = address.port();
    configuration.services[0].versions[1].endpoints =
        vec![config::Endpoint::Tcp { host: "127.0.0.1".into(), port, tls: false }];
    let shop = Shop::serve(1, 100, &configuration, ClientTimeouts::default());
    assert_eq!(status(&exchange(shop.address(), POST).await), 200);
    // The version that refused is charged all the same.
    let tally = shop.tally_until("v2", |tally| tally.requests() == 1).await;
    assert_eq!(judged(&tally, Class::Reset), 1, "{tally:?}");
    assert_eq!(tally.attempts[Attempt::First as usize][Class::Reset as usize], 1);
}

#[tokio::test]
async fn an_endpoint_that_breaks_http2_is_a_protocol_error() {
    // A frame of a length that no SETTINGS frame has; and an answer in HTTP/1.1.
    for nonsense in [&b"\0\0\x01\x04\0\0\0\0\0\xff"[..], b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut buffer = [0_u8; 1024];
                assert!(stream.read(&mut buffer).await.unwrap() > 0);
                stream.write_all(nonsense).await.unwrap();
                while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
            }
        }));
        let shop = serve(&h2c(&[address]));
        let answer = tokio::time::timeout(LONG, get(shop.address())).await.unwrap();
        assert_eq!(status(&answer), 502, "{answer}");
        let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
        assert_eq!(judged(&tally, Class::ProtocolError), 1, "{nonsense:?}: {tally:?}");
    }
}

#[tokio::test]
async fn a_client_that_waits_to_be_told_to_go_on_is_told_whatever_the_endpoint_speaks() {
    let origin = Origin::start("v1", OriginOptions::default()).await.unwrap();
    for (protocol, v1) in [(Protocol::H1, origin.address()), (Protocol::H2c, http2_origin(false).await)] {
        let mut configuration = configuration(&[v1], &[nobody()], "");
        configuration.services[0].versions[0].protocol = protocol;
        let shop = serve(&configuration);
        let mut stream = TcpStream::connect(shop.address()).await.unwrap();
        let head =
            b"POST / HTTP/1.1\r\nhost: shop\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 2\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let mut told = [0_u8; 12];
        tokio::time::timeout(LONG, stream.read_exact(&mut told)).await.unwrap().unwrap();
        assert_eq!(&told, b"HTTP/1.1 100", "{protocol:?}");
        stream.write_all(b"hi").await.unwrap();
        let mut rest = String::new();
        tokio::time::timeout(LONG, stream.read_to_string(&mut rest)).await.unwrap().unwrap();
        assert!(rest.contains("HTTP/1.1 200"), "{protocol:?}: {rest}");
    }
}

#[test]
fn certificates_that_are_of_no_use_are_told_in_plain_words() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| -> PathBuf {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let pair = authority.sign_into_files("a");
    let other = authority.sign_into_files("b");
    let ca = |path| EndpointTls { ca: Some(path), ..EndpointTls::default() };
    let shown = |cert: &PathBuf, key: &PathBuf| EndpointTls {
        certificate: Some(config::CertificateFiles { cert: cert.clone(), key: key.clone() }),
        ..EndpointTls::default()
    };
    let broken = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    for (tls, wanted) in [
        (ca("/nowhere/ca.pem".into()), "tls.ca: cannot read /nowhere/ca.pem"),
        (ca(file("empty", "")), "holds no certificate"),
        (ca(file("broken", broken)), "no X.509 certificate"),
        (ca(pair.key.clone()), "holds no certificate"),
        (shown(&pair.cert, &other.key), "cannot be used together"),
        (shown(&pair.cert, &pair.cert), "holds no private key"),
        (shown(&pair.cert, &"/nowhere/a.key".into()), "tls.key: cannot read /nowhere/a.key: there is no such file"),
    ] {
        let mut configuration = configuration(&["127.0.0.1:1".parse().unwrap()], &["127.0.0.1:2".parse().unwrap()], "");
        configuration.services[0].versions[1].tls = Some(tls);
        let problems = check(&configuration);
        assert_eq!(problems.len(), 1, "{wanted}: {problems:?}");
        assert!(
            problems[0].starts_with("services.shop.versions.v2.tls.") && problems[0].contains(wanted),
            "{problems:?}"
        );
    }
    let mut good = configuration(&["127.0.0.1:1".parse().unwrap()], &["127.0.0.1:2".parse().unwrap()], "");
    good.services[0].versions[0].tls = Some(EndpointTls { ca: Some(authority.file()), ..shown(&pair.cert, &pair.key) });
    assert_eq!(check(&good), Vec::<String>::new());
}
