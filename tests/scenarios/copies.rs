//! Copies of requests for a canary that has no users: what they hold, that what comes of them is counted exactly, and that
//! users do not feel them, whatever the canary does.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use loadtest::{Behaviour, Fraction, Length, Load, LoadReport, RawAnswer, RawOrigin, failures};

use ureq::http::Method;

use crate::patience::{LONG, until_true};
use crate::shop::{Place, Server, Shop, now, origin, shop};

/// Copies of everything, and nobody judges them.
const ALL: &str = "{ steps: [{ mirror: 100%, hold: 10m }, { weight: 5%, hold: 10m }], gates: [{ errors: {} }] }";
const MIB: u64 = 1024 * 1024;

/// A shop whose canary is at this address, with further lines of its service.
fn shop_with_canary(v1: SocketAddr, v2: SocketAddr, more: &str) -> (Server, Place) {
    let place = Place::new();
    place.write(&(place.head() + &shop("v1", &[("v1", &[v1]), ("v2", &[v2])], ALL) + more));
    (place.serve(), place)
}

fn begin(server: &Server) {
    let started = server.admin.start("shop", "v2");
    assert_eq!(started.status, 201, "{started:?}");
}

/// A metric of the copies that v2 got.
fn figure(server: &Server, family: &str, label: &str, value: &str) -> u64 {
    let wanted = format!("{family}{{service=\"shop\",version=\"v2\",{label}=\"{value}\"}} ");
    let page = server.admin.text("/metrics");
    page.lines().find_map(|line| line.strip_prefix(&wanted)).and_then(|count| count.parse().ok()).unwrap_or_default()
}

fn stage(server: &Server, stage: &str) -> u64 {
    figure(server, "tidegate_mirror_requests_total", "stage", stage)
}

fn difference(server: &Server, difference: &str) -> u64 {
    figure(server, "tidegate_mirror_differences_total", "difference", difference)
}

