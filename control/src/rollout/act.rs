//! What people ask for: rollouts, actions on them, weights by hand.

use config::{Baseline, Name, Plan, Step, Weight};

use super::release::{By, News, Release};
use super::state::{Question, Reading, Rollout, State};
use super::view::allowed_words;
use super::{Change, Moment, Start};
use crate::command::{Action, Refused};
use crate::view::{DRY_RUN_OVER, Phase};

/// What stands between the weight that a person set while something was asked, and what was asked.
const ASKED_BEFORE: &str = "; still to answer: ";

impl Release {
    pub(super) fn start(&mut self, moment: &Moment, start: Start) -> Result<Change, Refused> {
        self.must_be_canary(&start.canary)?;
        self.must_have_baseline(&start.plan, &start.canary)?;
        self.may_propose(moment)?;
        let mut change = Change::default();
        if let Some(running) = self.state.running() {
            if running.canary == start.canary {
                let detail = format!(
                    "{}: a rollout of {} is running already (phase {}); another version would supersede it",
                    self.service.name,
                    start.canary,
                    self.phase().map_or("none", Phase::word)
                );
                return Err(Refused::Conflict { detail, present: None });
            }
            let text = format!("{} superseded by {}", running.canary, start.canary);
            let next = self.ended(Phase::Superseded, format!("superseded by a rollout of {}", start.canary));
            change = self.at_once(moment, next, vec![News { kind: "phase", text }]);
        }
        let why = start.reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
        let next = self.begun(moment, start);
        let text = match next.running() {
            Some(rollout) => {
                let begins = format!("rollout of {} under plan {} begins{why}", rollout.canary, rollout.plan_name);
                match self.nobody_is_well(&rollout.canary).filter(|_| rollout.awaits_endpoints) {
                    Some(waits) => format!("{begins}; {waits}"),
                    None => begins,
                }
            }
            None => String::new(),
        };
        let forward = self.propose(moment, By::Person, next, vec![News { kind: "rollout-started", text }])?;
        Ok(change.then(forward))
    }

    fn must_be_canary(&self, version: &Name) -> Result<(), Refused> {
        if *version == self.state.stable {
            return Err(Refused::Invalid(format!(
                "{}: {version} is the stable version; {}",
                self.service.name,
                self.others_in_words()
            )));
        }
        if self.knows(version) {
            return Ok(());
        }
        let others = self.others_in_words();
        Err(Refused::Invalid(format!("{}: there is no version {version}; {others}", self.service.name)))
    }

    /// A version that a plan names as baseline must be there, and be neither of the two that are compared.
    fn must_have_baseline(&self, plan: &Plan, canary: &Name) -> Result<(), Refused> {
        let Baseline::Version(baseline) = &plan.baseline else { return Ok(()) };
        let (service, stable) = (&self.service.name, &self.state.stable);
        let refused = |why: String| {
            let others: Vec<&str> =
                self.others().into_iter().filter(|other| *other != canary).map(Name::as_str).collect();
            let legal = if others.is_empty() {
                "it has no third version: add one, or write baseline: stable or equal".to_owned()
            } else {
                format!("legal here: stable, equal, {}", others.join(", "))
            };
            Err(Refused::Invalid(format!("{service}: the plan's baseline {baseline} {why}; {legal}")))
        };
        if !self.knows(baseline) {
            refused("is no version of this service".to_owned())
        } else if baseline == stable {
            refused("is the stable version: all of it is compared with baseline: stable".to_owned())
        } else if baseline == canary {
            refused("is the canary itself".to_owned())
        } else {
            Ok(())
        }
    }

    pub(super) fn knows(&self, version: &Name) -> bool {
        self.service.versions.iter().any(|known| known.name == *version)
    }

    fn others(&self) -> Vec<&Name> {
        self.service.versions.iter().map(|version| &version.name).filter(|name| **name != self.state.stable).collect()
    }

