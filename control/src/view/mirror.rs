//! What became of copies of requests.

use serde::{Deserialize, Serialize};

use crate::plane::MirrorAnswer;

/// What became of copies of requests that a version was sent, since the process began.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MirrorView {
    /// Handed over to be sent.
    pub sent: u64,
    /// Answered in time, with any status.
    pub answered: u64,
    /// Those of which it is known what became of both, the copy and the request.
    pub ended: u64,
    /// Of those, the ones that stable and this version both answered, so that they could be compared.
    pub compared: u64,
    /// Of those that ended, the ones where this version failed and stable did not.
    pub failed: u64,
    /// Of those that ended, the ones where both failed.
    pub both_failed: u64,
    /// Of those compared, the ones with another status.
    pub status: u64,
    /// Of those compared, the ones with the same status and another body.
    pub body: u64,
    /// Requests that were to be copied and were not, by reason.
    pub not_copied: NotCopied,
    /// A few whose answers differed, newest first.
    pub samples: Vec<MirrorSampleView>,
}

/// Requests that were to be copied and were not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NotCopied {
    /// As many copies were under way as may be.
    pub full: u64,
    /// The body is longer than what is copied.
    pub too_large: u64,
    /// An upgrade, a stream of events, or a body whose end did not come in time.
    pub streamed: u64,
    /// The method is none of those that are copied.
    pub method: u64,
    /// The request has a precondition (`If-None-Match` and its like): its answer depends on what its client has from stable.
    #[serde(default)]
    pub conditional: u64,
}

/// A copied request whose answers differed: heads alone, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorSampleView {
    /// When they were compared, in RFC 3339.
    pub at: String,
    /// What set them apart: `errors`, `status` or `body`.
    pub differs_in: String,
    /// Of the request.
    pub method: String,
    /// Of the request, without its query.
    pub path: String,
    /// What stable answered.
    pub stable: MirrorAnswer,
    /// What this version answered to the copy.
    pub canary: MirrorAnswer,
}
