//! Clients that attack with the streams of HTTP/2, in clear and over TLS: what HTTP/1.1 is refused for is refused here,
//! a stream that stands still is ended alone, and the next client is served.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use config::{Protocol, Rules};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use loadtest::{Behaviour, Origin, OriginOptions, RawAnswer, RawOrigin};
use meter::Class;

use crate::fixture::{LONG, Shop, configuration, get, http2, judged, nobody, origin_has, status};
use crate::http2::http2_origin;
use crate::raw_http2::*;
use crate::secure::{Secure, plain};

async fn origin() -> Origin {
    Origin::start("v1", OriginOptions::default()).await.unwrap()
}

/// A shop that is reached in clear and over TLS.
struct Both {
    shop: Shop,
    secure: Secure,
}

/// The two ways.
const WAYS: [&str; 2] = ["in clear", "over TLS"];

impl Both {
    fn open(v1: SocketAddr, change: impl FnOnce(&mut Rules)) -> Self {
        Self::speaking(Protocol::H1, v1, change)
    }

    /// The same with endpoints that speak this.
    fn speaking(protocol: Protocol, v1: SocketAddr, change: impl FnOnce(&mut Rules)) -> Self {
        let secure = Secure::new(None);
        let mut rules = Rules::default();
        change(&mut rules);
        let mut configuration = configuration(&[v1], &[nobody()], "");
        configuration.rules = rules.into();
        configuration.services[0].versions[0].protocol = protocol;
        Self { shop: Shop::serve_at(2, &[plain(), secure.listener.clone()], &configuration), secure }
    }

    async fn client(&self, way: &str) -> Raw {
        if way == WAYS[0] {
            Raw::connect(&self.shop).await
        } else {
            Raw::over(self.secure.connect(self.shop.data.addresses()[1], &["h2"]).await).await
        }
    }

    async fn next_is_served(&self) {
        assert_eq!(status(&get(self.shop.address()).await), 200, "the next client is served");
        for way in WAYS {
            let mut client = self.client(way).await;
            client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &request(&[]))).await;
            assert_eq!(client.next().await, Some(Seen::Response(1, 200)), "{way}");
        }
    }
}

fn head(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let begin = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "shop")];
    fields(&[&begin[..], more].concat())
}

#[tokio::test]
async fn a_target_that_http1_is_refused_for_is_refused_in_http2() {
    let origin = origin().await;
    let both = Both::open(origin.address(), |_| {});
    let long = format!("/{}", "x".repeat(8 * 1024 - "GET / HTTP/1.1".len() + 1));
    let method = "M".repeat(8 * 1024);
    let attacks = [
        ("GET", long.as_str(), 414),
        (&method, "/", 414),
        ("GET", "/a\"b", 400),
        ("GET", "/a<b", 400),
        ("GET", "/a>b", 400),
        ("GET", "/a`b", 400),
        ("GET", "/a\u{7f}b", 400),
        ("GET", "/é", 400),
        ("GET", "/?a=é", 400),
        ("GET", "/a b", 400),
        ("GET", "/a\0b", 400),
        ("GET", "/a\r\nb: c", 400),
        ("GET", "*", 400),
        ("GET", "a", 400),
        ("GET", "", 400),
        ("GET", "?x=1", 400),
        ("OPTIONS", "?x=1", 400),
        ("GET", "?", 400),
        ("GET", "http://shop/", 400),
        ("GET", "http://other/", 400),
        ("GET", "//../..", 400),
        ("GET", "/a/../../b", 400),
        ("GET", "/a/%2E%2e/%2e./b", 400),
        ("GET", "/a/..;/b", 400),
        ("GET", "/a%2fb", 400),
        ("GET", "/a/..%2fb", 400),
        ("GET", "/a\\b", 400),
        ("GET", "/a%00", 400),
        ("G ET", "/", 400),
        ("", "/", 400),
    ];
    for way in WAYS {
        for (method, path, wanted) in attacks {
            let mut client = both.client(way).await;
            client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &head(method, path, &[]))).await;
            let seen = client.next().await;
            // What h2 and pingora find themselves is a reset.
            let is_refused = matches!(seen, Some(Seen::Response(1, status)) if status == wanted)
                || (wanted == 400
                    && matches!(seen, Some(Seen::Reset(1, PROTOCOL_ERROR) | Seen::Goaway(PROTOCOL_ERROR))));
            assert!(is_refused, "{way}: {method:.9} {path:.20}: {seen:?}");
        }
    }
    assert_eq!(origin.arrivals().requests, 0);
    both.shop.unmatched_until(2 * attacks.len() as u64).await;
    both.next_is_served().await;
    assert_eq!(both.shop.unmatched(), 2 * attacks.len() as u64, "each is counted once");
}

