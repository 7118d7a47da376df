//! The meter of one version: a shard per core to write, one reader.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::latency::LatencyCounts;
use crate::outcome::{Attempt, Class, GROUPS, Outcome};
use crate::tally::{Tally, Window};

/// Counts what one version of a service does. Shared by the data path, which records, and the control loop, which
/// takes a window at each tick. It lives as long as anybody holds it, so a request that outlasts a reload still
/// records in the right place.
#[derive(Debug)]
pub struct VersionMeter {
    /// Grows when a comparison begins; see [`VersionMeter::exposure`].
    exposure: AtomicU64,
    shards: Box<[Shard]>,
    reader: Mutex<Reader>,
}

/// On cache lines of its own, so that cores do not disturb each other.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    counts: Mutex<Counts>,
    begun: AtomicU64,
    ended: AtomicU64,
}

/// What one core counted since the last tick.
#[derive(Debug, Default)]
struct Counts {
    judged: [u32; Class::ALL.len()],
    attempts: [[u32; Class::ALL.len()]; Attempt::ALL.len()],
    latency_good: LatencyCounts<u32>,
    latency_bad: LatencyCounts<u32>,
    duration: LatencyCounts<u32>,
    groups: [(u32, u32); GROUPS],
    endpoints: [(u32, u32); GROUPS],
    used: bool,
}

#[derive(Debug)]
struct Reader {
    /// Cleared counts, one a shard, that a tick swaps in.
    spares: Box<[Counts]>,
    tally: Tally,
}

impl VersionMeter {
    /// A meter for `cores` recorders (at least one).
    #[must_use]
    pub fn new(cores: usize) -> Self {
        let cores = cores.max(1);
        let reader = Reader { spares: (0..cores).map(|_| Counts::default()).collect(), tally: Tally::default() };
        let exposure = AtomicU64::new(0);
        Self { exposure, shards: (0..cores).map(|_| Shard::default()).collect(), reader: Mutex::new(reader) }
    }

    fn shard(&self, core: usize) -> &Shard {
        &self.shards[core % self.shards.len()]
    }

    /// The number of the present exposure. A request carries the one under which it was drawn, and is judged only while
    /// that one lasts: what a rollout leaves in flight is not charged to the next.
    #[inline]
    #[must_use]
    pub fn exposure(&self) -> u64 {
        self.exposure.load(Ordering::Relaxed)
    }

    /// A comparison begins: requests that are in flight now are counted and not judged.
    pub fn begin_exposure(&self) {
        self.exposure.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was drawn to this version.
    #[inline]
    pub fn begin(&self, core: usize) {
        self.shard(core).begun.fetch_add(1, Ordering::Relaxed);
    }

    /// A request that was drawn to this version is over, `duration_us` after its head came; `None` for upgrades,
    /// whose length is no duration.
    #[inline]
    pub fn end(&self, core: usize, duration_us: Option<u64>) {
        let shard = self.shard(core);
        shard.ended.fetch_add(1, Ordering::Relaxed);
        if let Some(us) = duration_us {
            let mut counts = shard.counts.lock();
            counts.used = true;
            counts.duration.record_us(us);
        }
    }

    /// Records an attempt that ended. Costs tens of nanoseconds and allocates only at the first latency.
    #[inline]
    pub fn record(&self, core: usize, outcome: &Outcome) {
        let mut counts = self.shard(core).counts.lock();
        counts.used = true;
        let class = outcome.class as usize;
        counts.attempts[outcome.attempt as usize][class] += 1;
        if outcome.attempt != Attempt::First || !outcome.judged {
            return;
        }
        counts.judged[class] += 1;
        let bad = outcome.class.is_bad();
        if let Some(us) = outcome.latency_us {
            let latencies = if bad { &mut counts.latency_bad } else { &mut counts.latency_good };
            latencies.record_us(us);
        }
        let group = &mut counts.groups[usize::from(outcome.group) % GROUPS];
        group.0 += 1;
        group.1 += u32::from(bad);
        if let Some(endpoint) = outcome.endpoint {
            let group = &mut counts.endpoints[usize::from(endpoint) % GROUPS];
            group.0 += 1;
            group.1 += u32::from(bad);
        }
    }

    /// Requests drawn to this version that are not over yet.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        // Ends are read first: a request that ends in between may be counted, never one too few.
        let ended: u64 = self.shards.iter().map(|shard| shard.ended.load(Ordering::Acquire)).sum();
        let begun: u64 = self.shards.iter().map(|shard| shard.begun.load(Ordering::Acquire)).sum();
        begun.saturating_sub(ended)
    }

    /// Takes what was recorded since the last call: `window` is overwritten with it, and the tally grows by it.
    /// Each core's lock is held for a swap only.
    pub fn take(&self, window: &mut Window) {
        window.clear();
        let mut reader = self.reader.lock();
        let Reader { spares, tally } = &mut *reader;
        for (shard, spare) in self.shards.iter().zip(spares.iter_mut()) {
            mem::swap(&mut *shard.counts.lock(), spare);
            if spare.used {
                spare.drain_into(window);
            }
        }
        tally.merge(window);
    }

