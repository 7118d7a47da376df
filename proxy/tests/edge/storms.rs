//! Many failures at once: what is tried again, and what is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use config::{Fraction, Protocol, Retries, Rules};
use futures::future::join_all;
use http_body_util::Full;
use hyper::Request;
use loadtest::{Behaviour, Latency, Origin, Setting};

use crate::fixture::{LONG, Shop, get, http2, nobody, status};
use crate::http2::http2_server;
use crate::sparing::{origin, raw, spared};

#[tokio::test]
async fn a_storm_of_failures_at_every_endpoint_adds_less_than_three_tenths_to_the_traffic() {
    let asked = Arc::new(AtomicU64::new(0));
    let origin = || {
        let asked = Arc::clone(&asked);
        http2_server(move |mut connection, _| {
            let asked = Arc::clone(&asked);
            async move {
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let mut response = hyper::Response::new(());
                    if asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
                        *response.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
                    }
                    let _ = respond.send_response(response, true);
                }
            }
        })
    };
    let (one, other) = (origin().await, origin().await);
    let mut shop = spared(&[one, other], &[nobody()], |configuration| {
        configuration.services[0].versions.iter_mut().for_each(|version| version.protocol = Protocol::H2c);
    });
    shop.split(0);
    let mut client = http2(shop.address()).await;
    let mut failed = 0_u64;
    for _ in 0..500 {
        let request = Request::get("http://shop/").body(Full::new(Bytes::new())).unwrap();
        let response = tokio::time::timeout(LONG, client.send_request(request)).await.unwrap().unwrap();
        failed += u64::from(response.status() == 503);
    }
    let upstream = asked.load(Ordering::Relaxed);
    assert!((550..650).contains(&upstream), "{upstream} requests for 500 of the client's");
    shop.idle("v1").await;
    assert_eq!(shop.refused_retries(), failed, "whatever was passed on was so for want of a budget");
}

/// Three endpoints of v1 that take a second for each answer, and do this. 150 requests are sent there at once.
async fn under_way(behaviour: Behaviour, retries: Retries) -> (Shop, [Origin; 3], impl Future<Output = Vec<String>>) {
    let origins = [origin("a").await, origin("b").await, origin("c").await];
    for origin in &origins {
        let latency = Latency::fixed(Duration::from_secs(1));
        origin.dial().set(Setting { latency, behaviour, ..Setting::default() });
    }
    let addresses = origins.each_ref().map(Origin::address);
    let mut shop = spared(&addresses, &[nobody()], |configuration| {
        configuration.rules = Rules::default().into();
        configuration.services[0].retries = retries;
    });
    shop.split(0);
    let address = shop.address();
    let answers = tokio::spawn(join_all((0..150).map(move |_| get(address))));
    let until = Instant::now() + LONG;
    while origins.iter().map(|origin| origin.arrivals().requests).sum::<u64>() < 150 {
        assert!(Instant::now() < until, "not all came");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    (shop, origins, async move { answers.await.unwrap() })
}

#[tokio::test]
async fn whatever_is_under_way_at_an_endpoint_that_is_killed_is_answered_by_the_others() {
    let (shop, origins, answers) = under_way(Behaviour::Serve, Retries::default()).await;
    let lost = origins[0].arrivals().in_progress;
    // More than a fifth of all requests, and than the few that are always allowed.
    assert!(lost > 35, "{lost}");
    origins[0].dial().set_behaviour(Behaviour::Refuse);
    let answers = answers.await;
    let failed: Vec<_> = answers.iter().filter(|answer| status(answer) != 200).collect();
    assert!(failed.is_empty(), "{} of {lost}: {failed:?}", failed.len());
    let came: u64 = origins.iter().map(|origin| origin.arrivals().requests).sum();
    assert_eq!(came, 150 + lost, "each that was lost was sent once more");
    shop.idle("v1").await;
}

#[tokio::test]
async fn where_an_operator_wants_nothing_tried_again_nothing_is_whoever_else_is_well() {
    let retries = Retries { budget: Fraction::new(0.0).unwrap(), floor: 0, ..Retries::default() };
    let (shop, origins, answers) = under_way(Behaviour::Serve, retries).await;
    let lost = origins[0].arrivals().in_progress;
    origins[0].dial().set_behaviour(Behaviour::Refuse);
    let failed = answers.await.iter().filter(|answer| status(answer) == 502).count() as u64;
    assert!(lost > 35 && failed == lost, "{failed} of {lost}");
    shop.idle("v1").await;
}

/// Where nobody is well, asking again only makes it worse.
#[tokio::test]
async fn where_every_endpoint_fails_no_more_is_tried_again_than_the_budget_has() {
    let (shop, origins, answers) = under_way(Behaviour::Reset, Retries::default()).await;
    let answers = answers.await;
    assert!(answers.iter().all(|answer| status(answer) == 502), "{answers:?}");
    let came: u64 = origins.iter().map(|origin| origin.arrivals().requests).sum();
    // Without a budget there would be 450. It has 30; and until the third endpoint is known to be ill, what was under way
    // at the other two is tried again there, once.
    assert!((180..=280).contains(&came), "{came} for 150");
    shop.idle("v1").await;
}

/// A canary that fails for a while takes no retry from the users of a stable one of whose endpoints fails next.
#[tokio::test]
async fn an_endpoint_that_breaks_after_a_canary_did_costs_its_users_no_answer() {
    let origins = [origin("a").await, origin("b").await, origin("c").await];
    let v2 = raw("500 Oops").await;
    let addresses = origins.each_ref().map(Origin::address);
    let mut shop = spared(&addresses, &[v2.address()], |configuration| {
        let v1 = &mut configuration.services[0].versions[0];
        // Whoever was slow once is asked like the others.
        (v1.ejection, v1.balance) = (None, config::Balance::LeastRequests);
    });
    for _ in 0..600 {
        assert_eq!(status(&get(shop.address()).await), 200);
    }
    shop.split(0);
    origins[0].dial().set_behaviour(Behaviour::Reset);
    for number in 0..160 {
        let answer = get(shop.address()).await;
        assert_eq!(status(&answer), 200, "{number}, {} of them there: {answer}", origins[0].arrivals().bad);
    }
    assert!(origins[0].arrivals().bad > 32, "more than the few that are always allowed: {:?}", origins[0].arrivals());
}