#[tokio::test]
async fn a_path_of_http2_is_made_plain_before_it_is_passed_on() {
    let answer = RawAnswer::new("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let origin = RawOrigin::start(vec![answer]).await.unwrap();
    let both = Both::open(origin.address(), |_| {});
    for way in WAYS {
        let mut client = both.client(way).await;
        client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &head("GET", "/a/%2e%2e/./b//c?d=/../e", &[]))).await;
        assert_eq!(client.next().await, Some(Seen::Response(1, 200)), "{way}");
    }
    let seen = origin.until(LONG, |seen| seen.iter().map(|it| it.requests).sum::<usize>() == 2).await.unwrap();
    let received: Vec<u8> = seen.iter().flat_map(|connection| connection.received.clone()).collect();
    let received = String::from_utf8(received).unwrap();
    assert_eq!(received.matches("GET /b//c?d=/../e HTTP/1.1\r\n").count(), 2, "{received}");
}

#[tokio::test]
async fn a_tunnel_by_connect_is_refused_in_our_own_words_and_counted() {
    let origin = origin().await;
    let both = Both::open(origin.address(), |_| {});
    let connect = Request::builder().method(Method::CONNECT).uri("shop:443").body(Full::<Bytes>::default()).unwrap();
    let response = http2(both.shop.address()).await.send_request(connect).await.unwrap();
    let (head, body) = response.into_parts();
    assert_eq!(head.status, 405);
    assert!(!head.headers.contains_key("server"), "{head:?}");
    let body = body.collect().await.unwrap().to_bytes();
    assert_eq!(body, "405: tunnels by CONNECT are not offered here\n");
    both.shop.unmatched_until(1).await;
    for way in WAYS {
        let mut client = both.client(way).await;
        let connect = fields(&[(":method", "CONNECT"), (":authority", "shop:443")]);
        client.send(&frame(HEADERS, END_HEADERS, 1, &connect)).await;
        assert_eq!(client.next().await, Some(Seen::Response(1, 405)), "{way}");
        // Extended (RFC 8441): we never said that it may be.
        let extended = head_of_extended_connect();
        client.send(&frame(HEADERS, END_HEADERS, 3, &extended)).await;
        assert_eq!(next_of_another(&mut client, 1).await, Some(Seen::Reset(3, PROTOCOL_ERROR)), "{way}");
        client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 5, &request(&[]))).await;
        assert_eq!(
            next_of_another(&mut client, 1).await,
            Some(Seen::Response(5, 200)),
            "{way}: the connection goes on"
        );
    }
    assert_eq!(origin.arrivals().requests, 2);
    both.shop.unmatched_until(5).await;
    assert_eq!(both.shop.unmatched(), 5, "each is counted once");
}

/// What comes next but for the reset of this stream, which was answered before it was whole.
async fn next_of_another(client: &mut Raw, stream: u32) -> Option<Seen> {
    loop {
        match client.next().await {
            Some(Seen::Reset(of, _)) if of == stream => {}
            seen => return seen,
        }
    }
}

