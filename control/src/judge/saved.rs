//! The form in which a judge survives a restart.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::Judge;
use super::background::Background;
use super::baseline::{BaselineCheck, SavedBaseline};
use super::copies::Copied;
use super::family::{Family, SavedFamily};
use super::measure::Measure;
use super::ratios::Ratios;
use super::record::Record;
use super::settings::Settings;
use super::traffic::{SavedTraffic, TrafficCheck};
use crate::statistics::Batcher;
use crate::statistics::mixture::Misfit;

/// Grows whenever a state of before would be read wrongly.
const VERSION: u32 = 5;

/// A [`Judge`] without what its settings already say.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    version: u32,
    settings: Settings,
    family: SavedFamily,
    measure: Measure,
    traffic: SavedTraffic,
    baseline: Option<SavedBaseline>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    copies: Option<Copied>,
    beside: Option<Batcher>,
    record: Record,
    /// An older Tidegate had none.
    #[serde(default)]
    ratios: Ratios,
    background: Background,
}

/// What is looked at first: a state of another version has another form, too.
#[derive(Debug, Deserialize)]
struct OfVersion {
    version: u32,
}

impl<'de> Deserialize<'de> for Judge {
    /// The version comes first, wherever it stands.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let state = Value::deserialize(from)?;
        let OfVersion { version } = OfVersion::deserialize(&state).map_err(D::Error::custom)?;
        if version != VERSION {
            return Err(D::Error::custom(Unusable::Version(version)));
        }
        let saved: Saved = serde_json::from_value(state).map_err(D::Error::custom)?;
        Self::try_from(saved).map_err(D::Error::custom)
    }
}

/// Why a saved judge cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    /// Of a Tidegate that judged otherwise.
    #[error("the state of the gates was made by another Tidegate (state {0}, this reads {VERSION})")]
    Version(u32),
    /// Not of the gates it says it is of.
    #[error("the state of the gates does not fit the gates it was saved with")]
    Misfit,
}

impl From<Misfit> for Unusable {
    fn from(_: Misfit) -> Self {
        Self::Misfit
    }
}

impl From<Judge> for Saved {
    fn from(judge: Judge) -> Self {
        let Judge { settings, family, measure, traffic, baseline, copies, beside, record, ratios, background, .. } =
            judge;
        let (family, traffic) = (family.into_saved(), traffic.into_saved());
        let baseline = baseline.map(BaselineCheck::into_saved);
        Self {
            version: VERSION,
            settings,
            family,
            measure,
            traffic,
            baseline,
            copies,
            beside,
            record,
            ratios,
            background,
        }
    }
}

impl TryFrom<Saved> for Judge {
    type Error = Unusable;

    fn try_from(saved: Saved) -> Result<Self, Unusable> {
        let Saved {
            version: _,
            settings,
            family,
            measure,
            traffic,
            baseline,
            copies,
            beside,
            record,
            ratios,
            background,
        } = saved;
        let fits_beside = beside.is_some() == settings.has_breaker_beside() && copies.is_some() == settings.copies;
        if !fits_beside || !settings.are_sound() || !measure.fits(&settings) || !record.fits(&settings) {
            return Err(Unusable::Misfit);
        }
        let family = Family::restored(&settings, family)?;
        let ratios = Ratios::restored(&settings, ratios).ok_or(Unusable::Misfit)?;
        let traffic = TrafficCheck::restored(traffic)?;
        let baseline = BaselineCheck::restored(&settings, baseline)?;
        let bursts = background.bursts();
        Ok(Self { settings, family, measure, traffic, baseline, copies, beside, record, ratios, background, bursts })
    }
}
