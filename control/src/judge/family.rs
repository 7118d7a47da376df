//! The gates of a plan as families of tests with one alpha each, and the breaker beside them.
//!
//! `E = sum of share x E of the gate`: an average of e-processes, itself one whatever the dependence (Vovk & Wang
//! 2021). It is never below any `share x E`, so this dominates dividing alpha among the gates. Guardrails are one
//! family, signals another.

mod member;
mod proof;

use libm::log;
use serde::{Deserialize, Serialize};

use self::member::Member;
pub(super) use self::member::{DEFAULT_TOLERANCE, Reading};
pub(super) use self::proof::Proven;
use self::proof::SavedProof;
use super::background::Temper;
use super::counting::Counted;
use super::settings::{Above, GateSetting, Rule, Settings};
use crate::statistics::blocks::{SavedBlocks, Second};
use crate::statistics::mixture::Misfit;
use crate::statistics::{Batch, Blocks, Breaker, INVEST_AT_STEP, INVEST_LATER, Mixture, Wealth, log_sum_exp};
use crate::view::Role;

/// After so many blocks some cash is staked anew.
pub(super) const BLOCKS_TO_LATE_EPOCH: u64 = 10;

/// Every test of a rollout that can find harm or rule it out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Family {
    /// One a gate, in the order of the plan.
    members: Vec<Member>,
    breaker: Breaker,
    /// Since the step began.
    blocks: u64,
    /// Whether anything was gathered in the present block.
    gathered: bool,
    /// A step began in the middle of a block: cash is staked anew at the block's end.
    invests_at_end: bool,
}

/// What of the family survives a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedFamily {
    blocks: u64,
    gathered: bool,
    invests_at_end: bool,
    wealths: Vec<Wealth>,
    proofs: Vec<SavedProof>,
    /// Of the gates of errors, in their order; a Tidegate of before had none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    blocks_of_time: Vec<SavedBlocks>,
    breaker_batches: u64,
    breaker: [Wealth; 2],
}

impl Family {
    pub(super) fn new(settings: &Settings) -> Self {
        let shares = settings.shares();
        let member = |(place, share): (usize, &f64)| Member::new(settings, place, *share);
        let members = shares.iter().enumerate().map(member).collect();
        let mut family =
            Self { members, breaker: Breaker::default(), blocks: 0, gathered: false, invests_at_end: false };
        family.read_all();
        family
    }

    /// A family of the tests that the golden vectors describe: T1 alone, T2 against their shapes, and a breaker that stakes
    /// by the clock alone.
    #[cfg(test)]
    pub(super) fn specified(settings: &Settings) -> Self {
        let settings = &Settings { blocks: false, ..settings.clone() };
        let mut family = Self::new(settings);
        for (member, share) in family.members.iter_mut().zip(settings.shares()) {
            member.specify(settings.alpha_family() * share);
        }
        family.breaker = Breaker::by_the_clock();
        family.read_all();
        family
    }

    /// Adds one batch to the tests of the gate at this place, and to its proof where the batch `proves`.
    pub(super) fn add(&mut self, gate: usize, batch: &Batch, counted: &Counted, temper: Temper, proves: bool) {
        if let Some(member) = self.members.get_mut(gate) {
            member.add(batch, counted, temper, proves);
            self.gathered = true;
        }
    }

    /// Reads the tests of these gates, once all of them had their batch: a limit shares the test of another gate. What
    /// is read stands until it is read again, so that reading it costs nothing.
    pub(super) fn read(&mut self, mut gates: impl Iterator<Item = usize>) {
        while let Some(member) = gates.next().filter(|gate| *gate < self.members.len()) {
            let evidence = self.members[member].evidence(&self.members);
            self.members[member].read(evidence);
        }
    }

    fn read_all(&mut self) {
        self.read(0..self.members.len());
    }

