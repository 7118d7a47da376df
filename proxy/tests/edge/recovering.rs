//! Endpoints that are down, and who tries them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::Protocol;
use loadtest::Behaviour;
use proxy::endpoint::{Endpoint, Standing, State};

use crate::certificates::{Authority, SecureOrigin};
use crate::endpoints::{believing, secure};
use crate::fixture::{LONG, Shop, get, name, nobody, status};
use crate::sparing::origin;

fn endpoint(shop: &Shop, version: &str) -> Arc<Endpoint> {
    let routing = shop.publisher.shared().load_full();
    Arc::clone(&routing.service(&name("shop")).unwrap().version(&name(version)).unwrap().endpoints[0])
}

/// Waits until the endpoint of a version stands so.
async fn until(shop: &Shop, version: &str, is_so: impl Fn(&Standing) -> bool) -> Standing {
    let until = Instant::now() + LONG;
    loop {
        let standing = endpoint(shop, version).standing(Instant::now());
        if is_so(&standing) {
            return standing;
        }
        assert!(Instant::now() < until, "{version} never was so: {standing:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A shop whose v2 is down, and has no requests from now on.
async fn left(v1: SocketAddr, v2: SocketAddr) -> Shop {
    let mut shop = Shop::open(&[v1], &[v2], 100);
    while endpoint(&shop, "v2").is_up() {
        assert_eq!(status(&get(shop.address()).await), 200, "stable serves");
    }
    shop.split(0);
    shop
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_well_again_when_it_can_be_reached_though_nobody_asks_it() {
    let (v1, v2) = (origin("v1").await, origin("v2").await);
    v2.dial().set_behaviour(Behaviour::Refuse);
    v2.settled().await;
    let shop = left(v1.address(), v2.address()).await;
    let first = until(&shop, "v2", |standing| standing.state == State::Down).await.next_try;
    // As long as it cannot be reached it is left alone for longer and longer.
    until(&shop, "v2", |standing| standing.next_try > first.map(|at| at + Duration::from_secs(2))).await;
    let standing = until(&shop, "v2", |_| true).await;
    assert_eq!(standing.reason.as_deref(), Some("no connection: refused, nothing listens there"));
    v2.dial().set_behaviour(Behaviour::Serve);
    let back = until(&shop, "v2", |standing| standing.state == State::Well).await;
    assert!(back.share < 1.0, "it begins slowly: {back:?}");
    assert_eq!(v2.arrivals().requests, 0, "nothing was sent there");
}

/// In TLS 1.3 it has its connection, and is told afterwards.
#[tokio::test]
async fn one_that_refuses_our_certificate_stays_down_though_a_connection_can_be_made() {
    let (ours, clients) = (Authority::new(), Authority::new());
    let origin = SecureOrigin::start(&ours.sign("localhost"), &[], Some(&clients)).await;
    let configuration = secure(origin.address.port(), Protocol::H1, believing(&ours));
    let shop = Shop::serve(1, 0, &configuration, proxy::client_stream::ClientTimeouts::default());
    while endpoint(&shop, "v1").is_up() {
        assert_eq!(status(&get(shop.address()).await), 502);
    }
    let first = endpoint(&shop, "v1").standing(Instant::now()).next_try;
    let is_tried = |standing: &Standing| {
        assert_eq!(standing.state, State::Down, "{standing:?}");
        standing.next_try > first.map(|at| at + Duration::from_secs(2))
    };
    let standing = until(&shop, "v1", is_tried).await;
    assert!(standing.reason.as_deref().is_some_and(|why| why.contains("(tls.cert)")), "{standing:?}");
    assert_eq!(status(&get(shop.address()).await), 502);
}

/// Most endpoints died together, so that they are due together: no request may spend all of its attempts on them.
#[tokio::test]
async fn where_most_endpoints_are_down_no_user_tries_one() {
    let (well, back) = (origin("v1").await, origin("v1").await);
    back.dial().set_behaviour(Behaviour::Refuse);
    back.settled().await;
    let mut addresses = vec![well.address(), back.address()];
    addresses.extend((0..10).map(|_| nobody()));
    let shop = Shop::open(&addresses, &[nobody()], 0);
    let endpoints = shop.publisher.shared().load().service(&name("shop")).unwrap().stable().endpoints.clone();
    // As after its first request.
    endpoints[0].connected(Instant::now());
    let until = Instant::now() + LONG;
    // Down, and tried in vain twice.
    let is_tried = |endpoint: &Arc<Endpoint>| {
        let standing = endpoint.standing(Instant::now());
        standing.next_try > standing.since.map(|since| since + Duration::from_secs(6))
    };
    while !endpoints[1..].iter().all(is_tried) {
        assert_eq!(status(&get(shop.address()).await), 200, "another is well");
        assert!(Instant::now() < until, "somebody never was tried");
    }
    back.dial().set_behaviour(Behaviour::Serve);
    while back.arrivals().requests == 0 {
        assert_eq!(status(&get(shop.address()).await), 200);
        assert!(Instant::now() < until, "the one that is back gets no requests");
    }
}
