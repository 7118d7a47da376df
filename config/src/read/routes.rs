//! Which service a host and a path lead to: to one only. And whether a gate's path leads to the gate's service.

use std::collections::HashMap;

use crate::cursor::{Cursor, Report};
use crate::model::{HostName, PathPrefix};
use crate::problem::quoted;
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

    /// Who gets the requests for a path, by the longest claim on the host; none where nobody claims them.
    fn owner(&self, host: Option<&HostName>, path: &PathPrefix) -> Option<&str> {
        let claims = self.0.iter().filter(|((at, prefix), _)| at.as_ref() == host && path.is_within(prefix));
        let longest = claims.max_by_key(|((_, prefix), _)| prefix.as_str().trim_end_matches('/').len());
        longest.map(|(_, (service, _))| service.as_str())
    }

    /// Warns of a gate's path that its service never sees, or that is every request of the service.
    pub(super) fn check(&self, judged: &Judged<'_>, report: &mut Report) {
        let Judged { service, hosts, path: own, judged, written } = judged;
        let path = judged.as_str();
        let message = if own.is_within(judged) {
            format!("every request of this service has the path {}; leave `path` out", own.as_str())
        } else if !judged.is_within(own) {
            let whole = format!("{}{path}", own.as_str());
            format!(
                "no request of this service begins with {path}, so nothing advances for want of data; legal is a path \
                 below {}; did you mean {}?",
                own.as_str(),
                quoted(&whole)
            )
        } else {
            let hosts: Vec<_> = if hosts.is_empty() { vec![None] } else { hosts.iter().map(Some).collect() };
            let owners: Vec<_> = hosts.into_iter().filter_map(|host| self.owner(host, judged)).collect();
            let Some(first) = owners.first().filter(|_| !owners.contains(&service.as_str())) else { return };
            format!(
                "requests for {path} lead to service {first}, so nothing advances for want of data; leave the gate \
                 out, or write it into the plan of {first}",
                first = quoted(first)
            )
        };
        report.warning(written.place, &written.path, message);
    }
}

/// A gate's path, and the service whose plan the gate is in.
#[derive(Debug)]
pub(super) struct Judged<'a> {
    pub(super) service: String,
    pub(super) hosts: Vec<HostName>,
    /// The service's path.
    pub(super) path: PathPrefix,
    /// The gate's path.
    pub(super) judged: PathPrefix,
    pub(super) written: Cursor<'a>,
}