    fn others_in_words(&self) -> String {
        let others = self.others();
        if others.is_empty() {
            return "it has no other version: add one to the configuration".to_owned();
        }
        let names = others.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        format!("legal here: {names}")
    }

    /// The state at the first step of a rollout. A weight that the canary has already is kept where it is the lower.
    fn begun(&self, moment: &Moment, start: Start) -> State {
        let mut rollout = Rollout {
            id: start.id,
            stable: self.state.stable.clone(),
            canary: start.canary,
            plan_name: start.plan_name,
            plan: start.plan,
            phase: Phase::Progressing,
            reason: None,
            step: 0,
            started_at: moment.wall,
            ended_at: None,
            idempotency_key: start.idempotency_key,
            asks: None,
            acknowledged: 0,
            would_have_rolled_back: 0,
            withdrawn: false,
            awaits_endpoints: false,
            reading: Reading::default(),
        };
        rollout.phase = rollout.phase_of_step();
        let present = self.state.weight_of(&rollout.canary);
        let weight = match rollout.planned_weight() {
            Some(planned) if present == Weight::ZERO => planned,
            Some(planned) => planned.min(present),
            None => present,
        };
        let gives_users = weight > Weight::ZERO || rollout.matched().is_some();
        rollout.awaits_endpoints =
            gives_users && present == Weight::ZERO && self.nobody_is_well(&rollout.canary).is_some();
        let weight = if rollout.awaits_endpoints { Weight::ZERO } else { weight };
        let mut next = self.state.clone();
        next.expose(&rollout.canary, weight);
        next.rollout = Some(rollout);
        next
    }

    pub(super) fn act(
        &mut self,
        moment: &Moment,
        action: Action,
        reason: Option<&str>,
        id: String,
    ) -> Result<Change, Refused> {
        if action == Action::Abort
            && self.state.running().is_none()
            && let Some(change) = self.abort_what_waits(moment, reason)
        {
            return Ok(change);
        }
        let (Some(phase), Some(rollout)) = (self.phase(), &self.state.rollout) else {
            let name = &self.service.name;
            return Err(Refused::Unknown(format!("{name}: there was no rollout yet; start one first")));
        };
        if !self.allowed().contains(&action) {
            let detail = format!(
                "{}: {} is not possible while the rollout of {} is {}; possible: {}",
                self.service.name,
                action.word(),
                rollout.canary,
                phase.word(),
                allowed_words(self.allowed())
            );
            return Err(Refused::Conflict { detail, present: None });
        }
        let canary = rollout.canary.clone();
        let by_hand = |what: &str| match reason {
            Some(reason) => format!("{what} by hand: {reason}"),
            None => format!("{what} by hand"),
        };
        let news = |kind, what: &str| vec![News { kind, text: format!("{canary} {}", by_hand(what)) }];
        match action {
            Action::Pause => Ok(self.at_once(moment, self.paused(by_hand("paused")), news("phase", "paused"))),
            Action::Resume => self.resume(moment, &by_hand("resumed")),
            Action::Approve | Action::Skip => {
                let (next, news) = self.advanced(&by_hand(if action == Action::Skip { "skipped" } else { "approved" }));
                if next.running().is_none() {
                    self.may_serve_all(&canary)?;
                }
                self.propose(moment, By::Person, next, news)
            }
            Action::Promote => {
                self.may_serve_all(&canary)?;
                let next = self.ended(Phase::Promoted, by_hand("promoted"));
                self.propose(moment, By::Person, next, news("phase", "promoted"))
            }
            Action::Abort => {
                let what = format!("{}{}", by_hand("aborted"), self.back_to_nobody());
                let next = self.ended(Phase::Aborted, what.clone());
                Ok(self.at_once(moment, next, vec![News { kind: "phase", text: format!("{canary} {what}") }]))
            }
            Action::Retry => self.retry(moment, reason, id),
            Action::Undo => self.undo(moment, by_hand("undone"), news("phase", "undone")),
        }
    }

