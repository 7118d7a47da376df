//! Services and versions.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::care::{Balance, Ejection, Health, Retries, VersionLimits};
use super::plan::Plan;
use super::{FilePath, Literal, Ranges, Size, Time, Weight};

/// What clients reach, by host and path.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Service {
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
    /// How endpoints are asked whether they are well, of all its versions that do not write it; as for the whole file by
    /// default.
    health: Option<Health>,
    /// What is tried again, and how often; as for the whole file by default.
    retries: Option<Retries>,
    /// Whether stable answers in place of a canary whose failure can be hidden; the canary is charged all the same.
    #[schemars(extend("default" = true))]
    shield: Option<bool>,
    /// Which requests may be copied to the canary in a plan's `mirror` steps, and what bounds the copies.
    mirror: Option<Mirror>,
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

/// Which requests may be copied to the canary. A copy is never waited for.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Mirror {
    /// Methods that are copied, in upper case; `[GET, HEAD, OPTIONS]` by default.
    #[schemars(length(min = 1))]
    methods: Option<Vec<String>>,
    /// The longest request body that is copied, and the most of both answers that is compared; up to 1MiB.
    #[schemars(extend("default" = "64KiB"))]
    body: Option<Size>,
    /// How many copies may be under way at once; what is more is not copied.
    #[schemars(range(min = 1, max = 1_000), extend("default" = 64))]
    in_flight: Option<u64>,
    /// How long a copy may take, connecting included; 1ms to 1m.
    #[schemars(extend("default" = "5s"))]
    timeout: Option<Time>,
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
    /// How its endpoints are asked whether they are well; as for its service by default, or else the whole file.
    health: Option<Health>,
    /// When traffic shows that one of them is ill.
    ejection: Option<Ejection>,
    /// Which of them a request goes to.
    #[schemars(extend("default" = "peak_ewma"))]
    balance: Option<Balance>,
    /// How long one that was down takes to come back to its full share; `0s` gives it at once. Up to 1h.
    #[schemars(extend("default" = "10s"))]
    slow_start: Option<Time>,
    /// How many connections to each endpoint every core opens ahead where the version gets a share, or a much larger one;
    /// 0 or `false` for none.
    #[schemars(extend("default" = 4))]
    warm_start: Option<WarmStart>,
    /// How many requests may be under way at once.
    limits: Option<VersionLimits>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its shape is of use")]
enum WarmStart {
    /// So many.
    #[schemars(extend("maximum" = 16))]
    Connections(u8),
    /// None.
    #[schemars(extend("const" = false))]
    Off(bool),
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
