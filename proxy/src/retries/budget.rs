//! How many retries a service may have: a part of its requests over 10 s, and a few in any case.
//!
//! Each core counts requests on a cache line of its own; only who wants to retry adds them up. Nothing here waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use config::Retries;

/// Seconds that are reckoned with, the present one among them.
const SECONDS: usize = 10;

/// Shields up to this part of the requests use up nothing. With the default budget, retries and shields together stay
/// under a quarter of the requests where all that fails is a canary of that share.
const FREE_SHIELDS: f64 = 0.05;

/// A service's budget. Kept over reloads while the service stays.
#[derive(Debug)]
pub(crate) struct Budget {
    began: Instant,
    requests: Box<[Row]>,
    retries: Row,
    /// What stable was sent in another version's stead.
    shields: Row,
}

/// Counts of the last seconds, each with the second that it is of.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Row([AtomicU64; SECONDS]);

/// A second, and a count in it: in one word, so that nobody sees the one without the other.
#[derive(Debug, Clone, Copy)]
struct Count {
    second: u32,
    count: u32,
}

impl Count {
    const fn of(word: u64) -> Self {
        Self { second: (word >> 32) as u32, count: (word & 0xffff_ffff) as u32 }
    }

    fn word(self) -> u64 {
        u64::from(self.second) << 32 | u64::from(self.count)
    }

    /// One more in this second.
    const fn more(self, second: u32) -> Self {
        let count = if self.second == second { self.count.saturating_add(1) } else { 1 };
        Self { second, count }
    }
}

impl Row {
    fn at(&self, second: u32) -> &AtomicU64 {
        &self.0[second as usize % SECONDS]
    }

    fn count(&self, second: u32) {
        // It never refuses.
        let _ = self.take(second, |_| true);
    }

    /// Counts one more in this second where `may` says so of what was counted in it.
    fn take(&self, second: u32, may: impl Fn(u32) -> bool) -> bool {
        let more = |word| {
            let count = Count::of(word);
            let present = if count.second == second { count.count } else { 0 };
            may(present).then(|| count.more(second).word())
        };
        self.at(second).fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// The sum of the last seconds.
    fn sum(&self, second: u32) -> u64 {
        let counts = self.0.iter().map(|word| Count::of(word.load(Ordering::Relaxed)));
        counts.filter(|it| second.wrapping_sub(it.second) < SECONDS as u32).map(|it| u64::from(it.count)).sum()
    }
}

impl Budget {
    /// A budget that nothing has been taken from, for so many cores (at least one).
    pub(crate) fn new(cores: usize, now: Instant) -> Self {
        let requests = (0..cores.max(1)).map(|_| Row::default()).collect();
        Self { began: now, requests, retries: Row::default(), shields: Row::default() }
    }

    /// The first second is later than what empty counts say, by more than is reckoned with.
    fn second(&self, now: Instant) -> u32 {
        let seconds = now.saturating_duration_since(self.began).as_secs() + 2 * SECONDS as u64;
        (seconds & 0xffff_ffff) as u32
    }

    /// A request came, on this core.
    pub(crate) fn request(&self, core: usize, now: Instant) {
        self.requests[core % self.requests.len()].count(self.second(now));
    }

    /// Takes one retry, where there is one left: of the part of the requests, from which the shield takes as well, or of
    /// the few that are there in any case, whatever a canary does. `others_are_well`: of the version's endpoints another is
    /// known to be well. Then this is no storm, and whatever a canary does takes nothing from stable's users.
    pub(crate) fn retry(&self, rules: &Retries, others_are_well: bool, now: Instant) -> bool {
        let second = self.second(now);
        let requests: u64 = self.requests.iter().map(|row| row.sum(second)).sum();
        // A canary that fails in all of a small share takes nothing from the retries of stable's users; a larger one takes
        // of the part, and never of the floor.
        let free = requests as f64 * FREE_SHIELDS;
        let shields = if others_are_well { 0.0 } else { (self.shields.sum(second) as f64 - free).max(0.0) };
        let allowed = requests as f64 * rules.budget.get() - shields;
        let few = u64::from(rules.floor) * SECONDS as u64;
        // What was taken is read anew with each try: of two cores that take the last one, one does not get it.
        self.retries.take(second, |_| {
            let taken = self.retries.sum(second);
            taken < few || ((taken + 1) as f64) <= allowed
        })
    }

