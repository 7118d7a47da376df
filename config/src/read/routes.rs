//! Which service a host and a path lead to: to one only.

use std::collections::HashMap;

use crate::cursor::Report;
use crate::model::{HostName, PathPrefix};
use crate::tree::Place;

/// The routes that services have claimed so far.
#[derive(Debug, Default)]
pub(super) struct Routes(HashMap<(Option<HostName>, PathPrefix), (String, Place)>);

/// A service's claim.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub(super) service: &'a str,
    /// Where the claim is written: the host, the path, or the service.
    pub(super) place: Place,
    /// Its path in the configuration.
    pub(super) at: &'a str,
}

impl Routes {
    /// Claims a host (none is every host) and a path for a service; a problem where another has it.
    pub(super) fn claim(&mut self, host: Option<&HostName>, path: &PathPrefix, claim: &Claim<'_>, report: &mut Report) {
        let route = (host.cloned(), path.clone());
        if let Some((other, first)) = self.0.get(&route) {
            let host = host.map_or("every host", HostName::as_str);
            let message = format!(
                "{host} with path {} leads to service `{other}` already, at {}; write another host or path",
                path.as_str(),
                report.place(*first),
            );
            report.problem(claim.place, claim.at, message);
            return;
        }
        self.0.insert(route, (claim.service.to_owned(), claim.place));
    }
}
