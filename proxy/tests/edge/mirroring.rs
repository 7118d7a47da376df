//! Copies of requests: what the canary gets, what its answers come to, and that users and everything else that is known
//! of it stay as they are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use config::Protocol;
use http::Request;
use http_body_util::{BodyExt, Full};
use loadtest::{Behaviour, Latency, Origin, OriginOptions, RawAnswer, RawOrigin, Then};
use meter::{MirrorCounts, Unsent};
use proxy::Flaw;
use proxy::client_stream::ClientTimeouts;
use proxy::endpoint::State;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::fixture::{LONG, Shop, configuration, exchange, get, http2, name, nobody, status};
use crate::grpc::origin::{Client, GrpcOrigin, words};

async fn origin(name: &str) -> Origin {
    Origin::start(name, OriginOptions::default()).await.unwrap()
}

/// Serves v1, and sends v2 a copy of everything, under these rules.
fn shop(v1: SocketAddr, v2: SocketAddr, change: impl FnOnce(&mut config::MirrorRules)) -> Shop {
    shop_with(v1, v2, |service| change(&mut service.mirror))
}

fn shop_with(v1: SocketAddr, v2: SocketAddr, change: impl FnOnce(&mut config::Service)) -> Shop {
    let mut configuration = configuration(&[v1], &[v2], "");
    change(&mut configuration.services[0]);
    let mut shop = Shop::serve(2, 0, &configuration, ClientTimeouts::default());
    shop.mirror();
    shop
}

