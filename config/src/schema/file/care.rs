//! What keeps users whole where endpoints fail.

use schemars::JsonSchema;

use super::{Literal, Percentage, Time};

/// `off`, or how endpoints are asked whether they are well, on connections of their own, with the protocol and TLS of the version.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
pub(super) enum Health {
    /// They are not asked, whatever is written for all.
    Never(Never),
    /// The same.
    No(#[schemars(extend("const" = false))] bool),
    /// A `GET`.
    Path {
        /// What is asked for with `GET`: a path, perhaps with a query.
        #[schemars(regex(pattern = "^/"))]
        path: String,
        /// The `Host` that is sent; each endpoint's own by default.
        host: Option<String>,
        /// The status that passes, or the lowest and the highest. A redirect is not followed.
        #[schemars(extend("default" = "200-299"))]
        status: Option<Statuses>,
        /// From the begin of one check to that of the next; 100ms to 1h.
        #[schemars(extend("default" = "5s"))]
        interval: Option<Time>,
        /// How long one check may take, connecting included; at most `interval`, and that where it is below the default.
        #[schemars(extend("default" = "2s"))]
        timeout: Option<Time>,
        /// How far each interval may be off at random, as a part of it; 0% to 50%.
        #[schemars(extend("default" = "10%"))]
        jitter: Option<Percentage>,
        /// Checks in a row that must pass before an endpoint that was not well is well again.
        #[schemars(range(min = 1, max = 100), extend("default" = 2))]
        healthy: Option<u64>,
        /// Checks in a row that must fail before an endpoint that was well is not.
        #[schemars(range(min = 1, max = 100), extend("default" = 3))]
        unhealthy: Option<u64>,
    },
    /// The gRPC health protocol.
    Grpc {
        /// The service that is asked about by `grpc.health.v1.Health/Check`; empty is the server as a whole.
        grpc: String,
        /// From the begin of one check to that of the next; 100ms to 1h.
        #[schemars(extend("default" = "5s"))]
        interval: Option<Time>,
        /// How long one check may take, connecting included; at most `interval`, and that where it is below the default.
        #[schemars(extend("default" = "2s"))]
        timeout: Option<Time>,
        /// How far each interval may be off at random, as a part of it; 0% to 50%.
        #[schemars(extend("default" = "10%"))]
        jitter: Option<Percentage>,
        /// Checks in a row that must pass before an endpoint that was not well is well again.
        #[schemars(range(min = 1, max = 100), extend("default" = 2))]
        healthy: Option<u64>,
        /// Checks in a row that must fail before an endpoint that was well is not.
        #[schemars(range(min = 1, max = 100), extend("default" = 3))]
        unhealthy: Option<u64>,
    },
    /// A connection.
    Connect {
        /// `true`: that a connection is accepted, and its TLS handshake completed where TLS is spoken.
        #[schemars(extend("const" = true))]
        connect: bool,
        /// From the begin of one check to that of the next; 100ms to 1h.
        #[schemars(extend("default" = "5s"))]
        interval: Option<Time>,
        /// How long one check may take, connecting included; at most `interval`, and that where it is below the default.
        #[schemars(extend("default" = "2s"))]
        timeout: Option<Time>,
        /// How far each interval may be off at random, as a part of it; 0% to 50%.
        #[schemars(extend("default" = "10%"))]
        jitter: Option<Percentage>,
        /// Checks in a row that must pass before an endpoint that was not well is well again.
        #[schemars(range(min = 1, max = 100), extend("default" = 2))]
        healthy: Option<u64>,
        /// Checks in a row that must fail before an endpoint that was well is not.
        #[schemars(range(min = 1, max = 100), extend("default" = 3))]
        unhealthy: Option<u64>,
    },
}

/// `off`: endpoints are not asked.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum Never {
    Off,
    None,
}

/// A status, or a range: `204`, `200-299`.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum Statuses {
    /// A range, or a status in quotes.
    Range(#[schemars(regex(pattern = r"^[1-5]\d\d(-[1-5]\d\d)?$"))] String),
    /// A status.
    One(#[schemars(range(min = 100, max = 599))] u64),
}

/// `off`: nothing of it.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub(super) enum Off {
    Off,
}

