//! Figures of one version over the last ten seconds, for people.

use std::collections::VecDeque;

use meter::{Attempt, Class, LATENCY_BUCKETS, LatencyCounts, Tally};

/// Over how many seconds the figures slide.
const SECONDS: usize = 10;

/// What a version did in each of the last seconds: differences of its tally. Latencies are kept as the few buckets that
/// were hit.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// The tally as of the last second.
    judged: u64,
    judged_failed: u64,
    requests: u64,
    failed: u64,
    /// By bucket; empty before the first latency.
    latencies: Vec<u64>,
    past: VecDeque<Second>,
    shown: Shown,
}

#[derive(Debug, Default)]
struct Second {
    judged: u64,
    judged_failed: u64,
    requests: u64,
    failed: u64,
    latencies: Vec<(usize, u64)>,
}

/// What people see of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Shown {
    /// First attempts, of people who are not judged as well: those whom a header or cookie brings.
    pub(super) requests_per_second: f64,
    pub(super) error_rate: Option<f64>,
    /// Those that are judged.
    pub(super) judged_per_second: f64,
    pub(super) judged_error_rate: Option<f64>,
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
}

impl Figures {
    /// A second is over. What is in `scratch` does not matter; it is used again for many versions.
    pub(super) fn turn(&mut self, tally: &Tally, scratch: &mut LatencyCounts, bounds_us: &[u64]) {
        // A tally that is smaller is that of a version that came back with a fresh meter.
        let grown = |now: u64, before: &mut u64| now.checked_sub(std::mem::replace(before, now)).unwrap_or(now);
        // What the proxy did in its own name is nothing that the version did.
        let firsts = Class::ALL.iter().filter(|class| **class != Class::Local);
        let firsts = firsts.map(|class| (class.is_bad(), tally.attempts[Attempt::First as usize][*class as usize]));
        let (all, bad) = firsts.fold((0, 0), |(all, bad), (is_bad, n)| (all + n, bad + if is_bad { n } else { 0 }));
        let mut second = Second {
            judged: grown(tally.requests(), &mut self.judged),
            judged_failed: grown(tally.bad(), &mut self.judged_failed),
            requests: grown(all, &mut self.requests),
            failed: grown(bad, &mut self.failed),
            latencies: Vec::new(),
        };
        scratch.clear();
        scratch.merge(&tally.latency_good);
        scratch.merge(&tally.latency_bad);
        if !scratch.is_empty() {
            self.latencies.resize(LATENCY_BUCKETS, 0);
        }
        for (bucket, now) in scratch.iter() {
            let count = grown(now, &mut self.latencies[bucket]);
            if count > 0 {
                second.latencies.push((bucket, count));
            }
        }
        if self.past.len() == SECONDS {
            self.past.pop_front();
        }
        self.past.push_back(second);
        self.shown = self.sum(scratch, bounds_us);
    }

    /// The figures as of the last full second.
    pub(super) fn shown(&self) -> Shown {
        self.shown
    }

    fn sum(&self, scratch: &mut LatencyCounts, bounds_us: &[u64]) -> Shown {
        let sum = |of: fn(&Second) -> u64| self.past.iter().map(of).sum::<u64>();
        let (requests, failed) = (sum(|second| second.requests), sum(|second| second.failed));
        let (judged, judged_failed) = (sum(|second| second.judged), sum(|second| second.judged_failed));
        let per_second = |count: u64| count as f64 / self.past.len().max(1) as f64;
        let rate = |failed: u64, of: u64| (of > 0).then(|| failed as f64 / of as f64);
        scratch.clear();
        self.past.iter().flat_map(|second| &second.latencies).for_each(|(bucket, count)| scratch.add(*bucket, *count));
        Shown {
            requests_per_second: per_second(requests),
            error_rate: rate(failed, requests),
            judged_per_second: per_second(judged),
            judged_error_rate: rate(judged_failed, judged),
            p50_ms: quantile_ms(scratch, 0.5, bounds_us),
            p99_ms: quantile_ms(scratch, 0.99, bounds_us),
        }
    }
}

