//! Connections that are opened ahead: by the origin's count, the very ones that the first requests use.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use config::{Configuration, Protocol};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use meter::Tally;
use proxy::client_stream::ClientTimeouts;
use proxy::endpoint::State;
use proxy::routing::Wanted;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Barrier;

use crate::certificates::{Authority, acceptor};
use crate::endpoints::believing;
use crate::fixture::{LONG, Shop, addresses, configuration, get, name, nobody, status};

/// How many requests come together.
const TOGETHER: usize = 4;

/// An origin that counts its connections, and answers requests once so many have come together.
struct Counted {
    address: SocketAddr,
    /// Connections that are ready for a request.
    ready: Arc<AtomicU64>,
}

impl Counted {
    /// Behind this TLS, if any.
    async fn start(tls: Option<(&Authority, &[&str])>) -> Self {
        let acceptor = tls.map(|(authority, protocols)| acceptor(&authority.sign("localhost"), protocols, None));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ready, together) = (Arc::new(AtomicU64::new(0)), Arc::new(Barrier::new(TOGETHER)));
        let made = Arc::clone(&ready);
        drop(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, made, together) = (acceptor.clone(), Arc::clone(&made), Arc::clone(&together));
                drop(tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, &made, together).await,
                        Some(acceptor) => {
                            // Where the handshake fails the count will tell.
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, &made, together).await;
                            }
                        }
                    }
                }));
            }
        }));
        Self { address, ready }
    }

    fn connections(&self) -> u64 {
        self.ready.load(Ordering::SeqCst)
    }

    /// Waits for so many, and sees to it that there are no more.
    async fn has(&self, wanted: u64) {
        until(|| self.connections() >= wanted, "connections").await;
        assert_eq!(self.connections(), wanted);
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, made: &AtomicU64, together: Arc<Barrier>) {
    made.fetch_add(1, Ordering::SeqCst);
    let answer = service_fn(move |_: Request<hyper::body::Incoming>| {
        let together = Arc::clone(&together);
        async move {
            together.wait().await;
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("v2"))))
        }
    });
    drop(auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await);
}

