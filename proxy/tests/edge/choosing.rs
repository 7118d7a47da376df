//! Versions that clients ask for or come back to, and what they and the origins are told.

use config::Timeouts;
use loadtest::{Origin, OriginOptions, RawAnswer, RawOrigin};
use meter::{Attempt, Class};
use proxy::client_stream::ClientTimeouts;

use crate::fixture::{LONG, Shop, exchange, get, judged, nobody, status};

const FORCED: &str = "    forced: { header: x-version, from: [127.0.0.1] }";

async fn origin(name: &str) -> Origin {
    Origin::start(name, OriginOptions::default()).await.unwrap()
}

/// A shop whose versions have endpoints at these addresses.
fn shop(v1: &[std::net::SocketAddr], v2: &[std::net::SocketAddr], percent: u16, more: &str) -> Shop {
    Shop::open_with(v1, v2, percent, more, Timeouts::default(), ClientTimeouts::default())
}

/// The answer to a request with these further lines in its head.
async fn ask(shop: &Shop, lines: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nhost: shop\r\n{lines}connection: close\r\n\r\n");
    exchange(shop.address(), request.as_bytes()).await
}

/// The values of a header in an answer.
fn values(answer: &str, name: &str) -> Vec<String> {
    let lines = answer.split("\r\n\r\n").next().unwrap().lines();
    let pairs = lines.filter_map(|line| line.split_once(": "));
    pairs.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
}

#[tokio::test]
async fn forced_requests_are_counted_and_neither_drawn_at_random_nor_judged() {
    let (v1, v2) = (origin("v1").await, origin("v2").await);
    let shop = shop(&[v1.address()], &[v2.address()], 0, FORCED);
    for _ in 0..20 {
        assert!(ask(&shop, "x-version: always\r\n").await.ends_with("v2\n"));
        assert!(ask(&shop, "x-version: never\r\n").await.ends_with("v1\n"));
    }
    for version in ["v1", "v2"] {
        let tally = shop.tally_until(version, |tally| tally.drawn.ended == 20).await;
        assert_eq!((tally.drawn.all, tally.drawn.at_random, tally.judged.iter().sum::<u64>()), (20, 0, 0));
        assert_eq!(tally.attempts[Attempt::First as usize][Class::Success as usize], 20);
    }
    get(shop.address()).await;
    let tally = shop.tally_until("v1", |tally| tally.drawn.ended == 21).await;
    assert_eq!((tally.drawn.at_random, judged(&tally, Class::Success)), (1, 1));
}

#[tokio::test]
async fn an_answer_of_our_own_gives_the_cookie_by_which_the_version_was_drawn() {
    let more = "    affinity: { cookie: tidegate, issue: true }\n    body: 10B\n";
    let shop = shop(&[nobody()], &[nobody()], 50, more);
    let too_large = "POST / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: 11\r\n\r\n";
    for (request, wanted) in [("GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n", 502), (too_large, 413)] {
        let answer = exchange(shop.address(), request.as_bytes()).await;
        assert_eq!(status(&answer), wanted, "{answer}");
        let cookies = values(&answer, "set-cookie");
        assert!(matches!(&cookies[..], [cookie] if cookie.starts_with("tidegate=")), "{answer}");
        // Who has it keeps it.
        let cookie = cookies[0].split(';').next().unwrap();
        let again = ask(&shop, &format!("cookie: {cookie}\r\n")).await;
        assert_eq!((status(&again), values(&again, "set-cookie").len()), (502, 0), "{again}");
    }
    // Nothing was drawn.
    let nothing = exchange(shop.address(), b"GET /%00 HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").await;
    assert_eq!((status(&nothing), values(&nothing, "set-cookie").len()), (400, 0), "{nothing}");
}

#[tokio::test]
async fn forced_requests_are_judged_where_the_operator_says_so() {
    let (v1, v2) = (origin("v1").await, origin("v2").await);
    let more = "    forced: { header: x-version, from: [127.0.0.1], judged: true }";
    let shop = shop(&[v1.address()], &[v2.address()], 0, more);
    ask(&shop, "x-version: v2\r\n").await;
    let tally = shop.tally_until("v2", |tally| tally.drawn.ended == 1).await;
    assert_eq!((tally.drawn.at_random, judged(&tally, Class::Success)), (0, 1));
}

