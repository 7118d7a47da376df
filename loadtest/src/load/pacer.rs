//! The thread that keeps the schedule.
//!
//! It is apart from the one that speaks HTTP, because a timer of the runtime ticks in whole milliseconds and waits
//! for whatever the runtime is busy with; a condition variable wakes within a tenth of that.

use std::time::{Duration, Instant};

use fastrand::Rng;
use parking_lot::{Condvar, Mutex};

use super::schedule::{Rate, Schedule};

/// A request that is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    /// When it was meant to be sent, from the start.
    pub(super) at: Duration,
    /// Which client sends it.
    pub(super) client: u32,
}

/// What the owner of a load tells the pacer.
#[derive(Debug)]
pub(super) struct Pacer {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Debug)]
struct Wanted {
    rate: Rate,
    stop: bool,
}

impl Pacer {
    pub(super) fn new(rate: Rate) -> Self {
        Self { wanted: Mutex::new(Wanted { rate, stop: false }), changed: Condvar::new() }
    }

    pub(super) fn set_rate(&self, rate: Rate) {
        self.wanted.lock().rate = rate;
        self.changed.notify_all();
    }

    pub(super) fn stop(&self) {
        self.wanted.lock().stop = true;
        self.changed.notify_all();
    }

    /// Calls `send` for each request when it is due, or at once where that moment is past, until the schedule is over
    /// or stopped. `clients` is how many there are to draw from.
    pub(super) fn run(
        &self,
        mut schedule: Schedule,
        begin: Instant,
        clients: u32,
        mut rng: Rng,
        mut send: impl FnMut(Due),
    ) {
        while let Some(at) = schedule.due() {
            let mut wanted = self.wanted.lock();
            if wanted.stop {
                return;
            }
            let now = begin.elapsed();
            if wanted.rate != schedule.rate() {
                schedule.set_rate(wanted.rate, now);
                continue;
            }
            if now < at {
                match begin.checked_add(at) {
                    Some(moment) => drop(self.changed.wait_until(&mut wanted, moment)),
                    // Beyond what the clock can tell: until something changes.
                    None => self.changed.wait(&mut wanted),
                }
                continue;
            }
            drop(wanted);
            send(Due { at, client: rng.u32(0..clients.max(1)) });
            schedule.advance();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::schedule::{Length, Spacing};

    #[test]
    fn a_pacer_that_is_behind_sends_everything_at_once_with_the_moments_it_was_meant_for() {
        let rate = Rate::per_second(10.0).unwrap();
        let schedule = Schedule::new(rate, Spacing::Even, Length::Count(100), 1);
        let begin = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let mut sent = Vec::new();
        Pacer::new(rate).run(schedule, begin, 1, Rng::with_seed(1), |due| sent.push(due.at));
        assert_eq!(sent.len(), 100);
        assert_eq!(sent[99], Duration::from_millis(9_900));
    }

    #[test]
    fn stopping_wakes_a_pacer_that_waits_for_an_hour() {
        let rate = Rate::per_second(0.001).unwrap();
        let mut schedule = Schedule::new(rate, Spacing::Even, Length::UntilStopped, 1);
        schedule.advance();
        let pacer = Pacer::new(rate);
        std::thread::scope(|scope| {
            let waiting =
                scope.spawn(|| pacer.run(schedule, Instant::now(), 1, Rng::with_seed(1), |due| panic!("sent {due:?}")));
            pacer.stop();
            waiting.join().unwrap();
        });
    }

    #[test]
    fn every_client_of_a_population_sends_and_nobody_else_does() {
        let rate = Rate::per_second(1_000_000.0).unwrap();
        let schedule = Schedule::new(rate, Spacing::Even, Length::Count(1_000), 1);
        let mut seen = [0; 10];
        Pacer::new(rate).run(schedule, Instant::now(), 10, Rng::with_seed(1), |due| seen[due.client as usize] += 1);
        assert_eq!(seen.iter().sum::<i32>(), 1_000);
        assert!(seen.iter().all(|requests| *requests > 50), "{seen:?}");
    }
}
