//! What users are spared: retries within their budget, and stable in a canary's stead.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use config::{Configuration, Protocol, Retries, Rules, Timeouts};
use http_body_util::Full;
use hyper::Request;
use loadtest::{Behaviour, Origin, OriginOptions, RawAnswer, RawConnection, RawOrigin, Then, When};
use meter::{Attempt, Class, Tally};
use proxy::client_stream::ClientTimeouts;

use crate::fixture::{LONG, Shop, configuration, exchange, get, http2, judged, nobody, status};
use crate::http2::http2_server;

/// What v2 does with each request it gets, all of which it gets first.
pub(crate) fn spared(v1: &[SocketAddr], v2: &[SocketAddr], change: impl FnOnce(&mut Configuration)) -> Shop {
    let timeouts = Timeouts { first_byte: Duration::from_millis(200), ..Timeouts::default() };
    let mut configuration = configuration(v1, v2, "");
    configuration.rules = Rules { timeouts, ..Rules::default() }.into();
    configuration.services[0].shield = true;
    configuration.services[0].retries = Retries::default();
    change(&mut configuration);
    Shop::serve(1, 100, &configuration, ClientTimeouts::default())
}

/// As [`spared`], with everything on v1.
fn stable(v1: &[SocketAddr], change: impl FnOnce(&mut Retries)) -> Shop {
    let mut shop = spared(v1, &[nobody()], |configuration| change(&mut configuration.services[0].retries));
    shop.split(0);
    shop
}

pub(crate) async fn origin(name: &str) -> Origin {
    Origin::start(name, OriginOptions::default()).await.unwrap()
}

pub(crate) async fn raw(status: &str) -> RawOrigin {
    RawOrigin::start(vec![answer(status)]).await.unwrap()
}

