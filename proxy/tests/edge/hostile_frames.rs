//! Clients that attack with the frames of HTTP/2, over a raw socket: streams that are malformed are reset or answered,
//! floods end their connection, and the next client is served.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use loadtest::{Behaviour, Latency, Origin, OriginOptions};
use meter::Class;

use crate::fixture::{Shop, get, http2, judged, origin_has, status};
use crate::raw_http2::*;

async fn origin() -> Origin {
    Origin::start("v1", OriginOptions::default()).await.unwrap()
}

async fn next_is_served(shop: &Shop) {
    assert_eq!(status(&get(shop.address()).await), 200, "the next client is served");
    let request = Request::get("http://shop/").body(Full::default()).unwrap();
    let response = http2(shop.address()).await.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_malformed_request_is_reset_and_its_neighbours_are_not() {
    let origin = origin().await;
    let shop = Shop::under(&[origin.address()], |_| {});
    let mut client = Raw::connect(&shop).await;
    let attacks: [&[(&str, &str)]; 7] = [
        &[("connection", "close")],
        &[("keep-alive", "timeout=5")],
        &[("proxy-connection", "close")],
        &[("transfer-encoding", "chunked")],
        &[("upgrade", "websocket")],
        &[("te", "gzip")],
        &[("content-length", "5"), ("content-length", "6")],
    ];
    for (place, attack) in attacks.iter().enumerate() {
        let stream = u32::try_from(place).unwrap() * 2 + 1;
        client.send(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &request(attack))).await;
        assert_eq!(client.next().await, Some(Seen::Reset(stream, PROTOCOL_ERROR)), "{attack:?}");
    }
    assert_eq!(origin.arrivals().requests, 0);
    client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 101, &request(&[("te", "trailers")]))).await;
    assert_eq!(client.next().await, Some(Seen::Response(101, 200)));
    // This one is an error of the connection, says h2.
    client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 103, &request(&[("Upper", "case")]))).await;
    assert_eq!(client.rest().await, [Seen::Goaway(PROTOCOL_ERROR)]);
    assert_eq!(origin.arrivals().requests, 1);
    drop(client);
    shop.unmatched_until(8).await;
    assert_eq!(shop.unmatched(), 8, "each is counted once, and the one that was served is not");
}

/// What would be another field, another request, or a pseudo-header that there is none of.
#[tokio::test]
async fn a_field_that_http1_is_refused_for_is_refused_in_http2() {
    let origin = origin().await;
    let shop = Shop::under(&[origin.address()], |_| {});
    let with = |name, value| request(&[(name, value)]);
    let mut attacks = vec![
        with("x y", "z"),
        with("x:y", "z"),
        with("", "z"),
        with("x\r\ny", "z"),
        with("x\0", "z"),
        with("x", "a\r\nhost: evil"),
        with("x", "a\nb"),
        with("x", "a\rb"),
        with("x", "a\0b"),
        with("x", "\x1b[2J"),
        with("x", "\x7f"),
        with("host", "shop\r\nx: y"),
        with("cookie", "a=b\r\nx: y"),
        with(":status", "200"),
        with(":x", "y"),
        with(":path", "/b"),
        with(":method", "POST"),
        with(":authority", "evil"),
        with(":protocol", "websocket"),
        fields(&[("x", "y"), (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "shop")]),
    ];
    let usual = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "shop")];
    for missing in 0..3 {
        attacks.push(fields(&[&usual[..missing], &usual[missing + 1..]].concat()));
    }
    for scheme in ["", "ftp", "http\r\nx: y"] {
        attacks.push(fields(&[usual[0], (":scheme", scheme), usual[2], usual[3]]));
    }
    let many = vec![("x", "y"); 101];
    attacks.push(request(&many));
    for (place, attack) in attacks.iter().enumerate() {
        let mut client = Raw::connect(&shop).await;
        client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, attack)).await;
        let seen = client.next().await;
        let is_refused = match seen {
            Some(Seen::Response(1, status)) => matches!(status, 400 | 431),
            Some(Seen::Reset(1, code) | Seen::Goaway(code)) => code == PROTOCOL_ERROR,
            _ => false,
        };
        assert!(is_refused, "attack {place}: {seen:?}");
    }
    assert_eq!(origin.arrivals().requests, 0, "the origin sees nothing of it");
    shop.unmatched_until(attacks.len() as u64).await;
    next_is_served(&shop).await;
    assert_eq!(shop.unmatched(), attacks.len() as u64, "each is counted once");
}

