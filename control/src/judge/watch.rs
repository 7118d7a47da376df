//! Does something happen more often on one version than on another? The always-on checks beside the gates ask it.

use libm::log;
use serde::{Deserialize, Serialize};

use super::family::BLOCKS_TO_LATE_EPOCH;
use super::settings::Settings;
use super::sightings::{Rise, Sighting};
use crate::statistics::mixture::Misfit;
use crate::statistics::{Batch, Batcher, Excess, INVEST_AT_STEP, INVEST_LATER, Wealth};
use crate::view::{Arms, GateView, Role, Verdict};

/// T1 for one kind of event, with a level of its own. What it found stays.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Watch {
    test: Excess,
    seen: Seen,
}

/// What it remembers beside what its test won and lost. The version that is watched is in the canary's place.
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
    /// All that was judged, where that is shown.
    #[serde(default)]
    total: Sighting,
    found: Option<Found>,
}

/// It happens more often than is tolerated, as it was when that was established.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Found {
    seen: Sighting,
    log_evidence: f64,
    explain: String,
}

/// What made the evidence rise to where something is found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Risen {
    pub(super) seen: Sighting,
    pub(super) seconds: u64,
    pub(super) log_evidence: f64,
}

/// The form in which it survives a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedWatch {
    test: Wealth,
    seen: Seen,
}

impl Watch {
    /// A watch that begins in this second of the rollout, and tolerates so many times the other version's rate, plus
    /// points.
    pub(super) fn new(settings: &Settings, (ratio, points): (f64, f64), second: u64) -> Self {
        let seen = Seen { rise: Rise::from_second(second), ..Seen::default() };
        Self { test: Excess::new(ratio, points, settings.alpha), seen }
    }

    /// Adds a tick, in which `bad` are the events. `ratio` is tolerated where it is more than the watch's own, and `phi`
    /// is the dispersion. `explain` says what is found.
    pub(super) fn add(
        &mut self,
        settings: &Settings,
        tick: Batch,
        (ratio, phi): (f64, f64),
        second: u64,
        explain: impl FnOnce(Risen) -> String,
    ) {
        let Self { test, seen } = self;
        let Some(batch) = seen.batcher.push(tick) else { return };
        let sighting = Sighting::of(&batch);
        test.add_tolerating(ratio, batch.bad, batch.requests, phi);
        seen.judged_in_step = true;
        seen.total.merge(sighting);
        let log_evidence = test.mixture().log_evidence();
        seen.rise.observe(second, sighting, log_evidence);
        if seen.found.is_none() && log_evidence >= threshold(settings) {
            let (seconds, risen) = (second.saturating_sub(seen.rise.since).saturating_add(1), seen.rise.seen);
            let explain = explain(Risen { seen: risen, seconds, log_evidence });
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

    /// A step begins: what breaks with it need not first win back the good time before. Money is staked at the end of
    /// the second: it may not profit from evidence of the past.
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

    /// All that was judged since it began.
    pub(super) const fn total(&self) -> Sighting {
        self.seen.total
    }

    /// As a gate of this name, once it found something.
    pub(super) fn view(&self, settings: &Settings, name: &str) -> Option<GateView> {
        let Found { seen, log_evidence, explain } = self.seen.found.as_ref()?;
        Some(GateView {
            verdict: Verdict::Fail,
            log_evidence: Some(*log_evidence),
            progress: 1.0,
            counts: Some((*seen).into()),
            ..self.view_before(settings, name, explain.clone())
        })
    }

    /// As a gate of this name that found nothing yet.
    pub(super) fn view_before(&self, settings: &Settings, name: &str, explain: String) -> GateView {
        let (log_evidence, threshold) = (self.log_evidence(), threshold(settings));
        GateView {
            name: name.to_owned(),
            role: Role::Signal,
            verdict: Verdict::Inconclusive,
            log_evidence: Some(log_evidence),
            threshold,
            progress: (log_evidence / threshold).clamp(0.0, 1.0),
            explain,
            path: None,
            proof: None,
            counts: Some(self.total().into()),
            estimate: None,
            ratio: None,
        }
    }

    pub(super) fn into_saved(self) -> SavedWatch {
        let Self { test, seen } = self;
        SavedWatch { test: test.mixture().wealth().clone(), seen }
    }

    /// This watch, going on from what was saved.
    pub(super) fn restored(mut self, SavedWatch { test, seen }: SavedWatch) -> Result<Self, Misfit> {
        self.test.mixture_mut().restore(test)?;
        let sound = seen.rise.is_sound() && seen.found.as_ref().is_none_or(|of| of.log_evidence.is_finite());
        if !sound {
            return Err(Misfit);
        }
        self.seen = seen;
        Ok(self)
    }
}

/// Where it says something, in nats: it has the plan's alpha to itself, as the traffic check does.
pub(super) fn threshold(settings: &Settings) -> f64 {
    log(1.0 / settings.alpha)
}

/// Whether anything is in there.
pub(super) const fn is_any(counts: Arms<u64>) -> bool {
    counts.stable > 0 || counts.canary > 0
}
