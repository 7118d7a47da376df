//! The traffic check: is what is measured what was drawn?

use libm::log;
use serde::{Deserialize, Serialize};

use super::settings::Settings;
use super::words::Words;
use super::{Draws, Tick};
use crate::statistics::mixture::Misfit;
use crate::statistics::{INVEST_AT_STEP, Wealth, draws};
use crate::view::{Arms, GateCounts, GateView, Role, Verdict};

/// The name under which it is shown.
const NAME: &str = "traffic";

/// Counts requests that nobody judged, and tests whether random draws follow the split.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct TrafficCheck {
    test: draws::Draws,
    seen: Seen,
    found: Option<String>,
}

/// What was counted since the check began.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Seen {
    /// Requests that are over without an outcome on record.
    pub(super) lost: Arms<u64>,
    /// Random draws to any version, and to the canary.
    pub(super) all: u64,
    pub(super) canary: u64,
    /// How many the canary was to get.
    pub(super) expected: f64,
}

/// The form in which it survives a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedTraffic {
    draws: Wealth,
    seen: Seen,
    found: Option<String>,
}

impl TrafficCheck {
    /// Adds a tick.
    pub(super) fn add(&mut self, settings: &Settings, tick: &Tick<'_>) {
        let Self { test, seen, found } = self;
        // A slice of stable is counted on the stable, too; another version is not.
        let of_baseline = tick.baseline.drawn.lost.max(tick.stable.drawn.lost);
        seen.lost.stable = seen.lost.stable.saturating_add(of_baseline);
        seen.lost.canary = seen.lost.canary.saturating_add(tick.canary.drawn.lost);
        if let Some(Draws { weight, canary, all }) = tick.draws.filter(|draws| draws.all > 0) {
            let (weight, canary) = (f64::from(weight) / 10_000.0, canary.min(all));
            test.add(canary, all, weight);
            seen.all = seen.all.saturating_add(all);
            seen.canary = seen.canary.saturating_add(canary);
            seen.expected += weight * all as f64;
        }
        if found.is_none() {
            *found = finding(settings, *seen, test.mixture().log_evidence());
        }
    }

    /// What was found, in a sentence.
    pub(super) fn found(&self) -> Option<&str> {
        self.found.as_deref()
    }

    /// A step begins: a fault that comes with its split need not first win back the good time before.
    pub(super) fn begin_step(&mut self) {
        if self.seen.all > 0 {
            self.test.mixture_mut().invest(INVEST_AT_STEP);
        }
    }

    /// As a gate, where there is something to show.
    pub(super) fn view(&self, settings: &Settings) -> Option<GateView> {
        let Self { test, seen, found } = self;
        if found.is_none() && seen.all == 0 {
            return None;
        }
        let log_evidence = (seen.all > 0).then(|| test.mixture().log_evidence());
        let threshold = threshold(settings);
        let way = log_evidence.map_or(0.0, |nats| (nats / threshold).clamp(0.0, 1.0));
        Some(GateView {
            name: NAME.to_owned(),
            role: Role::Signal,
            verdict: if found.is_some() { Verdict::Fail } else { Verdict::Inconclusive },
            log_evidence,
            threshold,
            progress: if found.is_some() { 1.0 } else { way },
            explain: found.clone().unwrap_or_else(|| Words::new(settings).draws(*seen)),
            path: None,
            proof: None,
            counts: Some(GateCounts {
                requests: Arms { stable: seen.all - seen.canary.min(seen.all), canary: seen.canary },
                events: seen.lost,
            }),
            estimate: None,
            ratio: None,
        })
    }

    pub(super) fn into_saved(self) -> SavedTraffic {
        let Self { test, seen, found } = self;
        SavedTraffic { draws: test.mixture().wealth().clone(), seen, found }
    }

    pub(super) fn restored(saved: SavedTraffic) -> Result<Self, Misfit> {
        let SavedTraffic { draws, seen, found } = saved;
        let mut test = draws::Draws::new();
        test.mixture_mut().restore(draws)?;
        if !seen.expected.is_finite() || seen.canary > seen.all {
            return Err(Misfit);
        }
        Ok(Self { test, seen, found })
    }
}

/// How much more than `alpha` allows must speak against the draws. A split that is not what it says is a fault of ours,
/// which every rollout would be held up by in its turn: such a fault shows within seconds, and chance must not look like
/// one.
const STRICTER: f64 = 1_000.0;

fn threshold(settings: &Settings) -> f64 {
    log(STRICTER / settings.alpha)
}

fn finding(settings: &Settings, seen: Seen, log_evidence: f64) -> Option<String> {
    let words = Words::new(settings);
    if seen.lost != Arms::default() {
        return Some(words.lost(seen.lost));
    }
    (log_evidence >= threshold(settings)).then(|| words.unfair_draws(seen, log_evidence))
}
