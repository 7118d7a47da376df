//! Responses on one connection, however their bytes are cut: each is given whole, and nothing after it.

use super::*;
use proptest::prelude::*;

const RESPONSES: [&str; 9] = [
    "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nHTTP",
    "HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n",
    "HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.1 103 Early Hints\r\ncontent-length: 9\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 \r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 599 \u{fc}ber\r\ncontent-length:\t1 \r\n\r\n.",
];

fn inbound() -> Inbound {
    Inbound::new(HeadLimits::default(), false)
}

/// What pingora gets of these pieces.
fn given<'a>(inbound: &mut Inbound, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, Malformed> {
    let mut given = Vec::new();
    for piece in pieces {
        let ready = inbound.arrived(piece)?;
        given.extend_from_slice(&piece[..ready]);
        given.extend_from_slice(inbound.ready());
        inbound.gave(inbound.ready().len());
    }
    Ok(given)
}

#[test]
fn a_response_in_one_piece_is_given_at_once_and_nothing_is_held() {
    for response in RESPONSES {
        let mut inbound = inbound();
        assert_eq!(inbound.arrived(response.as_bytes()), Ok(response.len()), "{response:?}");
        assert!(inbound.is_over() && inbound.held.capacity() == 0, "{response:?}");
    }
}

#[test]
fn what_comes_after_a_response_is_given_to_nobody() {
    for response in RESPONSES {
        let bytes = format!("{response}HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\npoisoned");
        for cut in 1..bytes.len() {
            let mut inbound = inbound();
            let (first, second) = bytes.as_bytes().split_at(cut);
            assert_eq!(given(&mut inbound, [first, second]).unwrap(), response.as_bytes(), "cut at {cut}");
            assert!(inbound.is_over() && inbound.has_surplus() && inbound.held.is_empty());
        }
    }
}

#[test]
fn a_head_is_given_once_it_is_whole_and_not_before() {
    let mut inbound = inbound();
    assert_eq!(inbound.arrived(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r"), Ok(0));
    assert!(inbound.ready().is_empty());
    assert_eq!(inbound.arrived(b"\nok"), Ok(0));
    assert_eq!(inbound.ready(), b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    inbound.gave(inbound.ready().len());
    assert_eq!((inbound.held.capacity(), inbound.is_over()), (0, true));
}

#[test]
fn no_body_follows_the_head_that_answers_head() {
    for response in [RESPONSES[0], RESPONSES[3]] {
        let head = response.find("\r\n\r\n").unwrap() + 4;
        let mut inbound = Inbound::new(HeadLimits::default(), true);
        assert_eq!(inbound.arrived(response.as_bytes()), Ok(head));
        assert!(inbound.is_over() && inbound.has_surplus(), "a body is what nobody asked for");
    }
}

#[test]
fn what_has_no_end_of_its_own_is_passed_as_it_comes() {
    for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"] {
        let mut inbound = inbound();
        let pieces = [head.as_bytes(), b"\0\r\n", b"HTTP/9"];
        assert_eq!(given(&mut inbound, pieces).unwrap(), pieces.concat());
        assert!(!inbound.is_over());
    }
}

#[test]
fn each_flaw_is_of_its_kind() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(40_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(101));
    let trailing = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n{}\r\n", "x: y\r\n".repeat(101));
    for (response, flaw) in [
        ("HTTP/2.0 200 OK\r\n\r\n", Flaw::StatusLine),
        ("HTTP/1.1200 OK\r\n\r\n", Flaw::StatusLine),
        ("HTTP/1.1 2000 OK\r\n\r\n", Flaw::StatusLine),
        ("HTTP/1.1 20\r\n\r\n", Flaw::StatusLine),
        ("HTTP/1.1 099 No\r\n\r\n", Flaw::StatusLine),
        ("HTTP/1.1 600 No\r\n\r\n", Flaw::StatusLine),
        ("HTTP/1.1 200 O\x01K\r\n\r\n", Flaw::StatusLine),
        ("HTTP/1.1 200 OK\r\r\n\r\n", Flaw::StatusLine),
        ("HTTP/1.1 200 OK\r\nx\r\n\r\n", Flaw::Header),
        ("HTTP/1.1 200 OK\r\nx: \x7f\r\n\r\n", Flaw::Header),
        ("HTTP/1.1 200 OK\r\ncontent-length: a\r\n\r\n", Flaw::Framing),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9223372036854775808\r\n\r\n", Flaw::Framing),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n", Flaw::Framing),
        (&long, Flaw::TooLarge),
        (&many, Flaw::TooLarge),
        (&trailing, Flaw::TooLarge),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\ng\r\n", Flaw::Chunks),
    ] {
        let found = given(&mut inbound(), [response.as_bytes()]);
        assert_eq!(found.map_err(|malformed| malformed.flaw), Err(flaw), "{:?}", &response[..response.len().min(90)]);
    }
}

proptest! {
    #[test]
    fn responses_are_read_alike_however_they_are_cut(
        which in 0..RESPONSES.len(),
        cuts in prop::collection::vec(1_usize..40, 1..20),
    ) {
        let bytes = RESPONSES[which].as_bytes();
        let (mut pieces, mut at) = (Vec::new(), 0);
        for cut in cuts.iter().cycle() {
            if at == bytes.len() {
                break;
            }
            let end = bytes.len().min(at + cut);
            pieces.push(&bytes[at..end]);
            at = end;
        }
        let mut inbound = inbound();
        prop_assert_eq!(given(&mut inbound, pieces).unwrap(), bytes);
        prop_assert!(inbound.is_over() && !inbound.has_surplus() && inbound.held.capacity() == 0);
    }
}
