//! The keys of the file: those that are read, and those that are known and not built yet.
//!
//! The decoder refuses every key that is not `known` here, and a test holds the schema to the same lists.

/// The keys of one kind of mapping.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Whose keys they are, in words.
    pub(crate) of: &'static str,
    /// Those that are read.
    pub(crate) known: &'static [&'static str],
    /// Those of parts that are not built yet.
    pub(crate) later: &'static [&'static str],
    /// Those that belong elsewhere or go by another name, each with what to write instead.
    pub(crate) elsewhere: &'static [(&'static str, &'static str)],
    /// What follows the list of legal keys, where that alone does not say enough.
    pub(crate) more: &'static str,
}

const NONE: Keys = Keys { of: "", known: &[], later: &[], elsewhere: &[], more: "" };

const BESIDE: &str = "write it beside, in the mapping around this one";

const FOR_ALL: &str = "write it at the top of the file, for all listeners";

const INTO_VERSION: &str = "write it into a version, beside `endpoints`";

pub(crate) const TOP: Keys = Keys {
    of: "a configuration",
    known: &[
        "listeners",
        "admin",
        "state",
        "dns",
        "services",
        "plans",
        "timeouts",
        "limits",
        "requests",
        "trusted",
        "access_log",
        "drain",
        "health",
        "retries",
    ],
    elsewhere: &[
        ("balance", INTO_VERSION),
        ("connections", "write it into the limits, like limits: { connections: 10000 }"),
        ("ejection", INTO_VERSION),
        ("forced", "write it into a service"),
        ("resolver", "write it as dns: { servers: [10.0.0.2] }"),
        ("resolvers", "write it as dns: { servers: [10.0.0.2] }"),
        ("shield", "write it into a service"),
        ("slow_start", INTO_VERSION),
        ("warm_start", INTO_VERSION),
        ("tls", "write it into a listener, or for what is spoken to endpoints into a version"),
    ],
    ..NONE
};

pub(crate) const LISTENER: Keys = Keys {
    of: "a listener",
    known: &["address", "tls", "proxy_protocol", "redirect"],
    elsewhere: &[
        ("connections", "write it into the limits at the top of the file, for all listeners"),
        ("hsts", "write it into `tls`"),
        ("limits", FOR_ALL),
        ("protocol", "HTTP/1.1 and HTTP/2 are both spoken; leave it out"),
        ("timeouts", FOR_ALL),
    ],
    ..NONE
};

pub(crate) const LISTENER_TLS: Keys =
    Keys { of: "a listener's TLS", known: &["certificates", "clients", "oldest", "hsts"], ..NONE };

pub(crate) const CERTIFICATE: Keys = Keys { of: "a certificate", known: &["cert", "key"], ..NONE };

pub(crate) const CLIENTS: Keys = Keys { of: "client certificates", known: &["ca", "optional"], ..NONE };

pub(crate) const HSTS: Keys = Keys { of: "`hsts`", known: &["max_age", "subdomains", "preload"], ..NONE };

pub(crate) const REDIRECT: Keys = Keys { of: "a redirect", known: &["https"], ..NONE };

pub(crate) const TIMEOUTS: Keys = Keys {
    of: "the timeouts",
    known: &[
        "handshake",
        "head",
        "body",
        "connect",
        "first_byte",
        "response",
        "write",
        "keepalive",
        "http2_idle",
        "tunnel",
        "connection",
        "upstream_idle",
        "total",
    ],
    ..NONE
};

pub(crate) const LIMITS: Keys = Keys {
    of: "the limits",
    known: &[
        "connections",
        "connections_per_client",
        "requests_per_client",
        "request_line",
        "head",
        "headers",
        "body",
        "http2_streams",
        "http2_header_list",
        "http2_resets",
        "http2_glitches",
    ],
    elsewhere: &[
        ("requests", "write it into a version, like limits: { requests: 1000 }"),
        ("requests_per_endpoint", "write it into a version, like limits: { requests_per_endpoint: 100 }"),
    ],
    ..NONE
};

pub(crate) const REQUESTS: Keys =
    Keys { of: "the rules for requests", known: &["underscores", "encoded_slashes"], ..NONE };

pub(crate) const ACCESS_LOG: Keys = Keys { of: "the access log", known: &["to", "sample"], ..NONE };

pub(crate) const DNS: Keys = Keys {
    of: "the rules for DNS",
    known: &["servers", "at_least", "at_most", "timeout", "prefer"],
    elsewhere: &[
        ("family", "write which addresses go first as `prefer`, like prefer: ipv6"),
        ("ipv6", "write which addresses go first as `prefer`, like prefer: ipv6"),
        ("nameservers", "write them as `servers`, like servers: [10.0.0.2]"),
        ("port", "write it behind its server, like servers: [\"10.0.0.2:5353\"]"),
        ("search", "the domains of /etc/resolv.conf are searched; write whole names to have none searched"),
        ("ttl", "write between what an answer's own is kept: `at_least` and `at_most`"),
        ("valid", "write between what an answer's own TTL is kept: `at_least` and `at_most`"),
    ],
    ..NONE
};

