//! Endpoints that are ill, as health checks and traffic show it, over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use config::{Configuration, EndpointTls, HealthCheck, HealthQuestion, Protocol};
use http::HeaderMap;
use loadtest::{Behaviour, Fraction, Origin, OriginOptions, Setting};
use meter::Class;
use proxy::client_stream::ClientTimeouts;
use proxy::endpoint::{Endpoint, Standing, State, is_panicking};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use crate::certificates::{Authority, SecureOrigin};
use crate::fixture::{LONG, Shop, addresses, configuration, get, judged, name, nobody, status};
use crate::http2::{answer, http2_server};

/// A check that comes often, and gives a machine that is busy all the time it may need: two failures or passes in a row
/// tell.
fn check(ask: HealthQuestion) -> HealthCheck {
    HealthCheck {
        interval: Duration::from_millis(100),
        timeout: LONG,
        unhealthy: 2,
        healthy: 2,
        ..HealthCheck::of(ask)
    }
}

fn page(path: &str) -> HealthQuestion {
    HealthQuestion::Http { path: path.into(), host: None, status: (200, 299) }
}

/// A v1 of these endpoints that is asked this.
fn asked(v1: &[SocketAddr], protocol: Protocol, check: HealthCheck) -> Configuration {
    let mut configuration = configuration(v1, &[nobody()], "");
    configuration.services[0].versions[0].protocol = protocol;
    configuration.services[0].versions[0].health = Some(check);
    configuration
}

fn serve(configuration: &Configuration) -> Shop {
    Shop::serve(1, 0, configuration, ClientTimeouts::default())
}

fn endpoints(shop: &Shop) -> Vec<Arc<Endpoint>> {
    let routing = shop.publisher.shared().load_full();
    routing.service(&name("shop")).unwrap().version(&name("v1")).unwrap().endpoints.clone()
}

/// Waits until an endpoint is so, and says how it stands.
async fn until(shop: &Shop, place: usize, state: State) -> Standing {
    let until = Instant::now() + LONG;
    loop {
        let standing = endpoints(shop)[place].standing(Instant::now());
        if standing.state == state {
            return standing;
        }
        assert!(Instant::now() < until, "endpoint {place} never was {}: {standing:?}", state.word());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Passed and failed health checks.
fn checks(shop: &Shop) -> (u64, u64) {
    let routing = shop.publisher.shared().load_full();
    let counts = routing.service(&name("shop")).unwrap().version(&name("v1")).unwrap().care.counts();
    (counts.checks_passed, counts.checks_failed)
}

async fn until_checked(shop: &Shop, wanted: impl Fn((u64, u64)) -> bool) {
    let until = Instant::now() + LONG;
    while !wanted(checks(shop)) {
        assert!(Instant::now() < until, "checks: {:?}", checks(shop));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A server that reads a request head and sends these bytes; then does it all again without an end, closes, or waits.
async fn raw(sent: &'static [u8], then: Then) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(tokio::spawn(speak(stream, sent, then)));
        }
    }));
    address
}

#[derive(Debug, Clone, Copy)]
enum Then {
    Close,
    Wait,
    Repeat,
    /// The bytes one by one, over more time than a check has.
    Drip,
}

