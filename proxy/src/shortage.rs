//! Our own want of file descriptors or local ports: told once when it begins and once when it is over. While it lasts no
//! rollout takes a step forward, since what its versions do is not all that users see.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pingora_error::Error;
use tracing::{info, warn};

use crate::descriptors::Descriptors;

/// It is over when nothing was missing for so long.
const QUIET: Duration = Duration::from_secs(10);

/// What is known of it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Shortage(Arc<Felt>);

#[derive(Debug)]
struct Felt {
    began: Instant,
    /// When it was felt last: milliseconds after it came to be, and one more; 0 for never.
    last_ms: AtomicU64,
    /// How often since it began.
    times: AtomicU64,
    is_told: AtomicBool,
}

impl Shortage {
    /// There is none so far.
    pub(crate) fn new(now: Instant) -> Self {
        let (last_ms, times, is_told) = Default::default();
        Self(Arc::new(Felt { began: now, last_ms, times, is_told }))
    }

    /// A connection to an endpoint could not be made for it.
    pub(crate) fn felt(&self, error: &Error, now: Instant) {
        if self.count(now) {
            let descriptors = Descriptors::of_this_process().all();
            warn!(
                %error, descriptors,
                "out of file descriptors or local ports: requests that need a new connection to an endpoint get 503, and no \
                 rollout takes a step forward; raise `ulimit -n` (LimitNOFILE), or lower `limits.requests_per_client`"
            );
        }
    }

    /// Says once when it is over. To be called now and then.
    pub(crate) fn look(&self, now: Instant) {
        if let Some(times) = self.ended(now) {
            info!(times, "there are file descriptors and local ports again");
        }
    }

    /// Whether something was missing not long ago.
    pub(crate) fn is_felt(&self, now: Instant) -> bool {
        let last_ms = self.0.last_ms.load(Ordering::Relaxed);
        last_ms > 0 && self.millis(now).saturating_sub(last_ms) < QUIET.as_millis() as u64
    }

    /// Whether it begins with this.
    fn count(&self, now: Instant) -> bool {
        self.0.times.fetch_add(1, Ordering::Relaxed);
        self.0.last_ms.store(self.millis(now), Ordering::Relaxed);
        !self.0.is_told.swap(true, Ordering::Relaxed)
    }

    /// How often something was missing, where that is over since this was last asked.
    fn ended(&self, now: Instant) -> Option<u64> {
        let is_over = !self.is_felt(now) && self.0.is_told.swap(false, Ordering::Relaxed);
        is_over.then(|| self.0.times.swap(0, Ordering::Relaxed))
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.0.began).as_millis()).unwrap_or(u64::MAX - 1) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_when_it_begins_and_when_nothing_was_missing_for_ten_seconds() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let shortage = Shortage::new(now);
        assert!(!shortage.is_felt(now) && shortage.ended(now).is_none());
        assert!(shortage.count(now), "it begins");
        assert!(!shortage.count(after(6)), "it goes on");
        assert!(shortage.is_felt(after(15)) && shortage.ended(after(15)).is_none());
        assert!(!shortage.is_felt(after(16)));
        assert_eq!(shortage.ended(after(16)), Some(2));
        assert_eq!(shortage.ended(after(17)), None);
        assert!(shortage.count(after(20)), "it begins once more");
    }
}
