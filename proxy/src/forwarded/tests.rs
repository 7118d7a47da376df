use super::*;
use crate::fields;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::Version;
use proptest::prelude::*;

/// A hop in front of us, whose word is believed.
const HOP: &str = "10.0.0.1";

fn rules() -> Rules {
    let range = |text: &str| text.parse().unwrap();
    Rules { trusted: vec![range("10.0.0.0/8"), range("fd00::/8")], ..Rules::default() }
}

fn connection(peer: &str, announced: Option<&str>) -> Connection {
    let socket = |text: &str| SocketAddr::new(text.parse().unwrap(), 4711);
    let (listener, ends) = (Arc::new(config::Listener::DEFAULT), Instant::now());
    let (peer, announced) = (Some(socket(peer)), announced.map(socket));
    Connection { peer, announced, listener, secure: false, server_name: None, tls: None, ends }
}

fn request(headers: &[(&'static str, &str)]) -> RequestHeader {
    let mut request = RequestHeader::build("GET", b"/", None).unwrap();
    request.append_header("Host", "shop.example").unwrap();
    for (name, value) in headers {
        request.append_header(*name, value.as_bytes()).unwrap();
    }
    request
}

/// Who the client of a request from this peer is.
fn client(peer: &str, headers: &[(&'static str, &str)]) -> String {
    let found = client_of(Some(&connection(peer, None)), None, &request(headers), &rules());
    found.unwrap().to_string()
}

/// Makes of a request what its origin gets.
fn tell(request: &mut RequestHeader, connection: &Connection, rules: &Rules) {
    fields::change(request, |request| {
        let mut told = Told::nothing();
        to_origin(&mut told, request, Some(connection), None, rules, None);
        told.set(&mut request.headers);
    });
}

/// What an origin sees of a header, of a request from this peer.
fn seen(peer: &str, headers: &[(&'static str, &str)]) -> RequestHeader {
    let (mut request, connection, rules) = (request(headers), connection(peer, None), rules());
    from_client(&mut request, true);
    tell(&mut request, &connection, &rules);
    request
}

fn header(request: &RequestHeader, name: &str) -> String {
    let all: Vec<_> =
        request.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    all.join(" | ")
}

fn names(request: &RequestHeader) -> Vec<String> {
    let mut names: Vec<_> = request.headers.keys().map(ToString::to_string).collect();
    names.sort();
    names
}

#[test]
fn a_stranger_is_its_own_client_whatever_it_says() {
    for name in ["X-Forwarded-For", "X-Real-IP", "True-Client-IP"] {
        assert_eq!(client("203.0.113.9", &[(name, "1.1.1.1")]), "203.0.113.9");
    }
    assert_eq!(client("203.0.113.9", &[("Forwarded", "for=1.1.1.1")]), "203.0.113.9");
}

#[test]
fn behind_trusted_hops_the_client_is_the_first_address_from_the_right_that_is_none_of_them() {
    let of = |list| client(HOP, &[("X-Forwarded-For", list)]);
    assert_eq!(of("203.0.113.9"), "203.0.113.9");
    assert_eq!(of("6.6.6.6, 203.0.113.9, 10.9.9.9, fd00::7"), "203.0.113.9");
    // Where all are trusted it is the one that began.
    assert_eq!(of("10.3.3.3, 10.2.2.2"), "10.3.3.3");
    // What is no address ends the walk.
    assert_eq!(of("203.0.113.9, unknown, 10.2.2.2"), "10.2.2.2");
    assert_eq!(of("garbage"), HOP);
    assert_eq!(of(""), HOP);
    // Several headers are one list.
    let two = [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "198.51.100.7, 10.2.2.2")];
    assert_eq!(client(HOP, &two), "198.51.100.7");
}

#[test]
fn ports_and_brackets_are_no_part_of_an_address() {
    let of = |list| client(HOP, &[("X-Forwarded-For", list)]);
    assert_eq!(of("203.0.113.9:4711"), "203.0.113.9");
    assert_eq!(of("[2001:db8::1]:4711"), "2001:db8::1");
    assert_eq!(of("[2001:db8::1]"), "2001:db8::1");
    assert_eq!(of("2001:db8::1"), "2001:db8::1");
    assert_eq!(of("::ffff:203.0.113.9"), "203.0.113.9");
    for bad in
        ["203.0.113.9:", "203.0.113.9:123456", "[2001:db8::1", "[203.0.113.9]", "fe80::1%eth0", "[::1]x", "1.1.1"]
    {
        assert_eq!(of(bad), HOP, "{bad}");
    }
}

#[test]
fn forwarded_is_read_where_there_is_no_x_forwarded_for() {
    let of = |value| client(HOP, &[("Forwarded", value)]);
    assert_eq!(of("for=203.0.113.9;proto=https"), "203.0.113.9");
    assert_eq!(of(r#"for="[2001:db8::1]:4711""#), "2001:db8::1");
    assert_eq!(of(r#"For=6.6.6.6, proto=http; FOR=203.0.113.9 , for="10.2.2.2:_x";by=10.0.0.1"#), "203.0.113.9");
    assert_eq!(of(r#"for=203.0.113.9;host="a,b", for=10.2.2.2"#), "203.0.113.9");
    for bad in [
        "for=_hidden",
        "for=unknown",
        r#"for="203.0.113.9"#,
        "for=203.0.113.9;for=1.1.1.1",
        "203.0.113.9",
        "by=1.1.1.1",
    ] {
        assert_eq!(of(bad), HOP, "{bad}");
    }
    // Many hops write one of the two and let the other pass, whoever wrote it.
    assert_eq!(client(HOP, &[("X-Forwarded-For", "203.0.113.9"), ("Forwarded", "for=6.6.6.6")]), "203.0.113.9");
}

#[test]
fn whom_the_proxy_protocol_names_counts_as_the_peer() {
    let found = |announced| {
        let connection = connection(HOP, Some(announced));
        client_of(Some(&connection), None, &request(&[("X-Forwarded-For", "1.1.1.1")]), &rules()).unwrap().to_string()
    };
    assert_eq!(found("203.0.113.9"), "203.0.113.9", "a stranger behind a load balancer is not believed");
    assert_eq!(found("10.7.7.7"), "1.1.1.1");
}

#[test]
fn an_origin_is_told_of_a_stranger_anew() {
    let origin = seen(
        "203.0.113.9",
        &[
            ("X-Forwarded-For", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("X_Forwarded_For", "3.3.3.3"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "evil.example"),
            ("X-Forwarded-Port", "1"),
            ("X-Forwarded-Prefix", "/admin"),
            ("X-Forwarded-Scheme", "https"),
            ("X-Forwarded-Ssl", "on"),
            ("X-Forwarded", "for=1.1.1.1"),
            ("Forwarded", "for=1.1.1.1;proto=https"),
            ("X-Real-Ip", "1.1.1.1"),
            ("True-Client-IP", "1.1.1.1"),
            ("CF-Connecting-IP", "1.1.1.1"),
            ("Front-End-Https", "on"),
            ("X-Foo", "stays"),
        ],
    );
    assert_eq!(
        names(&origin),
        ["forwarded", "host", "x-foo", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto",]
    );
    assert_eq!(header(&origin, "x-forwarded-for"), "203.0.113.9");
    assert_eq!(header(&origin, "x-forwarded-proto"), "http");
    assert_eq!(header(&origin, "x-forwarded-host"), "shop.example");
    assert_eq!(header(&origin, "x-forwarded-port"), "80");
    assert_eq!(header(&origin, "forwarded"), r#"for=203.0.113.9;host="shop.example";proto=http"#);
}

#[test]
fn an_origin_is_told_of_a_trusted_hop_where_that_hop_has_ended() {
    let origin = seen(
        HOP,
        &[
            ("X-Forwarded-For", "6.6.6.6"),
            ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "www.example"),
            ("X-Forwarded-Prefix", "/shop"),
            ("X-Real-Ip", "203.0.113.9"),
            ("Forwarded", "for=1.1.1.1"),
        ],
    );
    assert_eq!(header(&origin, "x-forwarded-for"), "6.6.6.6, 203.0.113.9, 10.0.0.1");
    assert_eq!(header(&origin, "x-forwarded-proto"), "https");
    assert_eq!(header(&origin, "x-forwarded-host"), "www.example");
    assert_eq!(header(&origin, "x-forwarded-port"), "443");
    assert_eq!(header(&origin, "x-forwarded-prefix"), "/shop");
    assert_eq!(header(&origin, "x-real-ip"), "203.0.113.9");
    // One list in both: what that hop let pass in the other one is not told on.
    assert_eq!(
        header(&origin, "forwarded"),
        r#"for=6.6.6.6, for=203.0.113.9;host="www.example";proto=https, for=10.0.0.1;host="shop.example";proto=http"#
    );
}

#[test]
fn a_hop_that_speaks_rfc_7239_alone_is_told_on_in_both() {
    let origin = seen("fd00::1", &[("Forwarded", r#"for="[2001:db8::1]";proto=https;host="www.example:8443""#)]);
    assert_eq!(header(&origin, "x-forwarded-for"), "2001:db8::1, fd00::1");
    assert_eq!(header(&origin, "x-forwarded-proto"), "https");
    assert_eq!(header(&origin, "x-forwarded-host"), "www.example:8443");
    assert_eq!(header(&origin, "x-forwarded-port"), "8443");
    assert_eq!(
        header(&origin, "forwarded"),
        r#"for="[2001:db8::1]";proto=https;host="www.example:8443", for="[fd00::1]";host="shop.example";proto=http"#
    );
}

#[test]
fn a_list_that_is_too_long_is_cut_from_the_left() {
    let list = |count: u32| (0..count).map(|n| format!("172.16.{}.{}", n / 256, n % 256)).collect::<Vec<_>>();
    let origin = seen(HOP, &[("X-Forwarded-For", &list(500).join(", "))]);
    let told = header(&origin, "x-forwarded-for");
    assert_eq!(told, format!("{}, {HOP}", list(500)[500 - 64..].join(", ")));
    // By bytes, before it is by elements.
    let long = vec!["x".repeat(1000); 20].join(", ");
    let told = header(&seen(HOP, &[("X-Forwarded-For", &long)]), "x-forwarded-for");
    assert_eq!((told.matches('x').count(), told.ends_with(&format!(", {HOP}"))), (4000, true));
    let told = header(&seen(HOP, &[("Forwarded", &vec!["for=172.16.0.1"; 500].join(","))]), "forwarded");
    assert_eq!(told.matches("for=172.16.0.1").count(), 64);
}

#[test]
fn a_host_that_is_none_is_not_told_as_a_parameter() {
    let origin = seen(HOP, &[("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-Host", r#"a";for=6.6.6.6"#)]);
    assert_eq!(header(&origin, "x-forwarded-host"), "shop.example");
    assert!(!header(&origin, "forwarded").contains("6.6.6.6"), "{origin:?}");
}

#[test]
fn what_connection_names_is_taken_away_but_for_what_others_rely_on() {
    let origin = seen(
        "203.0.113.9",
        &[
            ("Connection", "close, x-secret, X-Forwarded-For, Host"),
            ("Connection", "authorization, traceparent, cookie , , \"x-kept\", content-length"),
            ("X-Secret", "1"),
            ("X-Kept", "1"),
            ("Authorization", "Bearer x"),
            ("Cookie", "a=1"),
            ("Content-Length", "0"),
            ("Traceparent", "00-1"),
        ],
    );
    assert_eq!(
        names(&origin).iter().filter(|name| !name.contains("forwarded")).collect::<Vec<_>>(),
        ["authorization", "content-length", "cookie", "host", "traceparent", "x-kept",]
    );
    assert_eq!(header(&origin, "x-forwarded-for"), "203.0.113.9");
}

#[test]
fn of_connection_what_concerns_the_connection_is_left_for_its_reader() {
    let left = |connection: &'static str| {
        let mut request = request(&[("Connection", connection), ("Upgrade", "websocket")]);
        from_client(&mut request, true);
        header(&request, "connection")
    };
    assert_eq!(left("keep-alive, Upgrade"), "keep-alive, Upgrade");
    assert_eq!(left("keep-alive, x-a, upgrade"), "keep-alive, Upgrade");
    assert_eq!(left("x-a, close"), "close");
    assert_eq!(left("x-a"), "");
    assert_eq!(left("close, close, close, close, close, close, close, close, close, close"), "close");
}

#[test]
fn headers_of_a_single_hop_end_here() {
    let mut request = request(&[
        ("Connection", "keep-alive"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authorization", "Basic x"),
        ("TE", "trailers, deflate"),
        ("Trailer", "x-sum"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
    ]);
    let mut http2 = request.clone();
    tell(&mut request, &connection(HOP, None), &rules());
    assert_eq!(names(&request).into_iter().filter(|name| !name.contains("forwarded")).collect::<Vec<_>>(), ["host"]);
    http2.set_version(Version::HTTP_2);
    tell(&mut http2, &connection(HOP, None), &rules());
    assert_eq!(header(&http2, "te"), "trailers", "gRPC wants it");
}

#[test]
fn what_a_client_says_of_an_upgrade_is_for_this_hop() {
    let mut request = request(&[
        ("Connection", "keep-alive, Upgrade"),
        ("Upgrade", "websocket"),
        ("Keep-Alive", "1"),
        ("Sec-WebSocket-Key", "x"),
    ]);
    tell(&mut request, &connection(HOP, None), &rules());
    for name in ["connection", "upgrade", "keep-alive"] {
        assert!(!request.headers.contains_key(name), "{name} is told anew where an upgrade is let through");
    }
    assert_eq!(header(&request, "sec-websocket-key"), "x");
}

#[test]
fn a_response_loses_what_was_meant_for_this_hop() {
    let response = |status: u16| {
        let mut response = ResponseHeader::build(status, None).unwrap();
        for (name, value) in [
            ("Connection", "close, x-internal, Content-Length, Set-Cookie"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Authenticate", "Basic"),
            ("X-Internal", "1"),
            ("Upgrade", "websocket"),
            ("Trailer", "x-sum"),
            ("Content-Length", "3"),
            ("Set-Cookie", "a=1"),
            ("Transfer-Encoding", "chunked"),
        ] {
            response.append_header(name, value).unwrap();
        }
        to_client(&mut response);
        let mut names: Vec<_> = response.headers.keys().map(ToString::to_string).collect();
        names.sort();
        names
    };
    assert_eq!(response(200), ["content-length", "set-cookie", "transfer-encoding"]);
    // No body follows these, whatever they say of one.
    assert_eq!(response(101), ["connection", "set-cookie", "upgrade"]);
    assert_eq!((response(103), response(204)), (vec!["set-cookie".to_owned()], vec!["set-cookie".to_owned()]));
    assert_eq!(response(304), ["content-length", "set-cookie"]);
}

proptest! {
    /// Each origin is told what it would be were its request the first on the connection.
    #[test]
    fn what_was_told_before_on_a_connection_is_told_again_of_the_same_alone(
        hosts in prop::collection::vec(prop::sample::select(vec!["a.example", "b.example:81", ""]), 1..6),
        is_trusted in any::<bool>(),
    ) {
        let last = Last::default();
        let connection = connection(if is_trusted { HOP } else { "203.0.113.9" }, None);
        for (place, host) in hosts.iter().enumerate() {
            let told = |last: Option<&Last>| {
                let mut request = RequestHeader::build("GET", b"/", None).unwrap();
                request.insert_header("Host", *host).unwrap();
                request.insert_header("X-Forwarded-For", format!("192.0.2.{place}")).unwrap();
                fields::change(&mut request, |request| {
                    let mut told = Told::nothing();
                    to_origin(&mut told, request, Some(&connection), None, &rules(), last);
                    told.set(&mut request.headers);
                });
                request.headers.clone()
            };
            prop_assert_eq!(told(Some(&last)), told(None));
        }
    }

    /// Whatever a stranger sends, an origin is told who it is and nothing else.
    #[test]
    fn no_bytes_of_a_stranger_reach_what_an_origin_is_told(values in prop::collection::vec("[ -~]{0,40}", 0..4)) {
        let headers: Vec<_> = values.iter().flat_map(|value| {
            [("X-Forwarded-For", value.as_str()), ("Forwarded", value.as_str())]
        }).collect();
        let origin = seen("203.0.113.9", &headers);
        prop_assert_eq!(header(&origin, "x-forwarded-for"), "203.0.113.9");
        prop_assert_eq!(header(&origin, "forwarded"), r#"for=203.0.113.9;host="shop.example";proto=http"#);
    }

    /// Whatever a trusted hop sends, the list stays within its limits, and who reads what is told on finds the same
    /// client by either header.
    #[test]
    fn both_headers_that_are_told_on_name_the_same_client(
        elements in prop::collection::vec(
            prop_oneof![
                "(10|203|172)\\.[0-9]{1,2}\\.0\\.[1-9]", "\\[?2001:db8::[1-9a-f]{1,4}\\]?", "fd00::[1-9]", "[ -~]{0,12}",
            ],
            0..90,
        ),
        plain in any::<bool>(),
    ) {
        let name = if plain { "X-Forwarded-For" } else { "Forwarded" };
        let quoted = |element: &String| format!("for=\"{}\"", element.replace(['"', '\\', ',', ';', '='], "."));
        let list: Vec<String> = if plain { elements } else { elements.iter().map(quoted).collect() };
        let list = list.join(", ");
        let found = client(HOP, &[(name, &list)]);
        let origin = seen(HOP, &[(name, &list)]);
        let (hops, forwarded) = (header(&origin, "x-forwarded-for"), header(&origin, "forwarded"));
        // The hop itself is the next one's peer, so that one reads all but the last.
        let before = |list: &str| list.rsplit_once(", ").map(|(before, _)| before.to_owned()).unwrap_or_default();
        prop_assert_eq!(client(HOP, &[("X-Forwarded-For", &before(&hops))]), found.as_str());
        prop_assert_eq!(client(HOP, &[("Forwarded", &before(&forwarded))]), found);
        prop_assert!(hops.split(", ").count() <= 65 || !plain);
        prop_assert!(hops.len() <= (4 << 10) + 50);
    }
}
