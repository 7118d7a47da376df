//! Sentences about copies of requests.

use super::Words;
use super::figures::{grouped, percent, span};
use crate::judge::FRESH_SECONDS;
use crate::judge::settings::Part;
use crate::statistics::Batcher;

/// What there is of copies while a gate has nothing to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::judge) enum CopiesSeen {
    /// The present step sends none.
    NoneSent,
    /// It sends some.
    Waiting {
        /// For so many seconds none has ended; none where none ever did.
        unseen_for: Option<u64>,
        /// So many wait for the next batch.
        open: u64,
    },
}

impl Words<'_> {
    /// `v2 answered 3.1 % of 1 200 copied requests with another status than v1`.
    pub(super) fn copies(self, part: Part, events: u64, of: u64) -> String {
        let Self { stable, canary, .. } = self;
        let (rate, of) = (percent(events, of), grouped(of));
        match part {
            Part::Errors => format!("{canary} failed {rate} of {of} copied requests that {stable} did not fail"),
            Part::Status => {
                format!("{canary} answered {rate} of {of} copied requests with another status than {stable}")
            }
            Part::Body => format!("{canary} answered {rate} of {of} copied requests with another body than {stable}"),
        }
    }

    /// There is nothing to judge.
    pub(in crate::judge) fn no_copies(self, seen: CopiesSeen) -> String {
        let Self { stable, canary, .. } = self;
        match seen {
            CopiesSeen::NoneSent => format!("no copies of requests go to {canary} now: nothing to judge"),
            CopiesSeen::Waiting { unseen_for: None, .. } => {
                format!("no copy of a request to {stable} has ended yet: nothing to judge")
            }
            CopiesSeen::Waiting { unseen_for: Some(seconds), .. } if seconds >= FRESH_SECONDS => {
                format!("no copy of a request to {stable} has ended {}: nothing to judge", span(seconds))
            }
            CopiesSeen::Waiting { open, .. } => {
                format!("{} copied requests wait to be judged: {} are needed", grouped(open), Batcher::MIN_TOTAL)
            }
        }
    }
}
