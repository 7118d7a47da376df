//! Rules for all traffic.

use schemars::JsonSchema;

use super::{Percentage, Size, Time};

/// How long each phase may take; more than nothing.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Timeouts {
    /// A client's TLS handshake.
    #[schemars(extend("default" = "10s"))]
    handshake: Option<Time>,
    /// A whole request head, from its first byte.
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
pub(super) struct Limits {
    /// Client connections in all; never more than half of the file descriptors that the system allows.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 100_000))]
    connections: Option<u64>,
    /// Client connections of one address (of IPv6 its /64); trusted hops are exempt.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 4096))]
    connections_per_client: Option<u64>,
    /// Requests under way of one address (of IPv6 its /64); trusted hops are exempt.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 4096))]
    requests_per_client: Option<u64>,
    /// A request line, 1KiB to what a head may have, and to 64KiB.
    #[schemars(extend("default" = "8KiB"))]
    request_line: Option<Size>,
    /// A request or response head, 1KiB to 1MiB.
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
pub(super) struct Requests {
    /// Header names with an underscore, which many origins cannot tell from a hyphen: `refuse` (400) or `pass`.
    #[schemars(extend("default" = "refuse"))]
    underscores: Option<Handling>,
    /// `%2F` and `%5C` in a path, which some origins take for a slash: `refuse` (400) or `pass`.
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
pub(super) struct AccessLog {
    /// `stdout`, or the path of a file, which is opened again at USR1.
    to: LogTarget,
    /// The share of requests that are logged; those that failed always are.
    #[schemars(extend("default" = "100%"))]
    sample: Option<Percentage>,
}

/// `stdout` or the path of a file.
#[derive(JsonSchema)]
struct LogTarget(#[schemars(regex(pattern = "^stdout$|/"))] String);

/// The times of an orderly end.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Drain {
    /// For so long connections are still accepted and kept after it is said that the process ends.
    #[schemars(extend("default" = "1s"))]
    grace: Option<Time>,
    /// So long after the grace, what is still under way is cut.
    #[schemars(extend("default" = "30s"))]
    deadline: Option<Time>,
}
