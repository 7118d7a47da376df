//! The gates of a plan as one family of tests with one alpha, and the breaker beside it.
//!
//! `E = sum of share x E of the gate`: an average of e-processes, itself one whatever the dependence (Vovk & Wang
//! 2021). It is never below any `share x E`, so this dominates dividing alpha among the gates.

use libm::log;
use serde::{Deserialize, Serialize};

use super::settings::{Rule, Settings};
use crate::statistics::mixture::Misfit;
use crate::statistics::{
    Batch, Breaker, Excess, INVEST_AT_STEP, INVEST_LATER, Mixture, OverLimit, Wealth, log_sum_exp,
};

/// After so many blocks some cash is staked anew.
const BLOCKS_TO_LATE_EPOCH: u64 = 10;
/// The tolerance of a limit's relative half where no gate of the plan gives one: times stable's rate, plus points.
pub(super) const DEFAULT_TOLERANCE: (f64, f64) = (1.1, 0.0005);

/// Every test of a rollout.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Family {
    members: Vec<Member>,
    breaker: Breaker,
    /// Since the step began.
    blocks: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Member {
    log_share: f64,
    /// Where this gate would make the family cross by itself, in nats.
    threshold: f64,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Errors(Excess),
    ErrorLimit { absolute: OverLimit, relative: Relative },
    LatencyLimit { absolute: OverLimit, relative: Excess, event: usize },
    Unjudged,
}

/// The half of an error limit that compares with stable.
#[derive(Debug, Clone, PartialEq)]
enum Relative {
    /// The test of the gate at this place.
    OfGate(usize),
    Own(Excess),
}

/// The evidence of one gate, in nats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reading {
    /// For harm: canary against stable, and against the limit where there is one.
    pub(super) harm: f64,
    /// That the canary is over its limit, whatever stable does; none where there is no limit.
    pub(super) over_limit: Option<f64>,
    /// Where this gate would make the family cross by itself.
    pub(super) threshold: f64,
    /// Of the family, as a logarithm.
    pub(super) log_share: f64,
}

/// What of the family survives a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedFamily {
    blocks: u64,
    wealths: Vec<Wealth>,
    breaker_batches: u64,
    breaker: [Wealth; 2],
}

impl Family {
    pub(super) fn new(settings: &Settings) -> Self {
        let first_errors = settings.gates.iter().position(|gate| matches!(gate.rule, Rule::Errors { .. }));
        let (ratio, points) = DEFAULT_TOLERANCE;
        let mut events = 0..;
        let member = |(rule, share): (&Rule, f64)| {
            let alpha = settings.alpha_family() * share;
            let test = match *rule {
                Rule::Errors { ratio, points } => Test::Errors(Excess::new(ratio, points, alpha)),
                Rule::ErrorLimit { limit } => Test::ErrorLimit {
                    absolute: OverLimit::new(limit, alpha),
                    relative: first_errors
                        .map_or_else(|| Relative::Own(Excess::new(ratio, points, alpha)), Relative::OfGate),
                },
                Rule::LatencyLimit { quantile, .. } => Test::LatencyLimit {
                    absolute: OverLimit::new(1.0 - quantile, alpha),
                    relative: Excess::new(ratio, points, alpha),
                    event: events.next().unwrap_or_default(),
                },
                Rule::LatencyShape => Test::Unjudged,
            };
            Member { log_share: log(share), threshold: log(1.0 / alpha), test }
        };
        let members = settings.gates.iter().map(|gate| &gate.rule).zip(settings.shares()).map(member).collect();
        Self { members, breaker: Breaker::default(), blocks: 0 }
    }

    /// Adds one batch to every test. `phi` (at least 1) is the dispersion of its events.
    pub(super) fn add(&mut self, batch: &Batch, phi: f64) {
        let Batch { requests, bad, over } = batch;
        for member in &mut self.members {
            match &mut member.test {
                Test::Errors(excess) => excess.add(*bad, *requests, phi),
                Test::ErrorLimit { absolute, relative } => {
                    absolute.add(bad.canary, requests.canary, phi);
                    match relative {
                        Relative::OfGate(_) => {}
                        Relative::Own(excess) => excess.add(*bad, *requests, phi),
                    }
                }
                Test::LatencyLimit { absolute, relative, event } => {
                    let events = over.get(*event).copied().unwrap_or_default();
                    absolute.add(events.canary, requests.canary, phi);
                    relative.add(events, *requests, phi);
                }
                Test::Unjudged => {}
            }
        }
        self.breaker.add(*bad, *requests, phi);
    }

