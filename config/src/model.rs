//! The proven configuration: what the rest of Tidegate works with.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::units::{Alpha, Beta, Fraction, Quantile, Stretch, Weight};

/// A whole configuration. Service names and routes are unique; every reference resolves.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    /// Where clients connect. Never empty.
    pub listeners: Vec<Listener>,
    /// Where operators connect.
    pub admin: Admin,
    /// The state directory.
    pub state: PathBuf,
    /// The services, in the order of the file.
    pub services: Vec<Service>,
    /// Plans that a rollout may name (`rollout start --plan NAME`), beside each service's own.
    pub plans: Vec<(Name, Plan)>,
}

impl Configuration {
    /// The state directory where none is written.
    pub const DEFAULT_STATE: &'static str = "./tidegate-state";
}

/// An address that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The address; port 0 asks the system for one.
    pub address: SocketAddr,
}

impl Listener {
    /// Every IPv4 address, port 8080: the listener where none is written.
    pub const DEFAULT: Self = Self { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080) };
}

/// The control API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// The address; loopback by default.
    pub address: SocketAddr,
    /// A file that holds the token, alone or one a line; needed where the address is not loopback
    /// (or `TIDEGATE_TOKEN`).
    pub tokens: Option<PathBuf>,
}

impl Default for Admin {
    /// Loopback, port 9900, without tokens.
    fn default() -> Self {
        Self { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9900), tokens: None }
    }
}

/// A name that an operator gave to a service, version, plan or gate: 1 to 63 letters, digits, `.`, `_` and `-`,
/// beginning with a letter or digit. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// What a name may be, in words.
    pub const LEGAL: &'static str = "1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit";

    /// A name, where the text is a legal one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let legal = (1..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            && text.as_bytes()[0].is_ascii_alphanumeric();
        legal.then(|| Self(text.into()))
    }

    /// A name that the program itself gives, and that is legal.
    pub(crate) fn given(text: &str) -> Self {
        debug_assert!(Self::new(text).is_some(), "{text} is no legal name");
        Self(text.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What clients reach, by host and path.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Unique over the configuration.
    pub name: Name,
    /// Hosts that lead here, lower case, without port; empty means every host.
    pub hosts: Vec<HostName>,
    /// The path prefix that leads here; `/` by default. The longest prefix of all services wins.
    pub path: PathPrefix,
    /// What keeps a client on one version.
    pub affinity: Affinity,
    /// The version that serves users by the file.
    pub stable: Name,
    /// A split that stands until a rollout or a person says otherwise.
    pub canary: Option<Canary>,
    /// The versions, in the order of the file; names are unique, `stable` is among them.
    pub versions: Vec<Version>,
    /// The plan of a rollout that names none.
    pub plan: Plan,
}

/// A static split in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// Another version than the stable.
    pub version: Name,
    /// Its weight.
    pub weight: Weight,
}

/// An exact host name, lower case, without port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName(pub(crate) String);

impl HostName {
    /// The host as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A path prefix that begins with `/` and matches whole segments: `/shop` matches `/shop` and `/shop/x`,
/// not `/shopping`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPrefix(pub(crate) String);

impl PathPrefix {
    /// The prefix of every path.
    pub(crate) fn root() -> Self {
        Self("/".to_owned())
    }

    /// The prefix as text, without a trailing `/` unless it is the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What keeps a client on one version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Affinity {
    /// Nothing: each request draws anew.
    #[default]
    Random,
    /// The value of the application's own cookie of this name; a request without it draws at random.
    Cookie(String),
    /// The value of this request header (lower case); a request without it draws at random.
    Header(String),
    /// The address of the client's connection.
    ClientAddress,
}

/// A named set of endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Unique within the service.
    pub name: Name,
    /// Never empty, no two the same.
    pub endpoints: Vec<Endpoint>,
}