pub(crate) const DRAIN: Keys = Keys {
    of: "a drain",
    known: &["grace", "deadline"],
    elsewhere: &[
        ("delay", "write `grace`, for how long connections are still accepted"),
        ("timeout", "write `deadline`, after which the rest is cut"),
    ],
    ..NONE
};

pub(crate) const ADMIN: Keys = Keys { of: "the admin address", known: &["address", "tokens"], later: &["tls"], ..NONE };

pub(crate) const SERVICE: Keys = Keys {
    of: "a service",
    known: &[
        "hosts",
        "path",
        "methods",
        "headers",
        "affinity",
        "forced",
        "version_header",
        "upgrades",
        "grpc_errors",
        "body",
        "timeouts",
        "health",
        "retries",
        "shield",
        "mirror",
        "stable",
        "canary",
        "weight",
        "versions",
        "plan",
    ],
    elsewhere: &[
        ("balance", INTO_VERSION),
        ("baseline", "write it into the plan, like plan: { baseline: equal }"),
        ("drain", "write it into the plan, like plan: { drain: 10m }"),
        ("ejection", INTO_VERSION),
        ("gates", "write it into the plan, like plan: { gates: [{ errors: {} }] }"),
        (
            "limits",
            "of the limits a service may set that of bodies, like body: 10MiB; those of requests under way stand in a version, \
             the others at the top of the file",
        ),
        ("match", "write `methods` and `headers` here, beside `hosts` and `path`"),
        ("protocol", "write it into a version"),
        ("routes", "write a service for each host and path"),
        ("slow_start", INTO_VERSION),
        ("warm_start", INTO_VERSION),
        ("steps", "write it into the plan, like plan: { steps: [{ weight: 5%, hold: 10m }] }"),
        ("tls", "write it into a version, or for what clients speak into a listener"),
    ],
    ..NONE
};

pub(crate) const SERVICE_TIMEOUTS: Keys = Keys {
    of: "a service's timeouts",
    known: &["first_byte", "response", "tunnel", "total"],
    elsewhere: &[
        ("body", "it is the same for all services: write it into `timeouts` at the top of the file"),
        ("connect", "it is the same for all services: write it into `timeouts` at the top of the file"),
        ("head", "it is the same for all services: write it into `timeouts` at the top of the file"),
        ("write", "it is the same for all services: write it into `timeouts` at the top of the file"),
    ],
    ..NONE
};

pub(crate) const AFFINITY: Keys =
    Keys { of: "an affinity", known: &["cookie", "issue", "header", "user"], later: &["client_certificate"], ..NONE };

pub(crate) const ISSUE: Keys = Keys { of: "an issued cookie", known: &["max_age"], ..NONE };

pub(crate) const FORCED: Keys =
    Keys { of: "forced versions", known: &["header", "cookie", "from", "secret", "judged"], ..NONE };

pub(crate) const VERSION: Keys = Keys {
    of: "a version",
    known: &["endpoints", "protocol", "tls", "health", "ejection", "balance", "slow_start", "warm_start", "limits"],
    later: &["timeouts"],
    elsewhere: &[("retries", "write it into the service"), ("shield", "write it into the service")],
    ..NONE
};

pub(crate) const HEALTH: Keys = Keys {
    of: "a health check",
    known: &["path", "host", "status", "grpc", "connect", "interval", "timeout", "jitter", "healthy", "unhealthy"],
    elsewhere: &[
        ("http", "write `path`, like path: /healthz"),
        ("method", "it is always GET; leave it out"),
        ("port", "it is each endpoint's own; leave it out"),
        ("tcp", "write connect: true"),
        ("tls", "it is that of the version; leave it out"),
    ],
    ..NONE
};

pub(crate) const EJECTION: Keys =
    Keys { of: "an ejection", known: &["failures", "first", "most", "success_rate", "hang"], ..NONE };

pub(crate) const BALANCE: Keys = Keys { of: "a balance", known: &["hash"], ..NONE };

pub(crate) const HASH: Keys = Keys { of: "what is hashed by", known: &["header", "cookie"], ..NONE };

pub(crate) const VERSION_LIMITS: Keys = Keys {
    of: "a version's limits",
    known: &["requests", "requests_per_endpoint"],
    elsewhere: &[
        ("body", "write it into the service, or into `limits` at the top of the file"),
        ("connections", "connections to endpoints follow from the requests under way; write `requests_per_endpoint`"),
    ],
    ..NONE
};

