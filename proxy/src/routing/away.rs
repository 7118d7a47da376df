//! Endpoints that left a version not long ago: an address may leave its name's answer and come back, as with names that give
//! a few of many addresses each time. What is known of it is kept meanwhile, or an endpoint that fails would have its part of
//! the traffic again each time it comes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::endpoint::{Endpoint, REMEMBERED};

/// So many of a version are known; of more, those that left last.
const MOST: usize = 256;
/// Who was away for less has not grown cold.
const BRIEFLY: Duration = Duration::from_mins(1);

/// The endpoints of a version that left not long ago, the last first, with when.
#[derive(Debug, Clone, Default)]
pub(crate) struct Away(Arc<[(Arc<Endpoint>, Instant)]>);

impl Away {
    /// Those of another life: away since now.
    pub(super) fn remembered(endpoints: impl Iterator<Item = Endpoint>, now: Instant) -> Self {
        Self(endpoints.take(MOST).map(|endpoint| (Arc::new(endpoint), now)).collect())
    }

    /// Those that still count, and since when each is away.
    pub(super) fn still(&self, now: Instant) -> impl Iterator<Item = (&Arc<Endpoint>, Instant)> {
        let counts = move |since: Instant| now.saturating_duration_since(since) < REMEMBERED;
        self.0.iter().filter(move |(_, since)| counts(*since)).map(|(endpoint, since)| (endpoint, *since))
    }

    /// Those that were away for a moment alone.
    pub(super) fn briefly(&self, now: Instant) -> impl Iterator<Item = &Arc<Endpoint>> {
        let is_brief = move |since: &Instant| now.saturating_duration_since(*since) < BRIEFLY;
        self.still(now).filter(move |(_, since)| is_brief(since)).map(|(endpoint, _)| endpoint)
    }

    /// Those that are away once a version has these endpoints in place of those that were there. Who is written no more has
    /// left for good.
    pub(super) fn after(
        &self,
        were_there: &[Arc<Endpoint>],
        endpoints: &[Arc<Endpoint>],
        written: &[config::Endpoint],
        now: Instant,
    ) -> Self {
        let there: HashSet<usize> = endpoints.iter().map(|endpoint| endpoint.identity()).collect();
        let is_there = |endpoint: &Arc<Endpoint>| there.contains(&endpoint.identity());
        if self.0.is_empty() && were_there.iter().all(is_there) {
            return self.clone();
        }
        let leave = || were_there.iter().filter(|endpoint| !is_there(endpoint));
        leave().for_each(|endpoint| endpoint.goes());
        let written: HashSet<&config::Endpoint> = written.iter().collect();
        let stay = self.still(now).filter(|(endpoint, _)| !is_there(endpoint));
        let away = leave()
            .map(|endpoint| (endpoint, now))
            .chain(stay)
            .filter(|(endpoint, _)| written.contains(&endpoint.written));
        Self(away.take(MOST).map(|(endpoint, since)| (Arc::clone(endpoint), since)).collect())
    }
}
