//! The tests of one gate.

use libm::{log, log1p};

use super::proof::{Proof, Proven, SavedProof};
use super::{errors_like, threshold, tolerance_beside};
use crate::judge::background::Temper;
use crate::judge::counting::Counted;
use crate::judge::settings::{Above, BLOCKS_PART, Rule, Settings};
use crate::statistics::blocks::{SavedBlocks, Second};
use crate::statistics::mixture::Misfit;
use crate::statistics::{Batch, Blocks, Excess, Mixture, OverLimit, OverQuantile, Shape, log_add_exp};
use crate::view::Role;

/// The tolerance of a limit's relative half where no gate of the plan gives one: times stable's rate, plus points.
pub(in crate::judge) const DEFAULT_TOLERANCE: Above = Above { ratio: 1.1, points: 0.0005 };

/// One gate's tests: for harm, and for proof that there is none.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    role: Role,
    test: Test,
    proof: Proof,
    /// What the tests said when they were last [read](Self::read).
    reading: Reading,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    /// T1, and T6 beside it: the average of both, by [`BLOCKS_PART`].
    Errors {
        excess: Excess,
        blocks: Option<Box<Blocks>>,
    },
    ErrorLimit {
        absolute: OverLimit,
        relative: Relative,
    },
    Shape(Shape),
    Quantile(OverQuantile),
    LatencyLimit {
        absolute: OverLimit,
        relative: Box<Excess>,
    },
    /// A copy is compared with stable's answer to the same request, so the limit alone says what is the canary's doing.
    Copies(OverLimit),
}

/// The half of an error limit that compares with stable.
#[derive(Debug, Clone, PartialEq)]
enum Relative {
    /// The test of the gate at this place.
    OfGate(usize),
    Own(Box<Excess>),
}

/// The evidence of one gate, in nats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::judge) struct Reading {
    /// For harm: canary against stable, and against the limit where there is one.
    pub(in crate::judge) harm: f64,
    /// That the canary is over its limit, whatever stable does; none where there is no limit.
    pub(in crate::judge) over_limit: Option<f64>,
    /// Where this gate would make its family cross by itself.
    pub(in crate::judge) threshold: f64,
    /// Of its family, as a logarithm.
    pub(in crate::judge) log_share: f64,
}

impl Member {
    /// The tests of the gate at this place, which has this share of its family.
    pub(super) fn new(settings: &Settings, place: usize, share: f64) -> Self {
        let gate = &settings.gates[place];
        let alpha = settings.alpha_family() * share;
        let test = match gate.rule {
            Rule::Errors { tolerance: Above { ratio, points }, .. } => {
                let blocks = settings.blocks.then(|| Box::new(Blocks::new(ratio, points)));
                // The cap of T1 is for the level at which it would act by itself.
                let part = if blocks.is_some() { 1.0 - BLOCKS_PART } else { 1.0 };
                Test::Errors { excess: Excess::new(ratio, points, alpha * part), blocks }
            }
            Rule::ErrorLimit { limit } => {
                let shared = errors_like(settings, gate).map(Relative::OfGate);
                let relative = shared.unwrap_or_else(|| {
                    let Above { ratio, points } = tolerance_beside(settings, gate);
                    Relative::Own(Box::new(Excess::new(ratio, points, alpha)))
                });
                Test::ErrorLimit { absolute: OverLimit::new(limit, alpha), relative }
            }
            Rule::Shape { .. } => Test::Shape(Shape::new(alpha)),
            Rule::Quantile { quantile, .. } => Test::Quantile(OverQuantile::new(quantile, alpha)),
            Rule::LatencyLimit { quantile, .. } => {
                let Above { ratio, points } = DEFAULT_TOLERANCE;
                Test::LatencyLimit {
                    absolute: OverLimit::new(1.0 - quantile, alpha),
                    relative: Box::new(Excess::new(ratio, points, alpha)),
                }
            }
            Rule::Copies { limit, .. } => Test::Copies(OverLimit::new(limit, alpha)),
        };
        let reading =
            Reading { harm: 0.0, over_limit: None, threshold: threshold(settings, share), log_share: log(share) };
        Self { role: gate.role, test, proof: Proof::new(&gate.rule), reading }
    }

