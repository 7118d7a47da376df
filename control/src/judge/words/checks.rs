//! Sentences of the checks that are always on: of the baseline, of clients that leave, of the traffic.

use super::Words;
use super::figures::{before, chance, grouped, percent};
use crate::judge::sightings::Sighting;
use crate::judge::traffic::Seen;
use crate::view::Arms;

impl Words<'_> {
    /// The baseline fails more than stable. What was seen of it is in the canary's place.
    pub(in crate::judge) fn unfit_baseline(self, seen: Sighting, seconds: u64, log_evidence: f64) -> String {
        let Self { stable: baseline, all: stable, .. } = self;
        let Sighting { requests, events } = seen;
        let of = |events: u64, requests: u64| format!("{} of {}", grouped(events), grouped(requests));
        format!(
            "the baseline {baseline} fails {} of requests, {stable} {} ({}, {} against {}; chance of seeing this if it \
             were no worse: {}): nothing can be compared with it; abort, or mend it and resume",
            percent(events.canary, requests.canary),
            percent(events.stable, requests.stable),
            before(seconds),
            of(events.canary, requests.canary),
            of(events.stable, requests.stable),
            chance(log_evidence)
        )
    }

    /// Clients leave the canary's requests before their end.
    pub(in crate::judge) fn leaving(self, seen: Sighting, seconds: u64, log_evidence: f64) -> String {
        let Sighting { requests, events } = seen;
        let of = |events: u64, requests: u64| format!("{} of {}", grouped(events), grouped(requests));
        format!(
            "{} ({}, {} against {}; chance of seeing this if they left both alike: {}): {} keeps them waiting, to the \
             first byte or between the others",
            self.left(seen),
            before(seconds),
            of(events.canary, requests.canary),
            of(events.stable, requests.stable),
            chance(log_evidence),
            self.canary
        )
    }

    /// Clients leave, and it is not established that they leave the canary more. `looks_worse` says whether the figures
    /// alone are beyond what is tolerated.
    pub(in crate::judge) fn some_leave(self, seen: Sighting, looks_worse: bool) -> String {
        let ending = if looks_worse { "more than usual, not enough evidence so far" } else { "nothing unusual" };
        format!("{}: {ending}", self.left(seen))
    }

    fn left(self, Sighting { requests, events }: Sighting) -> String {
        format!(
            "clients left {} of {}'s requests before their end, {} of {}'s",
            percent(events.canary, requests.canary),
            self.canary,
            percent(events.stable, requests.stable),
            self.stable
        )
    }

    /// Requests are over and nobody judged them.
    pub(in crate::judge) fn lost(self, lost: Arms<u64>) -> String {
        let of = |count: u64, version: &str| {
            let requests = if count == 1 { "request" } else { "requests" };
            (count > 0).then(|| format!("{} {requests} to {version}", grouped(count)))
        };
        let both = [of(lost.canary, self.canary), of(lost.stable, self.stable)];
        let both = both.into_iter().flatten().collect::<Vec<_>>().join(" and ");
        format!(
            "{both} ended without an outcome on record: the proxy itself is at fault, neither version is, and what is \
             measured cannot be trusted; resume to go on all the same, and please report it"
        )
    }

    /// Random draws do not follow the split.
    pub(in crate::judge) fn unfair_draws(self, seen: Seen, log_evidence: f64) -> String {
        format!(
            "{}: the split is not what it says (chance of this if it were: {}), so what is measured cannot be trusted",
            self.drawn(seen),
            chance(log_evidence)
        )
    }

    /// Random draws follow the split, as far as one can see.
    pub(in crate::judge) fn draws(self, seen: Seen) -> String {
        format!("{}: nothing unusual", self.drawn(seen))
    }

    fn drawn(self, seen: Seen) -> String {
        format!(
            "{} of {} random draws went to {} ({}), {} were to be expected",
            grouped(seen.canary),
            grouped(seen.all),
            self.canary,
            percent(seen.canary, seen.all),
            grouped(seen.expected.round() as u64)
        )
    }
}
