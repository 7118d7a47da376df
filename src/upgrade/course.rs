//! What becomes of each service's traffic, as the process that decides tells those that drain; and what those still have.
//!
//! A course is the whole state of one service, so that whoever heard the last one needs no other. Names that the other
//! process does not know say nothing to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use config::{CookieMatch, HeaderMatch, Match, Name, Service, Weight};
use control::plane::Split;
use serde::{Deserialize, Serialize};

/// What becomes of a service's traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Course {
    pub(super) service: String,
    /// The versions that it has; none where it is gone.
    pub(super) versions: BTreeSet<String>,
    /// How its traffic is divided; none where it is gone.
    split: Option<Division>,
    /// Versions that have no traffic any more and whose time is over: what lasts there ends.
    over: BTreeSet<String>,
}

/// A split, as it is told. Copies are nobody's business but of who decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Division {
    stable: String,
    canary: Option<Share>,
    baseline: Option<Share>,
    matched: Option<Who>,
    generation: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Share {
    version: String,
    weight: u16,
}

/// Who goes to the canary whatever its weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Who {
    headers: Vec<(String, Option<String>)>,
    cookie: Option<(String, Option<String>)>,
    judged: bool,
}

/// What a process that drains still has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Left {
    /// Client connections that are open.
    pub(super) connections: u64,
    /// Requests and tunnels under way, of all versions.
    pub(super) in_flight: u64,
    /// So long until the rest is cut.
    pub(super) left_ms: u64,
    /// Where they are; of very many versions those that have the most.
    pub(super) versions: Vec<There>,
}

/// What is at a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct There {
    pub(super) service: String,
    pub(super) version: String,
    /// Requests and tunnels under way.
    pub(super) in_flight: u64,
    /// Exchanges that last.
    pub(super) lasting: u64,
    /// Those of them that were ended by us, and are over, since that process began.
    pub(super) ended: u64,
}

/// So many versions at most are told of, so that what is told fits into a message.
const MOST_TOLD: usize = 200;

impl Left {
    /// What there is in all, and at these versions.
    pub(super) fn new(connections: u64, left_ms: u64, mut versions: Vec<There>) -> Self {
        let in_flight = versions.iter().map(|there| there.in_flight).sum();
        versions.retain(|there| there.in_flight.max(there.lasting).max(there.ended) > 0);
        versions.sort_by_key(|there| std::cmp::Reverse((there.lasting, there.in_flight)));
        versions.truncate(MOST_TOLD);
        Self { connections, in_flight, left_ms, versions }
    }
}

impl Course {
    /// The service and its split, where both can be understood.
    pub(super) fn split(&self) -> Option<(Name, Split)> {
        let Division { stable, canary, baseline, matched, generation } = self.split.as_ref()?;
        let share = |share: &Share| Some((Name::new(&share.version)?, Weight::from_basis_points(share.weight).ok()?));
        let split = Split {
            stable: Name::new(stable)?,
            canary: canary.as_ref().and_then(share),
            baseline: baseline.as_ref().and_then(share),
            matched: matched.as_ref().and_then(Who::proven).map(Arc::new),
            mirror: None,
            paths: Arc::default(),
            generation: *generation,
        };
        Some((Name::new(&self.service)?, split))
    }

    /// The versions whose time is over.
    pub(super) fn over(&self) -> impl Iterator<Item = Name> + '_ {
        self.over.iter().filter_map(|version| Name::new(version))
    }
}

impl Division {
    fn of(split: &Split) -> Self {
        let share =
            |(version, weight): &(Name, Weight)| Share { version: version.to_string(), weight: weight.basis_points() };
        Self {
            stable: split.stable.to_string(),
            canary: split.canary.as_ref().map(share),
            baseline: split.baseline.as_ref().map(share),
            matched: split.matched.as_deref().map(Who::of),
            generation: split.generation,
        }
    }

    /// Whether requests may begin at this version.
    fn has(&self, version: &str) -> bool {
        let canary = self.canary.as_ref();
        let is_drawn = canary.is_some_and(|canary| canary.weight > 0);
        let is = |share: Option<&Share>| share.is_some_and(|share| share.version == version && share.weight > 0);
        self.stable == version
            || is(canary)
            || is_drawn && is(self.baseline.as_ref())
            || self.matched.is_some() && canary.is_some_and(|canary| canary.version == version)
    }
}

impl Who {
    fn of(matched: &Match) -> Self {
        let headers = matched.headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect();
        let cookie = matched.cookie.as_ref().map(|cookie| (cookie.name.clone(), cookie.value.clone()));
        Self { headers, cookie, judged: matched.judged }
    }

    /// None where it matches everybody.
    fn proven(&self) -> Option<Match> {
        let header =
            |(name, value): &(String, Option<String>)| HeaderMatch { name: name.clone(), value: value.clone() };
        let headers: Vec<_> = self.headers.iter().map(header).collect();
        let cookie = self.cookie.as_ref();
        let cookie = cookie.map(|(name, value)| CookieMatch { name: name.clone(), value: value.clone() });
        let wants_something = cookie.is_some() || !headers.is_empty();
        wants_something.then_some(Match { headers, cookie, judged: self.judged })
    }
}

/// The courses of all services, as of now, and in which order they changed.
#[derive(Debug, Default)]
pub(super) struct Courses {
    of: BTreeMap<Name, (u64, Course)>,
    changes: u64,
}

