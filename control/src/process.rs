//! The process itself as people see it: whether it serves, upgrades or drains, and what came of the last upgrade.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// What the executable tells of itself. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Process(Arc<Mutex<ProcessView>>);

impl Process {
    /// A process of this number that runs this version of the executable, and serves.
    #[must_use]
    pub fn new(pid: u32, version: &str) -> Self {
        Self(Arc::new(Mutex::new(ProcessView { pid, version: version.to_owned(), ..ProcessView::default() })))
    }

    /// How it stands now.
    #[must_use]
    pub fn view(&self) -> ProcessView {
        self.0.lock().clone()
    }

    /// It serves, and does nothing else.
    pub fn serves(&self) {
        self.0.lock().phase = ProcessPhase::Serving;
    }

    /// A new process is on its way.
    pub fn upgrades(&self) {
        self.0.lock().phase = ProcessPhase::Upgrading;
    }

    /// It ends gently, and this is left.
    pub fn drains(&self, left: DrainView) {
        let mut view = self.0.lock();
        view.phase = ProcessPhase::Draining;
        view.drain = Some(left);
    }

    /// These processes served before it, and still drain.
    pub fn succeeds(&self, predecessors: Vec<PredecessorView>) {
        self.0.lock().predecessors = predecessors;
    }

    /// An upgrade is over; this process serves on where it failed.
    pub fn upgraded(&self, upgrade: UpgradeView) {
        let mut view = self.0.lock();
        view.phase = ProcessPhase::Serving;
        view.last_upgrade = Some(upgrade);
    }
}

/// A process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct ProcessView {
    /// Its number.
    pub pid: u32,
    /// The version of the executable.
    pub version: String,
    /// What it does.
    pub phase: ProcessPhase,
    /// What is left of a drain; none while it does not drain.
    pub drain: Option<DrainView>,
    /// What came of the last upgrade: of the one that brought this process, or of one that failed since. None where
    /// there was none.
    pub last_upgrade: Option<UpgradeView>,
    /// Processes that served before this one, and still drain. As of the last second.
    #[serde(default)]
    pub predecessors: Vec<PredecessorView>,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessPhase {
    /// It serves.
    #[default]
    Serving,
    /// It serves, and a new process gets ready to take over.
    Upgrading,
    /// It ends, as soon as nothing is under way.
    Draining,
}

/// What is left of a drain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrainView {
    /// Client connections that are open.
    pub connections: u64,
    /// Requests and tunnels under way, by service; services that have none are left out.
    pub requests: BTreeMap<String, u64>,
    /// Seconds until what is left is cut.
    pub left_s: f64,
}

/// A process that handed over at an upgrade, and drains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredecessorView {
    /// Its number.
    pub pid: u32,
    /// Client connections that are open there.
    pub connections: u64,
    /// Requests and tunnels under way there.
    pub in_flight: u64,
    /// The same by service and version; versions that have none are left out, and of very many those that have least.
    pub requests: BTreeMap<String, BTreeMap<String, VersionLeft>>,
    /// Seconds until what is left there is cut.
    pub left_s: f64,
}

/// What is left at a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct VersionLeft {
    /// Requests and tunnels under way.
    pub in_flight: u64,
    /// Those that last (WebSocket, streams).
    pub long_lived: u64,
}

/// What came of an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeView {
    /// When it was over, in RFC 3339.
    pub at: String,
    /// Why it failed, in words; none where it did not.
    pub failed: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_upgrade_is_remembered_while_the_process_serves_on_and_drains() {
        let process = Process::new(7, "1.2.3");
        process.upgrades();
        assert_eq!(process.view().phase, ProcessPhase::Upgrading);
        let failed = UpgradeView { at: "now".to_owned(), failed: Some("broken".to_owned()) };
        process.upgraded(failed.clone());
        assert_eq!((process.view().phase, process.view().last_upgrade), (ProcessPhase::Serving, Some(failed.clone())));
        let left = DrainView { connections: 2, requests: BTreeMap::new(), left_s: 1.5 };
        process.drains(left.clone());
        let view = process.view();
        assert_eq!((view.phase, view.drain, view.last_upgrade), (ProcessPhase::Draining, Some(left), Some(failed)));
    }

    #[test]
    fn what_a_process_of_an_older_version_tells_is_understood() {
        let told = r#"{"pid": 7, "version": "0.1.0", "phase": "serving", "drain": null, "last_upgrade": null}"#;
        let view: ProcessView = serde_json::from_str(told).unwrap();
        assert_eq!((view.pid, view.predecessors.len()), (7, 0));
    }
}
