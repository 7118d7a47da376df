//! What keeps users whole where endpoints or versions fail: health checks, ejection, balancing, retries, the shield.

use std::time::Duration;

use crate::units::Fraction;

/// Asks each endpoint of a version whether it is well, on a connection of its own.
///
/// A check passes or fails as a whole within [`timeout`](Self::timeout). An endpoint begins well, so that a start or a
/// reload takes nobody away before the first answer.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheck {
    /// What is asked.
    pub ask: HealthQuestion,
    /// From the begin of one check to that of the next; 5 s.
    pub interval: Duration,
    /// How far each interval may be off at random, as a part of it, so that not all proxies ask at once; 10 %.
    pub jitter: Fraction,
    /// How long one check may take, connecting included; 2 s, never longer than `interval`.
    pub timeout: Duration,
    /// Checks in a row that must fail before an endpoint that was well is not; 3.
    pub unhealthy: u32,
    /// Checks in a row that must pass before it is well again; 2.
    pub healthy: u32,
}

impl HealthCheck {
    /// A check of this kind, with everything else at its default.
    #[must_use]
    pub const fn of(ask: HealthQuestion) -> Self {
        Self {
            ask,
            interval: Duration::from_secs(5),
            jitter: Fraction::percent(10),
            timeout: Duration::from_secs(2),
            unhealthy: 3,
            healthy: 2,
        }
    }
}

/// What an endpoint is asked. It is spoken to as its version's requests are: the same protocol, the same TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthQuestion {
    /// A `GET` of this path.
    Http {
        /// The path, with its query.
        path: String,
        /// The `Host`; the endpoint's own where none is written.
        host: Option<String>,
        /// The lowest and the highest status that passes; 200 and 299. A redirect is not followed.
        status: (u16, u16),
    },
    /// The gRPC health protocol (`grpc.health.v1.Health/Check`), for this service name; empty: the server as a whole.
    Grpc(String),
    /// That it accepts a connection, and completes a TLS handshake where TLS is spoken.
    Connect,
}

/// When traffic itself shows that an endpoint is ill: it is left alone for a while.
///
/// At most [`most`](Self::most) of a version's endpoints are ejected at once, and none of a version that has but one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ejection {
    /// Failures in a row (a response of 5xx, or none: a reset, a timeout, nonsense); 5.
    pub failures: u32,
    /// How long the first time; 10 s. Each further time in a row it is doubled, up to 5 min.
    pub first: Duration,
    /// The part of the endpoints that may be ejected at once; 50 %.
    pub most: Fraction,
    /// Whether an endpoint whose share of successes lies far below that of its version's others is ejected, too: more than
    /// 1.9 standard deviations below the mean of at least 5 endpoints with 100 requests in 10 s each (Envoy's outlier
    /// detection); on.
    pub by_success_rate: bool,
    /// For how long at least an endpoint that answers usually far faster has answered nobody when it is taken to hang; 3 s.
    /// None: only what `first_byte` says ends a wait.
    pub hang: Option<Duration>,
}

impl Ejection {
    /// Whether any of so many endpoints can be ejected at all: never the only one, and [`most`](Self::most) is a part of
    /// them that is at least one.
    #[must_use]
    pub fn ejects_some_of(&self, endpoints: usize) -> bool {
        self.most_of(endpoints) > 0
    }

    /// How many of so many endpoints may be ejected at once: never more than [`most`](Self::most) says.
    #[must_use]
    pub fn most_of(&self, endpoints: usize) -> usize {
        if endpoints < 2 {
            return 0;
        }
        // In binary 0.29 times 100 is a little less than 29.
        let most = self.most.get() * endpoints as f64 + 1e-6;
        most as usize
    }
}

impl Default for Ejection {
    fn default() -> Self {
        let (first, hang) = (Duration::from_secs(10), Some(Duration::from_secs(3)));
        Self { failures: 5, first, most: Fraction::percent(50), by_success_rate: true, hang }
    }
}

/// Which of its endpoints a version gives a request to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Balance {
    /// Of two at random the one where the peak of recent latency times the requests in flight is less (power of two
    /// choices over peak-EWMA).
    #[default]
    PeakEwma,
    /// Of two at random the one with fewer requests in flight.
    LeastRequests,
    /// The same endpoint for the same key, as long as it is well, by consistent hashing with bounded loads; a request
    /// without the key goes by [`PeakEwma`](Self::PeakEwma).
    Hash(HashKey),
}

/// What consistent hashing goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// The value of this request header (lower case).
    Header(String),
    /// The value of this cookie.
    Cookie(String),
    /// The client's address.
    ClientAddress,
    /// The path, without its query.
    Path,
}

/// How many requests may be under way at once; none are queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InFlightLimits {
    /// In a version; a canary's overflow is served by stable, stable's is answered with 503. No limit by default.
    pub requests: Option<u32>,
    /// At each of its endpoints; no limit by default.
    pub per_endpoint: Option<u32>,
}

/// What is tried again, and how much of that there may be. A connection that could not be made is tried elsewhere
/// whatever the method; everything else only where the method is idempotent (RFC 9110, section 9.2.2) and the body can be
/// sent again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retries {
    /// Retries beyond the first attempt that one request may have; 2. 0: none at all.
    pub most: u32,
    /// Retries as a part of the requests of the last 10 s; 20 %. Beyond it a failure is passed on.
    pub budget: Fraction,
    /// So many a second are always allowed, for services with little traffic; 3.
    pub floor: u32,
    /// Whether answers of 502, 503 and 504 are tried again; on.
    pub unavailable: bool,
    /// Whether a connection that broke before the response began is; on.
    pub broken: bool,
}

impl Retries {
    /// None at all.
    #[must_use]
    pub fn off() -> Self {
        Self { most: 0, ..Self::default() }
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self { most: 2, budget: Fraction::percent(20), floor: 3, unavailable: true, broken: true }
    }
}