pub(crate) fn answer(status: &str) -> RawAnswer {
    RawAnswer::new(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{}", "x\n"))
}

pub(crate) fn counted(tally: &Tally, kind: Attempt, class: Class) -> u64 {
    tally.attempts[kind as usize][class as usize]
}

/// Waits until so many requests have come to an origin: they are counted a moment after they are answered.
pub(crate) async fn came(origin: &RawOrigin, wanted: usize) {
    let sum = |seen: &[RawConnection]| seen.iter().map(|connection| connection.requests).sum::<usize>();
    let seen = origin.until(LONG, |seen| sum(seen) >= wanted).await.unwrap();
    assert_eq!(sum(&seen), wanted);
}

fn request(method: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn every_5xx_of_a_canary_is_answered_by_stable_and_charged_to_the_canary() {
    for bad in ["500 Oops", "501 No", "502 Bad", "503 Busy", "599 What"] {
        let (v1, v2) = (origin("v1").await, raw(bad).await);
        let shop = spared(&[v1.address()], &[v2.address()], |_| {});
        for _ in 0..5 {
            let answer = get(shop.address()).await;
            assert!(status(&answer) == 200 && answer.ends_with("v1\n"), "{bad}: {answer}");
        }
        let canary = shop.tally_until("v2", |tally| tally.requests() == 5 && tally.saved == 5).await;
        assert_eq!((judged(&canary, Class::ServerError), canary.bad()), (5, 5), "{bad}: {canary:?}");
        let stable = shop.tally_until("v1", |tally| counted(tally, Attempt::Shield, Class::Success) == 5).await;
        assert_eq!((stable.requests(), stable.drawn.all), (0, 0), "the shield is not judged");
        shop.idle("v2").await;
        assert_eq!((shop.responses(Class::Success), shop.responses(Class::ServerError)), (5, 0));
        // A canary is not tried twice.
        came(&v2, 5).await;
    }
}

#[tokio::test]
async fn a_canary_that_resets_or_hangs_or_talks_nonsense_hurts_no_user() {
    for (behaviour, class) in [
        (Behaviour::Reset, Class::Reset),
        (Behaviour::Hang, Class::Timeout),
        (Behaviour::Garbage, Class::ProtocolError),
        (Behaviour::Refuse, Class::ConnectError),
    ] {
        let (v1, v2) = (origin("v1").await, origin("v2").await);
        v2.dial().set_behaviour(behaviour);
        v2.settled().await;
        let shop = spared(&[v1.address()], &[v2.address()], |_| {});
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
            let answer = exchange(shop.address(), request(method, "").as_bytes()).await;
            assert_eq!(status(&answer), 200, "{behaviour:?} {method}: {answer}");
        }
        let canary = shop.tally_until("v2", |tally| tally.requests() == 5 && tally.saved == 5).await;
        assert_eq!((judged(&canary, class), canary.bad()), (5, 5), "{behaviour:?}: {canary:?}");
        assert_eq!(shop.tally("v1").requests(), 0);
    }
}

#[tokio::test]
async fn a_head_that_may_not_be_passed_on_is_answered_by_stable() {
    for head in
        ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nx\n", "HTTP/1.1 200 OK\r\nbroken\r\n\r\n"]
    {
        let v1 = origin("v1").await;
        let v2 = RawOrigin::start(vec![RawAnswer { then: Then::Close, ..RawAnswer::new(head) }]).await.unwrap();
        let shop = spared(&[v1.address()], &[v2.address()], |_| {});
        let answer = get(shop.address()).await;
        assert!(status(&answer) == 200 && answer.ends_with("v1\n"), "{answer}");
        let canary = shop.tally_until("v2", |tally| tally.requests() == 1).await;
        assert_eq!(judged(&canary, Class::ProtocolError), 1, "{canary:?}");
    }
}

#[tokio::test]
async fn without_the_shield_a_canarys_failure_is_seen() {
    let (v1, v2) = (origin("v1").await, raw("500 Oops").await);
    let shop = spared(&[v1.address()], &[v2.address()], |configuration| configuration.services[0].shield = false);
    assert_eq!(status(&get(shop.address()).await), 500);
    assert_eq!(shop.tally_until("v2", |tally| tally.requests() == 1).await.saved, 0);
}

#[tokio::test]
async fn a_client_keeps_its_connection_when_stable_answers() {
    let (v1, v2) = (origin("v1").await, raw("500 Oops").await);
    let shop = spared(&[v1.address()], &[v2.address()], |_| {});
    let keep = "GET / HTTP/1.1\r\nhost: shop\r\n\r\n";
    let mut stream = tokio::net::TcpStream::connect(shop.address()).await.unwrap();
    for last in [false, false, true] {
        let text = if last { request("GET", "") } else { keep.to_owned() };
        let mut seen = Vec::new();
        tokio::io::AsyncWriteExt::write_all(&mut stream, text.as_bytes()).await.unwrap();
        while !seen.ends_with(b"v1\n") {
            let read = tokio::io::AsyncReadExt::read_buf(&mut stream, &mut seen);
            assert!(tokio::time::timeout(LONG, read).await.unwrap().unwrap() > 0, "{}", String::from_utf8_lossy(&seen));
        }
        assert_eq!(status(&String::from_utf8_lossy(&seen)), 200);
    }
}

#[tokio::test]
async fn a_body_that_fits_is_sent_to_stable_once_more_and_whole() {
    for size in [1, 1_000, 64 * 1024] {
        let (v1, v2) = (raw("200 OK").await, raw("503 Busy").await);
        let shop = spared(&[v1.address()], &[v2.address()], |_| {});
        let body = "b".repeat(size);
        let answer = exchange(shop.address(), request("PUT", &body).as_bytes()).await;
        assert_eq!(status(&answer), 200, "{size}: {answer}");
        came(&v1, 1).await;
        let seen = v1.connections();
        assert!(seen.len() == 1 && seen[0].requests == 1 && !seen[0].malformed, "{size}");
        assert!(seen[0].received.ends_with(format!("\r\n\r\n{body}").as_bytes()), "{size}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_is_over_is_answered_by_stable_with_all_of_the_body() {
    let early = RawAnswer { when: When::AfterHead, ..answer("503 Busy") };
    let (v1, v2) = (raw("200 OK").await, RawOrigin::start(vec![early]).await.unwrap());
    let shop = spared(&[v1.address()], &[v2.address()], |_| {});
    let mut stream = tokio::net::TcpStream::connect(shop.address()).await.unwrap();
    let (head, body) = ("PUT / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: 8\r\n\r\n", "one-two-");
    for piece in [format!("{head}one-"), "two-".to_owned()] {
        tokio::io::AsyncWriteExt::write_all(&mut stream, piece.as_bytes()).await.unwrap();
        v1.until(Duration::from_millis(300), |seen| seen.iter().any(|it| it.received.ends_with(b"one-"))).await.ok();
    }
    let mut seen = Vec::new();
    tokio::time::timeout(LONG, tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut seen)).await.unwrap().unwrap();
    assert_eq!(status(&String::from_utf8_lossy(&seen)), 200, "{}", String::from_utf8_lossy(&seen));
    assert!(v1.connections()[0].received.ends_with(format!("\r\n\r\n{body}").as_bytes()));
}

#[tokio::test]
async fn a_body_that_is_too_long_to_be_kept_is_not_sent_again_and_the_answer_is_passed_on_whole() {
    let (v1, v2) = (raw("200 OK").await, raw("503 Busy").await);
    let shop = spared(&[v1.address()], &[v2.address()], |_| {});
    let answer = exchange(shop.address(), request("PUT", &"b".repeat(64 * 1024 + 1)).as_bytes()).await;
    assert!(status(&answer) == 503 && answer.ends_with("x\n"), "{answer}");
    assert_eq!(v1.connections().len(), 0);
    assert_eq!(shop.tally_until("v2", |tally| tally.requests() == 1).await.saved, 0);
}

#[tokio::test]
async fn a_post_is_sent_once() {
    for (behaviour, wanted) in [(Behaviour::Reset, 502), (Behaviour::Hang, 504)] {
        let (v1, v2) = (origin("v1").await, origin("v2").await);
        v2.dial().set_behaviour(behaviour);
        let shop = spared(&[v1.address()], &[v2.address()], |_| {});
        assert_eq!(status(&exchange(shop.address(), request("POST", "x").as_bytes()).await), wanted);
        assert_eq!(v1.arrivals().requests, 0);
    }
    let (v1, v2) = (origin("v1").await, raw("503 Busy").await);
    let shop = spared(&[v1.address()], &[v2.address()], |_| {});
    let answer = exchange(shop.address(), request("POST", "x").as_bytes()).await;
    assert!(status(&answer) == 503 && answer.ends_with("x\n"), "{answer}");
    assert_eq!(v1.arrivals().requests, 0);
    came(&v2, 1).await;
}

#[tokio::test]
async fn a_reply_that_was_cut_after_it_began_is_passed_on_as_far_as_it_came() {
    let (v1, v2) = (origin("v1").await, origin("v2").await);
    v2.dial().set_behaviour(Behaviour::Cut);
    let shop = spared(&[v1.address()], &[v2.address()], |_| {});
    assert_eq!(status(&get(shop.address()).await), 200);
    let canary = shop.tally_until("v2", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&canary, Class::Reset), canary.saved), (1, 0));
    assert_eq!(v1.arrivals().requests, 0);
}

