//! What became of copies of requests that the canary was sent beside stable, which alone answered the users.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a request that was to be copied was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unsent {
    /// As many copies were under way as may be.
    Full,
    /// Its body is longer than what is copied.
    TooLarge,
    /// It is no single question: an upgrade, a stream of events, or a body whose end did not come in time.
    Streamed,
    /// Its method is none of those that are copied.
    Method,
    /// Its answer depends on what its client has from stable.
    Conditional,
}

impl Unsent {
    /// Every reason, in the order of [`MirrorCounts::unsent`].
    pub const ALL: [Self; 5] = [Self::Full, Self::TooLarge, Self::Streamed, Self::Method, Self::Conditional];

    /// The label that metrics and status carry.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::TooLarge => "too_large",
            Self::Streamed => "streamed",
            Self::Method => "method",
            Self::Conditional => "conditional",
        }
    }
}

/// What became of the copies that a version was sent. Each number only grows.
///
/// A copy is **judged** (`ended`) by the canary's answer and stable's together, once both are over. Where it is not known
/// what stable would have answered (the client left, the proxy answered itself) it is not judged: that says nothing of
/// either. `failed / ended`, `status / compared` and `body / compared` are shares of what they are counted among.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MirrorCounts {
    /// Copies that were handed over to be sent.
    pub sent: u64,
    /// Copies that the version answered in time, with any status.
    pub answered: u64,
    /// Copies that were judged: what became of them is known, and of stable's answer too.
    pub ended: u64,
    /// Of those, the ones where stable did not fail and the version gave an answer, so that the two could be compared.
    pub compared: u64,
    /// Of those compared, the ones with another status (in gRPC, or with another code).
    pub status: u64,
    /// Of those compared, the ones with the same status and another body.
    pub body: u64,
    /// Of those judged, the ones where the version failed (no answer in time, or one that counts as an error) and stable
    /// did not. One that was answered with 500 is among `compared` and `status` too.
    pub failed: u64,
    /// Of those judged, the ones where both failed.
    pub both_failed: u64,
    /// Requests that were to be copied and were not, by reason in the order of [`Unsent::ALL`].
    pub unsent: [u64; Unsent::ALL.len()],
}

impl MirrorCounts {
    /// Requests that were to be copied and were not, for this reason.
    #[must_use]
    pub const fn unsent(&self, why: Unsent) -> u64 {
        self.unsent[why as usize]
    }
}

/// What a copy came to, beside stable's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Both answered, and as far as can be seen the same.
    Alike,
    /// Both answered, with different statuses; `failed`: that of the canary counts as an error.
    Status {
        /// Whether the canary's status counts as an error.
        failed: bool,
    },
    /// Both answered with the same status, and with different bodies.
    Body,
    /// Stable answered, and the canary gave no whole answer.
    NoAnswer,
    /// Neither did well.
    BothFailed,
    /// Stable failed, and the canary did not: there is nothing to compare it with.
    StableFailed,
}

/// Counts what becomes of the copies that one version is sent. Written by every core and by whoever sends the copies,
/// read by anyone. Copies are few beside requests, so there is one row for all cores.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct MirrorMeter {
    sent: AtomicU64,
    answered: AtomicU64,
    ended: AtomicU64,
    compared: AtomicU64,
    status: AtomicU64,
    body: AtomicU64,
    failed: AtomicU64,
    both_failed: AtomicU64,
    unsent: [AtomicU64; Unsent::ALL.len()],
}

impl MirrorMeter {
    /// A request that was to be copied was not.
    pub fn unsent(&self, why: Unsent) {
        count(&self.unsent[why as usize]);
    }

    /// A copy was handed over to be sent.
    pub fn sent(&self) {
        count(&self.sent);
    }

    /// The version answered a copy in time.
    pub fn answered(&self) {
        count(&self.answered);
    }

    /// A copy was judged.
    pub fn ended(&self, comparison: Comparison) {
        // What is counted among others comes after them: no share is ever above 1.
        count(&self.ended);
        match comparison {
            Comparison::Alike => count(&self.compared),
            Comparison::Status { failed } => {
                count(&self.compared);
                count(&self.status);
                if failed {
                    count(&self.failed);
                }
            }
            Comparison::Body => {
                count(&self.compared);
                count(&self.body);
            }
            Comparison::NoAnswer => count(&self.failed),
            Comparison::BothFailed => count(&self.both_failed),
            Comparison::StableFailed => {}
        }
    }

    /// What became of the copies so far. Read while others count, no part is ever more than what it is counted among.
    #[must_use]
    pub fn counts(&self) -> MirrorCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Acquire);
        // The parts first.
        let (status, body) = (read(&self.status), read(&self.body));
        let (failed, both_failed) = (read(&self.failed), read(&self.both_failed));
        let compared = read(&self.compared);
        let ended = read(&self.ended);
        let answered = read(&self.answered);
        let sent = read(&self.sent);
        let unsent = std::array::from_fn(|why| read(&self.unsent[why]));
        MirrorCounts { sent, answered, ended, compared, status, body, failed, both_failed, unsent }
    }
}

fn count(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(comparisons: &[Comparison]) -> MirrorCounts {
        let meter = MirrorMeter::default();
        for comparison in comparisons {
            meter.ended(*comparison);
        }
        meter.counts()
    }

    #[test]
    fn an_answer_that_counts_as_an_error_is_another_status_and_a_failure() {
        let MirrorCounts { ended, compared, status, failed, .. } =
            counted(&[Comparison::Status { failed: true }, Comparison::Status { failed: false }, Comparison::Alike]);
        assert_eq!((ended, compared, status, failed), (3, 3, 2, 1));
    }

    #[test]
    fn no_answer_is_a_failure_and_nothing_to_compare() {
        let counts = counted(&[Comparison::NoAnswer, Comparison::Body]);
        assert_eq!((counts.ended, counts.compared, counts.failed, counts.body), (2, 1, 1, 1));
    }

    #[test]
    fn where_stable_failed_the_canary_is_charged_with_nothing() {
        let counts = counted(&[Comparison::StableFailed, Comparison::BothFailed]);
        let charged = (counts.compared, counts.failed, counts.status, counts.body);
        assert_eq!((counts.ended, counts.both_failed, charged), (2, 1, (0, 0, 0, 0)));
    }

    #[test]
    fn what_was_not_sent_is_counted_by_its_reason() {
        let meter = MirrorMeter::default();
        for (times, why) in Unsent::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| meter.unsent(why));
        }
        meter.sent();
        meter.answered();
        let counts = meter.counts();
        assert_eq!(Unsent::ALL.map(|why| counts.unsent(why)), [0, 1, 2, 3, 4]);
        assert_eq!((counts.sent, counts.answered), (1, 1));
        assert_eq!(Unsent::ALL.map(Unsent::label), ["full", "too_large", "streamed", "method", "conditional"]);
    }
}
