//! gRPC calls and the endpoint that fails them at once: it is as fast as can be, and idle.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use config::Protocol;
use h2::server::SendResponse;
use hyper::{HeaderMap, Response};
use proxy::client_stream::ClientTimeouts;

use super::call;
use crate::fixture::{Shop, configuration, nobody};
use crate::http2::http2_server;

/// One call after the other.
const CALLS: usize = 60;
/// What a good answer takes: far more than what makes a difference.
const USUAL: Duration = Duration::from_millis(20);

fn head() -> http::response::Builder {
    Response::builder().header("content-type", "application/grpc")
}

fn code(code: &'static str) -> HeaderMap {
    [("grpc-status".parse().unwrap(), code.parse().unwrap())].into_iter().collect()
}

/// An endpoint that answers each call so, after so long; and how many it has answered.
async fn endpoint(takes: Duration, answer: fn(&mut SendResponse<Bytes>)) -> (SocketAddr, Arc<AtomicUsize>) {
    let answered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answered);
    let address = http2_server(move |mut connection, _| {
        let count = Arc::clone(&count);
        async move {
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                drop(tokio::spawn(async move {
                    tokio::time::sleep(takes).await;
                    answer(&mut respond);
                }));
            }
        }
    });
    (address.await, answered)
}

fn well(respond: &mut SendResponse<Bytes>) {
    let mut stream = respond.send_response(head().body(()).unwrap(), false).unwrap();
    stream.send_data(Bytes::from_static(&[0, 0, 0, 0, 0]), false).unwrap();
    stream.send_trailers(code("0")).unwrap();
}

#[tokio::test]
async fn an_endpoint_that_fails_calls_at_once_gets_no_more_than_its_part() {
    let failures: [fn(&mut SendResponse<Bytes>); 3] = [
        // In a head that is all of the answer.
        |respond| drop(respond.send_response(head().header("grpc-status", "14").body(()).unwrap(), true).unwrap()),
        // In trailers.
        |respond| {
            let mut stream = respond.send_response(head().body(()).unwrap(), false).unwrap();
            stream.send_trailers(code("13")).unwrap();
        },
        // What is no failure of the service, but the cheapest of answers.
        |respond| drop(respond.send_response(head().header("grpc-status", "5").body(()).unwrap(), true).unwrap()),
    ];
    for fails in failures {
        let ((ill, ills), (sound, sounds)) = (endpoint(Duration::ZERO, fails).await, endpoint(USUAL, well).await);
        let mut configuration = configuration(&[ill, sound], &[nobody()], "");
        let v1 = &mut configuration.services[0].versions[0];
        // Which would take it away, and hide what the balance does.
        (v1.protocol, v1.ejection) = (Protocol::H2c, None);
        let shop = Shop::serve(1, 0, &configuration, ClientTimeouts::default());
        for _ in 0..CALLS {
            assert_eq!(call(&shop, "60S").await.0, 200);
        }
        let (ills, sounds) = (ills.load(Ordering::SeqCst), sounds.load(Ordering::SeqCst));
        assert_eq!(ills + sounds, CALLS);
        assert!(sounds >= CALLS / 4, "{ills} calls went to the one that fails them, {sounds} to the other");
    }
}

#[tokio::test]
async fn an_endpoint_that_serves_calls_slower_than_the_other_gets_fewer() {
    let ((fast, fasts), (slow, slows)) = (endpoint(Duration::ZERO, well).await, endpoint(5 * USUAL, well).await);
    let mut configuration = configuration(&[fast, slow], &[nobody()], "");
    configuration.services[0].versions[0].protocol = Protocol::H2c;
    let shop = Shop::serve(1, 0, &configuration, ClientTimeouts::default());
    for _ in 0..CALLS {
        assert_eq!(call(&shop, "60S").await, (200, Some("0".to_owned())));
    }
    let (fasts, slows) = (fasts.load(Ordering::SeqCst), slows.load(Ordering::SeqCst));
    assert!(slows > 0 && slows * 3 < fasts, "{fasts} calls went to the fast one, {slows} to the slow one");
}
