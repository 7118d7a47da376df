//! Origins that answer what a client could misread: a protocol error of the version, and a connection that is not used
//! again. What is malformed in its bytes is the subject of `hostile_answers.rs`.

use std::time::Duration;

use bytes::Bytes;
use config::Protocol;
use http_body_util::{BodyExt, Full};
use hyper::HeaderMap;
use loadtest::{RawAnswer, RawOrigin, Then};
use meter::Class;
use proxy::client_stream::ClientTimeouts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{LONG, Shop, configuration, exchange, get, http2, judged, nobody, status};
use crate::http2::http2_server;
use crate::ways::Way;

const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Answers so, and then well. One core, so that a connection that is kept would be used again.
async fn answering(bytes: &str) -> (Shop, RawOrigin) {
    let origin = RawOrigin::start(vec![RawAnswer::new(bytes.to_owned()), RawAnswer::new(GOOD)]).await.unwrap();
    (Shop::open_on(1, &[origin.address()], &[nobody()]), origin)
}

#[tokio::test]
async fn what_a_client_could_misread_is_a_protocol_error_of_the_version() {
    let many = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "x: y\r\n".repeat(100));
    let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(40_000));
    let flood = format!("{}{GOOD}", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(17));
    let attacks: [&str; 20] = [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, identity\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx y: z\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: \0\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: \x1b[2J\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 099 What\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 600 What\r\ncontent-length: 0\r\n\r\n",
        "HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        "200 OK\r\n\r\n",
        &many,
        &large,
        &flood,
    ];
    for attack in attacks {
        let shown = &attack[..attack.len().min(120)];
        for way in Way::ALL {
            let (shop, origin) = answering(attack).await;
            let answer = way.get(shop.address()).await;
            assert_eq!(answer.status, 502, "{way:?} {shown:?}: {answer:?}");
            let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
            assert_eq!((judged(&tally, Class::ProtocolError), tally.bad()), (1, 1), "{way:?} {shown:?}: {tally:?}");
            assert_eq!(way.get(shop.address()).await.status, 200, "{way:?} {shown:?}");
            assert_eq!(origin.connections().len(), 2, "{way:?} {shown:?}: the connection is not used again");
        }
    }
}

/// Each line of the table "What endpoints send" of docs/hardening.md: what an endpoint sends before it closes, what the
/// client gets, and what it is counted as.
#[tokio::test]
async fn what_endpoints_send_is_answered_and_counted_as_documented() {
    let wide = format!("HTTP/1.1 200 OK\r\n{}content-length: 2\r\n\r\nok", "x: y\r\n".repeat(1_000));
    let long = |size| format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 2\r\n\r\nok", "y".repeat(size));
    let (large, huge) = (long(65_000), long(2_000_000));
    let cases: [(&str, u16, Class); 32] = [
        ("HTTP/1.1 000 What\r\ncontent-length: 2\r\n\r\nok", 502, Class::ProtocolError),
        ("HTTP/1.1 099 What\r\ncontent-length: 2\r\n\r\nok", 502, Class::ProtocolError),
        ("HTTP/1.1 600 What\r\ncontent-length: 2\r\n\r\nok", 502, Class::ProtocolError),
        ("HTTP/1.1 999 What\r\ncontent-length: 2\r\n\r\nok", 502, Class::ProtocolError),
        ("HTTP/1.1 1000 What\r\ncontent-length: 2\r\n\r\nok", 502, Class::ProtocolError),
        ("HTTP/1.1 20 What\r\ncontent-length: 2\r\n\r\nok", 502, Class::ProtocolError),
        ("HTTP/1.1 +20 What\r\ncontent-length: 2\r\n\r\nok", 502, Class::ProtocolError),
        ("HTTP/1.1 599 What\r\ncontent-length: 2\r\n\r\nok", 599, Class::ServerError),
        ("HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nok", 200, Class::Success),
        ("HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", 200, Class::Success),
        ("HTTP/1.1 200 O\0K\r\ncontent-length: 2\r\n\r\nok", 502, Class::ProtocolError),
        ("HTTP/1.1 200 O\x01K\r\ncontent-length: 2\r\n\r\nok", 502, Class::ProtocolError),
        ("HTTP/3.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 502, Class::ProtocolError),
        ("SSH-2.0-OpenSSH_9.9\r\n", 502, Class::ProtocolError),
        ("HTTP/1.1 200 OK\r\nnothing\r\ncontent-length: 2\r\n\r\nok", 502, Class::ProtocolError),
        ("HTTP/1.1 200 OK\r\n: value\r\ncontent-length: 2\r\n\r\nok", 502, Class::ProtocolError),
        ("HTTP/1.1 200 OK\r\nx y: z\r\ncontent-length: 2\r\n\r\nok", 502, Class::ProtocolError),
        ("HTTP/1.1 200 OK\r\n x: z\r\ncontent-length: 2\r\n\r\nok", 502, Class::ProtocolError),
        ("HTTP/1.1 200 OK\r\nx\0: z\r\ncontent-length: 2\r\n\r\nok", 502, Class::ProtocolError),
        ("HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 2\r\n\r\nok", 502, Class::ProtocolError),
        ("HTTP/1.1 200 OK\r\nx: a\rb\r\ncontent-length: 2\r\n\r\nok", 502, Class::ProtocolError),
        ("HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok", 502, Class::ProtocolError),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0x2\r\n\r\nok", 502, Class::ProtocolError),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\nok", 502, Class::ProtocolError),
        ("HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\nok", 502, Class::ProtocolError),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nContent-Length: 2\r\n\r\nok", 502, Class::ProtocolError),
        (&wide, 502, Class::ProtocolError),
        (&large, 502, Class::ProtocolError),
        (&huge, 502, Class::ProtocolError),
        ("HTTP/1.1 200 OK\r\ncontent-len", 502, Class::Reset),
        ("", 502, Class::Reset),
        ("HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nok", 200, Class::Reset),
    ];
    for (attack, wanted, class) in cases {
        let shown = &attack[..attack.len().min(80)];
        let last = RawAnswer { then: Then::Close, ..RawAnswer::new(attack.to_owned()) };
        let origin = RawOrigin::start(vec![last]).await.unwrap();
        for way in Way::ALL {
            let shop = Shop::open_on(1, &[origin.address()], &[nobody()]);
            let answer = way.get(shop.address()).await;
            assert_eq!(answer.status, wanted, "{way:?} {shown:?}: {answer:?}");
            let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
            assert_eq!(judged(&tally, class), 1, "{way:?} {shown:?}: {:?}", tally.judged);
        }
    }
}

