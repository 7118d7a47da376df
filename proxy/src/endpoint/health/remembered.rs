//! How an endpoint did in another life, and goes on to do in this one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::super::memory::{Down, Ejected, Memory, Unhealthy};
use super::super::unreachable::Unreachable;
use super::checked::Checked;
use super::conduct::{Cause, Conduct, LONGEST};
use super::reach::Reach;
use super::{Health, in_millis};

impl Health {
    /// The health of an endpoint of which this was known. Its clock begins with the first of it.
    pub(in crate::endpoint) fn remembered(memory: &Memory, now: Instant) -> Self {
        let began = memory.began().map_or(now, |began| began.min(now));
        let millis = |at: Instant| in_millis(at.saturating_duration_since(began)) + 1;
        let reach = memory.down.as_ref().map_or_else(Reach::default, |down| {
            let why = Unreachable::ALL.into_iter().find(|why| down.why.as_deref() == Some(why.words()));
            Reach::remembered(millis(down.since), millis(down.until), down.tries, why)
        });
        let unhealthy = memory.unhealthy.as_ref();
        let checked = unhealthy.map_or_else(Checked::default, |it| Checked::remembered(millis(it.since), &it.why));
        let conduct = memory.ejected.as_ref().map_or_else(Conduct::default, |it| {
            Conduct::remembered(millis(it.since), millis(it.until), it.times, Cause::called(&it.cause))
        });
        Self { began, reach, checked, conduct, back_ms: AtomicU64::new(0), ill_ms: AtomicU64::new(0) }
    }

    /// What speaks against it. The question that its checks ask is not known here.
    pub(in crate::endpoint) fn memory(&self, now: Instant) -> Memory {
        let at = |ms: u64| self.began + Duration::from_millis(ms.saturating_sub(1));
        let down = (!self.reach.is_up()).then(|| Down {
            since: at(self.reach.since()),
            until: at(self.reach.due()),
            tries: self.reach.vain_tries(),
            why: self.reach.why().map(|why| why.words().to_owned()),
        });
        let unhealthy = self.checked.failing();
        let unhealthy = unhealthy.map(|(since_ms, why)| Unhealthy { since: at(since_ms), why, check: String::new() });
        let last = self.conduct.last_ejection();
        let counts =
            self.conduct.was_ever_ejected() && self.millis(now).saturating_sub(last.until_ms) < in_millis(LONGEST);
        let ejected = counts.then(|| Ejected {
            since: at(last.since_ms),
            until: at(last.until_ms),
            times: self.conduct.times(),
            cause: last.cause.words(),
        });
        Memory { down, unhealthy, ejected }
    }

    /// It is ejected no longer, since no more may be.
    pub(in crate::endpoint) fn ends_ejection(&self, now: Instant) {
        self.conduct.ends(self.millis(now));
    }
}

impl Reach {
    fn remembered(since_ms: u64, until_ms: u64, tries: u32, why: Option<Unreachable>) -> Self {
        let reach = Self::default();
        reach.down_since_ms.store(since_ms, Ordering::Relaxed);
        reach.down_until_ms.store(until_ms, Ordering::Relaxed);
        reach.vain_tries.store(tries, Ordering::Relaxed);
        if let Some(why) = why {
            reach.fails_for(why);
        }
        reach
    }
}

impl Checked {
    fn remembered(since_ms: u64, why: &str) -> Self {
        let checked = Self::default();
        checked.unhealthy_since_ms.store(since_ms, Ordering::Relaxed);
        *checked.why.lock() = Some(why.into());
        checked
    }
}

impl Conduct {
    fn remembered(since_ms: u64, until_ms: u64, times: u32, cause: Cause) -> Self {
        let conduct = Self::default();
        conduct.since_ms.store(since_ms, Ordering::Relaxed);
        conduct.until_ms.store(until_ms, Ordering::Relaxed);
        conduct.times.store(times, Ordering::Relaxed);
        conduct.cause.store(cause as u8, Ordering::Relaxed);
        conduct
    }
}
