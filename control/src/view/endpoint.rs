//! Endpoints of a version, and the names among them.

use serde::{Deserialize, Serialize};

use crate::plane::EndpointHealth;

/// A name among the endpoints of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameView {
    /// As written in the configuration.
    pub name: String,
    /// Its addresses in use.
    pub addresses: Vec<String>,
    /// When they were last found to be these, in RFC 3339; none where they are from before the start.
    pub answered_at: Option<String>,
    /// Why it is not resolved now, while it is not: its last addresses stay in use.
    pub problem: Option<String>,
    /// Since when it is not, in RFC 3339.
    pub failing_since: Option<String>,
}

/// The share of an endpoint of which nothing else is known.
const fn whole() -> f64 {
    1.0
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointView {
    /// As written in the configuration.
    pub address: String,
    /// What the name in it resolved to, with the port; none where an address is written. Each of a name's addresses is
    /// an endpoint.
    #[serde(default)]
    pub resolved: Option<String>,
    /// Whether it is well.
    pub healthy: bool,
    /// How it does.
    #[serde(default)]
    pub state: EndpointHealth,
    /// Why, in words; none for one that is well.
    #[serde(default)]
    pub reason: Option<String>,
    /// Since when, in RFC 3339; none for one that was always well.
    #[serde(default)]
    pub since: Option<String>,
    /// When it is tried or asked again, or takes requests again, in RFC 3339; none for one that is well.
    #[serde(default)]
    pub next_try: Option<String>,
    /// The share of requests that it takes while it comes back, of its full one: 0.1 to 1.
    #[serde(default = "whole")]
    pub share: f64,
    /// Requests that are there now.
    pub in_flight: u64,
}

impl EndpointView {
    /// An endpoint that was always well, and idle.
    #[must_use]
    pub const fn well(address: String) -> Self {
        let (state, share) = (EndpointHealth::Well, whole());
        let (resolved, reason, since, next_try) = (None, None, None, None);
        Self { address, resolved, healthy: true, state, reason, since, next_try, share, in_flight: 0 }
    }
}