#[tokio::test]
async fn bytes_beyond_a_response_are_nobodys_response() {
    let attacks = [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\npoisoned",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more",
        "HTTP/1.1 204 No Content\r\n\r\npoisoned",
        "HTTP/1.1 304 Not Modified\r\n\r\npoisoned",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\npoisoned",
    ];
    for attack in attacks {
        for way in Way::ALL {
            let (shop, origin) = answering(attack).await;
            let first = way.get(shop.address()).await;
            assert!(first.is_whole && [&b"ok"[..], b""].contains(&&*first.body), "{way:?} {attack:?}: {first:?}");
            let second = way.get(shop.address()).await;
            assert_eq!((second.status, &*second.body), (200, &b"ok"[..]), "{way:?} {attack:?}: {second:?}");
            origin.until(LONG, |all| all.len() == 2).await.expect(attack);
        }
    }
}

#[tokio::test]
async fn a_body_that_is_cut_or_badly_chunked_does_not_pass_for_a_whole_one() {
    for attack in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nx\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokXX0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nok\r\n0\r\n\r\n",
    ] {
        let (shop, _origin) = answering(attack).await;
        let answer = get(shop.address()).await;
        assert!(!answer.ends_with("0\r\n\r\n"), "{attack:?}: {answer}");
        let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
        assert_eq!(tally.bad(), 1, "{attack:?}: {tally:?}");
        assert_eq!(status(&get(shop.address()).await), 200);
    }
}

/// What a client gets that asks in this version of HTTP, as text in lower case.
async fn asked(shop: &Shop, version: &str) -> String {
    let request = format!("GET / HTTP/{version}\r\nhost: shop\r\nconnection: close\r\n\r\n");
    exchange(shop.address(), request.as_bytes()).await.to_lowercase()
}

