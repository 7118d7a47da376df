//! Attempts that last long: counted by version, and ended where their version has left or the process ends.
//!
//! Nothing is kept of them beside their places in the table, so that an ordinary request pays for a few words. An attempt
//! lasts
//! - where it became a tunnel, or its response is a stream of events, from then on;
//! - any other once it has streamed for [`LONG`]: a response, the body of a request, a gRPC call. One that waits for its
//!   response head alone does not: that wait has a limit of its own.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::socket::{SockaddrIn, SockaddrIn6, SockaddrStorage, getsockname};

use super::{Deadline, Deadlines, Overdue, Slot, Table, end};
use crate::parting::{PATIENCE, Parting};

/// From when on an exchange is called long.
pub(crate) const LONG: Duration = Duration::from_secs(5);

/// A WebSocket whose client or endpoint takes nothing, so that it cannot be closed as it should be, is cut after so long.
const CUT: Duration = Duration::from_secs(10);

/// Whose an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Of {
    /// The number of the version that serves it; 0 for none.
    pub(crate) version: u32,
    /// It is a gRPC call: both may say more at any time, before a head as well.
    pub(crate) is_call: bool,
}

/// Why an attempt that lasts is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Its version serves nobody any more.
    VersionLeft,
    /// The process ends.
    ProcessEnds,
}

impl Ending {
    /// The word in the access log.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::VersionLeft => "version-left",
            Self::ProcessEnds => "process-ends",
        }
    }
}

impl Deadlines {
    /// Notes an attempt on a connection that carries others as well: it has no deadline here, and is ended where it lasts.
    pub(crate) fn note(&self, fd: RawFd, of: Of) -> Deadline {
        let mut table = self.0.table.lock();
        let place = table.insert(fd, of, None, None, Instant::now());
        table.slots[place].shared = Some(port_of(fd));
        drop(table);
        Deadline { of: self.clone(), place, limits_whole: false }
    }

    /// How many attempts of this version last.
    pub(crate) fn lasting(&self, version: u32, now: Instant) -> u64 {
        let table = self.0.table.lock();
        table.slots.iter().filter(|slot| slot.is_of(Some(version)) && slot.lasts(now)).count() as u64
    }

    /// Ends the attempts that last, of this version or of all, and says how many. Those that were ended before are left
    /// alone.
    pub(crate) fn end_lasting(&self, version: Option<u32>, why: Ending, now: Instant) -> u64 {
        let mut table = self.0.table.lock();
        let ended = table.end_lasting(version, why, now, end);
        // Whoever sleeps until the earliest deadline may have to look earlier now.
        self.0.sooner.notify_one();
        ended
    }
}

impl Table {
    fn end_lasting(&mut self, version: Option<u32>, why: Ending, now: Instant, end: impl Fn(RawFd)) -> u64 {
        let mut ended = 0;
        let mut shared = Vec::new();
        for place in 0..self.slots.len() {
            let slot = &mut self.slots[place];
            if !slot.is_of(version) || !slot.lasts(now) {
                continue;
            }
            if let Some(port) = slot.shared {
                shared.push((slot.fd, port));
            }
            if slot.overdue.is_some() {
                continue;
            }
            ended += 1;
            (slot.overdue, slot.head, slot.whole) = (Some(Overdue::Ended(why)), None, None);
            slot.silence = None;
            match self.websockets.get(&place) {
                Some(parting) => {
                    parting.ask();
                    slot.ends = now.checked_add(PATIENCE + CUT);
                }
                None if slot.shared.is_none() => end(slot.fd),
                None => {}
            }
        }
        shared.sort_unstable();
        shared.dedup();
        for (fd, port) in shared {
            self.end_shared(fd, port, &end);
        }
        ended
    }

    /// Ends a connection that carries several, where all of them have to end. Else each ends with the next thing that
    /// comes for it, or when this is asked again.
    fn end_shared(&self, fd: RawFd, port: u16, end: impl Fn(RawFd)) {
        let on_it = |slot: &&Slot| slot.fd == fd && slot.shared == Some(port);
        let all_end = self.slots.iter().filter(on_it).all(|slot| matches!(slot.overdue, Some(Overdue::Ended(_))));
        // It may be closed already, and its number be another's: whoever shares a connection learns of its end later.
        if all_end && port_of(fd) == port {
            end(fd);
        }
    }
}

impl Slot {
    /// Of this version, or of any.
    fn is_of(&self, version: Option<u32>) -> bool {
        self.of.version != 0 && version.is_none_or(|version| self.of.version == version)
    }

    fn lasts(&self, now: Instant) -> bool {
        let streams = self.head.is_none() || self.of.is_call;
        match self.overdue {
            Some(Overdue::Head | Overdue::Whole | Overdue::Silence | Overdue::Untaken | Overdue::Answer) => false,
            Some(Overdue::Ended(_)) => true,
            None => self.lasts || streams && now.saturating_duration_since(self.began) >= LONG,
        }
    }
}

impl Deadline {
    /// It lasts from now on, however young it is.
    pub(crate) fn lasts(&self) {
        self.of.0.table.lock().slots[self.place].lasts = true;
    }

    /// It became a WebSocket, which is to be told so before it is ended.
    pub(crate) fn parts_by(&self, parting: Arc<Parting>) {
        let mut table = self.of.0.table.lock();
        table.slots[self.place].lasts = true;
        table.websockets.insert(self.place, parting);
    }
}

/// Our port of a connection, by which it is known; 0 where it has none.
fn port_of(fd: RawFd) -> u16 {
    let ours: Option<SockaddrStorage> = getsockname(fd).ok();
    let of_4 = |ours: &SockaddrStorage| ours.as_sockaddr_in().map(SockaddrIn::port);
    let of_6 = |ours: &SockaddrStorage| ours.as_sockaddr_in6().map(SockaddrIn6::port);
    ours.and_then(|ours| of_4(&ours).or_else(|| of_6(&ours))).unwrap_or(0)
}