async fn speak(mut stream: TcpStream, sent: &[u8], then: Then) -> std::io::Result<()> {
    let mut head = [0; 4096];
    if stream.read(&mut head).await? == 0 {
        return Ok(());
    }
    match then {
        Then::Close => stream.write_all(sent).await,
        Then::Wait => {
            stream.write_all(sent).await?;
            stream.read(&mut head).await.map(drop)
        }
        Then::Repeat => loop {
            stream.write_all(sent).await?;
        },
        Then::Drip => {
            for byte in sent.iter().cycle() {
                stream.write_all(&[*byte]).await?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        }
    }
}

#[tokio::test]
async fn whatever_an_endpoint_answers_that_is_no_healthy_answer_makes_it_unhealthy_and_is_told() {
    for (sent, then, told) in [
        (&b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"[..], Then::Close, "it answered 503"),
        (b"HTTP/1.1 302 There\r\nlocation: /\r\n\r\n", Then::Close, "a redirect"),
        (b"HTTP/1.1 200 OK\r\n", Then::Wait, "no answer within 500ms"),
        (b"HTTP/1.1 200 OK\r\n", Then::Close, "within the head"),
        (b"", Then::Close, "without an answer"),
        (b"", Then::Wait, "no answer within 500ms"),
        (b"HTTP/1.1 100 Go on\r\n\r\n", Then::Repeat, "interim"),
        (b"HTTP/1.1 200 OK\r\nx: yyyyyyyyyyyyyyy\r\n", Then::Drip, "no answer within 500ms"),
        (b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", Then::Repeat, "not HTTP/1.1"),
        (b"HTTP/1.1 200 OKyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", Then::Repeat, "64 KiB"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", Then::Wait, "not HTTP/1.1"),
        (b"\x15\x03\x01\x00\x02\x02\x16", Then::Close, "not HTTP/1.1"),
        (b"HTTP/1.1 101 Switch\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", Then::Wait, "101"),
    ] {
        let (good, bad) = (Origin::start("v1", OriginOptions::default()).await.unwrap(), raw(sent, then).await);
        let timeout = Duration::from_millis(500);
        let shop = serve(&asked(&[good.address(), bad], Protocol::H1, HealthCheck { timeout, ..check(page("/")) }));
        let standing = until(&shop, 1, State::Unhealthy).await;
        let reason = standing.reason.unwrap();
        assert!(reason.contains(told), "{}: {reason}", String::from_utf8_lossy(sent));
        assert!(standing.since.is_some() && standing.next_try.is_some());
        assert_eq!(endpoints(&shop)[0].standing(Instant::now()).state, State::Well);
        for _ in 0..5 {
            assert_eq!(status(&get(shop.address()).await), 200);
        }
    }
}

#[tokio::test]
async fn an_endless_body_is_not_read() {
    let endless = raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffff\r\nyyyyyyyyyyyy", Then::Wait).await;
    let shop = serve(&asked(&[endless], Protocol::H1, check(page("/"))));
    until_checked(&shop, |(passed, failed)| passed >= 3 && failed == 0).await;
}

#[tokio::test]
async fn an_endpoint_that_answers_well_again_comes_back_slowly() {
    let origins = [
        Origin::start("a", OriginOptions::default()).await.unwrap(),
        Origin::start("b", OriginOptions::default()).await.unwrap(),
    ];
    let shop = serve(&asked(&origins.each_ref().map(Origin::address), Protocol::H1, check(page("/healthz"))));
    until_checked(&shop, |(passed, failed)| passed >= 4 && failed == 0).await;
    origins[1].dial().set(Setting { errors: Fraction::new(1.0).unwrap(), ..Setting::default() });
    until(&shop, 1, State::Unhealthy).await;
    origins[1].dial().set(Setting::default());
    let standing = until(&shop, 1, State::Well).await;
    assert!((0.1..0.9).contains(&standing.share), "{standing:?}");
}

#[tokio::test]
async fn results_are_kept_over_reloads_and_who_leaves_is_asked_no_more() {
    let (good, bad) = (Origin::start("v1", OriginOptions::default()).await.unwrap(), raw(b"", Then::Close).await);
    let mut written = asked(&[good.address(), bad], Protocol::H1, check(page("/")));
    let mut shop = serve(&written);
    let since = until(&shop, 1, State::Unhealthy).await.since;
    written.services[0].versions[0].endpoints.reverse();
    written.services[0].versions[0].slow_start = Duration::ZERO;
    shop.publisher.install(&written, &addresses(&written), |_| None, Instant::now());
    let standing = endpoints(&shop)[0].standing(Instant::now());
    assert_eq!((standing.state, standing.since), (State::Unhealthy, since));
    until_checked(&shop, |(passed, _)| passed > 2).await;
    // Asked something else, it begins well.
    written.services[0].versions[0].health = Some(HealthCheck { unhealthy: 1_000, ..check(page("/")) });
    shop.publisher.install(&written, &addresses(&written), |_| None, Instant::now());
    assert_eq!(endpoints(&shop)[0].standing(Instant::now()).state, State::Well);
    let failed = checks(&shop).1;
    until_checked(&shop, |(_, now)| now >= failed + 6).await;
    assert_eq!(endpoints(&shop)[0].standing(Instant::now()).state, State::Well, "judged by the new rule");
    // Only the good one is left, so that no check fails from some time on.
    written.services[0].versions[0].endpoints.remove(0);
    shop.publisher.install(&written, &addresses(&written), |_| None, Instant::now());
    let until = Instant::now() + LONG;
    loop {
        let (passed, failed) = checks(&shop);
        until_checked(&shop, |(now, _)| now >= passed + 10).await;
        if checks(&shop).1 == failed {
            return;
        }
        assert!(Instant::now() < until, "one that left is still asked");
    }
}

#[tokio::test]
async fn a_check_speaks_the_versions_tls_and_believes_whom_its_traffic_believes() {
    let (ours, other) = (Authority::new(), Authority::new());
    for protocol in [Protocol::H1, Protocol::H2] {
        let origin = SecureOrigin::start(&ours.sign("localhost"), &["h2", "http/1.1"], None).await;
        for (authority, ask, told) in [
            (&ours, page("/"), None),
            (&ours, HealthQuestion::Connect, None),
            (&other, page("/"), Some("no connection")),
            (&other, HealthQuestion::Connect, Some("no connection")),
        ] {
            let mut written = asked(&[nobody()], protocol, check(ask));
            let v1 = &mut written.services[0].versions[0];
            let port = origin.address.port();
            v1.endpoints = vec![config::Endpoint::Tcp { host: "localhost".into(), port, tls: true }];
            v1.tls = Some(EndpointTls { ca: Some(authority.file()), ..EndpointTls::default() });
            let shop = serve(&written);
            match told {
                None => until_checked(&shop, |(passed, failed)| passed >= 3 && failed == 0).await,
                Some(told) => {
                    let reason = until(&shop, 0, State::Unhealthy).await.reason.unwrap();
                    assert!(reason.contains(told), "{reason}");
                    assert_eq!(checks(&shop).0, 0);
                }
            }
        }
        assert!(origin.requests() >= 3, "{protocol:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_agree_on_http2_is_unhealthy() {
    let ours = Authority::new();
    let origin = SecureOrigin::start(&ours.sign("localhost"), &["http/1.1"], None).await;
    let mut written = asked(&[nobody()], Protocol::H2, check(page("/")));
    let v1 = &mut written.services[0].versions[0];
    v1.endpoints = vec![config::Endpoint::Tcp { host: "localhost".into(), port: origin.address.port(), tls: true }];
    v1.tls = Some(EndpointTls { ca: Some(ours.file()), ..EndpointTls::default() });
    let reason = until(&serve(&written), 0, State::Unhealthy).await.reason.unwrap();
    assert!(reason.contains("HTTP/2") || reason.contains("no connection"), "{reason}");
}

#[tokio::test]
async fn a_check_over_http2_without_tls_is_answered_and_http1_is_no_answer() {
    let asked_for = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&asked_for);
    let origin = http2_server(move |mut connection, _| {
        let seen = Arc::clone(&seen);
        async move {
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                assert_eq!((request.method().as_str(), request.uri().path()), ("GET", "/healthz"));
                seen.fetch_add(1, Ordering::SeqCst);
                answer(&mut respond);
            }
        }
    })
    .await;
    let shop = serve(&asked(&[origin], Protocol::H2c, check(page("/healthz"))));
    until_checked(&shop, |(passed, failed)| passed >= 3 && failed == 0).await;
    assert!(asked_for.load(Ordering::SeqCst) >= 3);
    for then in [Then::Close, Then::Wait, Then::Repeat] {
        let http1 = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", then).await;
        let shop = serve(&asked(&[http1], Protocol::H2c, check(page("/healthz"))));
        let reason = until(&shop, 0, State::Unhealthy).await.reason.unwrap();
        assert!(reason.contains("no answer"), "{then:?}: {reason}");
        assert_eq!(checks(&shop).0, 0, "{then:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_sends_http2_frames_without_an_end_is_left_soon() {
    // Its settings, again and again: legal, and never an answer.
    let flood = raw(b"\0\0\0\x04\0\0\0\0\0", Then::Repeat).await;
    let shop = serve(&asked(&[flood], Protocol::H2c, check(page("/"))));
    let reason = until(&shop, 0, State::Unhealthy).await.reason.unwrap();
    assert!(reason.contains("no answer over HTTP/2"), "{reason}");
}

/// A gRPC server that answers a health check with this message and status.
async fn grpc_health(message: &'static [u8], code: &'static str) -> SocketAddr {
    http2_server(move |mut connection, _| async move {
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            drop(tokio::spawn(async move {
                assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                assert_eq!(request.headers()["te"], "trailers");
                let mut asked = Vec::new();
                let mut body = request.into_body();
                while let Some(Ok(piece)) = body.data().await {
                    asked.extend_from_slice(&piece);
                }
                assert_eq!(asked, b"\0\0\0\0\x06\x0a\x04shop");
                let head = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
                let mut stream = respond.send_response(head, false).unwrap();
                stream.send_data(Bytes::from_static(message), false).unwrap();
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", code.parse().unwrap());
                stream.send_trailers(trailers).unwrap();
            }));
        }
    })
    .await
}

#[tokio::test]
async fn the_grpc_health_protocol_passes_where_it_says_serving() {
    let ask = || check(HealthQuestion::Grpc("shop".into()));
    let serving = grpc_health(b"\0\0\0\0\x02\x08\x01", "0").await;
    let shop = serve(&asked(&[serving], Protocol::H2c, ask()));
    until_checked(&shop, |(passed, failed)| passed >= 3 && failed == 0).await;
    for (message, code, told) in [
        (&b"\0\0\0\0\x02\x08\x02"[..], "0", "NOT_SERVING"),
        (b"", "5", "NOT_FOUND"),
        (b"", "12", "UNIMPLEMENTED"),
        (b"nonsense", "0", "no health message"),
        (&[0; 5_000], "0", "longer than"),
    ] {
        let shop = serve(&asked(&[grpc_health(message, code).await], Protocol::H2c, ask()));
        let reason = until(&shop, 0, State::Unhealthy).await.reason.unwrap();
        assert!(reason.contains(told), "{reason}");
    }
    let plain = http2_server(|mut connection, _| async move {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            answer(&mut respond);
        }
    })
    .await;
    let shop = serve(&asked(&[plain], Protocol::H2c, ask()));
    let reason = until(&shop, 0, State::Unhealthy).await.reason.unwrap();
    assert!(reason.contains("not gRPC"), "{reason}");
}

#[tokio::test]
async fn a_unix_socket_is_asked_as_others_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("v1.sock");
    let listener = UnixListener::bind(&path).unwrap();
    drop(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let count = stream.read(&mut head).await.unwrap();
            assert!(head[..count].starts_with(b"GET /up HTTP/1.1\r\nHost: localhost\r\n"));
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        }
    }));
    let mut written = asked(&[nobody()], Protocol::H1, check(page("/up")));
    written.services[0].versions[0].endpoints = vec![config::Endpoint::Unix(path)];
    let shop = serve(&written);
    until_checked(&shop, |(passed, failed)| passed >= 3 && failed == 0).await;
}

