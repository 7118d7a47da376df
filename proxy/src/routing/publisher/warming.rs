//! Which versions have connections opened ahead.

use config::Name;

use super::super::{Service, Version};
use super::{Publisher, Wanted};

impl Publisher {
    /// This split is about to come into force: connections that it will need may be opened ahead. Changes nothing else,
    /// and does not wait for them.
    pub fn prepare(&self, service: &Name, wanted: &Wanted<'_>) {
        let routing = self.shared.load();
        if let Some(service) = routing.service(service) {
            self.warm(service, &service.divided(wanted));
        }
    }

    /// How many connections are being opened ahead, and requests for some: 0 when all that was wanted is done.
    #[must_use]
    pub fn opening_ahead(&self) -> usize {
        self.warmers.under_way()
    }

    /// Has connections opened to the versions of a service that get a share, or one at least twice as large, or new
    /// endpoints.
    pub(super) fn warm(&self, before: &Service, after: &Service) {
        let shares = || before.versions.iter().zip(before.shares());
        for (version, share) in after.versions.iter().zip(after.shares()).filter(|(_, share)| *share > 0) {
            let known = shares().find(|(known, _)| known.name == version.name);
            let is_risen = known.is_none_or(|(_, had)| share >= had.saturating_mul(2));
            if is_risen || known.is_some_and(|(known, _)| has_new_endpoints(known, version)) {
                self.warmers.warm(&after.name, version);
            }
        }
    }
}

fn has_new_endpoints(before: &Version, after: &Version) -> bool {
    let is_known = |identity| before.endpoints.iter().any(|known| known.identity() == identity);
    !after.endpoints.iter().all(|endpoint| is_known(endpoint.identity()))
}
