//! The control API as its users meet it: over sockets.

mod bodies;
mod changes;
mod connections;
mod events;
mod reads;
mod reloads;
mod who_may_ask;
mod world;

use std::thread;
use std::time::{Duration, Instant};

use control::api::ApiOptions;

use world::World;

const SHOP: &str = "/api/v1/services/shop";

fn tokened() -> World {
    World::with(ApiOptions { token: Some("sesame".into()), ..ApiOptions::default() })
}

/// Tries again until it gives something; fails where it never does.
#[expect(clippy::disallowed_methods, reason = "a bounded poll of a real server needs the real clock")]
fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        thread::yield_now();
    }
}