    /// Refuses to give all users to a version of which no endpoint is well: each of them would get an error at once.
    fn may_serve_all(&self, version: &Name) -> Result<(), Refused> {
        let Some(why) = self.all_are_ill() else { return Ok(()) };
        let (service, stable) = (&self.service.name, &self.state.stable);
        let detail = format!(
            "{service}: {version} {why}, and would have all traffic; see to its endpoints first, or give it users all the \
             same, a part at a time, by setting its weight by hand. {stable} serves on"
        );
        Err(Refused::Conflict { detail, present: None })
    }

    /// A start that waits for the disk is no rollout yet, but it can be aborted.
    fn abort_what_waits(&mut self, moment: &Moment, reason: Option<&str>) -> Option<Change> {
        let mut rollout = self.proposed().and_then(State::running)?.clone();
        let why = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        rollout.phase = Phase::Aborted;
        rollout.reason = Some(format!("aborted by hand before it began{why}"));
        let text = format!("{} aborted by hand before it began{why}", rollout.canary);
        let mut next = self.state.clone();
        next.canary = None;
        next.rollout = Some(rollout);
        Some(self.at_once(moment, next, vec![News { kind: "phase", text }]))
    }

    fn resume(&mut self, moment: &Moment, by_hand: &str) -> Result<Change, Refused> {
        let mut next = self.state.clone();
        let Some(rollout) = &mut next.rollout else { return Ok(Change::default()) };
        let mut text = format!("{} {by_hand}", rollout.canary);
        if rollout.asks.take().is_some_and(|asked| asked.is_of_findings()) {
            rollout.acknowledged += 1;
            text.push_str("; what was signalled is judged anew, and its alpha is spent again");
        }
        rollout.phase = rollout.phase_of_step();
        rollout.reason = None;
        rollout.withdrawn = false;
        let present = self.state.weight_of(&rollout.canary);
        let weight = rollout.planned_weight().map_or(present, |planned| planned.min(present));
        let canary = rollout.canary.clone();
        next.expose(&canary, weight);
        // The lower of the two weights is kept, so this raises nothing but what a match gives again; and it lets the plan
        // raise later, and that permission must outlive a restart before it is given.
        self.propose(moment, By::Person, next, vec![News { kind: "phase", text }])
    }

    fn retry(&mut self, moment: &Moment, reason: Option<&str>, id: String) -> Result<Change, Refused> {
        let Some(rollout) = self.state.rollout.clone() else { return Ok(Change::default()) };
        let start = Start {
            id,
            canary: rollout.canary,
            plan_name: rollout.plan_name,
            plan: rollout.plan,
            reason: reason.map(ToOwned::to_owned),
            idempotency_key: None,
        };
        self.start(moment, start)
    }

    fn undo(&mut self, moment: &Moment, reason: String, news: Vec<News>) -> Result<Change, Refused> {
        let mut next = self.state.clone();
        let Some(rollout) = &mut next.rollout else { return Ok(Change::default()) };
        if !self.knows(&rollout.stable) {
            let detail = format!(
                "{}: the previous stable, {}, is no longer in the configuration; put it back and reload first",
                self.service.name, rollout.stable
            );
            return Err(Refused::Conflict { detail, present: None });
        }
        if let Some(why) = self.all_are_ill() {
            let (service, stable, canary) = (&self.service.name, &rollout.stable, &rollout.canary);
            let detail = format!(
                "{service}: {stable}, the previous stable, {why}, and would have all traffic; see to its endpoints first, or \
                 go there all the same, a part at a time: start a rollout of {stable}, or set its weight by hand. {canary} \
                 serves on"
            );
            return Err(Refused::Conflict { detail, present: None });
        }
        rollout.reason = Some(reason);
        next.stable = rollout.stable.clone();
        next.canary = None;
        Ok(self.at_once(moment, next, news))
    }

