//! Chunked bodies that are refused, each for its reason, and bodies that are not; whole and in pieces.

use super::*;
use proptest::prelude::*;

/// What a body comes to: how much of the bytes is the body's, and whether it is whole.
fn check(bytes: &[u8]) -> Result<(usize, bool), Refused> {
    let mut check = ChunkCheck::new(HeadLimits { line: 64, head: 64, fields: 2 });
    check.feed(bytes).map(|used| (used, check.is_whole()))
}

#[test]
fn a_body_ends_where_its_chunks_do() {
    let bodies = [
        "0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "00A;name=value;other=\"quoted\"\r\n0123456789\r\n000\r\n\r\n",
        "1\r\nx\r\n0\r\nx-sum: 1\r\nother:\r\n\r\n",
    ];
    for body in bodies {
        assert_eq!(check(body.as_bytes()), Ok((body.len(), true)), "{body:?}");
        assert_eq!(check(format!("{body}GET /").as_bytes()), Ok((body.len(), true)), "{body:?}");
        assert_eq!(check(&body.as_bytes()[..body.len() - 1]), Ok((body.len() - 1, false)), "{body:?}");
    }
}

#[test]
fn each_fault_has_its_reason() {
    let long = "x".repeat(1025);
    let drip = "1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\nx\r\n".repeat(500);
    let faults = [
        ("\r\n", 400, "size"),
        ("g\r\n", 400, "size"),
        ("-1\r\n", 400, "size"),
        ("+1\r\n", 400, "size"),
        ("0x1\r\n", 400, "size"),
        (" 1\r\n", 400, "size"),
        ("1 \r\n", 400, "size"),
        ("1 ;a\r\n", 400, "size"),
        (";a\r\n", 400, "size"),
        ("1\nx", 400, "size"),
        ("1000000000000000\r\n", 400, "size"),
        ("0000000000000001\r\n", 400, "size"),
        ("1\rx", 400, "bare CR"),
        ("1\r\nxy\r\n", 400, "longer than its size"),
        ("1\r\nx\n", 400, "longer than its size"),
        ("1\r\nx\rx", 400, "longer than its size"),
        ("1;a\nx\r\n", 400, "control character"),
        ("0\r\n\n", 400, "trailer"),
        ("0\r\n folded\r\n", 400, "trailer"),
        ("0\r\nx : y\r\n", 400, "name of a trailer"),
        ("0\r\nx: a\0\r\n", 400, "value of a trailer"),
        ("0\r\nContent-Length: 5\r\n", 400, "must come before"),
        ("0\r\nhost: x\r\n", 400, "must come before"),
        ("0\r\na:b\r\nc:d\r\ne:f\r\n", 431, "too many trailers"),
        (&format!("0\r\na: {long}\r\n"), 431, "too large"),
        (&format!("1;{long}\r\n"), 400, "extensions"),
        (&drip, 400, "extensions"),
    ];
    for (body, status, reason) in faults {
        let refused = check(body.as_bytes()).expect_err(body);
        assert!(refused.status == status && refused.why.contains(reason), "{body:?}: {refused:?}");
    }
}

#[test]
fn signatures_of_the_chunks_of_a_long_body_are_no_fault() {
    let chunk = format!("400;chunk-signature={}\r\n{}\r\n", "f".repeat(64), "x".repeat(1024));
    let mut check = ChunkCheck::new(HeadLimits::default());
    for _ in 0..1_000 {
        assert_eq!(check.feed(chunk.as_bytes()), Ok(chunk.len()));
    }
    assert_eq!(check.data(), 1024 * 1000);
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let piece =
        prop::sample::select(vec!["3\r\nabc\r\n", "1;a=b\r\nx\r\n", "0a\r\n0123456789\r\n", "x: y\r\n", "\r\n"]);
    let change = (any::<prop::sample::Index>(), any::<u8>());
    (prop::collection::vec(piece, 0..5), prop::collection::vec(change, 0..2)).prop_map(|(pieces, changes)| {
        let mut body = [&pieces.concat(), "0\r\n\r\n", "after"].concat().into_bytes();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        body
    })
}

/// The data of a body as another parser reads it, and where the chunks end.
fn by_httparse(body: &[u8]) -> Option<(u64, usize)> {
    let (mut data, mut at) = (0, 0);
    loop {
        let httparse::Status::Complete((head, size)) = httparse::parse_chunk_size(&body[at..]).ok()? else {
            return None;
        };
        at += head;
        if size == 0 {
            return Some((data, at));
        }
        data += size;
        at += usize::try_from(size).ok()?;
        at += 2;
        body.get(at..)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn however_a_body_is_cut_the_verdict_is_the_same(body in bodies(), cuts in prop::collection::vec(1usize..9, 1..9)) {
        let whole = check(&body);
        let mut check = ChunkCheck::new(HeadLimits { line: 64, head: 64, fields: 2 });
        let (mut at, mut cuts) = (0, cuts.iter().cycle());
        let in_pieces = loop {
            let end = body.len().min(at + cuts.next().unwrap());
            match check.feed(&body[at..end]) {
                Ok(used) => at += used,
                Err(refused) => break Err(refused),
            }
            if at == body.len() || check.is_whole() {
                break Ok((at, check.is_whole()));
            }
        };
        prop_assert_eq!(in_pieces, whole);
    }

    #[test]
    fn what_is_accepted_is_read_alike_by_the_parser_behind_us(body in bodies()) {
        let mut check = ChunkCheck::new(HeadLimits::default());
        if check.feed(&body).is_ok() && check.is_whole() {
            prop_assert_eq!(by_httparse(&body).map(|(data, _)| data), Some(check.data()));
        }
    }
}
