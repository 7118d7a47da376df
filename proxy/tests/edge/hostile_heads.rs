//! Clients that attack with the head of a request, over a raw socket: each is refused with the right status, its
//! connection is closed, it is counted, the origin sees nothing of it, and the next client is served.

use std::net::SocketAddr;

use config::{Bytes, Handling};
use loadtest::{Origin, OriginOptions, RawAnswer, RawOrigin};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{LONG, Shop, exchange, get, http2, nobody, status};

async fn origin() -> Origin {
    Origin::start("v1", OriginOptions::default()).await.unwrap()
}

/// Attacks one by one. `exchange` returns when the other side has closed the connection.
async fn are_refused(shop: &Shop, origin: &Origin, attacks: &[(&[u8], u16)]) {
    for (done, (bytes, wanted)) in attacks.iter().enumerate() {
        let answer = exchange(shop.address(), bytes).await;
        let attack = String::from_utf8_lossy(bytes);
        assert_eq!(status(&answer), *wanted, "{attack:?}: {answer}");
        let ends = answer.matches("\r\nconnection: close\r\n").count();
        assert_eq!(ends, 1, "{attack:?}: one answer, then the end: {answer}");
        shop.unmatched_until(done as u64 + 1).await;
    }
    assert_eq!(shop.unmatched(), attacks.len() as u64, "each is counted once");
    assert_eq!(origin.arrivals().requests, 0, "the origin sees nothing of it");
    assert_eq!(status(&get(shop.address()).await), 200, "the next client is served");
}

