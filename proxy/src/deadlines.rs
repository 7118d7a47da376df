//! Ends attempts that take too long, where pingora has no limit of that kind.
//!
//! pingora has one limit for every read of a response, head and body alike, and none for a request in all. Here the
//! wait for a head is limited by itself, however silent the response may be once it has begun, and so is the whole.
//!
//! An attempt is ended by shutting its connection down, so that whoever reads from it finds its end. This is only for
//! connections that carry one request at a time. There is one table a core and one task that sleeps until the earliest
//! deadline in it: a request costs two short locks that nobody else wants, and no allocation.
//!
//! The limit of the whole is the endpoint's: while a client takes its time with what it has been given ([`Hold`]), it
//! stands still. An endpoint that could not go on for such a client may lose patience with us; that is remembered, too.
//!
//! Whoever waits for a head is looked at meanwhile ([`Vigil`]): an endpoint that answers nobody is found out before its
//! first deadline passes.
//!
//! The same table says which attempts last long, and ends those of a version that has left ([`lasting`]).

mod hold;
mod lasting;
mod uptake;
mod vigil;

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::socket::{Shutdown, shutdown};
use parking_lot::Mutex;
use tokio::sync::Notify;

pub(crate) use self::hold::{Hold, Holder};
pub(crate) use self::lasting::{Ending, Of};
use self::uptake::Uptake;
pub(crate) use self::vigil::{Leave, Vigil};
use crate::parting::Parting;

/// A client that takes so long for one piece (64 KiB at most) has stopped its endpoint: slower than anybody's link.
const STALL: Duration = Duration::from_secs(1);

/// The deadlines of one core's attempts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deadlines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    /// There is an earlier deadline than the one slept for.
    sooner: Notify,
}

#[derive(Debug, Default)]
struct Table {
    slots: Vec<Slot>,
    /// Who waits for a head, at the places of their slots.
    vigils: Vec<Option<Vigil>>,
    free: Vec<usize>,
    /// Those that are WebSockets, by place: they are told before they are ended.
    websockets: HashMap<usize, Arc<Parting>>,
    /// When the watchman looks next; none while there is nothing to wait for.
    looks_at: Option<Instant>,
    has_watchman: bool,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    fd: RawFd,
    head: Option<Instant>,
    whole: Option<Instant>,
    /// How long it may be silent between its head and its end.
    silence: Option<Duration>,
    overdue: Option<Overdue>,
    /// What the client was given and has not taken, and from when on that is still to be reckoned with.
    holds: u32,
    held_since: Option<Instant>,
    /// How long it had something, since the endpoint was last heard.
    held: Duration,
    /// It has stopped the endpoint.
    stalled: bool,
    /// What the endpoint was sent of the request, and has not taken.
    uptake: Uptake,
    /// When the endpoint was last heard, or the client last let go of what it was given.
    heard: Instant,
    /// Tells one user of this place from the next.
    turn: u32,
    of: Of,
    /// When its connection was ready.
    began: Instant,
    /// A tunnel, or a stream of events: it lasts, however young it is.
    lasts: bool,
    /// Our port of its connection, where that carries others as well.
    shared: Option<u16>,
    /// It was told to end, and must have by then.
    ends: Option<Instant>,
}

/// Why an attempt was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// The response head did not come in time.
    Head,
    /// The end of the response did not come in time.
    Whole,
    /// The response fell silent.
    Silence,
    /// The endpoint took nothing of the request.
    Untaken,
    /// Its endpoint hangs, and answered nobody. The budget for retries has been asked for the next attempt.
    Answer,
    /// It lasted, and had to make way.
    Ended(Ending),
}

/// The deadlines of one attempt; forgotten when dropped.
///
/// The descriptor cannot be another's when a deadline passes. This lives in the context of the request, on the one
/// thread of its core; the connection is open for as long as its attempt is, and whatever ends the attempt drops this on
/// that same thread before the connection can be closed or given back.
#[derive(Debug)]
pub(crate) struct Deadline {
    of: Deadlines,
    place: usize,
    /// The whole has a limit, or had one.
    limits_whole: bool,
}

