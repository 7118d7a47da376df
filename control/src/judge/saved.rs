//! The form in which a judge survives a restart.

use serde::{Deserialize, Serialize};

use super::Judge;
use super::background::Background;
use super::family::{Family, SavedFamily};
use super::measure::Measure;
use super::record::Record;
use super::settings::Settings;
use super::traffic::{SavedTraffic, TrafficCheck};
use crate::statistics::mixture::Misfit;

/// Grows whenever a state of before would be read wrongly.
const VERSION: u32 = 3;

/// A [`Judge`] without what its settings already say.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    // First, so that a state of another version is told as that, whatever else it lacks.
    version: OfVersion,
    settings: Settings,
    family: SavedFamily,
    measure: Measure,
    traffic: SavedTraffic,
    record: Record,
    background: Background,
}

/// The version that a state was saved by.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
struct OfVersion;

impl From<OfVersion> for u32 {
    fn from(_: OfVersion) -> Self {
        VERSION
    }
}

impl TryFrom<u32> for OfVersion {
    type Error = Unusable;

    fn try_from(version: u32) -> Result<Self, Unusable> {
        if version == VERSION { Ok(Self) } else { Err(Unusable::Version(version)) }
    }
}

/// Why a saved judge cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    /// Of a Tidegate that judged otherwise.
    #[error("the state of the gates is of version {0}, this Tidegate reads version {VERSION}")]
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
        let Judge { settings, family, measure, traffic, record, background, bursts: _ } = judge;
        let (family, traffic) = (family.into_saved(), traffic.into_saved());
        Self { version: OfVersion, settings, family, measure, traffic, record, background }
    }
}

impl TryFrom<Saved> for Judge {
    type Error = Unusable;

    fn try_from(saved: Saved) -> Result<Self, Unusable> {
        let Saved { version: OfVersion, settings, family, measure, traffic, record, background } = saved;
        if !settings.are_sound() || !measure.fits(&settings) || !record.fits(&settings) {
            return Err(Unusable::Misfit);
        }
        let family = Family::restored(&settings, family)?;
        let traffic = TrafficCheck::restored(traffic)?;
        Ok(Self { bursts: background.bursts(), settings, family, measure, traffic, record, background })
    }
}
