//! Origins of HTTP/1.1 whose responses are malformed in their bytes, which a lenient parser would repair: each is refused
//! and charged to its version. What is odd and legal is passed on.

use config::Protocol;
use loadtest::{RawAnswer, RawOrigin, Then};
use meter::Class;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use proxy::Flaw;
use proxy::client_stream::ClientTimeouts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::certificates::{Authority, SecureOrigin, acceptor};
use crate::endpoints::{believing, secure};
use crate::fixture::{LONG, Shop, exchange, get, judged, name, nobody, status};
use crate::ways::Way;

const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What the endpoints of v1 sent that is not what HTTP says, by kind.
fn flaws(shop: &Shop) -> [u64; Flaw::ALL.len()] {
    let routing = shop.publisher.shared().load_full();
    routing.service(&name("shop")).unwrap().version(&name("v1")).unwrap().care.counts().flaws
}

fn one(flaw: Flaw) -> [u64; Flaw::ALL.len()] {
    Flaw::ALL.map(|each| u64::from(each == flaw))
}

/// Answers so, and then well. One core, so that a connection that is kept would be used again.
async fn answering(bytes: &str) -> (Shop, RawOrigin) {
    let origin = RawOrigin::start(vec![RawAnswer::new(bytes.to_owned()), RawAnswer::new(GOOD)]).await.unwrap();
    (Shop::open_on(1, &[origin.address()], &[nobody()]), origin)
}

