//! Names that were resolved again: other addresses for endpoints of the configuration in force.

use std::sync::Arc;

use config::{Endpoint, Name};
use tokio::sync::oneshot;

use super::Now;
use super::core::ControlCore;
use super::served::Served;
use crate::plane::Addresses;

impl ControlCore {
    /// Takes over other addresses. Splits stay as they are; endpoints that a reload has removed meanwhile change nothing.
    pub(super) fn readdress(&mut self, now: Now, mut changed: Addresses, reply: oneshot::Sender<()>) {
        changed.retain(|endpoint, addresses| {
            let known = self.resolved.addresses.get(endpoint);
            known.is_some_and(|known| known != addresses) && !addresses.is_empty()
        });
        if changed.is_empty() {
            return self.say(reply, ());
        }
        self.resolved.addresses.extend(changed.iter().map(|(endpoint, found)| (endpoint.clone(), Arc::clone(found))));
        self.plane.readdress(&changed);
        let Self { services, resolved, .. } = self;
        for served in services.values_mut().filter(|served| served.uses(&changed)) {
            let canary = served.compared().map(|(_, canary)| canary);
            let before = canary.as_ref().map(|canary| served.instances_of(canary));
            served.count_instances(&resolved.addresses);
            if before < canary.as_ref().map(|canary| served.instances_of(canary)) {
                served.tell_judge(|judged| judged.warm_up_again(now.wall));
            }
            served.changed = true;
        }
        self.say(reply, ());
    }
}

impl Served {
    /// Whether any version has one of these endpoints.
    fn uses(&self, endpoints: &Addresses) -> bool {
        let mut written = self.release.service().versions.iter().flat_map(|version| &version.endpoints);
        written.any(|endpoint| endpoints.contains_key(endpoint))
    }

    /// Counts the instances of each version anew, where its endpoints have these addresses.
    pub(super) fn count_instances(&mut self, addresses: &Addresses) {
        let instances = |endpoint: &Endpoint| addresses.get(endpoint).map_or(1, |found| found.len().max(1));
        let counted = self.release.service().versions.iter().map(|version| {
            let count: usize = version.endpoints.iter().map(instances).sum();
            (version.name.clone(), u32::try_from(count).unwrap_or(u32::MAX))
        });
        self.instances = counted.collect();
    }

    /// How many instances a version has, by its endpoints and their addresses.
    pub(super) fn instances_of(&self, version: &Name) -> u32 {
        self.instances.get(version).copied().unwrap_or(1)
    }
}
