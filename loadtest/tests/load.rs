//! Loads keep their schedule over real sockets and count everything once.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in the functions it shares too")]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use loadtest::{
    Behaviour, ClientKey, Clients, Fraction, Latency, Length, Load, LoadReport, Origin, OriginOptions, Protocol, Rate,
    RawAnswer, RawOrigin, RunningLoad, Setting, Spacing, failures,
};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// Long enough for anything that happens at all.
const LIMIT: Duration = Duration::from_secs(10);

async fn origin(setting: Setting) -> Origin {
    Origin::start("v1", OriginOptions { setting, ..OriginOptions::default() }).await.unwrap()
}

async fn with_behaviour(behaviour: Behaviour) -> Origin {
    origin(Setting { behaviour, ..Setting::default() }).await
}

fn rate(per_second: f64) -> Rate {
    Rate::per_second(per_second).unwrap()
}

/// So many requests at so many a second.
fn load(origin: &Origin, per_second: f64, count: u64) -> Load {
    Load { rate: rate(per_second), length: Length::Count(count), ..Load::new(origin.address()) }
}

async fn report(load: Load) -> LoadReport {
    finish(load.start().unwrap()).await
}

async fn finish(running: RunningLoad) -> LoadReport {
    tokio::time::timeout(LIMIT, running.over()).await.expect("the load ends");
    assert!(running.is_over());
    running.wait()
}

/// The one bounded poll.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let poll = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LIMIT, poll).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

#[tokio::test]
async fn five_thousand_a_second_are_all_sent_and_all_answered() {
    let origin = origin(Setting::default()).await;
    let two_seconds = Load { length: Length::Lasts(Duration::from_secs(2)), ..load(&origin, 5_000.0, 0) };
    let report = report(two_seconds).await;
    assert_eq!((report.sent, report.answered, report.not_sent), (10_000, 10_000, 0), "{report}");
    assert_eq!(failures(&report), 0, "{report}");
    assert_eq!(origin.arrivals().requests, 10_000);
    assert_eq!(report.latency.len(), 10_000);
    assert_eq!(report.by_version["v1"].responses, 10_000);
}

#[tokio::test]
async fn an_origin_that_hangs_does_not_slow_the_schedule() {
    let origin = with_behaviour(Behaviour::Hang).await;
    let second = Load {
        length: Length::Lasts(Duration::from_secs(1)),
        grace: Duration::from_millis(500),
        ..load(&origin, 1_000.0, 0)
    };
    let report = report(second).await;
    assert_eq!((report.sent, report.not_sent, report.unfinished), (1_000, 0, 1_000), "{report}");
    assert_eq!(failures(&report), 1_000);
    assert_eq!(origin.arrivals().requests, 1_000, "all of them were on the wire at the same time");
    assert!(report.latency_at(0.0) >= Duration::from_millis(500), "the age of what hangs is in the latencies");
}

#[tokio::test]
async fn what_exceeds_the_bound_is_counted_and_not_dropped_in_silence() {
    let origin = with_behaviour(Behaviour::Hang).await;
    let report =
        report(Load { in_flight: 50, grace: Duration::from_millis(300), ..load(&origin, 10_000.0, 200) }).await;
    assert_eq!((report.sent, report.not_sent, report.unfinished), (50, 150, 50), "{report}");
}

