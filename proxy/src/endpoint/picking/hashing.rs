//! Which endpoint a key belongs to: the one that scores highest for it (rendezvous hashing, Thaler and Ravishankar 1998).
//!
//! Keys fall into a fixed number of slots, and of a slot every endpoint has a score of its own. So whatever the number
//! of endpoints, one that leaves gives away its own slots alone, and one that joins takes some from everybody and moves
//! nothing else. Who has a slot is found out once, and remembered (docs/decisions/0027).

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use xxhash_rust::xxh3::xxh3_64;

use super::super::Endpoint;

const SLOT_BITS: u32 = 18;

/// Who has which slot.
#[derive(Debug)]
pub(super) struct Slots {
    /// What tells an endpoint from others: its address, so that every proxy comes to the same, before and after a reload.
    seeds: Box<[u64]>,
    /// The place of each slot's owner, and one more; 0 where nobody asked yet.
    owners: Box<[AtomicU16]>,
}

impl Slots {
    /// Those of these endpoints: `known` where that is the same.
    pub(super) fn of(endpoints: &[Arc<Endpoint>], known: Option<&Arc<Self>>) -> Arc<Self> {
        let seed = |endpoint: &Arc<Endpoint>| xxh3_64(endpoint.address.to_string().as_bytes());
        let seeds: Box<[u64]> = endpoints.iter().map(seed).collect();
        known.filter(|known| known.seeds == seeds).map_or_else(|| Arc::new(Self::with(seeds)), Arc::clone)
    }

    fn with(seeds: Box<[u64]>) -> Self {
        Self { seeds, owners: (0..1_usize << SLOT_BITS).map(|_| AtomicU16::new(0)).collect() }
    }

    /// The place of the endpoint that a hash belongs to; none where there are no endpoints.
    pub(super) fn owner(&self, hash: u64) -> Option<usize> {
        let slot = hash >> (u64::BITS - SLOT_BITS);
        let owner = self.owners.get(slot as usize)?;
        match owner.load(Ordering::Relaxed) {
            0 => {
                let place = self.highest(slot, |_| true)?;
                if let Ok(place) = u16::try_from(place + 1) {
                    // Whoever is first: all come to the same.
                    owner.store(place, Ordering::Relaxed);
                }
                Some(place)
            }
            place => Some(usize::from(place) - 1),
        }
    }

    /// The place of the endpoint that a hash would belong to if there were these alone.
    pub(super) fn owner_among(&self, hash: u64, is_in: impl Fn(usize) -> bool) -> Option<usize> {
        self.highest(hash >> (u64::BITS - SLOT_BITS), is_in)
    }

    fn highest(&self, slot: u64, is_in: impl Fn(usize) -> bool) -> Option<usize> {
        let scored = self.seeds.iter().enumerate().map(|(place, seed)| (mixed(*seed, slot), place));
        scored.filter(|(_, place)| is_in(*place)).max().map(|(_, place)| place)
    }
}

/// The same for the same two, and else as good as random (the finalizer of SplitMix64, Steele et al. 2014).
pub(super) const fn mixed(one: u64, other: u64) -> u64 {
    let mut hash = one ^ other.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const KEYS: u64 = 4_000;

    fn key(number: u64) -> u64 {
        xxh3_64(&number.to_le_bytes())
    }

    fn of(seeds: impl IntoIterator<Item = u64>) -> Slots {
        Slots::with(seeds.into_iter().map(|seed| mixed(seed, 0)).collect())
    }

    #[test]
    fn a_remembered_owner_is_the_one_that_was_found() {
        let slots = of(0..50);
        for number in 0..KEYS {
            let found = slots.owner_among(key(number), |_| true);
            assert_eq!((slots.owner(key(number)), slots.owner(key(number))), (found, found));
        }
    }

    #[test]
    fn every_endpoint_has_about_its_share_of_the_keys() {
        for count in [1_u64, 2, 3, 10, 100] {
            let slots = of(0..count);
            let mut keys = vec![0_u64; count as usize];
            (0..count * 1_000).for_each(|number| keys[slots.owner(key(number)).unwrap()] += 1);
            let (least, most) = (keys.iter().min().unwrap(), keys.iter().max().unwrap());
            assert!(*least > 800 && *most < 1_200, "{count} endpoints: {least} to {most} keys of 1 000");
        }
    }

    #[test]
    fn nobody_owns_anything_where_there_is_nobody() {
        assert_eq!(of([]).owner(7), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Whoever leaves, and wherever it stood.
        #[test]
        fn an_endpoint_that_leaves_moves_its_own_keys_and_no_others(
            seeds in prop::collection::hash_set(any::<u64>(), 2..40),
            gone in any::<prop::sample::Index>(),
        ) {
            let all: Vec<u64> = seeds.into_iter().collect();
            let gone = *gone.get(&all);
            let left: Vec<u64> = all.iter().copied().filter(|seed| *seed != gone).collect();
            let (before, after) = (of(all.clone()), of(left.clone()));
            let mut moved = HashSet::new();
            for number in 0..KEYS {
                let was = all[before.owner(key(number)).unwrap()];
                let is = left[after.owner(key(number)).unwrap()];
                if was != is {
                    prop_assert_eq!(was, gone, "a key of another endpoint moved");
                    moved.insert(number);
                }
            }
            let share = KEYS as usize / all.len();
            prop_assert!(moved.len() <= share * 2 + 60, "{} of {} keys moved", moved.len(), KEYS);
        }
    }
}