    /// Reads the tally, as of the last [`take`](Self::take).
    pub fn with_tally<T>(&self, read: impl FnOnce(&Tally) -> T) -> T {
        read(&self.reader.lock().tally)
    }
}

impl Counts {
    fn drain_into(&mut self, window: &mut Window) {
        add(&mut window.judged, &mut self.judged);
        for (theirs, mine) in window.attempts.iter_mut().zip(&mut self.attempts) {
            add(theirs, mine);
        }
        for (sum, part) in
            window.groups.iter_mut().zip(&mut self.groups).chain(window.endpoints.iter_mut().zip(&mut self.endpoints))
        {
            let (requests, bad) = mem::take(part);
            sum.requests += u64::from(requests);
            sum.bad += u64::from(bad);
        }
        window.latency_good.merge(&self.latency_good);
        self.latency_good.clear();
        window.latency_bad.merge(&self.latency_bad);
        self.latency_bad.clear();
        window.duration.merge(&self.duration);
        self.duration.clear();
        self.used = false;
    }
}

fn add(sums: &mut [u64], parts: &mut [u32]) {
    for (sum, part) in sums.iter_mut().zip(parts) {
        *sum += u64::from(mem::take(part));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outcome(class: Class) -> Outcome {
        Outcome {
            attempt: Attempt::First,
            class,
            judged: true,
            endpoint: Some(0),
            group: 0,
            paths: 0,
            total_us: None,
            latency_us: Some(1_000),
        }
    }

    fn taken(meter: &VersionMeter) -> Window {
        let mut window = Window::default();
        meter.take(&mut window);
        window
    }

    #[test]
    fn a_window_holds_what_came_since_the_last_one_and_the_tally_holds_all() {
        let meter = VersionMeter::new(2);
        meter.record(0, &outcome(Class::Success));
        assert_eq!(taken(&meter).requests(), 1);
        meter.record(1, &outcome(Class::ServerError));
        let second = taken(&meter);
        assert_eq!((second.requests(), second.bad()), (1, 1));
        assert_eq!(taken(&meter).requests(), 0);
        assert_eq!(meter.with_tally(|tally| (tally.requests(), tally.bad())), (2, 1));
    }

    #[test]
    fn a_retry_a_shield_and_an_unjudged_attempt_are_counted_and_not_judged() {
        let meter = VersionMeter::new(1);
        meter.record(0, &Outcome { attempt: Attempt::Retry, ..outcome(Class::ServerError) });
        meter.record(0, &Outcome { attempt: Attempt::Shield, ..outcome(Class::Success) });
        meter.record(0, &Outcome { judged: false, ..outcome(Class::ServerError) });
        let window = taken(&meter);
        assert_eq!(window.requests(), 0);
        assert!(window.latency_good.is_empty() && window.latency_bad.is_empty());
        assert_eq!(window.attempts.iter().flatten().sum::<u64>(), 3);
    }

    #[test]
    fn an_abort_is_a_latency_and_no_failure() {
        let meter = VersionMeter::new(1);
        meter.record(0, &Outcome { latency_us: Some(500_000), ..outcome(Class::ClientAbort) });
        let window = taken(&meter);
        assert_eq!(window.bad(), 0);
        assert_eq!(window.over_or_failed(300_000), 1);
    }

    #[test]
    fn a_failure_counts_once_whether_it_was_fast_or_slow() {
        let meter = VersionMeter::new(1);
        meter.record(0, &Outcome { latency_us: Some(10), ..outcome(Class::ServerError) });
        meter.record(0, &Outcome { latency_us: Some(900_000), ..outcome(Class::Timeout) });
        meter.record(0, &Outcome { latency_us: None, endpoint: None, ..outcome(Class::ConnectError) });
        assert_eq!(taken(&meter).over_or_failed(300_000), 3);
    }

    #[test]
    fn in_flight_is_what_began_and_did_not_end() {
        let meter = VersionMeter::new(2);
        meter.begin(0);
        meter.begin(1);
        meter.end(1, Some(10));
        assert_eq!(meter.in_flight(), 1);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_which_core_records_nor_when_the_tick_comes(
            events in prop::collection::vec((0usize..4, 0usize..12, 0u64..1_000_000, any::<bool>()), 0..200),
        ) {
            let (spread, single) = (VersionMeter::new(4), VersionMeter::new(1));
            let mut sum = Tally::default();
            for (core, class, us, tick) in &events {
                let outcome = Outcome { latency_us: Some(*us), ..outcome(Class::ALL[*class]) };
                spread.record(*core, &outcome);
                single.record(*core, &outcome);
                if *tick {
                    sum.merge(&taken(&spread));
                }
            }
            sum.merge(&taken(&spread));
            let whole = taken(&single);
            prop_assert_eq!(sum.judged, whole.judged);
            prop_assert_eq!(sum.attempts, whole.attempts);
            prop_assert_eq!(sum.groups, whole.groups);
            prop_assert_eq!(sum.latency_good.iter().collect::<Vec<_>>(), whole.latency_good.iter().collect::<Vec<_>>());
            prop_assert_eq!(spread.with_tally(|tally| tally.judged), whole.judged);
        }
    }
}
