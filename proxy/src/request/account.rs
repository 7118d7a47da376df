//! A request in the books of the version that it drew.

use std::sync::Arc;

use meter::{DrawnAt, Outcome};

use crate::routing::{Draw, Slice, Version};
use crate::selection::Judged;

/// Counts a request as in flight on the version drawn, and in its slice, until this is dropped; and says then whether
/// its first attempt is on record.
#[derive(Debug)]
pub(super) struct Account {
    core: usize,
    drawn: Arc<Version>,
    slice: Option<Arc<Slice>>,
    /// Judged in its slice alone.
    is_apart: bool,
    /// It waits for its answer, and is one of those who show whether the version answers.
    waits: Option<DrawnAt>,
    first_is_recorded: bool,
    /// The first attempt was a failure of the version's.
    first_failed: bool,
    /// From the request's head to its last byte, once it is over; none for a tunnel.
    pub(super) duration_us: Option<u64>,
}

impl Account {
    /// A request drew this, on this core, and may be judged by these.
    pub(super) fn open(core: usize, draw: Draw<'_>, judged: Judged) -> Self {
        let (drawn, slice) = (Arc::clone(draw.version), draw.slice.map(Arc::clone));
        let drawn_at = drawn.meter.begin(core, draw.at_random);
        if let Some(slice) = &slice {
            slice.meter.begin(core, draw.at_random);
        }
        let is_apart = judged == Judged::Apart;
        let mut account = Self {
            core,
            drawn,
            slice,
            is_apart,
            waits: Some(drawn_at),
            first_is_recorded: false,
            first_failed: false,
            duration_us: None,
        };
        // Who asked for the version shows nothing.
        if judged == Judged::Not {
            account.answered();
        }
        account
    }

    /// All of the answer is there that anybody waits for, or there will be none.
    pub(super) fn answered(&mut self) {
        if let Some(drawn_at) = self.waits.take() {
            self.drawn.meter.answered(self.core, drawn_at);
        }
    }

    /// Whether the first attempt is on record.
    pub(super) const fn first_is_recorded(&self) -> bool {
        self.first_is_recorded
    }

    /// Another version has answered well in the stead of the one drawn. Where that had merely no room, nothing was to be
    /// saved.
    pub(super) fn answered_by_another(&self) {
        if self.first_failed {
            self.drawn.meter.saved(self.core);
        }
    }

    /// Records the first attempt, which is the one that is judged.
    pub(super) fn record_first(&mut self, outcome: &Outcome) {
        self.answered();
        self.first_is_recorded = true;
        self.first_failed = outcome.class.is_bad();
        let of_all = Outcome { judged: outcome.judged && !self.is_apart, ..*outcome };
        self.drawn.meter.record_under(self.core, self.drawn.exposure, &of_all);
        if let Some(slice) = &self.slice {
            slice.meter.record_under(self.core, slice.exposure, outcome);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.answered();
        self.drawn.meter.end(self.core, self.duration_us, self.first_is_recorded);
        if let Some(slice) = &self.slice {
            slice.meter.end(self.core, None, self.first_is_recorded);
        }
    }
}
