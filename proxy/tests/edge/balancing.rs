//! Which endpoint a request comes to, and what becomes of one for which there is no room.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Instant;

use config::{Balance, HashKey, InFlightLimits};
use futures::future::try_join_all;
use loadtest::{Origin, OriginOptions};
use meter::{Attempt, Class};
use proxy::client_stream::ClientTimeouts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{LONG, Shop, configuration, exchange, get, judged, name, status};

async fn origins<const COUNT: usize>() -> [Origin; COUNT] {
    let started = (0..COUNT).map(|_| Origin::start("origin", OriginOptions::default()));
    let started: Vec<Origin> = try_join_all(started).await.unwrap();
    started.try_into().unwrap_or_else(|_| unreachable!())
}

fn serve(v1: &[SocketAddr], v2: &[SocketAddr], percent: u16, limits: [InFlightLimits; 2], balance: &Balance) -> Shop {
    let mut configuration = configuration(v1, v2, "");
    for (version, limits) in configuration.services[0].versions.iter_mut().zip(limits) {
        version.limits = limits;
        version.balance = balance.clone();
    }
    Shop::serve(2, percent, &configuration, ClientTimeouts::default())
}

fn at_most(requests: u32) -> InFlightLimits {
    InFlightLimits { requests: Some(requests), per_endpoint: None }
}

fn at_each(requests: u32) -> InFlightLimits {
    InFlightLimits { requests: None, per_endpoint: Some(requests) }
}

const UNLIMITED: InFlightLimits = InFlightLimits { requests: None, per_endpoint: None };

