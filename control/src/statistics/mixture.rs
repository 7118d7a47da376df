//! A stake spread over a grid of alternatives, part of it kept as cash.

use libm::{expm1, fabs, log, log1p};
use serde::{Deserialize, Serialize};

use super::packed::{Damaged, pack_floats, unpack_floats};
use super::{log_add_exp, log_sum_exp};

/// How much a score `ln(ratio)` must be tempered when events come in bursts of geometric size: 1 for tiny scores,
/// 1.13 for ratio 2, 1.55 for 10, 2.6 for 150.
#[must_use]
pub fn kappa(score: f64) -> f64 {
    let a = fabs(score);
    if a < 1e-3 { 1.0 } else { 0.5 * a / (1.0 - a / expm1(a)) }
}

/// Makes several distinct blocks necessary: within one block a component gains at most the part of its threshold that
/// `blocks` leaves it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cap {
    /// The level at which the mixture, alone, would act.
    pub alpha: f64,
    /// In how many blocks, at the least, it may get there.
    pub blocks: f64,
}

/// An e-process over a grid of alternatives: `E = cash + sum of the components' wealth`.
///
/// The cash never bets. Moving some of it into the components later ([`invest`](Self::invest)) buys a new start, so
/// that harm which begins after a long good time need not first win back what the good time lost; it is self-financed
/// and costs no alpha. Within a block (a second) evidence is collected and capped, at its end it is committed. What is
/// constant is derived anew from the grid; [`Wealth`] is what has to survive a restart.
///
/// Without a cap there is nothing to collect: evidence is committed as it comes.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixture {
    log_prior: Vec<f64>,
    kappa: Vec<f64>,
    /// Empty where there is none.
    cap: Vec<f64>,
    wealth: Wealth,
    /// `ln E`, as of the latest change: it is read more often than it changes.
    log_evidence: f64,
}

/// What a [`Mixture`] has won and lost so far, in nats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub struct Wealth {
    /// Of each component, as of the last block.
    pub(super) committed: Vec<f64>,
    /// Gained by each component in the present block, before the cap; all 0 where there is no cap.
    pub(super) block: Vec<f64>,
    /// The cash; none where everything was staked (JSON has no minus infinity).
    pub(super) cash: Option<f64>,
}

/// A [`Wealth`] as text: what is committed, what the block gained (empty where that is nothing), and the cash.
#[derive(Serialize, Deserialize)]
struct Saved(String, String, Option<f64>);

impl Wealth {
    /// The cash, in nats.
    #[cfg(test)]
    pub(super) const fn cash(&self) -> Option<f64> {
        self.cash
    }
}

impl From<Wealth> for Saved {
    fn from(Wealth { committed, block, cash }: Wealth) -> Self {
        let gained = block.iter().any(|gain| gain.to_bits() != 0);
        Self(pack_floats(&committed), if gained { pack_floats(&block) } else { String::new() }, cash)
    }
}

impl TryFrom<Saved> for Wealth {
    type Error = Damaged;

    fn try_from(Saved(committed, block, cash): Saved) -> Result<Self, Damaged> {
        let committed = unpack_floats(&committed)?;
        let block = if block.is_empty() { vec![0.0; committed.len()] } else { unpack_floats(&block)? };
        Ok(Self { committed, block, cash })
    }
}

/// A saved wealth that does not belong to the mixture it was given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the saved wealth has another shape than its test, or is no number")]
pub struct Misfit;

impl Mixture {
    /// A mixture over alternatives with these prior weights (above 0, any sum) and scores `ln(ratio)`, of which
    /// `start_share` (above 0, at most 1) is staked at once and the rest kept as cash.
    #[must_use]
    pub fn new(prior: &[f64], scores: &[f64], start_share: f64, cap: Option<Cap>) -> Self {
        let sum: f64 = prior.iter().sum();
        let log_prior: Vec<f64> = prior.iter().map(|p| log(p / sum)).collect();
        let start = log(start_share);
        let cap_of = |cap: Cap| -> Vec<f64> {
            log_prior.iter().map(|p| (log(1.0 / cap.alpha) - start - p) / cap.blocks).collect()
        };
        let mut mixture = Self {
            kappa: scores.iter().map(|score| kappa(*score)).collect(),
            cap: cap.map(cap_of).unwrap_or_default(),
            wealth: Wealth {
                committed: log_prior.iter().map(|p| start + p).collect(),
                block: vec![0.0; prior.len()],
                cash: (start_share < 1.0).then(|| log1p(-start_share)),
            },
            log_prior,
            log_evidence: 0.0,
        };
        mixture.weigh();
        mixture
    }

    /// Adds one batch's increments, one a component in the order of the grid. `phi` (at least 1) is the dispersion of
    /// the events: evidence is tempered by it. Gives the largest increment, as it was tempered.
    pub fn add(&mut self, increments: impl Iterator<Item = f64>, phi: f64) -> f64 {
        let Wealth { committed, block, .. } = &mut self.wealth;
        let sums = if self.cap.is_empty() { committed } else { block };
        let mut largest = f64::NEG_INFINITY;
        for ((sum, increment), kappa) in sums.iter_mut().zip(increments).zip(&self.kappa) {
            let tempered = increment / (1.0 + (phi - 1.0) * kappa);
            *sum += tempered;
            largest = largest.max(tempered);
        }
        self.weigh();
        largest
    }

    /// The evidence against the null, in nats: `ln E`.
    #[must_use]
    pub const fn log_evidence(&self) -> f64 {
        self.log_evidence
    }

