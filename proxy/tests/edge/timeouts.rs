//! How long endpoints may take, phase by phase.

use std::time::Duration;

use bytes::Bytes;
use config::{Protocol, Timeouts};
use http_body_util::{BodyExt, Full};
use loadtest::{Behaviour, Latency, Origin, OriginOptions, RawAnswer, RawOrigin};
use meter::Class;
use proxy::client_stream::ClientTimeouts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::{self, LONG, Shop, configuration, exchange, get, judged, nobody, status};
use crate::http2::{http2_origin, http2_server};
use crate::ways::Way;

const SHORT: Duration = Duration::from_millis(150);

fn serve(v1: std::net::SocketAddr, timeouts: Timeouts, change: impl FnOnce(&mut config::Configuration)) -> Shop {
    let mut configuration = configuration(&[v1], &[nobody()], "");
    configuration.rules = config::Rules { timeouts, ..config::Rules::default() }.into();
    change(&mut configuration);
    Shop::serve(2, 0, &configuration, ClientTimeouts::default())
}

async fn hanging() -> Origin {
    let origin = Origin::start("v1", OriginOptions::default()).await.unwrap();
    origin.dial().set_behaviour(Behaviour::Hang);
    origin
}

#[tokio::test]
async fn a_head_that_does_not_come_is_a_timeout_whatever_is_spoken() {
    let origin = hanging().await;
    for (protocol, v1) in [(Protocol::H1, origin.address()), (Protocol::H2c, http2_origin(true).await)] {
        let timeouts = Timeouts { first_byte: SHORT, ..Timeouts::default() };
        let shop = serve(v1, timeouts, |c| c.services[0].versions[0].protocol = protocol);
        assert_eq!(status(&get(shop.address()).await), 504, "{protocol:?}");
        let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
        assert_eq!(judged(&tally, Class::Timeout), 1, "{protocol:?}: {tally:?}");
    }
}

#[tokio::test]
async fn the_time_of_a_service_goes_before_that_of_all() {
    let origin = hanging().await;
    let shop = serve(origin.address(), Timeouts { first_byte: 10 * LONG, ..Timeouts::default() }, |c| {
        c.services[0].timeouts.first_byte = Some(SHORT);
    });
    assert_eq!(status(&get(shop.address()).await), 504);
}

