//! When a second is over.

use serde::{Deserialize, Serialize};

/// A clock that is so many seconds behind the latest second was set back; one that is less behind wavers.
const SET_BACK: i64 = 2;

/// The latest wall-clock second (Unix time) in which there was a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Latest(Option<i64>);

impl Latest {
    /// A tick came in this second; says whether that ends the one before.
    ///
    /// Evidence needs three distinct seconds, so a clock that wavers about the turn of a second must not make four of
    /// two. A clock that was set back must not stop the seconds either: they go on from where it is.
    pub(super) const fn turn_to(&mut self, second: i64) -> bool {
        let turned = match self.0 {
            None => false,
            Some(latest) if second > latest || latest.saturating_sub(second) >= SET_BACK => true,
            Some(_) => return false,
        };
        self.0 = Some(second);
        turned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(seconds: &[i64]) -> usize {
        let mut latest = Latest::default();
        seconds.iter().filter(|second| latest.turn_to(**second)).count()
    }

    #[test]
    fn a_clock_that_wavers_makes_two_seconds_of_two() {
        assert_eq!(turns(&[0, 1, 0, 1, 0, 1]), 1);
        assert_eq!(turns(&[0, 0, 1, 1, 2]), 2);
    }

    #[test]
    fn a_clock_that_was_set_back_goes_on_from_there() {
        assert_eq!(turns(&[100, 40, 41, 40, 42]), 3);
        assert_eq!(turns(&[0, 1, 2, 500, 499, 501]), 4);
        assert_eq!(turns(&[i64::MAX, i64::MIN, i64::MAX]), 2);
    }
}
