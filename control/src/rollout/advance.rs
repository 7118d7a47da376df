//! What the tests' word and the passing of time lead to: rollbacks, pauses that ask, steps forward, deadlines.

use std::time::Duration;

use config::{Advance, Deadline, Gate, GateRule, Match, OnDeadline, Step, Weight};

use super::release::{By, Counted, News, Release};
use super::state::{Question, Rollout, name_of_compared};
use super::{Change, Effect, Exhibit, Moment};
use crate::judge::{Judgement, Unanswered};
use crate::view::{Arms, GateView, Phase, Verdict};

/// How the reason of a pause ends where a limit is broken on both versions.
const ON_LIMIT: &str = "; resume to go on all the same, or abort";
/// How it ends where something was signalled.
const ON_SIGNAL: &str = "; resume to go on and judge it anew, or abort";
/// A dry run counts established harm at most so often.
const COUNTED_EACH: Duration = Duration::from_secs(60);

impl Release {
    /// Time has passed and the tests have spoken.
    pub(super) fn judged(&mut self, moment: &Moment, judgement: &Judgement, exhibit: Option<Exhibit>) -> Change {
        self.show(judgement, exhibit);
        let Some(rollout) = self.state.running() else { return Change::default() };
        if rollout.plan.dry_run {
            return self.judged_dry(moment, judgement);
        }
        if let Some(harm) = &judgement.harm {
            return self.rolled_back(moment, format!("{}: {}", harm.gate, harm.explain));
        }
        match self.asks(judgement) {
            Some((question, reason, text)) => {
                let next = self.paused_to_ask(question, reason);
                self.at_once(moment, next, vec![News { kind: "warning", text }])
            }
            None => self.advance_when_due(moment, judgement),
        }
    }

    /// What people see of the running rollout from here on.
    pub fn show(&mut self, judgement: &Judgement, exhibit: Option<Exhibit>) {
        (self.reading.requests, self.reading.failed) = (judgement.requests, judgement.failed);
        self.reading.matched = judgement.matched;
        self.reading.copies = judgement.copies;
        if let Some(Exhibit { gates, dispersion }) = exhibit {
            (self.reading.gates, self.reading.dispersion) = (gates, dispersion);
        }
    }

    fn rolled_back(&mut self, moment: &Moment, mut reason: String) -> Change {
        let Some(rollout) = self.state.running() else { return Change::default() };
        reason.push_str(&self.back_to_nobody());
        let text = format!("{} rolled back: {reason}", rollout.canary);
        let next = self.ended(Phase::RolledBack, reason);
        self.at_once(moment, next, vec![News { kind: "phase", text }])
    }

    /// What a person is to be asked now: the question, the reason that stands while it is not answered, and the news.
    fn asks(&mut self, judgement: &Judgement) -> Option<(Question, String, String)> {
        if judgement.hold.is_none() {
            self.hold_acknowledged = false;
        }
        let rollout = self.state.running()?;
        let canary = &rollout.canary;
        let found = Question::found(judgement);
        let unseen = match (rollout.phase, &rollout.asks) {
            // Somebody who looks at one finding is to see the other before they go on.
            (Phase::Paused, Some(asked @ Question::Found { .. })) => found.filter(|found| found.exceeds(asked)),
            (Phase::Paused, _) => None,
            (_, _) => found,
        };
        if let Some(question) = unseen {
            let seen = findings(judgement);
            return Some((question, format!("{seen}{ON_SIGNAL}"), format!("{canary} paused: {seen}")));
        }
        let hold = judgement.hold.as_ref().filter(|_| rollout.phase != Phase::Paused && !self.hold_acknowledged)?;
        Some((Question::Limit, format!("{hold}{ON_LIMIT}"), format!("{canary} paused: {hold}")))
    }