    fn weigh(&mut self) {
        let Wealth { committed, block, cash } = &self.wealth;
        let cash = cash.iter().copied();
        self.log_evidence = if self.cap.is_empty() {
            log_sum_exp(cash.chain(committed.iter().copied()))
        } else {
            let components = committed.iter().zip(block).zip(&self.cap).map(|((w, gain), cap)| w + cap.min(*gain));
            log_sum_exp(cash.chain(components))
        };
    }

    /// Commits what the block gained, as far as the cap allows, and begins the next block. The evidence is as before.
    pub fn end_block(&mut self) {
        let Wealth { committed, block, .. } = &mut self.wealth;
        for ((w, gain), cap) in committed.iter_mut().zip(block).zip(&self.cap) {
            *w += cap.min(*gain);
            *gain = 0.0;
        }
    }

    /// Stakes this share (above 0, below 1) of the cash anew. Only right after [`end_block`](Self::end_block): fresh
    /// money may not profit from evidence of the past.
    pub fn invest(&mut self, share: f64) {
        let Some(cash) = self.wealth.cash else { return };
        let amount = cash + log(share);
        for (w, p) in self.wealth.committed.iter_mut().zip(&self.log_prior) {
            *w = log_add_exp(*w, amount + p);
        }
        self.wealth.cash = Some(cash + log1p(-share));
        self.weigh();
    }

    /// What has to survive a restart.
    #[must_use]
    pub const fn wealth(&self) -> &Wealth {
        &self.wealth
    }

    /// Goes on from a saved wealth.
    ///
    /// # Errors
    /// [`Misfit`] where it is of another grid or not finite; the mixture is as before.
    pub fn restore(&mut self, wealth: Wealth) -> Result<(), Misfit> {
        let numbers = || wealth.committed.iter().chain(&wealth.block).chain(&wealth.cash);
        let fits = wealth.committed.len() == self.log_prior.len()
            && wealth.block.len() == self.log_prior.len()
            && wealth.cash.is_some() == self.wealth.cash.is_some()
            && numbers().all(|number| number.is_finite());
        if !fits {
            return Err(Misfit);
        }
        self.wealth = wealth;
        self.weigh();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::excess::{PRIOR, RATIOS};
    use crate::statistics::golden::{self, assert_close};
    use crate::statistics::increment::ll_count;
    use crate::view::Arms;

    fn scripted() -> Mixture {
        let vectors = golden::mixture();
        let scores: Vec<f64> = vectors.r.iter().map(|r| log(*r)).collect();
        let cap = Cap { alpha: vectors.alpha, blocks: vectors.min_blocks };
        Mixture::new(&vectors.prior, &scores, vectors.start_share, Some(cap))
    }

    #[test]
    fn the_constants_of_the_error_test_agree_with_the_golden_vectors() {
        let (mixture, vectors) = (scripted(), golden::mixture());
        assert_eq!((&vectors.prior[..], &vectors.r[..]), (&PRIOR[..], &RATIOS[..]));
        for (ours, theirs) in mixture.cap.iter().zip(&vectors.cap).chain(mixture.kappa.iter().zip(&vectors.kappa)) {
            assert_close(*ours, *theirs, "cap or kappa");
        }
    }

    #[test]
    fn a_scripted_sequence_with_tempering_blocks_and_investments_agrees_with_the_golden_vectors() {
        let (mut mixture, vectors) = (scripted(), golden::mixture());
        assert_eq!(vectors.steps.len(), 10);
        for step in vectors.steps {
            let (events, requests) =
                (Arms { stable: step.kb, canary: step.kc }, Arms { stable: step.nb, canary: step.nc });
            mixture.add(vectors.r.iter().map(|r| ll_count(events, requests, 1.0, 0.0, *r)), step.phi);
            assert_close(mixture.log_evidence(), step.log_e, "after the batch");
            if step.then.contains('b') {
                mixture.end_block();
            }
            if step.then.contains('i') {
                mixture.invest(vectors.invest_share);
            }
            assert_close(mixture.log_evidence(), step.log_e_after, "after the block");
            assert_close(mixture.wealth.cash.unwrap(), step.log_reserve, "cash");
        }
    }

    #[test]
    fn one_block_alone_never_establishes_anything() {
        let mut mixture = scripted();
        let threshold = log(1.0 / golden::mixture().alpha);
        for blocks in 1..=3 {
            mixture.add(RATIOS.iter().map(|_| 1e9), 1.0);
            mixture.end_block();
            assert_eq!(mixture.log_evidence() >= threshold, blocks >= 3, "{blocks} blocks");
        }
    }

    #[test]
    fn a_mixture_without_cash_survives_json() {
        let mut mixture = Mixture::new(&[1.0, 2.0], &[0.5, 1.0], 1.0, None);
        mixture.add([0.1, 0.7].into_iter(), 1.0);
        mixture.end_block();
        mixture.invest(0.2);
        let text = serde_json::to_string(mixture.wealth()).unwrap();
        let mut restored = Mixture::new(&[1.0, 2.0], &[0.5, 1.0], 1.0, None);
        restored.restore(serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(restored, mixture);
        assert_eq!(restored.log_evidence().to_bits(), mixture.log_evidence().to_bits());
    }

    #[test]
    fn a_wealth_of_another_grid_is_refused() {
        let mut mixture = scripted();
        let before = mixture.clone();
        let other = Mixture::new(&[1.0], &[1.0], 0.6, None);
        assert_eq!(mixture.restore(other.wealth().clone()), Err(Misfit));
        let all_staked = Mixture::new(&PRIOR, &RATIOS.map(log), 1.0, None);
        assert_eq!(mixture.restore(all_staked.wealth().clone()), Err(Misfit));
        let mut endless = mixture.wealth().clone();
        endless.block[0] = f64::INFINITY;
        assert_eq!(mixture.restore(endless), Err(Misfit));
        assert_eq!(mixture, before);
    }
}
