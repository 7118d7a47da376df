//! Endpoints that turn nearly everything away: an answer of 3xx or 4xx costs nothing, so whoever gives no other is always
//! idle and always fast, and would be given the most.
//!
//! A deploy without its files, a session store that is gone, a secret that is missing: all of that answers well-formed and
//! at once. What is right for a service all its endpoints do alike; so this only ever counts between two of which one does
//! and the other does not.

use std::sync::atomic::{AtomicU32, Ordering};

/// More in a row say no more.
const MOST: u32 = 32;
/// From here on it turns away nearly everything: where it does so with half of its requests, it hardly ever gets there.
const NEARLY_ALL: u32 = 16;

/// How many more of its last answers turned somebody away than did not.
#[derive(Debug, Default)]
pub(super) struct Refusals(AtomicU32);

impl Refusals {
    /// It answered. Cores that say so at the same moment may count as one.
    pub(super) fn answered(&self, turned_away: bool) {
        let count = self.0.load(Ordering::Relaxed);
        // An endpoint that serves is not written to.
        match (turned_away, count) {
            (true, MOST..) | (false, 0) => {}
            (true, _) => self.0.store(count + 1, Ordering::Relaxed),
            (false, _) => self.0.store(count - 1, Ordering::Relaxed),
        }
    }

    /// Whether it turns nearly everything away.
    pub(super) fn are_nearly_all(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= NEARLY_ALL
    }
}

/// Whether an answer of this status is of the kind that costs nothing. What a client has already (304) is not.
pub(super) const fn turns_away(status: u16) -> bool {
    status >= 300 && status < 500 && status != 304
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_turns_nearly_everything_away_is_known_by_its_last_answers() {
        let refusals = Refusals::default();
        let after = |times: u32, turned_away: bool| {
            (0..times).for_each(|_| refusals.answered(turned_away));
            refusals.are_nearly_all()
        };
        assert!(!after(15, true) && after(1, true) && after(100, true));
        assert!(after(16, false) && !after(1, false) && !after(100, false));
        assert!(!after(15, true) && after(1, true));
    }

    #[test]
    fn who_turns_away_a_third_of_what_comes_does_not_count() {
        let refusals = Refusals::default();
        for answer in 0..3_000_u32 {
            refusals.answered(answer % 3 == 0);
            assert!(!refusals.are_nearly_all());
        }
    }

    #[test]
    fn redirects_and_errors_of_the_client_turn_away_and_what_it_has_already_does_not() {
        let all = [200, 206, 301, 302, 304, 401, 404, 429, 500, 503].map(turns_away);
        assert_eq!(all, [false, false, true, true, false, true, true, true, false, false]);
    }
}
