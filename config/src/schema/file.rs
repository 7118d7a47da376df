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
    /// How long each phase of a request may take.
    timeouts: Option<Timeouts>,
    /// How much is taken.
    limits: Option<Limits>,
    /// How strictly request heads are read.
    requests: Option<Requests>,
    /// Hops in front whose `X-Forwarded-*` and `Forwarded` are believed; nobody's by default.
    trusted: Option<Ranges>,
    /// A line for each request; none by default.
    access_log: Option<AccessLog>,
}

/// An address that clients connect to.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
enum Listener {
    /// One that serves.
    Serving {
        /// The address.
        address: ListenAddress,
        /// TLS; HTTP/2 and HTTP/1.1 are offered. Without TLS by default.
        tls: Option<ListenerTls>,
        /// Peers that must begin each connection with a PROXY protocol header (version 1 or 2), which names the client.
        proxy_protocol: Option<Ranges>,
    },
    /// One that sends every client to HTTPS.
    Redirecting {
        /// The address.
        address: ListenAddress,
        /// Peers that must begin each connection with a PROXY protocol header (version 1 or 2), which names the client.
        proxy_protocol: Option<Ranges>,
        /// Every request is answered with a redirect to the same place over HTTPS.
        redirect: Redirect,
    },
}

/// Where a redirect leads.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
enum Redirect {
    /// `https`: port 443.
    Word(RedirectWord),
    /// Another port.
    Port {
        /// The port.
        #[schemars(range(min = 1, max = 65_535))]
        https: u64,
    },
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum RedirectWord {
    Https,
}

/// TLS of a listener.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ListenerTls {
    /// The certificates; the first is shown to a client that names no server or an unknown one. Changed files are read
    /// again by themselves.
    #[schemars(length(min = 1))]
    certificates: Vec<Certificate>,
    /// Certificates that clients must show; none by default.
    clients: Option<Clients>,
    /// The oldest version of TLS that is spoken.
    #[schemars(extend("default" = "1.2"))]
    oldest: Option<Oldest>,
    /// `Strict-Transport-Security`; not sent by default.
    hsts: Option<Hsts>,
}

/// A certificate and its key.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Certificate {
    /// A PEM file with the certificate and its chain.
    cert: FilePath,
    /// A PEM file with the private key.
    key: FilePath,
}

/// Certificates of clients.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Clients {
    /// A PEM file with the authorities that may have signed them.
    ca: FilePath,
    /// Whether a client without one is let in.
    #[schemars(extend("default" = false))]
    optional: Option<bool>,
}

/// `1.2` or `1.3`.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Oldest {
    /// In quotes.
    Word(#[schemars(extend("enum" = ["1.2", "1.3"]))] String),
    /// Without quotes.
    Number(#[schemars(extend("enum" = [1.2, 1.3]))] f64),
}

/// What browsers are told to remember: only HTTPS for this host (RFC 6797).
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Hsts {
    /// For how long, in whole seconds; `0s` tells them to forget.
    max_age: Time,
    /// For names below the host, too.
    #[schemars(extend("default" = false))]
    subdomains: Option<bool>,
    /// Browsers may ship with it.
    #[schemars(extend("default" = false))]
    preload: Option<bool>,
}

/// How long each phase may take; more than nothing.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Timeouts {
    /// A client's TLS handshake.
    #[schemars(extend("default" = "10s"))]
    handshake: Option<Time>,
    /// A whole request head.
    #[schemars(extend("default" = "10s"))]
    head: Option<Time>,
    /// Silence within a request body.
    #[schemars(extend("default" = "30s"))]
    body: Option<Time>,
    /// A connection to an endpoint, TLS included.
    #[schemars(extend("default" = "2s"))]
    connect: Option<Time>,
    /// From the request to the response head.
    #[schemars(extend("default" = "15s"))]
    first_byte: Option<Time>,
    /// Silence within a response.
    #[schemars(extend("default" = "30s"))]
    response: Option<Time>,
    /// A client that takes nothing of a response.
    #[schemars(extend("default" = "30s"))]
    write: Option<Time>,
    /// Between the requests of an HTTP/1.1 connection.
    #[schemars(extend("default" = "75s"))]
    keepalive: Option<Time>,
    /// An HTTP/2 connection without a stream.
    #[schemars(extend("default" = "5m"))]
    http2_idle: Option<Time>,
    /// Silence in a tunnel or a stream of events.
    #[schemars(extend("default" = "1h"))]
    tunnel: Option<Time>,
    /// The life of a client's connection, after which it is ended gently.
    #[schemars(extend("default" = "1h"))]
    connection: Option<Time>,
    /// An unused connection to an endpoint.
    #[schemars(extend("default" = "50s"))]
    upstream_idle: Option<Time>,
    /// A whole request with its response; none by default. Tunnels, streams of events and gRPC are exempt.
    total: Option<Time>,
}

