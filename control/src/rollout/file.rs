//! The file against the state in force: a promotion or a weight by hand outlives restart and reload, and wins until
//! the file's own value changes.

use std::sync::Arc;

use config::{Name, Service};

use super::readiness::Readiness;
use super::release::{By, Counted, News, Release};
use super::state::{FileValues, Reading, State};
use super::{Change, Effect, Moment};
use crate::command::Refused;
use crate::view::Phase;

impl Release {
    /// The release of a service that the journal does not know.
    #[must_use]
    pub fn begin(service: Arc<Service>, moment: &Moment) -> (Self, Change) {
        let state = State::from_file(&service);
        let text = format!("{} is new: what the file says is in force", service.name);
        Self::begin_with(state, service, text, moment)
    }

    /// The release of a service whose journal is lost: nobody knows what weight its canary had last, so it has none,
    /// whatever the file says.
    #[must_use]
    pub fn begin_anew(service: Arc<Service>, moment: &Moment) -> (Self, Change) {
        let state = State { canary: None, ..State::from_file(&service) };
        let text = format!("{}: the journal is lost: all traffic is on {}", service.name, state.stable);
        Self::begin_with(state, service, text, moment)
    }

    fn begin_with(state: State, service: Arc<Service>, text: String, moment: &Moment) -> (Self, Change) {
        let mut release = Self::with_state(state, service, moment);
        let next = release.state.clone();
        let mut change = release.at_once(moment, next, vec![News { kind: "reload", text }]);
        // Nobody asked for this, and the installation of the configuration tells it.
        change.effects.retain(|effect| matches!(effect, Effect::Journal { .. }));
        (release, change)
    }

    /// The release of a service as the journal left it. A running rollout goes on where it stood, its step's hold
    /// begun anew; `pause` says why it is paused instead, where part of the journal was unreadable. Where the file has
    /// changed meanwhile, its new values are taken over.
    #[must_use]
    pub fn restore(service: Arc<Service>, state: State, pause: Option<&str>, moment: &Moment) -> (Self, Change) {
        let mut release = Self::with_state(state, service, moment);
        let mut change = release.drop_what_is_gone(moment);
        if let (Some(reason), Some(_)) = (pause, release.state.running()) {
            let text = format!("paused: {reason}");
            let next = release.paused(reason.to_owned());
            change = change.then(release.at_once(moment, next, vec![News { kind: "warning", text }]));
        }
        let taken_over = release.take_over_file(moment);
        (release, change.then(taken_over))
    }

    fn with_state(state: State, service: Arc<Service>, moment: &Moment) -> Self {
        // What was counted before a restart may still stand, and is not counted again at once.
        let counted = state.running().filter(|rollout| rollout.would_have_rolled_back > 0);
        let counted = counted.map(|rollout| Counted { at: moment.elapsed, step: rollout.step, stands: true });
        Self {
            service,
            last_revision: state.revision,
            state,
            proposal: None,
            step_began: moment.elapsed,
            waits_for: None,
            hold_acknowledged: false,
            told: None,
            counted,
            reading: Reading::default(),
            readiness: Readiness::default(),
            warnings: Vec::new(),
        }
    }

    /// The configuration may have lost versions while no process watched. Fail towards stable.
    fn drop_what_is_gone(&mut self, moment: &Moment) -> Change {
        let mut change = Change::default();
        let gone = |name: &Name| !self.service.versions.iter().any(|version| version.name == *name);
        let rollout_gone = self.state.running().is_some_and(|rollout| rollout.versions().any(gone));
        let canary_gone = self.state.canary.as_ref().is_some_and(|(canary, _)| gone(canary));
        let stable_gone = gone(&self.state.stable);
        if rollout_gone {
            let reason = "a version of it is no longer in the configuration".to_owned();
            let text = format!("the rollout was aborted: {reason}");
            self.warnings.push(text.clone());
            let next = self.ended(Phase::Aborted, reason);
            change = self.at_once(moment, next, vec![News { kind: "warning", text }]);
        }
        if stable_gone || canary_gone {
            let mut next = self.state.clone();
            next.canary = next.canary.filter(|_| !canary_gone && !stable_gone);
            if stable_gone {
                next.stable = self.service.stable.clone();
            }
            let text = format!(
                "a version that had traffic is no longer in the configuration: {} has all of it now",
                next.stable
            );
            self.warnings.push(text.clone());
            change = change.then(self.at_once(moment, next, vec![News { kind: "warning", text }]));
        }
        change
    }

