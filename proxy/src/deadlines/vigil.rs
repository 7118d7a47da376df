//! Who waits for a response to begin: so it is known that an endpoint hangs before its first deadline passes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Deadline, Slot};
use crate::endpoint::Endpoint;
use crate::routing::{Service, Version};

/// How often those who wait are looked at.
pub(super) const LOOK: Duration = Duration::from_millis(250);

/// Who has waited for so long is one of those who show that an endpoint is silent.
const LONG: Duration = Duration::from_secs(1);

/// A request that an endpoint has all of, and that waits for a head.
#[derive(Debug)]
pub(crate) struct Vigil {
    at: Arc<Endpoint>,
    since: Instant,
    /// How long its service lets it wait.
    first_byte: Duration,
    leave: Leave,
    /// Stable, by which an endpoint is measured that never answered; none for any other.
    like: Option<Arc<Version>>,
    /// The endpoint knows that it waits in vain.
    is_counted: bool,
}

/// Whether a request may leave an endpoint that hangs, for another attempt elsewhere.
#[derive(Debug, Clone)]
pub(crate) enum Leave {
    /// It stays: nothing else can be done for it.
    Never,
    /// The attempt is not limited.
    Free,
    /// The attempt is a retry: within the budget of this service, unless the endpoint alone of this version is ill.
    Within(Arc<Service>, Arc<Version>),
}

impl Vigil {
    /// A request waits at an endpoint from now on, and may wait for so long. How long the answers of this service usually
    /// take is seen at `stable`, where the endpoint does not show it.
    pub(crate) fn begin(
        at: Arc<Endpoint>,
        first_byte: Duration,
        leave: Leave,
        stable: &Arc<Version>,
        now: Instant,
    ) -> Self {
        let like = (!at.has_answered()).then(|| Arc::clone(stable));
        Self { at, since: now, first_byte, leave, like, is_counted: false }
    }

    /// Tells the endpoint where it waits in vain. Whether it is to wait no longer, since the endpoint hangs.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= LONG {
            self.at.is_waited_for(self.since, now);
        }
        let others = self.like.as_ref().map_or(&[] as &[_], |like| &like.endpoints);
        self.is_counted = self.is_counted || self.at.waits_in_vain(self.since, self.first_byte, others, now);
        (self.at.has_hung_since(self.since, now) || self.is_let_wait()) && self.may_leave(now)
    }

    /// Whether it has waited in vain itself, at an endpoint that never answered anybody well, and another version stands in.
    fn is_let_wait(&self) -> bool {
        self.is_counted && matches!(self.leave, Leave::Free) && self.at.hangs_from_its_start(self.since)
    }

    /// Whether it may leave now. Who may not for want of a budget asks again later.
    fn may_leave(&self, now: Instant) -> bool {
        match &self.leave {
            Leave::Never => false,
            Leave::Free => true,
            Leave::Within(service, version) => {
                let rules = &service.written.retries;
                let is_let_down = || self.at.lets_down(&version.endpoints, self.since, now);
                let others_are_well = self.at.has_others_that_are_well(&version.endpoints, now);
                rules.budget.get() > 0.0 && is_let_down() || service.retry_budget.retry(rules, others_are_well, now)
            }
        }
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
