//! T6: does the canary fail far more than stable in most blocks of time?
//!
//! The other tests divide their evidence by the dispersion: how much more stable's failures vary from one endpoint to
//! the next than independent ones would. One endpoint that failed for a while makes that large for an hour, and a canary
//! that fails one request in ten, all the time, is then believed by none of them. It differs from a burst in that it
//! does not end. So here time is cut into blocks that are longer than nearly all bursts, and only one thing is asked of
//! each: was the canary's rate of failures more than [`TIMES`] times stable's, plus [`POINTS`], over what is tolerated?
//! Such a block is a *worse* one. How many failures there were, and of how many requests, makes no difference: a burst
//! of a thousand counts as much as one of ten, so there is nothing to temper.
//!
//! # The null hypothesis
//!
//! In each block, whatever happened before, the endpoints of both versions fail like one another: any of them might have
//! been the canary's. How they fail is free. They may all fail at once, or one of them everything. Then a block is worse
//! with a chance of at most one half (`chance_of_worse`):
//!
//! - Let stable have `N` endpoints and the canary `m`, of like traffic, and put all of them on a circle at random. Say
//!   that an arc of `N` is *low* where the rate of the others is over three times its own. Where `k` arcs cover the
//!   circle, they cannot all be low: with the sum `S` of all rates, a low arc has less than `S N / (N + 3 m)`, `k` of
//!   them less than `k S N / (N + 3 m)`, and that is at most `S` while `k <= 1 + 3 m / N`. So of `k` arcs that lie evenly
//!   one at least is not low, and the chance that stable's is low is at most `1 - 1 / k`.
//! - `k = 1 + ceil(m / N)` arcs cover the circle, and are few enough where `m >= N / 3`. For `m <= N` that is one half.
//! - Where `m < N / 3`, the mean of the canary's part is that of all, and by Markov's inequality the chance is at most
//!   `(N + 3 m) / (3 N + 3 m)`, which is one half or less.
//!
//! With a tolerance the canary may fail `ratio` times as often, plus `points`: three times `ratio x stable + points` is
//! then what is asked for, and the proof is the same. The same holds for requests that have a coin each, whatever the
//! traffic does: requests take the place of endpoints. There, with two failures at the least, the bound is one half up
//! to twice as many requests of the canary as of stable.
//!
//! So `E` is the wealth of a gambler who bets on "worse" at the odds of that bound: an e-process.
//!
//! # What it rests on
//!
//! "Whatever happened before" is what a burst that reaches from one block into the next does not keep. Two worse blocks
//! in a row are then likelier than a quarter. But what is staked is lost again at the first block that is not worse, by a
//! factor of up to 25, and each worse one gains less than a factor of 2: a burst that spans up to four blocks loses on
//! balance, and nothing is staked in good times. What lasts for minutes on the canary and spares stable meanwhile is no
//! burst here, whatever its cause. Nor are instances that differ for good alike: a canary on the worst of machines that
//! differ threefold is worse in every block. `ratio` is widened by what is measured of that
//! ([`tolerance_ratio`](super::placebo::tolerance_ratio)), up to another three times.

use libm::log;
use serde::{Deserialize, Serialize};

use super::mixture::{Misfit, Mixture, Wealth};
use super::packed::{pack_counts, pack_floats, unpack_counts, unpack_floats};
use crate::view::Arms;

/// So many seconds are a block: longer than nearly all bursts.
pub const BLOCK_SECONDS: u64 = 10;
/// A block goes on until each version has had so many requests in it.
pub const MIN_REQUESTS: u64 = 100;
/// How many times the tolerated rate is far more. With one time, worse would be likelier than one half: where one endpoint
/// fails less than all others, each of the others fails more than the mean of the rest.
pub const TIMES: f64 = 3.0;
/// And so much of all requests, beside it: where hardly anything fails, chance and the differences between machines make
/// any number of times.
pub const POINTS: f64 = 0.01;
/// What is measured of how endpoints differ for good is tolerated up to so many times the rate. One that was ill for a
/// while looks as if it differed from the others fifty times for as long as that is remembered, and would hide all but
/// ruin.
const MOST_RATIO: f64 = 3.0;
/// One failure is no block's worth.
const MIN_FAILURES: u64 = 2;
/// Up to so many times stable's requests a canary with a coin for each is worse by chance in no more than half of all
/// blocks.
const MOST_REQUESTS: u64 = 2;
/// The odds, over those of the null, of a block to be worse: the grid of alternatives, all of one weight. At even odds
/// 90 and 98 of 100 blocks.
const ODDS: [f64; 2] = [9.0, 49.0];
/// The part of the cash that is staked from the start, and again after each worse block. Nothing else is, so that good
/// times cost nothing, however long.
const STAKE: f64 = 0.2;