#[tokio::test]
async fn a_list_of_fields_that_is_far_too_large_is_refused_and_its_neighbours_are_served() {
    const FRAME: usize = 16 * 1024;
    let origin = origin().await;
    for list in [8, 16, 64] {
        let shop = Shop::under(&[origin.address()], |rules| {
            rules.limits.http2_header_list = config::Bytes::new(list * 1024).unwrap();
        });
        let mut client = Raw::connect(&shop).await;
        let upload = fields(&[(":method", "PUT"), (":scheme", "http"), (":path", "/"), (":authority", "shop")]);
        client.send(&frame(HEADERS, END_HEADERS, 1, &upload)).await;
        let large = request(&[("x", &"y".repeat(65_000))]);
        let pieces: Vec<_> = large.chunks(FRAME).collect();
        let (first, rest) = pieces.split_first().unwrap();
        client.send(&frame(HEADERS, END_STREAM, 3, first)).await;
        for (place, piece) in rest.iter().enumerate() {
            let flags = if place + 1 == rest.len() { END_HEADERS } else { 0 };
            client.send(&frame(CONTINUATION, flags, 3, piece)).await;
        }
        let refused = client.next().await;
        assert!(matches!(refused, Some(Seen::Response(3, 431 | 200))), "{list}: {refused:?}");
        assert_eq!(refused == Some(Seen::Response(3, 200)), list == 64, "{list}");
        client.send(&frame(DATA, END_STREAM, 1, b"x")).await;
        assert_eq!(client.next().await, Some(Seen::Response(1, 200)), "{list}");
    }
}

#[tokio::test]
async fn a_request_that_names_two_hosts_or_none_or_two_lengths_is_answered_400() {
    let origin = origin().await;
    let shop = Shop::under(&[origin.address()], |_| {});
    let head =
        |more: &[(&str, &str)]| fields(&[&[(":method", "GET"), (":scheme", "http"), (":path", "/")], more].concat());
    for (place, attack) in [
        request(&[("host", "other")]),
        request(&[("content-length", "5, 5")]),
        request(&[("my_name", "x")]),
        head(&[]),
        head(&[(":authority", "me@shop")]),
        head(&[(":authority", "shop other")]),
        head(&[("host", "shop/x")]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = Raw::connect(&shop).await;
        client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &attack)).await;
        let seen = client.next().await;
        assert!(
            matches!(seen, Some(Seen::Response(1, 400) | Seen::Reset(1, PROTOCOL_ERROR))),
            "attack {place}: {seen:?}"
        );
    }
    assert_eq!(origin.arrivals().requests, 0);
    shop.unmatched_until(7).await;
    next_is_served(&shop).await;
    assert_eq!(shop.unmatched(), 7, "each is counted once");
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_it_says_is_the_clients_fault() {
    let origin = origin().await;
    let shop = Shop::under(&[origin.address()], |_| {});
    for body in [&b"abc"[..], b"abcdefgh"] {
        let mut client = Raw::connect(&shop).await;
        let head = fields(&[
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "shop"),
            ("content-length", "5"),
        ]);
        client.send(&frame(HEADERS, END_HEADERS, 1, &head)).await;
        client.send(&frame(DATA, END_STREAM, 1, body)).await;
        let seen = client.next().await;
        assert!(matches!(seen, Some(Seen::Response(1, 400) | Seen::Reset(1, PROTOCOL_ERROR))), "{body:?}: {seen:?}");
    }
    shop.idle("v1").await;
    assert_eq!(shop.tally("v1").bad(), 0, "no fault of the version");
    next_is_served(&shop).await;
}

