//! What must hold of any bytes that are read as the head of a request.

use super::head_check::{Head, HeadCheck, HeadLimits};

/// The first byte says how the others are cut.
pub(super) fn holds(data: &[u8]) {
    let Some((cut, head)) = data.split_first() else { return };
    let limits = HeadLimits { line: 512, head: 2048, fields: 20 };
    let whole = HeadCheck::new(limits).feed(head);
    let mut check = HeadCheck::new(limits);
    let mut at = 0;
    let mut in_pieces = Ok(None);
    for piece in head.chunks(usize::from(*cut).max(1)) {
        in_pieces = check.feed(piece);
        if in_pieces != Ok(None) {
            break;
        }
        at += piece.len();
    }
    let in_pieces = in_pieces.map(|read| read.map(|read| Head { used: at + read.used, ..read }));
    assert_eq!(in_pieces, whole, "however it is cut");
    if let Ok(Some(read)) = whole {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut fields);
        assert_eq!(request.parse(head), Ok(httparse::Status::Complete(read.used)), "as the parser behind us reads it");
        assert_eq!(request.headers.len(), read.fields);
    }
}
