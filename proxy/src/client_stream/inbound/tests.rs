//! Requests on one connection, however their bytes are cut: each is given whole, and none before its turn.

use super::*;
use proptest::prelude::*;

fn inbound() -> Inbound {
    Inbound::new(HeadLimits::default())
}

/// Gives all that is ready.
fn taken(inbound: &mut Inbound) -> Vec<u8> {
    let ready = inbound.ready().to_vec();
    inbound.gave(ready.len());
    ready
}

const REQUESTS: [&str; 5] = [
    "GET / HTTP/1.1\r\nhost: shop\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 4\r\n\r\nGET ",
    "POST / HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 0\r\n\r\n",
    "\r\nGET / HTTP/1.0\r\n\r\n",
];

#[test]
fn a_head_in_one_piece_is_given_at_once_with_its_body_and_nothing_is_held() {
    for request in REQUESTS {
        let mut inbound = inbound();
        assert_eq!(inbound.arrived(request.as_bytes()), Ok(request.len()));
        assert!(inbound.held.capacity() == 0 && !inbound.is_ahead());
        assert_eq!(inbound.next_request(), Ok(true));
        assert_eq!(inbound.awaited(), Awaited::Request);
    }
}

#[test]
fn what_is_awaited_follows_the_request() {
    let mut inbound = inbound();
    assert_eq!(inbound.awaited(), Awaited::Request);
    assert_eq!(inbound.arrived(b"POST / HTTP/1.1\r\nhost: a\r\n"), Ok(0));
    assert_eq!(inbound.awaited(), Awaited::Head);
    assert_eq!(inbound.arrived(b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n"), Ok(0));
    taken(&mut inbound);
    assert_eq!(inbound.awaited(), Awaited::Leave, "the client waits for us");
    assert!(inbound.told() && !inbound.told());
    assert_eq!(inbound.awaited(), Awaited::Body);
    assert_eq!(inbound.next_request(), Ok(false), "there is a body to come");
    assert_eq!(inbound.arrived(b"ab"), Ok(2));
    assert_eq!(inbound.awaited(), Awaited::Nothing);
}

#[test]
fn what_is_sent_ahead_waits_or_becomes_a_tunnel() {
    let (request, ahead) = ("GET / HTTP/1.1\r\nhost: a\r\nupgrade: x\r\n\r\n", "\0\x01ahead");
    let mut inbound = inbound();
    assert_eq!(inbound.arrived(format!("{request}{ahead}").as_bytes()), Ok(request.len()));
    assert!(inbound.is_ahead() && inbound.ready().is_empty());
    inbound.begin_tunnel();
    assert_eq!(taken(&mut inbound), ahead.as_bytes());
    assert_eq!(inbound.arrived(b"\0more"), Ok(5));
}

#[test]
fn a_fault_in_a_request_that_was_sent_ahead_is_found_at_its_turn() {
    let mut inbound = inbound();
    let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    assert_eq!(inbound.arrived(format!("{request}GET /\n").as_bytes()), Ok(request.len()));
    assert_eq!(inbound.next_request().unwrap_err().status, 400);
}

proptest! {
    #[test]
    fn requests_in_a_row_are_given_one_by_one_and_whole(
        which in prop::collection::vec(0usize..REQUESTS.len(), 1..6),
        cuts in prop::collection::vec(1usize..50, 1..20),
    ) {
        let all: String = which.iter().map(|n| REQUESTS[*n]).collect();
        let mut inbound = inbound();
        let (mut at, mut cuts) = (0, cuts.iter().cycle());
        for wanted in which.iter().map(|n| REQUESTS[*n]) {
            let mut given = taken(&mut inbound);
            while given.len() < wanted.len() {
                let end = all.len().min(at + cuts.next().unwrap());
                let piece = &all.as_bytes()[at..end];
                at = end;
                let ready = inbound.arrived(piece).unwrap();
                given.extend_from_slice(&piece[..ready]);
                given.extend(taken(&mut inbound));
            }
            prop_assert_eq!(String::from_utf8(given).unwrap(), wanted);
            prop_assert_eq!(inbound.next_request(), Ok(true));
        }
        prop_assert_eq!((at, inbound.held.len()), (all.len(), 0));
    }
}
