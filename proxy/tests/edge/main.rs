//! The data plane over real sockets: a running [`proxy::DataPlane`] between real clients and real origins.

#![expect(clippy::disallowed_methods, reason = "tests over real sockets poll with deadlines")]

mod accounting;
mod endings;
mod fixture;
mod framing;
mod splitting;
