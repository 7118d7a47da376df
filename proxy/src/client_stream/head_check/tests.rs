//! Heads that are refused, each for its reason, and heads that are not; whole and in pieces.

use super::*;
use proptest::prelude::*;

const LIMITS: HeadLimits = HeadLimits { line: 64, head: 256, fields: 8 };

fn check(bytes: &[u8]) -> Result<Option<Head>, Refused> {
    HeadCheck::new(HeadLimits::default()).feed(bytes)
}

fn refusal(head: &str) -> Refused {
    match check(head.as_bytes()) {
        Err(refused) => refused,
        Ok(read) => panic!("{head:?} was read as {read:?}"),
    }
}

fn framing(head: &str) -> Framing {
    match check(head.as_bytes()) {
        Ok(Some(read)) if read.used == head.len() => read.framing,
        other => panic!("{head:?} came to {other:?}"),
    }
}

fn with(field: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: shop\r\n{field}\r\n\r\n")
}

#[test]
fn what_is_well_formed_is_read_with_its_framing() {
    assert_eq!(framing("GET / HTTP/1.1\r\nHost: shop\r\n\r\n"), Framing::Empty);
    assert_eq!(framing("GET / HTTP/1.0\r\n\r\n"), Framing::Empty);
    assert_eq!(framing("\r\nGET / HTTP/1.0\r\n\r\n"), Framing::Empty);
    assert_eq!(framing("OPTIONS * HTTP/1.1\r\nhost:shop\r\n\r\n"), Framing::Empty);
    assert_eq!(framing("GET http://shop:80/a?b HTTP/1.1\r\nhost: shop:80 \r\n\r\n"), Framing::Empty);
    assert_eq!(framing("GET HTTPS://shop HTTP/1.0\r\n\r\n"), Framing::Empty);
    assert_eq!(framing("GET / HTTP/1.1\r\nhost: [::1]:8080\r\nx:\r\ny: \t a\tb\x09\r\n\r\n"), Framing::Empty);
    assert_eq!(framing(&with("content-length: 0")), Framing::Empty);
    assert_eq!(framing(&with("Content-Length:\t17 ")), Framing::Length(17));
    assert_eq!(framing(&with("Transfer-Encoding: Chunked")), Framing::Chunked);
    assert!(check(b"GET / HTTP/1.1\r\nhost: a\r\nx: caf\xc3\xa9\r\n\r\n").unwrap().is_some());
    assert!(check(with("expect: 100-Continue").as_bytes()).unwrap().unwrap().expects);
}