/// Sends a flood in one go, and wants the connection to end for it.
async fn is_a_flood(shop: &Shop, what: &str, flood: &[u8]) {
    let before = shop.unmatched();
    let mut client = Raw::connect(shop).await;
    client.send(flood).await;
    let seen = client.rest().await;
    let ends: Vec<_> = seen.iter().filter(|seen| matches!(seen, Seen::Goaway(_))).collect();
    // Where bytes of the flood are unread as the connection closes, its reset may overtake the farewell.
    assert!(ends.iter().all(|end| **end == Seen::Goaway(ENHANCE_YOUR_CALM)), "{what}: {seen:?}");
    shop.unmatched_until(before + 1).await;
    next_is_served(shop).await;
}

#[tokio::test]
async fn a_flood_of_frames_that_carry_nothing_ends_its_connection() {
    let origin = origin().await;
    let shop = Shop::under(&[origin.address()], |rules| rules.limits.http2_glitches = 100);
    let open = frame(
        HEADERS,
        END_HEADERS,
        1,
        &fields(&[(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "shop")]),
    );
    let many = |frame: Vec<u8>| frame.repeat(150);
    for (what, flood) in [
        ("PING", many(frame(PING, 0, 0, &[0; 8]))),
        ("SETTINGS", many(frame(SETTINGS, 0, 0, &[]))),
        ("PRIORITY", many(frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 0]))),
        ("WINDOW_UPDATE", many(frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))),
        ("unknown", many(frame(0xfe, 0, 0, &[]))),
        ("empty DATA", [open.clone(), many(frame(DATA, 0, 1, &[]))].concat()),
    ] {
        is_a_flood(&shop, what, &flood).await;
    }
}

#[tokio::test]
async fn a_flood_of_continuations_ends_its_connection() {
    let origin = origin().await;
    let shop = Shop::under(&[origin.address()], |_| {});
    let head = request(&[]);
    let flood = [frame(HEADERS, END_STREAM, 1, &head), frame(CONTINUATION, 0, 1, &[]).repeat(10_000)].concat();
    let mut client = Raw::connect(&shop).await;
    client.send(&flood).await;
    client.rest().await;
    assert_eq!(origin.arrivals().requests, 0);
    next_is_served(&shop).await;
}

#[tokio::test]
async fn streams_that_are_reset_as_they_are_opened_end_their_connection() {
    let origin = origin().await;
    let shop = Shop::under(&[origin.address()], |rules| rules.limits.http2_resets = 10);
    let head = request(&[]);
    let rapid = |stream: u32| {
        [frame(HEADERS, END_STREAM | END_HEADERS, stream, &head), frame(RESET, 0, stream, &[0, 0, 0, 8])].concat()
    };
    let flood: Vec<u8> = (0..50).flat_map(|n| rapid(n * 2 + 1)).collect();
    is_a_flood(&shop, "rapid reset", &flood).await;
    assert!(origin.arrivals().requests <= 12, "few of them came to the origin: {:?}", origin.arrivals());
    shop.idle("v1").await;
    assert_eq!(shop.tally("v1").bad(), 0);
}