fn answering(body: &str) -> RawAnswer {
    RawAnswer::new(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

async fn post(address: SocketAddr, body: &[u8]) -> String {
    let head =
        format!("POST /echo HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    exchange(address, &[head.as_bytes(), body].concat()).await
}

fn with_post(rules: &mut config::MirrorRules) {
    rules.methods.push("POST".into());
}

/// How v2's one endpoint does.
fn state_of_v2(shop: &Shop) -> State {
    let routing = shop.publisher.shared().load_full();
    let version = routing.service(&name("shop")).unwrap().version(&name("v2")).unwrap();
    version.endpoints[0].standing(Instant::now()).state
}

#[tokio::test]
async fn the_canary_gets_what_stable_gets_marked_as_a_copy_and_nothing_else_is_known_of_it() {
    let stable = origin("v1").await;
    let canary = RawOrigin::start(vec![answering("v1\n")]).await.unwrap();
    let shop = shop(stable.address(), canary.address(), |_| ());
    let request =
        b"GET /cart?id=7 HTTP/1.1\r\nhost: shop\r\ncookie: a=b\r\nTidegate-Mirror: 0\r\nconnection: close\r\n\r\n";
    assert!(
        exchange(shop.address(), b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").await.contains("v1")
    );
    let counts = shop.mirrored_until(|counts| counts.ended == 1).await;
    let alike = MirrorCounts { sent: 1, answered: 1, ended: 1, compared: 1, ..MirrorCounts::default() };
    assert_eq!(counts, alike);
    let seen = canary.until(LONG, |all| all.first().is_some_and(|one| one.requests == 1)).await.unwrap();
    let seen = String::from_utf8_lossy(&seen[0].received).to_ascii_lowercase();
    for line in ["get / http/1.1\r\n", "host: shop\r\n", "tidegate-mirror: 1\r\n", "x-forwarded-for: 127.0.0.1\r\n"] {
        assert!(seen.contains(line), "{line:?} in {seen}");
    }
    // A client cannot make its request pass for a copy: one that says so is copied like any other.
    assert_eq!(status(&exchange(shop.address(), request).await), 200);
    shop.idle("v1").await;
    shop.mirrored_until(|counts| counts.sent == 2).await;
    let came = |all: &[loadtest::RawConnection]| all.iter().map(|one| one.requests).sum::<usize>() == 2;
    let seen = canary.until(LONG, came).await.unwrap();
    let seen: Vec<u8> = seen.iter().flat_map(|one| one.received.clone()).collect();
    let seen = String::from_utf8_lossy(&seen).to_ascii_lowercase();
    assert_eq!((seen.matches("tidegate-mirror: 1\r\n").count(), seen.matches("mirror").count()), (2, 2), "{seen}");
    assert_eq!(shop.tally("v2").drawn.all, 0);
    assert_eq!(shop.tally("v1").drawn.all, 2);
}

#[tokio::test]
async fn a_clients_own_mark_does_not_reach_an_origin() {
    let stable = RawOrigin::start(vec![answering("v1\n")]).await.unwrap();
    let shop = Shop::open(&[stable.address()], &[nobody()], 0);
    let request = b"GET / HTTP/1.1\r\nhost: shop\r\nTidegate-Mirror: 1\r\nconnection: close\r\n\r\n";
    assert_eq!(status(&exchange(shop.address(), request).await), 200);
    let seen = stable.until(LONG, |all| all.first().is_some_and(|one| one.requests == 1)).await.unwrap();
    let seen = String::from_utf8_lossy(&seen[0].received).to_ascii_lowercase();
    assert!(!seen.contains("mirror"), "{seen}");
}

#[tokio::test]
async fn a_canary_that_is_dead_hangs_or_talks_nonsense_is_charged_with_each_copy_and_users_see_nothing() {
    let stable = origin("v1").await;
    for behaviour in [Behaviour::Refuse, Behaviour::Hang, Behaviour::Reset, Behaviour::Cut, Behaviour::Garbage] {
        let canary = origin("v2").await;
        canary.dial().set_behaviour(behaviour);
        canary.settled().await;
        let shop = shop(stable.address(), canary.address(), |rules| rules.timeout = Duration::from_millis(300));
        for _ in 0..5 {
            let answer = get(shop.address()).await;
            assert!(status(&answer) == 200 && answer.contains("v1"), "{behaviour:?}: {answer}");
        }
        let counts = shop.mirrored_until(|counts| counts.ended == 5).await;
        assert_eq!((counts.sent, counts.failed, counts.compared), (5, 5, 0), "{behaviour:?}");
        assert_eq!(shop.ledger().under_way(), 0, "{behaviour:?}");
        // What copies come to says nothing about where users' requests may go.
        assert_eq!(state_of_v2(&shop), State::Well, "{behaviour:?}");
        assert_eq!(shop.tally("v2").drawn.all, 0);
    }
}

#[tokio::test]
async fn answers_to_copies_are_held_to_the_rules_of_answers_to_users_in_their_bytes() {
    let stable = origin("v1").await;
    let lenient = [
        (
            &b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nv1\n\r\n0\r\n\r\n"[..],
            Flaw::Framing,
        ),
        (b"HTTP/1.1 200 OK\r\nx-note: one\r\n two\r\ncontent-length: 3\r\n\r\nv1\n", Flaw::Header),
        (b"HTTP/1.1 200 OK\ncontent-length: 3\n\nv1\n", Flaw::StatusLine),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3 \r\nv1\n\r\n0\r\n\r\n", Flaw::Chunks),
    ];
    for (wire, flaw) in lenient {
        // The first is well, so that the second comes on a connection that waited.
        let canary = RawOrigin::start(vec![answering("v1\n"), RawAnswer::new(wire)]).await.unwrap();
        let shop = shop(stable.address(), canary.address(), |_| ());
        for sent in 1..=2 {
            assert_eq!(status(&get(shop.address()).await), 200);
            shop.mirrored_until(|counts| counts.ended == sent).await;
        }
        let counts = shop.ledger().counts();
        assert_eq!((counts.answered, counts.failed), (1, 1), "{flaw:?}");
        let connections = canary.connections();
        assert_eq!(connections.iter().map(|one| one.requests).collect::<Vec<_>>(), [2], "{flaw:?}: asked once each");
        let routing = shop.publisher.shared().load_full();
        let version = routing.service(&name("shop")).unwrap().version(&name("v2")).unwrap();
        assert_eq!(version.care.counts().flaws[flaw as usize], 1, "{flaw:?}");
    }
}

#[tokio::test]
async fn other_statuses_and_bodies_are_counted_and_shown_without_secrets() {
    let stable = RawOrigin::start(vec![answering("same")]).await.unwrap();
    let answers = [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nsame"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nsa\r\n2\r\nme\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nset-cookie: id=hush\r\n\r\nother",
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\nsame",
    ];
    let canary = RawOrigin::start(answers.map(RawAnswer::new).to_vec()).await.unwrap();
    let shop = shop(stable.address(), canary.address(), |_| ());
    for sent in 1..=5 {
        let request = b"GET /cart HTTP/1.1\r\nhost: shop\r\nauthorization: hush\r\nconnection: close\r\n\r\n";
        assert_eq!(status(&exchange(shop.address(), request).await), 200);
        shop.mirrored_until(|counts| counts.ended == sent).await;
    }
    let wanted = MirrorCounts {
        sent: 5,
        answered: 5,
        ended: 5,
        compared: 5,
        status: 2,
        body: 1,
        failed: 1,
        ..MirrorCounts::default()
    };
    assert_eq!(shop.ledger().counts(), wanted);
    let samples = shop.ledger().samples();
    let what: Vec<_> = samples.iter().map(|sample| sample.what.word()).collect();
    assert_eq!(what, ["status", "status", "body"]);
    let shown = format!("{samples:?}");
    assert!(!shown.contains("hush") && shown.contains("(removed)"), "{shown}");
}

#[tokio::test]
async fn where_stable_fails_the_canary_is_not_measured_by_it() {
    let stable = origin("v1").await;
    stable.dial().set_errors(loadtest::Fraction::ONE);
    let canary = origin("v2").await;
    let shop = shop(stable.address(), canary.address(), |_| ());
    assert_eq!(status(&get(shop.address()).await), 500);
    let counts = shop.mirrored_until(|counts| counts.ended == 1).await;
    assert_eq!((counts.answered, counts.compared, counts.failed, counts.both_failed), (1, 0, 0, 0));
    canary.dial().set_errors(loadtest::Fraction::ONE);
    assert_eq!(status(&get(shop.address()).await), 500);
    let counts = shop.mirrored_until(|counts| counts.ended == 2).await;
    assert_eq!((counts.failed, counts.both_failed), (0, 1));
}

#[tokio::test]
async fn what_may_change_something_is_sent_to_stable_alone_unless_the_operator_says_otherwise() {
    let (stable, canary) = (origin("v1").await, origin("v2").await);
    let shop = shop(stable.address(), canary.address(), |_| ());
    assert_eq!(status(&post(shop.address(), b"order").await), 200);
    shop.idle("v1").await;
    assert_eq!(shop.ledger().counts().unsent(Unsent::Method), 1);
    assert_eq!((shop.ledger().counts().sent, canary.arrivals().requests), (0, 0));
}

#[tokio::test]
async fn a_body_is_copied_whole_up_to_64_kib_and_not_at_all_beyond() {
    let stable = origin("v1").await;
    let canary = RawOrigin::start(vec![answering("v1\n")]).await.unwrap();
    let shop = shop(stable.address(), canary.address(), with_post);
    let body: Vec<u8> = (0..65_536_u32).map(|n| (n % 251) as u8).collect();
    assert_eq!(status(&post(shop.address(), &body).await), 200);
    let seen = canary.until(LONG, |all| all.first().is_some_and(|one| one.requests == 1)).await.unwrap();
    assert!(seen[0].received.ends_with(&body) && !seen[0].malformed);
    // Its length is only known at its end.
    let chunks = [b"10000\r\n", &body[..], b"\r\n0\r\n\r\n"].concat();
    let head = b"POST /echo HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(status(&exchange(shop.address(), &[&head[..], &chunks].concat()).await), 200);
    let seen = canary.until(LONG, |all| all.iter().map(|one| one.requests).sum::<usize>() == 2).await.unwrap();
    assert!(seen.iter().all(|one| one.received.ends_with(&body) && !one.malformed));
    let longer = [&body[..], b"x"].concat();
    assert_eq!(status(&post(shop.address(), &longer).await), 200);
    let chunks = [b"10001\r\n", &longer[..], b"\r\n0\r\n\r\n"].concat();
    assert_eq!(status(&exchange(shop.address(), &[&head[..], &chunks].concat()).await), 200);
    shop.idle("v1").await;
    let counts = shop.mirrored_until(|counts| counts.ended == 2).await;
    assert_eq!((counts.sent, counts.unsent(Unsent::TooLarge)), (2, 2));
}

#[tokio::test]
async fn clients_of_http2_are_copied_too_with_their_bodies() {
    let stable = origin("v1").await;
    let canary = RawOrigin::start(vec![answering("order")]).await.unwrap();
    let shop = shop(stable.address(), canary.address(), with_post);
    let mut client = http2(shop.address()).await;
    let request = Request::post("http://shop.example/echo").body(Full::new(Bytes::from_static(b"order"))).unwrap();
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "order");
    let counts = shop.mirrored_until(|counts| counts.ended == 1).await;
    assert_eq!((counts.compared, counts.status, counts.body), (1, 0, 0));
    let seen = canary.until(LONG, |all| all.first().is_some_and(|one| one.requests == 1)).await.unwrap();
    let seen = String::from_utf8_lossy(&seen[0].received).to_ascii_lowercase();
    assert!(seen.contains("host: shop.example\r\n") && seen.ends_with("order"), "{seen}");
}

#[tokio::test]
async fn calls_are_copied_where_post_is_and_compared_by_their_codes() {
    let (stable, canary) = (GrpcOrigin::start("v1").await, GrpcOrigin::start("v1").await);
    let shop = shop_with(stable.address, canary.address, |service| {
        with_post(&mut service.mirror);
        service.versions.iter_mut().for_each(|version| version.protocol = Protocol::H2c);
    });
    let mut client = Client::to(shop.address());
    assert_eq!(client.say(words("hello")).await.unwrap().text, "v1: hello");
    let counts = shop.mirrored_until(|counts| counts.ended == 1).await;
    assert_eq!((counts.compared, counts.status, counts.body), (1, 0, 0), "{:?}", shop.ledger().samples());
    canary.state.is_broken.store(true, Ordering::SeqCst);
    assert_eq!(client.say(words("hello")).await.unwrap().text, "v1: hello");
    let counts = shop.mirrored_until(|counts| counts.ended == 2).await;
    assert_eq!((counts.compared, counts.status, counts.failed), (2, 1, 1), "{:?}", shop.ledger().samples());
    assert_eq!(shop.ledger().samples()[0].canary.as_ref().unwrap().grpc, Some(13));
}

#[tokio::test]
async fn a_canary_that_does_not_speak_its_protocol_is_charged() {
    let (stable, canary) = (GrpcOrigin::start("v1").await, origin("v2").await);
    let shop = shop_with(stable.address, canary.address(), |service| {
        with_post(&mut service.mirror);
        service.versions.iter_mut().for_each(|version| version.protocol = Protocol::H2c);
    });
    assert_eq!(Client::to(shop.address()).say(words("hello")).await.unwrap().text, "v1: hello");
    let counts = shop.mirrored_until(|counts| counts.ended == 1).await;
    assert_eq!((counts.failed, counts.compared), (1, 0));
}

#[tokio::test]
async fn upgrades_and_event_streams_are_never_copied() {
    let (stable, canary) = (origin("v1").await, origin("v2").await);
    let shop = shop(stable.address(), canary.address(), |_| ());
    let events = b"GET /sse/1 HTTP/1.1\r\nhost: shop\r\naccept: text/event-stream\r\nconnection: close\r\n\r\n";
    assert_eq!(status(&exchange(shop.address(), events).await), 200);
    let upgrade = b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n";
    exchange(shop.address(), upgrade).await;
    shop.idle("v1").await;
    assert_eq!(shop.ledger().counts().unsent(Unsent::Streamed), 2);
    assert_eq!(canary.arrivals().requests, 0);
}

#[tokio::test]
async fn copies_have_connections_of_their_own_and_use_them_again() {
    let (stable, canary) = (origin("v1").await, origin("v1").await);
    let shop = shop(stable.address(), canary.address(), |_| ());
    for sent in 1..=10 {
        assert_eq!(status(&get(shop.address()).await), 200);
        shop.mirrored_until(|counts| counts.ended == sent).await;
    }
    let arrivals = canary.arrivals();
    assert_eq!((arrivals.requests, arrivals.connections), (10, 1));
}

#[tokio::test]
async fn a_pooled_connection_that_was_closed_is_no_failure_of_the_canary() {
    let stable = origin("v1").await;
    // Closed just as the second copy comes on it.
    let closing = RawAnswer { then: Then::Close, ..RawAnswer::default() };
    let canary = RawOrigin::start(vec![answering("v1\n"), closing, answering("v1\n")]).await.unwrap();
    let shop = shop(stable.address(), canary.address(), |_| ());
    for sent in 1..=2 {
        assert_eq!(status(&get(shop.address()).await), 200);
        shop.mirrored_until(|counts| counts.ended == sent).await;
    }
    let counts = shop.ledger().counts();
    assert_eq!((counts.answered, counts.failed, counts.body), (2, 0, 0));
    assert_eq!(canary.connections().len(), 2);
}

#[tokio::test]
async fn an_answer_that_never_ends_is_read_no_further_than_it_is_compared() {
    let stable = origin("v1").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let written = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&written);
    let endless = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let count = Arc::clone(&count);
            drop(tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                while stream.write_all(&[b'x'; 65_536]).await.is_ok() {
                    count.fetch_add(65_536, Ordering::Relaxed);
                }
            }));
        }
    });
    let shop = shop(stable.address(), address, |_| ());
    for sent in 1..=3 {
        assert_eq!(status(&get(shop.address()).await), 200);
        let counts = shop.mirrored_until(|counts| counts.ended == sent).await;
        assert_eq!((counts.compared, counts.body), (sent, sent));
    }
    // 8 MiB each, and what the sockets hold.
    assert!(written.load(Ordering::Relaxed) < 3 * 16 * 1024 * 1024, "{written:?} bytes were taken");
    endless.abort();
}