#[tokio::test]
async fn the_wait_for_a_head_begins_when_the_request_is_whole() {
    let origin = Origin::start("v1", OriginOptions::default()).await.unwrap();
    for (protocol, v1) in [(Protocol::H1, origin.address()), (Protocol::H2c, http2_origin(false).await)] {
        // Nor is the endpoint silent meanwhile.
        let timeouts = Timeouts { first_byte: SHORT, response: SHORT, ..Timeouts::default() };
        let shop = serve(v1, timeouts, |c| c.services[0].versions[0].protocol = protocol);
        let mut stream = TcpStream::connect(shop.address()).await.unwrap();
        stream
            .write_all(b"POST / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: 2\r\n\r\n")
            .await
            .unwrap();
        for byte in [b"a", b"b"] {
            tokio::time::sleep(3 * SHORT).await;
            stream.write_all(byte).await.unwrap();
        }
        let mut answer = String::new();
        tokio::time::timeout(LONG, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert_eq!(status(&answer), 200, "{protocol:?}: {answer}");
    }
}

#[tokio::test]
async fn a_response_that_falls_silent_is_cut() {
    let begun = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let origin = RawOrigin::start(vec![RawAnswer::new(begun)]).await.unwrap();
    let timeouts = Timeouts { first_byte: SHORT, response: SHORT, ..Timeouts::default() };
    let shop = serve(origin.address(), timeouts, |_| {});
    let answer = get(shop.address()).await;
    assert!(answer.ends_with("half"), "{answer}");
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!(judged(&tally, Class::Timeout), 1, "{tally:?}");
}

#[tokio::test]
async fn the_whole_has_a_limit_where_one_is_written_before_and_after_the_head() {
    let total = |c: &mut config::Configuration| c.services[0].timeouts.total = Some(SHORT);
    let origin = hanging().await;
    let shop = serve(origin.address(), Timeouts::default(), total);
    assert_eq!(status(&get(shop.address()).await), 504);
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!(judged(&tally, Class::Timeout), 1, "{tally:?}");
    // A body that ends with its connection must not seem to have ended well.
    for begun in ["HTTP/1.1 200 OK\r\n\r\nhalf", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let origin = RawOrigin::start(vec![RawAnswer::new(begun)]).await.unwrap();
        let shop = serve(origin.address(), Timeouts::default(), total);
        let answer = get(shop.address()).await;
        assert!(answer.contains("half") && !answer.contains("\r\n0\r\n"), "{answer}");
        let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
        assert_eq!(judged(&tally, Class::Timeout), 1, "{begun}: {tally:?}");
    }
}

#[tokio::test]
async fn what_a_client_takes_to_read_is_not_the_versions_time() {
    let total = 6 * SHORT;
    let origin = Origin::start("v1", OriginOptions::default()).await.unwrap();
    // One that the endpoint cannot be rid of before the client reads, and one that we hold all of by then.
    for bytes in [30_000_000, 200_000] {
        origin.dial().set_body_bytes(Some(u32::try_from(bytes).unwrap()));
        let shop = serve(origin.address(), Timeouts::default(), |c| c.services[0].timeouts.total = Some(total));
        let mut stream = TcpStream::connect(shop.address()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").await.unwrap();
        stream.readable().await.unwrap();
        tokio::time::sleep(total + 2 * SHORT).await;
        let mut answer = Vec::new();
        tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        assert!(answer.len() > bytes, "{} of {bytes}", answer.len());
        // In HTTP/2 too, where a stream stands still and its connection does not.
        let mut client = fixture::http2(shop.address()).await;
        let request = hyper::Request::get("http://shop/").body(Full::<Bytes>::default()).unwrap();
        let response = client.send_request(request).await.unwrap();
        tokio::time::sleep(total + 2 * SHORT).await;
        let body = tokio::time::timeout(LONG, response.into_body().collect()).await.unwrap().unwrap().to_bytes();
        assert_eq!(body.len(), bytes);
        let tally = shop.tally_until("v1", |tally| tally.requests() == 2).await;
        assert_eq!((judged(&tally, Class::Success), tally.bad()), (2, 0), "{bytes}: {tally:?}");
    }
}

#[tokio::test]
async fn what_a_client_takes_to_send_is_not_the_versions_time() {
    let (total, most) = (Duration::from_millis(1_000), Duration::from_millis(700));
    let origin = Origin::start("v1", OriginOptions::default()).await.unwrap();
    origin.dial().set_latency(Latency::fixed(most));
    let shop = serve(origin.address(), Timeouts { total: Some(total), ..Timeouts::default() }, |_| {});
    let mut stream = TcpStream::connect(shop.address()).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: 2\r\n\r\na";
    stream.write_all(head).await.unwrap();
    tokio::time::sleep(most).await;
    stream.write_all(b"b").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(LONG, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert_eq!(status(&answer), 200, "{answer}");
    // One that takes all of it is its own fault.
    let answer = exchange(shop.address(), &head[..]).await;
    assert_eq!(status(&answer), 408, "{answer}");
    let tally = shop.tally_until("v1", |tally| tally.requests() == 2).await;
    assert_eq!((judged(&tally, Class::ClientAbort), tally.bad()), (1, 0), "{tally:?}");
}

/// An origin that begins a head and never ends it, a byte at a time.
async fn dripping() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            drop(tokio::spawn(async move {
                let mut buffer = [0_u8; 1024];
                assert!(stream.read(&mut buffer).await.unwrap() > 0);
                let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await;
                while sent.is_ok() {
                    tokio::time::sleep(SHORT / 10).await;
                    sent = stream.write_all(b"y").await;
                }
            }));
        }
    }));
    address
}

#[tokio::test]
async fn a_head_that_drips_is_late_when_it_is_not_whole_in_time() {
    let v1 = dripping().await;
    // Whichever of the two is longer.
    for response in [SHORT, 10 * LONG] {
        let shop = serve(v1, Timeouts { first_byte: 2 * SHORT, response, ..Timeouts::default() }, |_| {});
        let answer = tokio::time::timeout(LONG, get(shop.address())).await.unwrap();
        assert_eq!(status(&answer), 504, "{response:?}: {answer}");
        let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
        assert_eq!(judged(&tally, Class::Timeout), 1, "{response:?}: {tally:?}");
    }
}

#[tokio::test]
async fn an_informational_response_does_not_stand_for_the_one_that_is_waited_for() {
    let origin = RawOrigin::start(vec![RawAnswer::new("HTTP/1.1 103 Early Hints\r\n\r\n")]).await.unwrap();
    let timeouts = Timeouts { first_byte: SHORT, response: 10 * LONG, ..Timeouts::default() };
    let shop = serve(origin.address(), timeouts, |_| {});
    let answer = get(shop.address()).await;
    assert!(answer.starts_with("HTTP/1.1 103 ") && answer.contains("HTTP/1.1 504 "), "{answer}");
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!(judged(&tally, Class::Timeout), 1, "{tally:?}");
}

#[tokio::test]
async fn a_stream_of_events_may_be_silent_and_has_no_limit_in_all() {
    let begun = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 12\r\n\r\ndata: 1\n";
    // An origin that says the rest after a while.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0_u8; 1024];
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        stream.write_all(begun.as_bytes()).await.unwrap();
        tokio::time::sleep(4 * SHORT).await;
        stream.write_all(b"end\n").await.unwrap();
        let _ = stream.read(&mut buffer).await;
    }));
    let timeouts = Timeouts { first_byte: SHORT, response: SHORT, total: Some(SHORT), ..Timeouts::default() };
    let shop = serve(address, timeouts, |_| {});
    let request =
        b"GET / HTTP/1.1\r\nhost: shop\r\naccept: text/html, text/event-stream;q=0.5\r\nconnection: close\r\n\r\n";
    let answer = exchange(shop.address(), request).await;
    assert!(answer.ends_with("data: 1\nend\n"), "{answer}");
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!(judged(&tally, Class::Success), 1, "{tally:?}");
}

