//! What lasts long on versions, as whoever publishes them asks for it: also on those that are gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use config::{Configuration, Name};

use super::super::{Routing, Service};
use super::Publisher;
use crate::lasting::Lasting;

impl Publisher {
    /// How many exchanges last on this version: tunnels, streams of events, and whatever else has streamed for 5 s. Also
    /// of a version that a reload has removed.
    #[must_use]
    pub fn lasting(&self, service: &Name, version: &Name, now: Instant) -> u64 {
        self.lasting_of(service, version).map_or(0, |lasting| lasting.count(now))
    }

    /// Asks the exchanges that last on this version to end now, in a way that their clients try again: a WebSocket is sent
    /// a close frame, a gRPC call its status, anything else is cut. Says how many were asked; those that were before are
    /// not asked again. What begins to last there later ends as well, until the version has traffic again.
    pub fn end_lasting(&self, service: &Name, version: &Name, now: Instant) -> u64 {
        let Some(lasting) = self.lasting_of(service, version) else { return 0 };
        self.leaving.leaves(lasting, now);
        lasting.end(now)
    }

    /// How many exchanges of this version were ended so, and are over.
    #[must_use]
    pub fn ended_lasting(&self, service: &Name, version: &Name) -> u64 {
        self.lasting_of(service, version).map_or(0, |lasting| lasting.ended_so_far())
    }

    fn lasting_of(&self, service: &Name, version: &Name) -> Option<&Arc<Lasting>> {
        self.lasting.get(service)?.get(version)
    }

    /// What is known of a version, new or not.
    pub(super) fn know(&mut self, service: &Name, version: &Name) -> Arc<Lasting> {
        let of_service = self.lasting.entry(service.clone()).or_default();
        let known = of_service.entry(version.clone()).or_insert_with(|| {
            self.versions += 1;
            Arc::new(Lasting::new(self.versions, self.under_way.clone()))
        });
        Arc::clone(known)
    }

    /// Versions that have traffic: nothing ends there.
    pub(super) fn stay(&self, service: &Service) {
        let by_match = service.split.matched.as_ref().and(service.split.canary);
        for (place, (version, share)) in service.versions.iter().zip(service.shares()).enumerate() {
            if share > 0 || by_match.is_some_and(|(canary, ..)| canary == place) {
                self.leaving.stays(&version.lasting);
            }
        }
    }

    /// This configuration was published after that: what lasts on versions that are gone has as long as the plan of their
    /// service gave it, and those on which nothing is under way are forgotten.
    pub(super) fn follow_leavers(&mut self, before: &Routing, configuration: &Configuration, now: Instant) {
        self.shared.load().services.iter().for_each(|service| self.stay(service));
        let services: HashMap<&Name, &config::Service> =
            configuration.services.iter().map(|service| (&service.name, service)).collect();
        let is_there = |service: &Name, version: &Name| {
            let service = services.get(service);
            service.is_some_and(|service| service.versions.iter().any(|one| one.name == *version))
        };
        for service in &before.services {
            let Some(due) = service.written.plan.drain.and_then(|drain| now.checked_add(drain)) else { continue };
            for version in service.versions.iter().filter(|version| !is_there(&service.name, &version.name)) {
                self.leaving.leaves(&version.lasting, due);
            }
        }
        // Whoever is under way on a version holds it.
        for (service, versions) in &mut self.lasting {
            versions.retain(|version, lasting| is_there(service, version) || Arc::strong_count(lasting) > 1);
        }
        self.lasting.retain(|_, versions| !versions.is_empty());
    }
}