#[tokio::test]
async fn what_a_lenient_parser_would_repair_is_refused_and_charged_to_the_version() {
    let attacks: [(&str, Flaw); 28] = [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 50\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            Flaw::Framing,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            Flaw::Framing,
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok", Flaw::Framing),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok", Flaw::Framing),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok", Flaw::Framing),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Flaw::Framing),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Flaw::Framing),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Flaw::Framing),
        ("HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 2\r\n\r\nok", Flaw::Header),
        ("HTTP/1.1 200 OK\r\nx: a\r\n\tb\r\ncontent-length: 2\r\n\r\nok", Flaw::Header),
        ("HTTP/1.1 200 OK\r\nx : a\r\ncontent-length: 2\r\n\r\nok", Flaw::Header),
        ("HTTP/1.1 200 OK\r\ncontent-length\t: 2\r\n\r\nok", Flaw::Header),
        ("HTTP/1.1 200 OK\r\nx: a\ncontent-length: 2\r\n\r\nok", Flaw::Header),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\nok", Flaw::Header),
        ("HTTP/1.1 200 OK\r\nx: a\rb\r\ncontent-length: 2\r\n\r\nok", Flaw::Header),
        ("HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 2\r\n\r\nok", Flaw::Header),
        ("HTTP/1.1 200 OK\r\nx(y): a\r\ncontent-length: 2\r\n\r\nok", Flaw::Header),
        ("HTTP/1.1 200 OK\r\n: a\r\ncontent-length: 2\r\n\r\nok", Flaw::Header),
        ("HTTP/1.1 200 OK\nx: a\ncontent-length: 2\n\nok", Flaw::StatusLine),
        ("\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Flaw::StatusLine),
        ("HTTP/1.1  200 OK\r\ncontent-length: 2\r\n\r\nok", Flaw::StatusLine),
        ("http/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Flaw::StatusLine),
        ("HHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Flaw::StatusLine),
        ("HTTP/1.HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Flaw::StatusLine),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2 \r\nok\r\n0\r\n\r\n", Flaw::Chunks),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokXX0\r\n\r\n", Flaw::Chunks),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\nok\n0\n\n", Flaw::Chunks),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx y: z\r\n\r\n", Flaw::Chunks),
    ];
    for (attack, flaw) in attacks {
        for way in Way::ALL {
            let (shop, origin) = answering(attack).await;
            let answer = way.get(shop.address()).await;
            assert_eq!(answer.status, 502, "{way:?} {attack:?}: {answer:?}");
            let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
            assert_eq!((judged(&tally, Class::ProtocolError), tally.bad()), (1, 1), "{way:?} {attack:?}: {tally:?}");
            assert_eq!(flaws(&shop), one(flaw), "{way:?} {attack:?}");
            assert_eq!(way.get(shop.address()).await.status, 200, "{way:?} {attack:?}");
            assert_eq!(origin.connections().len(), 2, "{way:?} {attack:?}: the connection is not used again");
        }
    }
}

#[tokio::test]
async fn what_is_odd_and_legal_is_passed_on_and_the_connection_is_kept() {
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(16);
    let many = format!("{interim}{GOOD}");
    let answers: [(&str, &str); 10] = [
        ("HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nok", "ok"),
        ("HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", "ok"),
        ("HTTP/1.1 200 Tr\u{e8}s bien\r\nx: caf\u{e9}\r\ncontent-length: 2\r\n\r\nok", "ok"),
        ("HTTP/1.1 200 OK\r\ncontent-length:2\r\nx:\r\ny: \t a\tb \t\r\n\r\nok", "ok"),
        ("HTTP/1.1 200 OK\r\nCONTENT-LENGTH: 002 \r\n\r\nok", "ok"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0002;a=\"b\";c\r\nok\r\n000\r\nx: y\r\n\r\n", "ok"),
        ("HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\n\r\n", ""),
        (&many, "ok"),
    ];
    for (wire, body) in answers {
        let (shop, origin) = answering(wire).await;
        let answer = get(shop.address()).await;
        let last = answer.rsplit("HTTP/1.1 ").next().unwrap();
        let (head, rest) = last.split_once("\r\n\r\n").unwrap();
        assert!(["200", "204", "304"].contains(&&head[..3]), "{wire:?}: {answer}");
        assert!(rest == body || rest.contains(&format!("2\r\n{body}\r\n")), "{wire:?}: {answer}");
        let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
        assert_eq!(tally.bad(), 0, "{wire:?}: {tally:?}");
        assert_eq!(status(&get(shop.address()).await), 200, "{wire:?}");
        assert_eq!(origin.connections().len(), 1, "{wire:?}: one connection for both");
        assert_eq!(flaws(&shop), [0; Flaw::ALL.len()], "{wire:?}");
    }
}

#[tokio::test]
async fn a_response_to_head_has_no_body_whatever_its_head_says() {
    for head in ["content-length: 100", "transfer-encoding: chunked"] {
        let (shop, origin) = answering(&format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n")).await;
        let answer = exchange(shop.address(), b"HEAD / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
        assert_eq!(status(&get(shop.address()).await), 200);
        assert_eq!(origin.connections().len(), 1, "{head}: one connection for both");
    }
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_is_whole() {
    let last = RawAnswer { then: Then::Close, ..RawAnswer::new("HTTP/1.1 200 OK\r\n\r\nall of it") };
    let origin = RawOrigin::start(vec![last]).await.unwrap();
    let shop = Shop::open_on(1, &[origin.address()], &[nobody()]);
    assert!(get(shop.address()).await.contains("all of it"));
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&tally, Class::Success), tally.bad()), (1, 0), "{tally:?}");
}

#[tokio::test]
async fn what_follows_a_response_is_counted_and_its_connection_closed() {
    let (shop, origin) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more").await;
    assert!(get(shop.address()).await.ends_with("\r\n\r\nok"));
    assert_eq!(status(&get(shop.address()).await), 200);
    assert_eq!((flaws(&shop), origin.connections().len()), (one(Flaw::Surplus), 2));
    assert_eq!(shop.tally("v1").bad(), 0);
}

#[tokio::test]
async fn a_chunk_that_goes_wrong_after_the_head_has_gone_out_ends_as_broken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, is_seen) = tokio::sync::oneshot::channel();
    let origin = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n").await.unwrap();
        is_seen.await.unwrap();
        stream.write_all(b"2 \r\nno\r\n0\r\n\r\n").await.unwrap();
        stream.read(&mut request).await
    });
    let shop = Shop::open_on(1, &[address], &[nobody()]);
    let mut client = TcpStream::connect(shop.address()).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\r\n") {
        assert_ne!(timeout(LONG, client.read_buf(&mut answer)).await.unwrap().unwrap(), 0, "{answer:?}");
    }
    seen.send(()).unwrap();
    // A reset is an end as well.
    let _ = timeout(LONG, client.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\r\n"), "{answer}");
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&tally, Class::ProtocolError), tally.bad()), (1, 1), "{tally:?}");
    assert_eq!(flaws(&shop), one(Flaw::Chunks));
    // The connection was ended, and not by the endpoint.
    assert_eq!(timeout(LONG, origin).await.unwrap().unwrap().unwrap_or(0), 0);
}

