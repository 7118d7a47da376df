//! The data plane over real sockets: a running [`proxy::DataPlane`] between real clients and real origins.

#![expect(clippy::disallowed_methods, reason = "tests over real sockets poll with deadlines")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod accounting;
mod alike;
mod balancing;
mod certificates;
mod choosing;
mod circles;
mod comparing;
mod early_answers;
mod endings;
mod endpoints;
mod farewells;
mod fixture;
mod forwarding;
mod framing;
mod grpc;
mod hanging;
mod health;
mod hostile_answers;
mod hostile_bodies;
mod hostile_frames;
mod hostile_heads;
mod hostile_origins;
mod hostile_streams;
mod hostile_tls;
mod http2;
mod lasting;
mod listening;
mod mirroring;
mod own_answers;
mod patience;
mod raw_http2;
mod recovering;
mod secure;
mod shielding;
mod small_messages;
mod sparing;
mod splitting;
mod storms;
mod timeouts;
mod tunnels;
mod uploads;
mod warming;
mod ways;