impl Deadlines {
    /// Watches an attempt on the connection `fd`, which carries nothing else, from now on.
    pub(crate) fn begin(
        &self,
        fd: RawFd,
        of: Of,
        head: Option<Instant>,
        whole: Option<Instant>,
        now: Instant,
    ) -> Deadline {
        let mut table = self.0.table.lock();
        let place = table.insert(fd, of, head, whole, now);
        if !table.has_watchman {
            table.has_watchman = true;
            drop(tokio::spawn(watch(self.clone())));
        }
        self.look_in_time(&mut table, place);
        drop(table);
        Deadline { of: self.clone(), place, limits_whole: whole.is_some() }
    }

    fn look_in_time(&self, table: &mut Table, place: usize) {
        let due = table.slots[place].due();
        self.look_by(table, due);
    }

    fn look_by(&self, table: &mut Table, due: Option<Instant>) {
        if let Some(due) = due
            && table.looks_at.is_none_or(|looks_at| due < looks_at)
        {
            table.looks_at = Some(due);
            self.0.sooner.notify_one();
        }
    }
}

impl Deadline {
    /// The head must come by then; none where nothing is waited for.
    pub(crate) fn set_head(&self, due: Option<Instant>) {
        let mut table = self.of.0.table.lock();
        table.slots[self.place].head = due;
        if due.is_none() {
            table.vigils[self.place] = None;
        }
        self.of.look_in_time(&mut table, self.place);
    }

    /// The whole must be over by then, or however late; where it has a limit at all.
    pub(crate) fn set_whole(&self, due: Option<Instant>) {
        self.change(|slot| slot.whole = slot.whole.and(due));
    }

    /// It may be silent for so long from now on, while its client takes what it is given; none: as long as it wants.
    pub(crate) fn set_silence(&self, longest: Option<Duration>, now: Instant) {
        self.change(|slot| {
            slot.hear(now);
            slot.silence = longest;
        });
    }

    /// Whether there is a limit of the whole, or was.
    pub(crate) const fn has_whole(&self) -> bool {
        self.limits_whole
    }

    /// The endpoint was heard.
    pub(crate) fn hear(&self, now: Instant) {
        self.change(|slot| slot.hear(now));
    }

    /// Whether the client has stopped the endpoint by not taking what it was given.
    pub(crate) fn is_stalled(&self, now: Instant) -> bool {
        let mut slot = self.slot();
        slot.hear(now);
        slot.stalled
    }

    /// For how long nothing has come from the endpoint that was waited for: no time while the client has something that
    /// it has not taken.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        let slot = self.slot();
        if slot.held_since.is_some() { Duration::ZERO } else { now.saturating_duration_since(slot.heard) }
    }

    /// What this attempt was ended for.
    pub(crate) fn overdue(&self) -> Option<Overdue> {
        self.of.0.table.lock().slots[self.place].overdue
    }

    fn slot(&self) -> Slot {
        self.of.0.table.lock().slots[self.place]
    }

    fn change(&self, change: impl FnOnce(&mut Slot)) {
        let mut table = self.of.0.table.lock();
        change(&mut table.slots[self.place]);
        self.of.look_in_time(&mut table, self.place);
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.of.0.table.lock().remove(self.place);
    }
}

/// Ends a connection for whoever reads from it or writes to it.
pub(crate) fn end(fd: RawFd) {
    // An error means that it has ended already: that is what was wanted.
    let _ = shutdown(fd, Shutdown::Both);
}

async fn watch(deadlines: Deadlines) {
    let shared = &deadlines.0;
    loop {
        let next = shared.table.lock().look(Instant::now(), end);
        match next {
            None => shared.sooner.notified().await,
            Some(due) => tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                () = shared.sooner.notified() => {}
            },
        }
    }
}