    /// Whether this service may be configured like that now; `None` asks whether it may be removed. Asked of every
    /// service before any of them changes.
    pub fn may_become(&self, moment: &Moment, new: Option<&Service>) -> Result<(), Refused> {
        let conflict = |detail| Err(Refused::Conflict { detail, present: None });
        let name = &self.service.name;
        let Some(new) = new else {
            return match self.state.running().or_else(|| self.proposed().and_then(State::running)) {
                None => Ok(()),
                Some(rollout) => conflict(format!(
                    "{name}: a rollout of {} is running, so the service cannot be removed: abort or promote it first",
                    rollout.canary
                )),
            };
        };
        let missing = |version: &Name| !new.versions.iter().any(|known| known.name == *version);
        if let Some(rollout) = self.state.running().or_else(|| self.proposed().and_then(State::running)) {
            if let Some(version) = rollout.versions().find(|version| missing(version)) {
                return conflict(format!(
                    "{name}: version {version} is part of a running rollout and cannot be removed: \
                     abort or promote it first"
                ));
            }
            if new.stable != self.state.file.stable {
                return conflict(format!(
                    "{name}: the stable cannot be changed to {} while a rollout of {} is running: \
                     abort or promote it first",
                    new.stable, rollout.canary
                ));
            }
        }
        if new.stable == self.state.file.stable && missing(&self.state.stable) {
            return conflict(format!(
                "{name}: version {} is the stable in force and cannot be removed: \
                 make another the stable first (change 'stable', or undo)",
                self.state.stable
            ));
        }
        let next = self.with_values_of(FileValues::of(new));
        if self.raises_alone(&next) { self.may_propose(moment) } else { Ok(()) }
    }

    /// Why a service whose state this is may not be configured like that; `None` asks whether it may be removed.
    #[must_use]
    pub fn refuses(state: &State, name: &Name, service: Option<&Service>, moment: &Moment) -> Option<String> {
        let Some(service) = service else {
            let rollout = state.running()?;
            return Some(format!(
                "{name}: a rollout of {} is running, so the service cannot be removed: abort or promote it first",
                rollout.canary
            ));
        };
        let release = Self::with_state(state.clone(), Arc::new(service.clone()), moment);
        release.may_become(moment, Some(service)).err().map(|refused| refused.to_string())
    }

    /// Takes over a configuration that [`may_become`](Self::may_become) allowed.
    pub(super) fn file_changed(&mut self, moment: &Moment, service: Arc<Service>) -> Change {
        let reconfigured = *self.service != *service;
        let before = std::mem::replace(&mut self.service, service);
        let mut change = Change::default();
        if reconfigured {
            let mut next = self.state.clone();
            next.canary = next.canary.filter(|(canary, _)| self.knows(canary));
            if !self.knows(&next.stable) {
                next.stable = self.service.stable.clone();
                next.canary = None;
            }
            let text = format!("{} has a new configuration", self.service.name);
            let cause = vec![News { kind: "reload", text }];
            change = self.at_once_with(moment, next, cause, true);
        }
        if let Some(rollout) = self.state.running()
            && endpoints_of(&self.service, &rollout.canary) > endpoints_of(&before, &rollout.canary)
        {
            change.effects.push(Effect::WarmUpAgain);
        }
        change.then(self.take_over_file(moment))
    }

    /// The state with the file's new values in it. A running rollout is in charge of the split until it ends.
    fn with_values_of(&self, file: FileValues) -> State {
        let mut next = self.state.clone();
        let stable_changed = next.file.stable != file.stable;
        let canary_changed = next.file.canary != file.canary;
        next.file = file;
        if self.state.running().is_some() {
            return next;
        }
        // Each value wins when it changes itself: a file that is brought up to date with a promotion does not bring back
        // the canary that it still names.
        if stable_changed {
            next.stable = next.file.stable.clone();
        }
        if canary_changed {
            next.canary = next.file.exposed();
        }
        next.canary = next.canary.filter(|(canary, _)| *canary != next.stable);
        next
    }

    /// Whether the next state is the present one with more canary: the one change of the file that waits for the disk.
    fn raises_alone(&self, next: &State) -> bool {
        let raises = match (&next.canary, &self.state.canary) {
            (Some((canary, weight)), Some((before, had))) => canary != before || weight > had,
            (Some(_), None) => true,
            (None, _) => false,
        };
        raises && next.stable == self.state.stable
    }

    fn take_over_file(&mut self, moment: &Moment) -> Change {
        let file = FileValues::of(&self.service);
        if self.state.file == file {
            return Change::default();
        }
        let next = self.with_values_of(file);
        if let Some(rollout) = self.state.running() {
            let text = format!(
                "the rollout of {} decides the split; the file's new split is not put in force, now or after it: \
                     set the weight by hand, or change the file again once it has ended",
                rollout.canary
            );
            return self.at_once(moment, next, vec![News { kind: "warning", text }]);
        }
        if (&next.stable, &next.canary) == (&self.state.stable, &self.state.canary) {
            let text = "the file's new values are noted; the split stays as it is".to_owned();
            return self.at_once(moment, next, vec![News { kind: "reload", text }]);
        }
        let text = match &next.canary {
            Some((canary, weight)) => format!("the file's split is in force: {weight} for {canary}"),
            None => format!("the file's split is in force: {} has all traffic", next.stable),
        };
        let news = vec![News { kind: "weight", text }];
        if !self.raises_alone(&next) {
            return self.at_once(moment, next, news);
        }
        // Refused while the disk refuses. The values are then not remembered, and the next reload or start finds
        // them new again.
        self.propose(moment, By::File, next, news).unwrap_or_default()
    }
}

fn endpoints_of(service: &Service, version: &Name) -> usize {
    service.versions.iter().find(|known| known.name == *version).map_or(0, |known| known.endpoints.len())
}
