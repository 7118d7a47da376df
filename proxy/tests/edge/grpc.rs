//! gRPC through the proxy, by a real client and a real server (tonic).

#[path = "grpc/balance.rs"]
mod balance;
#[path = "grpc/origin.rs"]
pub(crate) mod origin;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use config::{Protocol, Timeouts};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use loadtest::{Latency, Origin, OriginOptions};
use meter::{Attempt, Class};
use proxy::client_stream::ClientTimeouts;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};

use self::origin::{Client, GrpcOrigin, words};
use crate::fixture::{self, LONG, Shop, configuration, judged, nobody};
use crate::http2::{http2_origin, http2_server};

/// All traffic on a v1 that speaks h2c.
async fn shop_with(timeouts: Timeouts) -> (Shop, GrpcOrigin, Client) {
    let v1 = GrpcOrigin::start("v1").await;
    let mut configuration = configuration(&[v1.address], &[nobody()], "");
    configuration.services[0].versions[0].protocol = Protocol::H2c;
    configuration.rules = config::Rules { timeouts, ..config::Rules::default() }.into();
    let shop = Shop::serve(2, 0, &configuration, ClientTimeouts::default());
    let client = Client::to(shop.address());
    (shop, v1, client)
}

async fn shop() -> (Shop, GrpcOrigin, Client) {
    shop_with(Timeouts::default()).await
}

#[tokio::test]
async fn calls_of_every_kind_arrive_and_come_back() {
    let (shop, v1, mut client) = shop().await;
    assert_eq!(client.say(words("hello")).await.unwrap().text, "v1: hello");
    let counted: Vec<_> = client.count(words("more")).await.unwrap().map(|reply| reply.unwrap().text).collect().await;
    assert_eq!(counted, ["v1: begin", "v1: more", "v1: more"]);
    assert_eq!(client.join(&["a", "b", "c"]).await.unwrap().text, "v1: a b c");
    // Each word is answered before the next one is said: nothing waits for the end of anything.
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let mut replies = client.talk(ReceiverStream::new(receive)).await.unwrap();
    for word in ["one", "two", "three"] {
        send.send(words(word)).await.unwrap();
        let reply = tokio::time::timeout(LONG, replies.message()).await.unwrap().unwrap().unwrap();
        assert_eq!(reply.text, format!("v1: {word}"));
    }
    drop(send);
    assert!(replies.message().await.unwrap().is_none());
    let tally = shop.tally_until("v1", |tally| tally.requests() == 4).await;
    assert_eq!((judged(&tally, Class::Success), tally.latency_good.total()), (4, 4), "{tally:?}");
    assert_eq!(v1.calls(), 4);
}

#[tokio::test]
async fn a_call_that_fails_is_an_error_wherever_it_says_so() {
    let (shop, _v1, mut client) = shop().await;
    // In a head that is all of the response.
    let error = client.say(words("fail")).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::Unavailable, "as you wish"));
    // In trailers, after a message.
    let mut replies = client.count(words("fail")).await.unwrap();
    assert_eq!(replies.message().await.unwrap().unwrap().text, "v1: begin");
    assert_eq!(replies.message().await.unwrap_err().code(), Code::Unavailable);
    let tally = shop.tally_until("v1", |tally| tally.requests() == 2).await;
    assert_eq!((judged(&tally, Class::GrpcError), tally.bad()), (2, 2), "{tally:?}");
    shop.idle("v1").await;
    assert_eq!(shop.responses(Class::GrpcError), 2);
}

#[tokio::test]
async fn a_status_that_is_no_failure_of_the_service_is_a_success() {
    let (shop, _v1, mut client) = shop().await;
    assert_eq!(client.say(words("nothing here")).await.unwrap_err().code(), Code::NotFound);
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&tally, Class::Success), tally.bad()), (1, 0), "{tally:?}");
}

#[tokio::test]
async fn a_call_that_hangs_is_answered_with_a_deadline_exceeded_and_is_let_go_upstream() {
    let first_byte = Duration::from_millis(200);
    let (shop, v1, mut client) = shop_with(Timeouts { first_byte, ..Timeouts::default() }).await;
    let error = client.say(words("hang")).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded, "{error:?}");
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!(judged(&tally, Class::Timeout), 1, "{tally:?}");
    until_cancelled(&v1).await;
    // Nothing is left of it for the next call.
    assert_eq!(client.say(words("hello")).await.unwrap().text, "v1: hello");
}

#[tokio::test]
async fn a_stream_may_be_silent_for_longer_than_a_response_once_it_has_begun() {
    let short = Duration::from_millis(100);
    let timeouts = Timeouts { first_byte: short, response: short, total: Some(short), ..Timeouts::default() };
    let (shop, _v1, mut client) = shop_with(timeouts).await;
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let mut replies = client.talk(ReceiverStream::new(receive)).await.unwrap();
    for word in ["one", "two"] {
        tokio::time::sleep(4 * short).await;
        send.send(words(word)).await.unwrap();
        assert_eq!(replies.message().await.unwrap().unwrap().text, format!("v1: {word}"));
    }
    drop(send);
    assert!(replies.message().await.unwrap().is_none());
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!(judged(&tally, Class::Success), 1, "{tally:?}");
    // The length of the session is no latency.
    assert!(tally.latency_good.quantile_us(0.5).unwrap() < 400_000, "{tally:?}");
}