#[tokio::test]
async fn streams_that_we_are_made_to_reset_end_their_connection() {
    let origin = origin().await;
    origin.dial().set_behaviour(Behaviour::Hang);
    let shop = Shop::under(&[origin.address()], |rules| rules.limits.http2_resets = 10);
    let head = request(&[]);
    // A window that grows beyond what a number holds is an error of its stream (RFC 9113, section 6.9.1).
    let provoked = |stream: u32| {
        [
            frame(HEADERS, END_STREAM | END_HEADERS, stream, &head),
            frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff]),
        ]
        .concat()
    };
    let mut client = Raw::connect(&shop).await;
    let mut resets = 0;
    for n in 0..50 {
        client.send(&provoked(n * 2 + 1)).await;
        match client.next().await {
            Some(Seen::Reset(_, FLOW_CONTROL_ERROR)) => resets += 1,
            Some(Seen::Goaway(code)) => {
                assert_eq!(code, ENHANCE_YOUR_CALM);
                break;
            }
            None => break,
            seen => panic!("{seen:?}"),
        }
    }
    assert!(resets <= 11, "{resets} streams were reset");
    origin.dial().set_behaviour(Behaviour::Serve);
    shop.unmatched_until(1).await;
    next_is_served(&shop).await;
}

#[tokio::test]
async fn a_list_of_headers_over_the_limit_does_not_reach_the_origin() {
    let origin = origin().await;
    let shop = Shop::under(&[origin.address()], |_| {});
    let mut client = Raw::connect(&shop).await;
    let block = request(&[("x", &"y".repeat(70_000))]);
    let mut pieces = block.chunks(16_000);
    client.send(&frame(HEADERS, END_STREAM, 1, pieces.next().unwrap())).await;
    let last = pieces.len() - 1;
    for (place, piece) in pieces.enumerate() {
        client.send(&frame(CONTINUATION, if place == last { END_HEADERS } else { 0 }, 1, piece)).await;
    }
    let seen = client.next().await;
    assert!(!matches!(seen, Some(Seen::Response(_, 200))), "{seen:?}");
    assert_eq!(origin.arrivals().requests, 0);
    drop(client);
    shop.unmatched_until(1).await;
    next_is_served(&shop).await;
}

#[tokio::test]
async fn more_streams_at_a_time_than_are_allowed_are_refused() {
    let origin = origin().await;
    origin.dial().set_behaviour(Behaviour::Hang);
    let shop = Shop::under(&[origin.address()], |_| {});
    let mut client = Raw::connect(&shop).await;
    let head = request(&[]);
    for n in 0..100 {
        client.send(&frame(HEADERS, END_STREAM | END_HEADERS, n * 2 + 1, &head)).await;
    }
    origin_has(&origin, 100).await;
    client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 201, &head)).await;
    assert_eq!(client.next().await, Some(Seen::Reset(201, REFUSED_STREAM)));
    origin.dial().set_behaviour(Behaviour::Serve);
    next_is_served(&shop).await;
}

#[tokio::test]
async fn honest_traffic_is_no_flood_however_much_there_is_of_it() {
    let origin = origin().await;
    // As strict as can be.
    let shop = Shop::under(&[origin.address()], |rules| {
        rules.limits.http2_glitches = 10;
        rules.limits.http2_resets = 3;
    });
    let mut client = http2(shop.address()).await;
    for _ in 0..30 {
        let body = Full::from(vec![b'x'; 300_000]);
        let echo = Request::post("http://shop/echo").body(body).unwrap();
        let response = client.send_request(echo).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 300_000);
    }
    let tally = shop.tally_until("v1", |tally| tally.requests() == 30).await;
    assert_eq!(judged(&tally, Class::Success), 30);
    assert_eq!(shop.unmatched(), 0);
}

/// Opens streams and takes them back, `at_once` at a time, once an endpoint has them: as a hop in front does whose users
/// leave. Returns the next stream.
async fn leaving(client: &mut Raw, origin: &Origin, first: u32, times: u32, at_once: u32) -> u32 {
    let head = request(&[]);
    let mut stream = first;
    for _ in 0..times {
        let before = origin.arrivals().requests;
        let these: Vec<u32> = (0..at_once).map(|n| stream + 2 * n).collect();
        let open = these.iter().flat_map(|id| frame(HEADERS, END_STREAM | END_HEADERS, *id, &head));
        client.send(&open.collect::<Vec<u8>>()).await;
        origin_has(origin, before + u64::from(at_once)).await;
        let take_back = these.iter().flat_map(|id| frame(RESET, 0, *id, &[0, 0, 0, 8]));
        client.send(&take_back.collect::<Vec<u8>>()).await;
        stream += 2 * at_once;
    }
    stream
}

