//! Tells the operator of connections and requests that were refused for a limit: the first one at once, and what follows now
//! and then.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::warn;

/// Nothing is told sooner after the last time.
const EACH: Duration = Duration::from_secs(10);

/// Why a connection or a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// So many are open.
    All(u64),
    /// This client has so many.
    Client(IpAddr, u64),
    /// The last of this many descriptors are kept for other things.
    Descriptors(u64),
    /// This client has so many requests under way.
    Requests(Option<IpAddr>, u64),
    /// They had come through this process before, several times.
    Circles,
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
            Self::Descriptors(all) => write!(
                f,
                "the last of the {all} file descriptors that the process may have (`ulimit -n`) are kept for the control API, \
                 health checks and the state"
            ),
            Self::Circles => f.write_str(
                "they go in circles (508): an endpoint leads back to this process; look at `endpoints` for an address of this \
                 proxy or of what is in front of it",
            ),
            Self::Requests(client, most) => {
                let client = client.map_or_else(|| "a client".to_owned(), |client| client.to_string());
                write!(
                    f,
                    "{client} has {most} under way, and one client may have no more (`limits.requests_per_client`, or half of \
                     the file descriptors for connections to endpoints, whichever is less); where that is a load balancer or \
                     a proxy of yours, list it in `trusted`"
                )
            }
        }
    }
}

/// What was told, and what was not yet.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<[Told; 5]>);

#[derive(Debug, Default)]
struct Told {
    last: Option<Instant>,
    untold: u64,
}

impl Refusals {
    /// A connection or a request was refused.
    pub(crate) fn tell(&self, why: Why, now: Instant) {
        if let Some(count) = self.count(why, now) {
            let what = match why {
                Why::All(_) | Why::Client(..) | Why::Descriptors(_) => "connections",
                Why::Requests(..) | Why::Circles => "requests",
            };
            warn!("{count} {what} were refused: {why}");
        }
    }

    /// How many are to be told of now.
    fn count(&self, why: Why, now: Instant) -> Option<u64> {
        let mut all = self.0.lock();
        let told = match why {
            Why::All(_) => &mut all[0],
            Why::Client(..) => &mut all[1],
            Why::Descriptors(_) => &mut all[2],
            Why::Requests(..) => &mut all[3],
            Why::Circles => &mut all[4],
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
        assert!(Why::Descriptors(1_024).to_string().contains("the last of the 1024 file descriptors"));
        let said = Why::Requests(None, 64).to_string();
        assert!(said.contains("a client has 64 under way") && said.contains("`limits.requests_per_client`"), "{said}");
    }
}
