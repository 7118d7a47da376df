//! Health checks: each endpoint is asked at its own times, on connections of its own, by one thread that serves nobody.
//!
//! What is asked is found in the snapshots that are published. A task an endpoint asks; its first time is anywhere in the
//! first interval, and each further one a little early or late, so that thousands do not ask in step. At most
//! [`AT_ONCE`] are asked at a time, whatever they do meanwhile; each has its time from when it is its turn.
//!
//! The same thread looks every half second how the endpoints do, and tells the log what changed; which of those that are
//! down may be tried ([`trying`]); which exchanges have begun to last on a version that has left; and every 10 s which
//! endpoints are outliers.

mod asking;
mod bounded;
mod grpc;
mod http1;
mod http2;
mod trying;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::HealthCheck;
use config::Name;
use pingora_core::connectors::TransportConnector;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};
use tracing::{info, warn};

use self::asking::Unwell;
use self::trying::Trials;
use crate::endpoint::{Endpoint, State, eject_outliers, is_panicking};
use crate::routing::{Reader, Routing, Version};
use crate::shortage::Shortage;

/// Checks under way at a time.
const AT_ONCE: usize = 256;
/// How often the snapshot and the endpoints are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Within so long an endpoint is asked that is unhealthy as it comes.
const SOON: Duration = Duration::from_secs(1);
/// Over how long success rates are counted, in looks: 10 s.
const LOOKS_A_WINDOW: u64 = 20;

/// Asks the endpoints of whatever is published, until it is dropped.
pub(crate) async fn run(reader: Reader) {
    let mut rounds = Rounds::new(reader.shortage.clone());
    let trials = Trials::new(&rounds.connector, &reader.shortage);
    let mut followed: Option<Arc<Routing>> = None;
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for looks in 1_u64.. {
        look.tick().await;
        let routing = reader.routing.load_full();
        let is_same = followed.as_ref().is_some_and(|followed| Arc::ptr_eq(followed, &routing));
        if !is_same || rounds.has_lost_one() {
            rounds.follow(&routing);
        }
        let now = Instant::now();
        for (service, version) in routing.versions() {
            if looks.is_multiple_of(LOOKS_A_WINDOW) && version.care.ejects_outliers() {
                eject_outliers(&version.endpoints, now);
            }
            tell(service, version, now);
        }
        trials.look(&routing, now);
        reader.leaving.look(now);
        reader.shortage.look(now);
        followed = Some(routing);
    }
}

/// Tells the log what changed since it was told last.
fn tell(service: &Name, version: &Version, now: Instant) {
    let name = &version.name;
    for endpoint in &version.endpoints {
        let standing = endpoint.standing(now);
        if !endpoint.is_news(standing.state) {
            continue;
        }
        // Of a name, one of its addresses.
        let address = endpoint.address.to_string();
        let endpoint = endpoint.written.to_string();
        let address = Some(address).filter(|address| *address != endpoint).map(tracing::field::display);
        match standing.state {
            State::Well => info!(%service, version = %name, %endpoint, address, "endpoint takes requests again"),
            State::Unhealthy | State::Ejected | State::Down => {
                let (state, reason) = (standing.state.word(), standing.reason.unwrap_or_default());
                warn!(%service, version = %name, %endpoint, address, state, reason, "endpoint takes no requests");
            }
        }
    }
    let panics = is_panicking(&version.endpoints, now);
    match (version.care.was_panicking(panics), panics) {
        (false, true) => {
            let is_left_out = |at: &Arc<Endpoint>| match at.standing(now).state {
                State::Unhealthy | State::Ejected => true,
                State::Well | State::Down => false,
            };
            if version.endpoints.iter().any(is_left_out) {
                warn!(%service, version = %name, "too few endpoints are well: the unhealthy and ejected are used");
            } else {
                warn!(%service, version = %name, "too few endpoints are well: the others cannot be connected to");
            }
        }
        (true, false) => info!(%service, version = %name, "enough endpoints are well again"),
        (true, true) | (false, false) => {}
    }
}

/// The tasks that ask.
struct Rounds {
    tasks: HashMap<usize, Task>,
    connector: Arc<TransportConnector>,
    turns: Arc<Semaphore>,
    shortage: Shortage,
}

