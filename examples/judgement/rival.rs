//! The rules of other tools, from their documentation, on exact counts and without the delay of a scrape.

use meter::LatencyCounts;

use crate::service::{Seen, Traffic};
use crate::watch::Watcher;

/// What a rule of success rates per interval is set to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Threshold {
    pub(crate) name: &'static str,
    /// Seconds from check to check.
    interval: u64,
    /// A check fails below this rate of success.
    success: f64,
    /// It takes the canary back once so many checks failed...
    failed: u32,
    /// ... at the check after (Flagger), or at once (Argo Rollouts).
    at_next_check: bool,
}

impl Threshold {
    const fn flagger(name: &'static str, interval: u64, failed: u32) -> Self {
        Self { name, interval, success: 0.99, failed, at_next_check: true }
    }

    const fn argo(name: &'static str, interval: u64, success: f64, failure_limit: u32) -> Self {
        Self { name, interval, success, failed: failure_limit + 1, at_next_check: false }
    }

    /// As their documents set them: Flagger counts failed checks and acts at the check after the last that it allows;
    /// Argo Rollouts acts once more checks failed than its `failureLimit`.
    pub(crate) const ALL: [Self; 5] = [
        Self::flagger("Flagger 1m × 5, 99 %", 60, 5),
        Self::flagger("Flagger 1m × 10, 99 %", 60, 10),
        Self::flagger("Flagger 10s × 5, 99 %", 10, 5),
        Self::argo("Argo 1m, 99 %, limit 0", 60, 0.99, 0),
        Self::argo("Argo 5m, 95 %, limit 3", 300, 0.95, 3),
    ];

    pub(crate) const fn watcher(self) -> PerInterval {
        PerInterval { rule: self, seconds: 0, requests: 0, bad: 0, failed: 0 }
    }
}

/// A [`Threshold`] at work.
pub(crate) struct PerInterval {
    rule: Threshold,
    seconds: u64,
    requests: u64,
    bad: u64,
    failed: u32,
}

impl Watcher for PerInterval {
    fn see(&mut self, _traffic: &Traffic, second: Option<&Seen>) -> bool {
        let Some(seen) = second else { return false };
        self.seconds += 1;
        self.requests += seen.requests.canary;
        self.bad += seen.bad.canary;
        if !self.seconds.is_multiple_of(self.rule.interval) {
            return false;
        }
        if self.rule.at_next_check && self.failed >= self.rule.failed {
            return true;
        }
        let (requests, bad) = (std::mem::take(&mut self.requests), std::mem::take(&mut self.bad));
        // An interval without requests is no check.
        if requests > 0 && ((requests - bad) as f64) < self.rule.success * requests as f64 {
            self.failed += 1;
        }
        !self.rule.at_next_check && self.failed >= self.rule.failed
    }
}

/// The z-test of two proportions at 5 % (one-sided), looked at every second over all requests so far.
#[derive(Default)]
pub(crate) struct RepeatedZ {
    requests: [u64; 2],
    bad: [u64; 2],
}

/// The 95th percentile of the standard normal distribution.
const Z95: f64 = 1.644_853_626_951_472_2;
/// Its 98th.
const Z98: f64 = 2.053_748_910_631_823;

impl Watcher for RepeatedZ {
    fn see(&mut self, _traffic: &Traffic, second: Option<&Seen>) -> bool {
        let Some(seen) = second else { return false };
        self.requests[0] += seen.requests.stable;
        self.requests[1] += seen.requests.canary;
        self.bad[0] += seen.bad.stable;
        self.bad[1] += seen.bad.canary;
        let [n, m] = self.requests.map(|count| count as f64);
        let [k, l] = self.bad.map(|count| count as f64);
        let pooled = (k + l) / (n + m);
        let deviation = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
        deviation > 0.0 && (l / m - k / n) / deviation > Z95
    }
}

/// The Mann-Whitney test at 2 % (one-sided) on the error rates of 10 s each, repeated at each such point.
#[derive(Default)]
pub(crate) struct RepeatedMannWhitney {
    seconds: u64,
    requests: [u64; 2],
    bad: [u64; 2],
    stable: Vec<f64>,
    canary: Vec<f64>,
}

/// The normal approximation of the Mann-Whitney statistic is not used for fewer points than this.
const FEWEST_POINTS: usize = 8;

impl Watcher for RepeatedMannWhitney {
    fn see(&mut self, _traffic: &Traffic, second: Option<&Seen>) -> bool {
        let Some(seen) = second else { return false };
        self.seconds += 1;
        self.requests[0] += seen.requests.stable;
        self.requests[1] += seen.requests.canary;
        self.bad[0] += seen.bad.stable;
        self.bad[1] += seen.bad.canary;
        if !self.seconds.is_multiple_of(10) {
            return false;
        }
        let ([n, m], [k, l]) = (std::mem::take(&mut self.requests), std::mem::take(&mut self.bad));
        if n == 0 || m == 0 {
            return false;
        }
        insert(&mut self.stable, k as f64 / n as f64);
        insert(&mut self.canary, l as f64 / m as f64);
        self.stable.len() >= FEWEST_POINTS && mann_whitney(&self.stable, &self.canary) > Z98
    }
}

fn insert(sorted: &mut Vec<f64>, value: f64) {
    let place = sorted.partition_point(|other| *other < value);
    sorted.insert(place, value);
}