pub(crate) const RETRIES: Keys = Keys {
    of: "the retries",
    known: &["most", "budget", "floor", "on"],
    elsewhere: &[
        ("attempts", "write `most`, which counts the retries beyond the first attempt"),
        ("timeout", "all attempts together have the time of `timeouts: { total: ... }` of the service"),
    ],
    ..NONE
};

pub(crate) const MIRROR: Keys = Keys {
    of: "the rules for copies",
    known: &["methods", "body", "in_flight", "timeout"],
    elsewhere: &[
        ("errors", INTO_GATE),
        ("hold", INTO_MIRROR_STEP),
        ("limit", INTO_GATE),
        ("percent", INTO_MIRROR_STEP),
        ("share", INTO_MIRROR_STEP),
        ("status", INTO_GATE),
        ("to", "copies go to the canary of the rollout; leave it out"),
        ("version", "copies go to the canary of the rollout; leave it out"),
        ("weight", INTO_MIRROR_STEP),
    ],
    ..NONE
};

const INTO_GATE: &str = "write it into a gate of the plan, like { mirror: { status: 1% } }";

const INTO_MIRROR_STEP: &str = "write it into a step of the plan, like { mirror: 10%, hold: 5m }";

pub(crate) const MIRROR_GATE: Keys = Keys {
    of: "a `mirror` gate",
    known: &["errors", "status", "body"],
    elsewhere: &[
        ("limit", "write the limit itself, like mirror: { status: 1% }"),
        ("name", BESIDE),
        ("path", "copies are not counted by path; leave it out"),
        ("role", BESIDE),
        (
            "tolerance",
            "a copy is compared with the answer that stable gave to the same request; write the share of copies that \
                       may differ, like mirror: { status: 1% }",
        ),
    ],
    ..NONE
};

pub(crate) const ENDPOINT_TLS: Keys = Keys {
    of: "the TLS of endpoints",
    known: &["server_name", "ca", "cert", "key"],
    elsewhere: &[("verify", "verification is always on; for a CA of your own write `ca: FILE`")],
    ..NONE
};

pub(crate) const PLAN: Keys = Keys {
    of: "a plan",
    known: &[
        "alpha",
        "beta",
        "min_requests",
        "warmup",
        "advance",
        "early",
        "deadline",
        "on_deadline",
        "baseline",
        "dry_run",
        "drain",
        "steps",
        "gates",
    ],
    elsewhere: &[
        ("margin", "write it into a gate, like errors: { margin: 0.3% }"),
        ("tolerance", "write it into a gate, like errors: { tolerance: 0.1% }"),
    ],
    ..NONE
};

pub(crate) const STEP: Keys = Keys {
    of: "a step",
    known: &["weight", "hold", "early", "deadline", "on_deadline", "match", "judged", "mirror", "approval"],
    elsewhere: &[
        ("advance", "write it into the plan, for all its steps"),
        ("headers", "write who goes to the canary as match: { x-beta: \"1\" }"),
    ],
    ..NONE
};

pub(crate) const GATE: Keys = Keys {
    of: "a gate",
    known: &["errors", "latency", "mirror", "name", "role", "path"],
    later: &["query"],
    elsewhere: &[
        ("limit", "write it into what is judged, like errors: { limit: 5% }"),
        ("margin", "write it into what is judged, like errors: { margin: 0.3% }"),
        ("of", "write it into what is judged, like latency: { of: total }"),
        ("quantile", "write it into what is judged, like latency: { quantile: p99 }"),
        ("routes", "write a gate for each path, like { errors: {}, path: /checkout }"),
        ("tolerance", "write it into what is judged, like errors: { tolerance: 0.1% }"),
        ("traffic", "the check of the traffic is always on, and has no keys; leave it out"),
    ],
    more: ", and what is judged is `errors`, `latency` or `mirror`",
};

pub(crate) const ERRORS: Keys = Keys {
    of: "an `errors` gate",
    known: &["tolerance", "margin", "limit"],
    elsewhere: &[
        ("name", BESIDE),
        ("of", "errors have no beginning and end; leave it out"),
        ("path", BESIDE),
        ("quantile", "errors have none; leave it out"),
        ("role", BESIDE),
        ("routes", "write `path` beside, in the mapping around this one"),
    ],
    ..NONE
};

pub(crate) const TOLERANCE: Keys = Keys { of: "a tolerance", known: &["ratio", "points"], ..NONE };

pub(crate) const MARGIN: Keys = Keys { of: "a margin", ..TOLERANCE };

pub(crate) const LATENCY: Keys = Keys {
    of: "a `latency` gate",
    known: &["tolerance", "margin", "limit", "quantile", "of"],
    elsewhere: &[
        ("name", BESIDE),
        ("path", BESIDE),
        ("role", BESIDE),
        ("routes", "write `path` beside, in the mapping around this one"),
    ],
    ..NONE
};