/// As a report that takes ten seconds on either version.
#[tokio::test]
async fn a_copy_that_takes_too_long_says_nothing_where_stable_takes_as_long() {
    let (stable, canary) = (origin("v1").await, origin("v2").await);
    let shop = shop(stable.address(), canary.address(), |rules| rules.timeout = Duration::from_millis(300));
    stable.dial().set_latency(Latency::fixed(Duration::from_secs(1)));
    canary.dial().set_behaviour(Behaviour::Hang);
    assert_eq!(status(&get(shop.address()).await), 200);
    stable.dial().set_latency(Latency::fixed(Duration::ZERO));
    assert_eq!(status(&get(shop.address()).await), 200);
    let ledger = shop.ledger();
    let counts = shop.mirrored_until(|counts| counts.ended > 0 && ledger.under_way() == 0).await;
    assert_eq!((counts.sent, counts.ended, counts.failed), (2, 1, 1), "{counts:?}");
}

#[tokio::test]
async fn a_version_none_of_whose_endpoints_is_well_is_charged_and_left_alone() {
    let (stable, canary) = (origin("v1").await, origin("v2").await);
    let shop = shop(stable.address(), canary.address(), |_| ());
    {
        let routing = shop.publisher.shared().load_full();
        let version = routing.service(&name("shop")).unwrap().version(&name("v2")).unwrap();
        for _ in 0..3 {
            let now = Instant::now();
            version
                .pick_any(&proxy::endpoint::Ask { key: None, avoid: None, repeats: false, now })
                .unwrap()
                .failed_to_connect(now);
        }
    }
    assert_eq!(state_of_v2(&shop), State::Down);
    assert_eq!(status(&get(shop.address()).await), 200);
    let counts = shop.mirrored_until(|counts| counts.ended == 1).await;
    assert_eq!((counts.failed, canary.arrivals().requests), (1, 0));
    assert_eq!(state_of_v2(&shop), State::Down);
}

#[tokio::test]
async fn what_is_under_way_is_bounded_and_the_rest_is_dropped_and_counted() {
    let (stable, canary) = (origin("v1").await, origin("v2").await);
    canary.dial().set_behaviour(Behaviour::Hang);
    let shop = shop(stable.address(), canary.address(), |rules| rules.in_flight = 3);
    for _ in 0..10 {
        assert_eq!(status(&get(shop.address()).await), 200);
    }
    shop.idle("v1").await;
    let counts = shop.ledger().counts();
    assert_eq!((counts.sent, counts.unsent(Unsent::Full), shop.ledger().under_way()), (3, 7, 3));
}
