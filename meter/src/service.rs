//! What clients of one service got, and what they could not be spared.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::outcome::Class;

/// Counts the responses that clients of a service got, by class, and the retries that it could not afford. Written by every core, read by anyone.
#[derive(Debug)]
pub struct ServiceMeter {
    cores: Box<[Row]>,
}

/// On cache lines of its own, so that cores do not disturb each other.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Row {
    responses: [AtomicU64; Class::ALL.len()],
    refused: AtomicU64,
}

impl ServiceMeter {
    /// A meter for `cores` recorders (at least one).
    #[must_use]
    pub fn new(cores: usize) -> Self {
        Self { cores: (0..cores.max(1)).map(|_| Row::default()).collect() }
    }

    /// A client got a response of this class, or left before it.
    #[inline]
    pub fn count(&self, core: usize, class: Class) {
        self.row(core).responses[class as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A failure was passed on that would have been tried again, had the budget for retries not been used up.
    pub fn refuse_retry(&self, core: usize) {
        self.row(core).refused.fetch_add(1, Ordering::Relaxed);
    }

    fn row(&self, core: usize) -> &Row {
        &self.cores[core % self.cores.len()]
    }

    /// How many responses of each class clients got, in the order of [`Class::ALL`].
    #[must_use]
    pub fn responses(&self) -> [u64; Class::ALL.len()] {
        std::array::from_fn(|class| self.cores.iter().map(|row| row.responses[class].load(Ordering::Relaxed)).sum())
    }

    /// How many retries there were no more of in the budget.
    #[must_use]
    pub fn refused_retries(&self) -> u64 {
        self.cores.iter().map(|row| row.refused.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_summed_over_the_cores() {
        let meter = ServiceMeter::new(2);
        meter.count(0, Class::Success);
        meter.count(1, Class::Success);
        meter.count(1, Class::Local);
        (0..2).for_each(|core| meter.refuse_retry(core));
        let responses = meter.responses();
        assert_eq!((responses[Class::Success as usize], responses[Class::Local as usize]), (2, 1));
        assert_eq!(meter.refused_retries(), 2);
    }
}
