//! What lasts long: tunnels, streams of events, calls and bodies that stream on. Counted by version; ended where a version
//! leaves, and where the process does (docs/decisions/0032).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::deadlines::{Deadlines, Ending};

/// What is under way on all cores.
#[derive(Debug, Clone)]
pub(crate) struct UnderWay(Arc<[Deadlines]>);

/// Versions whose exchanges are to end, from these moments on, by their numbers. What begins to last there later, as one
/// that was young when the others were ended, ends as well, until the version has traffic again. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leaving(Arc<Mutex<HashMap<u32, Leaver>>>);

#[derive(Debug)]
struct Leaver {
    version: Arc<Lasting>,
    /// From when on what lasts there ends.
    from: Instant,
}

impl Leaving {
    /// From then on, or from when it was told before.
    pub(crate) fn leaves(&self, version: &Arc<Lasting>, at: Instant) {
        let mut leaving = self.0.lock();
        let leaver = leaving.entry(version.number);
        let leaver = leaver.or_insert_with(|| Leaver { version: Arc::clone(version), from: at });
        leaver.from = at.min(leaver.from);
    }

    /// It has traffic.
    pub(crate) fn stays(&self, version: &Lasting) {
        self.0.lock().remove(&version.number);
    }

    /// Ends what is to end. To be called now and then.
    pub(crate) fn look(&self, now: Instant) {
        // Where nobody else holds it but whoever publishes, it is gone, and nothing is under way there.
        self.0.lock().retain(|_, leaver| {
            if leaver.from <= now {
                leaver.version.end(now);
            }
            Arc::strong_count(&leaver.version) > 2
        });
    }
}

impl UnderWay {
    /// Nothing yet, on so many cores (at least one).
    pub(crate) fn new(cores: usize) -> Self {
        Self((0..cores.max(1)).map(|_| Deadlines::default()).collect())
    }

    /// What is under way on this core.
    pub(crate) fn on(&self, core: usize) -> Deadlines {
        self.0[core % self.0.len()].clone()
    }

    fn lasting(&self, version: u32, now: Instant) -> u64 {
        self.0.iter().map(|core| core.lasting(version, now)).sum()
    }

    /// Ends what lasts, of this version or of all. Says how many were ended by this.
    fn end(&self, version: Option<u32>, why: Ending, now: Instant) -> u64 {
        self.0.iter().map(|core| core.end_lasting(version, why, now)).sum()
    }

    /// Ends everything that lasts, in a way that clients come again.
    pub(crate) fn end_all(&self, now: Instant) -> u64 {
        self.end(None, Ending::ProcessEnds, now)
    }
}

/// What lasts on one version. Kept over reloads, and after the version is gone for as long as something lasts there.
#[derive(Debug)]
pub(crate) struct Lasting {
    number: u32,
    under_way: UnderWay,
    ended: AtomicU64,
}

impl Lasting {
    /// Of the version with this number, which no other has; above 0.
    pub(crate) const fn new(number: u32, under_way: UnderWay) -> Self {
        Self { number, under_way, ended: AtomicU64::new(0) }
    }

    /// The number that its attempts are known by.
    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    /// How many exchanges last there.
    pub(crate) fn count(&self, now: Instant) -> u64 {
        self.under_way.lasting(self.number, now)
    }

    /// Asks them to end now.
    pub(crate) fn end(&self, now: Instant) -> u64 {
        self.under_way.end(Some(self.number), Ending::VersionLeft, now)
    }

    /// One was ended by us, and is over.
    pub(crate) fn ended(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were.
    pub(crate) fn ended_so_far(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }
}
