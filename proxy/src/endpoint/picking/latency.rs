//! How fast an endpoint answers: a moving average that follows a rise fast and a fall slowly ("peak-EWMA", as in Finagle
//! and linkerd2, but for how fast it rises).
//!
//! There a rise counts at once and in full. At hundreds of requests a second the average is then the slowest of some
//! seconds: every endpoint has a slow request now and then, and one that is ten times slower looks like all others. Here an
//! answer counts for as long as nothing was heard before it: one of many for little, and the first after a stall in full.

use std::sync::atomic::{AtomicU64, Ordering};

/// After so long without an answer, an average has lost all but 37 % of its weight: against what is faster.
const FALL_MS: f32 = 10_000.0;
/// And against what is slower.
const RISE_MS: f32 = 300.0;
/// A failure of an endpoint that never answered well says something about how fast it is where it took this long, in
/// microseconds.
const UNKNOWN_US: f32 = 30_000.0;
/// Within so long nothing is taken from an average for its age: it would be less than a part in a hundred.
const STILL_FRESH_MS: u32 = 100;

/// The average, in one word, so that no reader sees half of an update: 32 bits of an `f32` of microseconds, and the
/// millisecond of the last update after the endpoint came to be, modulo 2^32 (49 days). 0: nothing is known.
#[derive(Debug, Default)]
pub(in crate::endpoint) struct Latency(AtomicU64);

/// A moment in the life of an endpoint.
#[derive(Debug, Clone, Copy)]
pub(in crate::endpoint) struct Moment {
    /// Milliseconds after it came to be.
    pub(in crate::endpoint) at_ms: u64,
    /// When it came back last from being down or left alone, on the same clock: what was measured before then is
    /// forgotten, since one that was overloaded would be avoided for long after it has recovered.
    pub(in crate::endpoint) back_ms: u64,
}

impl Latency {
    /// It answered after so many microseconds. A failure is no sign that it is fast: it never lowers the average, or an
    /// endpoint that refuses everything at once would be given the most; nor is it none, or the average would fade. One that begins with a failure is as unknown as
    /// before, and has its part of the traffic until it is ejected: its first answer may have been a stray.
    pub(in crate::endpoint) fn observe(&self, us: u64, failed: bool, moment: Moment) {
        // At least 1, since 0 means that nothing is known.
        let us = us.max(1) as f32;
        let update = |word: u64| {
            let next = match Average::of(word, moment) {
                None if failed && us < UNKNOWN_US => return None,
                None => us,
                // Many answers in a millisecond count as one, and move no cache line between cores.
                Some(average) if average.age_ms == 0 => return None,
                Some(average) if us > average.us => average.towards(us, RISE_MS),
                Some(average) if failed => average.us,
                Some(average) => average.towards(us, FALL_MS),
            };
            Some(u64::from(next.to_bits()) << 32 | u64::from(moment.stamp()))
        };
        // An error means that there is nothing to change.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
    }

    /// The average in microseconds, the less the longer nothing was heard: so an endpoint that was slow is tried again.
    /// None where nothing is known.
    pub(in crate::endpoint) fn get(&self, moment: impl FnOnce() -> Moment) -> Option<f32> {
        let word = self.0.load(Ordering::Relaxed);
        if word == 0 {
            return None;
        }
        let Average { us, age_ms } = Average::of(word, moment())?;
        Some(if age_ms < STILL_FRESH_MS { us } else { us * kept(age_ms, FALL_MS) })
    }
}

struct Average {
    us: f32,
    age_ms: u32,
}

impl Average {
    /// With one more answer that took so long.
    fn towards(&self, us: f32, decay_ms: f32) -> f32 {
        us + (self.us - us) * kept(self.age_ms, decay_ms)
    }

    /// None where nothing is known that still counts.
    fn of(word: u64, moment: Moment) -> Option<Self> {
        if word == 0 {
            return None;
        }
        let stamp = (word & u64::from(u32::MAX)) as u32;
        // A little less than nothing where another core was ahead.
        let age_ms = moment.stamp().wrapping_sub(stamp);
        let age_ms = if age_ms > u32::MAX / 2 { 0 } else { age_ms };
        let is_from_before = moment.back_ms > 0 && u64::from(age_ms) > moment.at_ms.saturating_sub(moment.back_ms);
        (!is_from_before).then(|| Self { us: f32::from_bits((word >> 32) as u32), age_ms })
    }
}

impl Moment {
    const fn stamp(self) -> u32 {
        (self.at_ms & u32::MAX as u64) as u32
    }
}

