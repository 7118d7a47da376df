//! The time that a client takes for what it is given: no endpoint's.

use std::time::Instant;

use bytes::Bytes;

use super::{Deadline, Deadlines, Slot};

/// How a request's deadline is told that its client takes its time. Outlives the deadline without harm.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    of: Deadlines,
    place: usize,
    turn: u32,
}

/// The client has something that it has not taken. The limit of the whole stands still until this is dropped.
#[derive(Debug)]
pub(crate) struct Hold(Holder);

impl Deadline {
    /// Whoever tells this deadline when the client takes its time.
    pub(crate) fn holder(&self) -> Holder {
        Holder { of: self.of.clone(), place: self.place, turn: self.of.0.table.lock().slots[self.place].turn }
    }
}

impl Holder {
    /// The client has something from now on.
    pub(crate) fn hold(&self) -> Hold {
        self.with(|slot| slot.hold(Instant::now()));
        Hold(self.clone())
    }

    /// A piece of the response, which is the client's to take: held until every byte of it is let go.
    pub(crate) fn piece(&self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Piece { bytes, _hold: self.hold() })
    }

    /// Its place in the table, where that is still its own.
    pub(super) fn slot(&self) -> Option<Slot> {
        let table = self.of.0.table.lock();
        table.slots.get(self.place).filter(|slot| slot.turn == self.turn).copied()
    }

    pub(super) fn with(&self, change: impl FnOnce(&mut Slot)) {
        let mut table = self.of.0.table.lock();
        let Some(slot) = table.slots.get_mut(self.place).filter(|slot| slot.turn == self.turn) else { return };
        change(slot);
        self.of.look_in_time(&mut table, self.place);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.with(|slot| slot.release(Instant::now()));
    }
}

struct Piece {
    bytes: Bytes,
    _hold: Hold,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
