//! What the file looks like. Doc comments become the descriptions that editors show.

#![expect(dead_code, reason = "only the schema of these types is used")]

use std::collections::BTreeMap;

use schemars::JsonSchema;

/// What tidegate serves, and how it releases new versions.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "Tidegate configuration")]
pub(super) struct Configuration {
    /// Where clients connect; 0.0.0.0:8080 by default.
    #[schemars(length(min = 1))]
    listeners: Option<Vec<Listener>>,
    /// Where operators connect.
    admin: Option<Admin>,
    /// The state directory, kept over restarts.
    #[schemars(extend("default" = "./tidegate-state"))]
    state: Option<String>,
    /// The services by name.
    #[schemars(extend("minProperties" = 1))]
    services: BTreeMap<String, Service>,
    /// Plans that a rollout may name, beside each service's own; `default` and `built-in` are reserved names.
    plans: Option<BTreeMap<String, Plan>>,
}

/// An address that clients connect to.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Listener {
    /// The address.
    address: Address,
}

/// The control API, the metrics and the dashboard.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Admin {
    /// The address; 127.0.0.1:9900 by default. One that is not loopback needs a token.
    address: Option<Address>,
    /// A file that holds the token, alone or one a line.
    tokens: Option<String>,
}

/// `IP:PORT`, like `0.0.0.0:8080` or `[::]:8080`.
#[derive(JsonSchema)]
struct Address(#[schemars(regex(pattern = r"^(\d+\.\d+\.\d+\.\d+|\[.+\]):\d+$"))] String);

/// What clients reach, by host and path.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Service {
    /// Exact host names that lead here; every host by default.
    #[schemars(length(min = 1))]
    hosts: Option<Vec<String>>,
    /// The path prefix that leads here, of whole segments. The longest of all services wins.
    #[schemars(regex(pattern = "^/"), extend("default" = "/"))]
    path: Option<String>,
    /// What keeps a client on one version; nothing by default.
    affinity: Option<Affinity>,
    /// The version that serves users. May be left out where there is one version only.
    stable: Option<String>,
    /// Another version, with `weight`: a split that stands until a rollout or a person says otherwise.
    canary: Option<String>,
    /// The canary's weight.
    weight: Option<Weight>,
    /// The versions by name.
    #[schemars(extend("minProperties" = 1))]
    versions: BTreeMap<String, Version>,
    /// The plan of a rollout that names none.
    plan: Option<Plan>,
}

/// What keeps a client on one version.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
enum Affinity {
    /// `random`: nothing; `client-address`: the address of the client's connection.
    Word(AffinityWord),
    /// The application's own cookie; a request without it draws at random.
    Cookie {
        /// The cookie's name.
        cookie: String,
    },
    /// A request header; a request without it draws at random.
    Header {
        /// The header's name.
        header: String,
    },
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum AffinityWord {
    Random,
    ClientAddress,
}

/// A named set of endpoints.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Version {
    /// The backends, each `host:port` or `[ipv6]:port`.
    #[schemars(length(min = 1), inner(regex(pattern = r":\d+$")))]
    endpoints: Vec<String>,
}

/// How a rollout goes, and what it must satisfy. Each key has a default of its own.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Plan {
    /// The chance of a false rollback over the whole rollout, 0.0001% to 50%.
    #[schemars(extend("default" = "1%"))]
    alpha: Option<Percentage>,
    /// Requests that each version must have had in a step before the step may end.
    #[schemars(range(min = 1, max = 1_000_000_000), extend("default" = 50))]
    min_requests: Option<u64>,
    /// What ends a step: its time, while no gate fails or is under suspicion.
    advance: Option<Advance>,
    /// The steps; 1%, 5%, 25% and 50% for 2, 5, 10 and 10 minutes by default. Weights never fall.
    #[schemars(length(min = 1))]
    steps: Option<Vec<Step>>,
    /// The gates; errors and latency against stable by default. `[]` leaves the circuit breaker alone.
    gates: Option<Vec<Gate>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Advance {
    Time,
}

/// One step of a plan.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
enum Step {
    /// Give the canary a weight, and keep it.
    Weight {
        /// The canary's weight, above 0%.
        weight: Weight,
        /// For at least this long.
        #[schemars(extend("default" = "5m"))]
        hold: Option<Time>,
    },
    /// Wait for a person.
    Approval {
        /// `true`.
        #[schemars(extend("const" = true))]
        approval: bool,
    },
}

/// A rule that traffic must satisfy while the canary is exposed: either `errors` or `latency`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Gate {
    /// Judges failed requests; `{}` compares with stable, with the default tolerance.
    errors: Option<Errors>,
    /// Judges the time to the response head.
    latency: Option<Latency>,
    /// The gate's name, unique in its plan; `errors`, `errors-limit` or `latency-p99` by default.
    name: Option<String>,
    /// What its failing does: a guardrail rolls back.
    role: Option<Role>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Role {
    Guardrail,
}

/// Failed requests: either against stable with a tolerance, or an absolute limit.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Errors {
    /// The harm that must be established to fail; a ratio of 1.1 and 0.05 points by default.
    tolerance: Option<Tolerance>,
    /// The largest error rate allowed, above 0% and below 100%.
    limit: Option<Percentage>,
}

/// The canary's error rate above `ratio` times stable's plus `points`.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
enum Tolerance {
    /// Points above stable: `0.1%` is one more failed request in a thousand.
    Points(Percentage),
    /// A ratio, points, or both.
    Parts {
        /// Times stable's error rate; 1 by default.
        #[schemars(range(min = 1.0, max = 1000.0))]
        ratio: Option<f64>,
        /// Points on top; none by default.
        points: Option<Percentage>,
    },
}

/// An absolute limit on a quantile of the canary's latency.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Latency {
    /// The latency that it may not exceed, 1ms to 60s.
    limit: Time,
    /// The quantile, p1 to p99.99.
    #[schemars(regex(pattern = r"^p\d+(\.\d+)?$"), extend("default" = "p99"))]
    quantile: Option<String>,
}

/// A share of traffic, `0%` to `100%` in steps of 0.01%.
#[derive(JsonSchema)]
struct Weight(#[schemars(regex(pattern = r"^\d+(\.\d+)?%$"))] String);

/// A percentage: `0.1%`.
#[derive(JsonSchema)]
struct Percentage(#[schemars(regex(pattern = r"^\d+(\.\d+)?%$"))] String);

/// A time with its unit: `500ms`, `10s`, `5m`, `1h30m`.
#[derive(JsonSchema)]
struct Time(#[schemars(regex(pattern = r"^(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$"))] String);