#[tokio::test]
async fn a_trusted_hop_may_do_what_many_do_and_is_left_gently_where_that_is_too_much() {
    let origin = origin().await;
    origin.dial().set_behaviour(Behaviour::Hang);
    let shop = Shop::under(&[origin.address()], |rules| {
        rules.limits.http2_resets = 1;
        rules.trusted = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let mut client = Raw::connect(&shop).await;
    let mut stream = leaving(&mut client, &origin, 1, 10, 10).await;

    // A hundred times what one client may is not too much; one more is, and is said before anything is cut.
    origin.dial().set_behaviour(Behaviour::Serve);
    origin.dial().set_latency(Latency::fixed(Duration::from_millis(500)));
    client.send(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &request(&[]))).await;
    stream = leaving(&mut client, &origin, stream + 2, 1, 1).await;
    let seen = [client.next().await, client.next().await];
    assert!(seen.contains(&Some(Seen::Goaway(0))), "{seen:?}");
    assert!(seen.contains(&Some(Seen::Response(stream - 4, 200))), "what was under way ends: {seen:?}");
    shop.unmatched_until(1).await;
    next_is_served(&shop).await;
}

/// A request that pingora refuses before we hear of it: it names two hosts.
fn of_two_hosts(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &request(&[("host", "other")]))
}

#[tokio::test]
async fn who_sends_too_many_malformed_requests_is_told_and_left() {
    let origin = origin().await;
    let shop = Shop::under(&[origin.address()], |_| {});
    let mut client = Raw::connect(&shop).await;
    let mut answered = 0;
    for n in 0.. {
        client.send(&of_two_hosts(n * 2 + 1)).await;
        match client.next().await {
            Some(Seen::Response(_, 400)) => {
                answered += 1;
                // At once, and not when the connection ends.
                shop.unmatched_until(answered).await;
            }
            seen => {
                assert_eq!(seen, Some(Seen::Goaway(ENHANCE_YOUR_CALM)));
                break;
            }
        }
    }
    assert!((30..=32).contains(&answered), "{answered}");
    assert_eq!(client.rest().await, []);
    drop(client);
    shop.idle("v1").await;
    assert!(shop.unmatched() <= 32, "each is counted once: {}", shop.unmatched());
    assert_eq!(origin.arrivals().requests, 0);
    next_is_served(&shop).await;
}

#[tokio::test]
async fn what_some_send_malformed_by_way_of_a_trusted_hop_does_not_end_the_connection_of_all() {
    let origin = origin().await;
    let shop = Shop::under(&[origin.address()], |rules| rules.trusted = vec!["127.0.0.0/8".parse().unwrap()]);
    let mut client = Raw::connect(&shop).await;
    for n in 0..3_199 {
        client.send(&of_two_hosts(n * 2 + 1)).await;
        assert_eq!(client.next().await, Some(Seen::Response(n * 2 + 1, 400)));
    }
    client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 8_001, &request(&[]))).await;
    assert_eq!(client.next().await, Some(Seen::Response(8_001, 200)));
    // One more is too much, and what is under way ends well.
    origin.dial().set_latency(Latency::fixed(Duration::from_millis(500)));
    client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 8_003, &request(&[]))).await;
    origin_has(&origin, 2).await;
    client.send(&of_two_hosts(8_005)).await;
    let seen = client.rest().await;
    assert!(seen.contains(&Seen::Response(8_003, 200)) && seen.contains(&Seen::Goaway(0)), "{seen:?}");
    next_is_served(&shop).await;
}
