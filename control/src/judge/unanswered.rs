//! Requests that wait for the canary to answer. What waits is no evidence yet, and a canary that hangs leaves nothing else.

use meter::Waiting;

use crate::view::Arms;

/// Who was drawn in this second or the one before may wait: they are fast ones, for all that is known.
const RECENT: usize = 2;
/// So many that wait are no accident.
const SEVERAL: u64 = 4;

/// Requests of the last quarter of a minute, but for the last moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unanswered {
    /// How many were drawn.
    pub drawn: Arms<u64>,
    /// How many of them have no whole answer yet. Of streams of events, calls and tunnels the head is the whole.
    pub waiting: Arms<u64>,
}

/// What waits for the canary, where that is much more than what waits for stable.
///
/// Either the part of its requests that waits is more than twice that of stable's; or, where it has few requests, all that
/// were drawn since some moment wait, and that moment is more than twice as long ago as stable's.
#[must_use]
pub fn unanswered(stable: &Waiting, canary: &Waiting) -> Option<Unanswered> {
    let (of_stable, of_canary) = (Older::of(stable), Older::of(canary));
    let part = of_canary.waiting >= SEVERAL
        && of_canary.waiting.saturating_mul(of_stable.drawn) > 2 * of_stable.waiting.saturating_mul(of_canary.drawn);
    let silent = of_canary.silent_for > 2 * of_stable.silent_for;
    (part || silent).then_some(Unanswered {
        drawn: Arms { stable: of_stable.drawn, canary: of_canary.drawn },
        waiting: Arms { stable: of_stable.waiting, canary: of_canary.waiting },
    })
}

/// What is known of one version.
#[derive(Debug, Default)]
struct Older {
    drawn: u64,
    waiting: u64,
    /// Whoever was drawn up to so many seconds ago waits; 0 where nobody does, or one of the latest was answered.
    silent_for: usize,
}

impl Older {
    fn of(waiting: &Waiting) -> Self {
        let mut older = Self::default();
        let mut silent = true;
        for (ago, (drawn, waits)) in waiting.back().enumerate().skip(RECENT) {
            older.drawn += u64::from(drawn);
            older.waiting += u64::from(waits);
            silent &= waits >= drawn;
            if silent && waits > 0 {
                older.silent_for = ago;
            }
        }
        older
    }
}

#[cfg(test)]
mod tests {
    use meter::VersionMeter;

    use super::*;

    /// What waits of so many requests a second, each of which takes so many seconds; from the second `hangs` on, one in
    /// `of` gets no answer.
    fn waiting(now: u32, a_second: u32, takes: u32, hangs: u32, of: u32) -> Waiting {
        let meter = VersionMeter::new(1);
        let mut under_way = Vec::new();
        for second in 0..=now {
            drop(meter.waiting(second));
            under_way.retain(|(ends, drawn_at)| {
                let over = *ends <= second;
                if over {
                    meter.answered(0, *drawn_at);
                }
                !over
            });
            for number in 0..a_second {
                let ends = if second >= hangs && number % of == 0 { u32::MAX } else { second + takes };
                under_way.push((ends, meter.begin(0, true)));
            }
        }
        meter.waiting(now)
    }

    const NEVER: u32 = u32::MAX;

    #[test]
    fn a_canary_that_answers_as_soon_as_stable_keeps_nobody_waiting() {
        for takes in [1, 2, 3, 5, 8, 14, 30] {
            for (of_stable, of_canary) in [(1_000, 50), (10, 1), (1, 1)] {
                for now in [0, 1, 5, 20, 100] {
                    let stable = waiting(now, of_stable, takes, NEVER, 1);
                    let canary = waiting(now, of_canary, takes, NEVER, 1);
                    assert_eq!(unanswered(&stable, &canary), None, "{takes} s, {of_canary} a second, {now} s");
                }
            }
        }
    }

    #[test]
    fn a_canary_that_hangs_is_seen_to_within_seconds() {
        let stable = waiting(103, 1_000, 1, NEVER, 1);
        for a_second in [500, 50, 1] {
            let canary = waiting(103, a_second, 1, 100, 1);
            let seen = unanswered(&stable, &canary).unwrap();
            assert_eq!((seen.waiting.stable, seen.waiting.canary), (0, u64::from(2 * a_second)));
        }
    }

    #[test]
    fn a_part_that_hangs_is_seen_to() {
        let stable = waiting(105, 1_000, 1, NEVER, 1);
        assert!(unanswered(&stable, &waiting(105, 50, 1, 100, 10)).is_some());
        assert!(unanswered(&stable, &waiting(105, 50, 1, 105, 10)).is_none(), "it may be a fast one");
    }

    #[test]
    fn where_stable_takes_seconds_too_a_canary_that_hangs_is_seen_to_later() {
        let stable = waiting(115, 100, 3, NEVER, 1);
        assert!(unanswered(&stable, &waiting(103, 100, 3, 100, 1)).is_none());
        assert!(unanswered(&stable, &waiting(115, 100, 3, 105, 1)).is_some());
        assert!(unanswered(&stable, &waiting(115, 1, 3, 105, 1)).is_some());
    }

    #[test]
    fn without_requests_nobody_waits() {
        assert_eq!(unanswered(&Waiting::default(), &Waiting::default()), None);
        assert_eq!(unanswered(&waiting(100, 10, 1, NEVER, 1), &Waiting::default()), None);
    }
}
