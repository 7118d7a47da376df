//! Where the shield ends: what it costs of the budget, and whom it is not for.

use config::{Forced, Protocol};
use futures::{SinkExt, StreamExt};
use loadtest::RawOrigin;
use meter::{Attempt, Class};
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::fixture::{LONG, exchange, get, judged, nobody, status};
use crate::grpc::origin::{Client, GrpcOrigin, words};
use crate::http2::http2_server;
use crate::sparing::{answer, came, counted, origin, raw, spared};
use crate::tunnels::echo;

#[tokio::test]
async fn what_the_shield_has_used_of_the_budget_is_not_there_for_retries() {
    let (v1, v2): (RawOrigin, RawOrigin) = (raw("503 Busy").await, raw("500 Oops").await);
    let shop = spared(&[v1.address()], &[v2.address()], |configuration| {
        (configuration.services[0].retries.most, configuration.services[0].retries.floor) = (1, 0);
    });
    for _ in 0..50 {
        assert_eq!(status(&get(shop.address()).await), 503);
    }
    // Each was sent to stable in the canary's stead, and none there again: 50 of the 10 that are allowed are used.
    came(&v1, 50).await;
    came(&v2, 50).await;
    shop.idle("v1").await;
    assert_eq!(shop.refused_retries(), 50);
    let stable = shop.tally_until("v1", |tally| tally.attempts[Attempt::Shield as usize].iter().sum::<u64>() == 50);
    assert_eq!(stable.await.requests(), 0);
    assert_eq!(shop.tally_until("v2", |tally| tally.requests() == 50).await.saved, 0);
}

#[tokio::test]
async fn without_the_shield_the_only_endpoint_of_a_canary_is_tried_again_itself() {
    let v1 = origin("v1").await;
    let v2 = RawOrigin::start(vec![answer("503 Busy"), answer("200 OK")]).await.unwrap();
    let shop = spared(&[v1.address()], &[v2.address()], |configuration| configuration.services[0].shield = false);
    assert_eq!(status(&get(shop.address()).await), 200);
    came(&v2, 2).await;
    let canary = shop.tally_until("v2", |tally| counted(tally, Attempt::Retry, Class::Success) == 1).await;
    assert_eq!((judged(&canary, Class::ServerError), v1.arrivals().requests), (1, 0), "{canary:?}");
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_is_not_asked_again_for_the_same_request() {
    let v1 = origin("v1").await;
    let shop = spared(&[v1.address()], &[nobody()], |_| {});
    assert_eq!(status(&get(shop.address()).await), 200);
    let canary = shop.tally_until("v2", |tally| tally.requests() == 1).await;
    let again = counted(&canary, Attempt::Retry, Class::ConnectError);
    assert_eq!((judged(&canary, Class::ConnectError), again), (1, 0), "{canary:?}");
}

#[tokio::test]
async fn who_asks_for_a_version_by_name_sees_what_it_does() {
    let forced = "services: { shop: { forced: { header: x-version, from: [127.0.0.1] }, versions: { v1: { endpoints: ['127.0.0.1:1'] } } } }";
    let forced: Option<Forced> = config::parse(forced, "forced.yaml").unwrap().configuration.services[0].forced.clone();
    let (v1, v2) = (origin("v1").await, raw("500 Oops").await);
    let shop = spared(&[v1.address()], &[v2.address()], |configuration| configuration.services[0].forced = forced);
    let asked =
        |value: &str| format!("GET / HTTP/1.1\r\nhost: shop\r\nx-version: {value}\r\nconnection: close\r\n\r\n");
    for value in ["always", "v2"] {
        let answer = exchange(shop.address(), asked(value).as_bytes()).await;
        assert!(status(&answer) == 500 && answer.ends_with("x\n"), "{value}: {answer}");
    }
    assert_eq!(status(&get(shop.address()).await), 200, "all others are shielded");
    let canary = shop.tally_until("v2", |tally| tally.drawn.ended == 3).await;
    assert_eq!((judged(&canary, Class::ServerError), canary.saved), (1, 1), "{canary:?}");
    came(&v2, 3).await;
}

#[tokio::test]
async fn a_canary_that_answers_an_upgrade_with_5xx_leaves_the_websocket_to_stable() {
    for bad in ["500 Oops", "503 Busy"] {
        let (v1, v2) = (echo().await, raw(bad).await);
        let shop = spared(&[v1], &[v2.address()], |_| {});
        let stream = TcpStream::connect(shop.address()).await.unwrap();
        let (mut socket, response) = client_async("ws://shop/chat", stream).await.unwrap();
        assert_eq!(response.status(), 101, "{bad}");
        socket.send(Message::text("one")).await.unwrap();
        let echoed = tokio::time::timeout(LONG, socket.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(echoed.into_text().unwrap().as_str(), "one");
        socket.close(None).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
        let canary = shop.tally_until("v2", |tally| tally.requests() == 1 && tally.saved == 1).await;
        assert_eq!(judged(&canary, Class::ServerError), 1, "{bad}: {canary:?}");
        came(&v2, 1).await;
    }
}

#[tokio::test]
async fn a_grpc_call_that_the_canary_refuses_before_it_began_is_stables() {
    let v1 = GrpcOrigin::start("v1").await;
    let v2 = http2_server(|mut connection, _| async move {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
        }
    })
    .await;
    let shop = spared(&[v1.address], &[v2], |configuration| {
        configuration.rules = config::Rules::default().into();
        configuration.services[0].versions.iter_mut().for_each(|version| version.protocol = Protocol::H2c);
    });
    let mut client = Client::to(shop.address());
    for _ in 0..5 {
        assert_eq!(client.say(words("hello")).await.unwrap().text, "v1: hello");
    }
    assert_eq!(v1.calls(), 5);
    let canary = shop.tally_until("v2", |tally| tally.requests() == 5 && tally.saved == 5).await;
    assert_eq!(judged(&canary, Class::Reset), 5, "{canary:?}");
}
