//! The meter of one version: a shard per core to write, one reader.

mod counts;

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use self::counts::Counts;
use crate::outcome::Outcome;
use crate::tally::{Tally, Window};
use crate::waiting::{DrawnAt, Waiting};

/// Counts what one version of a service does, or the slice of it that a canary is compared with. Shared by the data
/// path, which records, and the control loop, which takes a window at each tick. It lives as long as anybody holds it,
/// so a request that outlasts a reload still records in the right place.
#[derive(Debug)]
pub struct VersionMeter {
    shards: Box<[Shard]>,
    /// See [`VersionMeter::watch`].
    watched_us: [AtomicU64; 2],
    reader: Mutex<Reader>,
}

/// Under which comparison, and which list of paths, a request was drawn. Its outcome is judged only while that
/// comparison lasts, and counted by path only while that list does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exposure {
    comparison: u64,
    paths: u64,
}

/// On cache lines of its own, so that cores do not disturb each other.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Recorder>);

/// What one core writes. All of it under one lock, so that a window never holds half of what happened, and nothing of
/// an old exposure is counted under a new one.
#[derive(Debug, Default)]
struct Recorder {
    exposure: Exposure,
    in_flight: u64,
    waiting: Waiting,
    counts: Counts,
    /// The group of the next request without a key.
    next_group: u8,
}

impl Recorder {
    /// A request without a key has a coin of its own, whoever sent it: it counts as a client of its own.
    fn group_of(&mut self, outcome: &Outcome) -> u8 {
        if outcome.keyed {
            return outcome.group;
        }
        self.next_group = self.next_group.wrapping_add(1);
        self.next_group
    }
}

#[derive(Debug)]
struct Reader {
    /// What every shard has, or is about to.
    exposure: Exposure,
    /// Cleared counts, one a shard, that a tick swaps in.
    spares: Box<[Counts]>,
    tally: Tally,
}

impl VersionMeter {
    /// A meter for `cores` recorders (at least one).
    #[must_use]
    pub fn new(cores: usize) -> Self {
        let cores = cores.max(1);
        let spares = (0..cores).map(|_| Counts::default()).collect();
        Self {
            shards: (0..cores).map(|_| Shard::default()).collect(),
            watched_us: [const { AtomicU64::new(u64::MAX) }; 2],
            reader: Mutex::new(Reader { exposure: Exposure::default(), spares, tally: Tally::default() }),
        }
    }

    fn shard(&self, core: usize) -> &Mutex<Recorder> {
        &self.shards[core % self.shards.len()].0
    }

    /// The present exposure: what requests that are drawn from now on carry. Who publishes a split publishes this with
    /// it, so that a request that reads an old split carries an old exposure.
    #[must_use]
    pub fn exposure(&self) -> Exposure {
        self.reader.lock().exposure
    }

    /// A comparison begins: requests drawn under an older exposure are counted and not judged. What a rollout leaves in
    /// flight is not charged to the next.
    pub fn begin_exposure(&self) -> Exposure {
        let mut reader = self.reader.lock();
        reader.exposure.comparison += 1;
        for shard in &self.shards {
            shard.0.lock().exposure = reader.exposure;
        }
        reader.exposure
    }

    /// Another list of paths comes into force: requests drawn under the old one are judged, and counted by no path.
    /// What was counted by path and not taken is forgotten, and so is the memory for it.
    pub fn begin_paths(&self) -> Exposure {
        let mut reader = self.reader.lock();
        reader.exposure.paths += 1;
        for shard in &self.shards {
            let mut recorder = shard.0.lock();
            recorder.exposure = reader.exposure;
            let forgotten = recorder.counts.forget_paths();
            drop(recorder);
            drop(forgotten);
        }
        for spare in &mut reader.spares {
            drop(spare.forget_paths());
        }
        reader.exposure
    }

    /// From now on groups and endpoints count latencies longer than these, in microseconds
    /// ([`GroupCounts::over`](crate::GroupCounts::over)). Before the first call none is.
    pub fn watch(&self, us: [u64; 2]) {
        for (watched, us) in self.watched_us.iter().zip(us) {
            watched.store(us, Ordering::Relaxed);
        }
    }

