//! Ticks gathered into batches that can carry evidence.

use serde::{Deserialize, Serialize};

use crate::view::Arms;

/// Counts of both versions that add up over ticks.
pub trait Gather {
    /// Judged requests that ended.
    fn requests(&self) -> Arms<u64>;

    /// Adds the counts of another tick.
    fn gather(&mut self, tick: &Self);
}

/// What both versions did over some ticks, as far as tests need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Batch {
    /// Judged requests that ended.
    pub requests: Arms<u64>,
    /// How many of them failed.
    pub bad: Arms<u64>,
    /// Of how many of them the client left before it had its whole answer: nobody knows how they would have ended.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub left: Arms<u64>,
}

impl Batch {
    /// Requests whose end is known: what can prove that the canary is no worse. A client that left is no success.
    #[must_use]
    pub const fn ended(&self) -> Arms<u64> {
        let Self { requests, left, .. } = self;
        Arms {
            stable: requests.stable.saturating_sub(left.stable),
            canary: requests.canary.saturating_sub(left.canary),
        }
    }
}

const fn is_nothing(counts: &Arms<u64>) -> bool {
    counts.stable == 0 && counts.canary == 0
}

impl Gather for Batch {
    fn requests(&self) -> Arms<u64> {
        self.requests
    }

    fn gather(&mut self, tick: &Self) {
        add(&mut self.requests, tick.requests);
        add(&mut self.bad, tick.bad);
        add(&mut self.left, tick.left);
    }
}

fn add(mine: &mut Arms<u64>, theirs: Arms<u64>) {
    mine.stable = mine.stable.saturating_add(theirs.stable);
    mine.canary = mine.canary.saturating_add(theirs.canary);
}

/// Gathers ticks until a batch has requests of both versions and [`Batcher::MIN_TOTAL`] in all: one version alone
/// carries no two-sample evidence, however long it goes on. When a batch closes depends on how many requests there
/// were, never on how they ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Batcher<B = Batch> {
    open: Option<B>,
}

impl Batcher {
    /// How many requests close a batch.
    pub const MIN_TOTAL: u64 = 20;
}

impl<B: Gather> Batcher<B> {
    /// Adds a tick; gives the batch that it closed, if it closed one.
    pub fn push(&mut self, tick: B) -> Option<B> {
        let batch = match self.open.take() {
            Some(mut open) => {
                open.gather(&tick);
                open
            }
            None => tick,
        };
        let Arms { stable, canary } = batch.requests();
        if canary >= 1 && stable >= 1 && canary.saturating_add(stable) >= Batcher::MIN_TOTAL {
            return Some(batch);
        }
        self.open = Some(batch);
        None
    }

    /// Gives what there is, whatever there is: for a change of weights.
    pub fn flush(&mut self) -> Option<B> {
        self.open.take()
    }

    /// What was gathered since the last batch.
    #[must_use]
    pub const fn open(&self) -> Option<&B> {
        self.open.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::golden;
    use proptest::prelude::*;

    fn batch([nc, nb, kc, kb]: [u64; 4]) -> Batch {
        Batch { requests: Arms { stable: nb, canary: nc }, bad: Arms { stable: kb, canary: kc }, left: Arms::default() }
    }

    #[test]
    fn batches_close_where_the_golden_vectors_say() {
        let vectors = golden::batcher();
        assert_eq!((vectors.min_total, vectors.ticks.len()), (Batcher::MIN_TOTAL, 8));
        let mut batcher = Batcher::default();
        for step in vectors.ticks {
            assert_eq!(batcher.push(batch(step.tick)), step.batch.map(batch), "{step:?}");
        }
        assert_eq!(batcher.flush(), vectors.flush.map(batch));
        assert_eq!(batcher.flush(), None);
    }

    #[test]
    fn one_version_alone_never_closes_a_batch() {
        for alone in [[1_000, 0, 5, 0], [0, 1_000, 0, 5]] {
            let mut batcher = Batcher::default();
            assert_eq!((0..10).find_map(|_| batcher.push(batch(alone))), None);
            let closed = batcher.push(batch([1, 1, 0, 0])).unwrap();
            assert_eq!(closed.requests.stable + closed.requests.canary, 10_002);
        }
    }

    proptest! {
        #[test]
        fn in_whatever_order_ticks_are_gathered_the_batch_is_the_same(
            ticks in prop::collection::vec(prop::array::uniform4(0u64..=1_000_000_000_000), 1..12),
            seed in any::<u64>(),
        ) {
            let gathered = |ticks: &[[u64; 4]]| {
                let mut all = Batch::default();
                ticks.iter().for_each(|tick| all.gather(&batch(*tick)));
                all
            };
            let mut shuffled = ticks.clone();
            fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
            prop_assert_eq!(gathered(&ticks), gathered(&shuffled));
        }
    }
}
