//! The tests of one running rollout as the control loop uses them: whatever they are told passes here.

use std::time::Duration;

use config::{Name, Weight};
use jiff::Timestamp;

use crate::judge::{Background, Judge, Tick, Trial};
pub use crate::record::Recording;
use crate::record::{Mark, Place, Recorder};
use crate::rollout::Rollout;
use crate::view::Phase;

/// The tests of one rollout.
#[derive(Debug)]
pub(super) struct Judged {
    judge: Judge,
    recorder: Recorder,
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
    /// A rollout begins, or its evidence was lost and begins anew. `first_byte` is how long the service waits for the head of
    /// a response.
    pub(super) fn begin(
        recording: &Recording,
        service: &Name,
        rollout: &Rollout,
        at: Timestamp,
        background: Background,
        first_byte: Duration,
    ) -> Self {
        let judge = Judge::new(Trial {
            plan: &rollout.plan,
            stable: rollout.stable.as_str(),
            canary: rollout.canary.as_str(),
            background,
            first_byte,
        });
        Self::resume(recording, service, rollout, at, judge, 0)
    }

    /// A rollout goes on in another process, with the tests as they were saved. `missing`: so many windows that they have
    /// seen are not in their record.
    pub(super) fn resume(
        recording: &Recording,
        service: &Name,
        rollout: &Rollout,
        at: Timestamp,
        judge: Judge,
        missing: u64,
    ) -> Self {
        let recorder = recording.record(service.as_str(), rollout, at, &judge, missing);
        Self { judge, recorder }
    }

    /// Folds in what the versions did since the last tick.
    pub(super) fn tick(&mut self, ticked: Ticked, tick: &Tick<'_>) {
        self.judge.tick(tick);
        let Ticked { at, generation, weight } = ticked;
        self.recorder.tick(at, generation, weight.basis_points(), tick, &self.judge);
    }

    /// The canary's weight changed, or a step began.
    pub(super) fn new_step(&mut self, at: Timestamp) {
        self.judge.new_step();
        self.recorder.mark(at, Mark::NewStep, &self.judge);
    }

    /// A person has seen what was signalled and goes on.
    pub(super) fn acknowledge(&mut self, at: Timestamp) {
        self.judge.acknowledge();
        self.recorder.mark(at, Mark::Acknowledge, &self.judge);
    }

    /// A dry run goes on after established harm.
    pub(super) fn begin_anew(&mut self, at: Timestamp) {
        self.judge.begin_anew();
        self.recorder.mark(at, Mark::BeginAnew, &self.judge);
    }

    /// The canary got more endpoints: its gates warm up again, where they have not done so in this step.
    pub(super) fn warm_up_again(&mut self, at: Timestamp) {
        if !self.judge.may_warm_up_again() {
            return;
        }
        self.judge.warm_up_again();
        self.recorder.mark(at, Mark::WarmUpAgain, &self.judge);
    }

    /// The rollout is over. What is known of stable traffic is kept.
    pub(super) fn end(self, at: Timestamp, outcome: Option<Phase>) -> Background {
        let Self { judge, recorder } = self;
        recorder.end(at, outcome, &judge);
        judge.into_background()
    }

    /// Where their record is now; none where nothing is recorded.
    pub(super) fn place(&self) -> Option<Place> {
        self.recorder.place()
    }

    /// The tests, to be read.
    pub(super) const fn judge(&self) -> &Judge {
        &self.judge
    }
}
