//! The orderly end of a data plane, in its order, and what is told of it.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use config::Name;
use control::process::{DrainView, Process};
use proxy::DataPlane;
use proxy::server::Left;
use tracing::{info, warn};

/// How often it is looked at what is left: the process ends so long after the last request at most.
const LOOK: Duration = Duration::from_millis(5);
/// How often people see what is left.
const SHOW: Duration = Duration::from_millis(100);
/// How often it is logged.
const TELL: Duration = Duration::from_secs(5);

/// So long after the deadline those may take that are told of it: a WebSocket answers its close frame.
const PARTING: Duration = Duration::from_secs(5);

/// Why a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was told to: new connections still come for the grace, since whoever sends them may not know yet.
    Told,
    /// Another process serves in its stead, and accepts what comes.
    Succeeded,
}

/// What was cut at the deadline.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cut {
    /// Client connections.
    pub connections: u64,
    /// Requests and tunnels on them, by service.
    pub requests: Vec<(Name, u64)>,
}

impl Cut {
    /// Says so, where there is something to say.
    fn tell(&self) {
        if self.connections > 0 {
            let connections = self.connections;
            warn!(connections, requests = %in_words(&self.requests), "cut at the drain deadline");
        }
    }
}

/// Ends it: says so to clients, keeps connections for the grace, accepts no more, closes what idles, and waits until
/// nothing is left or the deadline comes.
pub(crate) fn drain(mut data: DataPlane, ending: Ending, process: &Process) -> Cut {
    let times = data.drain_times();
    let Left { connections, requests } = data.left();
    info!(grace = ?times.grace, deadline = ?times.deadline, connections, requests = %in_words(&requests), "draining");
    data.announce_drain();
    let mut watch = Watch { process, cut_at: now() + times.grace + times.deadline, shown: None, told: now() };
    match ending {
        Ending::Told => watch.until(&data, now() + times.grace, |_| false),
        Ending::Succeeded => {
            data.stop_accepting();
            watch.until(&data, now() + times.grace, |connections| connections == 0);
        }
    }
    data.begin_drain();
    let cut_at = watch.cut_at;
    watch.until(&data, cut_at, |connections| connections == 0);
    let Left { connections, requests } = data.left();
    let cut = if connections == 0 { Cut::default() } else { Cut { connections, requests } };
    cut.tell();
    // Tunnels and streams are told, so that their clients come again; nobody else is waited for any more.
    let told = if cut == Cut::default() { 0 } else { data.end_all_lasting() };
    if told > 0 {
        watch.until(&data, now() + PARTING, |connections| connections <= cut.connections.saturating_sub(told));
    }
    drop(data);
    cut
}

/// Looks at what is left, and tells of it.
struct Watch<'a> {
    process: &'a Process,
    cut_at: Instant,
    shown: Option<Instant>,
    told: Instant,
}

impl Watch<'_> {
    /// Looks until this moment, or until so many connections that are open are enough.
    fn until(&mut self, data: &DataPlane, end: Instant, is_over: impl Fn(u64) -> bool) {
        loop {
            let now = now();
            if is_over(data.connections()) || now >= end {
                return;
            }
            if self.shown.is_none_or(|shown| now >= shown + SHOW) {
                self.show(data, now);
            }
            #[expect(clippy::disallowed_methods, reason = "a bounded poll: pingora offers nothing to wait for")]
            thread::sleep(LOOK.min(end - now));
        }
    }

    fn show(&mut self, data: &DataPlane, now: Instant) {
        let Left { connections, requests } = data.left();
        let left = self.cut_at.saturating_duration_since(now);
        if now >= self.told + TELL {
            info!(connections, requests = %in_words(&requests), cut_in_s = left.as_secs(), "still draining");
            self.told = now;
        }
        let requests: BTreeMap<String, u64> =
            requests.into_iter().map(|(service, there)| (service.to_string(), there)).collect();
        self.process.drains(DrainView { connections, requests, left_s: left.as_secs_f64() });
        self.shown = Some(now);
    }
}

/// `3 of shop, 1 of api`.
fn in_words(requests: &[(Name, u64)]) -> String {
    if requests.is_empty() {
        return "none".to_owned();
    }
    requests.iter().map(|(service, there)| format!("{there} of {service}")).collect::<Vec<_>>().join(", ")
}

#[expect(clippy::disallowed_methods, reason = "the executable is a shell: a drain has a deadline in real time")]
fn now() -> Instant {
    Instant::now()
}
