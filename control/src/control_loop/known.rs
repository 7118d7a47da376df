//! What is known of a service's stable traffic, kept over rollouts and restarts.

use config::Name;
use meter::Window;
use serde::{Deserialize, Serialize};

use crate::judge::Background;
use crate::plane::DataPlane;

/// What is known of the traffic of one version while it is the stable. Another stable is another traffic: it begins
/// anew.
#[derive(Debug, Clone)]
pub(super) struct Known {
    stable: Name,
    background: Background,
    /// The latencies that the data plane counts its groups over.
    watched: Option<[u64; 2]>,
}

/// How it is saved.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedBackground {
    stable: String,
    background: Background,
}

impl Known {
    /// Nothing is known of this version.
    pub(super) fn nothing(stable: Name) -> Self {
        Self { stable, background: Background::default(), watched: None }
    }

    /// Goes on from what an earlier process saved, where that is of the same stable.
    pub(super) fn restored(stable: Name, saved: SavedBackground) -> Self {
        let background = if saved.stable == stable.as_str() { saved.background } else { Background::default() };
        Self { stable, background, watched: None }
    }

    /// Begins anew where another version is the stable now.
    pub(super) fn follow(&mut self, stable: &Name) {
        if self.stable != *stable {
            *self = Self::nothing(stable.clone());
        }
    }

    /// Adds what the stable did in this second.
    pub(super) fn observe(&mut self, second: i64, window: &Window) {
        self.background.observe(second, window);
    }

    /// For the tests of a rollout; [`Self::keep`] takes it back.
    pub(super) fn lend(&mut self) -> Background {
        std::mem::take(&mut self.background)
    }

    /// What a rollout that compared with this stable has learnt.
    pub(super) fn keep(&mut self, of: &Name, background: Background) {
        if self.stable == *of {
            self.background = background;
        }
    }

    /// Has the data plane count groups of traffic over the latencies that `background` asks for.
    pub(super) fn watch(&mut self, service: &Name, wanted: Option<[u64; 2]>, plane: &mut dyn DataPlane) {
        if let Some(us) = wanted.filter(|wanted| self.watched != Some(*wanted)) {
            plane.watch_latencies(service, &self.stable, us);
            self.watched = wanted;
        }
    }

    pub(super) const fn background(&self) -> &Background {
        &self.background
    }

    /// The bytes to save.
    pub(super) fn encoded(&self) -> Option<Vec<u8>> {
        #[derive(Serialize)]
        struct Saved<'a> {
            stable: &'a str,
            background: &'a Background,
        }
        serde_json::to_vec(&Saved { stable: self.stable.as_str(), background: &self.background }).ok()
    }
}