    /// Stable was sent a request in another version's stead: it counts for the part, and is never refused.
    pub(crate) fn shield(&self, now: Instant) {
        self.shields.count(self.second(now));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use config::Fraction;

    use super::*;

    fn rules(percent: u32, floor: u32) -> Retries {
        let budget = format!("{percent}%").parse::<Fraction>().unwrap();
        Retries { budget, floor, ..Retries::default() }
    }

    /// How many of so many retries are allowed.
    fn taken(budget: &Budget, wanted: usize, rules: &Retries, now: Instant) -> usize {
        (0..wanted).filter(|_| budget.retry(rules, false, now)).count()
    }

    #[test]
    fn retries_are_a_part_of_the_requests_of_the_last_ten_seconds() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let budget = Budget::new(2, began);
        (0..100).for_each(|request| budget.request(request, at(0)));
        assert_eq!(taken(&budget, 100, &rules(20, 0), at(0)), 20);
        assert_eq!(taken(&budget, 100, &rules(20, 0), at(9)), 0);
        (0..100).for_each(|request| budget.request(request, at(9)));
        assert_eq!(taken(&budget, 100, &rules(20, 0), at(9)), 20);
        // The first second is past, with its requests and its retries.
        assert_eq!(taken(&budget, 100, &rules(20, 0), at(10)), 0);
        (0..50).for_each(|request| budget.request(request, at(10)));
        assert_eq!(taken(&budget, 100, &rules(20, 0), at(10)), 10);
        assert_eq!(taken(&budget, 100, &rules(20, 0), at(1_000)), 0);
    }

    #[test]
    fn a_few_are_always_allowed_at_once_or_one_after_another() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let budget = Budget::new(1, began);
        assert_eq!(taken(&budget, 100, &rules(20, 3), at(0)), 30, "all that ten seconds have");
        assert_eq!(taken(&budget, 100, &rules(20, 3), at(9)), 0);
        for second in 10..40 {
            let taken = (0..3).map(|_| taken(&budget, 1, &rules(20, 3), at(second))).sum::<usize>();
            assert_eq!(taken, 3, "{second}");
        }
        assert_eq!(taken(&budget, 100, &rules(20, 3), at(39)), 0, "three a second have been taken");
        assert_eq!(taken(&Budget::new(1, began), 10, &rules(0, 0), began), 0);
    }

    /// An endpoint of stable may die while a canary fails.
    #[test]
    fn the_few_are_there_however_much_the_shield_uses() {
        let began = Instant::now();
        let budget = Budget::new(1, began);
        (0..1_000).for_each(|_| budget.request(0, began));
        (0..900).for_each(|_| budget.shield(began));
        assert_eq!(taken(&budget, 100, &rules(20, 3), began), 30);
        let beside_others = (0..500).filter(|_| budget.retry(&rules(20, 3), true, began)).count();
        assert_eq!(beside_others, 200 - 30, "while others of stable are well it takes nothing");
    }

    #[test]
    fn what_the_shield_uses_is_not_there_for_retries() {
        let began = Instant::now();
        let budget = Budget::new(1, began);
        (0..100).for_each(|_| budget.request(0, began));
        (0..5).for_each(|_| budget.shield(began));
        assert_eq!(taken(&budget, 10, &rules(20, 0), began), 10, "a small share is free");
        (0..7).for_each(|_| budget.shield(began));
        assert_eq!(taken(&budget, 100, &rules(20, 0), began), 3);
        (0..100).for_each(|_| budget.shield(began));
        assert_eq!(taken(&budget, 100, &rules(20, 0), began), 0);
    }

    #[test]
    fn many_cores_that_take_at_once_take_no_more_than_there_is() {
        let began = Instant::now();
        let budget = Budget::new(4, began);
        (0..1_000).for_each(|request| budget.request(request, began));
        let taken_in_all = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    taken_in_all.fetch_add(taken(&budget, 500, &rules(20, 0), began), Ordering::Relaxed);
                });
            }
        });
        assert_eq!(taken_in_all.into_inner(), 200);
    }
}
