//! What was seen in blocks of time.

use super::figures::{before, chance};
use super::{Told, Words, more_than};
use crate::judge::settings::Above;
use crate::statistics::blocks::Run;

/// Fewer worse blocks are not worth a word.
const WORTH_A_WORD: u64 = 3;

/// The latest run of worse blocks, and from where on a block is worse.
#[derive(Debug, Clone, Copy)]
pub(in crate::judge) struct InBlocks {
    pub(in crate::judge) run: Run,
    /// Times stable's rate, and a part of all requests.
    pub(in crate::judge) far_more: (f64, f64),
}

impl Words<'_> {
    /// A gate of errors established harm by blocks of time: as [`harm`](Words::harm), of what dispersion does not touch.
    pub(in crate::judge) fn harm_in_blocks(
        self,
        told: Told<'_>,
        seconds: u64,
        log_evidence: f64,
        seen: InBlocks,
    ) -> String {
        format!(
            "{}: {}, and no burst lasts like that: harm is established (chance of seeing this without harm: {})",
            self.lately(told, &before(seconds)),
            self.blocks(seen),
            chance(log_evidence)
        )
    }

    /// `; in 5 of the last 6 blocks of 10 s v2 failed ...`, where that is worth a word.
    pub(in crate::judge) fn and_blocks(self, seen: InBlocks) -> String {
        if seen.run.worse < WORTH_A_WORD { String::new() } else { format!("; {}", self.blocks(seen)) }
    }

    fn blocks(self, InBlocks { run: Run { worse, blocks, seconds }, far_more: (ratio, points) }: InBlocks) -> String {
        let each = seconds.saturating_add(blocks / 2).checked_div(blocks).unwrap_or(seconds);
        // Three times 1.1 is not 3.3 in binary.
        let far = more_than(Above { ratio: (ratio * 100.0).round() / 100.0, points }, self.stable);
        format!("in {worse} of the last {blocks} blocks of {each} s {} failed {far}", self.canary)
    }
}
