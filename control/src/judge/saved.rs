//! The form in which a judge survives a restart.

use serde::{Deserialize, Serialize};

use super::Judge;
use super::background::Background;
use super::family::{Family, SavedFamily};
use super::record::Record;
use super::settings::Settings;
use crate::statistics::Batcher;
use crate::statistics::mixture::Misfit;

/// Grows whenever a state of before would be read wrongly.
const VERSION: u32 = 1;

/// A [`Judge`] without what its settings already say.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    version: u32,
    settings: Settings,
    family: SavedFamily,
    batcher: Batcher,
    record: Record,
    background: Background,
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
        let Judge { settings, family, batcher, record, background } = judge;
        Self { version: VERSION, settings, family: family.into_saved(), batcher, record, background }
    }
}

impl TryFrom<Saved> for Judge {
    type Error = Unusable;

    fn try_from(saved: Saved) -> Result<Self, Unusable> {
        let Saved { version, settings, family, batcher, record, background } = saved;
        if version != VERSION {
            return Err(Unusable::Version(version));
        }
        let limits = settings.latency_limits_us().count();
        let waiting_fits = batcher.open().is_none_or(|open| open.over.len() == limits);
        if !waiting_fits || !record.fits(settings.gates.len(), limits) {
            return Err(Unusable::Misfit);
        }
        let family = Family::restored(&settings, family)?;
        Ok(Self { settings, family, batcher, record, background })
    }
}
