//! Where the two planes meet: what the control plane asks of whatever carries the traffic.
//!
//! Two real implementors: the live data plane, wired up by the executable, and the simulated one that tests drive
//! with a virtual clock.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use config::{Configuration, Endpoint, Match, MirrorPart, Name, PathPrefix, Weight};
use meter::{Class, MirrorCounts, Tally, Waiting, Window};
use serde::{Deserialize, Serialize};

/// How a service's traffic is divided. The stable version has what the canary has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The version that serves users.
    pub stable: Name,
    /// The other version, and its weight. It may be listed with weight 0.
    pub canary: Option<(Name, Weight)>,
    /// Whom the canary is compared with where that is not all of stable, and its weight. The stable itself stands for
    /// a slice of its traffic; another version gets this traffic instead of the stable. The slice has the highest
    /// tickets, the canary the lowest, so that a growing weight takes from neither.
    pub baseline: Option<(Name, Weight)>,
    /// Who goes to the canary whatever its weight. Where limits alone judge them they are counted apart.
    pub matched: Option<Arc<Match>>,
    /// The share of the requests that the stable serves which are also sent to the canary, whatever its weight, and never
    /// waited for.
    pub mirror: Option<Weight>,
    /// Paths whose traffic is also counted by itself, by place in this list; at most 16.
    pub paths: Arc<[PathPrefix]>,
    /// Grows by one with every change of the service's split or configuration.
    pub generation: u64,
}

/// What endpoints resolved to: an address is itself, a name may be several. A Unix socket is not among them.
pub type Addresses = HashMap<Endpoint, Arc<[SocketAddr]>>;

/// A configuration whose endpoints have addresses. Resolving blocks, so it is done before the control loop sees it.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The configuration.
    pub configuration: Arc<Configuration>,
    /// The addresses of every endpoint in it, as they were a moment ago.
    pub addresses: Addresses,
    /// What whoever reloads should know of it, a sentence each.
    pub notes: Vec<String>,
}

/// How one endpoint does.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointState {
    /// As the operator wrote it.
    pub endpoint: Endpoint,
    /// What the name in it resolved to, where it has one: each of a name's addresses is an endpoint.
    pub resolved: Option<SocketAddr>,
    /// What is known of it.
    pub health: EndpointHealth,
    /// Why, in words; none for one that is well.
    pub reason: Option<String>,
    /// Since when; none for one that was always well.
    pub since: Option<SystemTime>,
    /// When it is tried or asked again, or takes requests again; none for one that is well.
    pub next_try: Option<SystemTime>,
    /// The share of requests that it takes while it comes back, of its full one: 0.1 to 1.
    pub share: f64,
    /// Requests that are there now.
    pub in_flight: u64,
}

/// What is known of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointHealth {
    /// It takes requests.
    #[default]
    Well,
    /// Its health checks fail.
    Unhealthy,
    /// Its requests failed, so it is left alone for a while.
    Ejected,
    /// It cannot be connected to.
    Down,
}

impl EndpointHealth {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Well, Self::Unhealthy, Self::Ejected, Self::Down];

    /// The word in JSON and status.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::Down => "down",
        }
    }
}

/// How many health checks came to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CheckCounts {
    /// The endpoint was well.
    pub passed: u64,
    /// It was not.
    pub failed: u64,
}

/// How many responses of a version were not what HTTP says, by where that showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MalformedCounts {
    /// In the first line: version, status, reason.
    pub status_line: u64,
    /// In a header: its name, its value, the end of its line.
    pub header: u64,
    /// In what says where the response ends: `Content-Length`, `Transfer-Encoding`.
    pub framing: u64,
    /// In that there was too much of head or trailers.
    pub too_large: u64,
    /// In the chunks of the body.
    pub chunks: u64,
    /// In that something came after the end.
    pub surplus: u64,
}

