//! Figures of one version over the last ten seconds, for people.

use std::collections::VecDeque;

use meter::{LatencyCounts, Window};

/// Over how many seconds the figures slide.
const SECONDS: usize = 10;

/// What a version did in each of the last seconds. Latencies are kept as the few buckets that were hit.
#[derive(Debug, Default)]
pub(super) struct Figures {
    present: Second,
    latencies: LatencyCounts,
    past: VecDeque<Second>,
    shown: Shown,
}

#[derive(Debug, Default)]
struct Second {
    requests: u64,
    failed: u64,
    latencies: Vec<(usize, u64)>,
}

/// What people see of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Shown {
    pub(super) requests_per_second: f64,
    pub(super) error_rate: Option<f64>,
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
}

impl Figures {
    /// Adds what the version did since the last window.
    pub(super) fn add(&mut self, window: &Window) {
        self.present.requests += window.requests();
        self.present.failed += window.bad();
        self.latencies.merge(&window.latency_good);
        self.latencies.merge(&window.latency_bad);
    }

    /// A second is over.
    pub(super) fn turn(&mut self, bounds_us: &[u64]) {
        let mut second = std::mem::take(&mut self.present);
        second.latencies = self.latencies.iter().collect();
        self.latencies.clear();
        if self.past.len() == SECONDS {
            self.past.pop_front();
        }
        self.past.push_back(second);
        self.shown = self.sum(bounds_us);
    }

    /// The figures as of the last full second.
    pub(super) fn shown(&self) -> Shown {
        self.shown
    }

    fn sum(&self, bounds_us: &[u64]) -> Shown {
        let requests: u64 = self.past.iter().map(|second| second.requests).sum();
        let failed: u64 = self.past.iter().map(|second| second.failed).sum();
        let mut counts: Vec<(usize, u64)> =
            self.past.iter().flat_map(|second| second.latencies.iter().copied()).collect();
        counts.sort_unstable_by_key(|(bucket, _)| *bucket);
        Shown {
            requests_per_second: requests as f64 / self.past.len().max(1) as f64,
            error_rate: (requests > 0).then(|| failed as f64 / requests as f64),
            p50_ms: quantile_ms(&counts, 0.5, bounds_us),
            p99_ms: quantile_ms(&counts, 0.99, bounds_us),
        }
    }
}

/// The latency that a fraction `q` of the sorted counts is at or below.
fn quantile_ms(counts: &[(usize, u64)], q: f64, bounds_us: &[u64]) -> Option<f64> {
    let total: u64 = counts.iter().map(|(_, count)| count).sum();
    let rank = (total as f64 * q).ceil() as u64;
    let mut seen = 0;
    for (bucket, count) in counts {
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
    use meter::{Attempt, Class, Outcome, VersionMeter, latency_bounds_us};

    fn window(class: Class, latency_us: u64, times: usize) -> Window {
        let meter = VersionMeter::new(1);
        for _ in 0..times {
            meter.record(
                0,
                &Outcome {
                    attempt: Attempt::First,
                    class,
                    judged: true,
                    endpoint: None,
                    group: 0,
                    paths: 0,
                    total_us: None,
                    latency_us: Some(latency_us),
                },
            );
        }
        let mut window = Window::default();
        meter.take(&mut window);
        window
    }

    #[test]
    fn without_traffic_there_is_a_rate_of_zero_and_nothing_else() {
        let mut figures = Figures::default();
        figures.turn(&latency_bounds_us());
        assert_eq!(figures.shown(), Shown::default());
    }

    #[test]
    fn figures_cover_the_last_ten_seconds_and_forget_what_was_before() {
        let bounds = latency_bounds_us();
        let mut figures = Figures::default();
        figures.add(&window(Class::ServerError, 900_000, 100));
        figures.turn(&bounds);
        for _ in 0..10 {
            figures.add(&window(Class::Success, 2_000, 20));
            figures.turn(&bounds);
        }
        let shown = figures.shown();
        assert_eq!((shown.requests_per_second, shown.error_rate), (20.0, Some(0.0)));
        assert!(shown.p99_ms.is_some_and(|p99| (2.0..2.1).contains(&p99)), "{shown:?}");
    }

    #[test]
    fn failures_are_a_part_of_the_rate_and_of_the_latencies() {
        let mut figures = Figures::default();
        figures.add(&window(Class::Success, 1_000, 9));
        figures.add(&window(Class::Timeout, 5_000_000, 1));
        figures.turn(&latency_bounds_us());
        let shown = figures.shown();
        assert_eq!(shown.error_rate, Some(0.1));
        assert!(shown.p99_ms.is_some_and(|p99| p99 >= 5_000.0), "{shown:?}");
        assert!(shown.p50_ms.is_some_and(|p50| p50 < 1.1), "{shown:?}");
    }
}
