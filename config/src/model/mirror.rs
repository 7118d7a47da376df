//! Copies of requests: which requests may be copied to the canary, and what bounds them.

use std::time::Duration;

use crate::units::{Bytes, Fraction};

/// Which of a service's requests may be copied to the canary while a plan's step asks for it, and what bounds the
/// copies. A copy is never waited for: its answer is compared with stable's and thrown away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorRules {
    /// Methods that are copied, upper case and compared exactly, no two the same; `GET`, `HEAD` and `OPTIONS`. Never
    /// empty.
    pub methods: Vec<String>,
    /// The longest request body that is copied; 64 KiB.
    pub body: Bytes,
    /// How many copies may be under way at once; 64. What is more is not copied, and counted.
    pub in_flight: u32,
    /// How long a copy may take, connecting included; 5 s.
    pub timeout: Duration,
}

impl MirrorRules {
    /// The methods where none are written: those that are safe (RFC 9110, section 9.2.1) and are asked for by users.
    pub const METHODS: [&'static str; 3] = ["GET", "HEAD", "OPTIONS"];
    /// The body where nothing is written.
    pub const BODY: Bytes = Bytes::kib(64);
    /// The most that may be written for the body.
    pub const MOST_BODY: Bytes = Bytes::kib(1024);
    /// How many copies may be under way where nothing is written.
    pub const IN_FLIGHT: u32 = 64;
    /// How long a copy may take where nothing is written.
    pub const TIMEOUT: Duration = Duration::from_secs(5);
}

impl Default for MirrorRules {
    fn default() -> Self {
        Self {
            methods: Self::METHODS.map(str::to_owned).to_vec(),
            body: Self::BODY,
            in_flight: Self::IN_FLIGHT,
            timeout: Self::TIMEOUT,
        }
    }
}

/// What the copies of requests are held against: each an absolute limit on the share of the copies that were compared
/// with stable's answer, and each a test of its own. At least one is there.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MirrorLimits {
    /// Copies that failed where stable did not.
    pub errors: Option<Fraction>,
    /// Copies that were answered with another status.
    pub status: Option<Fraction>,
    /// Copies that were answered with another body.
    pub body: Option<Fraction>,
}

/// What may set the answer to a copy apart from stable's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MirrorPart {
    /// The copy failed, and stable did not.
    Errors,
    /// The status differs.
    Status,
    /// The status is the same, and the body differs.
    Body,
}

impl MirrorPart {
    /// Every part, in the order in which they are told.
    pub const ALL: [Self; 3] = [Self::Errors, Self::Status, Self::Body];

    /// The word for it: its key in the file, and the end of its test's name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Status => "status",
            Self::Body => "body",
        }
    }
}

impl MirrorLimits {
    /// The limits that are there, in the order of [`MirrorPart::ALL`].
    pub fn parts(&self) -> impl Iterator<Item = (MirrorPart, Fraction)> + use<> {
        let Self { errors, status, body } = *self;
        MirrorPart::ALL.into_iter().zip([errors, status, body]).filter_map(|(part, limit)| Some((part, limit?)))
    }
}
