//! What must hold of any bytes that are read as a chunked body.

use super::chunks::ChunkCheck;
use super::head_check::{HeadLimits, Refused};

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<(usize, bool, u64), Refused> {
    let mut check = ChunkCheck::new(HeadLimits { line: 512, head: 512, fields: 5 });
    let mut used = 0;
    for piece in pieces {
        used += check.feed(piece)?;
        if check.is_whole() {
            break;
        }
    }
    Ok((used, check.is_whole(), check.data()))
}

/// The first byte says how the others are cut.
pub(super) fn holds(data: &[u8]) {
    let Some((cut, body)) = data.split_first() else { return };
    let whole = read(std::iter::once(body));
    assert_eq!(read(body.chunks(usize::from(*cut).max(1))), whole, "however it is cut");
    if let Ok((used, true, data)) = whole {
        assert_eq!(by_httparse(&body[..used]), Some(data), "as the parser behind us reads it");
    }
}

/// How much data there is by another parser's sizes.
fn by_httparse(body: &[u8]) -> Option<u64> {
    let (mut data, mut at) = (0, 0);
    loop {
        let httparse::Status::Complete((head, size)) = httparse::parse_chunk_size(body.get(at..)?).ok()? else {
            return None;
        };
        if size == 0 {
            return Some(data);
        }
        data += size;
        at += head + usize::try_from(size).ok()? + 2;
    }
}
