//! Proof that a gate's margin is kept, gathered anew in each step.

use serde::{Deserialize, Serialize};

use crate::judge::background::Temper;
use crate::judge::counting::{Counted, PROVEN_EDGES, sum};
use crate::judge::settings::Rule;
use crate::statistics::levels::EDGE_QUANTILES;
use crate::statistics::mixture::Misfit;
use crate::statistics::{Batch, ErrorProof, LimitProof, Mixture, QuantileProof, Wealth};
use crate::view::Arms;

/// The proof of one gate, as it is now. An e-process that was once at `1/beta` has refuted for ever what it tests: that
/// the canary is worse at all times. An incident since then is news, so what a step goes on by must hold when it does.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Proof {
    tests: Tests,
    fed: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Tests {
    Errors(ErrorProof),
    /// Of failures, of what is over a latency limit, or of copies that differ.
    Limit(LimitProof),
    /// The whole shape: at [`PROVEN_EDGES`].
    Shape(Box<[QuantileProof; PROVEN_EDGES.len()]>),
    Quantile(QuantileProof),
}

/// How far a gate is with ruling harm out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::judge) struct Proven {
    /// The least evidence of its tests, in nats; at least 0, where they start.
    pub(in crate::judge) log_evidence: f64,
    /// Whether any batch was judged in this step.
    pub(in crate::judge) fed: bool,
}

/// What of a proof survives a restart: whether it was fed, and what its tests have won and lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedProof(bool, Vec<Wealth>);

impl Proof {
    pub(super) fn new(rule: &Rule) -> Self {
        let tests = match *rule {
            Rule::Errors { margin, .. } => Tests::Errors(ErrorProof::new(margin.ratio, margin.points)),
            Rule::ErrorLimit { limit } | Rule::Copies { limit, .. } => Tests::Limit(LimitProof::new(limit)),
            Rule::LatencyLimit { quantile, .. } => Tests::Limit(LimitProof::new(1.0 - quantile)),
            Rule::Shape { .. } => {
                Tests::Shape(Box::new(PROVEN_EDGES.map(|edge| QuantileProof::new(EDGE_QUANTILES[edge]))))
            }
            Rule::Quantile { quantile, .. } => Tests::Quantile(QuantileProof::new(quantile)),
        };
        Self { tests, fed: false }
    }

    pub(super) fn add(&mut self, batch: &Batch, counted: &Counted, temper: Temper) {
        let bad = &batch.bad;
        let ended = batch.ended();
        let Temper { errors, latency, .. } = temper;
        match (&mut self.tests, counted) {
            (Tests::Errors(proof), _) => proof.add(*bad, ended, errors),
            (Tests::Limit(proof), Counted::Failures) => proof.add(bad.canary, ended.canary, errors),
            (Tests::Limit(proof), Counted::Over(events)) => {
                // Nobody knows how long those would have taken whom their clients left within the limit.
                proof.add(events.canary, ended.canary.max(events.canary), errors.max(latency));
            }
            (Tests::Shape(proofs), Counted::Levels { levels, beyond_margin }) => {
                let timed = Arms { stable: sum(&levels.stable), canary: sum(&levels.canary) };
                // Nothing was compared: the edges are not known yet.
                if timed == Arms::default() {
                    return;
                }
                for ((proof, edge), beyond) in proofs.iter_mut().zip(PROVEN_EDGES).zip(beyond_margin) {
                    let over = Arms { stable: sum(&levels.stable[edge + 1..]), canary: *beyond };
                    proof.add(over, timed, latency);
                }
            }
            (Tests::Quantile(proof), Counted::Beyond { timed, over, beyond_margin }) => {
                if *timed == Arms::default() {
                    return;
                }
                proof.add(Arms { stable: over.stable, canary: *beyond_margin }, *timed, latency);
            }
            // What is counted belongs to the rule that the proof belongs to; anything else proves nothing.
            (Tests::Limit(_) | Tests::Shape(_) | Tests::Quantile(_), _) => return,
        }
        self.fed = true;
    }

    pub(super) fn proven(&self) -> Proven {
        let least = self.tests.mixtures().map(Mixture::log_evidence).fold(f64::INFINITY, f64::min);
        Proven { log_evidence: if least.is_finite() { least.max(0.0) } else { 0.0 }, fed: self.fed }
    }

    #[cfg(test)]
    pub(super) fn now(&self) -> Vec<f64> {
        self.tests.mixtures().map(Mixture::log_evidence).collect()
    }

    pub(super) const fn was_fed(&self) -> bool {
        self.fed
    }

    pub(super) fn saved(&self) -> SavedProof {
        let wealths = self.tests.mixtures().map(|mixture| mixture.wealth().clone()).collect();
        SavedProof(self.fed, wealths)
    }

    pub(super) fn restore(&mut self, SavedProof(fed, wealths): SavedProof) -> Result<(), Misfit> {
        let mut wealths = wealths.into_iter();
        for mixture in self.tests.mixtures_mut() {
            mixture.restore(wealths.next().ok_or(Misfit)?)?;
        }
        if wealths.next().is_some() {
            return Err(Misfit);
        }
        self.fed = fed;
        Ok(())
    }
}

impl Tests {
    fn mixtures(&self) -> impl Iterator<Item = &Mixture> {
        let (one, shape): (_, &[QuantileProof]) = match self {
            Self::Errors(proof) => (Some(proof.mixture()), &[]),
            Self::Limit(proof) => (Some(proof.mixture()), &[]),
            Self::Quantile(proof) => (Some(proof.mixture()), &[]),
            Self::Shape(proofs) => (None, proofs.as_slice()),
        };
        one.into_iter().chain(shape.iter().map(QuantileProof::mixture))
    }

    fn mixtures_mut(&mut self) -> impl Iterator<Item = &mut Mixture> {
        let (one, shape): (_, &mut [QuantileProof]) = match self {
            Self::Errors(proof) => (Some(proof.mixture_mut()), &mut []),
            Self::Limit(proof) => (Some(proof.mixture_mut()), &mut []),
            Self::Quantile(proof) => (Some(proof.mixture_mut()), &mut []),
            Self::Shape(proofs) => (None, proofs.as_mut_slice()),
        };
        one.into_iter().chain(shape.iter_mut().map(QuantileProof::mixture_mut))
    }
}