/// A backend address as written: a host name or an IP address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Host name or IP address (without the brackets of IPv6).
    pub host: String,
    /// 1 to 65 535.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How a rollout goes, and what it must satisfy.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The chance of a false rollback over the whole rollout; 1 % by default.
    pub alpha: Alpha,
    /// The chance that a canary which is worse by a gate's margin passes that gate in one step; 5 % by default.
    pub beta: Beta,
    /// First requests that each version must have had since a step began before the step may end; 50 by default.
    pub min_requests: u64,
    /// For so long after the canary's first traffic its latencies are not judged; 30 s by default.
    pub warmup: Duration,
    /// What a step waits for when its hold is over.
    pub advance: Advance,
    /// What the canary is compared with.
    pub baseline: Baseline,
    /// Judge and report, and never move the split on a verdict.
    pub dry_run: bool,
    /// Never empty; weights never fall from one step to the next.
    pub steps: Vec<Step>,
    /// The gates; names are unique. Empty only where the operator wrote `gates: []`.
    pub gates: Vec<Gate>,
}

impl Plan {
    /// First requests that each version must have had since a step began, where nothing is written.
    pub const MIN_REQUESTS: u64 = 50;
    /// How long a canary warms up where nothing is written.
    pub const WARMUP: Duration = Duration::from_secs(30);
    /// How many different paths the gates of a plan may judge.
    pub const MOST_PATHS: usize = 16;

    /// The plan where none is written: 1 %, 5 %, 25 % and 50 % for 2, 5, 10 and 10 minutes, under the default gates.
    #[must_use]
    pub fn built_in() -> Self {
        Self {
            alpha: Alpha::DEFAULT,
            beta: Beta::DEFAULT,
            min_requests: Self::MIN_REQUESTS,
            warmup: Self::WARMUP,
            advance: Advance::Time,
            baseline: Baseline::Stable,
            dry_run: false,
            steps: Step::built_in(),
            gates: Gate::defaults(),
        }
    }

    /// The different paths that gates judge by themselves, in the order of the gates; at most [`Self::MOST_PATHS`].
    /// Traffic is counted by place in this list.
    #[must_use]
    pub fn paths(&self) -> Vec<PathPrefix> {
        let mut paths: Vec<PathPrefix> = Vec::new();
        for path in self.gates.iter().filter_map(|gate| gate.path.as_ref()) {
            if !paths.contains(path) {
                paths.push(path.clone());
            }
        }
        paths
    }
}

/// What a step waits for when its hold is over, beside data and the absence of suspicion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Advance {
    /// Nothing more.
    #[default]
    Time,
    /// Every gate must pass: harm of its margin's size is ruled out.
    Proof,
}

/// What the canary is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Baseline {
    /// All of stable's traffic.
    #[default]
    Stable,
    /// A slice of stable's traffic that is as large as the canary's, chosen by ticket.
    Equal,
    /// Another version, mostly the old one freshly started, that gets as much traffic as the canary while a rollout
    /// runs.
    Version(Name),
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Give the canary this weight and keep it for at least this long.
    Weight {
        /// The canary's weight: above 0, and below 100 %, which would leave nothing to compare with.
        weight: Weight,
        /// At least this long, unless `early`.
        hold: Duration,
        /// The step may end before its hold is over, once every gate passes.
        early: bool,
        /// When the step has lasted too long; none by default.
        deadline: Option<Deadline>,
    },
    /// Wait for a person.
    Approval,
}

/// When a step has lasted too long, and what happens then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// Counted from the step's beginning; not shorter than its hold.
    pub after: Duration,
    /// What happens then.
    pub then: OnDeadline,
}

/// What happens at a step's deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDeadline {
    /// Pause, and ask a person.
    #[default]
    Hold,
    /// Go on without the proof. Never without data, nor under suspicion.
    Promote,
    /// Take the canary back.
    RollBack,
}

impl Step {
    /// How long a step holds where nothing is written.
    pub const HOLD: Duration = Duration::from_secs(5 * 60);

    /// A step of this weight and hold, without deadline.
    #[must_use]
    pub const fn of_weight(weight: Weight, hold: Duration) -> Self {
        Self::Weight { weight, hold, early: false, deadline: None }
    }

    /// The steps where none are written.
    pub(crate) fn built_in() -> Vec<Self> {
        [(1, 2), (5, 5), (25, 10), (50, 10)]
            .map(|(percent, minutes)| {
                Self::of_weight(Weight::whole_percent(percent), Duration::from_secs(minutes * 60))
            })
            .to_vec()
    }
}

