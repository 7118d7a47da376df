//! The tests of one running rollout as the control loop uses them: whatever they are told passes here.

use config::{Name, Weight};
use jiff::Timestamp;

use crate::judge::{Background, Judge, Tick, Trial};
use crate::rollout::Rollout;
use crate::view::Phase;

/// Where the rollouts of this process are recorded.
#[derive(Debug, Default)]
pub struct Recording {}

impl Recording {
    /// Everything that was handed over is written, and nothing more will be. Called once, at the end of the loop.
    pub(super) fn close(&mut self) {}
}

/// The tests of one rollout.
#[derive(Debug)]
pub(super) struct Judged {
    judge: Judge,
}

/// When a tick was, and under which split.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticked {
    pub(super) at: Timestamp,
    pub(super) generation: u64,
    /// The canary's.
    pub(super) weight: Weight,
}

impl Judged {
    /// A rollout begins, or its evidence was lost and begins anew.
    pub(super) fn begin(
        _recording: &Recording,
        _service: &Name,
        rollout: &Rollout,
        _at: Timestamp,
        background: Background,
    ) -> Self {
        let judge = Judge::new(Trial {
            plan: &rollout.plan,
            stable: rollout.stable.as_str(),
            canary: rollout.canary.as_str(),
            background,
        });
        Self { judge }
    }

    /// A rollout goes on in another process, with the tests as they were saved.
    pub(super) fn resume(
        _recording: &Recording,
        _service: &Name,
        _rollout: &Rollout,
        _at: Timestamp,
        judge: Judge,
    ) -> Self {
        Self { judge }
    }

    /// Folds in what the versions did since the last tick.
    pub(super) fn tick(&mut self, _ticked: Ticked, tick: &Tick<'_>) {
        self.judge.tick(tick);
    }

    /// The canary's weight changed, or a step began.
    pub(super) fn new_step(&mut self, _at: Timestamp) {
        self.judge.new_step();
    }

    /// A person has seen what was signalled and goes on.
    pub(super) fn acknowledge(&mut self, _at: Timestamp) {
        self.judge.acknowledge();
    }

    /// A dry run goes on after established harm.
    pub(super) fn begin_anew(&mut self, _at: Timestamp) {
        self.judge.begin_anew();
    }

    /// The canary got more endpoints.
    pub(super) fn warm_up_again(&mut self, _at: Timestamp) {
        self.judge.warm_up_again();
    }

    /// The rollout is over. What is known of stable traffic is kept.
    pub(super) fn end(self, _at: Timestamp, _outcome: Option<Phase>) -> Background {
        self.judge.into_background()
    }

    /// The tests, to be read.
    pub(super) const fn judge(&self) -> &Judge {
        &self.judge
    }
}
