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
    /// `lasts` says whether a version has such connections: it may have come and left between two looks.
    pub(super) fn turn(
        &mut self,
        now: Now,
        service: &Service,
        state: &State,
        lasts: impl Fn(&Name) -> bool,
    ) -> Vec<(Name, Duration)> {
        let mut due = Vec::new();
        self.0.retain(|name, _| service.versions.iter().any(|version| version.name == *name));
        for version in &service.versions {
            let name = &version.name;
            if has_traffic(state, name) {
                self.0.insert(name.clone(), Stay::Here(drain_of(service, state, name)));
                continue;
            }
            if !self.0.contains_key(name) && lasts(name) {
                self.0.insert(name.clone(), Stay::Here(drain_of(service, state, name)));
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
        let plane = &self.plane;
        for (name, served) in &mut self.services {
            let release = &served.release;
            let lasts = |version: &Name| plane.lasting(name, version) > 0;
            for (version, ago) in served.leaving.turn(now, release.service(), release.state(), lasts) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::State;

    const TEXT: &str = "services: { shop: { stable: v1, canary: v2, weight: 5%, plan: { drain: 10s }, versions: { \
        v1: { endpoints: ['a:1'] }, v2: { endpoints: ['b:1'] }, v3: { endpoints: ['c:1'] } } } }";

    fn service(text: &str) -> Service {
        config::parse(text, "test.yaml").unwrap().configuration.services.remove(0)
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn at(second: u64) -> Now {
        let wall = Timestamp::from_second(1_795_310_400 + i64::try_from(second).unwrap()).unwrap();
        Now { elapsed: Duration::from_secs(second), wall }
    }

    /// The state of a split that gives v2 so much.
    fn split(service: &Service, basis_points: u16) -> State {
        let mut state = State::from_file(service);
        let weight = config::Weight::from_basis_points(basis_points).unwrap();
        state.canary = (basis_points > 0).then(|| (name("v2"), weight));
        state
    }

    fn asked(leaving: &mut Leaving, second: u64, service: &Service, state: &State) -> Vec<String> {
        leaving.turn(at(second), service, state, |_| false).into_iter().map(|(name, _)| name.to_string()).collect()
    }

    #[test]
    fn what_came_and_left_between_two_looks_is_asked_as_well() {
        let service = service(TEXT);
        let mut leaving = Leaving::default();
        let gone = split(&service, 0);
        let lasts = |version: &Name| version.as_str() == "v2";
        let mut due = |second: u64| leaving.turn(at(second), &service, &gone, lasts).len();
        assert_eq!([due(0), due(9), due(10), due(11)], [0, 0, 1, 0]);
    }

    #[test]
    fn what_has_left_is_asked_once_when_its_time_is_over() {
        let service = service(TEXT);
        let mut leaving = Leaving::default();
        assert!(asked(&mut leaving, 0, &service, &split(&service, 500)).is_empty());
        let gone = split(&service, 0);
        for second in 1..11 {
            assert!(asked(&mut leaving, second, &service, &gone).is_empty(), "at {second}");
        }
        let view = leaving.view(&name("v2"), Duration::from_secs(5)).unwrap();
        assert_eq!((view.asked, view.asked_in_s, view.since.as_str()), (false, Some(6.0), "2026-11-22T01:20:01Z"));
        assert_eq!(asked(&mut leaving, 11, &service, &gone), ["v2"]);
        assert!(asked(&mut leaving, 12, &service, &gone).is_empty(), "once");
        let view = leaving.view(&name("v2"), Duration::from_secs(12)).unwrap();
        assert_eq!((view.asked, view.asked_in_s), (true, None));
        assert_eq!([name("v1"), name("v3")].map(|name| leaving.view(&name, Duration::ZERO)), [None, None]);
    }

    #[test]
    fn what_comes_back_in_time_is_asked_nothing_and_has_its_whole_time_the_next_time() {
        let service = service(TEXT);
        let (here, gone) = (split(&service, 500), split(&service, 0));
        let mut leaving = Leaving::default();
        for (second, state) in [(0, &here), (1, &gone), (9, &gone), (10, &here), (11, &gone), (20, &gone)] {
            assert!(asked(&mut leaving, second, &service, state).is_empty(), "at {second}");
        }
        assert_eq!(asked(&mut leaving, 21, &service, &gone), ["v2"]);
    }

    #[test]
    fn a_stable_that_another_took_the_place_of_has_left_too() {
        let service = service(TEXT);
        let mut leaving = Leaving::default();
        asked(&mut leaving, 0, &service, &split(&service, 500));
        let promoted = State { stable: name("v2"), ..split(&service, 0) };
        assert!(asked(&mut leaving, 1, &service, &promoted).is_empty());
        assert_eq!(asked(&mut leaving, 11, &service, &promoted), ["v1"]);
        assert_eq!(leaving.view(&name("v2"), Duration::ZERO), None, "it has all of it");
    }

    #[test]
    fn never_is_never_and_no_time_is_at_once() {
        let never = service(&TEXT.replace("drain: 10s", "drain: never"));
        let mut leaving = Leaving::default();
        asked(&mut leaving, 0, &never, &split(&never, 500));
        assert!(asked(&mut leaving, 1, &never, &split(&never, 0)).is_empty());
        assert!(asked(&mut leaving, 1_000_000, &never, &split(&never, 0)).is_empty());
        let view = leaving.view(&name("v2"), Duration::from_secs(1_000_000)).unwrap();
        assert_eq!((view.asked, view.asked_in_s), (false, None));
        let at_once = service(&TEXT.replace("drain: 10s", "drain: 0s"));
        let mut leaving = Leaving::default();
        asked(&mut leaving, 0, &at_once, &split(&at_once, 500));
        assert_eq!(asked(&mut leaving, 1, &at_once, &split(&at_once, 0)), ["v2"]);
    }

    #[test]
    fn a_version_that_never_had_traffic_has_not_left_and_one_that_the_file_lost_is_forgotten() {
        let service = service(TEXT);
        let mut leaving = Leaving::default();
        let gone = split(&service, 0);
        assert!((0..100).all(|second| asked(&mut leaving, second, &service, &gone).is_empty()));
        asked(&mut leaving, 100, &service, &split(&service, 500));
        let mut without = service.clone();
        without.versions.retain(|version| version.name != name("v2"));
        assert!(asked(&mut leaving, 200, &without, &gone).is_empty());
        assert_eq!(leaving.view(&name("v2"), Duration::from_secs(200)), None);
    }
}
