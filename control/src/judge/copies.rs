//! Copies of stable's requests that the canary got, before it has users of its own: what became of them, gathered into
//! batches for the gates that hold them against a limit.

use meter::MirrorCounts;
use serde::{Deserialize, Serialize};

use super::FRESH_SECONDS;
use super::settings::Part;
use crate::statistics::{Batch, Batcher};
use crate::view::Arms;

/// What became of copies, beside the requests that they were copied from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Copies {
    /// Those of which it is known what became of both.
    pub ended: u64,
    /// Of those, the ones where stable did well and the canary answered.
    pub compared: u64,
    /// Of those that ended, the ones where the canary failed and stable did not.
    pub failed: u64,
    /// Of those compared, the ones with another status.
    pub status: u64,
    /// Of those compared, the ones with the same status and another body.
    pub body: u64,
}

impl From<MirrorCounts> for Copies {
    fn from(counts: MirrorCounts) -> Self {
        let MirrorCounts { ended, compared, failed, status, body, .. } = counts;
        Self { ended, compared, failed, status, body }
    }
}

impl Copies {
    /// Adds others.
    pub const fn merge(&mut self, other: Self) {
        let Self { ended, compared, failed, status, body } = other;
        self.ended = self.ended.saturating_add(ended);
        self.compared = self.compared.saturating_add(compared);
        self.failed = self.failed.saturating_add(failed);
        self.status = self.status.saturating_add(status);
        self.body = self.body.saturating_add(body);
    }

    /// What was counted since these were; all of it where they are of a meter of before.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        const fn grown(now: u64, before: u64) -> u64 {
            match now.checked_sub(before) {
                Some(grown) => grown,
                None => now,
            }
        }
        Self {
            ended: grown(self.ended, before.ended),
            compared: grown(self.compared, before.compared),
            failed: grown(self.failed, before.failed),
            status: grown(self.status, before.status),
            body: grown(self.body, before.body),
        }
    }

    /// As a test that looks at this part takes them: the canary's alone, since stable is what they are compared with.
    pub(super) fn batch(&self, part: Part) -> Batch {
        let (of, differing) = match part {
            Part::Errors => (self.ended, self.failed),
            Part::Status => (self.compared, self.status),
            Part::Body => (self.compared, self.body),
        };
        let of_canary = |canary| Arms { stable: 0, canary };
        // Counted by every core while it is read: a part may come before what it is a part of.
        Batch { requests: of_canary(of), bad: of_canary(differing.min(of)), left: Arms::default() }
    }
}

/// What a judge remembers of the copies. Only where the plan sends any.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Copied {
    /// Whether the present step sends copies.
    on: bool,
    /// Whether the open batch may prove anything.
    pub(super) proves: bool,
    open: Copies,
    /// Since the step began.
    in_step: Copies,
    /// Since the rollout began.
    total: Copies,
    /// When one last ended.
    seen_at: Option<u64>,
    /// When a batch last closed.
    batch_at: Option<u64>,
}

impl Copied {
    /// Adds what became of copies since the last tick, none where the step sends none; gives the batch that it closed, if
    /// it closed one. `proves` is whether what comes now may prove anything.
    pub(super) fn gather(&mut self, copies: Option<Copies>, seconds: u64, proves: bool) -> Option<Copies> {
        self.on = copies.is_some();
        let copies = copies.filter(|copies| *copies != Copies::default())?;
        if self.open == Copies::default() {
            self.proves = proves;
        }
        self.open.merge(copies);
        self.in_step.merge(copies);
        self.total.merge(copies);
        self.seen_at = Some(seconds);
        if self.open.ended < Batcher::MIN_TOTAL {
            return None;
        }
        self.flush(seconds)
    }

    /// Gives what there is, if there is anything: for a change of steps.
    pub(super) fn flush(&mut self, seconds: u64) -> Option<Copies> {
        let batch = std::mem::take(&mut self.open);
        if batch.ended == 0 {
            return None;
        }
        self.batch_at = Some(seconds);
        Some(batch)
    }

    /// A step begins.
    pub(super) fn begin_step(&mut self) {
        self.in_step = Copies::default();
    }

    /// Whether the present step sends copies.
    pub(super) const fn is_on(&self) -> bool {
        self.on
    }

    /// Whether a batch closed lately, of a step that sends copies.
    pub(super) fn has_data(&self, seconds: u64) -> bool {
        self.on && self.batch_at.is_some_and(|at| seconds.saturating_sub(at) < FRESH_SECONDS)
    }

    /// For how many seconds none ended; none where none ever did.
    pub(super) fn unseen_for(&self, seconds: u64) -> Option<u64> {
        self.seen_at.map(|at| seconds.saturating_sub(at))
    }

    /// Those that wait for the batch to close.
    pub(super) const fn open(&self) -> u64 {
        self.open.ended
    }

    /// Since the step began.
    pub(super) const fn in_step(&self) -> Copies {
        self.in_step
    }

    /// Since the rollout began.
    pub(super) const fn total(&self) -> Copies {
        self.total
    }
}
