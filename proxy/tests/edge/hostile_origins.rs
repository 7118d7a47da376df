//! Origins that answer what a client could misread: a protocol error of the version, and a connection that is not used
//! again. What pingora repairs before we see it reaches the client repaired.

use loadtest::{RawAnswer, RawOrigin};
use meter::Class;

use crate::fixture::{LONG, Shop, get, judged, nobody, status};

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
        let (shop, origin) = answering(attack).await;
        let shown = &attack[..attack.len().min(120)];
        let answer = get(shop.address()).await;
        // Interim heads that came before it are passed on.
        let last = answer.rsplit("HTTP/1.1 ").next().unwrap();
        assert_eq!(&last[..3], "502", "{shown:?}: {answer}");
        let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
        assert_eq!((judged(&tally, Class::ProtocolError), tally.bad()), (1, 1), "{shown:?}: {tally:?}");
        assert_eq!(status(&get(shop.address()).await), 200, "{shown:?}");
        assert_eq!(origin.connections().len(), 2, "{shown:?}: the connection is not used again");
    }
}

#[tokio::test]
async fn what_is_repaired_before_we_see_it_reaches_the_client_repaired() {
    for (attack, wanted, never) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 50\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "transfer-encoding: chunked",
            "content-length",
        ),
        ("HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 2\r\n\r\nok", "x: a b\r\n", "\r\n b"),
        ("HTTP/1.1 200 OK\r\nx : a\r\ncontent-length: 2\r\n\r\nok", "x: a\r\n", "x :"),
        ("HTTP/1.1 200 OK\nx: a\ncontent-length: 2\n\nok", "x: a\r\n", "a\nc"),
    ] {
        let (shop, _origin) = answering(attack).await;
        let answer = get(shop.address()).await.to_lowercase();
        assert!(answer.contains(wanted) && !answer.contains(never), "{attack:?}: {answer:?}");
        assert_eq!(status(&get(shop.address()).await), 200);
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
        let (shop, origin) = answering(attack).await;
        let first = get(shop.address()).await;
        assert!(!first.contains("poisoned") && !first.contains("more"), "{attack:?}: {first}");
        let second = get(shop.address()).await;
        assert!(second.starts_with("HTTP/1.1 200") && second.ends_with("\r\n\r\nok"), "{attack:?}: {second}");
        origin.until(LONG, |all| all.len() == 2).await.expect(attack);
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
