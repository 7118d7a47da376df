//! What a canary is compared with: a baseline with a share of its own, paths, whole responses, watched latencies.

use std::net::SocketAddr;
use std::time::Duration;

use config::Timeouts;
use loadtest::{Latency, Origin, OriginOptions, RawAnswer, RawOrigin, When};
use meter::{Attempt, Class, Tally, VersionMeter, Window};
use proxy::client_stream::ClientTimeouts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::fixture::{LONG, Shop, exchange, get, judged, nobody, status};

async fn origin(name: &str) -> Origin {
    Origin::start(name, OriginOptions::default()).await.unwrap()
}

/// With a third version, v0, at this address.
fn shop_of_three(v1: &Origin, v2: &Origin, v0: SocketAddr) -> Shop {
    let more = format!("      v0: {{ endpoints: ['{v0}'] }}");
    let (upstream, client) = (Timeouts::default(), ClientTimeouts::default());
    Shop::open_with(&[v1.address()], &[v2.address()], 0, &more, upstream, client)
}

/// All windows of a meter until so many requests were judged, with their paths.
async fn windows_until(meter: &VersionMeter, requests: u64) -> Tally {
    let mut sum = Tally::default();
    let mut window = Window::default();
    let until = std::time::Instant::now() + LONG;
    while sum.requests() < requests {
        assert!(std::time::Instant::now() < until, "{} of {requests} requests were judged", sum.requests());
        tokio::time::sleep(Duration::from_millis(2)).await;
        meter.take(&mut window);
        sum.merge(&window);
    }
    sum
}

#[tokio::test]
async fn a_slice_of_stable_is_judged_by_itself_and_stable_is_counted_whole() {
    let (v1, v2) = (origin("v1").await, origin("v2").await);
    let mut shop = Shop::open(&[v1.address()], &[v2.address()], 0);
    shop.compare(30, Some("v1"), &[]);
    for _ in 0..200 {
        assert_eq!(status(&get(shop.address()).await), 200);
    }
    let canary = v2.arrivals().requests;
    let stable = windows_until(&shop.meter("v1"), 200 - canary).await;
    assert_eq!((stable.requests(), stable.drawn.all), (200 - canary, 200 - canary));
    shop.idle("v1").await;
    let slice = windows_until(&shop.slice(), 1).await;
    assert_eq!((slice.requests(), slice.bad()), (slice.drawn.all, 0));
    assert_eq!(slice.latency_good.total(), slice.requests());
    assert_eq!((slice.drawn.at_random, slice.drawn.ended), (slice.drawn.all, slice.drawn.all));
    // 60 expected of each; outside of 25 to 95 once in ten million runs.
    assert!((25..=95).contains(&canary) && (25..=95).contains(&slice.requests()), "{canary}, {}", slice.requests());
}

#[tokio::test]
async fn a_named_baseline_gets_its_share_from_stable_and_is_judged_as_a_version() {
    let (v1, v2, v0) = (origin("v1").await, origin("v2").await, origin("v0").await);
    let mut shop = shop_of_three(&v1, &v2, v0.address());
    shop.compare(30, Some("v0"), &[]);
    for _ in 0..200 {
        get(shop.address()).await;
    }
    let (stable, canary, baseline) = (v1.arrivals().requests, v2.arrivals().requests, v0.arrivals().requests);
    assert_eq!(stable + canary + baseline, 200);
    assert!([canary, baseline].iter().all(|share| (25..=95).contains(share)), "{stable}, {canary}, {baseline}");
    assert_eq!(windows_until(&shop.meter("v0"), baseline).await.drawn.all, baseline);
}

#[tokio::test]
async fn a_named_baseline_that_nobody_can_reach_is_charged_and_no_user_is_hurt() {
    let (v1, v2) = (origin("v1").await, origin("v2").await);
    let mut shop = shop_of_three(&v1, &v2, nobody());
    shop.compare(50, Some("v0"), &[]);
    for _ in 0..40 {
        assert_eq!(status(&get(shop.address()).await), 200);
    }
    let canary = v2.arrivals().requests;
    let baseline = windows_until(&shop.meter("v0"), 40 - canary).await;
    assert_eq!((judged(&baseline, Class::ConnectError), baseline.drawn.lost), (40 - canary, 0));
    let stable =
        shop.tally_until("v1", |t| t.attempts[Attempt::Shield as usize][Class::Success as usize] == 40 - canary).await;
    assert_eq!((stable.requests(), stable.drawn.all), (0, 0), "what it answers for another is not its own");
}