#[tokio::test]
async fn clients_and_endpoints_that_speak_http2_are_spared_too() {
    let v1 = http2_server(|mut connection, _| async move {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            crate::http2::answer(&mut respond);
        }
    })
    .await;
    let v2 = http2_server(|mut connection, _| async move {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut response = hyper::Response::new(());
            *response.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
            let mut body = respond.send_response(response, false).unwrap();
            let _ = body.send_data(Bytes::from_static(b"busy"), true);
        }
    })
    .await;
    let shop = spared(&[v1], &[v2], |configuration| {
        configuration.services[0].versions.iter_mut().for_each(|version| version.protocol = Protocol::H2c);
    });
    let mut client = http2(shop.address()).await;
    for method in ["GET", "PUT"] {
        let body = Full::new(Bytes::from(if method == "PUT" { "body" } else { "" }));
        let request = Request::builder().method(method).uri("http://shop/").body(body).unwrap();
        let response = tokio::time::timeout(LONG, client.send_request(request)).await.unwrap().unwrap();
        assert_eq!(response.status(), 200, "{method}");
    }
    assert_eq!(status(&get(shop.address()).await), 200);
    let canary = shop.tally_until("v2", |tally| tally.requests() == 3 && tally.saved == 3).await;
    assert_eq!(judged(&canary, Class::ServerError), 3);
}

#[tokio::test]
async fn what_stable_cannot_do_now_is_done_by_its_other_endpoint() {
    for bad in ["502 Bad", "503 Busy", "504 Late"] {
        let (ill, well) = (raw(bad).await, raw("200 OK").await);
        let shop = stable(&[ill.address(), well.address()], |retries| retries.floor = 100);
        for _ in 0..20 {
            assert_eq!(status(&get(shop.address()).await), 200, "{bad}");
        }
        let tally = shop.tally_until("v1", |tally| tally.requests() == 20).await;
        let failed = judged(&tally, Class::ServerError);
        assert!(failed > 0, "{bad}: {tally:?}");
        assert_eq!(counted(&tally, Attempt::Retry, Class::Success), failed, "{bad}");
        assert_eq!(tally.saved, 0);
    }
}

