//! What must hold of any bytes that arrive from an endpoint in HTTP/1.1.

use super::head_check::HeadLimits;
use super::inbound::Inbound;
use super::response_head::{ResponseHead, ResponseHeadCheck};

const LIMITS: HeadLimits = HeadLimits { line: 512, head: 2048, fields: 20 };

/// The first byte says how the others are cut, and whether they answer a HEAD.
pub(super) fn holds(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let (cut, asks_head) = (usize::from(how >> 1).max(1), how & 1 == 1);
    head(bytes, cut);
    response(bytes, cut, asks_head);
}

fn head(bytes: &[u8], cut: usize) {
    let whole = ResponseHeadCheck::new(LIMITS).feed(bytes);
    let mut check = ResponseHeadCheck::new(LIMITS);
    let mut at = 0;
    let mut in_pieces = Ok(None);
    for piece in bytes.chunks(cut) {
        in_pieces = check.feed(piece);
        if in_pieces != Ok(None) {
            break;
        }
        at += piece.len();
    }
    let in_pieces = in_pieces.map(|read| read.map(|read| ResponseHead { used: at + read.used, ..read }));
    assert_eq!(in_pieces, whole, "however it is cut");
    if let Ok(Some(read)) = whole {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut fields);
        assert_eq!(
            response.parse(bytes),
            Ok(httparse::Status::Complete(read.used)),
            "as the parser behind us reads it"
        );
        assert_eq!((response.headers.len(), response.code), (read.fields, Some(read.status)));
    }
}

/// What is given is in order, none is lost between, and nothing follows the response's end.
fn response(bytes: &[u8], cut: usize, asks_head: bool) {
    let read = |cut: usize| {
        let mut inbound = Inbound::new(LIMITS, asks_head);
        let mut given = Vec::new();
        for piece in bytes.chunks(cut) {
            let Ok(ready) = inbound.arrived(piece) else { return None };
            given.extend_from_slice(&piece[..ready]);
            given.extend_from_slice(inbound.ready());
            inbound.gave(inbound.ready().len());
        }
        Some((given, inbound.is_over(), inbound.has_surplus()))
    };
    let whole = read(bytes.len().max(1));
    assert_eq!(read(cut).is_some(), whole.is_some(), "however it is cut");
    if let Some((given, is_over, has_surplus)) = &whole {
        assert_eq!(read(cut), whole, "however it is cut");
        assert!(bytes.starts_with(given));
        assert_eq!(*has_surplus, *is_over && given.len() < bytes.len());
    }
}
