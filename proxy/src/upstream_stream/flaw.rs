//! What can be wrong with a response in its bytes.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a response is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Its first line: the version, the status, the reason.
    StatusLine,
    /// A header: its name, its value, its end of line.
    Header,
    /// What says where it ends: `Content-Length`, `Transfer-Encoding`.
    Framing,
    /// Its head, or its trailers, are more than may be.
    TooLarge,
    /// The chunks of its body.
    Chunks,
    /// Bytes came after its end.
    Surplus,
}

impl Flaw {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::StatusLine, Self::Header, Self::Framing, Self::TooLarge, Self::Chunks, Self::Surplus];

    /// What metrics call it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::StatusLine => "status_line",
            Self::Header => "header",
            Self::Framing => "framing",
            Self::TooLarge => "too_large",
            Self::Chunks => "chunks",
            Self::Surplus => "surplus",
        }
    }
}

/// A response that is not what HTTP says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) flaw: Flaw,
    /// In plain words.
    pub(crate) why: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why)
    }
}

impl std::error::Error for Malformed {}

/// How many malformed responses there were of each kind.
#[derive(Debug, Default)]
pub(crate) struct FlawCounts([AtomicU64; Flaw::ALL.len()]);

impl FlawCounts {
    /// One more.
    pub(crate) fn count(&self, flaw: Flaw) {
        self.0[flaw as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// As many as there were, in the order of [`Flaw::ALL`].
    pub(crate) fn get(&self) -> [u64; Flaw::ALL.len()] {
        self.0.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}