    /// Where it tests the shape of latency: against the shapes of the golden vectors, at this level.
    #[cfg(test)]
    pub(super) fn specify(&mut self, alpha: f64) {
        if let Test::Shape(shape) = &mut self.test {
            *shape = Shape::against(crate::statistics::levels::specified::harms(), alpha);
        }
    }

    pub(super) fn add(&mut self, batch: &Batch, counted: &Counted, temper: Temper, proves: bool) {
        let Batch { requests, bad, .. } = batch;
        let Temper { errors, latency, ratio } = temper;
        match (&mut self.test, counted) {
            (Test::Errors { excess, blocks }, _) => {
                excess.add_tolerating(ratio, *bad, *requests, errors);
                if let Some(blocks) = blocks {
                    blocks.add(ratio, *bad, *requests);
                }
            }
            (Test::ErrorLimit { absolute, relative }, _) => {
                absolute.add(bad.canary, requests.canary, errors);
                match relative {
                    Relative::OfGate(_) => {}
                    Relative::Own(excess) => excess.add_tolerating(ratio, *bad, *requests, errors),
                }
            }
            (Test::LatencyLimit { absolute, relative }, Counted::Over(events)) => {
                let phi = errors.max(latency);
                absolute.add(events.canary, requests.canary, phi);
                relative.add_tolerating(ratio, *events, *requests, phi);
            }
            (Test::Copies(test), _) => test.add(bad.canary, requests.canary, errors),
            (Test::Shape(shape), Counted::Levels { levels, .. }) => shape.add(levels, latency),
            (Test::Quantile(test), Counted::Beyond { timed, over, .. }) => test.add(*over, *timed, latency),
            // What is counted belongs to the rule that the test belongs to; anything else is no evidence.
            (Test::LatencyLimit { .. } | Test::Shape(_) | Test::Quantile(_), _) => {}
        }
        if proves {
            self.proof.add(batch, counted, temper);
        }
    }

    /// The evidence for harm, and that the canary is over a limit.
    pub(super) fn evidence(&self, members: &[Self]) -> (f64, Option<f64>) {
        let (absolute, relative) = match &self.test {
            Test::Errors { excess, blocks } => {
                let excess = excess.mixture().log_evidence();
                let together = |blocks: &Blocks| log_add_exp(log1p(-BLOCKS_PART) + excess, part_of(blocks));
                return (blocks.as_deref().map_or(excess, together), None);
            }
            Test::Shape(shape) => return (shape.mixture().log_evidence(), None),
            Test::Quantile(test) => return (test.mixture().log_evidence(), None),
            Test::Copies(test) => return (test.mixture().log_evidence(), None),
            Test::ErrorLimit { absolute, relative: Relative::OfGate(place) } => {
                (absolute, members.get(*place).map_or(0.0, Self::errors_against_stable))
            }
            Test::ErrorLimit { absolute, relative: Relative::Own(excess) } => {
                (absolute, excess.mixture().log_evidence())
            }
            Test::LatencyLimit { absolute, relative } => (absolute, relative.mixture().log_evidence()),
        };
        let absolute = absolute.mixture().log_evidence();
        (absolute.min(relative), Some(absolute))
    }

    /// Whatever is no test of errors gives no evidence.
    fn errors_against_stable(&self) -> f64 {
        match &self.test {
            Test::Errors { excess, .. } => excess.mixture().log_evidence(),
            Test::ErrorLimit { .. }
            | Test::Shape(_)
            | Test::Quantile(_)
            | Test::LatencyLimit { .. }
            | Test::Copies(_) => 0.0,
        }
    }

