//! What must hold of any bytes that are read as a PROXY protocol header.

use super::proxy_protocol::{LONGEST_V2, Reading, read};

/// However much of them has come: more bytes change "more is needed" alone.
pub(super) fn holds(data: &[u8]) {
    let all = read(data);
    if let Ok(Reading::Whole(_, length)) = all {
        assert!(length <= data.len());
    }
    assert!(all != Ok(Reading::Partial) || data.len() < LONGEST_V2, "never more is needed than may be there");
    for length in 0..data.len() {
        let part = read(&data[..length]);
        assert!(part == Ok(Reading::Partial) || part == all, "{length} bytes came to {part:?}, all of them to {all:?}");
    }
}