    /// In a dry run verdicts are told and counted, and nothing follows from them.
    fn judged_dry(&mut self, moment: &Moment, judgement: &Judgement) -> Change {
        let Some(rollout) = self.state.running() else { return Change::default() };
        if rollout.asks == Some(Question::DryRunOver) {
            return Change::default();
        }
        let canary = rollout.canary.clone();
        let mut change = self.count_harm(moment, judgement);
        let mut tell = |seen: &str| {
            let text = format!("dry run: would have paused {canary}: {seen}");
            change.effects.push(Effect::Announce { kind: "warning", text });
        };
        let found = Question::found(judgement);
        if found.as_ref().is_some_and(|found| self.told.as_ref().is_none_or(|told| found.exceeds(told))) {
            tell(&findings(judgement));
        }
        self.told = found;
        match &judgement.hold {
            Some(hold) if !self.hold_acknowledged => tell(hold),
            Some(_) | None => {}
        }
        self.hold_acknowledged = judgement.hold.is_some();
        change.then(self.advance_when_due(moment, judgement))
    }

    /// Counts established harm, at most once in [`COUNTED_EACH`]. It stays established and shown until it could be
    /// counted again, or a step has begun since: then its tests begin anew.
    fn count_harm(&mut self, moment: &Moment, judgement: &Judgement) -> Change {
        let mut change = Change::default();
        let (Some(rollout), Some(harm)) = (self.state.running(), &judgement.harm) else { return change };
        let step = rollout.step;
        let is_over = |counted: &Counted| moment.elapsed.saturating_sub(counted.at) >= COUNTED_EACH;
        match &mut self.counted {
            Some(counted) if counted.stands => {
                if is_over(counted) || counted.step != step {
                    counted.stands = false;
                    change.effects.push(Effect::BeginAnew);
                }
                return change;
            }
            Some(counted) if !is_over(counted) => return change,
            Some(_) | None => {}
        }
        // A step on its way to the disk does not know of this count: it is counted when that step is in force.
        if self.proposal.is_some() {
            return change;
        }
        let text = format!("dry run: would have rolled back {}: {}: {}", rollout.canary, harm.gate, harm.explain);
        let mut next = self.state.clone();
        if let Some(rollout) = &mut next.rollout {
            rollout.would_have_rolled_back += 1;
        }
        self.counted = Some(Counted { at: moment.elapsed, step, stands: true });
        self.at_once(moment, next, vec![News { kind: "warning", text }])
    }

    /// Whether the running rollout goes on, pauses or is taken back with this judgement: whoever shows the evidence
    /// shows it as it is now.
    #[must_use]
    pub fn is_due(&self, moment: &Moment, judgement: &Judgement) -> bool {
        let Some(rollout) = self.state.running() else { return false };
        let Some(Due { late, .. }) = self.due(moment, judgement) else { return false };
        late.is_some() || (self.lacks(rollout, judgement).is_none() && self.unproven(rollout, judgement).is_none())
    }

    /// Whether the present step could end, if nothing stood against it.
    fn due(&self, moment: &Moment, judgement: &Judgement) -> Option<Due> {
        let rollout = self.state.running()?;
        let (hold, early, deadline) = match rollout.plan.steps.get(rollout.step)? {
            Step::Weight { hold, early, deadline, .. } => (hold, *early, *deadline),
            Step::Match { hold, .. } | Step::Mirror { hold, .. } => (hold, false, None),
            Step::Approval => return None,
        };
        if rollout.phase != Phase::Progressing || self.proposal.is_some() {
            return None;
        }
        let passed = moment.elapsed.saturating_sub(self.step_began);
        let held = passed >= *hold;
        // A dry run's steps end by time and data alone.
        let judges = !rollout.plan.dry_run;
        let late = deadline.filter(|deadline| judges && passed >= deadline.after);
        (held || (early && judges && judgement.proven)).then_some(Due { held, late })
    }