    /// Adds one batch of the whole service to the breaker.
    pub(super) fn add_to_breaker(&mut self, batch: &Batch, temper: Temper) {
        self.breaker.add(batch.bad, batch.requests, temper.errors);
    }

    /// What the gate at this place says.
    pub(super) fn reading(&self, gate: usize) -> &Reading {
        self.members[gate].reading()
    }

    /// The test of blocks of time of the gate at this place, where it has one.
    pub(super) fn blocks(&self, gate: usize) -> Option<&Blocks> {
        self.members[gate].blocks()
    }

    /// Whether that has the larger part in the gate's evidence.
    pub(super) fn speaks_of_blocks(&self, gate: usize) -> bool {
        self.members[gate].speaks_of_blocks()
    }

    /// How far the gate at this place is with ruling harm out, in the present step.
    pub(super) fn proven(&self, gate: usize) -> Proven {
        self.members[gate].proven()
    }

    /// The evidence of each proof of the gate at this place.
    #[cfg(test)]
    pub(super) fn proof_now(&self, gate: usize) -> Vec<f64> {
        self.members[gate].proof_now()
    }

    /// The evidence of all gates of a role together, in nats; 0 (none for harm) where there is no such gate.
    pub(super) fn log_evidence(&self, role: Role) -> f64 {
        let members = self.members.iter().filter(|member| member.role() == role);
        if members.clone().next().is_none() {
            return 0.0;
        }
        log_sum_exp(members.map(Member::reading).map(|reading| reading.log_share + reading.harm))
    }

    /// The same of the gates at these places alone.
    pub(super) fn log_evidence_of(&self, role: Role, gates: impl Fn(usize) -> bool) -> f64 {
        let members = self.members.iter().enumerate().filter(|(place, member)| member.role() == role && gates(*place));
        if members.clone().next().is_none() {
            return 0.0;
        }
        log_sum_exp(members.map(|(_, member)| member.reading()).map(|reading| reading.log_share + reading.harm))
    }

    pub(super) const fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// The batch's verdict was read: the breaker's block ends.
    pub(super) fn end_batch(&mut self) {
        self.breaker.end_batch();
    }

    /// A second is over: commits the block and, at a step's beginning and every tenth time, stakes some cash anew.
    pub(super) fn end_block(&mut self, second: Second) {
        self.members.iter_mut().for_each(|member| member.end_second(second));
        self.blocks = self.blocks.saturating_add(1);
        self.gathered = false;
        self.mixtures_mut().for_each(Mixture::end_block);
        if std::mem::take(&mut self.invests_at_end) {
            self.invest_in_step();
        } else if self.blocks.is_multiple_of(BLOCKS_TO_LATE_EPOCH) {
            let share = INVEST_LATER / ((self.blocks / BLOCKS_TO_LATE_EPOCH) as f64 + 1.0);
            self.mixtures_mut().for_each(|mixture| mixture.invest(share));
        }
        self.read_all();
    }

    /// A step begins: stakes some cash anew, at the end of the block where anything was gathered in it. A block is a
    /// second, whatever happens in it: evidence of one second, cut in two, would count as that of two.
    ///
    /// Only after [`end_batch`](Self::end_batch).
    pub(super) fn begin_step(&mut self) {
        self.breaker.begin_step();
        self.members.iter_mut().for_each(Member::begin_step);
        if self.gathered {
            self.invests_at_end = true;
        } else {
            self.invest_in_step();
            self.read_all();
        }
    }

    /// Only at a block's end: fresh money may not profit from evidence of the past.
    fn invest_in_step(&mut self) {
        self.blocks = 0;
        self.mixtures_mut().for_each(|mixture| mixture.invest(INVEST_AT_STEP));
    }

    /// A step begins: what was ruled out in the step before has to be ruled out again.
    pub(super) fn prove_anew(&mut self, gates: &[GateSetting]) {
        for (member, gate) in self.members.iter_mut().zip(gates) {
            member.prove_anew(&gate.rule);
        }
    }