fn head_of_extended_connect() -> Vec<u8> {
    fields(&[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "shop"),
    ])
}

/// An origin that answers a request once it is whole, and no sooner.
async fn patient() -> RawOrigin {
    RawOrigin::start(vec![RawAnswer::new("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]).await.unwrap()
}

#[tokio::test]
async fn a_stream_that_is_silent_in_its_body_is_ended_and_its_neighbour_is_served() {
    let limit = Duration::from_millis(200);
    let http1 = patient().await;
    for (protocol, v1) in [(Protocol::H1, http1.address()), (Protocol::H2c, http2_origin(false).await)] {
        let both = Both::speaking(protocol, v1, |rules| rules.timeouts.body = limit);
        for way in WAYS {
            for piece in [&b""[..], b"half of it"] {
                let what = format!("{protocol:?} {way} {piece:?}");
                let mut client = both.client(way).await;
                client.send(&frame(HEADERS, END_HEADERS, 1, &head("POST", "/", &[]))).await;
                if !piece.is_empty() {
                    client.send(&frame(DATA, 0, 1, piece)).await;
                }
                assert_eq!(client.next().await, Some(Seen::Response(1, 408)), "{what}");
                client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 3, &request(&[]))).await;
                assert_eq!(
                    next_of_another(&mut client, 1).await,
                    Some(Seen::Response(3, 200)),
                    "{what}: the connection goes on"
                );
            }
        }
        let tally = both.shop.tally_until("v1", |tally| tally.requests() == 8).await;
        assert_eq!((judged(&tally, Class::ClientAbort), tally.bad()), (4, 0), "no fault of the version: {tally:?}");
    }
}

#[tokio::test]
async fn a_slow_body_of_http2_is_no_silence_and_a_call_may_be_silent() {
    let limit = Duration::from_millis(300);
    let both = Both::speaking(Protocol::H2c, http2_origin(false).await, |rules| rules.timeouts.body = limit);
    let mut client = both.client(WAYS[0]).await;
    // The call is silent from before the others begin.
    let call = head("POST", "/a.B/C", &[("content-type", "application/grpc"), ("te", "trailers")]);
    client.send(&frame(HEADERS, END_HEADERS, 1, &call)).await;
    client.send(&frame(HEADERS, END_HEADERS, 3, &head("POST", "/", &[]))).await;
    for _ in 0..8 {
        tokio::time::sleep(limit / 4).await;
        client.send(&frame(DATA, 0, 3, b"x")).await;
    }
    client.send(&frame(DATA, END_STREAM, 3, b"")).await;
    assert_eq!(client.next().await, Some(Seen::Response(3, 200)));
    client.send(&frame(HEADERS, END_HEADERS, 5, &head("POST", "/", &[]))).await;
    assert_eq!(client.next().await, Some(Seen::Response(5, 408)), "a stream that began after it");
    client.send(&frame(DATA, END_STREAM, 1, b"\0\0\0\0\0")).await;
    assert_eq!(next_of_another(&mut client, 5).await, Some(Seen::Response(1, 200)));
}

#[tokio::test]
async fn a_client_that_answers_no_farewell_is_left_once_nothing_is_under_way() {
    let origin = patient().await;
    let both = Both::open(origin.address(), |rules| rules.timeouts.connection = Duration::from_millis(200));
    let mut busy = both.client(WAYS[0]).await;
    busy.send(&frame(HEADERS, END_HEADERS, 1, &head("POST", "/", &[]))).await;
    for way in WAYS {
        // It acknowledges nothing, as it never does.
        let mut idle = both.client(way).await;
        let seen = idle.rest().await;
        assert!(seen.iter().all(|seen| matches!(seen, Seen::Goaway(0))) && !seen.is_empty(), "{way}: {seen:?}");
    }
    assert_eq!(busy.next().await, Some(Seen::Goaway(0)));
    busy.send(&frame(DATA, END_STREAM, 1, b"the end")).await;
    assert_eq!(busy.next().await, Some(Seen::Response(1, 200)), "what is under way ends in its own time");
}

#[tokio::test]
async fn a_head_of_http2_that_does_not_come_whole_in_time_ends_its_connection() {
    let origin = origin().await;
    let both = Both::open(origin.address(), |rules| rules.timeouts.head = Duration::from_millis(300));
    let whole = frame(HEADERS, END_STREAM | END_HEADERS, 1, &request(&[]));
    let open = frame(HEADERS, END_STREAM, 1, &request(&[]));
    let parts = [
        (&open[..], true),
        (&[&open[..], &frame(CONTINUATION, 0, 1, &[])].concat(), true),
        (&whole[..whole.len() - 1], true),
        // So far nobody can say what it is.
        (&whole[..5], false),
    ];
    let mut counted = 0;
    for way in WAYS {
        for (part, is_request) in &parts {
            let mut client = both.client(way).await;
            client.send(part).await;
            assert_eq!(client.rest().await, [Seen::Goaway(ENHANCE_YOUR_CALM)], "{way}: {part:?}");
            counted += u64::from(*is_request);
            both.shop.unmatched_until(counted).await;
        }
        // In pieces, and in time.
        let mut client = both.client(way).await;
        for piece in whole.chunks(7) {
            client.send(piece).await;
        }
        assert_eq!(client.next().await, Some(Seen::Response(1, 200)), "{way}");
    }
    assert_eq!(both.shop.unmatched(), counted, "each is counted once");
}

/// Whatever makes us reset a stream, or end the connection for it: it is not done for long.
#[tokio::test]
async fn no_way_of_making_us_reset_streams_goes_on_for_long() {
    let origin = origin().await;
    origin.dial().set_behaviour(Behaviour::Hang);
    let both = Both::open(origin.address(), |rules| rules.limits.http2_resets = 10);
    let open = |stream: u32, flags: u8| frame(HEADERS, flags | END_HEADERS, stream, &head("POST", "/", &[]));
    type Provocation<'a> = &'a dyn Fn(u32) -> Vec<u8>;
    let ways: [(&str, Provocation<'_>); 6] = [
        ("a window that grows beyond what a number holds", &|stream| {
            [open(stream, END_STREAM), frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff])].concat()
        }),
        ("a window that grows by nothing", &|stream| {
            [open(stream, END_STREAM), frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
        }),
        ("data after the end", &|stream| [open(stream, END_STREAM), frame(DATA, 0, stream, b"more")].concat()),
        ("a head after the end", &|stream| [open(stream, END_STREAM), open(stream, END_STREAM)].concat()),
        ("a stream that depends on itself", &|stream| {
            let itself = [&stream.to_be_bytes()[..], &[16]].concat();
            [open(stream, END_STREAM), frame(PRIORITY, 0, stream, &itself)].concat()
        }),
        ("a body that is longer than it says", &|stream| {
            let head = head("POST", "/", &[("content-length", "1")]);
            [frame(HEADERS, END_HEADERS, stream, &head), frame(DATA, END_STREAM, stream, b"two")].concat()
        }),
    ];
    for way in WAYS {
        for (what, provoked) in ways {
            let mut client = both.client(way).await;
            let mut resets = 0;
            for n in 0..60 {
                client.send(&provoked(n * 2 + 1)).await;
                match client.next().await {
                    Some(Seen::Reset(..)) => resets += 1,
                    // Answered, and then reset.
                    Some(Seen::Response(..)) => {}
                    Some(Seen::Goaway(_)) | None => break,
                }
            }
            assert!(resets <= 11, "{way}: {what}: {resets} streams were reset");
        }
    }
    both.shop.idle("v1").await;
    assert_eq!(both.shop.tally("v1").bad(), 0, "no fault of the version");
    origin.dial().set_behaviour(Behaviour::Serve);
    both.next_is_served().await;
}

#[tokio::test]
async fn streams_whose_windows_never_open_are_given_up_and_hold_no_endpoint() {
    let origin = origin().await;
    let both = Both::open(origin.address(), |rules| rules.timeouts.write = Duration::from_millis(300));
    for way in WAYS {
        origin.dial().set_body_bytes(Some(1_000_000));
        let before = origin.arrivals().requests;
        let mut client = both.client(way).await;
        // SETTINGS_INITIAL_WINDOW_SIZE (4) is 0.
        client.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
        for n in 0..50 {
            client.send(&frame(HEADERS, END_STREAM | END_HEADERS, n * 2 + 1, &request(&[]))).await;
        }
        origin_has(&origin, before + 50).await;
        let mut resets = 0;
        while resets < 50 {
            match client.next().await {
                Some(Seen::Reset(..)) => resets += 1,
                Some(Seen::Response(_, 200)) => {}
                seen => panic!("{way}: {seen:?} after {resets} resets"),
            }
        }
        both.shop.idle("v1").await;
        origin.dial().set_body_bytes(None);
    }
    assert_eq!(both.shop.tally("v1").bad(), 0, "no fault of the version");
    both.next_is_served().await;
}

/// A small block that is large once it is read: an entry of the table, named thousands of times.
#[tokio::test]
async fn a_list_of_headers_that_grows_as_it_is_read_does_not_reach_the_origin() {
    let origin = origin().await;
    let both = Both::open(origin.address(), |_| {});
    for way in WAYS {
        let mut client = both.client(way).await;
        // A literal that is remembered (RFC 7541, section 6.2.1), and then the newest entry of the table again and again.
        let value = "y".repeat(3_900);
        let mut remembered = fields(&[("x", &value)]);
        remembered[0] = 0x40;
        let block = [request(&[]), remembered, vec![0x80 | 62; 10_000]].concat();
        client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block)).await;
        let seen = client.next().await;
        assert!(!matches!(seen, Some(Seen::Response(_, 200))), "{way}: {seen:?}");
    }
    assert_eq!(origin.arrivals().requests, 0);
    both.shop.unmatched_until(2).await;
    both.next_is_served().await;
}