/// The test of "where endpoints fail alike, the canary fails far more than stable in no more than half of all blocks".
#[derive(Debug, Clone, PartialEq)]
pub struct Blocks {
    /// What is tolerated: times stable's rate, and a part of all requests.
    tolerance: (f64, f64),
    mixture: Mixture,
    open: Open,
    run: Run,
}

/// The block that is under way.
#[derive(Debug, Clone, PartialEq, Default)]
struct Open {
    seconds: u64,
    /// What has to be tolerated because endpoints differ, as it was known when the block began.
    ratio: f64,
    /// Stable's, then the canary's.
    requests: [u64; 2],
    events: [u64; 2],
    /// The groups of clients whose requests to the canary failed: a bit each.
    failed: u16,
}

/// The latest run of blocks most of which were worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Run {
    /// How many of them were.
    pub worse: u64,
    /// All of them.
    pub blocks: u64,
    /// How long they were together.
    pub seconds: u64,
}

/// What a [`Blocks`] has to remember over a restart, packed, as there may be many: what its stakes are worth, the cash and
/// the open block's ratio; the rest of that block, and the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedBlocks(String, String);

/// What is known at the end of a second beside the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Second {
    /// How many endpoints each version has; the canary's fewest are 1.
    pub endpoints: Arms<u32>,
    /// The groups of clients whose requests to the canary failed in it: a bit each.
    pub failed: u16,
    /// Whether failures can come from more than one group of clients.
    pub many: bool,
}

impl Run {
    /// A block is over. The run begins anew once no more than half of its blocks were worse.
    const fn add(&mut self, worse: bool, seconds: u64) {
        self.worse = self.worse.saturating_add(worse as u64);
        self.blocks = self.blocks.saturating_add(1);
        self.seconds = self.seconds.saturating_add(seconds);
        if self.worse.saturating_mul(2) <= self.blocks {
            *self = Self { worse: 0, blocks: 0, seconds: 0 };
        }
    }
}

/// The largest chance with which a block is worse by bad luck alone.
fn chance_of_worse(endpoints: Arms<u32>, requests: Arms<u64>) -> f64 {
    let covering = |canary: u64, stable: u64| 1 + canary.max(1).div_ceil(stable.max(1));
    let by_endpoints = covering(u64::from(endpoints.canary), u64::from(endpoints.stable));
    let by_requests = if requests.canary <= requests.stable.saturating_mul(MOST_REQUESTS) {
        2
    } else {
        covering(requests.canary, requests.stable)
    };
    1.0 - 1.0 / by_endpoints.max(by_requests) as f64
}

impl Blocks {
    /// A test that tolerates `ratio` (at least 1) times stable's rate, and `points` (a fraction of requests) more.
    #[must_use]
    pub fn new(ratio: f64, points: f64) -> Self {
        Self {
            tolerance: (ratio, points),
            mixture: Mixture::new(&[1.0; ODDS.len()], &ODDS.map(log), STAKE, None),
            open: Open::default(),
            run: Run::default(),
        }
    }

    /// From which rate on the canary's block is worse: so many times stable's, and so much of its requests more, where
    /// `ratio` has to be tolerated.
    #[must_use]
    pub fn far_more(&self, ratio: f64) -> (f64, f64) {
        let (own, points) = self.tolerance;
        (TIMES * own.max(ratio.min(MOST_RATIO)), points + POINTS)
    }

    /// Adds a batch, in which these were failures. `ratio` is tolerated where it is larger than the test's own.
    pub fn add(&mut self, ratio: f64, events: Arms<u64>, requests: Arms<u64>) {
        let Open { requests: all, events: bad, ratio: known, .. } = &mut self.open;
        if *all == [0, 0] {
            *known = ratio;
        }
        let add = |mine: &mut [u64; 2], theirs: Arms<u64>| {
            *mine = [mine[0].saturating_add(theirs.stable), mine[1].saturating_add(theirs.canary)];
        };
        add(all, requests);
        add(bad, events);
    }