#[tokio::test]
async fn a_deadline_is_passed_on_and_a_version_that_misses_it_has_failed() {
    let timeouts = Timeouts { first_byte: Duration::from_millis(200), ..Timeouts::default() };
    let (shop, v1, mut client) = shop_with(timeouts).await;
    // The client's clock runs while it connects.
    assert_eq!(client.say(words("hello")).await.unwrap().text, "v1: hello");
    // It begins at once, and then keeps silent for longer than it may before its first byte.
    let mut call = Request::new(words("hang"));
    call.set_timeout(Duration::from_millis(800));
    let mut replies = client.count(call).await.unwrap();
    assert_eq!(replies.message().await.unwrap().unwrap().text, "v1: begin");
    // A client that keeps its own deadline.
    assert!(tokio::time::timeout(Duration::from_millis(900), replies.message()).await.is_err());
    drop(replies);
    let passed_on = v1.state.deadline.lock().unwrap().clone();
    assert!(passed_on.is_some_and(|text| text.ends_with(['m', 'u', 'n'])));
    let tally = shop.tally_until("v1", |tally| tally.requests() == 2).await;
    assert_eq!((judged(&tally, Class::GrpcError), tally.bad()), (1, 1), "{tally:?}");
    until_cancelled(&v1).await;
}

#[tokio::test]
async fn a_deadline_that_is_shorter_than_what_the_service_promises_is_the_clients_wish() {
    let (shop, v1, mut client) = shop().await;
    assert_eq!(client.say(words("hello")).await.unwrap().text, "v1: hello");
    let mut call = Request::new(words("hang"));
    call.set_timeout(Duration::from_millis(300));
    let error = client.say(call).await.unwrap_err();
    assert!(matches!(error.code(), Code::DeadlineExceeded | Code::Cancelled), "{error:?}");
    let tally = shop.tally_until("v1", |tally| tally.requests() == 2).await;
    assert_eq!((judged(&tally, Class::ClientAbort), tally.bad()), (1, 0), "{tally:?}");
    until_cancelled(&v1).await;
}

/// Calls over HTTP/2 by hand: the status of HTTP, and what the answer says of gRPC in its head or trailers.
async fn call(shop: &Shop, deadline: &str) -> (u16, Option<String>) {
    let mut client = fixture::http2(shop.address()).await;
    let request = hyper::Request::post("http://shop/x").header("content-type", "application/grpc");
    let request = request.header("te", "trailers").header("grpc-timeout", deadline);
    let response = client.send_request(request.body(Full::new(Bytes::from_static(b"ask"))).unwrap()).await.unwrap();
    let said = |fields: &hyper::HeaderMap| fields.get("grpc-status").map(|code| code.to_str().unwrap().to_owned());
    let (status, head) = (response.status().as_u16(), said(response.headers()));
    let body = response.into_body().collect().await.unwrap();
    (status, head.or_else(|| body.trailers().and_then(said)))
}

/// All traffic on a v1 that speaks h2c and answers every request with this head.
async fn answering(head: fn() -> hyper::Response<()>) -> Shop {
    let v1 = http2_server(move |mut connection, _| async move {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_response(head(), true).unwrap();
        }
    })
    .await;
    let mut configuration = configuration(&[v1], &[nobody()], "");
    configuration.services[0].versions[0].protocol = Protocol::H2c;
    Shop::serve(1, 0, &configuration, ClientTimeouts::default())
}

#[tokio::test]
async fn an_absurd_deadline_harms_no_version_that_hangs_or_says_that_it_has_passed() {
    let mut configuration = configuration(&[http2_origin(true).await], &[nobody()], "");
    configuration.services[0].versions[0].protocol = Protocol::H2c;
    let shop = Shop::serve(1, 0, &configuration, ClientTimeouts::default());
    // The client does not go by itself: it is told what it wished for.
    assert_eq!(call(&shop, "1n").await, (200, Some("4".to_owned())));
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&tally, Class::ClientAbort), tally.bad()), (1, 0), "{tally:?}");
    let exceeded = || {
        let head = hyper::Response::builder().header("content-type", "application/grpc");
        head.header("grpc-status", "4").body(()).unwrap()
    };
    let shop = answering(exceeded).await;
    for (deadline, class) in [("1n", Class::ClientAbort), ("60S", Class::GrpcError)] {
        assert_eq!(call(&shop, deadline).await, (200, Some("4".to_owned())));
        shop.tally_until("v1", |tally| judged(tally, class) == 1).await;
    }
}

