//! Do clients leave the canary's requests before their end?
//!
//! A client that leaves is no failure of a version: who cancels, and why, is the client's business, and with random
//! draws both versions have their share of such clients. A version that has more of them than that makes them wait: it
//! hangs, or sends its body so slowly that nobody gets it whole (docs/decisions/0039).

use super::Tick;
use super::background::Temper;
use super::settings::Settings;
use super::sightings::Sighting;
use super::watch::{SavedWatch, Watch, is_any};
use super::words::{Words, rates};
use crate::statistics::Batch;
use crate::statistics::mixture::Misfit;
use crate::view::{Arms, GateView};

/// The name under which it is shown.
pub(super) const NAME: &str = "clients";

/// So many times the other version's share is tolerated, and so much of all requests: clients that read slower answers
/// leave somewhat more of them, and one who cancels everything may have been drawn to the canary for good.
const TOLERANCE: (f64, f64) = (1.5, 0.02);
/// The least dispersion: whoever leaves a page leaves all that it was loading, and with an affinity key all of that is
/// on one version.
const TOGETHER: f64 = 4.0;

/// Whether clients left more of the canary's requests than is tolerated, by the figures alone.
pub(super) fn leaves_more(left: Sighting) -> bool {
    let ((ratio, points), rates) = (TOLERANCE, rates(left));
    rates.canary > ratio * rates.stable + points
}

/// Tests whether clients leave more of the canary's requests than of those it is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LeavingCheck(Watch);

impl LeavingCheck {
    /// A check that begins in this second of the rollout.
    pub(super) fn new(settings: &Settings, second: u64) -> Self {
        Self(Watch::new(settings, TOLERANCE, second))
    }

    /// Adds a tick.
    pub(super) fn add(&mut self, settings: &Settings, tick: &Tick<'_>, temper: Temper, second: u64) {
        let of = |count: fn(&meter::Window) -> u64| Arms { stable: count(tick.baseline), canary: count(tick.canary) };
        // Here leaving is how a request ends.
        let batch =
            Batch { requests: of(meter::Window::requests), bad: of(meter::Window::left), left: Arms::default() };
        let phi = temper.errors.max(TOGETHER);
        self.0.add(settings, batch, (temper.ratio, phi), second, |risen| {
            Words::new(settings).leaving(risen.seen, risen.seconds, risen.log_evidence)
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

    /// In nats.
    pub(super) fn log_evidence(&self) -> f64 {
        self.0.log_evidence()
    }

    /// What was found, in a sentence.
    pub(super) fn found(&self) -> Option<&str> {
        self.0.found()
    }

    /// As a gate, once any client has left.
    pub(super) fn view(&self, settings: &Settings) -> Option<GateView> {
        let before = || {
            let total = self.0.total();
            let explain = Words::new(settings).some_leave(total, leaves_more(total));
            is_any(total.events).then(|| self.0.view_before(settings, NAME, explain))
        };
        self.0.view(settings, NAME).or_else(before)
    }

    pub(super) fn into_saved(self) -> SavedWatch {
        self.0.into_saved()
    }

    /// The check of `settings`, going on from what was saved; from here, in this second of the rollout, where nothing
    /// was.
    pub(super) fn restored(settings: &Settings, saved: Option<SavedWatch>, second: u64) -> Result<Self, Misfit> {
        let Self(watch) = Self::new(settings, second);
        Ok(Self(match saved {
            Some(saved) => watch.restored(saved)?,
            None => watch,
        }))
    }
}
