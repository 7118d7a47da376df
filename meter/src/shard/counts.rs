//! What one core counted since the last tick.

use std::mem;

use crate::latency::LatencyCounts;
use crate::outcome::{Attempt, Class, GROUPS, Outcome};
use crate::tally::{Clients, Drawn, GroupCounts, PathTally, Window};

/// Narrow counts, emptied at each tick. Every part takes memory at its first use and keeps it.
#[derive(Debug, Default)]
pub(super) struct Counts {
    judged: [u32; Class::ALL.len()],
    attempts: [[u32; Class::ALL.len()]; Attempt::ALL.len()],
    latencies: Latencies,
    duration: LatencyCounts<u32>,
    groups: [Group; GROUPS],
    endpoints: [Group; GROUPS],
    clients: Clients,
    drawn: Drawn,
    saved: u32,
    paths: Vec<PathCounts>,
    used: bool,
}

/// The latencies of judged attempts.
#[derive(Debug, Default)]
struct Latencies {
    good: LatencyCounts<u32>,
    bad: LatencyCounts<u32>,
    total_good: LatencyCounts<u32>,
    total_bad: LatencyCounts<u32>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Group {
    requests: u32,
    bad: u32,
    timed: u32,
    over: [u32; 2],
}

/// Judged attempts on one path.
#[derive(Debug, Default)]
pub(super) struct PathCounts {
    judged: [u32; Class::ALL.len()],
    latencies: Latencies,
    used: bool,
}

impl Counts {
    #[inline]
    pub(super) fn begin(&mut self, at_random: bool) {
        self.used = true;
        self.drawn.all += 1;
        self.drawn.at_random += u64::from(at_random);
    }

    #[inline]
    pub(super) fn end(&mut self, duration_us: Option<u64>, recorded: bool) {
        self.used = true;
        self.drawn.ended += 1;
        self.drawn.lost += u64::from(!recorded);
        if let Some(us) = duration_us {
            self.duration.record_us(us);
        }
    }

    pub(super) fn saved(&mut self) {
        self.used = true;
        self.saved += 1;
    }

    #[inline]
    pub(super) fn record(&mut self, outcome: &Outcome, watched_us: [u64; 2]) {
        self.used = true;
        let class = outcome.class as usize;
        self.attempts[outcome.attempt as usize][class] += 1;
        if outcome.attempt != Attempt::First || !outcome.judged {
            return;
        }
        self.judged[class] += 1;
        self.latencies.record(outcome);
        let group = usize::from(outcome.group) % GROUPS;
        self.clients.seen |= 1 << group;
        self.clients.bad |= u16::from(outcome.class.is_bad()) << group;
        if outcome.keyed {
            self.groups[group].record(outcome, watched_us);
        }
        if let Some(endpoint) = outcome.endpoint {
            self.endpoints[usize::from(endpoint) % GROUPS].record(outcome, watched_us);
        }
        let mut paths = outcome.paths;
        while paths != 0 {
            self.path(paths.trailing_zeros() as usize).record(outcome);
            // Without its lowest bit.
            paths &= paths - 1;
        }
    }

    fn path(&mut self, place: usize) -> &mut PathCounts {
        if place >= self.paths.len() {
            self.paths.resize_with(place + 1, PathCounts::default);
        }
        &mut self.paths[place]
    }

    /// Counts nothing by path any more; what is given back is for the caller to drop where no core waits.
    pub(super) fn forget_paths(&mut self) -> Vec<PathCounts> {
        mem::take(&mut self.paths)
    }

    /// Adds all of it to a window and is empty again.
    pub(super) fn drain_into(&mut self, window: &mut Window) {
        if !mem::take(&mut self.used) {
            return;
        }
        add(&mut window.judged, &mut self.judged);
        for (theirs, mine) in window.attempts.iter_mut().zip(&mut self.attempts) {
            add(theirs, mine);
        }
        for (sum, part) in
            window.groups.iter_mut().zip(&mut self.groups).chain(window.endpoints.iter_mut().zip(&mut self.endpoints))
        {
            mem::take(part).add_to(sum);
        }
        window.drawn.merge(&mem::take(&mut self.drawn));
        window.saved += u64::from(mem::take(&mut self.saved));
        window.clients.merge(mem::take(&mut self.clients));
        pour(&mut self.latencies.good, &mut window.latency_good);
        pour(&mut self.latencies.bad, &mut window.latency_bad);
        pour(&mut self.latencies.total_good, &mut window.total_good);
        pour(&mut self.latencies.total_bad, &mut window.total_bad);
        pour(&mut self.duration, &mut window.duration);
        for (place, path) in self.paths.iter_mut().enumerate().filter(|(_, path)| path.used) {
            if place >= window.paths.len() {
                window.paths.resize_with(place + 1, PathTally::default);
            }
            path.drain_into(&mut window.paths[place]);
        }
    }
}

impl Latencies {
    #[inline]
    fn record(&mut self, outcome: &Outcome) {
        let bad = outcome.class.is_bad();
        if let Some(us) = outcome.latency_us {
            if bad { &mut self.bad } else { &mut self.good }.record_us(us);
        }
        if let Some(us) = outcome.total_us {
            if bad { &mut self.total_bad } else { &mut self.total_good }.record_us(us);
        }
    }
}

impl Group {
    #[inline]
    fn record(&mut self, outcome: &Outcome, watched_us: [u64; 2]) {
        let bad = outcome.class.is_bad();
        self.requests += 1;
        self.bad += u32::from(bad);
        // As the latency gates count: a version that keeps its clients waiting is slow, one that fails at once is not
        // fast.
        let Some(us) = outcome.latency_us.filter(|_| !bad || outcome.class == Class::Timeout) else { return };
        self.timed += 1;
        for (over, watched) in self.over.iter_mut().zip(watched_us) {
            *over += u32::from(us > watched);
        }
    }

    fn add_to(self, sum: &mut GroupCounts) {
        sum.requests += u64::from(self.requests);
        sum.bad += u64::from(self.bad);
        sum.timed += u64::from(self.timed);
        for (sum, part) in sum.over.iter_mut().zip(self.over) {
            *sum += u64::from(part);
        }
    }
}

impl PathCounts {
    fn record(&mut self, outcome: &Outcome) {
        self.used = true;
        self.judged[outcome.class as usize] += 1;
        self.latencies.record(outcome);
    }

    fn drain_into(&mut self, tally: &mut PathTally) {
        self.used = false;
        add(&mut tally.judged, &mut self.judged);
        pour(&mut self.latencies.good, &mut tally.latency_good);
        pour(&mut self.latencies.bad, &mut tally.latency_bad);
        pour(&mut self.latencies.total_good, &mut tally.total_good);
        pour(&mut self.latencies.total_bad, &mut tally.total_bad);
    }
}

fn add(sums: &mut [u64], parts: &mut [u32]) {
    for (sum, part) in sums.iter_mut().zip(parts) {
        *sum += u64::from(mem::take(part));
    }
}

fn pour(from: &mut LatencyCounts<u32>, into: &mut LatencyCounts) {
    into.merge(from);
    from.clear();
}