#[tokio::test]
async fn what_comes_over_tls_is_read_in_its_bytes_as_well() {
    let authority = Authority::new();
    let acceptor = acceptor(&authority.sign("localhost"), &["http/1.1"], None);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let origin = tokio::spawn(async move {
        let answers = ["HTTP/1.1 200 OK\r\nx : y\r\ncontent-length: 2\r\n\r\nok", GOOD];
        let mut connections = Vec::new();
        for answer in answers {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            connections.push(stream);
        }
        connections.len()
    });
    let configuration = secure(port, Protocol::H1, believing(&authority));
    let shop = Shop::serve(1, 0, &configuration, ClientTimeouts::default());
    let answer = get(shop.address()).await;
    assert_eq!(status(&answer), 502, "{answer}");
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&tally, Class::ProtocolError), tally.bad()), (1, 1), "{tally:?}");
    assert_eq!(flaws(&shop), one(Flaw::Header));
    assert!(get(shop.address()).await.ends_with("\r\n\r\nok"));
    assert_eq!(timeout(LONG, origin).await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn connections_over_tls_carry_one_request_after_another() {
    let authority = Authority::new();
    let origin = SecureOrigin::start(&authority.sign("localhost"), &["http/1.1"], None).await;
    let configuration = secure(origin.address.port(), Protocol::H1, believing(&authority));
    let shop = Shop::serve(1, 0, &configuration, ClientTimeouts::default());
    for _ in 0..5 {
        assert_eq!(status(&get(shop.address()).await), 200);
    }
    assert_eq!((origin.requests(), origin.connections()), (5, 1));
}

#[tokio::test]
async fn a_body_in_chunks_reaches_the_endpoint_as_it_comes() {
    let origin = RawOrigin::start(vec![RawAnswer::new(GOOD), RawAnswer::new(GOOD)]).await.unwrap();
    let shop = Shop::open_on(1, &[origin.address()], &[nobody()]);
    let head = "POST / HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n";
    for (piece, last) in [("hello", ""), ("world", "connection: close\r\n")] {
        let mut client = TcpStream::connect(shop.address()).await.unwrap();
        let head = head.replace("host", &format!("{last}host"));
        client.write_all(format!("{head}5\r\n{piece}\r\n").as_bytes()).await.unwrap();
        let has = |connection: &loadtest::RawConnection| {
            String::from_utf8_lossy(&connection.received).contains(&format!("5\r\n{piece}\r\n"))
        };
        origin.until(LONG, |all| all.iter().any(has)).await.expect("the piece, before the end of the body");
        client.write_all(b"0\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok") {
            assert_ne!(timeout(LONG, client.read_buf(&mut answer)).await.unwrap().unwrap(), 0);
        }
        // The client has its answer before the connection waits for the next request.
        shop.idle("v1").await;
    }
    // They are counted a moment after they are answered.
    let connections = origin.until(LONG, |all| all.iter().any(|connection| connection.requests > 1)).await.unwrap();
    assert_eq!((connections.len(), connections[0].requests, connections[0].malformed), (1, 2, false));
}

/// Something like a response: pieces of heads, bodies and chunks, and noise.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"HTTP/1.0 404 \r\n".to_vec()),
        Just(b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n".to_vec()),
        Just(b"content-length: 3\r\n".to_vec()),
        Just(b"transfer-encoding: chunked\r\n".to_vec()),
        Just(b"connection: keep-alive\r\n".to_vec()),
        Just(b"x: y\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"3\r\nabc\r\n".to_vec()),
        Just(b"0\r\n\r\n".to_vec()),
        Just(b"abc".to_vec()),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// Whatever an endpoint says, its client gets an answer or an end, and the next request is served.
#[test]
fn random_bytes_for_a_response_never_kill_a_worker() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut cases = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let outcome = cases.run(&noise(), |bytes| {
        runtime.block_on(async {
            let then_good = RawAnswer::new(GOOD);
            let first = RawAnswer { then: Then::Close, ..RawAnswer::new(bytes.clone()) };
            let origin = RawOrigin::start(vec![first, then_good.clone(), then_good]).await.unwrap();
            let shop = Shop::open_on(1, &[origin.address()], &[nobody()]);
            get(shop.address()).await;
            let next = get(shop.address()).await;
            prop_assert!(next.starts_with("HTTP/1.1 200") && next.ends_with("ok"), "{bytes:?}: {next}");
            shop.tally_until("v1", |tally| tally.requests() == 2).await;
            Ok(())
        })
    });
    outcome.unwrap();
}
