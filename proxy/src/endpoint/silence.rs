//! Whether an endpoint answers anybody. One that hangs takes requests and lets them wait: until the first of them is given
//! up, nothing else tells.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Requests in a row that wait in vain before their endpoint is said to hang; one may be a request that takes long.
pub(super) const UNANSWERED: u32 = 2;
/// Who has waited for less does not wait in vain yet, unless the service waits no longer for a first byte. Where nothing
/// is ejected; else it is written.
pub(super) const LONG: Duration = Duration::from_secs(3);
/// So many times as long as its answers take lately must a request wait.
const TIMES: u32 = 20;
/// That somebody waits is believed for so long after it was seen; those who wait are looked at more often.
const FRESH_MS: u64 = 1_000;
/// A shorter time than the usual one changes that by this part of the difference.
const FALL: f32 = 0.02;

/// What an endpoint says, and who waits for it. Kept however often it is ejected.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// When an answer began last; 0: never.
    heard_ms: AtomicU64,
    /// How long its answers take to begin, as the bits of an `f32` of microseconds: the longest of the last few hundred or
    /// so. It counts answers and no time, so that an endpoint which is seldom asked is not taken for a fast one. 0: nothing
    /// is known.
    usual_us: AtomicU32,
    /// Requests that waited in vain since an answer began.
    unanswered: AtomicU32,
    /// Since when whoever waits longest has waited, and when that was seen.
    waited_since_ms: AtomicU64,
    waited_at_ms: AtomicU64,
}

impl Silence {
    /// An answer began, after so many microseconds; `failed`: one that says nothing of how long good ones take.
    pub(super) fn heard(&self, us: u64, failed: bool, now_ms: u64) {
        // Once a millisecond, so that no cache line moves between cores with each answer.
        if self.heard_ms.load(Ordering::Relaxed) == now_ms {
            return;
        }
        self.heard_ms.store(now_ms, Ordering::Relaxed);
        if self.unanswered.load(Ordering::Relaxed) != 0 {
            self.unanswered.store(0, Ordering::Relaxed);
        }
        if !failed {
            let (usual, us) = (f32::from_bits(self.usual_us.load(Ordering::Relaxed)), us.max(1) as f32);
            let usual = if us >= usual { us } else { usual + (us - usual) * FALL };
            self.usual_us.store(usual.to_bits(), Ordering::Relaxed);
        }
    }

    /// Whether an answer began after this moment.
    pub(super) fn is_heard_after(&self, ms: u64) -> bool {
        self.heard_ms.load(Ordering::Relaxed) > ms
    }

    /// How long its answers take to begin; none where it never answered well.
    pub(super) fn usual(&self) -> Option<Duration> {
        let us = f32::from_bits(self.usual_us.load(Ordering::Relaxed));
        (us > 0.0).then(|| Duration::from_micros(us as u64))
    }

    /// Whether a request that has waited for so long since this moment does so in vain: nobody was answered since, and
    /// answers usually take far less than that. Where nothing is known of them, none does.
    pub(super) fn is_in_vain(&self, since_ms: u64, waited: Duration, usual: Option<Duration>) -> bool {
        usual.is_some_and(|usual| waited >= usual.saturating_mul(TIMES)) && !self.is_heard_after(since_ms)
    }

    /// Somebody is seen to wait who has done so since then.
    pub(super) fn is_waited_for(&self, since_ms: u64, now_ms: u64) {
        let is_stale = now_ms.saturating_sub(self.waited_at_ms.load(Ordering::Relaxed)) > FRESH_MS;
        if is_stale || since_ms <= self.waited_since_ms.load(Ordering::Relaxed) {
            self.waited_since_ms.store(since_ms, Ordering::Relaxed);
            self.waited_at_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// Whether somebody waits who has done so since before this moment.
    pub(super) fn keeps_waiting(&self, since_ms: u64, now_ms: u64) -> bool {
        let seen_ms = self.waited_at_ms.load(Ordering::Relaxed);
        seen_ms > 0
            && now_ms.saturating_sub(seen_ms) <= FRESH_MS
            && self.waited_since_ms.load(Ordering::Relaxed) <= since_ms
    }

    /// One more request waits in vain: how many have, in a row.
    pub(super) fn count(&self) -> u32 {
        self.unanswered.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Whether so many wait in vain, in a row.
    pub(super) fn are_unanswered(&self, several: u32) -> bool {
        self.unanswered.load(Ordering::Relaxed) >= several
    }

    /// What was counted has been paid for.
    pub(super) fn forget(&self) {
        self.unanswered.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// By what is known of it alone.
    fn is_in_vain(silence: &Silence, since_ms: u64, waited: Duration) -> bool {
        silence.is_in_vain(since_ms, waited, silence.usual())
    }

    #[test]
    fn who_waits_far_longer_than_usual_at_an_endpoint_that_answers_nobody_waits_in_vain() {
        let silence = Silence::default();
        assert!(!is_in_vain(&silence, 1, seconds(60)), "nothing is known of it");
        silence.heard(100_000, false, 1_000);
        assert!(!is_in_vain(&silence, 1_000, Duration::from_millis(1_999)) && is_in_vain(&silence, 1_000, seconds(2)));
        assert!(!is_in_vain(&silence, 999, seconds(60)), "it has answered somebody since");
    }

    #[test]
    fn the_usual_time_rises_at_once_and_falls_with_many_answers_and_never_with_time() {
        let silence = Silence::default();
        silence.heard(1_000_000, false, 1);
        for ms in 2..52 {
            silence.heard(1_000, false, ms);
        }
        assert!(!is_in_vain(&silence, 100_000, seconds(7)) && is_in_vain(&silence, 100_000, seconds(8)));
        for ms in 52..552 {
            silence.heard(1_000, false, ms);
        }
        assert!(is_in_vain(&silence, 100_000, Duration::from_millis(30)));
        silence.heard(9_000_000, true, 600);
        assert!(is_in_vain(&silence, 100_000, Duration::from_millis(30)), "a failure says nothing of it");
    }

    #[test]
    fn whoever_waits_longest_is_remembered_for_a_second_after_it_was_seen() {
        let silence = Silence::default();
        assert!(!silence.keeps_waiting(5_000, 5_000), "nobody was ever seen");
        silence.is_waited_for(1_000, 4_000);
        silence.is_waited_for(3_000, 4_000);
        assert!(silence.keeps_waiting(1_000, 4_500) && !silence.keeps_waiting(999, 4_500));
        silence.is_waited_for(3_000, 5_001);
        assert!(!silence.keeps_waiting(2_999, 5_001) && silence.keeps_waiting(3_000, 5_001));
        assert!(!silence.keeps_waiting(9_000, 6_002), "it is seen no more");
    }

    #[test]
    fn an_answer_begins_the_row_anew() {
        let silence = Silence::default();
        assert_eq!((silence.count(), silence.count()), (1, 2));
        silence.heard(1_000, true, 5);
        assert_eq!(silence.count(), 1);
    }
}
