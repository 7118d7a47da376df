//! What is saved beside the journal, and how often.

use std::collections::HashMap;
use std::time::Duration;

use config::Name;
use jiff::Timestamp;

use super::Now;
use super::core::ControlCore;
use super::evidence::SavedTests;
use super::rounds::Rounds;
use super::served::Served;
use crate::journal::Answer;

/// The tests of running rollouts: a process that is killed may lose so much of them.
const EACH_SECOND: Duration = Duration::from_secs(1);
/// What is known of stable traffic while no rollout runs: it changes slowly, and costs only power when it is lost.
const EACH_MINUTE: Duration = Duration::from_secs(60);

/// The rounds in which things are saved.
#[derive(Debug)]
pub(super) struct Saving {
    judges: Rounds,
    backgrounds: Rounds,
}

impl Saving {
    pub(super) const fn new() -> Self {
        Self { judges: Rounds::new(EACH_SECOND), backgrounds: Rounds::new(EACH_MINUTE) }
    }

    /// What the journal answers: a file that it could not write is given again.
    pub(super) fn answered(&mut self, answer: &Answer) {
        match answer {
            Answer::EvidenceNotSaved { .. } => self.judges.again(),
            Answer::BackgroundNotSaved { .. } => self.backgrounds.again(),
            Answer::EvidenceSaved { .. }
            | Answer::BackgroundSaved
            | Answer::Journalled { .. }
            | Answer::Failed { .. }
            | Answer::Rewritten { .. }
            | Answer::NotRewritten { .. }
            | Answer::Closed => {}
        }
    }

    /// A rollout is over, and what it learnt of stable traffic is in no file yet.
    pub(super) fn hasten(&mut self) {
        self.backgrounds.hasten();
    }
}

impl ControlCore {
    /// Saves what a second allows.
    pub(super) fn save(&mut self, now: Now) {
        if self.stopping.is_some() {
            return;
        }
        let judges: HashMap<&str, &Served> = running(self.services.values()).collect();
        if !judges.is_empty() {
            let keys = judges.keys().copied();
            let bytes = self.saving.judges.go_on(now.elapsed, keys, |rollout| encoded(judges.get(rollout)?, now.wall));
            if let Some(bytes) = bytes {
                self.link.save_evidence(bytes, now.wall);
            }
        }
        let keys = self.services.keys().map(Name::as_str);
        let bytes = self.saving.backgrounds.go_on(now.elapsed, keys, |service| idle(self.services.get(service)?));
        if let Some(bytes) = bytes {
            self.link.save_background(bytes);
        }
    }

    /// Everything that is to survive an orderly end: the evidence, and what is known of stable traffic.
    pub(super) fn saved_whole(&mut self, now: Now) -> (Vec<u8>, Vec<u8>) {
        let judges: HashMap<&str, &Served> = running(self.services.values()).collect();
        let encode = |rollout: &str| encoded(judges.get(rollout)?, now.wall);
        let evidence = self.saving.judges.finish(judges.keys().copied(), encode);
        let keys = self.services.keys().map(Name::as_str);
        let background = self.saving.backgrounds.finish(keys, |service| idle(self.services.get(service)?));
        (evidence, background)
    }
}

fn running<'a>(services: impl Iterator<Item = &'a Served>) -> impl Iterator<Item = (&'a str, &'a Served)> {
    services.filter_map(|served| {
        served.judged.as_ref()?;
        Some((served.release.state().running()?.id.as_str(), served))
    })
}

fn encoded(served: &Served, at: Timestamp) -> Option<Vec<u8>> {
    // Not serialisable would mean tests that begin anew after a restart, which is said there.
    let judged = served.judged.as_ref()?;
    serde_json::to_vec(&SavedTests { at: at.as_millisecond(), place: judged.place(), judge: judged.judge() }).ok()
}

/// While a rollout runs its tests have what is known; what was known before it stays saved.
fn idle(served: &Served) -> Option<Vec<u8>> {
    if served.judged.is_some() { None } else { served.known.encoded() }
}
