//! An endpoint that takes requests and answers none of them.

use std::time::{Duration, Instant};

use config::Ejection;
use futures::future::join_all;
use loadtest::{Behaviour, Latency, Origin, Setting};
use meter::{Attempt, Class};
use proxy::endpoint::{Standing, State};

use crate::fixture::{Shop, exchange, get, judged, name, status};
use crate::sparing::{counted, origin, spared};

/// Everything is on v1, which has these two endpoints, and a service that waits 15 s for a first byte.
async fn serve(ejection: Option<Ejection>) -> (Shop, Origin, Origin) {
    let (ill, well) = (origin("ill").await, origin("well").await);
    let mut shop = spared(&[ill.address(), well.address()], &[crate::fixture::nobody()], |configuration| {
        configuration.rules = config::Rules::default().into();
        configuration.services[0].versions[0].ejection = ejection;
    });
    shop.split(0);
    // It is known how long their answers take.
    while [&ill, &well].iter().any(|origin| origin.arrivals().requests < 5) {
        assert_eq!(status(&get(shop.address()).await), 200);
    }
    (shop, ill, well)
}

fn standing(shop: &Shop, place: usize) -> Standing {
    let routing = shop.publisher.shared().load_full();
    let version = routing.service(&name("shop")).unwrap().version(&name("v1")).unwrap();
    version.endpoints[place].standing(Instant::now())
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_left_alone_and_who_waits_there_is_answered_by_another() {
    let (shop, ill, _well) = serve(Some(Ejection::default())).await;
    ill.dial().set_behaviour(Behaviour::Hang);
    let began = Instant::now();
    let answers = join_all((0..30).map(|_| get(shop.address()))).await;
    assert!(answers.iter().all(|answer| status(answer) == 200 && answer.ends_with("well\n")), "{answers:?}");
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    let standing = standing(&shop, 0);
    assert_eq!(standing.state, State::Ejected, "{standing:?}");
    assert_eq!(standing.reason.as_deref(), Some("it hangs: requests get no answer there"));
    assert!(ill.arrivals().bad >= 2, "{:?}", ill.arrivals());
    shop.idle("v1").await;
}

/// More than the budget for retries has: the others are well, and it is their work from now on.
#[tokio::test]
async fn hundreds_that_wait_at_an_endpoint_that_hangs_are_all_answered_by_another() {
    let (shop, ill, well) = serve(Some(Ejection::default())).await;
    ill.dial().set_behaviour(Behaviour::Hang);
    well.dial().set_latency(Latency::fixed(Duration::from_secs(1)));
    let answers = join_all((0..300).map(|_| get(shop.address()))).await;
    assert!(answers.iter().all(|answer| status(answer) == 200 && answer.ends_with("well\n")), "{answers:?}");
    assert!(ill.arrivals().bad > 90, "{:?}", ill.arrivals());
    shop.idle("v1").await;
}

/// What may have done something is not sent again: its client waits as long as the service does.
#[tokio::test]
async fn a_post_waits_on_where_others_leave() {
    let (shop, ill, _well) = serve(Some(Ejection::default())).await;
    ill.dial().set_behaviour(Behaviour::Hang);
    let post = b"POST / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx";
    let mut posts: Vec<_> = (0..6).map(|_| Box::pin(exchange(shop.address(), post))).collect();
    let answered = join_all((0..30).map(|_| get(shop.address())));
    let both = futures::future::select(answered, join_all(&mut posts));
    let futures::future::Either::Left((answers, _)) = both.await else { panic!("the posts ended first") };
    assert!(answers.iter().all(|answer| status(answer) == 200), "{answers:?}");
    assert_eq!(standing(&shop, 0).state, State::Ejected);
    let waiting = ill.arrivals().in_progress;
    assert!(waiting > 0, "{:?}", ill.arrivals());
    drop(posts);
    shop.idle("v1").await;
}

/// An operator whose reports take long beside everything else says so.
#[tokio::test]
async fn requests_that_take_long_are_waited_for_where_the_operator_says_how_long() {
    for hang in [Some(Duration::from_secs(30)), None] {
        let (shop, ill, well) = serve(Some(Ejection { hang, ..Ejection::default() })).await;
        for origin in [&ill, &well] {
            origin.dial().set(Setting { latency: Latency::fixed(Duration::from_secs(4)), ..Setting::default() });
        }
        let before = ill.arrivals().requests + well.arrivals().requests;
        let answers = join_all((0..8).map(|_| get(shop.address()))).await;
        assert!(answers.iter().all(|answer| status(answer) == 200), "{answers:?}");
        assert_eq!(ill.arrivals().requests + well.arrivals().requests, before + 8, "none was asked for twice");
        assert_eq!((standing(&shop, 0).state, standing(&shop, 1).state), (State::Well, State::Well));
    }
}

/// As where a database stands still that both ask: who may leave leaves, and who has nowhere to go waits and is answered.
#[tokio::test]
async fn a_pause_that_all_versions_share_is_held_against_none_of_them() {
    for is_shared in [true, false] {
        let (v1, one, other) = (origin("v1").await, origin("v2").await, origin("v2").await);
        let mut shop = spared(&[v1.address()], &[one.address(), other.address()], |configuration| {
            configuration.rules = config::Rules::default().into();
        });
        shop.split(50);
        while [&v1, &one, &other].iter().any(|origin| origin.arrivals().requests < 5) {
            assert_eq!(status(&get(shop.address()).await), 200);
        }
        let slow = Setting { latency: Latency::fixed(Duration::from_secs(5)), ..Setting::default() };
        let paused = if is_shared { vec![&v1, &one, &other] } else { vec![&one, &other] };
        paused.iter().for_each(|origin| origin.dial().set(slow));
        let answers = join_all((0..40).map(|_| get(shop.address()))).await;
        assert!(answers.iter().all(|answer| status(answer) == 200), "{answers:?}");
        shop.idle("v2").await;
        let tally = shop.tally("v2");
        assert!(counted(&tally, Attempt::First, Class::Timeout) > 0, "they were counted: {tally:?}");
        assert_eq!(judged(&tally, Class::Timeout) == 0, is_shared, "{tally:?}");
    }
}

/// It is the only one of its version, so it cannot be ejected; and it never showed how long its answers take.
#[tokio::test]
async fn users_of_a_canary_that_hangs_from_its_start_are_answered_by_stable_long_before_their_time_is_over() {
    let (v1, v2) = (origin("v1").await, origin("v2").await);
    v2.dial().set_behaviour(Behaviour::Hang);
    let mut shop = spared(&[v1.address()], &[v2.address()], |configuration| {
        configuration.rules = config::Rules::default().into();
    });
    shop.split(0);
    while v1.arrivals().requests < 5 {
        assert_eq!(status(&get(shop.address()).await), 200);
    }
    shop.split(50);
    let began = Instant::now();
    let answers = join_all((0..20).map(|_| get(shop.address()))).await;
    assert!(answers.iter().all(|answer| status(answer) == 200 && answer.ends_with("v1\n")), "{answers:?}");
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    shop.idle("v2").await;
    let tally = shop.tally("v2");
    let timeouts = counted(&tally, Attempt::First, Class::Timeout);
    assert!(timeouts > 0, "some were drawn to it");
    assert_eq!(judged(&tally, Class::Timeout), timeouts, "charged in full");
    // What may have been done is not done twice.
    let post = b"POST / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx";
    let mut posts: Vec<_> = (0..8).map(|_| Box::pin(exchange(shop.address(), post))).collect();
    let answered = join_all((0..20).map(|_| get(shop.address())));
    let both = futures::future::select(answered, join_all(&mut posts));
    let futures::future::Either::Left((answers, _)) = both.await else { panic!("the posts ended first") };
    assert!(answers.iter().all(|answer| status(answer) == 200), "{answers:?}");
    assert!(v2.arrivals().in_progress > 0, "{:?}", v2.arrivals());
    drop(posts);
    shop.idle("v2").await;
}

/// As where the database stands still at the moment at which a canary gets its first users.
#[tokio::test]
async fn a_pause_that_a_new_canary_shares_with_stable_is_held_against_neither() {
    let (v1, v2) = (origin("v1").await, origin("v2").await);
    let mut shop = spared(&[v1.address()], &[v2.address()], |configuration| {
        configuration.rules = config::Rules::default().into();
    });
    shop.split(0);
    while v1.arrivals().requests < 5 {
        assert_eq!(status(&get(shop.address()).await), 200);
    }
    let slow = Setting { latency: Latency::fixed(Duration::from_secs(5)), ..Setting::default() };
    [&v1, &v2].iter().for_each(|origin| origin.dial().set(slow));
    shop.split(50);
    let answers = join_all((0..40).map(|_| get(shop.address()))).await;
    assert!(answers.iter().all(|answer| status(answer) == 200), "{answers:?}");
    shop.idle("v2").await;
    let tally = shop.tally("v2");
    assert!(counted(&tally, Attempt::First, Class::Timeout) > 0, "they were counted");
    assert_eq!(judged(&tally, Class::Timeout), 0, "they left where others had to wait");
}

/// One request that takes long is none that hangs, however long nobody else asks.
#[tokio::test]
async fn a_request_that_takes_long_is_waited_for_where_it_is() {
    let (shop, ill, well) = serve(Some(Ejection::default())).await;
    for origin in [&ill, &well] {
        origin.dial().set(Setting { latency: Latency::fixed(Duration::from_secs(4)), ..Setting::default() });
    }
    let before = ill.arrivals().requests + well.arrivals().requests;
    assert_eq!(status(&get(shop.address()).await), 200);
    assert_eq!(ill.arrivals().requests + well.arrivals().requests, before + 1);
    assert_eq!((standing(&shop, 0).state, standing(&shop, 1).state), (State::Well, State::Well));
}
