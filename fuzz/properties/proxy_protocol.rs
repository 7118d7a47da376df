//! What must hold of any bytes that are read as a PROXY protocol header.

use super::proxy_protocol::{LONGEST_V2, Reading, read};

/// However a header is cut, the answer is the same, and none is waited for beyond the limit.
pub(super) fn holds(data: &[u8]) {
    let whole = read(data);
    match whole {
        Ok(Reading::Whole(_, end)) => assert!(end <= data.len() && end <= LONGEST_V2),
        Ok(Reading::Partial) => assert!(data.len() < LONGEST_V2),
        Err(_) => {}
    }
    for end in 0..data.len() {
        let cut = read(&data[..end]);
        assert!(cut == Ok(Reading::Partial) || cut == whole, "{cut:?} at {end}, {whole:?} in all");
    }
}