    /// The tests of a role begin anew, with their alpha whole.
    pub(super) fn begin_anew(&mut self, settings: &Settings, role: Role) {
        let fresh = Self::new(settings);
        for (mine, fresh) in self.members.iter_mut().zip(fresh.members) {
            if mine.role() == role {
                *mine = fresh;
            }
        }
        self.read_all();
    }

    fn mixtures_mut(&mut self) -> impl Iterator<Item = &mut Mixture> {
        self.members.iter_mut().flat_map(Member::mixtures_mut)
    }

    pub(super) fn into_saved(mut self) -> SavedFamily {
        let (breaker_batches, breaker) = self.breaker.saved();
        let proofs = self.members.iter().map(Member::saved_proof).collect();
        let blocks_of_time = self.members.iter().filter_map(Member::saved_blocks).collect();
        let wealths = self.mixtures_mut().map(|mixture| mixture.wealth().clone()).collect();
        let Self { blocks, gathered, invests_at_end, .. } = self;
        SavedFamily { blocks, gathered, invests_at_end, wealths, proofs, blocks_of_time, breaker_batches, breaker }
    }

    /// The family of `settings`, going on from what was saved.
    pub(super) fn restored(settings: &Settings, saved: SavedFamily) -> Result<Self, Misfit> {
        let SavedFamily { blocks, gathered, invests_at_end, wealths, proofs, .. } = saved;
        let SavedFamily { blocks_of_time, breaker_batches, breaker, .. } = saved;
        let mut family = Self::new(settings);
        let mut wealths = wealths.into_iter();
        for mixture in family.mixtures_mut() {
            mixture.restore(wealths.next().ok_or(Misfit)?)?;
        }
        if wealths.next().is_some() || proofs.len() != family.members.len() {
            return Err(Misfit);
        }
        for (member, proof) in family.members.iter_mut().zip(proofs) {
            member.restore_proof(proof)?;
        }
        let mut blocks_of_time = blocks_of_time.into_iter();
        for member in &mut family.members {
            let saved = member.blocks().is_some().then(|| blocks_of_time.next()).flatten();
            member.restore_blocks(saved)?;
        }
        if blocks_of_time.next().is_some() {
            return Err(Misfit);
        }
        (family.blocks, family.gathered, family.invests_at_end) = (blocks, gathered, invests_at_end);
        family.breaker = Breaker::restored(breaker_batches, breaker)?;
        family.read_all();
        Ok(family)
    }
}

/// The place of the gate whose test of errors an error limit may share: of the same requests and role.
fn errors_like(settings: &Settings, gate: &GateSetting) -> Option<usize> {
    if settings.leaves_out {
        // The limit judges those too whom that gate leaves out.
        return None;
    }
    let same = |other: &GateSetting| other.path == gate.path && other.role == gate.role;
    settings.gates.iter().position(|other| matches!(other.rule, Rule::Errors { .. }) && same(other))
}

/// By how much more than stable the canary may fail where an error limit looks at both: what the gate of errors allows that
/// is most like the limit's, of its path where there is one.
pub(super) fn tolerance_beside(settings: &Settings, limit: &GateSetting) -> Above {
    let of = |like: &dyn Fn(&GateSetting) -> bool| {
        settings.gates.iter().filter(|gate| like(gate)).find_map(|gate| match gate.rule {
            Rule::Errors { tolerance, .. } => Some(tolerance),
            Rule::ErrorLimit { .. }
            | Rule::Shape { .. }
            | Rule::Quantile { .. }
            | Rule::LatencyLimit { .. }
            | Rule::Copies { .. } => None,
        })
    };
    of(&|gate| gate.path == limit.path).or_else(|| of(&|_| true)).unwrap_or(DEFAULT_TOLERANCE)
}

/// Where a gate with this share would make its family cross by itself, in nats.
pub(super) fn threshold(settings: &Settings, share: f64) -> f64 {
    log(1.0 / (settings.alpha_family() * share))
}
