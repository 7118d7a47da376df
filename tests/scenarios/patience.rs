//! Waiting: always for something, never for a length of time, and never for ever.

#![expect(clippy::disallowed_methods, reason = "real processes are waited for in real time, by one bounded poll")]

use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything here should take; who waits so long has failed.
pub(crate) const LONG: Duration = Duration::from_secs(30);
/// How often the poll looks.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `look` finds something. None where nothing is found within `longest`.
pub(crate) fn found_within<T>(longest: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + longest;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(LOOK);
    }
}

/// Waits until `look` finds something; fails the test, with what was waited for, where it does not.
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    match found_within(LONG, look) {
        Some(found) => found,
        None => panic!("waited {} s for {what}", LONG.as_secs()),
    }
}

/// Waits until something holds.
pub(crate) fn until_true(what: &str, mut holds: impl FnMut() -> bool) {
    until(what, || holds().then_some(()));
}

/// Tells how long ago it was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