/// A rule that traffic must satisfy while the canary is exposed.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// `errors`, `latency`, `latency-p99`, `errors-limit`, or the operator's own.
    pub name: Name,
    /// What its failing does.
    pub role: GateRole,
    /// Only requests whose path begins with this prefix; none for all requests of the service.
    pub path: Option<PathPrefix>,
    /// What is judged.
    pub rule: GateRule,
}

impl Gate {
    /// The gates where none are written: errors against stable, and the shape of latency.
    pub(crate) fn defaults() -> Vec<Self> {
        let gate = |name: &str, rule| Self { name: Name::given(name), role: GateRole::Guardrail, path: None, rule };
        vec![gate("errors", GateRule::ERRORS), gate("latency", GateRule::LATENCY)]
    }
}

/// What a gate's failing does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GateRole {
    /// Rolls back.
    #[default]
    Guardrail,
    /// Pauses and asks.
    Signal,
}

/// What a gate judges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GateRule {
    /// The canary's error rate against stable's (T1; passes by T5).
    Errors {
        /// The harm that must be established to fail.
        tolerance: Tolerance,
        /// The harm that must be ruled out to pass; larger than the tolerance.
        margin: Tolerance,
    },
    /// An absolute limit on the canary's error rate (T3, with T1 as its relative half; passes below the limit).
    ErrorLimit {
        /// The largest error rate allowed; above 0, below 1.
        limit: Fraction,
    },
    /// The canary's latency against stable's: the whole shape (T2; passes by T5 at p50, p95 and p99), or one quantile.
    Latency {
        /// None for the whole shape.
        quantile: Option<Quantile>,
        /// The harm that must be established to fail: so much longer, as a fraction of stable's latency.
        tolerance: Stretch,
        /// The harm that must be ruled out to pass; larger than the tolerance.
        margin: LatencyMargin,
        /// From where to where it is measured.
        of: LatencyOf,
    },
    /// An absolute limit on a quantile of the canary's latency (T3 on "over the limit or failed").
    LatencyLimit {
        /// The quantile; p99 by default.
        quantile: Quantile,
        /// The latency that it may not exceed; at least 1 ms, at most 60 s.
        limit: Duration,
        /// From where to where it is measured.
        of: LatencyOf,
    },
}

impl GateRule {
    /// The `errors` gate where nothing is written.
    pub const ERRORS: Self = Self::Errors { tolerance: Tolerance::DEFAULT, margin: Tolerance::MARGIN };
    /// The `latency` gate where nothing is written: the whole shape, 5 % tolerated.
    pub const LATENCY: Self = Self::Latency {
        quantile: None,
        tolerance: Stretch::TOLERATED,
        margin: LatencyMargin { body: Stretch::MARGIN, tail: Stretch::TAIL_MARGIN },
        of: LatencyOf::Head,
    };
}

/// From where to where a latency is measured. Both begin when a connection to the version is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LatencyOf {
    /// To the head of the response.
    #[default]
    Head,
    /// To its last byte.
    Total,
}

/// How much slower a canary must be ruled out to be, as fractions of stable's latency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencyMargin {
    /// At quantiles up to p95.
    pub body: Stretch,
    /// At quantiles above p95.
    pub tail: Stretch,
}

/// The harm in errors that must be established to fail (a tolerance), or ruled out to pass (a margin): canary rate
/// above `ratio` times stable's plus `points`. Defaults (statistics, section 3): tolerance 1.1 and 0.05 %, margin 1.5
/// and 0.1 %. Written in points alone the ratio is 1; written as a ratio alone the points are 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// At least 1.
    pub ratio: f64,
    /// Added fraction of requests.
    pub points: Fraction,
}

impl Tolerance {
    /// The tolerance where none is written: a tenth more than stable's rate, and 0.05 %.
    pub const DEFAULT: Self = Self { ratio: 1.1, points: Fraction::TOLERATED };
    /// The margin where none is written: half more than stable's rate, and 0.1 %.
    pub const MARGIN: Self = Self { ratio: 1.5, points: Fraction::MARGIN };
}