/// How much is taken.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Limits {
    /// Client connections in all.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 100_000))]
    connections: Option<u64>,
    /// Client connections of one address (of IPv6 its /64); trusted hops are exempt.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 4096))]
    connections_per_client: Option<u64>,
    /// A request line, 1KiB to what a head may have.
    #[schemars(extend("default" = "8KiB"))]
    request_line: Option<Size>,
    /// A head, 1KiB to 1MiB.
    #[schemars(extend("default" = "32KiB"))]
    head: Option<Size>,
    /// The fields of a head.
    #[schemars(range(min = 1, max = 256), extend("default" = 100))]
    headers: Option<u64>,
    /// A request body; none by default.
    body: Option<Size>,
    /// Streams of an HTTP/2 connection at a time.
    #[schemars(range(min = 1, max = 10_000), extend("default" = 100))]
    http2_streams: Option<u64>,
    /// A list of fields in HTTP/2, 1KiB to 1MiB.
    #[schemars(extend("default" = "64KiB"))]
    http2_header_list: Option<Size>,
    /// Streams of an HTTP/2 connection that are reset within ten seconds, by either side.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 200))]
    http2_resets: Option<u64>,
    /// Frames of an HTTP/2 connection that carry nothing, within ten seconds.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 2000))]
    http2_glitches: Option<u64>,
}

/// How strictly request heads are read, where strictness is a matter of taste.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Requests {
    /// Header names with an underscore.
    #[schemars(extend("default" = "refuse"))]
    underscores: Option<Handling>,
    /// `%2F` and `%5C` in a path.
    #[schemars(extend("default" = "refuse"))]
    encoded_slashes: Option<Handling>,
}

/// `refuse` answers 400, `pass` passes it on as it is.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Handling {
    Refuse,
    Pass,
}

/// A line for each request.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct AccessLog {
    /// `stdout`, or the path of a file, which is opened again at USR1.
    to: LogTarget,
    /// The share of requests that are logged; those that failed always are.
    #[schemars(extend("default" = "100%"))]
    sample: Option<Percentage>,
}

/// `stdout` or the path of a file.
#[derive(JsonSchema)]
struct LogTarget(#[schemars(regex(pattern = "^stdout$|/"))] String);

/// The control API, the metrics and the dashboard.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Admin {
    /// The address; 127.0.0.1:9900 by default. One that is not loopback needs a token.
    address: Option<Address>,
    /// A file that holds the token, alone or one a line.
    tokens: Option<String>,
}

