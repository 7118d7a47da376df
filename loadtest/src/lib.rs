//! Open-loop load and origins with dialled faults: what proves the claims.
//!
//! - [`Origin`]: a real HTTP/1.1 server whose errors, latency and misbehaviour are turned by its [`Dial`] while it
//!   runs, and which counts what arrives.
//! - [`RawOrigin`]: records every byte it receives and answers with canned bytes, for tests of framing.
//! - [`Nameserver`]: a DNS server that says what it is told to say.
//! - [`Load`]: sends requests on a schedule that was fixed beforehand. Nothing that a server or the generator itself
//!   does slows the schedule down, and latency is measured from the moment a request was meant to be sent.
//!
//! Each origin and each load runs on threads of its own, so that all of them and a proxy fit into one process,
//! whatever runtime the caller has.

#![expect(
    clippy::disallowed_methods,
    reason = "this crate is a shell: it sends on time and measures how long things took"
)]

mod background;
mod dial;
mod figures;
mod load;
mod nameserver;
mod origin;
mod port;
mod raw;
mod report;

pub use dial::{Behaviour, Dial, Fraction, InvalidDial, Latency, Setting};
pub use load::{ClientKey, Clients, InvalidRate, Length, LiveCounts, Load, Protocol, Rate, RunningLoad, Spacing};
pub use nameserver::{Nameserver, Reply};
pub use origin::{Arrivals, Incident, Origin, OriginOptions};
pub use raw::{RawAnswer, RawConnection, RawOrigin, Then, When};
pub use report::{LoadReport, VersionReport, failures};