    pub(super) fn set_weight(
        &mut self,
        moment: &Moment,
        version: Option<Name>,
        weight: Weight,
        if_generation: Option<u64>,
        reason: Option<&str>,
    ) -> Result<Change, Refused> {
        if let Some(expected) = if_generation.filter(|expected| *expected != self.state.generation) {
            let detail = format!(
                "{}: the service is at generation {}, not {expected}: look at its present state and ask again",
                self.service.name, self.state.generation
            );
            return Err(Refused::Conflict { detail, present: None });
        }
        let version = self.version_for_weight(version)?;
        let present = self.state.weight_of(&version);
        let why = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        let to_nobody = if weight < present { self.back_to_nobody() } else { String::new() };
        let is_alone = self.state.running().is_some() && weight == Weight::FULL;
        let to_nobody = if is_alone {
            format!("; nobody is left on {} to compare it with, so no gate judges it", self.state.stable)
        } else {
            to_nobody
        };
        let text = format!("weight of {version} set by hand to {weight}{why}{to_nobody}");
        // Weight 0 is no new request, from nobody, nor a copy of one.
        let withdraws =
            |rollout: &Rollout| weight == Weight::ZERO && (rollout.matched().is_some() || rollout.mirror().is_some());
        let stays = |rollout: &Rollout| rollout.phase == Phase::Paused && present == weight && !withdraws(rollout);
        let mut next = match self.state.running() {
            Some(rollout) if stays(rollout) => return Ok(Change::default()),
            Some(rollout) => self.paused_at_weight(rollout, &text),
            None if present == weight => return Ok(Change::default()),
            None => self.state.clone(),
        };
        next.expose(&version, weight);
        if let Some(rollout) = next.rollout.as_mut().filter(|rollout| !rollout.phase.has_ended()) {
            // Whoever sets a weight by hand knows how its endpoints are.
            rollout.awaits_endpoints = false;
            rollout.withdrawn |= withdraws(rollout);
        }
        let news = vec![News { kind: "weight", text }];
        if weight > present {
            self.propose(moment, By::Person, next, news)
        } else {
            Ok(self.at_once(moment, next, news))
        }
    }

    fn version_for_weight(&self, version: Option<Name>) -> Result<Name, Refused> {
        // Without a name it is the version that has traffic beside the stable: a step down must not fail for want of one.
        let exposed = self.state.running().map(|rollout| rollout.canary.clone());
        let exposed = exposed.or_else(|| self.state.canary.as_ref().map(|(canary, _)| canary.clone()));
        let version = match (version.or(exposed), self.others().as_slice()) {
            (Some(version), _) => version,
            (None, [only]) => (*only).clone(),
            (None, _) => {
                let text = format!("{}: say which version's weight; {}", self.service.name, self.others_in_words());
                return Err(Refused::Invalid(text));
            }
        };
        if version == self.state.stable {
            return Err(Refused::Invalid(format!(
                "{}: {version} is the stable version and has what the other leaves: set the other's weight; {}",
                self.service.name,
                self.others_in_words()
            )));
        }
        self.must_be_canary(&version)?;
        match self.state.running() {
            Some(rollout) if rollout.canary != version => Err(Refused::Conflict {
                detail: format!(
                    "{}: a rollout of {} is running, so only its weight can be set; abort it first",
                    self.service.name, rollout.canary
                ),
                present: None,
            }),
            Some(_) | None => Ok(version),
        }
    }

    /// The state with the rollout paused. The split stays.
    pub(super) fn paused(&self, reason: String) -> State {
        let mut next = self.state.clone();
        if let Some(rollout) = &mut next.rollout {
            rollout.phase = Phase::Paused;
            rollout.reason = Some(reason);
            rollout.asks = None;
        }
        next
    }

    /// The state with the rollout paused because something is to be answered.
    pub(super) fn paused_to_ask(&self, question: Question, reason: String) -> State {
        let mut next = self.paused(reason);
        if let Some(rollout) = &mut next.rollout {
            rollout.asks = Some(question);
        }
        next
    }

