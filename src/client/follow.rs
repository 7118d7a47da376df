//! Follows one rollout to its end: `rollout start --wait` and `rollout watch`.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use control::view::{DRY_RUN_OVER, Phase, RolloutView, Verdict};

use super::connection::{Connection, Failure};
use super::screen::{Screen, plain};
use super::status::{seconds, tone, weight};
use crate::exit::Exit;

/// How often the server is asked.
const EACH: Duration = Duration::from_millis(250);
/// A server that cannot be reached for this long is gone.
const GONE: Duration = Duration::from_secs(2);

/// How to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Following {
    /// Give up after this long; none: never.
    pub timeout: Option<Duration>,
    /// Print a line of JSON for each change, instead of a sentence.
    pub json: bool,
}

/// Follows `rollout` until it ends, and prints a line at each change. A message on `interrupts` ends the following and
/// not the rollout.
///
/// # Errors
/// Where the server refuses or is gone for two seconds, or the screen cannot be written.
pub fn follow(
    rollout: RolloutView,
    following: Following,
    server: &Connection,
    screen: &mut Screen<'_>,
    interrupts: &mpsc::Receiver<()>,
) -> anyhow::Result<Exit> {
    let started = now();
    let mut reached = started;
    let mut shown = Shown { following, last: None };
    let mut present = rollout;
    loop {
        shown.show(&present, screen)?;
        if let Some(exit) = Exit::of(present.phase) {
            return Ok(exit);
        }
        let left = following.timeout.map(|timeout| timeout.saturating_sub(started.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            let asked = following.timeout.unwrap_or_default();
            let time = if asked.subsec_nanos() == 0 { seconds(asked.as_secs_f64()) } else { format!("{asked:?}") };
            shown.leave(&present, &format!("no end within {time}"), screen)?;
            return Ok(Exit::NoEnd);
        }
        match interrupts.recv_timeout(left.map_or(EACH, |left| left.min(EACH))) {
            Ok(()) => {
                shown.leave(&present, "interrupted", screen)?;
                return Ok(Exit::Interrupted);
            }
            // Nobody is left who could interrupt; waiting on would not wait any more.
            Err(RecvTimeoutError::Disconnected) => anyhow::bail!("cannot listen for Ctrl-C any more"),
            Err(RecvTimeoutError::Timeout) => {}
        }
        match look(&present, server) {
            Ok(next) => {
                reached = now();
                present = next;
            }
            Err(Failure::Unreachable { .. } | Failure::Silent { .. }) if reached.elapsed() < GONE => {}
            Err(failure) => return Err(failure.into()),
        }
    }
}

/// The same rollout as the server has it now. One that is not the latest any more has ended.
fn look(present: &RolloutView, server: &Connection) -> Result<RolloutView, Failure> {
    let service = &present.service;
    let latest: RolloutView = server.get(&format!("/api/v1/services/{service}/rollout"))?;
    if latest.id == present.id {
        return Ok(latest);
    }
    let history: Vec<RolloutView> = server.get(&format!("/api/v1/services/{service}/history"))?;
    Ok(history.into_iter().find(|ended| ended.id == present.id).unwrap_or_else(|| RolloutView {
        phase: Phase::Superseded,
        reason: Some(format!("another rollout took its place: {}", latest.id)),
        ..present.clone()
    }))
}

/// What was shown last, so that only changes are.
struct Shown {
    following: Following,
    last: Option<RolloutView>,
}

impl Shown {
    fn show(&mut self, rollout: &RolloutView, screen: &mut Screen<'_>) -> anyhow::Result<()> {
        let last = self.last.as_ref();
        let moved = last.is_none_or(|last| {
            (last.phase, last.step, last.weight, &last.reason)
                != (rollout.phase, rollout.step, rollout.weight, &rollout.reason)
        });
        let verdicts =
            |it: &RolloutView| it.gates.iter().map(|gate| (gate.name.clone(), gate.verdict)).collect::<Vec<_>>();
        let judged = last.is_some_and(|last| verdicts(last) != verdicts(rollout));
        if self.following.json {
            if moved || judged {
                screen.json_line(rollout)?;
            }
        } else {
            if moved {
                screen.line(&sentence(rollout, screen))?;
            }
            for gate in &rollout.gates {
                let before = last.and_then(|last| last.gates.iter().find(|it| it.name == gate.name));
                if before.is_none_or(|before| before.verdict != gate.verdict) {
                    let word = verdict(gate.verdict);
                    screen.line(&format!("  gate {}: {word}: {}", plain(&gate.name), plain(&gate.explain)))?;
                }
            }
        }
        self.last = Some(rollout.clone());
        Ok(())
    }

    /// Says that the rollout goes on. Among lines of JSON a sentence would be a fault, so it is left out there.
    fn leave(&self, rollout: &RolloutView, why: &str, screen: &mut Screen<'_>) -> anyhow::Result<()> {
        if !self.following.json {
            let (service, canary) = (plain(&rollout.service), plain(&rollout.canary));
            screen.line(&format!("{why}; the rollout of {canary} goes on: tidegate rollout watch {service}"))?;
        }
        Ok(())
    }
}

fn sentence(rollout: &RolloutView, screen: &Screen<'_>) -> String {
    let (service, canary) = (plain(&rollout.service), plain(&rollout.canary));
    let phase = screen.toned(tone(rollout.phase), rollout.phase.word());
    let why = rollout.reason.as_ref().map(|reason| after_phase(rollout.phase, &plain(reason))).unwrap_or_default();
    let share = weight(rollout.weight);
    let (step, steps) = (rollout.step, rollout.steps);
    match rollout.phase {
        Phase::Progressing => {
            let hold = rollout.step_hold_s.map(|hold| format!(", to hold {}", seconds(hold))).unwrap_or_default();
            format!("{service}: {canary} at {share}, step {step} of {steps}{hold}, {phase}{why}")
        }
        Phase::AwaitingApproval => {
            format!(
                "{service}: {canary} at {share}, step {step} of {steps}, {phase}{why}; approve with: tidegate rollout approve {service}"
            )
        }
        // To go on is to begin its last step anew; what is to be decided is in the reason.
        Phase::Paused if rollout.reason.as_ref().is_some_and(|reason| reason.starts_with(DRY_RUN_OVER)) => {
            format!("{service}: {canary} at {share}, step {step} of {steps}, {phase}{why}")
        }
        Phase::Paused => format!(
            "{service}: {canary} at {share}, step {step} of {steps}, {phase}{why}; go on with: tidegate rollout resume {service}"
        ),
        Phase::Promoting => format!("{service}: {canary} {phase}{why}"),
        Phase::Promoted => format!("{service}: {phase}, {canary} is the stable now{why}"),
        Phase::RolledBack | Phase::Aborted | Phase::Superseded => format!("{service}: {canary} {phase}{why}"),
    }
}

/// A reason behind the phase, which some reasons begin with themselves.
fn after_phase(phase: Phase, reason: &str) -> String {
    match reason.strip_prefix(phase.word()) {
        Some(rest) if rest.starts_with([':', ' ']) => rest.to_owned(),
        Some(_) | None => format!(": {reason}"),
    }
}

const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fail => "fail",
        Verdict::NoData => "no-data",
        Verdict::Inconclusive => "inconclusive",
        Verdict::Pass => "pass",
    }
}

#[expect(clippy::disallowed_methods, reason = "a shell: how long a person waits is real time")]
fn now() -> Instant {
    Instant::now()
}