/// How many standard deviations the second sample lies above the first, both sorted.
fn mann_whitney(first: &[f64], second: &[f64]) -> f64 {
    let mut tally = Ranks::default();
    let (mut i, mut j) = (0, 0);
    while i < first.len() || j < second.len() {
        let next = |values: &[f64], at: usize| values.get(at).copied().unwrap_or(f64::INFINITY);
        let value = next(first, i).min(next(second, j));
        let count = |values: &[f64], at: usize| values[at..].iter().take_while(|other| **other == value).count();
        let (a, b) = (count(first, i), count(second, j));
        tally.add(a as f64, b as f64);
        (i, j) = (i + a, j + b);
    }
    tally.deviations()
}

/// The Mann-Whitney statistic with ties, from ascending values.
#[derive(Default)]
struct Ranks {
    first: f64,
    second: f64,
    /// Pairs in which the second is larger, equal ones counting half.
    larger: f64,
    ties: f64,
}

impl Ranks {
    /// The next value: how often in the first sample, how often in the second.
    fn add(&mut self, first: f64, second: f64) {
        self.larger += second * (self.first + first / 2.0);
        self.first += first;
        self.second += second;
        let tied = first + second;
        self.ties += tied * (tied * tied - 1.0);
    }

    fn deviations(&self) -> f64 {
        let (n, m) = (self.first, self.second);
        let all = n + m;
        let variance = n * m / 12.0 * (all + 1.0 - self.ties / (all * (all - 1.0)));
        if variance > 0.0 { (self.larger - n * m / 2.0) / variance.sqrt() } else { 0.0 }
    }
}

/// The Mann-Whitney test at 2 % (one-sided) on all latencies so far, looked at every second.
#[derive(Default)]
pub(crate) struct MannWhitneyOfLatencies {
    stable: LatencyCounts,
    canary: LatencyCounts,
}

impl Watcher for MannWhitneyOfLatencies {
    fn see(&mut self, _traffic: &Traffic, second: Option<&Seen>) -> bool {
        let Some(seen) = second else { return false };
        self.stable.merge(&seen.latencies.stable);
        self.canary.merge(&seen.latencies.canary);
        let mut ranks = Ranks::default();
        let (mut stable, mut canary) = (self.stable.iter().peekable(), self.canary.iter().peekable());
        loop {
            let bucket = match (stable.peek(), canary.peek()) {
                (Some((a, _)), Some((b, _))) => *a.min(b),
                (Some((a, _)), None) => *a,
                (None, Some((b, _))) => *b,
                (None, None) => break,
            };
            let count = |at: Option<(usize, u64)>| at.map_or(0.0, |(_, count)| count as f64);
            let (a, b) = (stable.next_if(|(at, _)| *at == bucket), canary.next_if(|(at, _)| *at == bucket));
            ranks.add(count(a), count(b));
        }
        ranks.deviations() > Z98
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;
    use crate::failing::Failures;
    use crate::service::{Scene, Service};
    use crate::watch::contest;

    /// The definition, pair by pair.
    fn by_pairs(first: &[f64], second: &[f64]) -> f64 {
        let pairs = first.iter().flat_map(|a| second.iter().map(move |b| (a, b)));
        pairs.map(|(a, b)| f64::from(u8::from(b > a)) + f64::from(u8::from(b == a)) / 2.0).sum()
    }

    #[test]
    fn the_statistic_counts_pairs() {
        let (first, second) = ([0.0, 0.0, 0.1, 0.2, 0.2], [0.0, 0.1, 0.2, 0.3]);
        let mut ranks = Ranks::default();
        for (a, b) in [(2.0, 1.0), (1.0, 1.0), (2.0, 1.0), (0.0, 1.0)] {
            ranks.add(a, b);
        }
        assert_eq!(ranks.larger, by_pairs(&first, &second));
        assert_eq!(mann_whitney(&first, &second), ranks.deviations());
        assert!(mann_whitney(&first, &second) > 0.0 && mann_whitney(&second, &first) < 0.0);
    }

    /// When each rule takes back a canary that fails so often, in seconds.
    fn taken_back(rate: f64) -> [Option<f64>; 5] {
        let failures = Failures::Alone { stable: 0.0, canary: rate, from: 0.0 };
        let service = Service::USUAL.by_the_second();
        let scene = Scene { service, failures, timing: None, history: 0 };
        let (mut traffic, _) = Traffic::begin(scene, Chance::of(1, "rules", 0));
        let mut rules = Threshold::ALL.map(|rule| Box::new(rule.watcher()) as Box<dyn Watcher>);
        let outcomes = contest(&mut traffic, &mut rules, 1_800.0);
        std::array::from_fn(|rule| outcomes[rule].alarm.as_ref().map(|alarm| alarm.at))
    }

    #[test]
    fn each_rule_takes_as_many_intervals_as_its_document_says() {
        assert_eq!(taken_back(1.0), [Some(360.0), Some(660.0), Some(60.0), Some(60.0), Some(1_200.0)]);
        assert_eq!(taken_back(0.0), [None; 5]);
        let [_, _, _, one_check, lenient] = taken_back(0.03);
        assert_eq!((one_check, lenient), (Some(60.0), None));
    }

    #[test]
    fn samples_all_alike_deviate_by_nothing() {
        assert_eq!(mann_whitney(&[1.0, 1.0], &[1.0, 1.0, 1.0]), 0.0);
    }
}