    fn advance_when_due(&mut self, moment: &Moment, judgement: &Judgement) -> Change {
        if let Some(why) = self.speaks_against_proposal(judgement) {
            return self.not_taken(moment, why);
        }
        let Some(rollout) = self.state.running() else { return Change::default() };
        if rollout.awaits_endpoints && rollout.phase == Phase::Progressing && self.proposal.is_none() {
            match self.awaited(rollout) {
                None => return self.begin_to_serve(moment),
                waits => self.waits_for = waits,
            }
        }
        let Some(Due { held, late }) = self.due(moment, judgement) else { return Change::default() };
        let unproven = self.unproven(rollout, judgement);
        let lacks = self.lacks(rollout, judgement);
        let why = match (lacks, unproven, late) {
            (None, None, _) if held && wants_proof(rollout) => "its hold is over, and every gate passes",
            (None, None, _) if held => "its hold is over",
            (None, None, _) => "every gate passed before its hold was over",
            (None, Some(_), Some(Deadline { then: OnDeadline::Promote, .. })) => "its deadline is over, without proof",
            (lacks, unproven, Some(Deadline { then: OnDeadline::Hold, after })) => {
                let reason = self.late(after, lacks.or(unproven));
                let text = format!("{} paused: {reason}", rollout.canary);
                let next = self.paused_to_ask(Question::Deadline, format!("{reason}{}", on_deadline(after)));
                return self.at_once(moment, next, vec![News { kind: "warning", text }]);
            }
            (lacks, unproven, Some(Deadline { then: OnDeadline::RollBack, after })) => {
                let reason = self.late(after, lacks.or(unproven));
                return self.rolled_back(moment, reason);
            }
            (lacks, unproven, Some(Deadline { then: OnDeadline::Promote, .. }) | None) => {
                self.waits_for = lacks.or(unproven).filter(|_| held);
                return Change::default();
            }
        };
        self.waits_for = moment
            .journal_problem
            .as_ref()
            .filter(|_| held)
            .map(|problem| format!("waiting for the journal, which cannot be written: {problem}"));
        let (next, news) = self.advanced(why);
        self.propose(moment, By::Plan, next, news).unwrap_or_default()
    }

    /// What has come to stand against the step that the plan proposed and the disk has not taken yet.
    fn speaks_against_proposal(&self, judgement: &Judgement) -> Option<String> {
        self.proposal.as_ref().filter(|waiting| waiting.by == By::Plan)?;
        self.lacks(self.state.running()?, judgement)
    }

    /// The step that waits for the disk is not taken. Its entry may be on disk all the same, or come to be: what is in force
    /// is written after it.
    fn not_taken(&mut self, moment: &Moment, why: String) -> Change {
        let Some(rollout) = self.state.running() else { return Change::default() };
        let text = format!("{}: the next step waited for the disk and is not taken: {why}", rollout.canary);
        let change = self.at_once(moment, self.state.clone(), vec![News { kind: "warning", text }]);
        self.waits_for = Some(why);
        change
    }

    /// What stands against the next step whatever its deadline says.
    fn lacks(&self, rollout: &Rollout, judgement: &Judgement) -> Option<String> {
        let canary = &rollout.canary;
        if rollout.awaits_endpoints
            && let Some(waits) = self.awaited(rollout)
        {
            return Some(waits);
        }
        if let Some(unready) = self.unready(rollout) {
            return Some(unready);
        }
        match rollout.plan.steps.get(rollout.step) {
            Some(Step::Match { who: Some(Match { judged: true, .. }), .. }) => {}
            Some(Step::Match { who, .. }) => return lacks_people(who.as_ref(), rollout, judgement),
            Some(Step::Mirror { .. }) => return lacks_copies(rollout, judgement),
            Some(Step::Weight { .. } | Step::Approval) | None if self.state.weight_of(canary) > Weight::ZERO => {}
            Some(Step::Weight { .. } | Step::Approval) | None => {
                return Some(format!(
                    "{canary} has weight 0 and nothing to judge: set a weight, or skip to the next step"
                ));
            }
        }
        if !judgement.has_data {
            let quiet: Vec<&str> = self.without_data().map(|gate| gate.name.as_str()).collect();
            let seen = self.reading.gates.iter().any(|gate| gate.verdict != Verdict::NoData);
            // Where one gate has data and another has none, it is the paths that differ.
            let of = if quiet.is_empty() || !seen { String::new() } else { format!(" of {}", quiet.join(", ")) };
            return Some(format!(
                "waiting for traffic{of}: no answers of both versions to judge, in the last 30 s or since it began"
            ));
        }
        let (needed, had) = (rollout.plan.min_requests, judgement.step_requests);
        if had.stable < needed || had.canary < needed {
            let compared = name_of_compared(&rollout.plan, self.state.stable.as_str());
            let left = judgement.left_in_step;
            let uncounted = if left == Arms::default() {
                String::new()
            } else {
                format!(
                    " (those that clients left before their end do not count: {} to {compared}, {} to {canary})",
                    left.stable, left.canary
                )
            };
            return Some(format!(
                "waiting for {needed} requests of each version in this step: {compared} had {}, {canary} had {}{uncounted}",
                had.stable, had.canary
            ));
        }
        if judgement.warms_up_for > 0 {
            let seconds = judgement.warms_up_for;
            return Some(format!("waiting for {canary} to warm up: its latencies are compared in {seconds} s"));
        }
        if let Some(uncompared) = &judgement.uncompared {
            return Some(format!("waiting for latencies: {uncompared}"));
        }
        unanswered(rollout, judgement).or_else(|| under_suspicion(rollout, judgement))
    }

