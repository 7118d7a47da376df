//! Is the version that the canary is compared with fit to be compared with?
//!
//! A broken baseline would make a broken canary look well. So a version that is the baseline in stable's place is
//! itself tested against all of stable.

use libm::log;
use serde::{Deserialize, Serialize};

use super::Tick;
use super::background::Temper;
use super::family::{BLOCKS_TO_LATE_EPOCH, DEFAULT_TOLERANCE};
use super::settings::{Baseline, Settings};
use super::sightings::{Rise, Sighting};
use super::words::Words;
use crate::statistics::mixture::Misfit;
use crate::statistics::{Batch, Batcher, Excess, INVEST_AT_STEP, INVEST_LATER, Wealth};
use crate::view::{Arms, GateView, Role, Verdict};

/// The name under which it is shown.
pub(super) const NAME: &str = "baseline";

/// Tests whether the baseline fails more than stable, of which it is no part.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BaselineCheck {
    test: Excess,
    seen: Seen,
}

/// What it remembers beside what its test won and lost. The baseline is in the canary's place.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Seen {
    batcher: Batcher,
    rise: Rise,
    /// Seconds since the step began.
    blocks: u64,
    /// Whether anything was judged since then.
    judged_in_step: bool,
    /// Cash is staked anew when the second is over.
    invests_at_end: bool,
    found: Option<Found>,
}

/// The baseline is worse than stable, as it was when that was established. It stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Found {
    seen: Sighting,
    log_evidence: f64,
    explain: String,
}

/// The form in which it survives a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedBaseline {
    test: Wealth,
    seen: Seen,
}

impl BaselineCheck {
    /// A check that begins in this second of the rollout; none where the baseline is stable itself, or a part of it.
    pub(super) fn new(settings: &Settings, second: u64) -> Option<Self> {
        match settings.baseline {
            Baseline::Stable | Baseline::Slice => None,
            Baseline::Version => {
                let (ratio, points) = DEFAULT_TOLERANCE;
                let seen = Seen { rise: Rise::from_second(second), ..Seen::default() };
                Some(Self { test: Excess::new(ratio, points, settings.alpha), seen })
            }
        }
    }

    /// Adds a tick.
    pub(super) fn add(&mut self, settings: &Settings, tick: &Tick<'_>, temper: Temper, second: u64) {
        let requests = Arms { stable: tick.stable.requests(), canary: tick.baseline.requests() };
        let bad = Arms { stable: tick.stable.bad(), canary: tick.baseline.bad() };
        let Self { test, seen } = self;
        let Some(batch) = seen.batcher.push(Batch { requests, bad }) else { return };
        test.add_tolerating(temper.ratio, batch.bad, batch.requests, temper.errors);
        seen.judged_in_step = true;
        let log_evidence = test.mixture().log_evidence();
        seen.rise.observe(second, Sighting::of(&batch), log_evidence);
        if seen.found.is_none() && log_evidence >= threshold(settings) {
            let (seconds, risen) = (second.saturating_sub(seen.rise.since).saturating_add(1), seen.rise.seen);
            let explain = Words::new(settings).unfit_baseline(risen, seconds, log_evidence);
            seen.found = Some(Found { seen: risen, log_evidence, explain });
        }
    }

    /// A second is over.
    pub(super) fn end_block(&mut self) {
        let Self { test, seen } = self;
        let mixture = test.mixture_mut();
        mixture.end_block();
        seen.blocks = seen.blocks.saturating_add(1);
        if std::mem::take(&mut seen.invests_at_end) {
            seen.blocks = 0;
            mixture.invest(INVEST_AT_STEP);
        } else if seen.blocks.is_multiple_of(BLOCKS_TO_LATE_EPOCH) {
            mixture.invest(INVEST_LATER / ((seen.blocks / BLOCKS_TO_LATE_EPOCH) as f64 + 1.0));
        }
    }

    /// A step begins: a baseline that breaks with it need not first win back the good time before. Money is staked at
    /// the end of the second: it may not profit from evidence of the past.
    pub(super) fn begin_step(&mut self) {
        if std::mem::take(&mut self.seen.judged_in_step) {
            self.seen.invests_at_end = true;
        }
    }

    /// What was found, in a sentence.
    pub(super) fn found(&self) -> Option<&str> {
        self.seen.found.as_ref().map(|found| found.explain.as_str())
    }

    /// In nats.
    pub(super) fn log_evidence(&self) -> f64 {
        self.test.mixture().log_evidence()
    }

    /// As a gate, once it found something.
    pub(super) fn view(&self, settings: &Settings) -> Option<GateView> {
        let Found { seen, log_evidence, explain } = self.seen.found.as_ref()?;
        Some(GateView {
            name: NAME.to_owned(),
            role: Role::Signal,
            verdict: Verdict::Fail,
            log_evidence: Some(*log_evidence),
            threshold: threshold(settings),
            progress: 1.0,
            explain: explain.clone(),
            path: None,
            proof: None,
            counts: Some((*seen).into()),
            estimate: None,
            ratio: None,
        })
    }

    pub(super) fn into_saved(self) -> SavedBaseline {
        let Self { test, seen } = self;
        SavedBaseline { test: test.mixture().wealth().clone(), seen }
    }

    /// The check of `settings`, going on from what was saved.
    pub(super) fn restored(settings: &Settings, saved: Option<SavedBaseline>) -> Result<Option<Self>, Misfit> {
        match (Self::new(settings, 0), saved) {
            (None, None) => Ok(None),
            (Some(mut check), Some(SavedBaseline { test, seen })) => {
                check.test.mixture_mut().restore(test)?;
                let sound = seen.rise.is_sound() && seen.found.as_ref().is_none_or(|of| of.log_evidence.is_finite());
                if !sound {
                    return Err(Misfit);
                }
                check.seen = seen;
                Ok(Some(check))
            }
            (None, Some(_)) | (Some(_), None) => Err(Misfit),
        }
    }
}

/// Where it says something, in nats: it has the plan's alpha to itself, as the traffic check does.
pub(super) fn threshold(settings: &Settings) -> f64 {
    log(1.0 / settings.alpha)
}
