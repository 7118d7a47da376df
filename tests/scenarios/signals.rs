//! How a process ends when it is told to.

use std::net::TcpStream;
use std::time::Duration;

use loadtest::{Behaviour, Latency, Length, Load, RunningLoad, failures};

use crate::patience::until_true;
use crate::process::Signal;
use crate::shop::{Server, Shop};

const PLAN: &str = "{ steps: [{ weight: 5%, hold: 10m }] }";
/// Requests that are in flight when the signal comes.
const IN_FLIGHT: u64 = 5;

/// Requests that have reached v1 and wait for its answer.
fn in_flight(shop: &Shop) -> RunningLoad {
    let grace = Duration::from_secs(60);
    let load = Load { length: Length::Count(IN_FLIGHT), grace, ..shop.server.load(1_000.0) }.start().unwrap();
    until_true("requests at v1", || shop.v1.arrivals().in_progress == IN_FLIGHT);
    load
}

fn accepts(server: &Server) -> bool {
    TcpStream::connect(server.address).is_ok()
}

#[test]
fn term_says_not_ready_then_accepts_no_more_and_lets_what_is_in_flight_end() {
    let mut shop = Shop::open(PLAN);
    assert_eq!(shop.admin().status_of("/readyz"), Some(200));
    // Longer than new connections are still accepted.
    shop.v1.dial().set_latency(Latency::fixed(Duration::from_secs(3)));
    let load = in_flight(&shop);

    shop.server.process.signal(Signal::Term);

    until_true("/readyz to turn 503", || shop.admin().status_of("/readyz") == Some(503));
    assert!(accepts(&shop.server), "whoever has not looked at /readyz yet must still be served");
    assert_eq!(shop.admin().status_of("/livez"), Some(200));
    until_true("new connections to be refused", || !accepts(&shop.server));
    assert_eq!(shop.v1.arrivals().in_progress, IN_FLIGHT, "the requests did not outlast the accepting");
    assert!(shop.server.process.is_running());
    let report = load.wait();
    assert_eq!((failures(&report), report.answered), (0, IN_FLIGHT), "{report}");
    let end = shop.server.process.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(end.err.contains("draining") && end.err.contains("ended"), "{end:?}");
}

#[test]
fn under_load_term_fails_no_request_that_was_accepted() {
    let shop = Shop::open(PLAN);
    shop.v1.dial().set_latency(Latency::fixed(Duration::from_millis(500)));
    let load = shop.server.load(100.0).start().unwrap();
    until_true("requests in flight", || shop.v1.arrivals().in_progress >= 20);

    shop.server.process.signal(Signal::Term);

    let draining = shop.server.admin.clone();
    until_true("/readyz to turn 503", || draining.status_of("/readyz") == Some(503));
    // Whoever looks at /readyz sends no more.
    let report = load.stop();
    assert_eq!((failures(&report), report.not_sent), (0, 0), "{report}");
    assert_eq!(shop.server.process.end().code, Some(0));
}

#[test]
fn a_second_term_ends_a_drain_that_hangs_at_once_with_code_3() {
    let mut shop = Shop::open(PLAN);
    shop.v1.dial().set_behaviour(Behaviour::Hang);
    let load = in_flight(&shop);
    shop.server.process.signal(Signal::Term);
    shop.server.process.has_said("draining");
    until_true("new connections to be refused", || !accepts(&shop.server));
    assert!(shop.server.process.is_running(), "it did not wait for what is in flight");

    shop.server.process.signal(Signal::Term);

    let end = shop.server.process.end_within(Duration::from_secs(10));
    assert_eq!(end.code, Some(3), "{end:?}");
    assert_eq!(failures(&load.wait()), IN_FLIGHT);
}

#[test]
fn int_ends_at_once_whatever_is_in_flight() {
    let shop = Shop::open(PLAN);
    shop.v1.dial().set_behaviour(Behaviour::Hang);
    let load = in_flight(&shop);

    shop.server.process.signal(Signal::Int);

    let end = shop.server.process.end_within(Duration::from_secs(10));
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(!end.err.contains("draining"), "{end:?}");
    assert_eq!(failures(&load.wait()), IN_FLIGHT);
}

#[test]
fn a_waiting_command_leaves_the_rollout_running_when_it_is_interrupted() {
    let shop = Shop::open(PLAN);
    let waiting = shop.server.command(&["rollout", "start", "shop", "--canary", "v2", "--wait"]);
    waiting.has_printed("v2 at 5%");

    waiting.signal(Signal::Int);

    let end = waiting.end();
    assert_eq!(end.code, Some(130), "{end:?}");
    assert!(end.out.contains("tidegate rollout watch shop"), "{end:?}");
    assert_eq!(shop.admin().rollout("shop").weight, 500);
}

#[test]
fn a_waiting_command_ends_with_12_when_its_time_is_over_and_with_1_when_the_server_is_gone() {
    let shop = Shop::open(PLAN);
    let no_end = shop.server.tidegate(&["rollout", "start", "shop", "--canary", "v2", "--wait", "--timeout", "300ms"]);
    assert_eq!(no_end.code, Some(12), "{no_end:?}");
    let watching = shop.server.command(&["rollout", "watch", "shop"]);
    watching.has_printed("v2 at 5%");

    shop.server.process.kill();

    let end = watching.end();
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(end.err.contains("cannot reach the control API"), "{end:?}");
}
