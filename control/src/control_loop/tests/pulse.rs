//! Whether the loop is seen to be at work.

use std::sync::atomic::AtomicU64;

use super::*;

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
struct ByHand(AtomicU64);

impl Clock for ByHand {
    fn now(&self) -> Now {
        Now { elapsed: Duration::from_millis(self.0.load(Ordering::Acquire)), wall: Timestamp::UNIX_EPOCH }
    }
}

#[test]
fn a_loop_that_ticks_has_a_pulse_and_one_that_does_not_is_stalled_after_five_seconds() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ByHand::default());
    let options = Options { clock: Arc::<ByHand>::clone(&clock), ..Options::new(directory.path().to_owned()) };
    let plane = Quiet::default();
    let (handle, thread) = start(options, plane.clone(), resolved(TWO_VERSIONS)).unwrap();
    let pulse = Arc::clone(&handle.pulse);
    let running = Running { handle, thread, plane };

    // Whoever answers has begun; between two answers it looks at the clock, and ticks.
    let answers = || assert!(running.act(Action::Pause).is_err(), "there is nothing to pause");
    answers();
    clock.0.store(60_000, Ordering::Release);
    answers();
    answers();
    assert_eq!(pulse.stalled_for(), None);

    running.stop();
    clock.0.store(64_999, Ordering::Release);
    assert_eq!(pulse.stalled_for(), None);
    clock.0.store(65_000, Ordering::Release);
    assert_eq!(pulse.stalled_for(), Some(Duration::from_secs(5)));
}