impl MalformedCounts {
    /// Each with its name.
    #[must_use]
    pub const fn by_reason(self) -> [(&'static str, u64); 6] {
        let Self { status_line, header, framing, too_large, chunks, surplus } = self;
        [
            ("status_line", status_line),
            ("header", header),
            ("framing", framing),
            ("too_large", too_large),
            ("chunks", chunks),
            ("surplus", surplus),
        ]
    }
}

/// What care for a version's endpoints came to since the process began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Care {
    /// Endpoints that were ejected.
    pub ejections: u64,
    /// Its health checks; none where it has none.
    pub checks: Option<CheckCounts>,
    /// Whether fewer than half of its endpoints are well, so that health checks and ejections are ignored.
    pub panic: bool,
    /// Requests that found no room, since as many were under way as its limits allow.
    pub overflows: u64,
    /// What its endpoints sent that is not what HTTP says.
    pub malformed: MalformedCounts,
}

/// How the names of endpoints are resolved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// How often a name was resolved since the start, by what came of it in a fixed word.
    pub resolutions: Vec<(&'static str, u64)>,
    /// Every name in use.
    pub known: BTreeMap<Arc<str>, NameState>,
}

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameState {
    /// Its addresses in use.
    pub addresses: Arc<[IpAddr]>,
    /// When they were last found to be these; none where they are from before the start.
    pub answered: Option<SystemTime>,
    /// Why it is not resolved now, while it is not: its last addresses stay in use.
    pub failing: Option<NameFailing>,
}

/// Why a name is not resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameFailing {
    /// In words, with the servers that were asked.
    pub reason: Arc<str>,
    /// Since when.
    pub since: SystemTime,
}

/// A copied request whose answers differed, for people: heads alone, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorSample {
    /// When its answers were compared.
    pub at: SystemTime,
    /// What set them apart: the first of these that did.
    pub part: MirrorPart,
    /// Of the request.
    pub method: String,
    /// Of the request, without its query.
    pub path: String,
    /// What stable answered.
    pub stable: MirrorAnswer,
    /// What the canary answered to the copy.
    pub canary: MirrorAnswer,
}

/// The head of one answer, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MirrorAnswer {
    /// Its status; none where there was no answer.
    pub status: Option<u16>,
    /// Its header fields, in the order in which they came: few and short, those that may hold secrets by their name alone.
    pub headers: Vec<(String, String)>,
    /// A hash of its body, in hexadecimal; none where there was no whole answer.
    pub body: Option<String>,
    /// Why there was none, or why it is a failure, in words; none for one that is well.
    pub failure: Option<String>,
}

/// A certificate that is shown to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Where its listener listens, as the operator wrote it.
    pub listener: String,
    /// Its file, as the operator wrote it.
    pub file: String,
    /// When it expires, in seconds since 1970.
    pub expires: i64,
}

/// TLS handshakes of a listener that failed for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedHandshakes {
    /// Where the listener listens, as the operator wrote it.
    pub listener: String,
    /// Why, in a fixed word.
    pub reason: &'static str,
    /// How many, since the start.
    pub count: u64,
}

/// How TLS towards clients does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientTls {
    /// What is shown, listener by listener.
    pub certificates: Vec<Certificate>,
    /// What failed; a pair of listener and reason is there but once.
    pub failed: Vec<FailedHandshakes>,
    /// What an operator should know of the certificates, in sentences.
    pub warnings: Vec<String>,
}

/// The traffic's carrier. One owner (the control loop) calls it, so splits and configurations are published by one
/// writer. No method blocks.
pub trait DataPlane: Send {
    /// Publishes a configuration with these splits (one a service), in one step. Meters of versions that stay are
    /// kept. Versions, endpoints and routes that are gone take no new request from here on.
    fn install(&mut self, resolved: &Resolved, splits: &HashMap<Name, Split>);

    /// Publishes other addresses of some endpoints of the configuration. Takes effect for the next request: splits and
    /// meters stay as they are, and what is known of addresses that stay is kept. Nothing where names are not resolved
    /// again.
    fn readdress(&mut self, _changed: &Addresses) {}

    /// Publishes another split of one service. Takes effect for the next request.
    fn steer(&mut self, service: &Name, split: &Split);