/// `IP:PORT`, like `0.0.0.0:8080` or `[::]:8080`, or `unix:/path`.
#[derive(JsonSchema)]
struct ListenAddress(#[schemars(regex(pattern = r"^(\d+\.\d+\.\d+\.\d+|\[.+\]):\d+$|^unix:/"))] String);

/// Addresses and networks, like `10.0.0.7` or `10.0.0.0/8`.
#[derive(JsonSchema)]
struct Ranges(#[schemars(length(min = 1))] Vec<String>);

/// The path of a file.
#[derive(JsonSchema)]
struct FilePath(#[schemars(length(min = 1))] String);

/// `IP:PORT`, like `0.0.0.0:8080` or `[::]:8080`.
#[derive(JsonSchema)]
struct Address(#[schemars(regex(pattern = r"^(\d+\.\d+\.\d+\.\d+|\[.+\]):\d+$"))] String);

/// What clients reach, by host and path.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Service {
    /// Host names that lead here, exact or like `*.example.com`; every host by default.
    #[schemars(length(min = 1))]
    hosts: Option<Vec<String>>,
    /// The path prefix that leads here, of whole segments. The longest of all services wins.
    #[schemars(regex(pattern = "^/"), extend("default" = "/"))]
    path: Option<String>,
    /// Methods that lead here, in upper case; every method by default.
    #[schemars(length(min = 1))]
    methods: Option<Vec<String>>,
    /// Headers that a request must have, each with its value; `*` is any value. None by default.
    #[schemars(extend("minProperties" = 1))]
    headers: Option<BTreeMap<String, Literal>>,
    /// What keeps a client on one version; nothing by default.
    affinity: Option<Affinity>,
    /// Who may choose the version of a request; nobody by default.
    forced: Option<Forced>,
    /// Whether clients are told the version that served, and origins the version drawn.
    #[schemars(extend("default" = true))]
    version_header: Option<bool>,
    /// Protocols that a client may upgrade to; `[websocket]` by default.
    upgrades: Option<Vec<String>>,
    /// The gRPC status codes that count as failures; `[UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE,
    /// DATA_LOSS]` by default.
    grpc_errors: Option<Vec<GrpcCode>>,
    /// The most that a request body may have; as for all services by default.
    body: Option<Size>,
    /// Times that are not those of all services.
    timeouts: Option<ServiceTimeouts>,
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
    /// `random`: nothing; `client-address`: the client's address.
    Word(AffinityWord),
    /// A cookie; a request without it draws at random.
    Cookie {
        /// The cookie's name.
        cookie: Literal,
        /// Whether the cookie is ours, set where a request has none; else it is the application's own.
        #[schemars(extend("default" = false))]
        issue: Option<Issue>,
    },
    /// A request header; a request without it draws at random.
    Header {
        /// The header's name.
        header: Literal,
    },
    /// A request header that names the authenticated user, believed from `trusted` hops alone.
    User {
        /// The header's name.
        user: Literal,
    },
}

/// `true`, or for how long.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
enum Issue {
    /// Whether the cookie is ours.
    Switch(bool),
    /// It is ours.
    For {
        /// For how long browsers keep it, in whole seconds.
        #[schemars(extend("default" = "720h"))]
        max_age: Option<Time>,
    },
}

/// Text; what looks like a number or a truth value is taken as it is written.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Literal {
    /// A text.
    Text(String),
    /// Digits.
    Number(f64),
    /// A word.
    Switch(bool),
}

/// Who may choose the version of a request, and how: at least one of `header` and `cookie`, and of `from` and `secret`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Forced {
    /// The request header that names the version: `always` (the canary), `never` (the stable) or a version's name. It
    /// goes before the cookie.
    header: Option<Literal>,
    /// The cookie that does.
    cookie: Option<Literal>,
    /// Client addresses that may.
    from: Option<Ranges>,
    /// A file with a secret; who sends it in the header `tidegate-secret` may, too.
    secret: Option<FilePath>,
    /// Whether such requests are judged.
    #[schemars(extend("default" = false))]
    judged: Option<bool>,
}

/// A gRPC status code that is no success.
#[derive(JsonSchema)]
#[schemars(rename_all = "SCREAMING_SNAKE_CASE")]
enum GrpcCode {
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

/// Times of one service; each as for all services where it is not written.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ServiceTimeouts {
    /// From the request to the response head.
    first_byte: Option<Time>,
    /// Silence within a response.
    response: Option<Time>,
    /// Silence in a tunnel or a stream of events.
    tunnel: Option<Time>,
    /// A whole request with its response.
    total: Option<Time>,
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
    /// The backends, each `host:port`, `[ipv6]:port` or `unix:/path`; `https://` before all of them, or before none.
    #[schemars(length(min = 1), inner(regex(pattern = r":\d+$|^unix:/")))]
    endpoints: Vec<String>,
    /// What is spoken to them: `h1` is HTTP/1.1, `h2` is HTTP/2 over TLS, `h2c` is HTTP/2 without.
    #[schemars(extend("default" = "h1"))]
    protocol: Option<Protocol>,
    /// How they prove who they are, where they are `https://`. Verification is always on.
    tls: Option<EndpointTls>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Protocol {
    H1,
    H2,
    H2c,
}

/// TLS to endpoints.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct EndpointTls {
    /// The name in their certificates, which is sent to them; each endpoint's own host by default.
    server_name: Option<String>,
    /// A PEM file with the authorities that may have signed them; the system's by default.
    ca: Option<FilePath>,
    /// A PEM file with the certificate that is shown to them; with `key`.
    cert: Option<FilePath>,
    /// A PEM file with its key; with `cert`.
    key: Option<FilePath>,
}

/// How a rollout goes, and what it must satisfy. Each key has a default of its own.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Plan {
    /// The chance of a false rollback over the whole rollout, 0.0001% to 50%.
    #[schemars(extend("default" = "1%"))]
    alpha: Option<Percentage>,
    /// The chance that a canary which is worse by a gate's margin passes that gate in a step, 0.0001% to 50%.
    #[schemars(extend("default" = "5%"))]
    beta: Option<Percentage>,
    /// Requests that each version must have had in a step before the step may end.
    #[schemars(range(min = 1, max = 1_000_000_000), extend("default" = 50))]
    min_requests: Option<u64>,
    /// For so long after the canary's first traffic its latencies are not judged; 0s to 1h.
    #[schemars(extend("default" = "30s"))]
    warmup: Option<Time>,
    /// What ends a step: `time`, its hold, while no gate fails or is under suspicion; `proof`, that every gate passes,
    /// too.
    #[schemars(extend("default" = "time"))]
    advance: Option<Advance>,
    /// For each step that does not say it: whether it may end before its hold is over, once every gate passes.
    #[schemars(extend("default" = false))]
    early: Option<bool>,
    /// For each step that does not say it: when it has lasted too long; never by default.
    deadline: Option<Time>,
    /// For each step that does not say it: what happens at its deadline.
    #[schemars(extend("default" = "hold"))]
    on_deadline: Option<OnDeadline>,
    /// What the canary is compared with: `stable` (all of its traffic), `equal` (a slice of it as large as the canary's)
    /// or the name of another version, which gets as much traffic as the canary.
    #[schemars(extend("default" = "stable"))]
    baseline: Option<String>,
    /// Judge and report, and never move the split on a verdict.
    #[schemars(extend("default" = false))]
    dry_run: Option<bool>,
    /// The steps; 1%, 5%, 25% and 50% for 2, 5, 10 and 10 minutes by default. Weights never fall.
    #[schemars(length(min = 1, max = 64))]
    steps: Option<Vec<Step>>,
    /// The gates; errors and latency against stable by default. `[]` leaves the circuit breaker alone.
    #[schemars(length(max = 64))]
    gates: Option<Vec<Gate>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Advance {
    Time,
    Proof,
}

/// `hold` pauses and asks; `promote` goes on without the proof, never without data or under suspicion; `roll-back` takes
/// the canary back.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum OnDeadline {
    Hold,
    Promote,
    RollBack,
}

