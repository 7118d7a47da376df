//! What the file looks like. Doc comments become the descriptions that editors show.

#![expect(dead_code, reason = "only the schema of these types is used")]

mod care;
mod listener;
mod plan;
mod rules;
mod service;

use std::collections::BTreeMap;

use schemars::JsonSchema;

use self::listener::Listener;
use self::plan::Plan;
use self::rules::{AccessLog, Drain, Limits, Requests, Timeouts};
use self::service::Service;

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
    /// The times of an orderly end.
    drain: Option<Drain>,
}

/// The control API, the metrics and the dashboard.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Admin {
    /// The address; 127.0.0.1:9900 by default. One that is not loopback needs a token.
    address: Option<Address>,
    /// A file that holds the token: its first line that is neither empty nor begins with `#`. `TIDEGATE_TOKEN` goes
    /// before it.
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
