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

pub(crate) const TOP: Keys = Keys {
    of: "a configuration",
    known: &["listeners", "admin", "state", "services", "plans"],
    later: &[
        "access_log",
        "connections",
        "drain",
        "forced",
        "health",
        "limits",
        "retries",
        "timeouts",
        "tls",
        "trusted",
    ],
    ..NONE
};

pub(crate) const LISTENER: Keys = Keys {
    of: "a listener",
    known: &["address"],
    later: &["connections", "limits", "protocol", "proxy_protocol", "redirect", "timeouts", "tls"],
    ..NONE
};

pub(crate) const ADMIN: Keys = Keys { of: "the admin address", known: &["address", "tokens"], later: &["tls"], ..NONE };

pub(crate) const SERVICE: Keys = Keys {
    of: "a service",
    known: &["hosts", "path", "affinity", "stable", "canary", "weight", "versions", "plan"],
    later: &[
        "forced", "headers", "health", "limits", "match", "methods", "mirror", "protocol", "retries", "routes",
        "shield", "timeouts", "tls",
    ],
    elsewhere: &[
        ("baseline", "write it into the plan, like plan: { baseline: equal }"),
        ("gates", "write it into the plan, like plan: { gates: [{ errors: {} }] }"),
        ("steps", "write it into the plan, like plan: { steps: [{ weight: 5%, hold: 10m }] }"),
    ],
    ..NONE
};

pub(crate) const AFFINITY: Keys =
    Keys { of: "an affinity", known: &["cookie", "header"], later: &["client_certificate", "issue", "user"], ..NONE };

pub(crate) const VERSION: Keys = Keys {
    of: "a version",
    known: &["endpoints"],
    later: &["balance", "health", "limits", "protocol", "slow_start", "timeouts", "tls", "warm_start"],
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
        "steps",
        "gates",
    ],
    later: &["drain"],
    elsewhere: &[
        ("margin", "write it into a gate, like errors: { margin: 0.3% }"),
        ("tolerance", "write it into a gate, like errors: { tolerance: 0.1% }"),
    ],
    ..NONE
};

pub(crate) const STEP: Keys = Keys {
    of: "a step",
    known: &["weight", "hold", "early", "deadline", "on_deadline", "approval"],
    later: &["match", "mirror"],
    elsewhere: &[("advance", "write it into the plan, for all its steps")],
    ..NONE
};

pub(crate) const GATE: Keys = Keys {
    of: "a gate",
    known: &["errors", "latency", "name", "role", "path"],
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
    more: ", and what is judged is `errors` or `latency`",
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
