//! What must hold of any bytes that are read and written as HTTP/2.

use super::frames::{FrameLimits, FrameWatch};

/// The first byte says how the others are cut, the second when they come; they are read and written alike.
pub(super) fn holds(data: &[u8]) {
    let [cut, late, bytes @ ..] = data else { return };
    let limits = FrameLimits { resets: 5, glitches: 20 };
    let now = u64::from(*late) * 100;
    let mut whole = FrameWatch::new(limits);
    let mut pieces = FrameWatch::new(limits);
    let cut = || bytes.chunks(usize::from(*cut).max(1));
    assert_eq!(cut().try_for_each(|piece| pieces.read(piece, now)), whole.read(bytes, now), "however it is cut");
    assert_eq!(cut().try_for_each(|piece| pieces.wrote(piece, now)), whole.wrote(bytes, now), "however it is cut");
    assert_eq!(pieces.farewell(), whole.farewell());
    assert_eq!(pieces.awaits_head(), whole.awaits_head());
}
