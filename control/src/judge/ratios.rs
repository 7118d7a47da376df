//! How many times as often the canary fails as what it is compared with: for people, beside the gates that compare the
//! errors of all requests. No verdict is made of it.

use serde::{Deserialize, Serialize};

use super::settings::{GateSetting, Rule, Settings};
use super::sightings::Sighting;
use crate::statistics::Batch;
use crate::statistics::ratio::{Between, Ratio};

/// One a gate, in the order of the plan; none where a gate does not compare errors, or those of a path alone.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Ratios(Vec<Option<OfGate>>);

/// What is known of one gate's ratio: up to the last full second, and since.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "(Ratio, Sighting, f64)", into = "(Ratio, Sighting, f64)")]
struct OfGate {
    ratio: Ratio,
    /// Gathered for a second: a step of the ratio costs as much however much is in it.
    open: Sighting,
    /// The dispersion of what is gathered, the largest there was; 0 where nothing is.
    phi: f64,
}

impl From<OfGate> for (Ratio, Sighting, f64) {
    fn from(OfGate { ratio, open, phi }: OfGate) -> Self {
        (ratio, open, phi)
    }
}

impl From<(Ratio, Sighting, f64)> for OfGate {
    fn from((ratio, open, phi): (Ratio, Sighting, f64)) -> Self {
        Self { ratio, open, phi }
    }
}

impl Ratios {
    pub(super) fn new(settings: &Settings) -> Self {
        // A plan may have many paths, and the saved state has little room for each.
        let tells = |gate: &&GateSetting| matches!(gate.rule, Rule::Errors { .. }) && gate.path.is_none();
        Self(settings.gates.iter().map(|gate| Some(gate).filter(tells).map(|_| OfGate::default())).collect())
    }

    /// Those of `settings`, going on from what was saved. An older Tidegate saved none: they begin with nothing.
    pub(super) fn restored(settings: &Settings, saved: Self) -> Option<Self> {
        let fresh = Self::new(settings);
        if saved.0.is_empty() {
            return Some(fresh);
        }
        let kinds = |ratios: &Self| ratios.0.iter().map(Option::is_some).collect::<Vec<_>>();
        let sound = saved.0.iter().flatten().all(|gate| gate.phi.is_finite());
        (sound && kinds(&fresh) == kinds(&saved)).then_some(saved)
    }

    /// Adds one batch of the gate at this place, tempered by this dispersion.
    pub(super) fn add(&mut self, gate: usize, batch: &Batch, phi: f64) {
        if let Some(Some(OfGate { open, phi: largest, .. })) = self.0.get_mut(gate) {
            open.merge(Sighting::of(batch));
            *largest = largest.max(phi);
        }
    }

    /// A second is over, or the split changes: what was gathered was gathered under one split.
    pub(super) fn end_second(&mut self) {
        for OfGate { ratio, open, phi } in self.0.iter_mut().flatten() {
            let Sighting { requests, events } = std::mem::take(open);
            ratio.add(events, requests, std::mem::take(phi).max(1.0));
        }
    }

    /// Between which ratios the gate at this place has it, at level `alpha`; none where nothing is known.
    pub(super) fn between(&self, gate: usize, alpha: f64) -> Option<Between> {
        let OfGate { ratio, .. } = self.0.get(gate)?.as_ref()?;
        Some(ratio.between(alpha)).filter(|between| *between != Between::default())
    }
}
