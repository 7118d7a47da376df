//! How a rollout goes.

use std::time::Duration;

use super::{Gate, Match, Name, PathPrefix};
use crate::units::{Alpha, Beta, Weight};

/// How a rollout goes, and what it must satisfy.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The chance of a false rollback over the whole rollout; 1 % by default.
    pub alpha: Alpha,
    /// The chance that a canary which is worse by a gate's margin passes that gate in one step; 5 % by default.
    pub beta: Beta,
    /// First requests that each version must have had since a step began before the step may end; 50 by default.
    pub min_requests: u64,
    /// For so long after the canary's first traffic its latencies are not judged; 30 s by default.
    pub warmup: Duration,
    /// What a step waits for when its hold is over.
    pub advance: Advance,
    /// What the canary is compared with.
    pub baseline: Baseline,
    /// Judge and report, and never move the split on a verdict.
    pub dry_run: bool,
    /// For how long the connections that last (WebSocket, streams) may stay on a version that has left; then they are
    /// asked to end, in a way that clients try again. 10 min by default; none: for as long as they like.
    pub drain: Option<Duration>,
    /// Never empty; one at least gives a weight, and weights never fall from one step to the next: a mirror comes before
    /// the first of them.
    pub steps: Vec<Step>,
    /// The gates; names are unique. Empty only where the operator wrote `gates: []`.
    pub gates: Vec<Gate>,
}

impl Plan {
    /// First requests that each version must have had since a step began, where nothing is written.
    pub const MIN_REQUESTS: u64 = 50;
    /// How long a canary warms up where nothing is written.
    pub const WARMUP: Duration = Duration::from_secs(30);
    /// For how long connections that last may stay on a version that has left, where nothing is written.
    pub const DRAIN: Duration = Duration::from_secs(10 * 60);
    /// How many different paths the gates of a plan may judge.
    pub const MOST_PATHS: usize = 16;
    /// How many gates a plan may have: each is a test that runs at every tick, and takes its part of alpha.
    pub const MOST_GATES: usize = 64;
    /// How many steps a plan may have, approvals among them.
    pub const MOST_STEPS: usize = 64;

    /// The plan where none is written: 1 %, 5 %, 25 % and 50 % for 2, 5, 10 and 10 minutes, under the default gates.
    #[must_use]
    pub fn built_in() -> Self {
        Self {
            alpha: Alpha::DEFAULT,
            beta: Beta::DEFAULT,
            min_requests: Self::MIN_REQUESTS,
            warmup: Self::WARMUP,
            advance: Advance::Time,
            baseline: Baseline::Stable,
            dry_run: false,
            drain: Some(Self::DRAIN),
            steps: Step::built_in(),
            gates: Gate::defaults(),
        }
    }

    /// The different paths that gates judge by themselves, in the order of the gates; at most [`Self::MOST_PATHS`].
    /// Traffic is counted by place in this list.
    #[must_use]
    pub fn paths(&self) -> Vec<PathPrefix> {
        let mut paths: Vec<PathPrefix> = Vec::new();
        for path in self.gates.iter().filter_map(|gate| gate.path.as_ref()) {
            if !paths.contains(path) {
                paths.push(path.clone());
            }
        }
        paths
    }

    /// Whether a step sends the canary copies of requests.
    #[must_use]
    pub fn mirrors(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Mirror { .. }))
    }

    /// Whether a step gives the canary people whom the gates that compare leave out.
    #[must_use]
    pub fn leaves_people_out(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Match { who: Some(Match { judged: false, .. }), .. }))
    }
}

/// What a step waits for when its hold is over, beside data and the absence of suspicion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Advance {
    /// Nothing more.
    #[default]
    Time,
    /// Every gate must pass: harm of its margin's size is ruled out.
    Proof,
}

/// What the canary is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Baseline {
    /// All of stable's traffic.
    #[default]
    Stable,
    /// A slice of stable's traffic that is as large as the canary's, chosen by ticket.
    Equal,
    /// Another version, mostly the old one freshly started, that gets as much traffic as the canary while a rollout
    /// runs.
    Version(Name),
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Give the canary this weight and keep it for at least this long.
    Weight {
        /// The canary's weight: above 0, and below 100 %, which would leave nothing to compare with.
        weight: Weight,
        /// At least this long, unless `early`.
        hold: Duration,
        /// The step may end before its hold is over, once every gate passes.
        early: bool,
        /// When the step has lasted too long; none by default.
        deadline: Option<Deadline>,
    },
    /// Give the canary whoever matches, whatever its weight, until another such step says otherwise or the rollout
    /// ends.
    Match {
        /// Who matches; none is nobody, from here on.
        who: Option<Match>,
        /// At least this long.
        hold: Duration,
    },
    /// Give the canary no users, and copies of this share of the requests that stable serves.
    Mirror {
        /// Above 0, at most everything.
        share: Weight,
        /// At least this long.
        hold: Duration,
    },
    /// Wait for a person.
    Approval,
}

/// When a step has lasted too long, and what happens then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// Counted from the step's beginning; not shorter than its hold.
    pub after: Duration,
    /// What happens then.
    pub then: OnDeadline,
}

/// What happens at a step's deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDeadline {
    /// Pause, and ask a person.
    #[default]
    Hold,
    /// Go on without the proof. Never without data, nor under suspicion.
    Promote,
    /// Take the canary back.
    RollBack,
}

impl Step {
    /// How long a step holds where nothing is written.
    pub const HOLD: Duration = Duration::from_secs(5 * 60);

    /// A step of this weight and hold, without deadline.
    #[must_use]
    pub const fn of_weight(weight: Weight, hold: Duration) -> Self {
        Self::Weight { weight, hold, early: false, deadline: None }
    }

    /// The steps where none are written.
    pub(crate) fn built_in() -> Vec<Self> {
        [(1, 2), (5, 5), (25, 10), (50, 10)]
            .map(|(percent, minutes)| {
                Self::of_weight(Weight::whole_percent(percent), Duration::from_secs(minutes * 60))
            })
            .to_vec()
    }
}