/// One step of a plan.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
enum Step {
    /// Give the canary a weight, and keep it.
    Weight {
        /// The canary's weight, above 0% and below 100%.
        weight: Weight,
        /// For at least this long.
        #[schemars(extend("default" = "5m"))]
        hold: Option<Time>,
        /// The step may end before its hold is over, once every gate passes; as the plan says by default.
        early: Option<bool>,
        /// When the step has lasted too long, not shorter than its hold; as the plan says by default.
        deadline: Option<Time>,
        /// What happens at the deadline; as the plan says by default.
        on_deadline: Option<OnDeadline>,
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
    /// Judges latency; `{}` compares its whole shape with stable, with the default tolerance.
    latency: Option<Latency>,
    /// The gate's name, unique in its plan; `errors`, `errors-limit`, `latency` or `latency-p99` by default, with its
    /// path behind.
    name: Option<String>,
    /// What its failing does: a guardrail rolls back, a signal pauses and asks.
    #[schemars(extend("default" = "guardrail"))]
    role: Option<Role>,
    /// Only requests whose path begins with this prefix of whole segments; every request of the service by default.
    #[schemars(regex(pattern = "^/."))]
    path: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Role {
    Guardrail,
    Signal,
}

/// Failed requests: either against stable, or an absolute limit.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
enum Errors {
    /// Against stable.
    Compared {
        /// The harm that must be established to fail; a ratio of 1.1 and 0.05 points by default.
        tolerance: Option<Tolerance>,
        /// The harm that must be ruled out to pass, more than the tolerance; a ratio of 1.5 and 0.1 points by default,
        /// more where the tolerance reaches that.
        margin: Option<Margin>,
    },
    /// An absolute limit.
    Limited {
        /// The largest error rate allowed, above 0% and below 100%.
        limit: Percentage,
    },
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

/// The canary's error rate above `ratio` times stable's plus `points`. What is not written is as in the tolerance.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
enum Margin {
    /// Points above stable: `0.3%` is three more failed requests in a thousand.
    Points(Percentage),
    /// A ratio, points, or both.
    Parts {
        /// Times stable's error rate.
        #[schemars(range(min = 1.0, max = 10000.0))]
        ratio: Option<f64>,
        /// Points on top.
        points: Option<Percentage>,
    },
}

/// Latency: either against stable, or an absolute limit.
#[derive(JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
enum Latency {
    /// Against stable.
    Compared {
        /// One quantile, p10 to p99.9; the whole shape by default.
        quantile: Option<Quantile>,
        /// The harm that must be established to fail: so much longer than stable's, 0% to 1000%.
        #[schemars(extend("default" = "5%"))]
        tolerance: Option<Percentage>,
        /// The harm that must be ruled out to pass, more than the tolerance; 25% up to p95 and 50% above by default,
        /// more where the tolerance reaches that.
        margin: Option<Percentage>,
        /// What is measured.
        #[schemars(extend("default" = "head"))]
        of: Option<LatencyOf>,
    },
    /// An absolute limit on a quantile.
    Limited {
        /// The latency that it may not exceed, 1ms to 60s.
        limit: Time,
        /// The quantile, p1 to p99.99.
        #[schemars(extend("default" = "p99"))]
        quantile: Option<Quantile>,
        /// What is measured.
        #[schemars(extend("default" = "head"))]
        of: Option<LatencyOf>,
    },
}

/// From a ready connection to the head of the response, or to its last byte.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum LatencyOf {
    Head,
    Total,
}

/// A quantile: `p50`, `p99`, `p99.9`.
#[derive(JsonSchema)]
struct Quantile(#[schemars(regex(pattern = r"^p\d+(\.\d+)?$"))] String);

/// A share of traffic, `0%` to `100%` in steps of 0.01%.
#[derive(JsonSchema)]
struct Weight(#[schemars(regex(pattern = r"^\d+(\.\d+)?%$"))] String);

/// A percentage: `0.1%`.
#[derive(JsonSchema)]
struct Percentage(#[schemars(regex(pattern = r"^\d+(\.\d+)?%$"))] String);

/// A time with its unit: `500ms`, `10s`, `5m`, `1h30m`.
#[derive(JsonSchema)]
struct Time(#[schemars(regex(pattern = r"^(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$"))] String);

/// A size with its unit: `8KiB`, `10MiB`, `512B`.
#[derive(JsonSchema)]
struct Size(#[schemars(regex(pattern = r"^\d+([KMGT]i)?B$"))] String);