    /// That a proof is wanted and missing.
    fn unproven(&self, rollout: &Rollout, judgement: &Judgement) -> Option<String> {
        if !wants_proof(rollout) || judgement.proven {
            return None;
        }
        let names: Vec<&str> = self.not_passed().map(|gate| gate.name.as_str()).collect();
        let of = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
        Some(format!("waiting for proof{of}"))
    }

    fn without_data(&self) -> impl Iterator<Item = &GateView> {
        self.judging().filter(|gate| gate.verdict == Verdict::NoData)
    }

    /// The gates of the plan that judge in the present step and have not passed.
    fn not_passed(&self) -> impl Iterator<Item = &GateView> {
        self.judging().filter(|gate| gate.verdict != Verdict::Pass)
    }

    /// The gates of the plan that judge in the present step: those that look at copies while it sends any, and else the
    /// others. The breaker and the check of the traffic are none of them.
    fn judging(&self) -> impl Iterator<Item = &GateView> {
        let rollout = self.state.running();
        let of_plan = rollout.map_or(&[][..], |rollout| &rollout.plan.gates);
        let copies = rollout.is_some_and(|rollout| rollout.mirror().is_some());
        let judges = move |gate: &&GateView| {
            of_plan
                .iter()
                .filter(|planned| is_of_copies(planned) == copies)
                .any(|planned| planned.tests().contains(&gate.name))
        };
        self.reading.gates.iter().filter(judges)
    }

    /// Why a step that is over its deadline could not end, gate by gate.
    fn late(&self, after: Duration, obstacle: Option<String>) -> String {
        let step = self.state.running().map_or(0, |rollout| rollout.step) + 1;
        let gates: Vec<String> = self.not_passed().map(how_far).collect();
        let gates = if gates.is_empty() { String::new() } else { format!(" ({})", gates.join("; ")) };
        let obstacle = obstacle.unwrap_or_else(|| "it could not end".to_owned());
        format!("step {step} is over its deadline of {}: {obstacle}{gates}", in_words(after))
    }
}

/// What stands against the end of a step whose people are not compared: they are few and unlike all others, so how many
/// there were says nothing. But somebody has to have tried it.
fn lacks_people(who: Option<&Match>, rollout: &Rollout, judgement: &Judgement) -> Option<String> {
    match who {
        Some(who) if judgement.matched_in_step == 0 => Some(format!(
            "waiting for the first request that matches {who} and that {} serves well; skip to go on without",
            rollout.canary
        )),
        Some(_) | None => unanswered(rollout, judgement).or_else(|| under_suspicion(rollout, judgement)),
    }
}

/// What stands against the end of a step that sends copies: they alone are judged in it.
fn lacks_copies(rollout: &Rollout, judgement: &Judgement) -> Option<String> {
    let (canary, stable) = (&rollout.canary, &rollout.stable);
    if !judgement.has_data {
        return Some(format!(
            "waiting for copies: {canary} has answered none of {stable}'s requests in the last 30 s or since the step began; \
             `status` says why requests were not copied"
        ));
    }
    let (needed, had) = (rollout.plan.min_requests, judgement.copies_in_step.compared);
    if had < needed {
        return Some(format!(
            "waiting for {needed} copied requests that could be compared in this step: there were {had} of {} that ended",
            judgement.copies_in_step.ended
        ));
    }
    under_suspicion(rollout, judgement)
}

/// Whether the present step ends by proof alone: there is something to prove in it, and the plan asks for it.
fn wants_proof(rollout: &Rollout) -> bool {
    let is_judged = match rollout.plan.steps.get(rollout.step) {
        Some(Step::Weight { .. }) => true,
        // Where no gate looks at the copies there is nothing to prove by them.
        Some(Step::Mirror { .. }) => rollout.plan.gates.iter().any(is_of_copies),
        Some(Step::Match { .. } | Step::Approval) | None => false,
    };
    is_judged && rollout.plan.advance == Advance::Proof && !rollout.plan.dry_run
}