/// The latency that a fraction `q` of the counts is at or below.
fn quantile_ms(counts: &LatencyCounts, q: f64, bounds_us: &[u64]) -> Option<f64> {
    let rank = (counts.total() as f64 * q).ceil() as u64;
    let mut seen = 0;
    for (bucket, count) in counts.iter() {
        seen += count;
        if seen >= rank {
            let upper_end = bounds_us.get(bucket + 1).or(bounds_us.last())?.saturating_sub(1);
            return Some(upper_end as f64 / 1e3);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use meter::{Attempt, Class, Outcome, VersionMeter, Window, latency_bounds_us};

    /// A version whose seconds pass.
    struct World {
        meter: VersionMeter,
        figures: Figures,
        scratch: LatencyCounts,
    }

    impl World {
        fn new() -> Self {
            Self { meter: VersionMeter::new(1), figures: Figures::default(), scratch: LatencyCounts::default() }
        }

        fn answers(&self, class: Class, latency_us: u64, times: usize) {
            self.answers_to(class, latency_us, times, true);
        }

        fn answers_to(&self, class: Class, latency_us: u64, times: usize, judged: bool) {
            for _ in 0..times {
                let outcome = Outcome {
                    attempt: Attempt::First,
                    class,
                    judged,
                    endpoint: None,
                    group: 0,
                    keyed: true,
                    paths: 0,
                    total_us: None,
                    latency_us: Some(latency_us),
                };
                self.meter.record(0, &outcome);
            }
        }

        fn second(&mut self) -> Shown {
            let Self { meter, figures, scratch } = self;
            meter.take(&mut Window::default());
            meter.with_tally(|tally| figures.turn(tally, scratch, &latency_bounds_us()));
            figures.shown()
        }
    }

    #[test]
    fn without_traffic_there_is_a_rate_of_zero_and_nothing_else() {
        assert_eq!(World::new().second(), Shown::default());
    }

    #[test]
    fn figures_cover_the_last_ten_seconds_and_forget_what_was_before() {
        let mut world = World::new();
        world.answers(Class::ServerError, 900_000, 100);
        world.second();
        for _ in 0..9 {
            world.answers(Class::Success, 2_000, 20);
            world.second();
        }
        assert!(world.figures.shown().p99_ms > Some(800.0), "{:?}", world.figures.shown());
        world.answers(Class::Success, 2_000, 20);
        let shown = world.second();
        assert_eq!((shown.requests_per_second, shown.error_rate), (20.0, Some(0.0)));
        assert!(shown.p99_ms.is_some_and(|p99| (2.0..2.1).contains(&p99)), "{shown:?}");
    }

    #[test]
    fn failures_are_a_part_of_the_rate_and_of_the_latencies() {
        let mut world = World::new();
        world.answers(Class::Success, 1_000, 9);
        world.answers(Class::Timeout, 5_000_000, 1);
        let shown = world.second();
        assert_eq!(shown.error_rate, Some(0.1));
        assert!(shown.p99_ms.is_some_and(|p99| p99 >= 5_000.0), "{shown:?}");
        assert!(shown.p50_ms.is_some_and(|p50| p50 < 1.1), "{shown:?}");
    }

    #[test]
    fn people_who_are_not_judged_are_seen_and_counted_for_no_estimate() {
        let mut world = World::new();
        world.answers_to(Class::Success, 1_000, 8, false);
        world.answers_to(Class::ServerError, 1_000, 2, false);
        // What the proxy answered itself.
        world.answers_to(Class::Local, 1_000, 5, false);
        let shown = world.second();
        assert_eq!((shown.requests_per_second, shown.error_rate), (10.0, Some(0.2)));
        assert_eq!((shown.judged_per_second, shown.judged_error_rate), (0.0, None));
    }

    #[test]
    fn a_version_that_comes_back_with_a_fresh_meter_begins_with_what_it_does_now() {
        let mut world = World::new();
        world.answers(Class::Success, 1_000, 500);
        (0..11).for_each(|_| _ = world.second());
        world.meter = VersionMeter::new(1);
        world.answers(Class::Success, 1_000, 10);
        assert_eq!(world.second().requests_per_second, 1.0);
    }
}
