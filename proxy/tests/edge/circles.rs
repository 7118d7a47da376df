//! Requests that come back.

use std::time::Instant;

use loadtest::{Origin, OriginOptions};
use meter::Class;

use crate::fixture::{Shop, addresses, configuration, get, judged, nobody, status};

#[tokio::test]
async fn a_request_that_comes_back_time_and_again_is_refused() {
    let mut shop = Shop::open(&[nobody()], &[nobody()], 0);
    let itself = configuration(&[shop.address()], &[nobody()], "");
    shop.publisher.install(&itself, &addresses(&itself), |_| None, Instant::now());

    let answer = get(shop.address()).await;

    assert_eq!(status(&answer), 508, "{answer}");
    assert!(answer.contains("goes in circles"), "{answer}");
    let tally = shop.tally_until("v1", |tally| tally.requests() == 3).await;
    assert_eq!(judged(&tally, Class::ServerError), 3, "{tally:?}");
    shop.unmatched_until(1).await;
    shop.idle("v1").await;
}

#[tokio::test]
async fn a_row_of_several_is_no_circle() {
    let origin = Origin::start("v1", OriginOptions::default()).await.unwrap();
    let mut shops = vec![Shop::open(&[origin.address()], &[nobody()], 0)];
    for _ in 0..4 {
        let next = shops[shops.len() - 1].address();
        shops.push(Shop::open(&[next], &[nobody()], 0));
    }
    let answer = get(shops[4].address()).await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(origin.arrivals().requests, 1);
}
