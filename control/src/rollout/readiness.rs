//! Whether a canary's endpoints are ready for users: well by what is known of them, and with room for what is drawn.
//!
//! Neither is a verdict. What finds no room is served by stable and is not judged, and an endpoint whose health check
//! fails may answer what it is asked all the same. So the tests see nothing of either, and a promotion would leave users
//! with nobody in the canary's stead (docs/decisions/0048).

use std::collections::VecDeque;

use config::{Name, Step, Weight};

use super::release::{By, News, Release};
use super::state::Rollout;
use super::{Change, Moment};
use crate::plane::{EndpointHealth, EndpointState};

/// Over how many seconds it is counted who found no room.
const SECONDS: usize = 60;
/// Fewer requests without room are no matter.
const SEVERAL: u64 = 3;
/// Of so many requests more than one without room holds a step.
const ONE_IN: u64 = 100;

/// Whether a canary is ready for users, or for more of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Readiness {
    /// What found no room of late, where that is much.
    pub full: Option<Full>,
    /// How its endpoints are, where fewer than half of them are well.
    pub unwell: Option<Unwell>,
    /// It has health checks, and none has ended since the process began.
    pub unasked: bool,
    /// How the endpoints of stable are, where none of them is well: a step back leads there.
    pub ill_stable: Option<Unwell>,
}

/// Requests of the last minute, since the split changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Full {
    /// How many were drawn to a version.
    pub drawn: u64,
    /// How many of them found as much under way as its limits allow.
    pub without_room: u64,
}

impl Full {
    /// Whether that is too much for a step forward.
    #[must_use]
    pub const fn is_much(self) -> bool {
        self.without_room >= SEVERAL && self.without_room.saturating_mul(ONE_IN) > self.drawn
    }
}

/// How many found no room in each of the last seconds.
#[derive(Debug, Clone, Default)]
pub struct Room {
    /// The split under which that was.
    generation: u64,
    /// What had been drawn, and had found no room, by the last second.
    counted: Full,
    past: VecDeque<Full>,
}

impl Room {
    /// A second is over: so much was drawn and found no room since the process began. What was under another split says
    /// nothing of this one.
    pub fn turn(&mut self, generation: u64, now: Full) {
        if self.generation != generation {
            *self = Self { generation, counted: self.counted, past: VecDeque::new() };
        }
        let before = std::mem::replace(&mut self.counted, now);
        if self.past.len() == SECONDS {
            self.past.pop_front();
        }
        // Counts that are smaller are those of a version that came back.
        let grown = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        self.past.push_back(Full {
            drawn: grown(now.drawn, before.drawn),
            without_room: grown(now.without_room, before.without_room),
        });
    }

    /// What found no room in the last minute; none where everything did.
    #[must_use]
    pub fn full(&self) -> Option<Full> {
        let sum = |of: fn(&Full) -> u64| self.past.iter().map(of).sum::<u64>();
        let (drawn, without_room) = (sum(|second| second.drawn), sum(|second| second.without_room));
        // One that waits is counted as drawn when it ends.
        (without_room > 0).then_some(Full { drawn: drawn.max(without_room), without_room })
    }
}

/// What the reason of an endpoint begins with that does not pass its health check.
const BY_CHECK: &str = "its health check fails: ";

/// How a version's endpoints are, of which fewer than half are well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwell {
    /// How many are well, or at least serve.
    pub well: usize,
    /// How many there are.
    pub of: usize,
    /// Whether it is health checks alone that speak against the others.
    pub by_checks: bool,
    /// Why one of the others is not, in words.
    pub why: Option<String>,
}

impl Unwell {
    /// How these endpoints are, where that is not well. One that is ejected is back soon, and what it did is judged.
    #[must_use]
    pub fn among(endpoints: &[EndpointState]) -> Option<Self> {
        let is_ill = |endpoint: &&EndpointState| match endpoint.health {
            EndpointHealth::Well | EndpointHealth::Ejected => false,
            EndpointHealth::Unhealthy | EndpointHealth::Down => true,
        };
        let (of, ill) = (endpoints.len(), endpoints.iter().filter(is_ill).count());
        let well = of - ill;
        let first = endpoints.iter().find(is_ill).filter(|_| well * 2 < of)?;
        let by_checks = endpoints.iter().filter(is_ill).all(|ill| ill.health == EndpointHealth::Unhealthy);
        // The sentence says so already.
        let why = first.reason.as_deref().map(|why| why.strip_prefix(BY_CHECK).unwrap_or(why).to_owned());
        Some(Self { well, of, by_checks, why })
    }

    /// A version without any endpoint: its names have no addresses, for this.
    #[must_use]
    pub const fn without_endpoints(why: String) -> Self {
        Self { well: 0, of: 0, by_checks: false, why: Some(why) }
    }