    /// What each gate says, in their order; none for a gate that is not judged.
    pub(super) fn readings(&self) -> impl Iterator<Item = Option<Reading>> + Clone + '_ {
        self.members.iter().map(|member| {
            let (harm, over_limit) = self.evidence(&member.test)?;
            Some(Reading { harm, over_limit, threshold: member.threshold, log_share: member.log_share })
        })
    }

    fn evidence(&self, test: &Test) -> Option<(f64, Option<f64>)> {
        let (absolute, relative) = match test {
            Test::Errors(excess) => return Some((excess.mixture().log_evidence(), None)),
            Test::ErrorLimit { absolute, relative } => (absolute, self.relative(relative)),
            Test::LatencyLimit { absolute, relative, .. } => (absolute, relative.mixture().log_evidence()),
            Test::Unjudged => return None,
        };
        let absolute = absolute.mixture().log_evidence();
        Some((absolute.min(relative), Some(absolute)))
    }

    fn relative(&self, relative: &Relative) -> f64 {
        match relative {
            Relative::Own(excess) => excess.mixture().log_evidence(),
            // Whatever is no test of errors gives no evidence.
            Relative::OfGate(place) => match self.members.get(*place).map(|member| &member.test) {
                Some(Test::Errors(excess)) => excess.mixture().log_evidence(),
                Some(Test::ErrorLimit { .. } | Test::LatencyLimit { .. } | Test::Unjudged) | None => 0.0,
            },
        }
    }

    /// The evidence of all gates together, in nats; 0 (none for harm) where there is no gate. A gate that is not
    /// judged keeps its share as it is.
    pub(super) fn log_evidence(&self) -> f64 {
        if self.members.is_empty() {
            return 0.0;
        }
        let of = |(member, reading): (&Member, Option<Reading>)| member.log_share + reading.map_or(0.0, |r| r.harm);
        log_sum_exp(self.members.iter().zip(self.readings()).map(of))
    }

    pub(super) const fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// The batch's verdict was read: the breaker's block ends.
    pub(super) fn end_batch(&mut self) {
        self.breaker.end_batch();
    }

    /// A second is over: commits the block and, every tenth time, stakes some cash anew.
    pub(super) fn end_block(&mut self) {
        self.blocks = self.blocks.saturating_add(1);
        self.mixtures_mut().for_each(Mixture::end_block);
        if self.blocks.is_multiple_of(BLOCKS_TO_LATE_EPOCH) {
            let share = INVEST_LATER / ((self.blocks / BLOCKS_TO_LATE_EPOCH) as f64 + 1.0);
            self.mixtures_mut().for_each(|mixture| mixture.invest(share));
        }
    }

    /// A step begins: commits the block and stakes some cash anew. Only after [`end_batch`](Self::end_batch).
    pub(super) fn begin_step(&mut self) {
        self.blocks = 0;
        self.mixtures_mut().for_each(|mixture| {
            mixture.end_block();
            mixture.invest(INVEST_AT_STEP);
        });
        self.breaker.begin_step();
    }

    fn mixtures_mut(&mut self) -> impl Iterator<Item = &mut Mixture> {
        self.members.iter_mut().flat_map(|member| {
            let (first, second) = match &mut member.test {
                Test::Errors(excess) => (Some(excess.mixture_mut()), None),
                Test::ErrorLimit { absolute, relative } => {
                    let own = match relative {
                        Relative::OfGate(_) => None,
                        Relative::Own(excess) => Some(excess.mixture_mut()),
                    };
                    (Some(absolute.mixture_mut()), own)
                }
                Test::LatencyLimit { absolute, relative, .. } => {
                    (Some(absolute.mixture_mut()), Some(relative.mixture_mut()))
                }
                Test::Unjudged => (None, None),
            };
            first.into_iter().chain(second)
        })
    }

    pub(super) fn into_saved(mut self) -> SavedFamily {
        let (breaker_batches, breaker) = self.breaker.saved();
        let wealths = self.mixtures_mut().map(|mixture| mixture.wealth().clone()).collect();
        SavedFamily { blocks: self.blocks, wealths, breaker_batches, breaker }
    }

    /// The family of `settings`, going on from what was saved.
    pub(super) fn restored(settings: &Settings, saved: SavedFamily) -> Result<Self, Misfit> {
        let mut family = Self::new(settings);
        let mut wealths = saved.wealths.into_iter();
        for mixture in family.mixtures_mut() {
            mixture.restore(wealths.next().ok_or(Misfit)?)?;
        }
        if wealths.next().is_some() {
            return Err(Misfit);
        }
        family.blocks = saved.blocks;
        family.breaker = Breaker::restored(saved.breaker_batches, saved.breaker)?;
        Ok(family)
    }
}