    /// This split is about to come into force, once it is on disk. What makes that smoother may begin: connections that
    /// are opened ahead. It may never come, and waits for nothing.
    fn prepare(&mut self, _service: &Name, _split: &Split) {}

    /// A comparison of this version begins: requests drawn before now are counted, and not judged when they end. Of a
    /// baseline slice and of those who are counted apart too, where the version has any.
    fn begin_exposure(&mut self, service: &Name, version: &Name);

    /// Overwrites `window` with what this version did since the last call, and adds it to the version's tally.
    fn take(&mut self, service: &Name, version: &Name, window: &mut Window);

    /// Overwrites `window` with what the baseline slice of the stable version did since the last call: judged outcomes
    /// alone, which are also among the stable's own. Empty where the split has no such slice.
    fn take_slice(&mut self, service: &Name, window: &mut Window);

    /// Overwrites `window` with what those did since the last call who went to the canary whatever its weight and are
    /// counted apart: judged outcomes, which are attempts of the canary and not among its judged ones. Empty where there
    /// are none.
    fn take_matched(&mut self, _service: &Name, window: &mut Window) {
        window.clear();
    }

    /// From now on the version's groups count latencies longer than these, in microseconds
    /// ([`GroupCounts::over`](meter::GroupCounts::over)).
    fn watch_latencies(&mut self, service: &Name, version: &Name, us: [u64; 2]);

    /// Reads a version's tally as of the last [`take`](Self::take).
    fn tally(&self, service: &Name, version: &Name, read: &mut dyn FnMut(&Tally));

    /// What the service's clients got, by class in the order of [`Class::ALL`]; `None` asks for requests that matched
    /// no service.
    fn responses(&self, service: Option<&Name>) -> [u64; Class::ALL.len()];

    /// Failures that were passed on because the service's budget for retries was used up; 0 where nothing is retried.
    fn refused_retries(&self, _service: &Name) -> u64 {
        0
    }

    /// Who waits for this version's answer, by the second in which they were drawn; `second` is the present
    /// one. Asked each second. Nobody where that is not counted.
    fn waiting(&self, _service: &Name, _version: &Name, _second: u32) -> Waiting {
        Waiting::default()
    }

    /// Whether requests failed a moment ago for the proxy's own want of file descriptors or ports.
    fn is_short(&self) -> bool {
        false
    }

    /// Requests drawn to this version that are not over.
    fn in_flight(&self, service: &Name, version: &Name) -> u64;

    /// What became of the copies of requests that this version was sent, since the process began. It only grows; nothing
    /// for a version that was never sent any.
    fn mirrored(&self, _service: &Name, _version: &Name) -> MirrorCounts {
        MirrorCounts::default()
    }

    /// A few copied requests whose answers differed, newest first.
    fn mirror_samples(&self, _service: &Name, _version: &Name) -> Vec<MirrorSample> {
        Vec::new()
    }

    /// Exchanges under way at this version that last (WebSocket, streams).
    fn lasting(&self, _service: &Name, _version: &Name) -> u64 {
        0
    }

    /// Asks those to end now, in a way that clients try again.
    fn end_lasting(&mut self, _service: &Name, _version: &Name) {}

    /// How many were ended so, and are over, since the process began.
    fn ended_lasting(&self, _service: &Name, _version: &Name) -> u64 {
        0
    }

    /// Lines of the access log that were dropped since the start; 0 where none is kept.
    fn log_lines_dropped(&self) -> u64 {
        0
    }

    /// How the names of endpoints are resolved; nothing where there are none.
    fn names(&self) -> Names {
        Names::default()
    }

    /// How TLS towards clients does; nothing where none is spoken.
    fn client_tls(&self) -> ClientTls {
        ClientTls::default()
    }

    /// How the endpoints of a version do, in the order of the file.
    fn endpoints(&self, service: &Name, version: &Name) -> Vec<EndpointState>;

    /// What care for the endpoints of a version came to.
    fn care(&self, _service: &Name, _version: &Name) -> Care {
        Care::default()
    }
}