    /// A second is over, and with it perhaps a block: that looks at the time and at how many requests there were, never
    /// at how they ended.
    pub fn end_second(&mut self, Second { endpoints, failed, many }: Second) {
        let open = &mut self.open;
        open.seconds = open.seconds.saturating_add(1);
        open.failed |= failed;
        if open.seconds < BLOCK_SECONDS || open.requests.iter().any(|requests| *requests < MIN_REQUESTS) {
            return;
        }
        let Open { seconds, ratio, requests: [stable, canary], events, failed } = std::mem::take(open);
        let (times, points) = self.far_more(ratio);
        let [of_stable, of_canary] = [(events[0], stable), (events[1], canary)].map(|(k, n)| k as f64 / n as f64);
        let widespread = !many || failed.count_ones() >= 2;
        let worse = events[1] >= MIN_FAILURES && widespread && of_canary > times * of_stable + points;
        let chance = chance_of_worse(endpoints, Arms { stable, canary });
        // Worse is likelier by `odds` under the alternative: Wald's ratio of the two chances.
        let ll = |odds: f64| log(if worse { odds } else { 1.0 } / (1.0 - chance + odds * chance));
        self.mixture.add(ODDS.iter().map(|odds| ll(*odds)), 1.0);
        self.mixture.end_block();
        if worse {
            self.mixture.invest(STAKE);
        }
        self.run.add(worse, seconds);
    }

    /// The canary's weight changes: the block that is under way is dropped. In half of it the canary had more of the
    /// traffic than in the other, so whatever happened in that half would look like its doing.
    pub fn begin_step(&mut self) {
        self.open = Open::default();
    }

    /// The stake behind the test.
    #[must_use]
    pub const fn mixture(&self) -> &Mixture {
        &self.mixture
    }

    /// The latest run of blocks most of which were worse.
    #[must_use]
    pub const fn run(&self) -> Run {
        self.run
    }

    /// What has to survive a restart.
    #[must_use]
    pub fn saved(&self) -> SavedBlocks {
        let Wealth { committed, cash, .. } = self.mixture.wealth();
        let Open { seconds, ratio, requests, events, failed } = self.open;
        let Run { worse, blocks, seconds: lasted } = self.run;
        let floats: Vec<f64> = committed.iter().chain(cash).chain([&ratio]).copied().collect();
        let [[of_stable, of_canary], [bad_stable, bad_canary]] = [requests, events];
        let counts = [seconds, of_stable, of_canary, bad_stable, bad_canary, u64::from(failed), worse, blocks, lasted];
        SavedBlocks(pack_floats(&floats), pack_counts(&counts))
    }

    /// Goes on from what was saved.
    ///
    /// # Errors
    /// [`Misfit`] where it is of another grid, damaged, or no number; the test is as before.
    pub fn restore(&mut self, SavedBlocks(floats, counts): SavedBlocks) -> Result<(), Misfit> {
        let floats = unpack_floats(&floats).map_err(|_| Misfit)?;
        let Some(([committed @ .., cash], [ratio])) = floats.split_last_chunk::<1>() else { return Err(Misfit) };
        let mut numbers = [0; 9];
        unpack_counts(&counts, &mut numbers).map_err(|_| Misfit)?;
        let [seconds, of_stable, of_canary, bad_stable, bad_canary, failed, worse, blocks, lasted] = numbers;
        let failed = u16::try_from(failed).ok().filter(|_| ratio.is_finite()).ok_or(Misfit)?;
        let wealth = Wealth { committed: committed.to_vec(), block: vec![0.0; committed.len()], cash: Some(*cash) };
        self.mixture.restore(wealth)?;
        let (requests, events) = ([of_stable, of_canary], [bad_stable, bad_canary]);
        self.open = Open { seconds, ratio: *ratio, requests, events, failed };
        self.run = Run { worse, blocks, seconds: lasted };
        Ok(())
    }
}

#[cfg(test)]
mod tests;