    /// The state with the rollout paused because a person sets its weight. A question that is not answered yet stays,
    /// and its reason beside the new one.
    fn paused_at_weight(&self, rollout: &Rollout, text: &str) -> State {
        let asked = rollout.asks.as_ref().zip(rollout.reason.as_deref());
        let Some((question, why)) = asked else { return self.paused(format!("paused: {text}")) };
        // Of several weights the last is said.
        let why = why.rsplit_once(ASKED_BEFORE).map_or(why, |(_, why)| why);
        self.paused_to_ask(question.clone(), format!("paused: {text}{ASKED_BEFORE}{why}"))
    }

    /// The state with the rollout over: all traffic on one version.
    pub(super) fn ended(&self, phase: Phase, reason: String) -> State {
        let mut next = self.state.clone();
        next.canary = None;
        if let Some(rollout) = &mut next.rollout {
            if phase == Phase::Promoted {
                next.stable = rollout.canary.clone();
            }
            rollout.phase = phase;
            rollout.reason = Some(reason);
            rollout.asks = None;
        }
        next
    }

    /// The state one step further: the next step, or after the last the promotion. Nobody judged the canary of a dry
    /// run, so that one ends in a question.
    pub(super) fn advanced(&self, why: &str) -> (State, Vec<News>) {
        let mut next = self.state.clone();
        let Some(rollout) = &mut next.rollout else { return (next, Vec::new()) };
        rollout.step += 1;
        rollout.awaits_endpoints = false;
        let steps = rollout.plan.steps.len();
        let (number, canary) = (rollout.step + 1, rollout.canary.clone());
        match rollout.plan.steps.get(rollout.step) {
            Some(Step::Weight { weight, .. }) => {
                let weight = *weight;
                rollout.phase = Phase::Progressing;
                rollout.reason = None;
                next.expose(&canary, weight);
                (
                    next,
                    vec![News { kind: "step", text: format!("{canary} at step {number} of {steps}: {weight}; {why}") }],
                )
            }
            Some(Step::Match { who, .. }) => {
                let text = match who {
                    Some(who) => format!("{canary} at step {number} of {steps}: whoever matches {who}; {why}"),
                    None => format!("{canary} at step {number} of {steps}: nobody by a match any more; {why}"),
                };
                rollout.phase = Phase::Progressing;
                rollout.reason = None;
                (next, vec![News { kind: "step", text }])
            }
            Some(Step::Mirror { share, .. }) => {
                let text = format!(
                    "{canary} at step {number} of {steps}: copies of {share} of {stable}'s requests, and no users; {why}",
                    stable = rollout.stable
                );
                rollout.phase = Phase::Progressing;
                rollout.reason = None;
                next.expose(&canary, Weight::ZERO);
                (next, vec![News { kind: "step", text }])
            }
            Some(Step::Approval) => {
                rollout.phase = Phase::AwaitingApproval;
                rollout.reason = None;
                (
                    next,
                    vec![News { kind: "step", text: format!("{canary} at step {number} of {steps}: awaits approval") }],
                )
            }
            None if rollout.plan.dry_run => {
                let times = rollout.would_have_rolled_back;
                let over = format!("{DRY_RUN_OVER}: it would have rolled back {}", times_in_words(times));
                let mut next = self.paused_to_ask(Question::DryRunOver, format!("{over}; promote or abort"));
                next.rollout.iter_mut().for_each(|rollout| rollout.step = steps.saturating_sub(1));
                (next, vec![News { kind: "phase", text: format!("{canary} paused: {over}") }])
            }
            None => {
                let next = self.ended(Phase::Promoted, why.to_owned());
                (next, vec![News { kind: "phase", text: format!("{canary} promoted: {why}") }])
            }
        }
    }
}

fn times_in_words(times: u64) -> String {
    match times {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        several => format!("{several} times"),
    }
}