    /// A request was drawn to this version: by a random ticket, or by that of its affinity key. It waits for its
    /// answer until [`answered`](Self::answered).
    #[inline]
    pub fn begin(&self, core: usize, at_random: bool) -> DrawnAt {
        let mut recorder = self.shard(core).lock();
        recorder.in_flight += 1;
        recorder.counts.begin(at_random);
        recorder.waiting.begin()
    }

    /// A request that was drawn then waits no more: all of its answer came that anybody waits for, or its first attempt is over. To be
    /// called with the core that began it, once.
    #[inline]
    pub fn answered(&self, core: usize, drawn_at: DrawnAt) {
        self.shard(core).lock().waiting.answered(drawn_at);
    }

    /// Who waits for their answer in this second, counted by the caller from anywhere. To be called each
    /// second: what is drawn until the next call was drawn in this one.
    #[must_use]
    pub fn waiting(&self, second: u32) -> Waiting {
        let mut sum = Waiting::default();
        for shard in &self.shards {
            let mut recorder = shard.0.lock();
            recorder.waiting.turn(second);
            sum.merge(&recorder.waiting);
        }
        sum
    }

    /// A request that was drawn to this version is over, `duration_us` after its head came; `None` for upgrades,
    /// whose length is no duration. `recorded` says whether its first attempt is on record
    /// ([`Drawn::lost`](crate::Drawn::lost)). To be called with the core that began it.
    #[inline]
    pub fn end(&self, core: usize, duration_us: Option<u64>, recorded: bool) {
        let mut recorder = self.shard(core).lock();
        recorder.in_flight = recorder.in_flight.saturating_sub(1);
        recorder.counts.end(duration_us, recorded);
    }

    /// A request that was drawn to this version was answered well by another one in its stead.
    pub fn saved(&self, core: usize) {
        self.shard(core).lock().counts.saved();
    }

    /// Records an attempt that ended, of a request that was drawn under `exposure`. Costs tens of nanoseconds and
    /// allocates only at the first latency of its kind.
    #[inline]
    pub fn record_under(&self, core: usize, exposure: Exposure, outcome: &Outcome) {
        let watched_us = self.watched_us();
        let mut recorder = self.shard(core).lock();
        let present = recorder.exposure;
        let judged = outcome.judged && exposure.comparison == present.comparison;
        let paths = if exposure.paths == present.paths { outcome.paths } else { 0 };
        let group = recorder.group_of(outcome);
        recorder.counts.record(&Outcome { judged, group, paths, ..*outcome }, watched_us);
    }

    /// As [`record_under`](Self::record_under), of a request that was drawn under the present exposure.
    #[inline]
    pub fn record(&self, core: usize, outcome: &Outcome) {
        let watched_us = self.watched_us();
        let mut recorder = self.shard(core).lock();
        let group = recorder.group_of(outcome);
        recorder.counts.record(&Outcome { group, ..*outcome }, watched_us);
    }

    fn watched_us(&self) -> [u64; 2] {
        [self.watched_us[0].load(Ordering::Relaxed), self.watched_us[1].load(Ordering::Relaxed)]
    }

    /// Requests drawn to this version that are not over yet.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.shards.iter().map(|shard| shard.0.lock().in_flight).sum()
    }

    /// Takes what was recorded since the last call: `window` is overwritten with it, and the tally grows by it, except
    /// for its paths. Each core's lock is held for a swap only.
    pub fn take(&self, window: &mut Window) {
        window.clear();
        let mut reader = self.reader.lock();
        let Reader { spares, tally, .. } = &mut *reader;
        for (shard, spare) in self.shards.iter().zip(spares.iter_mut()) {
            mem::swap(&mut shard.0.lock().counts, spare);
            spare.drain_into(window);
        }
        // One list of paths follows the other: a sum over all of them would mean nothing.
        tally.merge_without_paths(window);
    }

    /// Reads the tally, as of the last [`take`](Self::take). Its paths are empty.
    pub fn with_tally<T>(&self, read: impl FnOnce(&Tally) -> T) -> T {
        read(&self.reader.lock().tally)
    }
}

#[cfg(test)]
mod tests;
