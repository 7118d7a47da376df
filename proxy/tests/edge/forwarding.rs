//! What an origin is told of a client, over HTTP/1.1 and HTTP/2, and what ends at this hop.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use loadtest::{Origin, OriginOptions, RawAnswer, RawOrigin};

use crate::fixture::{LONG, Shop, exchange, http2, nobody, status};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

async fn origin() -> Origin {
    Origin::start("v1", OriginOptions::default()).await.unwrap()
}

/// A shop that believes every hop on this machine.
fn trusting(origin: SocketAddr) -> Shop {
    Shop::under(&[origin], |rules| rules.trusted = vec!["127.0.0.0/8".parse().unwrap()])
}

/// What the origin saw of a request with these headers over HTTP/1.1.
async fn seen(shop: &Shop, headers: &str) -> Vec<String> {
    let request = format!("GET /headers HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n{headers}\r\n");
    let answer = exchange(shop.address(), request.as_bytes()).await;
    assert_eq!(status(&answer), 200, "{answer}");
    fields(&answer)
}

/// The fields of a head that the origin sent back as text, sorted.
fn fields(text: &str) -> Vec<String> {
    let (_, body) = text.rsplit_once("GET ").unwrap();
    let mut fields: Vec<_> = body.lines().skip(1).map(str::to_owned).collect();
    fields.sort();
    fields
}

/// The value of one field; fails where there are several.
fn value<'a>(fields: &'a [String], name: &str) -> Option<&'a str> {
    let mut found = fields.iter().filter_map(|field| field.strip_prefix(name)?.strip_prefix(": "));
    let first = found.next();
    assert_eq!(found.next(), None, "{name} is there twice: {fields:?}");
    first
}

const LIES: &str = "X-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2\r\nForwarded: for=3.3.3.3;proto=https\r\n\
                    X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Prefix: /admin\r\n\
                    X-Real-IP: 4.4.4.4\r\n";

