//! How the canary's endpoints are, and who found no room: looked at once a second, and when a person asks for a rollout.

use std::collections::HashMap;
use std::sync::Arc;

use config::{Endpoint, Name};
use meter::Attempt;

use super::served::Served;
use crate::plane::DataPlane;
use crate::rollout::{Full, Readiness, Room, Unwell};

/// Who found no room, by version.
#[derive(Debug, Default)]
pub(super) struct Rooms(HashMap<Name, Room>);

impl Rooms {
    /// What found no room at a version in the last minute; none where everything did.
    pub(super) fn full(&self, version: &Name) -> Option<Full> {
        self.0.get(version)?.full()
    }
}

impl Served {
    /// A second is over: counts who found no room in it, and looks at the endpoints of the canary under test.
    pub(super) fn look_at_readiness(&mut self, plane: &dyn DataPlane) {
        let service = Arc::clone(self.release.service());
        let generation = self.release.state().generation;
        let Rooms(rooms) = &mut self.rooms;
        rooms.retain(|name, _| service.versions.iter().any(|version| version.name == *name));
        for version in &service.versions {
            let mut drawn = 0;
            let firsts = Attempt::First as usize;
            plane.tally(&service.name, &version.name, &mut |tally| drawn = tally.attempts[firsts].iter().sum());
            let without_room = plane.care(&service.name, &version.name).overflows;
            rooms.entry(version.name.clone()).or_default().turn(generation, Full { drawn, without_room });
        }
        let canary = self.release.state().running().map(|rollout| rollout.canary.clone());
        let readiness = canary.map(|canary| self.readiness_of(&canary, plane)).unwrap_or_default();
        self.release.sees(readiness);
    }

    /// Whether this version is ready for users, or for more of them.
    pub(super) fn readiness_of(&self, version: &Name, plane: &dyn DataPlane) -> Readiness {
        let service = &self.release.service().name;
        let checks = plane.care(service, version).checks;
        Readiness {
            full: self.rooms.full(version),
            unwell: self.unwell(version, plane),
            unasked: checks.is_some_and(|counts| counts.passed == 0 && counts.failed == 0),
            ill_stable: self.ill_stable(plane),
        }
    }

    /// How the endpoints of stable are, where none of them is well.
    pub(super) fn ill_stable(&self, plane: &dyn DataPlane) -> Option<Unwell> {
        self.unwell(&self.release.state().stable, plane).filter(|unwell| unwell.well == 0)
    }

    /// How the endpoints of a version are, where fewer than half of them are well. One that has none at all waits for its
    /// names.
    fn unwell(&self, version: &Name, plane: &dyn DataPlane) -> Option<Unwell> {
        let service = self.release.service();
        let endpoints = plane.endpoints(&service.name, version);
        if !endpoints.is_empty() {
            return Unwell::among(&endpoints);
        }
        let written = &service.versions.iter().find(|written| written.name == *version)?.endpoints;
        let host = written.iter().find_map(Endpoint::name)?;
        let names = plane.names();
        let failing = names.known.get(host)?.failing.as_ref()?;
        Some(Unwell::without_endpoints(format!("the name {host} does not resolve: {}", failing.reason)))
    }
}

/// What an operator is told of a version that found no room for requests.
pub(super) fn overfull(served: &Served) -> impl Iterator<Item = String> {
    let stable = &served.release.state().stable;
    let versions = served.release.service().versions.iter();
    versions.filter_map(move |version| {
        let Full { drawn, without_room } = served.rooms.full(&version.name)?;
        let then = if version.name == *stable {
            "they got 503".to_owned()
        } else {
            format!("{stable} served them in its stead, where it had any")
        };
        Some(format!(
            "{without_room} of the last {drawn} requests of {} found no room: as many were under way as its limits allow, \
             and {then}; raise its limits, or add endpoints",
            version.name
        ))
    })
}
