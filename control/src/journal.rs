//! The journal.

/// What the journal answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Every record up to this one is on disk.
    Journalled {
        /// The last record's number.
        through: u64,
        /// How long the journal is now, in bytes.
        size: u64,
    },
    /// These records are not, or not surely, on disk. Nothing is taken until a rewrite succeeded.
    Failed {
        /// The last record's number.
        through: u64,
        /// Why, in words.
        problem: String,
    },
    /// A fresh journal took the place of the old one.
    Rewritten {
        /// How long the journal is now, in bytes.
        size: u64,
    },
    /// It could not be written.
    NotRewritten {
        /// Why, in words.
        problem: String,
    },
    /// Everything is on disk and the journal has ended.
    Closed,
}
