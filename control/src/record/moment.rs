//! When a line was written, as the record has it.

use std::fmt;

use jiff::Timestamp;

/// A moment of the wall clock, to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    second: i64,
    millisecond: u16,
}

impl Moment {
    /// After the year 9000: whatever is written so is no number of seconds.
    pub(super) const LATEST: f64 = 2.3e11;

    /// A moment in Unix time; none where it is before 1970 or after the year 9000.
    #[must_use]
    pub fn from_seconds(seconds: f64) -> Option<Self> {
        if !(0.0..=Self::LATEST).contains(&seconds) {
            return None;
        }
        let whole = seconds.floor();
        // The blocks of the tests end with the second, so rounding never reaches the next one.
        let millisecond = ((seconds - whole) * 1e3).round().min(999.0) as u16;
        Some(Self { second: whole as i64, millisecond })
    }

    /// The moment of a timestamp.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        Self { second: at.as_second(), millisecond: (at.subsec_millisecond().unsigned_abs() % 1_000) as u16 }
    }

    /// In Unix time.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.second as f64 + f64::from(self.millisecond) / 1e3
    }

    /// The Unix second that it is in.
    #[must_use]
    pub const fn second(self) -> i64 {
        self.second
    }

    /// In milliseconds of Unix time.
    #[must_use]
    pub(crate) const fn milliseconds(self) -> i64 {
        self.second.saturating_mul(1_000).saturating_add(self.millisecond as i64)
    }

    /// Milliseconds since the second began, below 1000.
    #[must_use]
    pub const fn millisecond(self) -> u16 {
        self.millisecond
    }
}

impl fmt::Display for Moment {
    /// Unix time with three decimals, as in a record.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.second, self.millisecond)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_time_is_none() {
        for seconds in [-0.001, f64::NAN, f64::INFINITY, 1.7e12] {
            assert_eq!(Moment::from_seconds(seconds), None, "{seconds}");
        }
    }

    proptest! {
        #[test]
        fn a_moment_is_read_as_it_was_written(second in 0i64..230_000_000_000, millisecond in 0u16..1_000) {
            let moment = Moment { second, millisecond };
            prop_assert_eq!(Moment::from_seconds(moment.to_string().parse().unwrap()), Some(moment));
        }

        #[test]
        fn a_moment_is_in_its_second_however_finely_it_is_written(seconds in 0.0f64..2.3e11) {
            prop_assert_eq!(Moment::from_seconds(seconds).unwrap().second(), seconds.floor() as i64);
        }
    }
}
