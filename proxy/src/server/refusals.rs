//! Tells the operator of connections that were refused: the first one at once, and what follows now and then.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::warn;

/// Nothing is told sooner after the last time.
const EACH: Duration = Duration::from_secs(10);

/// Why a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// So many are open.
    All(u64),
    /// This client has so many.
    Client(IpAddr, u64),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(most) => write!(
                f,
                "{most} are open, and no more may be: `limits.connections`, or half of the file descriptors that the process \
                 may have (`ulimit -n`), whichever is less"
            ),
            Self::Client(client, most) => write!(
                f,
                "{client} has {most} open, and one client may have no more (`limits.connections_per_client`); where that is a \
                 load balancer or a proxy of yours, list it in `trusted`"
            ),
        }
    }
}

/// What was told, and what was not yet.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<[Told; 2]>);

#[derive(Debug, Default)]
struct Told {
    last: Option<Instant>,
    untold: u64,
}

impl Refusals {
    /// A connection was refused.
    pub(super) fn tell(&self, why: Why, now: Instant) {
        if let Some(count) = self.count(why, now) {
            warn!("{count} connections were refused: {why}");
        }
    }

    /// How many are to be told of now.
    fn count(&self, why: Why, now: Instant) -> Option<u64> {
        let mut all = self.0.lock();
        let told = match why {
            Why::All(_) => &mut all[0],
            Why::Client(..) => &mut all[1],
        };
        told.untold += 1;
        let is_due = told.last.is_none_or(|last| now.saturating_duration_since(last) >= EACH);
        is_due.then(|| {
            told.last = Some(now);
            std::mem::take(&mut told.untold)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_every_ten_seconds_each_reason_by_itself() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        let client = Why::Client(IpAddr::from([10, 0, 0, 7]), 512);
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(refusals.count(Why::All(4), now), Some(1));
        assert_eq!(refusals.count(client, after(1)), Some(1));
        assert_eq!(refusals.count(Why::All(4), after(2)), None);
        assert_eq!(refusals.count(Why::All(4), after(9)), None);
        assert_eq!(refusals.count(Why::All(4), after(10)), Some(3));
        assert_eq!(refusals.count(client, after(10)), None);
    }

    #[test]
    fn what_is_told_names_the_limit_and_what_to_do() {
        let said = Why::Client(IpAddr::from([10, 0, 0, 7]), 512).to_string();
        assert!(said.contains("10.0.0.7 has 512 open") && said.contains("`trusted`"), "{said}");
        assert!(Why::All(4).to_string().starts_with("4 are open"));
    }
}