async fn until(is: impl Fn() -> bool, what: &str) {
    let until = Instant::now() + LONG;
    while !is() {
        assert!(Instant::now() < until, "{what} never came");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// v1 is nobody; v2 is this origin, spoken to so.
fn shop(origin: &Counted, protocol: Protocol, tls: Option<&Authority>, warm_start: u32) -> Configuration {
    let mut configuration = configuration(&[nobody()], &[origin.address], "");
    let v2 = &mut configuration.services[0].versions[1];
    (v2.protocol, v2.warm_start) = (protocol, warm_start);
    if let Some(authority) = tls {
        v2.endpoints = vec![config::Endpoint::Tcp { host: "localhost".into(), port: origin.address.port(), tls: true }];
        v2.tls = Some(believing(authority));
    }
    configuration
}

fn on_one_core(configuration: &Configuration) -> Shop {
    Shop::serve(1, 0, configuration, ClientTimeouts::default())
}

/// So many requests together, all of which must be answered.
async fn ask(shop: &Shop) {
    let address = shop.address();
    let asked: Vec<_> = (0..TOGETHER).map(|_| tokio::spawn(get(address))).collect();
    for answer in asked {
        assert_eq!(status(&answer.await.unwrap()), 200);
    }
}

fn nothing_happened(tally: &Tally) -> bool {
    tally.drawn.all == 0 && tally.attempts.iter().flatten().all(|count| *count == 0)
}

#[tokio::test]
async fn the_first_requests_of_a_version_find_their_connections_made_whatever_is_spoken() {
    let authority = Authority::new();
    for (protocol, alpn) in [
        (Protocol::H1, None),
        (Protocol::H2c, None),
        (Protocol::H1, Some(&["http/1.1"][..])),
        (Protocol::H2, Some(&["h2"][..])),
    ] {
        let tls = alpn.map(|alpn| (&authority, alpn));
        let origin = Counted::start(tls).await;
        let mut shop = on_one_core(&shop(&origin, protocol, tls.map(|(authority, _)| authority), 4));
        assert_eq!(origin.connections(), 0, "it has no share yet");
        shop.split(100);
        origin.has(4).await;
        // They wait for their request when everything that is under way here has been done.
        until(|| shop.publisher.opening_ahead() == 0, "the end of the warm start").await;
        assert!(nothing_happened(&shop.tally("v2")), "{protocol:?}");
        ask(&shop).await;
        assert_eq!(origin.connections(), 4, "{protocol:?} {alpn:?}");
        shop.idle("v2").await;
    }
}

#[tokio::test]
async fn without_a_warm_start_each_of_the_first_requests_makes_its_own() {
    for protocol in [Protocol::H1, Protocol::H2c] {
        let origin = Counted::start(None).await;
        let mut shop = on_one_core(&shop(&origin, protocol, None, 0));
        shop.split(100);
        ask(&shop).await;
        assert_eq!(origin.connections(), 4, "{protocol:?}");
        shop.idle("v2").await;
    }
}

#[tokio::test]
async fn what_waits_already_is_not_made_again_and_what_is_missing_is_where_the_share_grows_much() {
    for protocol in [Protocol::H1, Protocol::H2c] {
        let origin = Counted::start(None).await;
        let mut configuration = shop(&origin, protocol, None, 2);
        let mut shop = on_one_core(&configuration);
        let settled = async |shop: &Shop| until(|| shop.publisher.opening_ahead() == 0, "the end").await;
        for percent in [1, 2, 3, 50, 0, 50] {
            shop.split(percent);
            settled(&shop).await;
        }
        origin.has(2).await;
        // A reload asks for more, and by itself opens none.
        configuration.services[0].versions[1].warm_start = 3;
        let v2 = name("v2");
        let weight = config::Weight::from_basis_points(5_000).unwrap();
        let (v1, paths) = (name("v1"), []);
        let wanted = Wanted {
            stable: &v1,
            canary: Some((&v2, weight)),
            baseline: None,
            matched: None,
            mirror: None,
            paths: &paths,
            generation: 2,
        };
        let publisher = &mut shop.publisher;
        publisher.install(&configuration, &addresses(&configuration), |_| Some(wanted.clone()), Instant::now());
        settled(&shop).await;
        origin.has(2).await;
        shop.split(100);
        settled(&shop).await;
        origin.has(3).await;
    }
}

#[tokio::test]
async fn an_address_that_a_name_gets_has_its_connections_opened_ahead() {
    let (known, new) = (Counted::start(None).await, Counted::start(None).await);
    let configuration = shop(&known, Protocol::H1, None, 2);
    let mut shop = on_one_core(&configuration);
    shop.split(50);
    known.has(2).await;
    let written = configuration.services[0].versions[1].endpoints[0].clone();
    let changed = [(written, Arc::from([known.address, new.address]))].into_iter().collect();
    shop.publisher.readdress(&changed, Instant::now());
    new.has(2).await;
    until(|| shop.publisher.opening_ahead() == 0, "the end").await;
    assert_eq!((known.connections(), new.connections()), (2, 2), "those that wait already are not made again");
}

#[tokio::test]
async fn connections_are_opened_for_a_split_that_is_about_to_come_and_no_request_goes_there_before() {
    let origin = Counted::start(None).await;
    let shop = on_one_core(&shop(&origin, Protocol::H1, None, 4));
    let (v1, v2) = (name("v1"), name("v2"));
    let weight = config::Weight::from_basis_points(10_000).unwrap();
    let wanted = Wanted {
        stable: &v1,
        canary: Some((&v2, weight)),
        baseline: None,
        matched: None,
        mirror: None,
        paths: &[],
        generation: 2,
    };
    shop.publisher.prepare(&name("shop"), &wanted);
    origin.has(4).await;
    assert_eq!(status(&get(shop.address()).await), 502, "v1 is nobody");
    assert!(nothing_happened(&shop.tally("v2")));
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_connected_to_is_down_before_a_user_finds_out_and_nothing_is_counted() {
    for protocol in [Protocol::H1, Protocol::H2c] {
        let mut configuration = configuration(&[nobody()], &[nobody()], "");
        let v2 = &mut configuration.services[0].versions[1];
        (v2.protocol, v2.warm_start) = (protocol, 4);
        let mut shop = on_one_core(&configuration);
        shop.split(1);
        let routing = shop.publisher.shared().load_full();
        let v2 = routing.service(&name("shop")).unwrap().version(&name("v2")).unwrap();
        until(|| v2.endpoints[0].standing(Instant::now()).state == State::Down, "the end of hope").await;
        assert!(nothing_happened(&shop.tally("v2")));
    }
}

#[tokio::test]
async fn a_version_of_many_endpoints_gets_no_more_than_64_connections_ahead() {
    let origin = Counted::start(None).await;
    let mut configuration = shop(&origin, Protocol::H1, None, 16);
    let v2 = &mut configuration.services[0].versions[1];
    // All of them are one origin by different names.
    let named =
        |place| config::Endpoint::Tcp { host: format!("v2-{place}.test"), port: origin.address.port(), tls: false };
    v2.endpoints = (0..10).map(named).collect();
    let mut shop = Shop::serve(2, 0, &configuration, ClientTimeouts::default());
    shop.split(100);
    until(|| shop.publisher.opening_ahead() == 0 && origin.connections() >= 64, "64 connections").await;
    origin.has(64).await;
}