#[tokio::test]
async fn a_canary_without_weight_takes_its_baseline_with_it() {
    let (v1, v2, v0) = (origin("v1").await, origin("v2").await, origin("v0").await);
    let mut shop = shop_of_three(&v1, &v2, v0.address());
    shop.compare(0, Some("v0"), &[]);
    for _ in 0..30 {
        assert!(get(shop.address()).await.ends_with("v1\n"));
    }
}

#[tokio::test]
async fn requests_are_counted_on_the_paths_that_they_are_on() {
    let (v1, v2) = (origin("v1").await, origin("v2").await);
    let mut shop = Shop::open(&[v1.address()], &[v2.address()], 0);
    shop.compare(100, None, &["/shop/cart", "/shop"]);
    let request = |path| format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
    for path in ["/shop/cart/7?a=/other", "/shop/cart", "/shop/carts", "/shop?/shop/cart", "/shopping", "/"] {
        assert_eq!(status(&exchange(shop.address(), request(path).as_bytes()).await), 200, "{path}");
    }
    let window = windows_until(&shop.meter("v2"), 6).await;
    assert_eq!(window.paths.iter().map(meter::PathTally::requests).collect::<Vec<_>>(), [2, 4]);
    assert_eq!(window.paths[1].total_good.total(), 4);
    // Without the list nothing is counted by path.
    shop.compare(100, None, &[]);
    get(shop.address()).await;
    exchange(shop.address(), request("/shop/cart").as_bytes()).await;
    assert!(windows_until(&shop.meter("v2"), 2).await.paths.is_empty());
}

#[tokio::test]
async fn a_slow_body_is_a_total_latency_and_not_one_of_the_head() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shop = Shop::open(&[listener.local_addr().unwrap()], &[nobody()], 0);
    let (release, released) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n").await.unwrap();
        released.await.unwrap();
        stream.write_all(b"0\r\n\r\n").await.unwrap();
    });
    let mut client = TcpStream::connect(shop.address()).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"2\r\nab\r\n") {
        assert!(client.read_buf(&mut seen).await.unwrap() > 0, "{}", String::from_utf8_lossy(&seen));
    }
    // How long the body is held back, counted from a moment after its head.
    tokio::time::sleep(Duration::from_millis(80)).await;
    release.send(()).unwrap();
    serving.await.unwrap();
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    let (head, total) = (tally.latency_good.quantile_us(0.5).unwrap(), tally.total_good.quantile_us(0.5).unwrap());
    assert!(total >= head + 79_000, "{head} us to the head, {total} us to the last byte");
    assert!(tally.total_bad.is_empty());
}

#[tokio::test]
async fn a_client_that_takes_its_time_after_the_last_byte_makes_no_response_slow() {
    let answer = RawAnswer::new("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let v1 = RawOrigin::start(vec![RawAnswer { when: When::AfterHead, ..answer }]).await.unwrap();
    let shop = Shop::open(&[v1.address()], &[nobody()], 0);
    let mut client = TcpStream::connect(shop.address()).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 6\r\n\r\nabc").await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"ok") {
        assert!(client.read_buf(&mut seen).await.unwrap() > 0, "{}", String::from_utf8_lossy(&seen));
    }
    // How long the client lets its request last after the response is whole.
    tokio::time::sleep(Duration::from_millis(80)).await;
    client.write_all(b"def").await.unwrap();
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1 && tally.duration.total() == 1).await;
    let (total, duration) = (tally.total_good.quantile_us(0.5).unwrap(), tally.duration.quantile_us(0.5).unwrap());
    assert!(duration >= total + 79_000, "{total} us to the last byte of {duration}");
}

#[tokio::test]
async fn latencies_longer_than_those_watched_are_counted_by_endpoint() {
    let v1 = origin("v1").await;
    let shop = Shop::open(&[nobody(), v1.address()], &[nobody()], 0);
    v1.dial().set_latency(Latency::fixed(Duration::from_millis(40)));
    shop.meter("v1").watch([30_000, 60_000_000]);
    for _ in 0..8 {
        assert_eq!(status(&get(shop.address()).await), 200);
    }
    let tally = shop.tally_until("v1", |tally| tally.requests() == 8).await;
    let [dead, live] = [tally.endpoints[0], tally.endpoints[1]];
    assert_eq!((live.timed, live.over), (live.requests, [live.requests, 0]));
    assert_eq!((dead.timed, dead.bad, dead.requests + live.requests), (0, dead.requests, 8));
}