/// `off`, or when traffic shows that an endpoint is ill, and for how long it is then left alone.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
pub(super) enum Ejection {
    /// No endpoint is ejected.
    Off(Off),
    /// What is not written is as by default.
    Parts {
        /// Failures in a row: answers of 5xx, and requests without one.
        #[schemars(range(min = 1, max = 1_000), extend("default" = 5))]
        failures: Option<u64>,
        /// For how long the first time, doubled each further time in a row up to 5m; 100ms to 5m.
        #[schemars(extend("default" = "10s"))]
        first: Option<Time>,
        /// The part of the endpoints that may be ejected at once; above 0%. The only one never is.
        #[schemars(extend("default" = "50%"))]
        most: Option<Percentage>,
        /// Whether an endpoint is ejected, too, whose share of successes lies far below that of the others. They are
        /// compared from 5 endpoints on.
        #[schemars(extend("default" = true))]
        success_rate: Option<bool>,
        /// An endpoint that has answered nobody for so long, and usually answers in a twentieth of it, is taken to hang:
        /// 250ms to 5m, or `off`.
        #[schemars(extend("default" = "3s"))]
        hang: Option<TimeOrOff>,
    },
}

/// A time with its unit, or `off`.
#[derive(JsonSchema)]
pub(super) struct TimeOrOff(#[schemars(regex(pattern = r"^((\d+h)?(\d+m)?(\d+s)?(\d+ms)?|off)$"))] String);

/// Which endpoint a request goes to.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
pub(super) enum Balance {
    /// Of two at random: `peak_ewma`, the one with less latency times requests in flight; `least_requests`, the one with
    /// fewer requests in flight.
    Word(BalanceWord),
    /// The same for the same key, as long as it is well.
    Hash {
        /// What is hashed. A request without it goes by `peak_ewma`.
        hash: Hash,
    },
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum BalanceWord {
    PeakEwma,
    LeastRequests,
}

/// What is hashed: `client_address`, `path` (without its query), a header or a cookie.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
pub(super) enum Hash {
    /// The client's address, or the path without its query.
    Word(HashWord),
    /// The value of a request header.
    Header {
        /// The header whose value is hashed.
        header: Literal,
    },
    /// The value of a cookie.
    Cookie {
        /// The cookie whose value is hashed.
        cookie: Literal,
    },
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum HashWord {
    ClientAddress,
    Path,
}

/// How many requests may be under way at once in a version; none are queued.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct VersionLimits {
    /// In the whole version; no limit by default. What is too much for a canary goes to stable, what is too much for
    /// stable is answered with 503.
    #[schemars(range(min = 1, max = 1_000_000))]
    requests: Option<u64>,
    /// At each of its endpoints; no limit by default.
    #[schemars(range(min = 1, max = 1_000_000))]
    requests_per_endpoint: Option<u64>,
}

/// `off`, or what is tried again, and how much of that there may be.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
pub(super) enum Retries {
    /// Nothing is tried again.
    Off(Off),
    /// What is not written is as by default.
    Parts {
        /// Retries beyond the first attempt that one request may have; 0 to 5.
        #[schemars(range(min = 0, max = 5), extend("default" = 2))]
        most: Option<u64>,
        /// Retries as a part of the requests of the last 10 seconds. Beyond it a failure is passed on.
        #[schemars(extend("default" = "20%"))]
        budget: Option<Percentage>,
        /// So many retries a second, on average over 10 seconds, are always allowed, whatever the budget.
        #[schemars(range(min = 0, max = 10_000), extend("default" = 3))]
        floor: Option<u64>,
        /// What is tried again beside connections that could not be made: answers of 502, 503 and 504 (`unavailable`), and
        /// connections that broke before the response began (`broken`); both by default.
        on: Option<Vec<RetriedFailure>>,
    },
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum RetriedFailure {
    Unavailable,
    Broken,
}
