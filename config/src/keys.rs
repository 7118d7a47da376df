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
    /// Those that belong into the mapping around this one.
    pub(crate) outside: &'static [&'static str],
}

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
    outside: &[],
};

pub(crate) const LISTENER: Keys = Keys {
    of: "a listener",
    known: &["address"],
    later: &["connections", "limits", "protocol", "proxy_protocol", "redirect", "timeouts", "tls"],
    outside: &[],
};

pub(crate) const ADMIN: Keys =
    Keys { of: "the admin address", known: &["address", "tokens"], later: &["tls"], outside: &[] };

pub(crate) const SERVICE: Keys = Keys {
    of: "a service",
    known: &["hosts", "path", "affinity", "stable", "canary", "weight", "versions", "plan"],
    later: &[
        "baseline", "forced", "headers", "health", "limits", "match", "methods", "mirror", "protocol", "retries",
        "routes", "shield", "timeouts", "tls",
    ],
    outside: &[],
};

pub(crate) const AFFINITY: Keys = Keys {
    of: "an affinity",
    known: &["cookie", "header"],
    later: &["client_certificate", "issue", "user"],
    outside: &[],
};

pub(crate) const VERSION: Keys = Keys {
    of: "a version",
    known: &["endpoints"],
    later: &["balance", "health", "limits", "protocol", "slow_start", "timeouts", "tls", "warm_start"],
    outside: &[],
};

pub(crate) const PLAN: Keys = Keys {
    of: "a plan",
    known: &["alpha", "min_requests", "advance", "steps", "gates"],
    later: &["baseline", "beta", "deadline", "drain", "dry_run", "early", "margin", "on_deadline", "warmup"],
    outside: &[],
};

pub(crate) const STEP: Keys = Keys {
    of: "a step",
    known: &["weight", "hold", "approval"],
    later: &["deadline", "early", "match", "mirror", "on_deadline"],
    outside: &[],
};

pub(crate) const GATE: Keys = Keys {
    of: "a gate",
    known: &["errors", "latency", "name", "role"],
    later: &["query", "routes", "traffic"],
    outside: &[],
};

pub(crate) const ERRORS: Keys = Keys {
    of: "an `errors` gate",
    known: &["tolerance", "limit"],
    later: &["margin", "routes"],
    outside: &["name", "role"],
};

pub(crate) const TOLERANCE: Keys = Keys { of: "a tolerance", known: &["ratio", "points"], later: &[], outside: &[] };

pub(crate) const LATENCY: Keys = Keys {
    of: "a `latency` gate",
    known: &["limit", "quantile"],
    later: &["margin", "of", "routes", "tolerance"],
    outside: &["name", "role"],
};