/// What is left of an average of this age.
fn kept(age_ms: u32, decay_ms: f32) -> f32 {
    (-(age_ms as f32) / decay_ms).exp()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(at_ms: u64) -> Moment {
        Moment { at_ms, back_ms: 0 }
    }

    fn after(answers: &[(u64, bool, u64)]) -> Latency {
        let latency = Latency::default();
        answers.iter().for_each(|(us, failed, at_ms)| latency.observe(*us, *failed, at(*at_ms)));
        latency
    }

    #[test]
    fn a_rise_counts_soon_and_a_fall_little_by_little() {
        let latency = after(&[(1_000, false, 1), (50_000, false, 2_001), (1_000, false, 3_001)]);
        let kept = (-0.1_f32).exp();
        let expected = 50_000.0 * kept + 1_000.0 * (1.0 - kept);
        let found = latency.get(|| at(3_001)).unwrap();
        assert!((found - expected).abs() < 60.0, "{found}, not {expected}");
    }

    #[test]
    fn an_endpoint_that_turns_slower_is_known_to_be_so_within_a_second() {
        let slower = (1..100).map(|count| (50_000, false, 1_000 + count * 10));
        let latency = after(&(1..100).map(|count| (5_000, false, count * 10)).chain(slower).collect::<Vec<_>>());
        assert!(latency.get(|| at(2_000)).unwrap() > 45_000.0);
    }

    /// As where the machine stood still for a moment, or where one request in some hundreds takes longer.
    #[test]
    fn of_two_endpoints_one_that_is_ten_times_slower_stays_the_slower_whatever_single_answers_take() {
        let answers = |us: u64, stray: u64| {
            let answer = move |count: u64| (if count.is_multiple_of(300) { stray } else { us }, false, count * 4);
            after(&(1..2_000).map(answer).collect::<Vec<_>>()).get(|| at(8_000)).unwrap()
        };
        let (fast, slow) = (answers(5_000, 200_000), answers(50_000, 50_000));
        assert!(fast * 3.0 < slow, "{fast} and {slow}");
    }

    #[test]
    fn an_endpoint_that_was_slow_looks_faster_the_longer_it_is_left_alone() {
        let latency = after(&[(1_000_000, false, 1)]);
        assert_eq!(latency.get(|| at(50)), Some(1_000_000.0));
        let later: Vec<f32> = [10_001, 20_001, 60_001].map(|ms| latency.get(|| at(ms)).unwrap()).to_vec();
        assert!((later[0] - 367_879.0).abs() < 10.0 && (later[1] - 135_335.0).abs() < 10.0, "{later:?}");
        assert!(later[2] < 2_500.0, "{later:?}");
    }

    #[test]
    fn failing_at_once_makes_nobody_fast() {
        assert_eq!(after(&[(20_000, false, 1), (10, true, 5_000)]).get(|| at(1)), Some(20_000.0));
        assert_eq!(after(&[(10, true, 1)]).get(|| at(1)), None, "nor slow, where it never answered");
        assert_eq!(after(&[(90_000, true, 1)]).get(|| at(1)), Some(90_000.0));
        let late = after(&[(20_000, false, 1), (10_000_000, true, 5_000)]).get(|| at(5_000)).unwrap();
        assert!((late - 10_000_000.0).abs() < 10.0, "{late}");
    }

    #[test]
    fn what_was_measured_before_an_endpoint_came_back_is_forgotten() {
        let latency = after(&[(30_000_000, true, 1_000)]);
        let back = |at_ms| Moment { at_ms, back_ms: 2_000 };
        assert_eq!(latency.get(|| back(2_500)), None);
        latency.observe(1_000, false, back(2_500));
        assert_eq!(latency.get(|| back(2_501)), Some(1_000.0));
    }

    #[test]
    fn a_clock_of_many_weeks_is_no_trouble() {
        let weeks = u64::from(u32::MAX) * 3;
        let latency = after(&[(5_000, false, weeks)]);
        assert_eq!(latency.get(|| at(weeks + 10)), Some(5_000.0));
        assert_eq!(latency.get(|| Moment { at_ms: weeks + 10, back_ms: weeks - 1_000 }), Some(5_000.0));
    }

    proptest! {
        /// Whatever is told of it, and whatever the clock does.
        #[test]
        fn an_average_lies_between_nothing_and_the_slowest_answer(
            answers in prop::collection::vec((0_u64..100_000_000, any::<bool>(), any::<u64>()), 1..50),
            asked in any::<u64>(),
        ) {
            let latency = after(&answers);
            let slowest = answers.iter().map(|(us, ..)| *us).max().unwrap() as f32;
            // Nothing is known where all that it did was to fail at once.
            let average = latency.get(|| at(asked)).unwrap_or_default();
            prop_assert!(average >= 0.0 && average <= slowest * 1.000_001, "{average}");
        }
    }
}
