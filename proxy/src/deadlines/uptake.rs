//! The time that an endpoint takes for what it is sent, where a connection of HTTP/2 by pingora carries it: of that, what is
//! still in our hands is all that can be seen. (Connections of HTTP/1.1 look at it themselves: see `upstream_stream`.)

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Deadline, Holder, Slot};

/// pingora breaks off a write that has waited for too long, and then looks whether there is a response. It has so long for
/// that.
const MOMENT: Duration = Duration::from_millis(250);

/// What an endpoint was sent of a request's body.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Uptake {
    /// For so long it may take nothing; none: for as long as it wants.
    longest: Option<Duration>,
    /// So many pieces wait for it.
    pieces: u32,
    /// Since when nothing was taken, while something waits.
    since: Option<Instant>,
    /// It has answered: what it takes of the rest is its own affair.
    has_answered: bool,
    /// The attempt was ended: what is let go now was not taken.
    is_over: bool,
}

impl Uptake {
    /// The attempt is ended.
    pub(super) const fn stop(&mut self) {
        (self.longest, self.is_over) = (None, true);
    }

    /// When it has taken nothing for too long.
    pub(super) fn due(&self) -> Option<Instant> {
        let longest = self.longest.filter(|_| !self.has_answered)?;
        self.since?.checked_add(longest)?.checked_add(MOMENT)
    }

    fn send(&mut self, now: Instant) {
        if self.pieces == 0 {
            self.since = Some(now);
        }
        self.pieces += 1;
    }

    /// A piece is in our hands no more: it was taken, or its write was broken off. The latter shows by the time.
    fn let_go(&mut self, now: Instant) {
        self.pieces = self.pieces.saturating_sub(1);
        let is_late = |since, longest| now.saturating_duration_since(since) >= longest;
        let is_broken_off = self.since.zip(self.longest).is_some_and(|(since, longest)| is_late(since, longest));
        if !self.is_over && !is_broken_off {
            self.since = (self.pieces > 0).then_some(now);
        }
    }
}

impl Deadline {
    /// The endpoint may take nothing of the request for so long; none: for as long as it wants.
    pub(crate) fn set_uptake(&self, longest: Option<Duration>) {
        self.change(|slot| slot.uptake.longest = longest);
    }

    /// The endpoint has begun its answer, and may leave the rest of the request.
    pub(crate) fn has_answered(&self) {
        self.change(|slot| slot.uptake.has_answered = true);
    }
}

impl Holder {
    /// A piece of the request, which is the endpoint's to take: it waits until every byte of it is let go.
    pub(crate) fn sent(&self, bytes: Bytes) -> Bytes {
        self.with(|slot| slot.uptake.send(Instant::now()));
        Bytes::from_owner(Sent { bytes, of: self.clone() })
    }

    /// Since when the endpoint has taken nothing of what waits for it, if something does.
    pub(crate) fn untaken_since(&self) -> Option<Instant> {
        self.slot().and_then(|slot| slot.uptake.since)
    }

    /// Whether the endpoint has taken nothing of the request for too long.
    pub(crate) fn is_untaken(&self, now: Instant) -> bool {
        self.slot().and_then(|slot| slot.uptake.due()).is_some_and(|due| due <= now)
    }
}

impl Slot {
    /// When its endpoint has taken nothing for too long, where that is for us to end.
    pub(super) fn uptake_due(&self) -> Option<Instant> {
        if self.shared.is_none() { self.uptake.due() } else { None }
    }
}

struct Sent {
    bytes: Bytes,
    of: Holder,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.of.with(|slot| slot.uptake.let_go(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_in_time_begins_the_wait_anew_and_what_is_broken_off_does_not() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut uptake = Uptake { longest: Some(Duration::from_secs(5)), ..Uptake::default() };
        uptake.send(at(0));
        uptake.send(at(1));
        assert_eq!(uptake.due(), Some(at(5) + MOMENT));
        uptake.let_go(at(4));
        assert_eq!(uptake.due(), Some(at(9) + MOMENT));
        uptake.let_go(at(5));
        assert_eq!(uptake.due(), None, "nothing waits");
        uptake.send(at(20));
        uptake.let_go(at(25));
        assert_eq!(uptake.due(), Some(at(25) + MOMENT));
        // It was slow, and not broken off.
        uptake.send(at(26));
        assert_eq!(uptake.due(), Some(at(31) + MOMENT));
        // Nor is what is let go at the end of its connection.
        uptake.stop();
        uptake.let_go(at(27));
        assert_eq!((uptake.due(), uptake.since), (None, Some(at(26))));
    }
}