#[tokio::test]
async fn what_frames_a_body_is_not_said_where_there_is_none() {
    for (attack, head, gone) in [
        ("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello", "204 no content", &["content-length"][..]),
        (
            "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "204 no content",
            &["transfer-encoding", "content-length"],
        ),
        ("HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", "304 not modified", &["transfer-encoding"]),
        (
            "HTTP/1.1 103 Early Hints\r\ncontent-length: 7\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            "103 early hints",
            &["content-length"],
        ),
        (
            "HTTP/1.1 103 Early Hints\r\ntransfer-encoding: chunked\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            "103 early hints",
            &["transfer-encoding"],
        ),
    ] {
        let (shop, _origin) = answering(attack).await;
        let answer = asked(&shop, "1.1").await;
        let (first, rest) = answer.split_once("\r\n\r\n").unwrap();
        assert!(first.starts_with(&format!("http/1.1 {head}")), "{attack:?}: {answer:?}");
        assert!(gone.iter().all(|gone| !first.contains(gone)), "{attack:?}: {answer:?}");
        assert!(rest.is_empty() || rest.ends_with("\r\n\r\nok"), "{attack:?}: {answer:?}");
        let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
        assert_eq!(tally.bad(), 0, "{attack:?}: {tally:?}");
    }
    // How long the body would be is worth saying.
    let (shop, _origin) = answering("HTTP/1.1 304 Not Modified\r\ncontent-length: 100\r\n\r\n").await;
    assert!(asked(&shop, "1.1").await.contains("content-length: 100"));
}

#[tokio::test]
async fn an_endpoint_cannot_speak_in_our_name() {
    let said = "tidegate-version: evil\r\ntidegate-secret: z\r\nTidegate-Anything: z\r\nconnection: x-hop\r\nx-hop: z\r\nkeep-alive: 3\r\n";
    let attack = format!(
        "HTTP/1.1 103 Early Hints\r\n{said}link: </a>\r\n\r\nHTTP/1.1 200 OK\r\n{said}content-length: 2\r\n\r\nok"
    );
    let times = (config::Timeouts::default(), ClientTimeouts::default());
    for (more, own) in [("", "tidegate-version: v1\r\n"), ("    version_header: false", "")] {
        let origin = RawOrigin::start(vec![RawAnswer::new(attack.clone())]).await.unwrap();
        let shop = Shop::open_with(&[origin.address()], &[nobody()], 0, more, times.0, times.1);
        let answer = asked(&shop, "1.1").await;
        let (early, late) = answer.split_once("\r\n\r\n").unwrap();
        assert!(early.starts_with("http/1.1 103") && early.contains("link: </a>"), "{answer}");
        assert!(!early.contains("tidegate"), "{answer}");
        assert_eq!(late.matches("tidegate").count(), usize::from(!own.is_empty()), "{answer}");
        assert!(late.contains(own) && late.ends_with("ok"), "{answer}");
        assert!(!answer.contains("x-hop") && !answer.contains("keep-alive"), "{answer}");
    }
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_the_response_and_no_informational_one() {
    let attack =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let origin = RawOrigin::start(vec![RawAnswer::new(attack)]).await.unwrap();
    let shop = Shop::open_on(1, &[origin.address()], &[nobody()]);
    let request = b"POST / HTTP/1.0\r\nhost: shop\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nhi";
    let answer = exchange(shop.address(), request).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.").count(), 1, "{answer}");
    let received = String::from_utf8_lossy(&origin.connections()[0].received).to_lowercase();
    assert!(!received.contains("expect"), "{received}");
    assert_eq!(asked(&shop, "1.1").await.matches("http/1.1 ").count(), 3);
}

#[tokio::test]
async fn an_endpoint_that_waits_for_the_body_without_saying_so_gets_it() {
    // Its answer comes after the body, and nothing before that.
    let origin = RawOrigin::start(vec![RawAnswer::new(GOOD)]).await.unwrap();
    let shop = Shop::open_on(1, &[origin.address()], &[nobody()]);
    let mut stream = TcpStream::connect(shop.address()).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut told = [0; 25];
    tokio::time::timeout(LONG, stream.read_exact(&mut told)).await.unwrap().unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hi").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(LONG, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&tally, Class::Success), tally.bad()), (1, 0), "{tally:?}");
}

#[tokio::test]
async fn a_client_that_was_told_to_go_on_and_does_not_is_no_fault_of_the_version() {
    let silent = RawOrigin::start(vec![]).await.unwrap();
    let short = Duration::from_millis(200);
    let shop = Shop::under(&[silent.address()], |rules| {
        rules.timeouts = config::Timeouts { first_byte: short, body: short, ..rules.timeouts };
    });
    let head = b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n\r\n";
    let answer = exchange(shop.address(), head).await;
    assert!(answer.starts_with("HTTP/1.1 100 ") && answer.contains("HTTP/1.1 408 "), "{answer}");
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&tally, Class::ClientAbort), tally.bad()), (1, 0), "{tally:?}");
}