/// What asks one endpoint, until this is dropped.
struct Task {
    endpoint: Arc<Endpoint>,
    check: HealthCheck,
    handle: AbortHandle,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl Rounds {
    fn new(shortage: Shortage) -> Self {
        let (connector, turns) = (TransportConnector::new(None), Semaphore::new(AT_ONCE));
        Self { tasks: HashMap::new(), connector: Arc::new(connector), turns: Arc::new(turns), shortage }
    }

    /// Whether a task has ended, which none does by itself.
    fn has_lost_one(&self) -> bool {
        self.tasks.values().any(|task| task.handle.is_finished())
    }

    /// Asks what is to be asked now, and nobody else. Who goes on being asked the same keeps its times.
    fn follow(&mut self, routing: &Routing) {
        let mut before = std::mem::take(&mut self.tasks);
        for (_, version) in routing.versions() {
            let Some(check) = &version.care.health else { continue };
            for endpoint in &version.endpoints {
                let goes_on = |task: &Task| {
                    Arc::ptr_eq(&task.endpoint, endpoint) && task.check == *check && !task.handle.is_finished()
                };
                let task = before.remove(&endpoint.identity()).filter(goes_on);
                let task = task.unwrap_or_else(|| self.begin(endpoint, check));
                self.tasks.insert(endpoint.identity(), task);
            }
        }
    }

    fn begin(&self, endpoint: &Arc<Endpoint>, check: &HealthCheck) -> Task {
        let (connector, turns) = (Arc::clone(&self.connector), Arc::clone(&self.turns));
        let (at, asked, shortage) = (Arc::clone(endpoint), check.clone(), self.shortage.clone());
        let asking = async move { ask_on(&at, &asked, &connector, &turns, &shortage).await };
        let handle = tokio::spawn(asking).abort_handle();
        Task { endpoint: Arc::clone(endpoint), check: check.clone(), handle }
    }
}

/// Asks one endpoint, again and again.
async fn ask_on(
    at: &Endpoint,
    check: &HealthCheck,
    connector: &TransportConnector,
    turns: &Semaphore,
    shortage: &Shortage,
) {
    let changes = at.check_changes();
    // Of one that is said to be unhealthy from before, it is to be known soon whether it is.
    let within = if at.is_unhealthy() { check.interval.min(SOON) } else { check.interval };
    let mut next = Instant::now() + within.mul_f64(fastrand::f64());
    loop {
        at.is_asked_at(next);
        sleep_until(next.into()).await;
        // Never closed.
        let Ok(_turn) = turns.acquire().await else { return };
        let began = Instant::now();
        let answer = timeout(check.timeout, asking::ask(at, &check.ask, connector)).await;
        let now = Instant::now();
        if at.check_changes() != changes {
            // A reload has it asked otherwise, which another task does from the next look on.
            return;
        }
        match answer {
            Ok(Ok(())) => at.passed_check(check, now),
            Ok(Err(Unwell::Its(why))) => at.failed_check(check, &asking::plain(&why), now),
            // It was not asked: that says nothing of it.
            Ok(Err(Unwell::Ours(error))) => shortage.felt(&error, now),
            Err(_) => at.failed_check(check, &format!("no answer within {:?}", check.timeout), now),
        }
        next = (began + spread(check, fastrand::f64())).max(now);
    }
}

/// From the begin of one check to that of the next, where `chance` is from 0 to 1.
fn spread(check: &HealthCheck, chance: f64) -> Duration {
    check.interval.mul_f64(1.0 + check.jitter.get() * (2.0 * chance - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::HealthQuestion;

    #[test]
    fn intervals_are_spread_by_the_jitter_around_what_is_written() {
        let check = HealthCheck::of(HealthQuestion::Connect);
        let seconds = |chance| spread(&check, chance).as_secs_f64();
        assert!((seconds(0.0) - 4.5).abs() < 1e-9 && (seconds(0.5) - 5.0).abs() < 1e-9);
        assert!((seconds(1.0) - 5.5).abs() < 1e-9);
    }
}
