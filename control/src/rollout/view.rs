//! A release as people see it, and what they may do to it.

use config::{Baseline, Match, Step, Weight};

use super::Moment;
use super::release::Release;
use super::state::{Rollout, State};
use crate::command::Action;
use crate::view::{MatchView, Phase, RolloutView};

/// What a person may do to a rollout in this phase. An undo is possible only while the promoted version is still the
/// stable, which a [`Release`] knows.
#[must_use]
pub const fn allowed(phase: Phase) -> &'static [Action] {
    match phase {
        Phase::Progressing => &[Action::Pause, Action::Skip, Action::Promote, Action::Abort],
        Phase::Paused => &[Action::Resume, Action::Promote, Action::Abort],
        Phase::AwaitingApproval => &[Action::Approve, Action::Promote, Action::Abort],
        Phase::Promoting => &[Action::Abort],
        Phase::Promoted => &[Action::Undo],
        Phase::RolledBack | Phase::Aborted | Phase::Superseded => &[Action::Retry],
    }
}

pub(super) fn allowed_words(actions: &[Action]) -> String {
    if actions.is_empty() {
        return "to start another".to_owned();
    }
    actions.iter().map(|action| action.word()).collect::<Vec<_>>().join(", ")
}

impl Release {
    /// The phase of the latest rollout.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        self.state.rollout.as_ref().map(|rollout| self.phase_of(rollout))
    }

    /// A promotion that waits for the disk shows as `promoting`, and is not in force.
    fn phase_of(&self, rollout: &Rollout) -> Phase {
        let promotes = self.proposed().and_then(|next| next.rollout.as_ref()).is_some_and(|next| {
            next.id == rollout.id && next.phase == Phase::Promoted && rollout.phase != Phase::Promoted
        });
        if promotes { Phase::Promoting } else { rollout.phase }
    }

    /// What a person may do to the latest rollout now.
    #[must_use]
    pub fn allowed(&self) -> &'static [Action] {
        match (self.phase(), &self.state.rollout) {
            (Some(Phase::Promoted), Some(rollout)) if self.state.stable != rollout.canary => &[],
            (Some(phase), _) => allowed(phase),
            (None, _) => &[],
        }
    }

    /// The latest rollout, running or ended.
    #[must_use]
    pub fn rollout_view(&self, moment: &Moment) -> Option<RolloutView> {
        let rollout = self.state.rollout.as_ref()?;
        Some(self.view_of(rollout, &self.state, moment))
    }

    pub(super) fn view_of(&self, rollout: &Rollout, state: &State, moment: &Moment) -> RolloutView {
        let ended = rollout.phase.has_ended();
        let reading = if ended { &rollout.reading } else { &self.reading };
        let weight = if state.stable == rollout.canary { Weight::FULL } else { state.weight_of(&rollout.canary) };
        let hold = match rollout.plan.steps.get(rollout.step) {
            Some(Step::Weight { hold, .. } | Step::Match { hold, .. } | Step::Mirror { hold, .. }) => {
                Some(hold.as_secs_f64())
            }
            Some(Step::Approval) | None => None,
        };
        // What stands in the way is said at once; what else is missing when the step could end.
        let unready = if rollout.awaits_endpoints { self.awaited(rollout) } else { self.unready(rollout) };
        let waits_for = self.waits_for.clone().or(unready).filter(|_| rollout.phase == Phase::Progressing);
        let approval = (rollout.phase == Phase::AwaitingApproval).then(|| "waiting for a person's approval".to_owned());
        RolloutView {
            id: rollout.id.clone(),
            service: self.service.name.to_string(),
            stable: rollout.stable.to_string(),
            canary: rollout.canary.to_string(),
            plan: rollout.plan_name.clone(),
            phase: self.phase_of(rollout),
            reason: rollout.reason.clone().or(approval).or(waits_for),
            step: rollout.step + 1,
            steps: rollout.plan.steps.len(),
            weight: weight.basis_points(),
            generation: state.generation,
            started_at: rollout.started_at.to_string(),
            ended_at: rollout.ended_at.map(|at| at.to_string()),
            step_elapsed_s: if ended { 0.0 } else { moment.elapsed.saturating_sub(self.step_began).as_secs_f64() },
            step_hold_s: hold,
            requests: reading.requests,
            failed: reading.failed,
            matching: rollout.matched().filter(|_| !ended).map(match_view),
            matched: reading.matched,
            mirror: rollout.mirror().filter(|_| !ended).map(Weight::basis_points),
            copies: rollout.plan.mirrors().then_some(reading.copies),
            gates: reading.gates.clone(),
            baseline: match &rollout.plan.baseline {
                Baseline::Stable => None,
                Baseline::Equal => Some("equal".to_owned()),
                Baseline::Version(version) => Some(version.to_string()),
            },
            dry_run: rollout.plan.dry_run,
            would_have_rolled_back: rollout.would_have_rolled_back,
            dispersion: reading.dispersion,
            estimates: Vec::new(),
        }
    }

    /// Where what is in force differs from what the file says, in words.
    #[must_use]
    pub fn differs_from_file(&self) -> Vec<String> {
        let (state, file) = (&self.state, &self.state.file);
        let mut differences = Vec::new();
        if state.stable != file.stable {
            differences.push(format!(
                "the stable is {}, the file says {}: what was promoted (or undone) wins until the file's stable changes",
                state.stable, file.stable
            ));
        }
        if state.canary != file.exposed() && (state.stable == file.stable || state.canary.is_some()) {
            differences.push(format!(
                "{}, the file says {}: a rollout or a person decided so, and wins until the file's canary changes",
                split_in_words(state.canary.as_ref()),
                split_in_words(file.exposed().as_ref())
            ));
        }
        differences
    }
}

fn match_view(matched: &Match) -> MatchView {
    let headers = matched.wanted().map(|(name, value)| (name.to_owned(), value)).collect();
    MatchView { headers, judged: matched.judged }
}

fn split_in_words(canary: Option<&(config::Name, Weight)>) -> String {
    match canary {
        Some((version, weight)) => format!("{version} has {weight}"),
        None => "no canary has traffic".to_owned(),
    }
}