impl Courses {
    /// These services are in force with these splits, and no others.
    pub(super) fn install(&mut self, services: &[Service], splits: &HashMap<Name, Split>) {
        for service in services {
            let Some(split) = splits.get(&service.name).map(Division::of) else { continue };
            let versions: BTreeSet<_> = service.versions.iter().map(|version| version.name.to_string()).collect();
            self.change(&service.name, |course| {
                course.over.retain(|version| versions.contains(version) && !split.has(version));
                (course.versions, course.split) = (versions, Some(split));
            });
        }
        let gone: Vec<Name> =
            self.of.keys().filter(|name| services.iter().all(|service| service.name != **name)).cloned().collect();
        for name in gone {
            self.change(&name, |course| {
                (course.versions, course.split, course.over) = (BTreeSet::new(), None, BTreeSet::new());
            });
        }
    }

    /// A service has this split.
    pub(super) fn steer(&mut self, service: &Name, split: &Split) {
        let split = Division::of(split);
        self.change(service, |course| {
            course.over.retain(|version| !split.has(version));
            course.split = Some(split);
        });
    }

    /// The time of a version that has left is over.
    pub(super) fn end(&mut self, service: &Name, version: &Name) {
        self.change(service, |course| {
            if course.split.as_ref().is_some_and(|split| !split.has(version.as_str())) {
                course.over.insert(version.to_string());
            }
        });
    }

    /// What changed after so many changes, in this order; each with how many there were then.
    pub(super) fn since(&self, changes: u64) -> Vec<(u64, Course)> {
        if changes == self.changes {
            return Vec::new();
        }
        let mut changed: Vec<_> = self.of.values().filter(|(at, _)| *at > changes).cloned().collect();
        changed.sort_by_key(|(at, _)| *at);
        changed
    }

    fn change(&mut self, service: &Name, change: impl FnOnce(&mut Course)) {
        let fresh = || {
            let (versions, over) = (BTreeSet::new(), BTreeSet::new());
            (0, Course { service: service.to_string(), versions, split: None, over })
        };
        let (at, course) = self.of.entry(service.clone()).or_insert_with(fresh);
        let before = course.clone();
        change(course);
        if *at == 0 || *course != before {
            self.changes += 1;
            *at = self.changes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "services: { shop: { stable: v1, versions: { v1: { endpoints: ['a:1'] }, v2: { endpoints: \
        ['b:1'] } } }, api: { path: /api, versions: { v1: { endpoints: ['c:1'] } } } }";

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn services() -> Vec<Service> {
        config::parse(TEXT, "test.yaml").unwrap().configuration.services
    }

    fn split(basis_points: u16, matched: bool) -> Split {
        let headers = vec![HeaderMatch { name: "x-beta".to_owned(), value: None }];
        let who = Match { headers, cookie: None, judged: false };
        Split {
            stable: name("v1"),
            canary: Some((name("v2"), Weight::from_basis_points(basis_points).unwrap())),
            baseline: None,
            matched: matched.then(|| Arc::new(who)),
            mirror: None,
            paths: Arc::default(),
            generation: 7,
        }
    }

    fn installed(shop: &Split) -> Courses {
        let mut courses = Courses::default();
        let api = Split { canary: None, ..shop.clone() };
        courses.install(&services(), &[(name("shop"), shop.clone()), (name("api"), api)].into());
        courses
    }

    /// The course of `shop`, as it is heard at the other end.
    fn shop(courses: &Courses) -> Course {
        let (_, course) = courses.since(0).into_iter().find(|(_, course)| course.service == "shop").unwrap();
        serde_json::from_slice(&serde_json::to_vec(&course).unwrap()).unwrap()
    }

    #[test]
    fn a_split_is_at_the_other_end_what_it_is_here() {
        for split in [split(500, false), split(0, true)] {
            assert_eq!(shop(&installed(&split)).split(), Some((name("shop"), split)));
        }
    }

    #[test]
    fn what_did_not_change_is_not_told_again_and_what_did_is_told_in_order() {
        let mut courses = installed(&split(500, false));
        let (all, _) = *courses.since(0).last().unwrap();
        assert_eq!((all, courses.since(all).len()), (2, 0));
        courses.steer(&name("shop"), &split(500, false));
        assert!(courses.since(all).is_empty());
        courses.steer(&name("shop"), &split(0, false));
        let changed: Vec<_> = courses.since(all).into_iter().map(|(at, course)| (at, course.service)).collect();
        assert_eq!(changed, [(3, "shop".to_owned())]);
    }

    #[test]
    fn the_time_of_a_version_is_over_until_it_has_traffic_again() {
        let over = |courses: &Courses| shop(courses).over().map(|name| name.to_string()).collect::<Vec<_>>();
        let mut courses = installed(&split(500, false));
        courses.end(&name("shop"), &name("v2"));
        assert!(over(&courses).is_empty(), "it has traffic");
        courses.steer(&name("shop"), &split(0, false));
        courses.end(&name("shop"), &name("v2"));
        assert_eq!(over(&courses), ["v2"]);
        courses.steer(&name("shop"), &split(0, true));
        assert!(over(&courses).is_empty(), "people go there whatever its weight");
    }

    #[test]
    fn a_service_that_a_reload_removed_has_no_versions_left() {
        let mut courses = installed(&split(500, false));
        courses.install(&services()[1..], &[(name("api"), split(0, false))].into());
        let shop = shop(&courses);
        assert_eq!((shop.versions.len(), shop.split()), (0, None));
    }

    #[test]
    fn of_very_many_versions_those_are_told_that_have_the_most_and_all_are_counted() {
        let there = |at: u64| There {
            service: "s".repeat(63),
            version: format!("v{at:062}"),
            in_flight: at % 1_000,
            lasting: 0,
            ended: u64::MAX,
        };
        let left = Left::new(3, 1_500, (0..5_000).map(there).collect());
        assert_eq!((left.in_flight, left.versions.len()), (5 * 499_500, MOST_TOLD));
        assert!(left.versions.iter().all(|there| there.in_flight >= 960));
        assert!(serde_json::to_vec(&left).unwrap().len() < 60 * 1024);
    }
}
