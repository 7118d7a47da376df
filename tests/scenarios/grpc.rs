//! A gRPC service, released.

#[expect(dead_code, reason = "the data plane's tests call in more ways")]
#[path = "../../proxy/tests/edge/grpc/origin.rs"]
pub(crate) mod origin;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use control::view::Phase;

use self::origin::{Client, GrpcOrigin, words};
use crate::shop::Place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_whose_calls_fail_in_their_trailers_is_taken_back() {
    let (v1, v2) = (GrpcOrigin::start("v1").await, GrpcOrigin::start("v2").await);
    let place = Place::new();
    place.write(&format!(
        "{}  shop:\n    stable: v1\n    versions:\n      v1: {{ endpoints: ['{}'], protocol: h2c }}\n      \
         v2: {{ endpoints: ['{}'], protocol: h2c }}\n    \
         plan: {{ warmup: 0s, steps: [{{ weight: 20%, hold: 10m }}] }}\n",
        place.head(),
        v1.address,
        v2.address
    ));
    let server = place.serve();
    let ends = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (mut client, ends) = (Client::to(server.address), Arc::clone(&ends));
            tokio::spawn(async move {
                let mut failed = 0_u64;
                while !ends.load(Ordering::Relaxed) {
                    let mut replies = client.count(words("hello")).await.unwrap();
                    loop {
                        match replies.message().await {
                            Ok(Some(_)) => {}
                            Ok(None) => break,
                            Err(_) => {
                                failed += 1;
                                break;
                            }
                        }
                    }
                }
                failed
            })
        })
        .collect();
    let (server, rollout) = tokio::task::spawn_blocking(move || {
        assert_eq!(server.admin.start("shop", "v2").status, 201);
        let good = server.admin.until("shop", "good calls", |rollout| rollout.requests.canary >= 100);
        assert_eq!(good.failed.canary, 0, "{good:?}");
        v2.state.is_broken.store(true, Ordering::SeqCst);
        let rollout = server.admin.until_phase("shop", Phase::RolledBack);
        (server, rollout)
    })
    .await
    .unwrap();
    assert_eq!(rollout.weight, 0);
    assert!(rollout.reason.unwrap().contains("v2"));
    ends.store(true, Ordering::Relaxed);
    let mut failed = 0;
    for caller in callers {
        failed += caller.await.unwrap();
    }
    assert!(failed > 0, "its clients saw it fail");
    // Whoever calls now is served by stable.
    let mut client = Client::to(server.address);
    for _ in 0..50 {
        assert_eq!(client.say(words("hello")).await.unwrap().text, "v1: hello");
    }
    tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
}
