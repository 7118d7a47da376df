//! A canary that fails more than its margin by the figures of the present step, for seconds on end, whatever the tests make
//! of it yet.
//!
//! A step forward takes nothing back and spends no alpha, so nothing need be established to withhold it. Where stable's
//! failures came in bursts the tests believe little of what they see, for as long as that is remembered; a canary that fails
//! in one second after the other is no burst (docs/decisions/0043).

use super::Judge;
use super::settings::{Above, Rule};
use super::sightings::Sighting;
use super::words::rates;
use crate::view::Role;

/// Fewer failures may be chance.
const FAILURES: u64 = 10;
/// From this dispersion on a verdict takes twice as long as it would.
pub(super) const BURSTY: f64 = 2.0;
/// Failures of fewer seconds are a burst, or two.
const SECONDS: u64 = 5;

impl Judge {
    /// Why the canary gets nobody else for now, by the figures alone: that it looks broken, or is beyond what a guardrail has
    /// to rule out. None where it is not.
    pub(super) fn beyond(&self) -> Option<String> {
        let broken = self.record.looks_broken().then(|| self.words().looks_broken(self.record.bad_run.seen));
        broken.or_else(|| self.beyond_a_guardrail())
    }

    /// What the first guardrail says that the canary is beyond by the figures; none where there is none.
    pub(super) fn beyond_a_guardrail(&self) -> Option<String> {
        if self.record.bad_seconds_in_step() < SECONDS {
            return None;
        }
        let guardrails =
            self.settings.gates.iter().zip(&self.record.gates).filter(|(gate, _)| gate.role == Role::Guardrail);
        let mut beyond = guardrails.filter(|(gate, record)| is_beyond(&gate.rule, record.in_step));
        beyond.next().map(|(gate, record)| {
            let bursts = self.dispersion().map(|dispersion| dispersion.errors).filter(|phi| *phi >= BURSTY);
            self.words().beyond(gate, record.in_step, bursts)
        })
    }
}

/// Whether failures of so many requests are more than the rule has to rule out.
fn is_beyond(rule: &Rule, seen: Sighting) -> bool {
    let Sighting { requests, events } = seen;
    if events.canary < FAILURES || requests.canary == 0 || requests.stable == 0 {
        return false;
    }
    let rates = rates(seen);
    match rule {
        Rule::Errors { margin: Above { ratio, points }, .. } => rates.canary > ratio * rates.stable + points,
        Rule::ErrorLimit { limit } => rates.canary > *limit && rates.stable <= *limit,
        Rule::Shape { .. } | Rule::Quantile { .. } | Rule::LatencyLimit { .. } | Rule::Copies { .. } => false,
    }
}