#[tokio::test]
async fn whatever_could_be_read_in_two_ways_is_refused() {
    let origin = origin().await;
    let shop = Shop::under(&[origin.address()], |_| {});
    let attacks: &[(&[u8], u16)] = &[
        // Where a request ends.
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5, 5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 18446744073709551621\r\n\r\nhello", 400),
        (b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\nx: y\r\n transfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        // Where a line ends.
        (b"GET / HTTP/1.1\nhost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: y\nz: w\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: y\rz: w\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\n\n", 400),
        (b"\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        // What a field is.
        (b"GET / HTTP/1.1\r\nhost: a\r\nx y: z\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\n: z\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx[]: z\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: \x1b[2J\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx\r\n\r\n", 400),
        // Whose request it is.
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a@b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\nhost: b\r\n\r\n", 400),
        (b"GET http://b@a/ HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (b"GET http:/\\a/ HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (b"GET //a b HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (b"GET a:80 HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (b"CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n", 405),
        // What is spoken.
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.2\r\nhost: a\r\n\r\n", 505),
        (b"GET / HTTP/2.0\r\nhost: a\r\n\r\n", 505),
        (b"GET / HTTP/3.0\r\nhost: a\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /\0 HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (b"GET /#x HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    ];
    are_refused(&shop, &origin, attacks).await;
}

#[tokio::test]
async fn the_limits_of_a_head_are_those_that_are_set() {
    let origin = origin().await;
    let shop = Shop::under(&[origin.address()], |rules| {
        rules.limits.request_line = Bytes::kib(1);
        rules.limits.head = Bytes::kib(2);
        rules.limits.headers = 10;
    });
    let line = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(1024));
    let endless = format!("GET /{}", "x".repeat(100_000));
    let fields = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(10));
    let large = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(2048));
    let unending = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(100_000));
    let attacks = [(&line, 414), (&endless, 414), (&fields, 431), (&large, 431), (&unending, 431)];
    let attacks: Vec<_> = attacks.iter().map(|(head, status)| (head.as_bytes(), *status)).collect();
    are_refused(&shop, &origin, &attacks).await;
    let fits = format!("GET /{} HTTP/1.0\r\nhost: a\r\n{}\r\n", "x".repeat(1000), "x: y\r\n".repeat(9));
    assert_eq!(status(&exchange(shop.address(), fits.as_bytes()).await), 200);
}

/// Requests that are well formed and go too far: answered, and counted, and framing is not in doubt.
#[tokio::test]
async fn paths_and_names_that_could_be_taken_for_others_are_refused_in_both_protocols() {
    let origin = origin().await;
    let shop = Shop::under(&[origin.address()], |_| {});
    let mut count = 0;
    let attacks = [
        ("/..", ""),
        ("/a/../../b", ""),
        ("/%2e%2e/b", ""),
        ("/a/..;/b", ""),
        ("/a%00", ""),
        ("/a%2Fb", ""),
        ("/a%5cb", ""),
        ("/", "a_b"),
    ];
    for (path, name) in attacks {
        let field = if name.is_empty() { String::new() } else { format!("{name}: x\r\n") };
        let request = format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n{field}\r\n");
        assert_eq!(status(&exchange(shop.address(), request.as_bytes()).await), 400, "{request}");
        let mut request = hyper::Request::get(format!("http://shop{path}"));
        if !name.is_empty() {
            request = request.header(name, "x");
        }
        let request = request.body(http_body_util::Full::default()).unwrap();
        assert_eq!(http2(shop.address()).await.send_request(request).await.unwrap().status(), 400, "{path} {name}");
        count += 2;
        shop.unmatched_until(count).await;
    }
    assert_eq!(origin.arrivals().requests, 0);
    assert_eq!(status(&get(shop.address()).await), 200);
}

#[tokio::test]
async fn what_may_be_passed_is_passed_as_it_is_and_what_is_plain_is_made_so() {
    let origin = RawOrigin::start(vec![RawAnswer::new("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]).await.unwrap();
    let shop = Shop::under(&[origin.address()], |rules| {
        rules.requests.underscores = Handling::Pass;
        rules.requests.encoded_slashes = Handling::Pass;
    });
    for (target, seen) in [
        ("/a%2fb\\c", "GET /a%2Fb\\c HTTP/1.1\r\n"),
        ("/a/./b/../c//d?e=/../f", "GET /a/c//d?e=/../f HTTP/1.1\r\n"),
        ("http://shop/g/../h", "GET /h HTTP/1.1\r\n"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: shop\r\nmy_name: x\r\nconnection: close\r\n\r\n");
        assert_eq!(status(&exchange(shop.address(), request.as_bytes()).await), 200, "{target}");
        let received: Vec<u8> =
            origin.connections().iter().flat_map(|connection| connection.received.clone()).collect();
        let received = String::from_utf8(received).unwrap();
        assert!(received.contains(seen) && received.contains("my_name: x"), "{target}: {received}");
    }
}

#[tokio::test]
async fn requests_sent_ahead_are_served_in_turn_and_a_fault_ends_the_row() {
    let origin = origin().await;
    let shop = Shop::under(&[origin.address()], |_| {});
    let row = b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nfirst\
        \r\nPOST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n6\r\nsecond\r\n0\r\n\r\n\
        GET / HTTP/1.1\r\nhost: a\r\n\r\n\
        GET / HTTP/1.1\r\nhost : a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let answer = exchange(shop.address(), row).await;
    let statuses: Vec<_> = answer.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "200", "200", "400"], "{answer}");
    assert_eq!(origin.arrivals().requests, 3);
    assert_eq!(shop.unmatched(), 1);
}

/// A smuggler's second request, hidden in the body of the first, never reaches the origin as one.
#[tokio::test]
async fn a_request_in_a_body_stays_a_body() {
    let origin = RawOrigin::start(vec![RawAnswer::new("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]).await.unwrap();
    let shop = Shop::under(&[origin.address()], |_| {});
    let hidden = "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";
    for framing in [
        format!("content-length: {}\r\n\r\n{hidden}", hidden.len()),
        format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len()),
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{framing}");
        assert_eq!(status(&exchange(shop.address(), request.as_bytes()).await), 200);
    }
    let seen = origin.until(LONG, |seen| seen.iter().map(|c| c.requests).sum::<usize>() == 2).await.unwrap();
    assert!(seen.iter().all(|connection| !connection.malformed), "{seen:?}");
}

async fn send_and_leave(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The proxy may have closed already.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut Vec::new())).await.expect("the connection ends");
}

/// A valid request of either protocol with a few bytes changed, or bytes of any kind.
fn anything() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop::sample::select(vec![
        &b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n"[..],
        b"POST /echo HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nhost: shop\r\ncontent-length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nhost: shop\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\nxx",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x05\x01\x05\0\0\0\x01\x82\x84\x86\x41\0\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08",
    ]);
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let changed = (whole, changes).prop_map(|(whole, changes)| {
        let mut bytes = whole.to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    });
    prop_oneof![changed, prop::collection::vec(any::<u8>(), 0..300)]
}

#[test]
fn no_bytes_on_a_socket_kill_a_worker() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (shop, _origin) = runtime.block_on(async {
        let origin = origin().await;
        // A hanging body or head is cut soon.
        let shop = Shop::under(&[origin.address()], |rules| {
            rules.timeouts.body = std::time::Duration::from_millis(50);
            rules.timeouts.head = std::time::Duration::from_millis(50);
        });
        (shop, origin)
    });
    let mut runner = TestRunner::new(ProptestConfig { cases: 300, ..ProptestConfig::default() });
    runner
        .run(&anything(), |bytes| {
            runtime.block_on(send_and_leave(shop.address(), &bytes));
            prop_assert_eq!(status(&runtime.block_on(get(shop.address()))), 200, "the next client is served");
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn nobody_to_serve_is_no_excuse() {
    // A refusal needs no endpoint.
    let shop = Shop::under(&[nobody()], |_| {});
    assert_eq!(status(&exchange(shop.address(), b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n").await), 400);
}
