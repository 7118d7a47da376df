//! What the operator writes, proven: text in, domain values out.
//!
//! A configuration is read in two steps. The text becomes a tree of nodes that remember where they
//! stood; the tree becomes the domain types of [`model`], and whatever is wrong on the way is
//! collected, so that all problems are told at once, each with its place, the legal values and a
//! near miss. A [`Configuration`] that exists is valid: nothing downstream checks it again.
//!
//! Absent here: clocks, sockets, name resolution, tokio, pingora.

mod cursor;
pub mod encoded;
mod explain;
mod flags;
mod keys;
pub mod literal;
pub mod model;
mod problem;
mod read;
mod restart;
mod schema;
mod tree;
pub mod units;

pub use explain::{Explained, Setting, Source, explain, explain_file};
pub use flags::without_file;
pub use model::{
    AccessLog, AddressRange, Admin, Advance, Affinity, Balance, Baseline, Canary, CertificateFiles, ClientCertificates,
    Configuration, CookieMatch, Deadline, Dns, Drain, Ejection, Endpoint, EndpointTls, Forced, Gate, GateRole,
    GateRule, GrpcCodes, Handling, HashKey, HeaderMatch, HealthCheck, HealthQuestion, HostName, Hsts, InFlightLimits,
    IpFamily, LatencyMargin, LatencyOf, Limits, ListenAddress, Listener, ListenerTls, LogTarget, Match, MirrorLimits,
    MirrorPart, MirrorRules, Name, OnDeadline, PathPrefix, Plan, Protocol, Retries, Rules, Service, ServiceTimeouts,
    Step, Strictness, Timeouts, TlsVersion, Tolerance, Version,
};
pub use problem::{Problem, Problems};
pub use read::{Read, ReadPlan, parse, parse_plan, read_file, read_plan_file, unreadable};
pub use schema::json_schema;
pub use units::{Alpha, Beta, Bytes, Fraction, OutOfRange, Quantile, Stretch, Weight};