#[tokio::test]
async fn a_forced_version_without_a_live_endpoint_falls_through_to_stable_and_nobody_is_charged() {
    let v1 = origin("v1").await;
    let shop = shop(&[v1.address()], &[nobody()], 0, FORCED);
    for _ in 0..5 {
        let answer = ask(&shop, "x-version: v2\r\n").await;
        assert!(answer.ends_with("v1\n"), "{answer}");
        assert_eq!(values(&answer, "tidegate-version"), ["v1"], "the version that served, not the one drawn");
    }
    let tally = shop.tally_until("v2", |tally| tally.drawn.ended == 5).await;
    assert_eq!(tally.attempts[Attempt::First as usize][Class::ConnectError as usize], 5);
    assert_eq!(tally.judged.iter().sum::<u64>(), 0);
}

#[tokio::test]
async fn a_forced_request_is_tried_again_on_the_version_it_asked_for_whatever_its_weight() {
    for value in ["v2", "always"] {
        let (v1, v2) = (origin("v1").await, origin("v2").await);
        let shop = shop(&[v1.address()], &[nobody(), v2.address()], 0, FORCED);
        for _ in 0..10 {
            assert!(ask(&shop, &format!("x-version: {value}\r\n")).await.ends_with("v2\n"), "{value}");
        }
        assert_eq!(v1.arrivals().requests, 0);
    }
}

#[tokio::test]
async fn the_origin_is_told_what_was_drawn_and_gets_neither_claims_nor_secrets() {
    let answer = "HTTP/1.1 200 OK\r\ntidegate-version: v9\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n";
    let v1 = RawOrigin::start(vec![RawAnswer::new(answer)]).await.unwrap();
    let more = "    affinity: { cookie: tidegate, issue: true }";
    let shop = shop(&[v1.address()], &[nobody()], 0, more);
    let answer = ask(&shop, "tidegate-version: v7\r\nTidegate-Version: v8\r\ntidegate-secret: open-sesame\r\n").await;

    assert_eq!(values(&answer, "tidegate-version"), ["v1"]);
    let cookies = values(&answer, "set-cookie");
    assert!(cookies.len() == 2 && cookies[0] == "a=b" && cookies[1].starts_with("tidegate="), "{cookies:?}");
    assert!(!cookies[1].contains("Secure"), "{cookies:?}");
    let seen = v1.until(LONG, |seen| seen.first().is_some_and(|c| c.requests == 1)).await.unwrap();
    let received = String::from_utf8_lossy(&seen[0].received).to_ascii_lowercase();
    let said = received.lines().filter(|line| line.starts_with("tidegate-") && !line.starts_with("tidegate-passes: "));
    assert_eq!(said.count(), 1, "{received}");
    assert!(received.contains("\r\ntidegate-version: v1\r\n") && !received.contains("sesame"), "{received}");
}

#[tokio::test]
async fn a_user_with_a_cookie_of_ours_keeps_its_version_as_the_canary_grows_and_returns_at_a_rollback_at_once() {
    let (v1, v2) = (origin("v1").await, origin("v2").await);
    let mut shop = shop(&[v1.address()], &[v2.address()], 30, "    affinity: { cookie: tidegate, issue: true }");
    let mut users = Vec::new();
    for _ in 0..40 {
        let answer = ask(&shop, "").await;
        let cookie = values(&answer, "set-cookie").remove(0).split(';').next().unwrap().to_owned();
        users.push((cookie, answer.ends_with("v2\n")));
    }
    for percent in [30, 60, 100, 0] {
        shop.split(percent);
        for (cookie, on_canary) in &mut users {
            let answer = ask(&shop, &format!("cookie: {cookie}\r\n")).await;
            assert_eq!(values(&answer, "set-cookie"), [""; 0], "it has one");
            let now = answer.ends_with("v2\n");
            assert!(now || !*on_canary || percent == 0, "{cookie} left the canary as it grew to {percent} %");
            *on_canary = now;
        }
    }
    assert!(users.iter().all(|(_, on_canary)| !on_canary));
    // Nobody is drawn by chance twice: only the first requests of these users were.
    let drawn = shop.tally("v1").drawn;
    assert_eq!(drawn.at_random + shop.tally("v2").drawn.at_random, 40);
}

#[tokio::test]
async fn a_service_for_some_methods_or_headers_leaves_the_others_to_nobody() {
    let v1 = origin("v1").await;
    let shop = shop(&[v1.address()], &[nobody()], 0, "    methods: [POST]\n    headers: { x-tenant: blue }");
    assert_eq!(status(&ask(&shop, "x-tenant: blue\r\n").await), 404, "another method is no 405: nothing is here");
    let post = |tenant: &str| {
        format!("POST / HTTP/1.1\r\nhost: shop\r\nx-tenant: {tenant}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    };
    assert_eq!(status(&exchange(shop.address(), post("red").as_bytes()).await), 404);
    assert_eq!(status(&exchange(shop.address(), post("blue").as_bytes()).await), 200);
}
