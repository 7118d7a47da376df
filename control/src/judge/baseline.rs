//! Is the version that the canary is compared with fit to be compared with?
//!
//! A broken baseline would make a broken canary look well. So a version that is the baseline in stable's place is
//! itself tested against all of stable.

use super::Tick;
use super::background::Temper;
use super::family::DEFAULT_TOLERANCE;
use super::settings::{Above, Baseline, Settings};
use super::watch::{SavedWatch, Watch};
use super::words::Words;
use crate::statistics::Batch;
use crate::statistics::mixture::Misfit;
use crate::view::{Arms, GateView};

/// The name under which it is shown.
pub(super) const NAME: &str = "baseline";

/// Tests whether the baseline fails more than stable, of which it is no part. The baseline is in the canary's place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BaselineCheck(Watch);

impl BaselineCheck {
    /// A check that begins in this second of the rollout; none where the baseline is stable itself, or a part of it.
    pub(super) fn new(settings: &Settings, second: u64) -> Option<Self> {
        match settings.baseline {
            Baseline::Stable | Baseline::Slice => None,
            Baseline::Version => {
                let Above { ratio, points } = DEFAULT_TOLERANCE;
                Some(Self(Watch::new(settings, (ratio, points), second)))
            }
        }
    }

    /// Adds a tick.
    pub(super) fn add(&mut self, settings: &Settings, tick: &Tick<'_>, temper: Temper, second: u64) {
        let of = |count: fn(&meter::Window) -> u64| Arms { stable: count(tick.stable), canary: count(tick.baseline) };
        let (requests, bad) = (of(meter::Window::requests), of(meter::Window::bad));
        let batch = Batch { requests, bad, left: Arms::default() };
        self.0.add(settings, batch, (temper.ratio, temper.errors), second, |risen| {
            Words::new(settings).unfit_baseline(risen.seen, risen.seconds, risen.log_evidence)
        });
    }

    /// A second is over.
    pub(super) fn end_block(&mut self) {
        self.0.end_block();
    }

    /// A step begins.
    pub(super) fn begin_step(&mut self) {
        self.0.begin_step();
    }

    /// What was found, in a sentence.
    pub(super) fn found(&self) -> Option<&str> {
        self.0.found()
    }

    /// In nats.
    pub(super) fn log_evidence(&self) -> f64 {
        self.0.log_evidence()
    }

    /// As a gate, once it found something.
    pub(super) fn view(&self, settings: &Settings) -> Option<GateView> {
        self.0.view(settings, NAME)
    }

    pub(super) fn into_saved(self) -> SavedWatch {
        self.0.into_saved()
    }

    /// The check of `settings`, going on from what was saved.
    pub(super) fn restored(settings: &Settings, saved: Option<SavedWatch>) -> Result<Option<Self>, Misfit> {
        match (Self::new(settings, 0), saved) {
            (None, None) => Ok(None),
            (Some(Self(watch)), Some(saved)) => Ok(Some(Self(watch.restored(saved)?))),
            (None, Some(_)) | (Some(_), None) => Err(Misfit),
        }
    }
}
