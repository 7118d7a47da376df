//! Whole stories against the real executable: a child process, real origins, real sockets, real files.
//!
//! Every process listens on free ports and keeps its state in a directory of its own, so that the scenarios run beside
//! each other. Nothing sleeps in place of knowing: what is waited for is polled up to a deadline.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod admin;
mod authority;
mod bodies;
mod browser;
mod care;
mod checks;
mod choosing;
mod connection;
mod copies;
mod crashes;
mod demo;
mod deploys;
mod descriptors;
mod disks;
mod draining;
mod edge;
mod grpc;
mod h2load;
mod hardening;
mod hashing;
mod judgements;
mod lasting;
mod limits;
mod matching;
mod mirroring;
mod nameless;
mod names;
mod outages;
mod page;
mod patience;
mod process;
mod promotions;
mod readiness;
mod refusals;
mod reloads;
mod replay;
mod requests;
mod rollbacks;
mod saturation;
mod seen;
mod shop;
mod signals;
mod sparing;
mod starts;
mod storms;
mod tls;
mod upgrades;
mod waiting;
mod warming;
mod websocket;
mod weights;
