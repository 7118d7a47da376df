//! The orderly end: what is told of it, and when it is over.

use std::time::Duration;

use loadtest::{Behaviour, Latency, Length, Load, failures};

use crate::patience::{Stopwatch, until, until_true};
use crate::process::Signal;
use crate::shop::{Place, Server, Shop, configuration, origin};
use crate::upgrades::process;
use crate::websocket::Chat;

const PLAN: &str = "{ steps: [{ weight: 5%, hold: 10m }] }";

/// A `shop` that drains by these times.
fn open(drain: &str) -> Shop {
    let (v1, v2, place) = (origin("v1"), origin("v2"), Place::new());
    place.write(&format!("drain: {drain}\n{}", configuration(&place, &v1, &v2, PLAN)));
    Shop { server: place.serve(), v1, v2, place }
}

fn refuses(server: &Server) -> bool {
    std::net::TcpStream::connect(server.address).is_err()
}

#[test]
fn term_with_200_requests_in_flight_lets_all_end_and_the_process_within_a_second_of_the_last() {
    let shop = open("{ grace: 200ms }");
    shop.v1.dial().set_latency(Latency::fixed(Duration::from_secs(3)));
    let load = Load { length: Length::Count(200), ..shop.server.load(1_000.0) }.start().unwrap();
    until_true("200 requests at v1", || shop.v1.arrivals().in_progress == 200);

    shop.server.process.signal(Signal::Term);

    let drain = until("the drain to be told", || process(&shop.server)["drain"].as_object().cloned());
    assert_eq!((drain["connections"].as_u64(), drain["requests"]["shop"].as_u64()), (Some(200), Some(200)));
    assert!((1.0..31.0).contains(&drain["left_s"].as_f64().unwrap()), "{drain:?}");
    let status = shop.server.tidegate(&["status"]);
    assert!(status.out.contains("draining: 200 connections, 200 of shop left"), "{status:?}");
    until_true("new connections to be refused", || refuses(&shop.server));
    let report = load.wait();
    let since = Stopwatch::start();
    assert_eq!((failures(&report), report.answered), (0, 200), "{report}");
    let end = shop.server.process.end();
    assert!(since.elapsed() < Duration::from_secs(1), "it took {:?} to end", since.elapsed());
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(end.err.contains("draining grace=200ms deadline=30s connections=200 requests=200 of shop"), "{end:?}");
}

#[test]
fn at_its_deadline_a_drain_cuts_what_is_left_says_what_and_ends_with_code_3() {
    let shop = open("{ grace: 0s, deadline: 1s }");
    shop.v1.dial().set_behaviour(Behaviour::Hang);
    let load = Load { length: Length::Count(3), ..shop.server.load(1_000.0) }.start().unwrap();
    until_true("requests at v1", || shop.v1.arrivals().in_progress == 3);

    shop.server.process.signal(Signal::Term);

    let end = shop.server.process.end();
    assert_eq!(end.code, Some(3), "{end:?}");
    assert!(end.err.contains("cut at the drain deadline connections=3 requests=3 of shop"), "{end:?}");
    assert_eq!(failures(&load.wait()), 3);
}

#[test]
fn the_times_of_a_drain_are_those_of_the_last_reload_and_a_websocket_may_outlast_the_usual_ones() {
    let (v1, place) = (crate::page::PageOrigin::start("v1"), Place::new());
    let file = |drain: &str| {
        format!("drain: {drain}\n{}{}", place.head(), crate::shop::shop("v1", &[("v1", &[v1.address()])], "{}"))
    };
    place.write(&file("{ deadline: 1h }"));
    let mut server = place.serve();
    let mut chat = Chat::open(server.address);
    place.write(&file("{ grace: 0s, deadline: 2s }"));
    server.process.signal(Signal::Hup);
    server.process.has_said("configuration reloaded");

    server.process.signal(Signal::Term);
    server.process.has_said("draining grace=0ns deadline=2s connections=1 requests=1 of shop");
    until_true("new connections to be refused", || refuses(&server));
    assert_eq!(chat.say("still there?"), "v1: still there?");

    // Going away: its client comes again.
    assert_eq!(chat.closed(), Some(1001));
    let end = server.process.end();
    assert_eq!(end.code, Some(3), "{end:?}");
    assert!(end.err.contains("cut at the drain deadline connections=1 requests=1 of shop"), "{end:?}");
}

#[test]
fn a_process_that_was_killed_serves_again_within_a_second_of_its_start() {
    let shop = Shop::open(PLAN);
    assert_eq!(shop.server.answers(10)("v1"), 10);
    let Shop { server, v1, v2: _v2, place } = shop;
    server.process.kill();

    let since = Stopwatch::start();
    let server = place.serve();
    assert_eq!(server.answers(1)("v1"), 1);

    assert!(since.elapsed() < Duration::from_secs(1), "it took {:?}", since.elapsed());
    drop(v1);
    server.stop();
}
