//! What speaks against the endpoints of all versions, to outlive the process.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use config::Name;

use super::{Away, Routing};
use crate::endpoint::{Address, Care, Contact, Endpoint, Memory};

/// What speaks against one endpoint, by all the names that it must have again to be taken for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Its service.
    pub service: String,
    /// Its version.
    pub version: String,
    /// It, as the operator wrote it.
    pub written: String,
    /// What that resolved to.
    pub address: String,
    /// What speaks against it.
    pub memory: Memory,
}

/// What was known in another life, by service and version.
#[derive(Debug, Default)]
pub(super) struct Memories(HashMap<(String, String), Vec<Remembered>>);

impl Memories {
    pub(super) fn new(remembered: Vec<Remembered>) -> Self {
        let mut memories: HashMap<_, Vec<Remembered>> = HashMap::new();
        for one in remembered {
            memories.entry((one.service.clone(), one.version.clone())).or_default().push(one);
        }
        Self(memories)
    }

    /// The endpoints of a version of which something was known: away, until its addresses are known.
    pub(super) fn away(
        &mut self,
        service: &Name,
        version: &config::Version,
        contact: &Contact,
        care: &Arc<Care>,
        now: Instant,
    ) -> Away {
        if self.0.is_empty() {
            return Away::default();
        }
        let key = (service.to_string(), version.name.to_string());
        let Some(remembered) = self.0.remove(&key) else { return Away::default() };
        let by_name: HashMap<String, &config::Endpoint> =
            version.endpoints.iter().map(|written| (written.to_string(), written)).collect();
        let endpoint = |one: Remembered| {
            let written = *by_name.get(&one.written)?;
            let address = match written {
                config::Endpoint::Tcp { .. } => Address::Tcp(one.address.parse::<SocketAddr>().ok()?),
                config::Endpoint::Unix(path) => Address::Unix(path.clone()),
            };
            Some(Endpoint::remembered(written.clone(), address, contact, care, one.memory, now))
        };
        Away::remembered(remembered.into_iter().filter_map(endpoint), now)
    }
}

impl Routing {
    /// What speaks against the endpoints now, of those that are away not for long as well. Nothing of those that are well.
    #[must_use]
    pub fn remembered(&self, now: Instant) -> Vec<Remembered> {
        let mut all = Vec::new();
        for (service, version) in self.versions() {
            let there = version.endpoints.iter().chain(version.away.still(now).map(|(endpoint, _)| endpoint));
            all.extend(there.filter_map(|endpoint| {
                let memory = endpoint.memory(now);
                (!memory.is_empty()).then(|| Remembered {
                    service: service.to_string(),
                    version: version.name.to_string(),
                    written: endpoint.written.to_string(),
                    address: endpoint.address.to_string(),
                    memory,
                })
            }));
        }
        all
    }
}