fn is_of_copies(gate: &Gate) -> bool {
    matches!(gate.rule, GateRule::Mirror(_))
}

/// What the canary does with these is known once they are answered, or have waited for as long as they may.
fn unanswered(rollout: &Rollout, judgement: &Judgement) -> Option<String> {
    if judgement.is_short && !rollout.plan.dry_run {
        return Some(
            "waiting for the proxy: requests fail for its own want of file descriptors or local ports, which is charged to \
             no version; see its log"
                .to_owned(),
        );
    }
    let Unanswered { drawn, waiting } = judgement.unanswered.filter(|_| !rollout.plan.dry_run)?;
    let (canary, stable) = (&rollout.canary, &rollout.stable);
    Some(format!(
        "waiting for answers of {canary}: {} of its last {} requests are not answered yet, {} of the last {} of {stable}",
        waiting.canary, drawn.canary, waiting.stable, drawn.stable
    ))
}

fn under_suspicion(rollout: &Rollout, judgement: &Judgement) -> Option<String> {
    if let Some(beyond) = judgement.beyond.as_ref().filter(|_| !rollout.plan.dry_run) {
        return Some(format!(
            "no step forward: {beyond}. No harm is established; abort, or skip to go on all the same"
        ));
    }
    let waits = judgement.suspicion && !rollout.plan.dry_run;
    waits.then(|| "waiting for the suspicion of harm to settle: see the gates".to_owned())
}

/// A step that could end.
#[derive(Debug, Clone, Copy)]
struct Due {
    /// Its hold is over; else it may end early.
    held: bool,
    /// Its deadline, where that is over.
    late: Option<Deadline>,
}

impl Question {
    /// The findings that the tests ask about.
    fn found(judgement: &Judgement) -> Option<Self> {
        let (signal, traffic) = (judgement.signal.is_some(), judgement.traffic.is_some());
        (signal || traffic).then_some(Self::Found { signal, traffic })
    }

    /// Whether this finds something that the other does not.
    fn exceeds(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Found { signal, traffic }, Self::Found { signal: seen_signal, traffic: seen_traffic }) => {
                (*signal && !seen_signal) || (*traffic && !seen_traffic)
            }
            (mine, theirs) => mine != theirs,
        }
    }
}

/// How the reason of a pause ends at a deadline.
fn on_deadline(after: Duration) -> String {
    format!("; resume to wait another {}, promote, or abort", in_words(after))
}

/// What was found, in sentences that name their gates.
fn findings(judgement: &Judgement) -> String {
    let signal = judgement.signal.as_ref().map(|harm| format!("{}: {}", harm.gate, harm.explain));
    let traffic = judgement.traffic.as_ref().map(|seen| format!("traffic: {seen}"));
    signal.into_iter().chain(traffic).collect::<Vec<_>>().join("; ")
}

/// How far a gate is on its way to pass.
fn how_far(gate: &GateView) -> String {
    let state = match (gate.verdict, gate.proof) {
        (Verdict::NoData, _) => "no data".to_owned(),
        (Verdict::Fail | Verdict::Inconclusive | Verdict::Pass, Some(proof)) => {
            format!("{:.0} % of the way to pass", (proof * 100.0).floor())
        }
        (Verdict::Fail | Verdict::Inconclusive | Verdict::Pass, None) => {
            "nothing is proven yet in this step".to_owned()
        }
    };
    format!("{}: {state}", gate.name)
}

/// A time as a plan writes it: `1h30m`, `10s`, `500ms`.
fn in_words(time: Duration) -> String {
    let (seconds, milliseconds) = (time.as_secs(), time.subsec_millis());
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s"), (milliseconds.into(), "ms")];
    let words: String =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    if words.is_empty() { "0s".to_owned() } else { words }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_a_plan_writes_them() {
        let said =
            [0, 500, 10_000, 90_000, 5_400_000].map(|milliseconds| in_words(Duration::from_millis(milliseconds)));
        assert_eq!(said, ["0s", "500ms", "10s", "1m30s", "1h30m"]);
    }
}
