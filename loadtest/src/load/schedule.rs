//! When requests leave: fixed beforehand, whatever becomes of them. Time is an argument here.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

/// Requests a second.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate(f64);

/// A rate that no schedule can have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InvalidRate(f64);

impl Rate {
    /// A hundred a second.
    pub(super) const HUNDRED: Self = Self(100.0);
    const LOWEST: f64 = 0.001;
    const HIGHEST: f64 = 1_000_000.0;

    /// So many requests a second.
    ///
    /// # Errors
    /// Where it is not from 0.001 to 1 000 000.
    pub fn per_second(rate: f64) -> Result<Self, InvalidRate> {
        if (Self::LOWEST..=Self::HIGHEST).contains(&rate) { Ok(Self(rate)) } else { Err(InvalidRate(rate)) }
    }

    /// Requests a second.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for InvalidRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests a second is no rate: it must be from {} to {}", self.0, Rate::LOWEST, Rate::HIGHEST)
    }
}

impl std::error::Error for InvalidRate {}

/// How requests are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spacing {
    /// Equally far apart.
    #[default]
    Even,
    /// As many independent users would send them: exponential gaps, a Poisson process.
    Poisson,
}

/// When a schedule ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Length {
    /// After this time: requests due later are not sent.
    Lasts(Duration),
    /// After so many requests.
    Count(u64),
    /// Only when it is stopped.
    #[default]
    UntilStopped,
}

/// The moments, counted from the start, at which requests are due.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    rate: Rate,
    spacing: Spacing,
    length: Length,
    rng: Rng,
    /// Even moments are counted in steps from here, so that no rounding error adds up.
    base: Duration,
    steps: u64,
    issued: u64,
    due: Duration,
}

impl Schedule {
    pub(super) fn new(rate: Rate, spacing: Spacing, length: Length, seed: u64) -> Self {
        let rng = Rng::with_seed(seed);
        let mut schedule =
            Self { rate, spacing, length, rng, base: Duration::ZERO, steps: 0, issued: 0, due: Duration::ZERO };
        if spacing == Spacing::Poisson {
            schedule.due = schedule.random_gap();
        }
        schedule
    }

    /// When the next request is due; `None` where the schedule is over.
    pub(super) fn due(&self) -> Option<Duration> {
        let over = match self.length {
            Length::Lasts(length) => self.due >= length,
            Length::Count(count) => self.issued >= count,
            Length::UntilStopped => false,
        };
        (!over).then_some(self.due)
    }

    /// The request that was due is on its way.
    pub(super) fn advance(&mut self) {
        self.issued += 1;
        match self.spacing {
            Spacing::Even => {
                self.steps += 1;
                self.due = self.base.saturating_add(seconds(self.steps as f64 / self.rate.0));
            }
            Spacing::Poisson => self.due = self.due.saturating_add(self.random_gap()),
        }
    }

    pub(super) const fn rate(&self) -> Rate {
        self.rate
    }

    /// Changes the rate for what is not yet due.
    pub(super) fn set_rate(&mut self, rate: Rate, now: Duration) {
        let last = match self.steps.checked_sub(1) {
            Some(steps) => self.base.saturating_add(seconds(steps as f64 / self.rate.0)),
            None => self.base,
        };
        self.rate = rate;
        if self.due <= now {
            // Late already; it keeps its moment and the ones after it have the new distance.
            (self.base, self.steps) = (self.due, 0);
            return;
        }
        match self.spacing {
            Spacing::Even => {
                let due = last.saturating_add(seconds(1.0 / rate.0)).max(now);
                (self.base, self.steps, self.due) = (due, 0, due);
            }
            // Exponential gaps have no memory: it does not matter how long ago the last request left.
            Spacing::Poisson => self.due = now.saturating_add(self.random_gap()),
        }
    }

    fn random_gap(&mut self) -> Duration {
        seconds(-(1.0 - self.rng.f64()).ln() / self.rate.0)
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(rate: f64) -> Rate {
        Rate::per_second(rate).unwrap()
    }

    fn all(schedule: &mut Schedule) -> Vec<Duration> {
        std::iter::from_fn(|| schedule.due().inspect(|_| schedule.advance())).collect()
    }

    #[test]
    fn an_even_schedule_has_exactly_rate_times_length_requests() {
        for (rate_per_second, expected) in [(5_000.0, 15_000), (333.0, 999), (0.5, 2)] {
            let length = Length::Lasts(Duration::from_secs(3));
            let moments = all(&mut Schedule::new(rate(rate_per_second), Spacing::Even, length, 1));
            assert_eq!(moments.len(), expected);
            assert_eq!(moments[0], Duration::ZERO);
            assert_eq!(moments[1], Duration::from_secs_f64(1.0 / rate_per_second));
        }
    }

    #[test]
    fn a_poisson_schedule_has_its_rate_its_spread_and_its_seed() {
        let of = |seed| all(&mut Schedule::new(rate(1_000.0), Spacing::Poisson, Length::Count(50_000), seed));
        let moments = of(1);
        let total = moments[49_999].as_secs_f64();
        assert!((49.0..51.0).contains(&total), "{total}");
        let gaps: Vec<_> = moments.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let longer_than_mean = gaps.iter().filter(|gap| **gap > 0.001).count() as f64 / gaps.len() as f64;
        assert!((0.36..0.376).contains(&longer_than_mean), "e^-1 is 0.368, not {longer_than_mean}");
        assert_eq!(moments, of(1));
        assert_ne!(moments, of(2));
    }

    #[test]
    fn a_new_rate_holds_from_the_next_request_on() {
        let mut schedule = Schedule::new(rate(10.0), Spacing::Even, Length::Count(5), 1);
        schedule.advance();
        schedule.set_rate(rate(100.0), Duration::from_millis(2));
        let moments: Vec<_> = all(&mut schedule).iter().map(Duration::as_millis).collect();
        assert_eq!(moments, [10, 20, 30, 40]);
    }

    #[test]
    fn a_higher_rate_does_not_make_up_for_the_time_before_it() {
        let mut schedule = Schedule::new(rate(0.01), Spacing::Even, Length::Count(3), 1);
        schedule.advance();
        schedule.set_rate(rate(100.0), Duration::from_secs(50));
        let moments: Vec<_> = all(&mut schedule).iter().map(Duration::as_millis).collect();
        assert_eq!(moments, [50_000, 50_010]);
    }

    #[test]
    fn requests_that_are_late_keep_their_moment_when_the_rate_changes() {
        let mut schedule = Schedule::new(rate(10.0), Spacing::Even, Length::Count(3), 1);
        schedule.advance();
        schedule.set_rate(rate(100.0), Duration::from_secs(7));
        let moments: Vec<_> = all(&mut schedule).iter().map(Duration::as_millis).collect();
        assert_eq!(moments, [100, 110]);
    }

    #[test]
    fn impossible_rates_are_refused_in_words() {
        for bad in [0.0, -1.0, 2e6, f64::NAN, f64::INFINITY] {
            let words = Rate::per_second(bad).unwrap_err().to_string();
            assert_eq!(words, format!("{bad} requests a second is no rate: it must be from 0.001 to 1000000"));
        }
    }
}