    /// The test of blocks of time, where it has one.
    pub(super) fn blocks(&self) -> Option<&Blocks> {
        match &self.test {
            Test::Errors { blocks, .. } => blocks.as_deref(),
            Test::ErrorLimit { .. }
            | Test::Shape(_)
            | Test::Quantile(_)
            | Test::LatencyLimit { .. }
            | Test::Copies(_) => None,
        }
    }

    fn blocks_mut(&mut self) -> Option<&mut Blocks> {
        match &mut self.test {
            Test::Errors { blocks, .. } => blocks.as_deref_mut(),
            Test::ErrorLimit { .. }
            | Test::Shape(_)
            | Test::Quantile(_)
            | Test::LatencyLimit { .. }
            | Test::Copies(_) => None,
        }
    }

    /// Whether blocks of time have the larger part in its evidence.
    pub(super) fn speaks_of_blocks(&self) -> bool {
        self.blocks().is_some_and(|blocks| part_of(blocks) > log1p(-BLOCKS_PART) + self.errors_against_stable())
    }

    /// A second is over.
    pub(super) fn end_second(&mut self, second: Second) {
        if let Some(blocks) = self.blocks_mut() {
            blocks.end_second(second);
        }
    }

    /// The canary's weight changes.
    pub(super) fn begin_step(&mut self) {
        if let Some(blocks) = self.blocks_mut() {
            blocks.begin_step();
        }
    }

    pub(super) fn saved_blocks(&self) -> Option<SavedBlocks> {
        self.blocks().map(Blocks::saved)
    }

    pub(super) fn restore_blocks(&mut self, saved: Option<SavedBlocks>) -> Result<(), Misfit> {
        match (self.blocks_mut(), saved) {
            (Some(blocks), Some(saved)) => blocks.restore(saved),
            (None, None) => Ok(()),
            (Some(_), None) | (None, Some(_)) => Err(Misfit),
        }
    }

    pub(super) const fn role(&self) -> Role {
        self.role
    }

    pub(super) const fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Takes over what the tests [say](Self::evidence).
    pub(super) const fn read(&mut self, (harm, over_limit): (f64, Option<f64>)) {
        self.reading.harm = harm;
        self.reading.over_limit = over_limit;
    }

    pub(super) fn proven(&self) -> Proven {
        self.proof.proven()
    }

    #[cfg(test)]
    pub(super) fn proof_now(&self) -> Vec<f64> {
        self.proof.now()
    }

    pub(super) fn prove_anew(&mut self, rule: &Rule) {
        if self.proof.was_fed() {
            self.proof = Proof::new(rule);
        }
    }

    pub(super) fn saved_proof(&self) -> SavedProof {
        self.proof.saved()
    }

    pub(super) fn restore_proof(&mut self, saved: SavedProof) -> Result<(), Misfit> {
        self.proof.restore(saved)
    }

    /// The stakes behind the tests for harm.
    pub(super) fn mixtures_mut(&mut self) -> impl Iterator<Item = &mut Mixture> {
        let (first, second) = match &mut self.test {
            Test::Errors { excess, .. } => (excess.mixture_mut(), None),
            Test::Shape(shape) => (shape.mixture_mut(), None),
            Test::Quantile(test) => (test.mixture_mut(), None),
            Test::Copies(test) => (test.mixture_mut(), None),
            Test::ErrorLimit { absolute, relative } => {
                let own = match relative {
                    Relative::OfGate(_) => None,
                    Relative::Own(excess) => Some(excess.mixture_mut()),
                };
                (absolute.mixture_mut(), own)
            }
            Test::LatencyLimit { absolute, relative } => (absolute.mixture_mut(), Some(relative.mixture_mut())),
        };
        std::iter::once(first).chain(second)
    }
}

/// What the test of blocks adds to its gate's evidence, in nats.
fn part_of(blocks: &Blocks) -> f64 {
    log(BLOCKS_PART) + blocks.mixture().log_evidence()
}