#[tokio::test]
async fn a_stranger_over_http_1_1_is_told_of_as_it_is() {
    let origin = origin().await;
    let shop = Shop::open(&[origin.address()], &[nobody()], 0);
    let fields = seen(&shop, LIES).await;
    assert_eq!(value(&fields, "x-forwarded-for"), Some("127.0.0.1"), "{fields:?}");
    assert_eq!(value(&fields, "x-forwarded-proto"), Some("http"));
    assert_eq!(value(&fields, "x-forwarded-host"), Some("shop.example"));
    assert_eq!(value(&fields, "x-forwarded-port"), Some("80"));
    assert_eq!(value(&fields, "forwarded"), Some(r#"for=127.0.0.1;host="shop.example";proto=http"#));
    assert_eq!((value(&fields, "x-forwarded-prefix"), value(&fields, "x-real-ip")), (None, None));
}

#[tokio::test]
async fn a_stranger_over_http_2_is_told_of_as_it_is() {
    let origin = origin().await;
    let shop = Shop::open(&[origin.address()], &[nobody()], 0);
    let mut client = http2(shop.address()).await;
    let request = Request::get("http://shop.example:8443/headers")
        .header("x-forwarded-for", "1.1.1.1")
        .header("forwarded", "for=1.1.1.1")
        .header("true-client-ip", "1.1.1.1")
        .header("te", "trailers")
        .body(Full::<Bytes>::default())
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let fields = fields(&String::from_utf8_lossy(&body));
    assert_eq!(value(&fields, "x-forwarded-for"), Some("127.0.0.1"), "{fields:?}");
    assert_eq!(value(&fields, "x-forwarded-host"), Some("shop.example:8443"));
    assert_eq!(value(&fields, "x-forwarded-port"), Some("8443"));
    assert_eq!(value(&fields, "forwarded"), Some(r#"for=127.0.0.1;host="shop.example:8443";proto=http"#));
    assert_eq!((value(&fields, "true-client-ip"), value(&fields, "te")), (None, None));
}

#[tokio::test]
async fn what_a_stranger_claims_leads_nowhere() {
    let origin = origin().await;
    let more = "    headers: { x-real-ip: 10.0.0.1 }\n";
    let stranger = Shop::with(&[origin.address()], more, |_| {});
    let believed = Shop::with(&[origin.address()], more, |rules| rules.trusted = vec!["127.0.0.0/8".parse().unwrap()]);
    let request = b"GET /headers HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\nX-Real-IP: 10.0.0.1\r\n\r\n";
    assert_eq!(status(&exchange(stranger.address(), request).await), 404);
    assert_eq!(status(&exchange(believed.address(), request).await), 200);
}

#[tokio::test]
async fn a_trusted_hop_is_believed() {
    let origin = origin().await;
    let shop = trusting(origin.address());
    let fields = seen(&shop, "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n").await;
    assert_eq!(value(&fields, "x-forwarded-for"), Some("203.0.113.9, 127.0.0.1"), "{fields:?}");
    assert_eq!(value(&fields, "x-forwarded-proto"), Some("https"));
    assert_eq!(value(&fields, "x-forwarded-port"), Some("443"));
    assert_eq!(
        value(&fields, "forwarded"),
        Some(r#"for=203.0.113.9;proto=https, for=127.0.0.1;host="shop.example";proto=http"#)
    );
}

#[tokio::test]
async fn a_quote_that_a_trusted_hop_did_not_close_takes_nothing_of_ours_into_it() {
    let origin = origin().await;
    let shop = trusting(origin.address());
    let fields = seen(&shop, "Forwarded: for=203.0.113.9, for=\"1.1.1.1\r\n").await;
    let told = Some(r#"for=unknown, for=127.0.0.1;host="shop.example";proto=http"#);
    assert_eq!((value(&fields, "forwarded"), value(&fields, "x-forwarded-for")), (told, Some("unknown, 127.0.0.1")));
}

#[tokio::test]
async fn what_connection_names_does_not_reach_the_origin_but_for_what_it_relies_on() {
    let origin = origin().await;
    let shop = Shop::open(&[origin.address()], &[nobody()], 0);
    let hostile = "Connection: x-mine, Host, X-Forwarded-For, Authorization, a, b, c, d, e, f, g, h\r\nX-Mine: 1\r\n\
                   Authorization: Bearer x\r\nKeep-Alive: timeout=9\r\nProxy-Authorization: Basic x\r\nTE: trailers\r\n";
    let fields = seen(&shop, hostile).await;
    assert_eq!(value(&fields, "authorization"), Some("Bearer x"), "{fields:?}");
    assert_eq!(value(&fields, "host"), Some("shop.example"));
    assert_eq!(value(&fields, "x-forwarded-for"), Some("127.0.0.1"));
    for gone in ["x-mine", "connection", "keep-alive", "proxy-authorization", "te"] {
        assert_eq!(value(&fields, gone), None, "{gone}: {fields:?}");
    }
}

#[tokio::test]
async fn what_an_origin_says_to_this_hop_does_not_reach_the_client() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: keep-alive, x-internal, content-length\r\nKeep-Alive: timeout=5\r\n\
                  Proxy-Authenticate: Basic\r\nX-Internal: 1\r\nX-Public: 1\r\nContent-Length: 2\r\n\r\nok";
    let origin = RawOrigin::start(vec![RawAnswer::new(answer)]).await.unwrap();
    let shop = Shop::open(&[origin.address()], &[nobody()], 0);
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = exchange(shop.address(), request).await.to_lowercase();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!((status(&answer), body), (200, "ok"), "{answer}");
    assert!(head.contains("x-public: 1") && head.contains("content-length: 2"), "{answer}");
    for gone in ["x-internal", "keep-alive", "proxy-authenticate"] {
        assert!(!head.contains(gone), "{gone}: {answer}");
    }
}

#[tokio::test]
async fn a_web_socket_s_upgrade_reaches_the_origin_and_its_answer_the_client() {
    let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Accept: x\r\n\r\n";
    let origin = RawOrigin::start(vec![RawAnswer::new(switched)]).await.unwrap();
    let shop = Shop::open(&[origin.address()], &[nobody()], 0);
    let request = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade, x-mine\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nX-Mine: 1\r\n\r\n";
    let mut client = tokio::net::TcpStream::connect(shop.address()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut client, request).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let read = tokio::io::AsyncReadExt::read_buf(&mut client, &mut answer);
        assert!(tokio::time::timeout(LONG, read).await.unwrap().unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
    }
    let answer = String::from_utf8(answer).unwrap().to_lowercase();
    assert_eq!(status(&answer), 101, "{answer}");
    assert!(answer.contains("connection: upgrade") && answer.contains("upgrade: websocket"), "{answer}");
    let asked = String::from_utf8_lossy(&origin.connections()[0].received).to_lowercase();
    assert!(asked.contains("connection: upgrade\r\n") && asked.contains("upgrade: websocket\r\n"), "{asked}");
    assert!(!asked.contains("x-mine"), "{asked}");
}

#[tokio::test]
async fn a_trace_is_passed_on_or_begun() {
    let origin = origin().await;
    let shop = Shop::open(&[origin.address()], &[nobody()], 0);
    let fields = seen(&shop, &format!("traceparent: {TRACE}\r\ntracestate: a=1\r\n")).await;
    assert_eq!((value(&fields, "traceparent"), value(&fields, "tracestate")), (Some(TRACE), Some("a=1")));
    let fields = seen(&shop, "traceparent: nonsense\r\ntracestate: a=1\r\n").await;
    let begun = value(&fields, "traceparent").unwrap();
    assert!(begun.len() == TRACE.len() && begun.starts_with("00-") && begun.ends_with("-00"), "{begun}");
    assert_eq!(value(&fields, "tracestate"), None);
}

#[tokio::test]
async fn the_certificate_that_a_client_says_it_has_is_heard_of_a_trusted_hop_alone() {
    let origin = origin().await;
    let said = "Client-Cert: :MIIB:\r\nClient-Cert-Chain: :MIIC:\r\n";
    let untrusted = seen(&Shop::under(&[origin.address()], |_| {}), said).await;
    let names = ["client-cert", "client-cert-chain"];
    assert_eq!(names.map(|name| value(&untrusted, name)), [None, None], "{untrusted:?}");
    let believed = seen(&trusting(origin.address()), said).await;
    assert_eq!(names.map(|name| value(&believed, name)), [Some(":MIIB:"), Some(":MIIC:")], "{believed:?}");
}

#[tokio::test]
async fn what_is_asked_of_the_server_as_a_whole_leads_where_its_root_does() {
    let origin = RawOrigin::start(vec![RawAnswer::new("HTTP/1.1 204 No Content\r\nallow: GET\r\n\r\n")]).await.unwrap();
    let shop = Shop::under(&[origin.address()], |_| {});
    let answer = exchange(shop.address(), b"OPTIONS * HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").await;
    assert_eq!(status(&answer), 204, "{answer}");
    let seen = origin.until(LONG, |seen| seen.first().is_some_and(|c| c.requests == 1)).await.unwrap();
    let received = String::from_utf8_lossy(&seen[0].received);
    assert!(received.starts_with("OPTIONS * HTTP/1.1\r\n"), "{received}");
}
