//! One service as the control loop keeps it: its release, the tests of its rollout, and who waits for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use config::Name;
use meter::LatencyCounts;
use tokio::sync::oneshot;

use super::estimates::Estimates;
use super::figures::Figures;
use super::judged::Judged;
use super::known::Known;
use super::leaving::Leaving;
use super::looking::{Calls, Steadiness, exhibit};
use super::readiness::Rooms;
use crate::command::Refused;
use crate::judge::Copies;
use crate::metrics::VersionCounts;
use crate::plane::DataPlane;
use crate::rollout::Release;
use crate::view::{RolloutView, ServiceView};

/// One service.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) release: Release,
    /// The tests of the running rollout.
    pub(super) judged: Option<Judged>,
    /// What is known of the stable's traffic while no rollout runs.
    pub(super) known: Known,
    pub(super) steadiness: Steadiness,
    /// What had become of copies to the canary when its tests were last told of them.
    pub(super) copied: Copies,
    /// How long verdicts take, for people.
    pub(super) estimates: Estimates,
    /// Who has traffic, and whose connections may stay for how long.
    pub(super) leaving: Leaving,
    /// What was to be heard of at the last tick.
    pub(super) calls: Calls,
    /// Who waits for which revision.
    pub(super) waiting: Vec<(u64, Reply)>,
    pub(super) figures: HashMap<Name, Figures>,
    /// Who found no room.
    pub(super) rooms: Rooms,
    /// How many instances each version has: endpoints, those of a name by its addresses.
    pub(super) instances: HashMap<Name, u32>,
    /// As of the last full second.
    pub(super) counts: BTreeMap<String, Arc<VersionCounts>>,
    /// What a restart has lost of the running rollout's evidence, in a sentence.
    pub(super) lost: Option<String>,
    /// Whether people have not seen the latest state yet.
    pub(super) changed: bool,
}

/// Where an answer goes.
#[derive(Debug)]
pub(super) enum Reply {
    /// To whoever asked something of a rollout.
    Rollout(oneshot::Sender<Result<RolloutView, Refused>>),
    /// To whoever asked something of a service.
    Service(oneshot::Sender<Result<ServiceView, Refused>>),
    /// To the reload of this number.
    Reload(u64),
}

impl Served {
    pub(super) fn new(release: Release, known: Known) -> Self {
        Self {
            release,
            judged: None,
            known,
            steadiness: Steadiness::default(),
            copied: Copies::default(),
            estimates: Estimates::in_turn(),
            leaving: Leaving::default(),
            calls: Calls::default(),
            waiting: Vec::new(),
            figures: HashMap::new(),
            rooms: Rooms::default(),
            instances: HashMap::new(),
            counts: BTreeMap::new(),
            lost: None,
            changed: true,
        }
    }

    /// A second is over: the figures that people see move on.
    pub(super) fn turn(&mut self, plane: &dyn DataPlane, scratch: &mut LatencyCounts, bounds_us: &[u64]) {
        let service = Arc::clone(self.release.service());
        self.figures.retain(|name, _| service.versions.iter().any(|version| version.name == *name));
        for version in &service.versions {
            if !self.figures.contains_key(&version.name) {
                self.figures.insert(version.name.clone(), Figures::default());
            }
            let Some(figures) = self.figures.get_mut(&version.name) else { continue };
            plane.tally(&service.name, &version.name, &mut |tally| figures.turn(tally, scratch, bounds_us));
        }
        self.read_counts(plane);
        self.look_at_readiness(plane);
    }

    /// Reads the tallies for people.
    pub(super) fn read_counts(&mut self, plane: &dyn DataPlane) {
        let service = self.release.service();
        self.counts.clear();
        for version in &service.versions {
            plane.tally(&service.name, &version.name, &mut |tally| {
                self.counts.insert(version.name.to_string(), Arc::new(VersionCounts::of(tally)));
            });
        }
    }

    /// Tells the tests of the running rollout something, and shows at once what they say after it: whoever asked for it
    /// is answered with that.
    pub(super) fn tell_judge(&mut self, tell: impl FnOnce(&mut Judged)) {
        if let Some(judged) = &mut self.judged {
            tell(judged);
            self.release.show(&judged.judge().judgement(), Some(exhibit(judged.judge())));
        }
    }

    /// The versions that the running rollout compares.
    pub(super) fn compared(&self) -> Option<(Name, Name)> {
        let rollout = self.release.state().running()?;
        Some((rollout.stable.clone(), rollout.canary.clone()))
    }
}
