//! How the names of endpoints are resolved.

use schemars::JsonSchema;

use super::Time;

/// How the names of endpoints are resolved, again and again: `/etc/hosts` first, then the servers.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Dns {
    /// Whom to ask, in this order; at most 8. Those of `/etc/resolv.conf` by default.
    #[schemars(length(min = 1, max = 8))]
    servers: Option<Vec<Server>>,
    /// An answer holds for at least so long, whatever its TTL; 100ms to 24h.
    #[schemars(extend("default" = "1s"))]
    at_least: Option<Time>,
    /// An answer holds for at most so long, whatever its TTL; from `at_least` to 24h.
    #[schemars(extend("default" = "5m"))]
    at_most: Option<Time>,
    /// How long a server has to answer before the next one is asked; 10ms to 30s.
    #[schemars(extend("default" = "2s"))]
    timeout: Option<Time>,
    /// Which addresses are used of a name that has both kinds; of one that has but one, those.
    #[schemars(extend("default" = "ipv4"))]
    prefer: Option<Family>,
}

/// The address of a DNS server, perhaps with a port: `10.0.0.2`, `10.0.0.2:5353`, `[fd00::2]:53`.
#[derive(JsonSchema)]
struct Server(#[schemars(regex(pattern = r"^[0-9.]+(:\d+)?$|^\[[0-9A-Fa-f:.]+\](:\d+)?$|^[0-9A-Fa-f:.]+$"))] String);

/// A kind of addresses.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Family {
    Ipv4,
    Ipv6,
}