#[tokio::test]
async fn a_client_that_leaves_closes_its_connection() {
    let origin = with_behaviour(Behaviour::Hang).await;
    let report = report(Load { timeout: Some(Duration::from_millis(100)), ..load(&origin, 1_000.0, 100) }).await;
    assert_eq!((report.timeouts, failures(&report)), (100, 100), "{report}");
    eventually("the origin notices", || origin.arrivals().in_progress == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_response_closes_its_connection_too() {
    let half = RawAnswer::new("HTTP/1.1 200 OK\r\nx-version: v2\r\ncontent-length: 10\r\n\r\nhalf");
    let origin = RawOrigin::start(vec![half]).await.unwrap();
    let timeout = Some(Duration::from_millis(100));
    let report = report(Load { timeout, length: Length::Count(3), ..Load::new(origin.address()) }).await;
    assert_eq!((report.timeouts, report.by_version["v2"].failed), (3, 3), "{report}");
    origin.until(LIMIT, |all| all.len() == 3 && all.iter().all(|c| c.closed)).await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_a_server_that_never_reads_stops_sending() {
    const BODY: usize = 32 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upload = Load {
        length: Length::Count(1),
        method: http::Method::POST,
        body: vec![b'x'; BODY].into(),
        timeout: Some(Duration::from_millis(100)),
        ..Load::new(listener.local_addr().unwrap())
    };
    let running = upload.start().unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    eventually("the client leaves", || running.live().timeouts == 1).await;
    let mut received = Vec::new();
    // A reset is an end too.
    drop(tokio::time::timeout(LIMIT, stream.read_to_end(&mut received)).await.expect("the connection ends"));
    assert!(received.len() < BODY, "the whole body was sent after the client had left");
    drop(running);
}

#[tokio::test]
async fn latency_is_what_the_origin_takes_at_least() {
    let latency = Duration::from_millis(50);
    let origin = origin(Setting { latency: Latency::fixed(latency), ..Setting::default() }).await;
    let report = report(Load { spacing: Spacing::Poisson, ..load(&origin, 1_000.0, 200) }).await;
    assert_eq!(failures(&report), 0, "{report}");
    // The histogram's buckets are a thousandth wide.
    assert!(report.latency_at(0.0) >= latency.mul_f64(0.999), "{report}");
}

#[tokio::test]
async fn connections_are_kept_for_the_next_request() {
    let origin = origin(Setting::default()).await;
    let report = report(load(&origin, 500.0, 500)).await;
    assert_eq!(failures(&report), 0, "{report}");
    let connections = origin.arrivals().connections;
    assert!(connections < 250, "{connections} connections for 500 requests");
}

#[tokio::test]
async fn errors_are_counted_by_status_version_and_client() {
    let errors = Fraction::new(0.1).unwrap();
    let origin = origin(Setting { errors, ..Setting::default() }).await;
    let clients = Clients { population: NonZeroU32::new(50).unwrap(), key: ClientKey::Cookie("id".into()) };
    let report = report(Load { clients: Some(clients), ..load(&origin, 4_000.0, 2_000) }).await;
    let bad = report.by_status[&500];
    assert!((140..260).contains(&bad), "{report}");
    assert_eq!((bad, bad), (origin.arrivals().bad, report.by_version["v1"].failed));
    assert_eq!((report.by_status[&200], report.server_errors, failures(&report)), (2_000 - bad, bad, bad));
    assert!((40..=50).contains(&report.clients_hurt), "{report}");
}

#[tokio::test]
async fn each_way_to_fail_has_its_own_words() {
    for (behaviour, words, has_head) in [
        (Behaviour::Refuse, "connection refused", false),
        (Behaviour::Reset, "connection reset", false),
        (Behaviour::Cut, "closed before the response was complete", true),
        (Behaviour::Garbage, "response is not HTTP", false),
    ] {
        let origin = with_behaviour(behaviour).await;
        let report = report(load(&origin, 1_000.0, 20)).await;
        assert_eq!(report.failed_by_reason.get(words), Some(&20), "{behaviour:?}: {report}");
        assert_eq!((report.failed, report.answered, failures(&report)), (20, 0, 20), "{behaviour:?}: {report}");
        let of_version = report.by_version.get("v1").map(|version| version.failed);
        assert_eq!(of_version, has_head.then_some(20), "{behaviour:?}: {report}");
    }
}

#[tokio::test]
async fn the_rate_can_be_changed_and_the_load_stopped() {
    let origin = origin(Setting::default()).await;
    let running = Load { length: Length::UntilStopped, ..load(&origin, 0.001, 0) }.start().unwrap();
    eventually("the first is sent at once", || running.live().answered == 1).await;
    assert!(!running.is_over());
    running.set_rate(rate(2_000.0));
    eventually("the new rate is used", || running.live().answered > 200).await;
    let report = running.stop();
    assert_eq!((report.answered, failures(&report)), (report.sent, 0), "{report}");
    assert_eq!(origin.arrivals().requests, report.sent);
}

#[tokio::test]
async fn a_dropped_load_closes_its_connections() {
    let origin = with_behaviour(Behaviour::Hang).await;
    let running = Load { length: Length::UntilStopped, ..load(&origin, 1_000.0, 0) }.start().unwrap();
    eventually("requests hang", || origin.arrivals().in_progress > 10).await;
    drop(running);
    eventually("the origin notices", || origin.arrivals().in_progress == 0).await;
}

#[tokio::test]
async fn a_request_is_on_the_wire_what_was_asked_for() {
    let origin = RawOrigin::start(vec![RawAnswer::new("HTTP/1.1 204 No Content\r\n\r\n")]).await.unwrap();
    let mut headers = http::HeaderMap::new();
    headers.insert("x-test", http::HeaderValue::from_static("yes"));
    let post = Load {
        length: Length::Count(1),
        host: "shop.example.com".into(),
        path: "/checkout?x=1".into(),
        method: http::Method::POST,
        headers,
        body: Bytes::from_static(b"abc"),
        clients: Some(Clients { population: NonZeroU32::MIN, key: ClientKey::Cookie("id".into()) }),
        ..Load::new(origin.address())
    };
    let report = report(post).await;
    assert_eq!(report.by_status[&204], 1, "{report}");
    let received = String::from_utf8(origin.connections()[0].received.clone()).unwrap();
    let expected = "POST /checkout?x=1 HTTP/1.1\r\nx-test: yes\r\nhost: shop.example.com\r\ncookie: id=client-0\r\n\
                    content-length: 3\r\n\r\nabc";
    assert_eq!(received, expected);
}

#[tokio::test]
async fn h2c_shares_a_connection_among_many_requests() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let accepted = Arc::clone(&connections);
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            accepted.fetch_add(1, Ordering::Relaxed);
            let service = service_fn(|request: Request<Incoming>| async move {
                let seen = format!("{:?} {}", request.version(), request.uri());
                let right = seen == "HTTP/2.0 http://shop/a";
                Response::builder().status(if right { 200 } else { 400 }).body(Full::<Bytes>::default())
            });
            let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async { drop(served.await) });
        }
    });
    let report = report(Load {
        protocol: Protocol::H2c,
        rate: rate(2_000.0),
        length: Length::Count(1_000),
        host: "shop".into(),
        path: "/a".into(),
        ..Load::new(address)
    })
    .await;
    server.abort();
    assert_eq!((report.by_status.get(&200), failures(&report)), (Some(&1_000), 0), "{report}");
    let connections = connections.load(Ordering::Relaxed);
    assert!(connections < 500, "{connections} connections");
}

#[test]
fn a_load_needs_no_runtime_of_the_caller_and_refuses_what_cannot_be_sent() {
    let nowhere = Load::new("127.0.0.1:1".parse().unwrap());
    let report = Load { length: Length::Count(3), rate: rate(1_000.0), ..nowhere.clone() }.start().unwrap().wait();
    assert_eq!((report.sent, report.failed_by_reason.get("connection refused")), (3, Some(&3)), "{report}");
    let error = Load { path: "no slash".into(), ..nowhere }.start().unwrap_err();
    assert_eq!(error.to_string(), "the path \"no slash\" cannot be sent: it must begin with /");
}