#[tokio::test]
async fn an_answer_that_says_what_happened_is_passed_on() {
    for passed_on in [500, 501, 505, 404] {
        let (ill, well) = (raw(&format!("{passed_on} No")).await, nobody());
        let shop = stable(&[ill.address(), well], |_| {});
        assert_eq!(status(&get(shop.address()).await), passed_on);
        came(&ill, 1).await;
    }
}

#[tokio::test]
async fn an_only_endpoint_is_tried_again_itself_as_often_as_is_written() {
    for (most, wanted) in [(0, 503), (1, 503), (2, 200)] {
        let answers = vec![answer("503 Busy"), answer("503 Busy"), answer("200 OK")];
        let v1 = RawOrigin::start(answers).await.unwrap();
        let shop = stable(&[v1.address()], |retries| retries.most = most);
        let answer = get(shop.address()).await;
        assert_eq!(status(&answer), wanted, "{most}: {answer}");
        came(&v1, most as usize + 1).await;
    }
}

#[tokio::test]
async fn a_stable_endpoint_that_hangs_or_resets_costs_its_users_no_answer() {
    for behaviour in [Behaviour::Hang, Behaviour::Reset, Behaviour::Garbage] {
        let (ill, well) = (origin("ill").await, origin("well").await);
        ill.dial().set_behaviour(behaviour);
        let shop = stable(&[ill.address(), well.address()], |retries| retries.floor = 100);
        for _ in 0..10 {
            assert_eq!(status(&get(shop.address()).await), 200, "{behaviour:?}");
        }
    }
}

#[tokio::test]
async fn a_budget_that_is_used_up_passes_failures_on_and_says_so() {
    let v1 = raw("503 Busy").await;
    let shop = stable(&[v1.address()], |retries| {
        (retries.most, retries.floor) = (1, 0);
    });
    for _ in 0..50 {
        let answer = get(shop.address()).await;
        assert!(status(&answer) == 503 && answer.ends_with("x\n"), "{answer}");
    }
    let tally = shop.tally_until("v1", |tally| tally.requests() == 50).await;
    assert_eq!(counted(&tally, Attempt::Retry, Class::ServerError), 10, "20 % of 50");
    came(&v1, 60).await;
    shop.idle("v1").await;
    assert_eq!(shop.refused_retries(), 40);
}

#[tokio::test]
async fn a_service_has_its_whole_time_once_however_many_attempts_it_takes() {
    let (v1, v2) = (origin("v1").await, origin("v2").await);
    for origin in [&v1, &v2] {
        origin.dial().set_behaviour(Behaviour::Hang);
    }
    let timeouts = Timeouts {
        first_byte: Duration::from_millis(300),
        total: Some(Duration::from_millis(400)),
        ..Timeouts::default()
    };
    let shop = spared(&[v1.address()], &[v2.address()], |configuration| {
        configuration.rules = Rules { timeouts, ..Rules::default() }.into();
    });
    assert_eq!(status(&get(shop.address()).await), 504);
    let canary = shop.tally_until("v2", |tally| tally.requests() == 1).await;
    assert_eq!(judged(&canary, Class::Timeout), 1);
    shop.idle("v2").await;
    assert_eq!(v1.arrivals().requests, 1, "the whole ended it there: no third attempt began");
}

#[tokio::test]
async fn after_a_rollback_what_failed_on_the_canary_goes_to_stable_even_without_the_shield() {
    let (v1, v2) = (origin("v1").await, origin("v2").await);
    v2.dial().set_behaviour(Behaviour::Hang);
    let mut shop = spared(&[v1.address()], &[v2.address()], |configuration| configuration.services[0].shield = false);
    let address = shop.address();
    let asked = tokio::spawn(async move { get(address).await });
    crate::fixture::origin_has(&v2, 1).await;
    shop.split(0);
    let began = Instant::now();
    let answer = asked.await.unwrap();
    assert!(status(&answer) == 200 && answer.ends_with("v1\n"), "{answer} after {:?}", began.elapsed());
    assert_eq!(v2.arrivals().requests, 1);
}