/// A request that stays where it is until its body is sent.
async fn hold(shop: &Shop, version: &str) -> TcpStream {
    let before = in_flight(shop, version);
    let mut stream = TcpStream::connect(shop.address()).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: 1\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let until = Instant::now() + LONG;
    while in_flight(shop, version) <= before {
        assert!(Instant::now() < until, "the request never came to {version}");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    stream
}

async fn let_go(mut stream: TcpStream) -> u16 {
    stream.write_all(b"x").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    status(&answer)
}

fn in_flight(shop: &Shop, version: &str) -> u64 {
    let routing = shop.publisher.shared().load_full();
    let version = routing.service(&name("shop")).unwrap().version(&name(version)).unwrap();
    version.endpoints.iter().map(|endpoint| endpoint.in_flight()).sum()
}

fn overflows(shop: &Shop, version: &str) -> u64 {
    let routing = shop.publisher.shared().load_full();
    routing.service(&name("shop")).unwrap().version(&name(version)).unwrap().balancer.overflows()
}

#[tokio::test]
async fn what_is_too_much_for_a_canary_is_served_by_stable_and_not_judged() {
    for limits in [at_most(1), at_each(1)] {
        let [v1, v2] = origins().await;
        let shop = serve(&[v1.address()], &[v2.address()], 100, [UNLIMITED, limits], &Balance::default());
        let held = hold(&shop, "v2").await;
        for _ in 0..3 {
            let answer = get(shop.address()).await;
            assert_eq!(status(&answer), 200, "{answer}");
        }
        assert_eq!((overflows(&shop, "v2"), overflows(&shop, "v1")), (3, 0));
        assert_eq!((v1.arrivals().requests, v2.arrivals().requests), (3, 1));
        assert_eq!(let_go(held).await, 200);
        shop.idle("v2").await;
        assert_eq!(status(&get(shop.address()).await), 200);
        assert_eq!(v2.arrivals().requests, 2, "there is room again");
        let tally = shop.tally_until("v2", |tally| tally.requests() == 2).await;
        assert_eq!(judged(&tally, Class::Success), 2, "{tally:?}");
        assert_eq!(tally.attempts[Attempt::First as usize][Class::Local as usize], 3, "counted and not judged");
        let tally = shop.tally("v1");
        assert_eq!(tally.requests(), 0, "nor are they stable's: {tally:?}");
        assert_eq!(tally.attempts[Attempt::Shield as usize][Class::Success as usize], 3, "{tally:?}");
    }
}

#[tokio::test]
async fn what_is_too_much_for_stable_is_told_to_come_again_in_a_second_and_is_nobodys_failure() {
    for limits in [at_most(1), at_each(1)] {
        let [v1, v2] = origins().await;
        let shop = serve(&[v1.address()], &[v2.address()], 0, [limits, UNLIMITED], &Balance::default());
        let held = hold(&shop, "v1").await;
        let answer = get(shop.address()).await;
        assert_eq!(status(&answer), 503, "{answer}");
        assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
        assert!(answer.contains("as many requests under way as its limits allow"), "{answer}");
        assert_eq!(overflows(&shop, "v1"), 1);
        assert_eq!(shop.responses(Class::Local), 1);
        assert_eq!(let_go(held).await, 200);
        shop.idle("v1").await;
        assert_eq!(status(&get(shop.address()).await), 200);
        let tally = shop.tally_until("v1", |tally| tally.requests() == 2).await;
        assert_eq!(judged(&tally, Class::Success), 2, "{tally:?}");
        assert_eq!(v2.arrivals().requests, 0);
    }
}

#[tokio::test]
async fn where_nobody_has_room_the_canary_is_not_charged_for_it_either() {
    let [v1, v2] = origins().await;
    let mut shop = serve(&[v1.address()], &[v2.address()], 0, [at_most(1), at_most(1)], &Balance::default());
    let of_stable = hold(&shop, "v1").await;
    shop.split(100);
    let of_canary = hold(&shop, "v2").await;
    assert_eq!(status(&get(shop.address()).await), 503);
    assert_eq!((overflows(&shop, "v1"), overflows(&shop, "v2")), (1, 1));
    assert_eq!((let_go(of_stable).await, let_go(of_canary).await), (200, 200));
    let tally = shop.tally_until("v2", |tally| tally.requests() == 1).await;
    assert_eq!(judged(&tally, Class::Success), 1, "{tally:?}");
}

#[tokio::test]
async fn an_endpoint_at_its_limit_leaves_the_request_to_another() {
    let [one, other, v2] = origins().await;
    let v1 = [one.address(), other.address()];
    let shop = serve(&v1, &[v2.address()], 0, [at_each(1), UNLIMITED], &Balance::default());
    let held = hold(&shop, "v1").await;
    for _ in 0..5 {
        assert_eq!(status(&get(shop.address()).await), 200);
    }
    let mut requests = [one.arrivals().requests, other.arrivals().requests];
    requests.sort_unstable();
    assert_eq!((requests, overflows(&shop, "v1")), ([1, 5], 0));
    assert_eq!(let_go(held).await, 200);
}

#[tokio::test]
async fn requests_with_the_same_key_come_to_the_same_endpoint() {
    let origins: [Origin; 4] = origins().await;
    let v1: Vec<SocketAddr> = origins.iter().map(Origin::address).collect();
    for (key, line) in [
        (HashKey::Header("x-user".into()), "GET / HTTP/1.1\r\nx-user: N"),
        (HashKey::Cookie("id".into()), "GET / HTTP/1.1\r\ncookie: a=b; id=N"),
        (HashKey::Path, "GET /users/N?x=y HTTP/1.1"),
    ] {
        let shop = serve(&v1, &v1[..1], 0, [UNLIMITED, UNLIMITED], &Balance::Hash(key.clone()));
        let mut homes = HashSet::new();
        for user in 0..12 {
            let before: Vec<u64> = origins.iter().map(|origin| origin.arrivals().requests).collect();
            for _ in 0..3 {
                let request =
                    format!("{}\r\nhost: shop\r\nconnection: close\r\n\r\n", line.replace('N', &user.to_string()));
                assert_eq!(status(&exchange(shop.address(), request.as_bytes()).await), 200);
                // One under way elsewhere would count against the bound.
                shop.idle("v1").await;
            }
            let came: Vec<u64> = origins.iter().zip(before).map(|(o, before)| o.arrivals().requests - before).collect();
            assert_eq!(came.iter().filter(|came| **came > 0).count(), 1, "{key:?}: {came:?}");
            homes.insert(came);
        }
        assert!(homes.len() > 1, "{key:?}: not all at the same");
    }
}