#[tokio::test]
async fn content_over_http2_where_there_is_none_is_a_protocol_error() {
    let v1 = http2_server(|mut connection, _| async move {
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let status: u16 = request.uri().path()[1..].parse().unwrap();
            let head = hyper::Response::builder().status(status).body(()).unwrap();
            let mut body = respond.send_response(head, false).unwrap();
            // Pieces without a byte, and an end that comes later, are no content.
            body.send_data(Bytes::new(), false).unwrap();
            let said = if request.uri().query().is_some() { "surplus" } else { "" };
            body.send_data(Bytes::from_static(said.as_bytes()), true).unwrap();
        }
    })
    .await;
    let mut configuration = configuration(&[v1], &[nobody()], "");
    configuration.services[0].versions[0].protocol = Protocol::H2c;
    for (method, path, is_sound) in [
        ("GET", "/204", true),
        ("GET", "/304", true),
        ("HEAD", "/200", true),
        ("GET", "/200?", true),
        ("GET", "/204?", false),
        ("DELETE", "/204?", false),
        ("GET", "/304?", false),
        ("HEAD", "/200?", false),
    ] {
        let shop = Shop::serve(1, 0, &configuration, ClientTimeouts::default());
        let mut client = http2(shop.address()).await;
        let request = hyper::Request::builder().method(method).uri(format!("http://shop{path}"));
        let answer = client.send_request(request.body(Full::<Bytes>::default()).unwrap()).await;
        let is_whole = match answer {
            Ok(response) if response.status() == 502 => false,
            Ok(response) => response.into_body().collect().await.is_ok(),
            Err(_) => false,
        };
        assert_eq!(is_whole, is_sound, "{method} {path}");
        let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
        let failures = (judged(&tally, Class::ProtocolError), tally.bad());
        assert_eq!(failures, if is_sound { (0, 0) } else { (1, 1) }, "{method} {path}: {tally:?}");
        // The next one is served as if nothing had been.
        let request = hyper::Request::get("http://shop/200").body(Full::<Bytes>::default()).unwrap();
        assert_eq!(client.send_request(request).await.unwrap().status(), 200, "{method} {path}");
    }
}

/// A shop of an endpoint that speaks h2c and ends its responses with these trailers, and what a client finds in them.
async fn trailing(trailers: &'static [(&'static str, &'static str)], times: usize) -> (Shop, Option<HeaderMap>) {
    let v1 = http2_server(move |mut connection, _| async move {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut body = respond.send_response(hyper::Response::new(()), false).unwrap();
            body.send_data(Bytes::from_static(b"ok"), false).unwrap();
            let mut fields = HeaderMap::new();
            for (name, value) in trailers.iter().cycle().take(trailers.len() * times) {
                fields.append(*name, value.parse().unwrap());
            }
            body.send_trailers(fields).unwrap();
        }
    })
    .await;
    let mut configuration = configuration(&[v1], &[nobody()], "");
    configuration.services[0].versions[0].protocol = Protocol::H2c;
    let shop = Shop::serve(1, 0, &configuration, ClientTimeouts::default());
    let mut client = http2(shop.address()).await;
    let request = hyper::Request::get("http://shop/").body(Full::<Bytes>::default()).unwrap();
    let response = client.send_request(request).await.unwrap();
    let trailers = response.into_body().collect().await.ok().and_then(|body| body.trailers().cloned());
    (shop, trailers)
}

#[tokio::test]
async fn trailers_of_an_endpoint_say_what_trailers_may() {
    let (shop, trailers) = trailing(
        &[
            ("checksum", "1"),
            ("content-length", "7"),
            ("content-type", "text/html"),
            ("trailer", "x"),
            ("proxy-authenticate", "Basic"),
            ("set-cookie", "a=b"),
            ("tidegate-version", "evil"),
        ],
        1,
    )
    .await;
    let trailers = trailers.unwrap();
    assert_eq!((trailers.len(), trailers.get("checksum").unwrap().as_bytes()), (1, &b"1"[..]), "{trailers:?}");
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!(tally.bad(), 0, "{tally:?}");
}

#[tokio::test]
async fn too_many_or_too_large_trailers_are_a_protocol_error_and_reach_nobody() {
    const LARGE: &str = match std::str::from_utf8(&[b'y'; 9_000]) {
        Ok(text) => text,
        Err(_) => "",
    };
    for (one, times) in [(&[("x", "y")][..], 101), (&[("x", LARGE)], 4)] {
        let (shop, trailers) = trailing(one, times).await;
        assert_eq!(trailers, None, "{times}");
        let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
        assert_eq!((judged(&tally, Class::ProtocolError), tally.bad()), (1, 1), "{times}: {tally:?}");
    }
}
