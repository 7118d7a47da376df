use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use config::Name;
use meter::{Drawn, Window};

use super::*;
use crate::endpoint::Ask;
use crate::routing::{Draw, Publisher, Wanted};

fn at(port: u16) -> Arc<[SocketAddr]> {
    Arc::from([([127, 0, 0, 1], port).into()])
}

/// A service of one version that has one endpoint.
fn service() -> Arc<Service> {
    let text = "services: { shop: { stable: v1, versions: { v1: { endpoints: ['127.0.0.1:1'] } } } }";
    let configuration = config::parse(text, "test.yaml").unwrap().configuration;
    let written = configuration.services[0].versions[0].endpoints[0].clone();
    let addresses = HashMap::from([(written, at(1))]);
    let mut publisher = Publisher::new(1);
    publisher.install(&configuration, &addresses, |_| None, Instant::now());
    let routing = publisher.shared().load_full();
    Arc::clone(routing.service(&Name::new("shop").unwrap()).unwrap())
}

/// A request that has drawn, and when its head came.
fn request(service: &Arc<Service>) -> (Request, Instant) {
    let now = Instant::now();
    let mut request = Request::new(0, Arc::new(ServiceMeter::new(1)), now);
    let selection =
        Selection { draw: service.draw(None), group: 3, reason: Reason::Weight, judged: Judged::Fully, issued: None };
    request.matched(service, selection, 0b10);
    (request, now)
}

/// Its next attempt, with a connection that was ready then.
fn attempt(request: &mut Request, service: &Service, ready: Instant) {
    let version = service.stable();
    request.attempt(
        Arc::clone(version),
        version.pick(&Ask { key: None, avoid: None, repeats: false, now: ready }).unwrap(),
    );
    request.connected(-1, ready);
}

fn taken(service: &Service) -> Window {
    let mut window = Window::default();
    service.stable().meter.take(&mut window);
    window
}