#[test]
fn each_fault_has_its_reason() {
    let faults = [
        (with("content-length: 5\r\ntransfer-encoding: chunked"), "both"),
        (with("transfer-encoding: chunked\r\ncontent-length: 5"), "both"),
        (with("content-length: 5\r\ncontent-length: 5"), "more than one Content-Length"),
        (with("content-length: 5\r\ncontent-length: 6"), "more than one Content-Length"),
        (with("content-length: 5, 5"), "not one number"),
        (with("content-length: +5"), "not one number"),
        (with("content-length: -5"), "not one number"),
        (with("content-length: 0x5"), "not one number"),
        (with("content-length: 5 5"), "not one number"),
        (with("content-length:"), "not one number"),
        (with("content-length: 99999999999999999999"), "not one number"),
        (with("content-length: 9223372036854775808"), "not one number"),
        (with("x: a\r\n b"), "second line"),
        (with("x: a\r\n\tb"), "second line"),
        ("GET / HTTP/1.1\r\n host: shop\r\n\r\n".into(), "second line"),
        ("GET / HTTP/1.1\nhost: shop\r\n\r\n".into(), "bare LF"),
        ("GET / HTTP/1.1\r\nhost: shop\n\r\n".into(), "bare LF"),
        ("GET / HTTP/1.1\r\nhost: shop\r\nx: y\n\r\n".into(), "bare LF"),
        ("GET / HTTP/1.1\r\nhost: shop\r\n\n".into(), "bare LF"),
        ("GET / HTTP/1.1\rhost: shop\r\n\r\n".into(), "bare CR"),
        (with("x: a\rb"), "bare CR"),
        (with("x : a"), "before its colon"),
        (with("content-length\t: 5"), "before its colon"),
        (with(": a"), "no name"),
        (with("x"), "no colon"),
        (with("x(y): a"), "not allowed"),
        (with("x\0y: a"), "not allowed"),
        (with("x: a\0b"), "control character"),
        (with("x: a\x01b"), "control character"),
        (with("x: a\x7fb"), "control character"),
        (with("host: shop"), "more than one Host"),
        (with("HOST: other"), "more than one Host"),
        ("GET / HTTP/1.1\r\n\r\n".into(), "no Host"),
        ("GET / HTTP/1.1\r\nhost:\r\n\r\n".into(), "one host"),
        ("GET / HTTP/1.1\r\nhost: me@shop\r\n\r\n".into(), "one host"),
        ("GET / HTTP/1.1\r\nhost: shop/x\r\n\r\n".into(), "one host"),
        ("GET / HTTP/1.1\r\nhost: shop other\r\n\r\n".into(), "one host"),
        ("GET / HTTP/1.1\r\nhost: shop,other\r\n\r\n".into(), "one host"),
        ("GET / HTTP/1.1\r\nhost: shop:80:80\r\n\r\n".into(), "one host"),
        ("GET / HTTP/1.1\r\nhost: shop:http\r\n\r\n".into(), "one host"),
        ("GET / HTTP/1.1\r\nhost: [::1\r\n\r\n".into(), "one host"),
        ("GET http://shop/ HTTP/1.1\r\nhost: other\r\n\r\n".into(), "different hosts"),
        ("GET http://shop/ HTTP/1.1\r\nhost: shopping\r\n\r\n".into(), "different hosts"),
        ("GET http://shopping/ HTTP/1.1\r\nhost: shop\r\n\r\n".into(), "different hosts"),
        ("GET http://shop/ HTTP/1.1\r\n\r\n".into(), "no Host"),
        ("GET http:/\\shop/ HTTP/1.1\r\nhost: shop\r\n\r\n".into(), "neither a path"),
        ("GET http://me@shop/ HTTP/1.1\r\nhost: shop\r\n\r\n".into(), "target of this request is not valid"),
        ("GET http:/// HTTP/1.1\r\nhost: shop\r\n\r\n".into(), "target of this request is not valid"),
        ("GET ftp://shop/ HTTP/1.1\r\nhost: shop\r\n\r\n".into(), "neither a path"),
        ("GET shop HTTP/1.1\r\nhost: shop\r\n\r\n".into(), "neither a path"),
        ("GET * HTTP/1.1\r\nhost: shop\r\n\r\n".into(), "neither a path"),
        ("OPTIONS *x HTTP/1.1\r\nhost: shop\r\n\r\n".into(), "neither a path"),
        ("GET /a#b HTTP/1.1\r\nhost: shop\r\n\r\n".into(), "percent-encoded"),
        ("GET /a\0 HTTP/1.1\r\nhost: shop\r\n\r\n".into(), "percent-encoded"),
        ("GET /a b HTTP/1.1\r\nhost: shop\r\n\r\n".into(), "version"),
        ("GET /\u{e9} HTTP/1.1\r\nhost: shop\r\n\r\n".into(), "percent-encoded"),
        ("GET /\r\n\r\n".into(), "no version"),
        ("GET / HTTP/1.1 \r\n\r\n".into(), "end with its version"),
        ("GET  / HTTP/1.1\r\n\r\n".into(), "neither a path"),
        ("GET / http/1.1\r\n\r\n".into(), "version"),
        ("G(T / HTTP/1.1\r\n\r\n".into(), "method"),
        ("\r\n\r\nGET / HTTP/1.0\r\n\r\n".into(), "not an HTTP request"),
        (" GET / HTTP/1.0\r\n\r\n".into(), "not an HTTP request"),
        ("\x16\x03\x01".into(), "TLS"),
        (with("transfer-encoding: gzip, chunked"), "`chunked` alone"),
        (with("transfer-encoding: chunked, identity"), "`chunked` alone"),
        (with("transfer-encoding: identity"), "`chunked` alone"),
        (with("transfer-encoding: xchunked"), "`chunked` alone"),
        (with("transfer-encoding: chunked\x0b"), "control character"),
        (with("transfer-encoding:"), "`chunked` alone"),
        (with("transfer-encoding: chunked\r\ntransfer-encoding: chunked"), "more than one Transfer-Encoding"),
        ("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n".into(), "HTTP/1.0"),
    ];
    for (head, reason) in faults {
        let refused = refusal(&head);
        assert!(refused.status == 400 && refused.why.contains(reason), "{head:?}: {refused:?}");
    }
}