impl Table {
    fn insert(&mut self, fd: RawFd, of: Of, head: Option<Instant>, whole: Option<Instant>, now: Instant) -> usize {
        let place = self.free.pop().unwrap_or(self.slots.len());
        let turn = self.slots.get(place).map_or(0, |slot| slot.turn);
        let slot = Slot {
            fd,
            head,
            whole,
            silence: None,
            overdue: None,
            holds: 0,
            held_since: None,
            held: Duration::ZERO,
            stalled: false,
            uptake: Uptake::default(),
            heard: now,
            turn,
            of,
            began: now,
            lasts: false,
            shared: None,
            ends: None,
        };
        match self.slots.get_mut(place) {
            Some(free) => *free = slot,
            None => {
                self.slots.push(slot);
                self.vigils.push(None);
            }
        }
        place
    }

    fn remove(&mut self, place: usize) {
        let slot = &mut self.slots[place];
        (slot.fd, slot.head, slot.whole, slot.overdue) = (-1, None, None, None);
        (slot.of, slot.lasts, slot.ends, slot.silence) = (Of::default(), false, None, None);
        slot.uptake = Uptake::default();
        slot.turn = slot.turn.wrapping_add(1);
        self.vigils[place] = None;
        self.free.push(place);
        if !self.websockets.is_empty() {
            self.websockets.remove(&place);
        }
    }

    /// Ends what is overdue, and says when to look again.
    fn look(&mut self, now: Instant, end: impl Fn(RawFd)) -> Option<Instant> {
        let over = |slot: &mut Slot, what| {
            let overdue = slot.overdue.or(Some(what));
            *slot = Slot { head: None, whole: None, silence: None, ends: None, overdue, ..*slot };
            slot.uptake.stop();
            end(slot.fd);
        };
        let mut next = vigil::look(&mut self.vigils, &mut self.slots, now, |slot| over(slot, Overdue::Answer));
        for slot in &mut self.slots {
            if slot.due().is_some_and(|due| due <= now) {
                let is_late = |due: Option<Instant>| due.is_some_and(|due| due <= now);
                let (head, silence) = (is_late(slot.head), is_late(slot.silence_due()));
                let untaken = is_late(slot.uptake_due());
                over(
                    slot,
                    if head {
                        Overdue::Head
                    } else if silence {
                        Overdue::Silence
                    } else if untaken {
                        Overdue::Untaken
                    } else {
                        Overdue::Whole
                    },
                );
            }
            next = [next, slot.due()].into_iter().flatten().min();
        }
        self.looks_at = next;
        next
    }
}

impl Slot {
    /// The earlier of its deadlines that run.
    fn due(&self) -> Option<Instant> {
        let whole = self.whole.filter(|_| self.held_since.is_none());
        [self.head, whole, self.silence_due(), self.uptake_due(), self.ends].into_iter().flatten().min()
    }

    /// When it has been silent for too long.
    fn silence_due(&self) -> Option<Instant> {
        self.silence.filter(|_| self.held_since.is_none()).and_then(|longest| self.heard.checked_add(longest))
    }

    /// The client was given something.
    fn hold(&mut self, now: Instant) {
        self.holds += 1;
        self.held_since.get_or_insert(now);
    }

    /// The client took it.
    fn release(&mut self, now: Instant) {
        self.reckon(now);
        self.holds = self.holds.saturating_sub(1);
        if self.holds == 0 && self.held_since.take().is_some() {
            self.heard = now;
        }
    }

    /// The endpoint could go on.
    fn hear(&mut self, now: Instant) {
        self.reckon(now);
        self.stalled |= self.held >= STALL;
        self.held = Duration::ZERO;
        self.heard = now;
    }

    /// What the client has taken until now is nobody else's time.
    fn reckon(&mut self, now: Instant) {
        if let Some(since) = &mut self.held_since {
            let held = now.saturating_duration_since(*since);
            *since = now;
            self.held = self.held.saturating_add(held);
            self.whole = self.whole.map(|due| due.checked_add(held).unwrap_or(due));
        }
    }
}

#[cfg(test)]
mod tests;