const fn ended(lost: u64) -> Drawn {
    Drawn { all: 1, at_random: 1, ended: 1, lost }
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn a_request_that_ends_before_its_first_attempt_is_counted_and_neither_judged_nor_lost() {
    for (error, class) in [(Some(Class::ClientAbort), Class::ClientAbort), (None, Class::Local)] {
        let service = service();
        let (mut request, now) = request(&service);
        request.end(None, error, now);
        drop(request);
        let window = taken(&service);
        assert_eq!(window.drawn, ended(0), "{class:?}");
        assert_eq!(window.attempts[Attempt::First as usize][class as usize], 1);
        assert_eq!(window.requests(), 0);
    }
}

#[test]
fn a_request_that_the_end_of_the_process_cuts_is_counted_and_neither_judged_nor_lost() {
    for has_attempt in [false, true] {
        let service = service();
        let (mut request, now) = request(&service);
        if has_attempt {
            attempt(&mut request, &service, now);
        }
        drop(request);
        let window = taken(&service);
        assert_eq!(window.drawn, ended(0));
        assert_eq!(window.attempts[Attempt::First as usize][Class::Local as usize], 1);
        assert_eq!(window.requests(), 0);
    }
}

#[test]
fn a_request_that_breaks_in_the_proxys_hands_is_lost() {
    let service = service();
    let broken = catch_unwind(AssertUnwindSafe(|| {
        let (_request, _) = request(&service);
        panic!("a fault of the proxy");
    }));
    assert!(broken.is_err());
    assert_eq!(taken(&service).drawn, ended(1));
    assert_eq!(service.stable().meter.in_flight(), 0);
}

#[test]
fn a_request_that_ends_between_attempts_with_nothing_judged_is_lost() {
    let service = service();
    let (mut request, now) = request(&service);
    attempt(&mut request, &service, now);
    // A next attempt would be judged in its place, and does not come.
    request.stale_connection();
    request.end(None, Some(Class::Reset), now);
    drop(request);
    assert_eq!(taken(&service).drawn, ended(1));
}

#[test]
fn a_connection_that_ended_at_once_may_be_stale_once_and_one_on_which_a_version_worked_is_not() {
    let service = service();
    let (mut request, ready) = request(&service);
    attempt(&mut request, &service, ready);
    assert!(request.may_be_stale(ready + millis(10)) && !request.may_be_stale(ready + millis(11)));
    request.stale_connection();
    attempt(&mut request, &service, ready);
    assert!(!request.may_be_stale(ready));
    request.end(None, Some(Class::Reset), ready);
}

#[test]
fn the_total_latency_ends_with_the_last_byte_from_upstream_whatever_the_client_does() {
    let service = service();
    let (mut request, now) = request(&service);
    attempt(&mut request, &service, now);
    request.head(200, now + millis(10));
    request.last_byte(now + millis(50));
    request.end(Some(200), None, now + millis(900));
    drop(request);
    let window = taken(&service);
    let total = [&window.latency_good, &window.total_good, &window.duration].map(|counts| counts.quantile_us(0.5));
    let bucket = |us| meter::latency_bucket_of(us);
    assert_eq!(total.map(|us| us.map(bucket)), [10_000, 50_000, 900_000].map(|us| Some(bucket(us))));
}

#[test]
fn a_request_waits_for_its_whole_answer_or_for_the_head_of_one_that_may_be_silent() {
    let waits = |service: &Service| service.stable().meter.waiting(0).back().next().map(|(_, waits)| waits);
    for (exchange, after_head) in [(Exchange::Response, 1), (Exchange::Events, 0), (Exchange::Call(None), 0)] {
        let service = service();
        let (mut request, now) = request(&service);
        request.exchange = exchange;
        attempt(&mut request, &service, now);
        assert_eq!(waits(&service), Some(1));
        request.head(200, now);
        assert_eq!(waits(&service), Some(after_head), "{exchange:?}");
        request.last_byte(now);
        assert_eq!(waits(&service), Some(0));
        request.end(Some(200), None, now);
    }
    for end in [Class::Reset, Class::ClientAbort] {
        let service = service();
        let (mut request, now) = request(&service);
        attempt(&mut request, &service, now);
        request.end_attempt(end, now);
        assert_eq!(waits(&service), Some(0), "its first attempt is over");
    }
}

#[test]
fn what_a_client_takes_to_send_its_request_is_no_latency_of_the_version() {
    let service = service();
    let (mut request, now) = request(&service);
    attempt(&mut request, &service, now);
    request.sends(false, now + millis(500));
    request.sends(true, now + millis(1_000));
    request.head(200, now + millis(1_010));
    // Nor what it says after it has its answer.
    request.sends(true, now + millis(1_500));
    request.last_byte(now + millis(2_000));
    request.end(Some(200), None, now + millis(2_000));
    drop(request);
    let window = taken(&service);
    let bucket = |us| Some(meter::latency_bucket_of(us));
    assert_eq!(window.latency_good.quantile_us(0.5).map(meter::latency_bucket_of), bucket(10_000));
    // To the last byte all of it counts.
    assert_eq!(window.total_good.quantile_us(0.5).map(meter::latency_bucket_of), bucket(2_000_000));
}

#[test]
fn a_client_that_leaves_before_it_has_asked_has_waited_for_nobody() {
    for (said_all, timed) in [(false, 0), (true, 1)] {
        let service = service();
        let (mut request, now) = request(&service);
        attempt(&mut request, &service, now);
        request.sends(said_all, now + millis(10));
        request.end(None, Some(Class::ClientAbort), now + millis(900));
        drop(request);
        let window = taken(&service);
        assert_eq!(window.judged[Class::ClientAbort as usize], 1);
        assert_eq!((window.latency_good.total(), window.total_good.total()), (timed, timed), "{said_all}");
    }
}

#[test]
fn a_response_that_breaks_off_has_the_total_latency_of_where_it_did() {
    let service = service();
    let (mut request, now) = request(&service);
    attempt(&mut request, &service, now);
    request.head(200, now + millis(10));
    request.end(Some(200), Some(Class::Reset), now + millis(70));
    drop(request);
    let window = taken(&service);
    assert_eq!((window.total_good.total(), window.total_bad.above_us(60_000)), (0, 1));
    assert_eq!(window.latency_bad.above_us(20_000), 0);
}

#[test]
fn a_tunnel_has_neither_latency() {
    let service = service();
    let (mut request, now) = request(&service);
    attempt(&mut request, &service, now);
    request.head(101, now + millis(10));
    request.hears(Some(&Bytes::from_static(b"hello")), now + millis(20));
    request.last_byte(now + millis(50));
    request.end(Some(101), None, now + millis(60));
    drop(request);
    let window = taken(&service);
    assert_eq!(window.judged[Class::Upgrade as usize], 1);
    assert!(window.latency_good.is_empty() && window.total_good.is_empty() && window.duration.is_empty());
    assert_eq!(window.groups[3].timed, 0);
}

/// Another version than the one drawn, at the same endpoint.
fn another(service: &Service) -> Arc<Version> {
    Arc::new(Version { name: Name::new("v2").unwrap(), ..Version::clone(service.stable()) })
}

#[test]
fn a_decision_tells_why_the_version_that_serves_does() {
    let service = service();
    for (reason, decision) in [
        (Reason::Weight, Decision::Weight),
        (Reason::Affinity, Decision::Affinity),
        (Reason::Forced(Target::Stable), Decision::Forced),
        (Reason::Matched, Decision::Match),
    ] {
        for (fails_first, moves, wanted) in [
            (false, false, decision),
            (true, false, decision),
            (false, true, Decision::FallThrough),
            (true, true, Decision::Shield),
        ] {
            let (mut request, now) = request(&service);
            let selection =
                Selection { draw: service.draw(None), group: 0, reason, judged: Judged::Fully, issued: None };
            request.matched(&service, selection, 0);
            if fails_first {
                attempt(&mut request, &service, now);
                request.end_attempt(Class::Reset, now);
            }
            let version = if moves { another(&service) } else { Arc::clone(service.stable()) };
            request.attempt(
                Arc::clone(&version),
                version.pick(&Ask { key: None, avoid: None, repeats: false, now }).unwrap(),
            );
            assert_eq!(request.decision(), Some(wanted), "{reason:?}, {fails_first}, {moves}");
            request.end(Some(200), None, now);
        }
    }
    assert_eq!(Request::new(0, Arc::new(ServiceMeter::new(1)), Instant::now()).decision(), None);
}

#[test]
fn a_request_that_may_not_be_judged_is_not_in_any_of_its_attempts() {
    let service = service();
    let now = Instant::now();
    let mut request = Request::new(0, Arc::new(ServiceMeter::new(1)), now);
    let draw = Draw { at_random: false, ..service.draw(None) };
    let selection =
        Selection { draw, group: 0, reason: Reason::Forced(Target::Stable), judged: Judged::Not, issued: None };
    request.matched(&service, selection, 0);
    attempt(&mut request, &service, now);
    request.end_attempt(Class::ConnectError, now);
    attempt(&mut request, &service, now);
    request.head(200, now);
    request.end(Some(200), None, now);
    drop(request);
    let window = taken(&service);
    assert_eq!((window.drawn.all, window.drawn.at_random, window.requests()), (1, 0, 0));
    assert_eq!(window.attempts.iter().flatten().sum::<u64>(), 2);
}

/// The same service, whose plan gives whoever has `x-beta: 1` to its only other version.
fn with_a_match(judged: bool) -> (Publisher, Arc<Service>) {
    let text = format!(
        "services: {{ shop: {{ stable: v1, plan: {{ steps: [{{ match: {{ x-beta: '1' }}, judged: {judged} }}, \
         {{ weight: 1% }}] }}, versions: {{ v1: {{ endpoints: ['127.0.0.1:1'] }}, v2: {{ endpoints: ['127.0.0.1:2'] }} }} \
         }} }}"
    );
    let configuration = config::parse(&text, "test.yaml").unwrap().configuration;
    let addresses = [1, 2].map(|port| {
        let written = configuration.services[0].versions[usize::from(port - 1)].endpoints[0].clone();
        (written, at(port))
    });
    let mut publisher = Publisher::new(1);
    publisher.install(&configuration, &HashMap::from(addresses), |_| None, Instant::now());
    let Some(config::Step::Match { who: Some(who), .. }) = configuration.services[0].plan.steps.first() else {
        panic!("{text}")
    };
    steer(&mut publisher, Some(&Arc::new(who.clone())));
    let service = shop(&publisher);
    (publisher, service)
}

fn steer(publisher: &mut Publisher, matched: Option<&Arc<config::Match>>) {
    let (stable, canary) = (Name::new("v1").unwrap(), Name::new("v2").unwrap());
    let wanted = Wanted {
        stable: &stable,
        canary: Some((&canary, config::Weight::ZERO)),
        baseline: None,
        matched,
        mirror: None,
        paths: &[],
        generation: 2,
    };
    publisher.steer(&Name::new("shop").unwrap(), &wanted);
}

fn shop(publisher: &Publisher) -> Arc<Service> {
    Arc::clone(publisher.shared().load_full().service(&Name::new("shop").unwrap()).unwrap())
}

/// A request that matches, as it was given its version.
fn matched(service: &Arc<Service>) -> (Request, Instant) {
    let now = Instant::now();
    let mut head = pingora_http::RequestHeader::build("GET", b"/", None).unwrap();
    head.insert_header("x-beta", "1").unwrap();
    let mut request = Request::new(0, Arc::new(ServiceMeter::new(1)), now);
    let selection = crate::selection::select(service, &head, None, false);
    request.matched(service, selection, 0);
    assert_eq!(request.decision(), Some(Decision::Match));
    (request, now)
}

#[test]
fn who_matches_is_judged_apart_from_those_who_draw_the_canary_unless_the_plan_says_otherwise() {
    for judged in [false, true] {
        let (_publisher, service) = with_a_match(judged);
        let canary = service.version(&Name::new("v2").unwrap()).unwrap();
        let (mut request, now) = matched(&service);
        request.attempt(Arc::clone(canary), canary.pick(&Ask { key: None, avoid: None, repeats: false, now }).unwrap());
        request.connected(-1, now);
        request.head(500, now + millis(10));
        request.end(Some(500), None, now + millis(20));
        drop(request);
        let (mut own, mut apart) = (Window::default(), Window::default());
        canary.meter.take(&mut own);
        service.apart.iter().for_each(|slice| slice.meter.take(&mut apart));
        let expected = if judged { [(1, 1), (0, 0)] } else { [(0, 0), (1, 1)] };
        assert_eq!([&own, &apart].map(|window| (window.requests(), window.bad())), expected);
        assert_eq!(own.attempts[Attempt::First as usize][Class::ServerError as usize], 1, "counted whatever is judged");
        assert_eq!((own.drawn, own.drawn.at_random), (Drawn { at_random: 0, ..ended(0) }, 0));
    }
}

#[test]
fn who_matches_and_leaves_before_anything_was_sent_is_judged_nowhere() {
    let (_publisher, service) = with_a_match(false);
    let (mut request, now) = matched(&service);
    request.end(None, Some(Class::ClientAbort), now);
    drop(request);
    let mut apart = Window::default();
    service.apart.as_ref().unwrap().meter.take(&mut apart);
    assert_eq!((apart.requests(), apart.drawn.lost), (0, 0));
}

#[test]
fn who_matched_stays_with_the_canary_for_a_further_attempt_until_the_match_is_over() {
    let (mut publisher, service) = with_a_match(false);
    let (request, _) = matched(&service);
    let may_stay = |publisher: &Publisher| request.found().unwrap().may_stay(&shop(publisher));
    assert!(may_stay(&publisher), "at weight 0");
    steer(&mut publisher, None);
    assert!(!may_stay(&publisher));
}