#[test]
fn other_versions_tunnels_and_sizes_have_their_own_status() {
    assert_eq!(refusal("GET / HTTP/2.0\r\n").status, 505);
    assert_eq!(refusal("PRI * HTTP/2.0\r\n\r\nXX").status, 400);
    assert_eq!(refusal("CONNECT shop:443 HTTP/1.1\r\n").status, 405);
    let of = |head: &str| HeadCheck::new(LIMITS).feed(head.as_bytes());
    let status = |head: &str| of(head).unwrap_err().status;
    let target = |length: usize| format!("GET /{} HTTP/1.0\r\n", "x".repeat(length - "GET / HTTP/1.0".len()));
    assert!(of(&target(64)).is_ok());
    assert_eq!(status(&target(65)), 414);
    assert_eq!(status(&format!("GET /{}", "x".repeat(100))), 414);
    let fields = |count: usize| format!("GET / HTTP/1.0\r\n{}\r\n", "x: y\r\n".repeat(count));
    assert_eq!(of(&fields(8)).unwrap().unwrap().fields, 8);
    assert_eq!(status(&fields(9)), 431);
    let large = |length: usize| format!("GET / HTTP/1.0\r\nx:{}\r\n\r\n", "y".repeat(length - 22));
    assert!(of(&large(256)).unwrap().is_some());
    assert_eq!(status(&large(257)), 431);
}

#[test]
fn a_path_has_no_character_that_pingora_would_change() {
    for byte in 0..=255u8 {
        for before in ["/", "/?"] {
            let target = [before.as_bytes(), &[byte]].concat();
            let head = [b"GET ", &target[..], b" HTTP/1.0\r\n\r\n"].concat();
            if check(&head).is_ok_and(|head| head.is_some()) {
                let request = pingora_http::RequestHeader::build("GET", &target, None).unwrap();
                assert_eq!(request.uri.to_string().as_bytes(), target);
            }
        }
    }
}

/// A head with what smuggles are made of, in any order.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /a/b?c=d HTTP/1.1\r\n",
        "GET / HTTP/1.0\r\n",
        "\r\nGET / HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "GET http://shop/ HTTP/1.1\r\n",
        "CONNECT shop:1 HTTP/1.1\r\n",
        "GET / HTTP/3.0\r\n",
    ]);
    let field = prop::sample::select(vec![
        "Host: shop\r\n",
        "host:other:80\r\n",
        "Content-Length: 12\r\n",
        "Transfer-Encoding: chunked\r\n",
        "x-a: some value \r\n",
        "Expect: 100-continue\r\n",
        "b:\r\n",
        " folded\r\n",
        "bad : x\r\n",
    ]);
    let change = (any::<prop::sample::Index>(), any::<u8>());
    (line, prop::collection::vec(field, 0..7), prop::collection::vec(change, 0..3)).prop_map(
        |(line, fields, changes)| {
            let mut head = [line, &fields.concat(), "\r\n", "after"].concat().into_bytes();
            for (at, byte) in changes {
                let at = at.index(head.len());
                head[at] = byte;
            }
            head
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn however_a_head_is_cut_the_verdict_is_the_same(head in heads(), cuts in prop::collection::vec(1usize..40, 1..20)) {
        let whole = HeadCheck::new(LIMITS).feed(&head);
        let mut check = HeadCheck::new(LIMITS);
        let (mut at, mut cuts) = (0, cuts.iter().cycle());
        let in_pieces = loop {
            let end = head.len().min(at + cuts.next().unwrap());
            match check.feed(&head[at..end]) {
                Ok(None) if end < head.len() => at = end,
                Ok(read) => break Ok(read.map(|read| Head { used: at + read.used, ..read })),
                Err(refused) => break Err(refused),
            }
        };
        prop_assert_eq!(in_pieces, whole);
    }

    #[test]
    fn what_is_accepted_is_read_alike_by_the_parser_behind_us(head in heads()) {
        if let Ok(Some(read)) = check(&head) {
            let mut fields = [httparse::EMPTY_HEADER; 256];
            let mut request = httparse::Request::new(&mut fields);
            prop_assert_eq!(request.parse(&head), Ok(httparse::Status::Complete(read.used)));
            prop_assert_eq!(request.headers.len(), read.fields);
        }
    }

    #[test]
    fn no_bytes_at_all_are_too_much_for_it(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(Some(head)) = check(&bytes) {
            prop_assert!(head.used <= bytes.len());
        }
    }
}