#[tokio::test]
async fn floods_end_their_connection_over_tls_as_they_do_in_clear() {
    let origin = origin().await;
    let both = Both::open(origin.address(), |rules| {
        rules.limits.http2_glitches = 100;
        rules.limits.http2_resets = 10;
    });
    let head = request(&[]);
    let rapid: Vec<u8> = (0..200)
        .flat_map(|n| {
            let stream = n * 2 + 1;
            [frame(HEADERS, END_STREAM | END_HEADERS, stream, &head), frame(RESET, 0, stream, &[0, 0, 0, 8])].concat()
        })
        .collect();
    let many = |frame: Vec<u8>| frame.repeat(300);
    let floods = [
        ("PING", many(frame(PING, 0, 0, &[0; 8]))),
        ("SETTINGS", many(frame(SETTINGS, 0, 0, &[]))),
        ("PRIORITY", many(frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 0]))),
        ("WINDOW_UPDATE", many(frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))),
        ("CONTINUATION", [frame(HEADERS, END_STREAM, 1, &head), many(frame(CONTINUATION, 0, 1, &[]))].concat()),
        ("rapid reset", rapid),
    ];
    for way in WAYS {
        for (what, flood) in &floods {
            let before = both.shop.unmatched();
            let mut client = both.client(way).await;
            client.send(flood).await;
            let seen = client.rest().await;
            let ends = seen.iter().filter(|seen| matches!(seen, Seen::Goaway(_)));
            let is_calm = |end: &Seen| matches!(end, Seen::Goaway(ENHANCE_YOUR_CALM | PROTOCOL_ERROR));
            assert!(ends.clone().all(is_calm), "{way} {what}: {seen:?}");
            both.shop.unmatched_until(before + 1).await;
        }
    }
    both.next_is_served().await;
}
