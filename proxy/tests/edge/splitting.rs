//! Who gets which version.

use config::Timeouts;
use loadtest::{Origin, OriginOptions};
use proxy::client_stream::ClientTimeouts;

use crate::fixture::{Shop, exchange, get};

async fn two() -> (Origin, Origin) {
    let origin = |name| Origin::start(name, OriginOptions::default());
    (origin("v1").await.unwrap(), origin("v2").await.unwrap())
}

fn shop_with(v1: &Origin, v2: &Origin, percent: u16, more: &str) -> Shop {
    let (upstream, client) = (Timeouts::default(), ClientTimeouts::default());
    Shop::open_with(&[v1.address()], &[v2.address()], percent, more, upstream, client)
}

#[tokio::test]
async fn weight_nothing_is_nobody_and_weight_all_is_everybody() {
    let (v1, v2) = two().await;
    let mut shop = shop_with(&v1, &v2, 0, "");
    for _ in 0..30 {
        assert!(get(shop.address()).await.ends_with("v1\n"));
    }
    shop.split(100);
    for _ in 0..30 {
        assert!(get(shop.address()).await.ends_with("v2\n"));
    }
}

#[tokio::test]
async fn a_user_known_by_a_cookie_stays_on_one_version_and_only_joins_the_canary_as_it_grows() {
    let (v1, v2) = two().await;
    let mut shop = shop_with(&v1, &v2, 0, "    affinity: { cookie: session }");
    let mut on_canary = [false; 40];
    for percent in [10, 40, 80, 100] {
        shop.split(percent);
        for (user, was_on_canary) in on_canary.iter_mut().enumerate() {
            let request = format!(
                "GET / HTTP/1.1\r\nhost: shop\r\ncookie: a=b; session=user-{user}\r\nconnection: close\r\n\r\n"
            );
            let first = exchange(shop.address(), request.as_bytes()).await.ends_with("v2\n");
            let second = exchange(shop.address(), request.as_bytes()).await.ends_with("v2\n");
            assert_eq!(first, second, "user {user} changed version at {percent} %");
            assert!(first || !*was_on_canary, "user {user} left the canary as it grew to {percent} %");
            *was_on_canary = first;
        }
    }
    assert_eq!(on_canary, [true; 40]);
}

#[tokio::test]
async fn clients_known_by_their_address_see_one_version() {
    let (v1, v2) = two().await;
    let shop = shop_with(&v1, &v2, 50, "    affinity: client-address");
    let first = get(shop.address()).await;
    for _ in 0..30 {
        assert_eq!(get(shop.address()).await.ends_with("v2\n"), first.ends_with("v2\n"));
    }
}

#[tokio::test]
async fn without_affinity_a_half_is_about_a_half() {
    let (v1, v2) = two().await;
    let shop = shop_with(&v1, &v2, 50, "");
    for _ in 0..200 {
        get(shop.address()).await;
    }
    let canary = v2.arrivals().requests;
    // 100 expected; outside of 55 to 145 once in ten thousand million runs.
    assert!((55..=145).contains(&canary), "{canary}");
}
