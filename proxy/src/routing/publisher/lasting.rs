//! What lasts long on versions, as whoever publishes them asks for it: also on those that are gone.

use std::sync::Arc;
use std::time::Instant;

use config::{Configuration, Name};

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
    /// not asked again. Blocks for no traffic.
    pub fn end_lasting(&self, service: &Name, version: &Name, now: Instant) -> u64 {
        self.lasting_of(service, version).map_or(0, |lasting| lasting.end(now))
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

    /// Forgets versions that are gone, and on which nothing is under way.
    pub(super) fn forget_gone(&mut self, configuration: &Configuration) {
        let is_there = |service: &Name, version: &Name| {
            let service = configuration.services.iter().find(|one| one.name == *service);
            service.is_some_and(|service| service.versions.iter().any(|one| one.name == *version))
        };
        // Whoever is under way on a version holds it.
        for (service, versions) in &mut self.lasting {
            versions.retain(|version, lasting| is_there(service, version) || Arc::strong_count(lasting) > 1);
        }
        self.lasting.retain(|_, versions| !versions.is_empty());
    }
}
