//! Connections that last (WebSocket, streams) on a version that has left: they stay until they end, or until its plan's
//! `drain` is over. Then they are asked to end, once.

use std::collections::BTreeMap;
use std::time::Duration;

use config::{Name, Plan, Service};
use jiff::Timestamp;

use super::Now;
use super::core::ControlCore;
use crate::rollout::State;
use crate::view::LeavingView;

/// The versions of one service: those that have traffic, and those that had.
#[derive(Debug, Default)]
pub(super) struct Leaving(BTreeMap<Name, Stay>);

/// How a version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    /// It has traffic. Should it leave, its connections may stay for so long: for ever where that is none.
    Here(Option<Duration>),
    /// It has none any more.
    Left {
        at: Duration,
        wall: Timestamp,
        drain: Option<Duration>,
        /// Whether its connections were asked to end.
        asked: bool,
    },
}

impl Leaving {
    /// Looks who has traffic now; gives the versions whose connections are to be asked to end, with how long ago they left.
    pub(super) fn turn(&mut self, now: Now, service: &Service, state: &State) -> Vec<(Name, Duration)> {
        let mut due = Vec::new();
        self.0.retain(|name, _| service.versions.iter().any(|version| version.name == *name));
        for version in &service.versions {
            let name = &version.name;
            if has_traffic(state, name) {
                self.0.insert(name.clone(), Stay::Here(drain_of(service, state, name)));
                continue;
            }
            let Some(stay) = self.0.get_mut(name) else { continue };
            if let Stay::Here(drain) = *stay {
                *stay = Stay::Left { at: now.elapsed, wall: now.wall, drain, asked: false };
            }
            if let Stay::Left { at, drain: Some(drain), asked, .. } = stay
                && !*asked
                && now.elapsed.saturating_sub(*at) >= *drain
            {
                *asked = true;
                due.push((name.clone(), now.elapsed.saturating_sub(*at)));
            }
        }
        due
    }

    /// How a version that has left stands, for people.
    pub(super) fn view(&self, version: &Name, elapsed: Duration) -> Option<LeavingView> {
        match self.0.get(version)? {
            Stay::Here(_) => None,
            Stay::Left { at, wall, drain, asked } => {
                let left = |drain: Duration| drain.saturating_sub(elapsed.saturating_sub(*at)).as_secs_f64();
                let asked_in_s = drain.filter(|_| !asked).map(left);
                Some(LeavingView { since: wall.to_string(), asked: *asked, asked_in_s })
            }
        }
    }
}

/// Whether requests may begin at this version: by its weight, or of those who go to the canary whatever that is.
fn has_traffic(state: &State, version: &Name) -> bool {
    let matched = state.running().filter(|rollout| rollout.matched().is_some());
    *version == state.stable
        || state.share_of(version) > config::Weight::ZERO
        || matched.is_some_and(|rollout| rollout.canary == *version)
}

/// How long connections that last may stay on this version once it has left: by the plan of the latest rollout, where that
/// has to do with it, and else by the service's own.
fn drain_of(service: &Service, state: &State, version: &Name) -> Option<Duration> {
    let rollout = state.rollout.as_ref().filter(|rollout| rollout.versions().any(|other| other == version));
    let plan: &Plan = rollout.map_or(&service.plan, |rollout| &rollout.plan);
    plan.drain
}

impl ControlCore {
    /// A second is over: asks the connections to end whose version has left, and whose time is over.
    pub(super) fn end_what_has_left(&mut self, now: Now) {
        let mut asked = Vec::new();
        for (name, served) in &mut self.services {
            let release = &served.release;
            for (version, ago) in served.leaving.turn(now, release.service(), release.state()) {
                asked.push((name.clone(), version, ago));
            }
        }
        for (service, version, ago) in asked {
            let lasting = self.plane.lasting(&service, &version);
            self.plane.end_lasting(&service, &version);
            if lasting > 0 {
                let connections = if lasting == 1 { "connection" } else { "connections" };
                let text = format!(
                    "{version}: {lasting} long-lived {connections} asked to end, {} s after it left",
                    ago.as_secs()
                );
                self.tell(now, Some(&service), "drain", text);
            }
        }
    }
}
