//! What is served: the data plane. Routes, the split, endpoints and the HTTP proxy, on pingora.
//!
//! A request goes through few rooms in one direction: [`client_stream`] reads it, [`routes`] finds its service,
//! [`ticket`] draws its version, [`endpoint`] picks where it goes, pingora streams both ways, and [`attempt`] says
//! what became of it. One immutable [`routing::Routing`] snapshot is loaded once a request, so a request never sees
//! two worlds; [`routing::Publisher`] is its one writer.
//!
//! This is the only crate that knows pingora. Absent here: decisions. What the split should be comes from outside.

#![expect(
    clippy::disallowed_methods,
    reason = "the data path is a shell: it reads the clock for latencies and deadlines"
)]

pub mod access_log;
mod answer;
pub mod attempt;
mod checks;
pub mod client_stream;
pub mod connection;
mod deadlines;
mod descriptors;
mod edge;
pub mod endpoint;
mod exchange;
mod expect;
mod fields;
pub mod forwarded;
mod grpc;
mod lasting;
pub mod mirror;
mod parting;
mod passes;
pub mod proxy_protocol;
mod request;
mod request_body;
mod request_check;
mod request_head;
mod response_check;
mod retries;
pub mod routes;
pub mod routing;
mod scheme;
mod secure;
pub mod selection;
pub mod server;
mod shortage;
pub mod ticket;
pub mod tls;
pub mod told;
pub mod trace;
pub mod transport;
mod upgrade;
mod upstream_stream;
mod warming;

pub use routing::Publisher;
pub use server::{DataPlane, Limits, Listeners, StartError};
pub use upstream_stream::Flaw;
