//! What clients of one service got.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::outcome::Class;

/// Counts the responses that clients of a service got, by class. Written by every core, read by anyone.
#[derive(Debug)]
pub struct ServiceMeter {
    cores: Box<[Row]>,
}

/// On cache lines of its own, so that cores do not disturb each other.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Row([AtomicU64; Class::ALL.len()]);

impl ServiceMeter {
    /// A meter for `cores` recorders (at least one).
    #[must_use]
    pub fn new(cores: usize) -> Self {
        Self { cores: (0..cores.max(1)).map(|_| Row::default()).collect() }
    }

    /// A client got a response of this class, or left before it.
    #[inline]
    pub fn count(&self, core: usize, class: Class) {
        self.cores[core % self.cores.len()].0[class as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many responses of each class clients got, in the order of [`Class::ALL`].
    #[must_use]
    pub fn responses(&self) -> [u64; Class::ALL.len()] {
        std::array::from_fn(|class| self.cores.iter().map(|row| row.0[class].load(Ordering::Relaxed)).sum())
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
        let responses = meter.responses();
        assert_eq!((responses[Class::Success as usize], responses[Class::Local as usize]), (2, 1));
    }
}
