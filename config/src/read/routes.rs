//! Which service a request leads to: always one, by the order that [`Service`](crate::model::Service) states. And
//! whether a gate's path leads to the gate's service.

use std::collections::HashMap;

use crate::cursor::{Cursor, Report};
use crate::model::{HeaderMatch, HostName, PathPrefix};
use crate::problem::quoted;
use crate::tree::Place;

/// The routes that services have claimed so far, by host (none is every host) and path.
#[derive(Debug, Default)]
pub(super) struct Routes(HashMap<(Option<HostName>, PathPrefix), Claims>);

/// A service's claim of a host and a path.
#[derive(Debug)]
pub(super) struct Claim {
    /// Its name, as it is shown.
    pub(super) service: String,
    /// Where the claim is written: the host, the path, or the service.
    pub(super) place: Place,
    /// The methods that it takes; empty is every method.
    pub(super) methods: Vec<String>,
    /// The headers that a request must have, in the order of their names.
    pub(super) headers: Vec<HeaderMatch>,
}

impl Claim {
    /// What the order of services goes by where host and path are the same (whether there are methods, and how many
    /// headers), and what the headers are apart from their values.
    fn shape(&self) -> Shape {
        let headers = self.headers.iter().map(|header| (header.name.clone(), header.value.is_some()));
        (!self.methods.is_empty(), headers.collect())
    }

    /// Whether a request could be for both.
    fn overlaps(&self, other: &Self) -> bool {
        let both_take = |method: &String| other.methods.contains(method);
        let methods = self.methods.is_empty() || other.methods.is_empty() || self.methods.iter().any(both_take);
        methods && !self.headers.iter().any(|one| other.headers.iter().any(|other| excludes(one, other)))
    }
}

/// Whether a request cannot have both headers.
fn excludes(one: &HeaderMatch, other: &HeaderMatch) -> bool {
    one.name == other.name && one.value.is_some() && other.value.is_some() && one.value != other.value
}

/// Whether methods are written; the headers by name, each with whether a value is.
type Shape = (bool, Vec<(String, bool)>);

/// The claims of one host and path, by their shape and their headers. Of two claims of one shape only those with the same
/// values can overlap, so ten thousand tenants of one host are told apart without comparing each with each.
#[derive(Debug, Default)]
struct Claims(HashMap<Shape, HashMap<Vec<HeaderMatch>, Vec<Claim>>>);

impl Claims {
    /// A claim that a request could be for as well, and that goes neither before this one nor after it.
    fn rival(&self, claim: &Claim) -> Option<&Claim> {
        let shape = claim.shape();
        let same_rank = |other: &Shape| other.0 == shape.0 && other.1.len() == shape.1.len();
        let rivals = self.0.iter().filter(|(other, _)| same_rank(other)).filter_map(|(other, by_headers)| {
            if *other == shape {
                return by_headers.get(&claim.headers).and_then(|alike| first_overlap(claim, alike));
            }
            first_overlap(claim, by_headers.values().flatten())
        });
        rivals.min_by_key(|rival| rival.place)
    }

    fn insert(&mut self, claim: Claim) {
        self.0.entry(claim.shape()).or_default().entry(claim.headers.clone()).or_default().push(claim);
    }

    /// The service that gets every request for which there is nothing more specific.
    fn whole(&self) -> Option<&str> {
        self.0.get(&(false, Vec::new()))?.values().flatten().map(|claim| claim.service.as_str()).next()
    }
}

fn first_overlap<'a>(claim: &Claim, others: impl IntoIterator<Item = &'a Claim>) -> Option<&'a Claim> {
    others.into_iter().filter(|other| claim.overlaps(other)).min_by_key(|other| other.place)
}

impl Routes {
    /// Claims a host (none is every host) and a path for a service; a problem, at `at`, where a request could be for
    /// another service as well and neither goes before the other.
    pub(super) fn claim(
        &mut self,
        host: Option<&HostName>,
        path: &PathPrefix,
        claim: Claim,
        at: &str,
        report: &mut Report,
    ) {
        let claims = self.0.entry((host.cloned(), path.clone())).or_default();
        if let Some(rival) = claims.rival(&claim) {
            let host = host.map_or("every host", HostName::as_str);
            let (path, other, first) = (path.as_str(), quoted(&rival.service), report.place(rival.place));
            let message = if claim.methods.is_empty() && claim.headers.is_empty() {
                format!(
                    "{host} with path {path} leads to service {other} already, at {first}; write another host or path"
                )
            } else {
                format!(
                    "a request for {host} with path {path} could be for service {other} as well, at {first}, and neither goes \
                     first; write methods or values of headers that no request can have both of, or one header more"
                )
            };
            report.problem(claim.place, at, message);
            return;
        }
        claims.insert(claim);
    }

    /// The service that takes all requests for `judged` away from one with the path `own`; none where nobody does.
    fn taken_by(&self, host: Option<&HostName>, judged: &PathPrefix, own: &PathPrefix) -> Option<&str> {
        let longer = judged.ancestors().take_while(|prefix| prefix.as_str().len() > own.as_str().len());
        let mut claims = longer.filter_map(|prefix| self.0.get(&(host.cloned(), prefix)));
        claims.find_map(Claims::whole)
    }

    /// Warns of a gate's path that its service never sees, or that is every request of the service.
    pub(super) fn check(&self, judged: &Judged<'_>, report: &mut Report) {
        let Judged { hosts, path: own, judged, written } = judged;
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
            let takers: Option<Vec<_>> = hosts.into_iter().map(|host| self.taken_by(host, judged, own)).collect();
            let Some(first) = takers.and_then(|takers| takers.first().copied()) else { return };
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
    pub(super) hosts: Vec<HostName>,
    /// The service's path.
    pub(super) path: PathPrefix,
    /// The gate's path.
    pub(super) judged: PathPrefix,
    pub(super) written: Cursor<'a>,
}
