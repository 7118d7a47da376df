//! Many rollouts at once: as many threads as cores, and a bar that shows how far they are.

use std::io::{self, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};

use crate::chance::Chance;

/// Who simulates.
pub(crate) struct Crew {
    /// From which every stream of chance follows.
    pub(crate) seed: u64,
    /// What every number of rollouts is multiplied with.
    effort: f64,
    /// A smoke run: every rollout is cut short, too.
    quick: bool,
    threads: usize,
    bar: ProgressBar,
}

impl Crew {
    pub(crate) fn new(seed: u64, effort: f64, quick: bool, threads: usize) -> Self {
        let bar = ProgressBar::new(0);
        let style = "{wide_msg} {bar:30} {pos}/{len} rollouts, {eta} left";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { seed, effort, quick, threads, bar }
    }

    /// How many rollouts stand for `full` ones here.
    pub(crate) fn rollouts(&self, full: u64) -> u64 {
        if self.quick { 2 } else { ((full as f64 * self.effort).round() as u64).max(1) }
    }

    /// How many seconds stand for `full` ones here.
    pub(crate) fn seconds(&self, full: f64) -> f64 {
        if self.quick { full.min(5.0) } else { full }
    }

    /// Simulates `full` rollouts of a row, in any order; the results are in the order of their numbers.
    pub(crate) fn simulate<T: Send>(
        &self,
        row: &str,
        full: u64,
        rollout: impl Fn(Chance) -> T + Sync,
    ) -> anyhow::Result<Vec<T>> {
        let rollouts = self.rollouts(full);
        self.bar.reset();
        self.bar.set_length(rollouts);
        self.bar.set_message(row.to_owned());
        let (next, results) = (AtomicU64::new(0), Mutex::new(Vec::new()));
        let work = || -> anyhow::Result<()> {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= rollouts {
                    return Ok(());
                }
                let result = rollout(Chance::of(self.seed, row, number));
                results.lock().map_err(|_| anyhow!("another thread panicked"))?.push((number, result));
                self.bar.inc(1);
            }
        };
        thread::scope(|scope| {
            let crew: Vec<_> = (0..self.threads.max(1)).map(|_| scope.spawn(work)).collect();
            crew.into_iter().try_for_each(|one| one.join().map_err(|_| anyhow!("a thread panicked"))?)
        })?;
        let mut results = results.into_inner().map_err(|_| anyhow!("a thread panicked"))?;
        results.sort_by_key(|(number, _)| *number);
        Ok(results.into_iter().map(|(_, result)| result).collect())
    }

    /// Says something above the bar.
    pub(crate) fn say(&self, text: &str) {
        // Nobody reads on where the other end of a pipe is closed; the simulation may still write its files.
        self.bar.suspend(|| writeln!(io::stdout(), "{text}").ok());
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_not_matter_how_many_threads_simulate() {
        let of = |threads| {
            let crew = Crew::new(1, 1.0, false, threads);
            // Some rollouts are much longer than others, so that they end in another order than they began.
            let rollout = |mut chance: Chance| {
                let length = if chance.uniform() < 0.5 { 1 } else { 100_000 };
                (0..length).fold(0, |sum: u64, _| sum.wrapping_add(chance.bits()))
            };
            crew.simulate("row", 40, rollout).unwrap()
        };
        let alone = of(1);
        assert_eq!(alone.len(), 40);
        assert_eq!(alone, of(2));
        assert_eq!(alone, of(7));
    }
}
