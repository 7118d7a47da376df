//! What must hold of any bytes that arrive on an HTTP/1.1 connection.

use super::head_check::HeadLimits;
use super::inbound::Inbound;

/// The first byte says how the others are cut. Each request is over as soon as it is whole.
pub(super) fn holds(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    let mut inbound = Inbound::new(HeadLimits { line: 512, head: 2048, fields: 20 });
    let mut given = Vec::new();
    'reading: for piece in bytes.chunks(usize::from(*cut).max(1)) {
        let Ok(ready) = inbound.arrived(piece) else { break };
        given.extend_from_slice(&piece[..ready]);
        loop {
            given.extend_from_slice(inbound.ready());
            inbound.gave(inbound.ready().len());
            match inbound.next_request() {
                Ok(true) if !inbound.ready().is_empty() => {}
                Ok(_) => break,
                Err(_) => break 'reading,
            }
        }
    }
    assert!(bytes.starts_with(&given), "in order, and none lost between");
}