#[tokio::test]
async fn an_endpoint_that_accepts_and_never_finishes_its_handshake_is_a_connect_failure() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let timeouts = Timeouts { connect: SHORT, ..Timeouts::default() };
    let shop = serve(nobody(), timeouts, |c| {
        let version = &mut c.services[0].versions[0];
        version.endpoints = vec![config::Endpoint::Tcp { host: "localhost".into(), port, tls: true }];
    });
    assert_eq!(status(&get(shop.address()).await), 502);
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!(judged(&tally, Class::ConnectError), 1, "{tally:?}");
}

#[tokio::test]
async fn a_stream_of_events_may_be_silent_whatever_its_client_said_that_it_takes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let timeouts = Timeouts { first_byte: SHORT, response: SHORT, ..Timeouts::default() };
    let shop = serve(listener.local_addr().unwrap(), timeouts, |_| {});
    for (kind, is_whole) in [("text/event-stream; charset=utf-8", true), ("text/plain", false)] {
        let answer = tokio::spawn(exchange(
            shop.address(),
            b"POST / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
        ));
        let (mut endpoint, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"{}") {
            assert_ne!(endpoint.read_buf(&mut heard).await.unwrap(), 0);
        }
        let begun =
            format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n");
        endpoint.write_all(begun.as_bytes()).await.unwrap();
        tokio::time::sleep(4 * SHORT).await;
        // It may be cut by now.
        let _ = endpoint.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await;
        let answer = answer.await.unwrap();
        assert!(answer.contains("one") && answer.contains("two") == is_whole, "{kind}: {answer}");
    }
    let tally = shop.tally_until("v1", |tally| tally.requests() == 2).await;
    assert_eq!((judged(&tally, Class::Success), judged(&tally, Class::Timeout)), (1, 1), "{tally:?}");
}

#[tokio::test]
async fn a_stream_of_events_from_an_endpoint_of_http2_may_be_silent_and_another_response_not() {
    for (kind, is_whole) in [("text/event-stream", true), ("text/plain", false)] {
        let v1 = http2_server(move |mut connection, _| async move {
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                drop(tokio::spawn(async move {
                    let mut asked = request.into_body();
                    while asked.data().await.is_some() {}
                    let head = hyper::Response::builder().header("content-type", kind).body(()).unwrap();
                    let mut body = respond.send_response(head, false).unwrap();
                    for piece in ["one", "two"] {
                        // It may be cut by now.
                        let _ = body.send_data(Bytes::from_static(piece.as_bytes()), piece == "two");
                        tokio::time::sleep(6 * SHORT).await;
                    }
                }));
            }
        })
        .await;
        for way in Way::ALL {
            let timeouts = Timeouts { first_byte: 2 * SHORT, response: 2 * SHORT, ..Timeouts::default() };
            let shop = serve(v1, timeouts, |c| c.services[0].versions[0].protocol = Protocol::H2c);
            let answer = way.get(shop.address()).await;
            assert_eq!((answer.status, answer.is_whole), (200, is_whole), "{way:?} {kind}: {answer:?}");
            let all = answer.body == b"onetwo";
            assert_eq!(all, is_whole, "{way:?} {kind}: {answer:?}");
            let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
            let class = if is_whole { Class::Success } else { Class::Timeout };
            assert_eq!(judged(&tally, class), 1, "{way:?} {kind}: {:?}", tally.judged);
        }
    }
}

#[tokio::test]
async fn what_a_client_takes_to_read_is_no_silence_of_an_endpoint_of_http2() {
    let pieces = 200;
    let v1 = http2_server(move |mut connection, _| async move {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut body = respond.send_response(hyper::Response::new(()), false).unwrap();
            for place in 0..pieces {
                body.send_data(Bytes::from(vec![b'x'; 64 * 1024]), place + 1 == pieces).unwrap();
            }
        }
    })
    .await;
    let timeouts = Timeouts { first_byte: SHORT, response: SHORT, ..Timeouts::default() };
    let shop = serve(v1, timeouts, |c| c.services[0].versions[0].protocol = Protocol::H2c);
    let mut stream = TcpStream::connect(shop.address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").await.unwrap();
    stream.readable().await.unwrap();
    tokio::time::sleep(6 * SHORT).await;
    let mut answer = Vec::new();
    tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert!(answer.len() > pieces * 64 * 1024 && answer.ends_with(b"\r\n0\r\n\r\n"), "{}", answer.len());
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&tally, Class::Success), tally.bad()), (1, 0), "{tally:?}");
}
