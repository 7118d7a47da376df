//! Copies of requests: a share of those that stable serves is also sent to the canary, which no user waits for.
//!
//! A request that is sampled is copied as it goes by: its head, and the pieces of its body, which are shared and not
//! copied again. Whole, it is handed to a thread that serves nobody, or dropped where that has enough to do. That thread
//! sends it on connections of its own, reads the answer up to a limit and forgets it; what is kept is its status and the
//! hash of its body. The same of stable's answer is noted as it goes by. Whichever of the two ends last compares them
//! (`pair`), so nobody waits for the other.
//!
//! Invariants: nothing here makes a request wait, or fail. What is under way is bounded, each copy by its size and its
//! time. Copies touch neither the judged figures of a version, nor what its endpoints are chosen by, nor its budgets.

mod body;
mod copying;
mod head;
mod ledger;
mod pair;
mod print;
mod sample;
mod sending;

use http::{HeaderName, HeaderValue};
use tokio::sync::mpsc;

pub(crate) use self::copying::Mirroring;
pub(crate) use self::head::Original;
pub use self::ledger::Ledger;
pub use self::sample::{Difference, Sample, Told};
pub(crate) use self::sending::run;
use self::sending::{Deliveries, Delivery};

/// The header that tells an origin that nobody waits for its answer.
pub(crate) const MIRROR: HeaderName = HeaderName::from_static("tidegate-mirror");
/// Its value.
const YES: HeaderValue = HeaderValue::from_static("1");
/// Copies that wait for the thread that sends them. It takes them at once; how many are under way in all is limited by
/// the services, each for itself.
const WAITING: usize = 1024;

/// Where copies are handed over. Never waits.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(mpsc::Sender<Delivery>);

/// A way for copies, and who takes them from it.
pub(crate) fn outbox() -> (Outbox, Deliveries) {
    let (sender, deliveries) = mpsc::channel(WAITING);
    (Outbox(sender), deliveries)
}

impl Outbox {
    /// Room for a copy, where there is any.
    fn room(&self) -> Option<mpsc::Permit<'_, Delivery>> {
        self.0.try_reserve().ok()
    }
}

#[cfg(test)]
mod tests;
