//! Who waits for a response to begin: so it is known that an endpoint hangs before its first deadline passes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Deadline, Slot};
use crate::endpoint::Endpoint;

/// How often those who wait are looked at.
pub(super) const LOOK: Duration = Duration::from_millis(250);

/// A request that an endpoint has all of, and that waits for a head.
#[derive(Debug)]
pub(crate) struct Vigil {
    at: Arc<Endpoint>,
    since: Instant,
    /// How long its service lets it wait.
    first_byte: Duration,
    /// It would be tried again if it failed now.
    may_leave: bool,
    /// The endpoint knows that it waits in vain.
    is_counted: bool,
}

impl Vigil {
    /// A request waits at an endpoint from now on, and may wait for so long.
    pub(crate) const fn begin(at: Arc<Endpoint>, first_byte: Duration, may_leave: bool, now: Instant) -> Self {
        Self { at, since: now, first_byte, may_leave, is_counted: false }
    }

    /// Tells the endpoint where it waits in vain. Whether it is to wait no longer, since the endpoint hangs.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        self.is_counted = self.is_counted || self.at.waits_in_vain(self.since, self.first_byte, now);
        self.may_leave && self.at.has_hung_since(self.since, now)
    }
}

impl Deadline {
    /// The request waits at its endpoint, until its head comes or something is waited for again.
    pub(crate) fn keep(&self, vigil: Vigil) {
        let mut table = self.of.0.table.lock();
        let due = vigil.since.checked_add(LOOK);
        table.vigils[self.place] = Some(vigil);
        self.of.look_by(&mut table, due);
    }
}

/// Looks at everybody who waits: those that leave are overdue from then on. When to look again; none where nobody waits.
pub(super) fn look(
    vigils: &mut [Option<Vigil>],
    slots: &mut [Slot],
    now: Instant,
    leave: impl Fn(&mut Slot),
) -> Option<Instant> {
    let mut waits = false;
    for (vigil, slot) in vigils.iter_mut().zip(slots) {
        if vigil.as_mut().is_some_and(|vigil| vigil.look(now)) {
            *vigil = None;
            leave(slot);
        }
        waits |= vigil.is_some();
    }
    if waits { now.checked_add(LOOK) } else { None }
}