#[tokio::test]
async fn a_connection_that_is_refused_is_told_so() {
    let shop = serve(&asked(&[nobody()], Protocol::H1, check(HealthQuestion::Connect)));
    let reason = until(&shop, 0, State::Unhealthy).await.reason.unwrap();
    assert_eq!(reason, "its health check fails: no connection: refused");
    let routing = shop.publisher.shared().load_full();
    assert!(is_panicking(&routing.service(&name("shop")).unwrap().stable().endpoints, Instant::now()));
}

#[tokio::test]
async fn one_of_three_endpoints_that_fails_is_ejected_and_charged_to_its_version() {
    for setting in [
        Setting { errors: Fraction::new(1.0).unwrap(), ..Setting::default() },
        Setting { behaviour: Behaviour::Reset, ..Setting::default() },
    ] {
        let mut origins = Vec::new();
        for version in ["a", "b", "c"] {
            origins.push(Origin::start(version, OriginOptions::default()).await.unwrap());
        }
        let mut written = configuration(&origins.iter().map(Origin::address).collect::<Vec<_>>(), &[nobody()], "");
        written.services[0].versions[0].ejection.as_mut().unwrap().first = Duration::from_secs(3600);
        let shop = serve(&written);
        origins[2].dial().set(setting);
        let mut sent = 0;
        let until = Instant::now() + LONG;
        while endpoints(&shop)[2].standing(Instant::now()).state != State::Ejected {
            assert!(Instant::now() < until, "never ejected");
            get(shop.address()).await;
            sent += 1;
        }
        for _ in 0..50 {
            assert_eq!(status(&get(shop.address()).await), 200);
        }
        let tally = shop.tally_until("v1", |tally| tally.requests() == sent + 50).await;
        let failed = judged(&tally, Class::ServerError) + judged(&tally, Class::Reset);
        assert_eq!(failed, 5, "{setting:?}: {tally:?}");
    }
}