    /// That no endpoint of stable is well; none where one is.
    #[must_use]
    pub fn of_stable(&self, stable: &Name) -> Option<String> {
        Some(format!("stable {stable} {}: users get errors", self.none_is_well()?))
    }

    /// That no endpoint of a version is well, in words behind its name; none where one is.
    fn none_is_well(&self) -> Option<String> {
        let Self { well: 0, of, why, .. } = self else { return None };
        let why = why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        Some(if *of == 0 {
            format!("has no endpoint{why}")
        } else {
            format!("has no endpoint that is well, of {of}{why}")
        })
    }

    fn words(&self, canary: &Name) -> String {
        let Self { well, of, by_checks, why } = self;
        if *of == 0 {
            let why = why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
            return format!("waiting for {canary} to be well: it has no endpoint{why}");
        }
        let (endpoints, pass, are) =
            if *of == 1 { ("endpoint", "passes its", "is") } else { ("endpoints", "pass their", "are") };
        let state = if *by_checks { format!("{pass} health check") } else { format!("{are} well") };
        let why = why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        format!("waiting for {canary} to be well: {well} of {of} {endpoints} {state}{why}")
    }
}

impl Release {
    /// How the endpoints of the rollout's canary, or of one that is about to be started, are now. Gives back how they were
    /// before.
    pub fn sees(&mut self, readiness: Readiness) -> Readiness {
        std::mem::replace(&mut self.readiness, readiness)
    }

    /// What stands against more users for the canary, whatever the tests say. A mirror gives it none.
    pub(super) fn unready(&self, rollout: &Rollout) -> Option<String> {
        let canary = &rollout.canary;
        let Readiness { full, unwell, unasked: _, ill_stable: _ } = &self.readiness;
        let full = full.filter(|full| full.is_much()).map(|Full { drawn, without_room }| {
            format!(
                "waiting for room on {canary}: {without_room} of its last {drawn} requests found none, and {} had to serve \
                 them; raise {canary}'s limits, or add endpoints",
                self.state.stable
            )
        });
        unwell.as_ref().map(|unwell| unwell.words(canary)).or(full)
    }

    /// What stands against the first users of a canary: that none of its endpoints is well.
    pub(super) fn nobody_is_well(&self, canary: &Name) -> Option<String> {
        let none = self.readiness.unwell.as_ref().filter(|unwell| unwell.well == 0)?;
        Some(format!("{}; until then no users go to it", none.words(canary)))
    }

    /// That no endpoint of the version that is looked at is well, in words behind its name.
    pub(super) fn all_are_ill(&self) -> Option<String> {
        self.readiness.unwell.as_ref()?.none_is_well()
    }

    /// How the endpoints of stable are now, where none of them is well.
    pub fn sees_stable(&mut self, ill: Option<Unwell>) {
        self.readiness.ill_stable = ill;
    }

    /// What is to be said of a step back, behind it: that nobody who is well is there to serve. It is taken all the same.
    pub(super) fn back_to_nobody(&self) -> String {
        let ill = self.readiness.ill_stable.as_ref().and_then(|ill| ill.of_stable(&self.state.stable));
        ill.map_or_else(String::new, |ill| format!("; {ill}"))
    }

    /// What a canary still waits for that had to wait for its endpoints. A process that has just begun takes them for
    /// well until it has asked them.
    pub(super) fn awaited(&self, rollout: &Rollout) -> Option<String> {
        let canary = &rollout.canary;
        let unasked = || format!("waiting for the first health check of {canary}; until then no users go to it");
        self.nobody_is_well(canary).or_else(|| self.readiness.unasked.then(unasked))
    }

    /// The first users go to a canary that had to wait for its endpoints.
    pub(super) fn begin_to_serve(&mut self, moment: &Moment) -> Change {
        let mut next = self.state.clone();
        let Some(rollout) = &mut next.rollout else { return Change::default() };
        rollout.awaits_endpoints = false;
        let (canary, steps) = (rollout.canary.clone(), rollout.plan.steps.len());
        let weight = rollout.planned_weight().unwrap_or(Weight::ZERO);
        let what = match rollout.plan.steps.get(rollout.step) {
            Some(Step::Match { who: Some(who), .. }) => format!("whoever matches {who}"),
            Some(Step::Match { who: None, .. } | Step::Weight { .. } | Step::Mirror { .. } | Step::Approval) | None => {
                weight.to_string()
            }
        };
        let text = format!("{canary} at step {} of {steps}: {what}; its endpoints are well", rollout.step + 1);
        next.expose(&canary, weight);
        match self.propose(moment, By::Plan, next, vec![News { kind: "step", text }]) {
            Ok(change) => change,
            Err(refused) => {
                self.waits_for = Some(format!("waiting for the journal: {refused}"));
                Change::default()
            }
        }
    }
}