#[tokio::test]
async fn a_version_that_waits_for_the_rest_of_a_call_is_not_late() {
    let mut configuration = configuration(&[http2_origin(true).await], &[nobody()], "");
    configuration.services[0].versions[0].protocol = Protocol::H2c;
    configuration.services[0].timeouts.first_byte = Some(Duration::from_millis(200));
    let shop = Shop::serve(1, 0, &configuration, ClientTimeouts::default());
    let (mut client, connection) = {
        let stream = tokio::net::TcpStream::connect(shop.address()).await.unwrap();
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap()
    };
    drop(tokio::spawn(connection));
    // One message, and never the next.
    let first = futures::stream::iter([Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from_static(b"ask")))]);
    let body = StreamBody::new(futures::StreamExt::chain(first, futures::stream::pending()));
    let request = hyper::Request::post("http://shop/x").header("content-type", "application/grpc");
    let response = client.send_request(request.body(body).unwrap()).await.unwrap();
    assert_eq!(response.headers().get("grpc-status").unwrap(), "4");
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&tally, Class::ClientAbort), tally.bad()), (1, 0), "{:?}", tally.judged);
    assert!(tally.latency_good.is_empty(), "nobody waited for it");
}

#[tokio::test]
async fn where_http_1_1_is_spoken_a_deadline_of_grpc_is_no_deadline() {
    let origin = Origin::start("v1", OriginOptions::default()).await.unwrap();
    origin.dial().set_latency(Latency::fixed(Duration::from_millis(1_500)));
    let shop = Shop::open(&[origin.address()], &[nobody()], 0);
    assert_eq!(call(&shop, "1n").await, (200, None));
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&tally, Class::Success), tally.bad()), (1, 0), "{tally:?}");
}

#[tokio::test]
async fn it_is_the_response_that_makes_a_call_of_a_request() {
    // A version that speaks HTTP/2 and knows no gRPC answers whoever says that it does as it answers everybody.
    for (head, class) in [
        ((|| hyper::Response::new(())) as fn() -> hyper::Response<()>, Class::Success),
        (|| hyper::Response::builder().header("content-type", "text/html").body(()).unwrap(), Class::Success),
        (|| hyper::Response::builder().header("grpc-status", "13").body(()).unwrap(), Class::Success),
        (|| hyper::Response::builder().status(404).body(()).unwrap(), Class::ClientError),
        (|| hyper::Response::builder().status(503).body(()).unwrap(), Class::ServerError),
        // And one that says that it is gRPC, and nothing more, has failed as gRPC does.
        (
            || hyper::Response::builder().header("content-type", "application/grpc+proto").body(()).unwrap(),
            Class::GrpcError,
        ),
    ] {
        let shop = answering(head).await;
        call(&shop, "60S").await;
        let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
        assert_eq!(judged(&tally, class), 1, "{:?}: {tally:?}", head());
    }
}

#[tokio::test]
async fn a_call_that_its_client_lets_go_is_let_go_upstream_and_is_no_failure() {
    let (shop, v1, mut client) = shop().await;
    let call = tokio::spawn(async move { client.say(words("hang")).await });
    let until = Instant::now() + LONG;
    while v1.calls() == 0 {
        assert!(Instant::now() < until, "the call never came");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    call.abort();
    until_cancelled(&v1).await;
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&tally, Class::ClientAbort), tally.bad()), (1, 0), "{tally:?}");
}

#[tokio::test]
async fn what_the_proxy_answers_itself_is_a_grpc_answer() {
    let mut configuration = configuration(&[nobody()], &[nobody()], "    path: /test.Shop");
    configuration.services[0].versions[0].protocol = Protocol::H2c;
    let shop = Shop::serve(1, 0, &configuration, ClientTimeouts::default());
    let mut client = Client::to(shop.address());
    let error = client.say(words("hello")).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error:?}");
    assert!(error.message().contains("could not be reached"), "{error:?}");
    assert_eq!(error.metadata().get("content-type").unwrap(), "application/grpc");
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!(judged(&tally, Class::ConnectError), 1, "{tally:?}");
}

#[tokio::test]
async fn a_call_to_a_canary_that_nobody_can_reach_is_answered_by_stable() {
    let v1 = GrpcOrigin::start("v1").await;
    let mut configuration = configuration(&[v1.address], &[nobody()], "");
    configuration.services[0].versions.iter_mut().for_each(|version| version.protocol = Protocol::H2c);
    let shop = Shop::serve(1, 100, &configuration, ClientTimeouts::default());
    let mut client = Client::to(shop.address());
    assert_eq!(client.say(words("hello")).await.unwrap().text, "v1: hello");
    let canary = shop.tally_until("v2", |tally| tally.requests() == 1).await;
    assert_eq!(judged(&canary, Class::ConnectError), 1);
    shop.tally_until("v1", |tally| tally.attempts[Attempt::Shield as usize][Class::Success as usize] == 1).await;
}

async fn until_cancelled(origin: &GrpcOrigin) {
    let until = Instant::now() + LONG;
    while origin.state.cancelled.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < until, "the server was never told that its call is let go");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
