//! Who takes the body of a request: a client that nobody listens to is not the one that is silent.

use std::sync::Arc;
use std::time::Instant;

use crate::deadlines::Holder;
use crate::upstream_stream::Link;

/// What knows how the endpoint of an attempt takes what it is sent.
#[derive(Debug, Clone)]
pub(crate) enum Taker {
    /// Its connection, which is ours.
    Line(Arc<Link>),
    /// The place of the attempt in the table, where pingora has the connection.
    Frames(Holder),
}

impl Taker {
    /// Since when the endpoint has taken nothing of what waits for it, if something does.
    pub(crate) fn untaken_since(&self) -> Option<Instant> {
        match self {
            Self::Line(link) => link.untaken_since(),
            Self::Frames(holder) => holder.untaken_since(),
        }
    }

    /// Whether that is for longer than it may, and nobody else ends it: its connection carries other requests as well.
    pub(crate) fn is_untaken(&self, now: Instant) -> bool {
        match self {
            Self::Line(_) => false,
            Self::Frames(holder) => holder.is_untaken(now),
        }
    }
}