/// The most memory that a process ever had, in bytes.
fn peak(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// The processor time that the threads have had which serve, in microseconds.
fn served_us(process: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap().map(|thread| thread.unwrap().path());
    let serves = |thread: &PathBuf| fs::read_to_string(thread.join("comm")).unwrap().starts_with("tidegate-core");
    let time = |thread: PathBuf| {
        let text = fs::read_to_string(thread.join("schedstat")).unwrap();
        text.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1_000
    };
    threads.filter(serves).map(time).sum()
}

/// Users' latencies with and without copies, in turns so that both have the same machine.
#[expect(clippy::print_stderr, reason = "the figure is what is looked for")]
fn users_do_not_feel(what: &str, canary: SocketAddr) {
    const TURNS: u64 = 5;
    let v1 = origin("v1");
    let (server, _place) = shop_with_canary(v1.address(), canary, "");
    let turn = |seed: u64| -> LoadReport {
        let length = Length::Lasts(Duration::from_millis(1_500));
        Load { length, seed, ..server.load(500.0) }.start().unwrap().wait()
    };
    drop(turn(0));
    let before = peak(server.process.id());
    let mut both: Option<(LoadReport, LoadReport)> = None;
    // Of the quietest turn: what copies cost is there in each, what the machine does beside them is not.
    let (mut least_without, mut least_with) = (f64::MAX, f64::MAX);
    let p99 = |report: &LoadReport| report.latency_at(0.99).as_secs_f64() * 1_000.0;
    let process = server.process.id();
    let (mut us_without, mut us_with) = (0, 0);
    for seed in 1..=TURNS {
        let began = served_us(process);
        let without = turn(seed);
        let between = served_us(process);
        begin(&server);
        let with = turn(seed);
        us_without += between - began;
        us_with += served_us(process) - between;
        assert_eq!(server.admin.act("shop", "abort").status, 200);
        assert_eq!((failures(&without), failures(&with)), (0, 0), "{without}{with}");
        assert_eq!(with.by_version.len(), 1, "nobody is on the canary: {with}");
        (least_without, least_with) = (least_without.min(p99(&without)), least_with.min(p99(&with)));
        match &mut both {
            Some((all_without, all_with)) => {
                (all_without.sent, all_with.sent) = (all_without.sent + without.sent, all_with.sent + with.sent);
                all_without.latency.add(&without.latency).unwrap();
                all_with.latency.add(&with.latency).unwrap();
            }
            None => both = Some((without, with)),
        }
    }
    let (without, with) = both.unwrap();
    let (us_without, us_with) = (us_without as f64 / without.sent as f64, us_with as f64 / with.sent as f64);
    let (without, with, grown) = (p99(&without), p99(&with), peak(server.process.id()).saturating_sub(before));
    eprintln!(
        "copies to a canary that {what}: users' p99 {with:.2} ms, without {without:.2} ms: {:.3} (in the \
         quietest turn {least_with:.2} and {least_without:.2} ms: {:.3}); the cores' \
         time a request {us_with:.0} us, without {us_without:.0} us: {:.3}; peak memory +{:.1} MiB",
        with / without,
        least_with / least_without,
        us_with / us_without,
        grown as f64 / MIB as f64
    );
    // Generous: what else the machine does weighs more than what is looked for.
    assert!(least_with < 3.0 * least_without + 10.0, "{what}: {least_with} ms with copies, {least_without} without");
    assert!(us_with < 2.0 * us_without, "{what}: {us_with} us a request with copies, {us_without} without");
    assert!(grown < 64 * MIB, "{what}: {grown} bytes more");
    server.stop();
}

#[test]
fn users_do_not_feel_copies_for_a_canary_that_is_dead() {
    let canary = origin("v2");
    canary.dial().set_behaviour(Behaviour::Refuse);
    now(canary.settled());
    users_do_not_feel("is dead", canary.address());
}

#[test]
fn users_do_not_feel_copies_for_a_canary_that_hangs() {
    let canary = origin("v2");
    canary.dial().set_behaviour(Behaviour::Hang);
    users_do_not_feel("hangs", canary.address());
}

#[test]
fn users_do_not_feel_copies_for_a_canary_that_answers_10_mb_a_second_without_end() {
    let canary = origin("v2");
    canary.dial().set_behaviour(Behaviour::Flood);
    users_do_not_feel("sends without end", canary.address());
}

#[test]
fn what_comes_of_copies_is_counted_as_the_canary_itself_counts_it() {
    let shop = Shop::open(ALL);
    shop.v2.dial().set_errors(Fraction::new(0.3).unwrap());
    shop.release_v2();
    let load = Load { length: Length::Count(1_500), ..shop.server.load(500.0) };
    let report = load.start().unwrap().wait();
    assert_eq!((failures(&report), report.by_version["v1"].responses), (0, 1_500), "{report}");
    let server = &shop.server;
    // The last ones may still be on their way when the load is over.
    until_true("every copy is over", || {
        let ended = stage(server, "ended");
        ended == stage(server, "sent") && ended == shop.v2.arrivals().requests
    });
    let arrived = shop.v2.arrivals();
    let unsent = ["full", "too_large", "streamed", "method"];
    let unsent: u64 = unsent.map(|why| figure(server, "tidegate_mirror_unsent_total", "reason", why)).iter().sum();
    assert_eq!((stage(server, "sent"), stage(server, "compared")), (arrived.requests, arrived.requests));
    assert_eq!(arrived.requests + unsent, 1_500, "each request was copied, or counted with the reason why not");
    assert_eq!((difference(server, "failed"), difference(server, "status")), (arrived.bad, arrived.bad));
    // Each says its own name.
    assert_eq!(difference(server, "body"), arrived.requests - arrived.bad);
    assert!(arrived.bad > 100, "{arrived:?}");
}

#[test]
fn a_copy_is_marked_and_what_is_not_safe_is_not_copied_unless_the_operator_says_so() {
    let v1 = origin("v1");
    let canary = now(RawOrigin::start(vec![RawAnswer::new("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")])).unwrap();
    let post = |server: &Server, bytes: usize| {
        let length = Length::Count(1);
        let load = Load { method: Method::POST, body: vec![b'x'; bytes].into(), length, ..server.load(100.0) };
        let report = load.start().unwrap().wait();
        assert_eq!((failures(&report), report.answered), (0, 1), "{report}");
    };
    let (server, _place) = shop_with_canary(v1.address(), canary.address(), "");
    begin(&server);
    post(&server, 10);
    assert_eq!(server.answers(1)("v1"), 1);
    let seen = now(canary.until(LONG, |all| all.first().is_some_and(|one| one.requests == 1))).unwrap();
    let seen = String::from_utf8_lossy(&seen[0].received).to_ascii_lowercase();
    assert!(seen.starts_with("get / http/1.1\r\n") && seen.contains("tidegate-mirror: 1\r\n"), "{seen}");
    server.stop();

    let canary = now(RawOrigin::start(vec![RawAnswer::new("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")])).unwrap();
    let (server, _place) = shop_with_canary(v1.address(), canary.address(), "    mirror: { methods: [POST] }\n");
    begin(&server);
    post(&server, 65_537);
    post(&server, 65_536);
    let seen = now(canary.until(LONG, |all| all.first().is_some_and(|one| one.requests == 1))).unwrap();
    let received = &seen[0].received;
    assert!(received.starts_with(b"POST / HTTP/1.1\r\n"));
    assert_eq!(received.iter().rev().take_while(|byte| **byte == b'x').count(), 65_536, "the longer one was not sent");
    server.stop();
}
