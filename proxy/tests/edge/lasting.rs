//! What lasts on a version that leaves: counted, and ended in a way that clients try again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use config::Protocol;
use futures::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use loadtest::{Origin, OriginOptions};
use meter::{Attempt, Class, Tally};
use proxy::client_stream::ClientTimeouts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};
use tonic::Code;

use crate::fixture::{self, LONG, Shop, addresses, configuration, name, nobody};
use crate::grpc::origin::{Client, GrpcOrigin, words};

/// An age at which whatever streams is long.
const OLD: Duration = Duration::from_secs(6);

impl Shop {
    fn lasting(&self, version: &str) -> u64 {
        self.publisher.lasting(&name("shop"), &name(version), Instant::now())
    }

    /// As if everything there were old.
    fn lasting_when_old(&self, version: &str) -> u64 {
        self.publisher.lasting(&name("shop"), &name(version), Instant::now() + OLD)
    }

    fn end_lasting(&self, version: &str) -> u64 {
        self.publisher.end_lasting(&name("shop"), &name(version), Instant::now())
    }

    fn end_lasting_when_old(&self, version: &str) -> u64 {
        self.publisher.end_lasting(&name("shop"), &name(version), Instant::now() + OLD)
    }

    /// Waits until so many were ended and are over.
    async fn ended_until(&self, version: &str, wanted: u64) {
        let until = Instant::now() + LONG;
        let ended = || self.publisher.ended_lasting(&name("shop"), &name(version));
        while ended() < wanted {
            assert!(Instant::now() < until, "{} of {wanted} are over", ended());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!((ended(), self.lasting_when_old(version)), (wanted, 0));
    }
}

/// That what we ended is counted, and charged to nobody.
fn assert_charged_to_nobody(tally: &Tally, ended: u64) {
    let firsts = tally.attempts[Attempt::First as usize];
    assert_eq!((firsts[Class::Local as usize], tally.requests(), tally.bad()), (ended, 0, 0), "{tally:?}");
    assert!(tally.latency_good.is_empty(), "{tally:?}");
}

/// A server of WebSockets that says `{name}: {what it is told}`, and tells which close it got.
async fn chat(called: &'static str) -> (SocketAddr, mpsc::Receiver<Option<u16>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (send, closes) = mpsc::channel(16);
    drop(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let send = send.clone();
            drop(tokio::spawn(async move {
                let Ok(mut socket) = accept_async(stream).await else { return };
                let mut close = None;
                while let Some(Ok(message)) = socket.next().await {
                    match message {
                        Message::Text(text) => drop(socket.send(Message::text(format!("{called}: {text}"))).await),
                        Message::Close(frame) => close = frame.map(|frame| frame.code.into()),
                        Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                    }
                }
                let _ = send.send(close).await;
            }));
        }
    }));
    (address, closes)
}

async fn join(shop: &Shop) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(shop.address()).await.unwrap();
    client_async("ws://shop/chat", stream).await.unwrap().0
}

async fn next(socket: &mut WebSocketStream<TcpStream>) -> Option<Message> {
    tokio::time::timeout(LONG, socket.next()).await.expect("something in time").and_then(Result::ok)
}

async fn say(socket: &mut WebSocketStream<TcpStream>, text: &str) -> String {
    socket.send(Message::text(text)).await.unwrap();
    next(socket).await.unwrap().into_text().unwrap().to_string()
}

#[tokio::test]
async fn websockets_on_a_version_that_leaves_are_closed_and_those_on_another_go_on() {
    let ((v1, _closes), (v2, mut closes)) = (chat("v1").await, chat("v2").await);
    let mut shop = Shop::open(&[v1], &[v2], 100);
    let mut leaves = [join(&shop).await, join(&shop).await];
    shop.split(0);
    let mut stays = join(&shop).await;
    assert_eq!(say(&mut leaves[0], "one").await, "v2: one");
    assert_eq!(say(&mut stays, "one").await, "v1: one");
    assert_eq!((shop.lasting("v1"), shop.lasting("v2")), (1, 2));

    assert_eq!((shop.end_lasting("v2"), shop.end_lasting("v2")), (2, 0), "they are asked once");
    for socket in &mut leaves {
        let Some(Message::Close(Some(close))) = next(socket).await else { panic!("no close frame") };
        assert_eq!(close.code, CloseCode::Away);
        // The library answers; the end of the connection follows.
        assert_eq!(next(socket).await, None);
        assert_eq!(closes.recv().await.unwrap(), Some(1001));
    }
    shop.ended_until("v2", 2).await;
    assert_charged_to_nobody(&shop.tally("v2"), 2);
    assert_eq!(shop.responses(Class::Local), 2);

    assert_eq!(say(&mut stays, "two").await, "v1: two");
    assert_eq!(shop.data.end_all_lasting(), 1);
    let Some(Message::Close(Some(close))) = next(&mut stays).await else { panic!("no close frame") };
    assert_eq!((close.code, next(&mut stays).await), (CloseCode::Away, None));
    shop.ended_until("v1", 1).await;
}

#[tokio::test]
async fn a_websocket_whose_endpoint_has_gone_silent_within_a_frame_ends_all_the_same() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let v1 = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        stream.write_all(&[head.as_bytes(), &[0x82, 100, 1, 2, 3]].concat()).await.unwrap();
        // Its end of the connection is found closed.
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await
    });
    let shop = Shop::open(&[v1], &[nobody()], 0);
    let mut client = TcpStream::connect(shop.address()).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n").await.unwrap();
    read_head(&mut client).await;
    let mut begun = [0; 5];
    client.read_exact(&mut begun).await.unwrap();
    assert_eq!(shop.end_lasting("v1"), 1);
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(LONG, client.read_to_end(&mut rest)).await.expect("an end in time");
    assert!(rest.is_empty(), "no frame goes into another: {rest:?}");
    tokio::time::timeout(LONG, serving).await.unwrap().unwrap().ok();
    shop.ended_until("v1", 1).await;
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// An endpoint that answers each connection's request with this, and then keeps still.
async fn answers(head: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            drop(tokio::spawn(async move {
                read_head(&mut stream).await;
                stream.write_all(head.as_bytes()).await.unwrap();
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
            }));
        }
    }));
    address
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
                      9\r\ndata: 1\n\n\r\n";

/// Reads an answer until this has come of it.
async fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(wanted) {
        let byte = tokio::time::timeout(LONG, stream.read_u8()).await;
        let byte = byte.ok().and_then(Result::ok);
        assert!(byte.is_some(), "{wanted} is not in {:?}", String::from_utf8_lossy(&read));
        read.extend(byte);
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn a_stream_of_events_lasts_from_its_head_on_and_ends_as_one_that_is_cut() {
    let shop = Shop::open(&[nobody()], &[answers(EVENTS).await], 100);
    let mut client = TcpStream::connect(shop.address()).await.unwrap();
    client.write_all(b"GET /events HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    read_until(&mut client, "data: 1\n\n").await;
    assert_eq!(shop.lasting("v2"), 1);
    assert_eq!(shop.end_lasting("v2"), 1);
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(LONG, client.read_to_end(&mut rest)).await.expect("an end in time");
    let rest = String::from_utf8(rest).unwrap();
    assert!(!rest.contains("0\r\n"), "what was cut must not look whole: {rest:?}");
    shop.ended_until("v2", 1).await;
    assert_charged_to_nobody(&shop.tally("v2"), 1);
    shop.idle("v2").await;
    assert_eq!(shop.responses(Class::Local), 1);
}

#[tokio::test]
async fn over_http2_a_stream_is_reset_and_the_others_of_its_connection_go_on() {
    let v1 = Origin::start("v1", OriginOptions::default()).await.unwrap();
    let mut shop = Shop::open(&[v1.address()], &[answers(EVENTS).await], 100);
    let mut client = fixture::http2(shop.address()).await;
    let request = || http::Request::get("http://shop/").body(http_body_util::Full::default()).unwrap();
    let mut events = client.send_request(request()).await.unwrap().into_body();
    assert_eq!(events.frame().await.unwrap().unwrap().into_data().unwrap(), "data: 1\n\n");
    shop.split(0);
    assert_eq!(shop.end_lasting("v2"), 1);
    let end = tokio::time::timeout(LONG, events.frame()).await.expect("an end in time");
    assert!(end.expect("no whole response").is_err());
    let after = client.send_request(request()).await.unwrap();
    assert_eq!(after.status(), 200);
    shop.ended_until("v2", 1).await;
}

#[tokio::test]
async fn any_response_that_streams_lasts_once_it_is_old_and_one_that_is_waited_for_does_not() {
    // A length, chunks, and a body that ends with the connection.
    for head in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.0 200 OK\r\n\r\nhello",
    ] {
        let shop = Shop::open(&[nobody()], &[answers(head).await], 100);
        let mut client = TcpStream::connect(shop.address()).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
        until(|| shop.lasting_when_old("v2") == 1).await;
        assert_eq!(shop.lasting("v2"), 0, "{head}");
        assert_eq!((shop.end_lasting("v2"), shop.end_lasting_when_old("v2")), (0, 1), "{head}");
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(LONG, client.read_to_end(&mut answer)).await.expect("an end in time");
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.ends_with("hello") || answer.ends_with("hello\r\n"), "{head}: {answer:?}");
        let (begun, _) = answer.split_once("\r\n\r\n").unwrap();
        let is_framed = |begun: &str| begun.contains("chunked") || begun.contains("content-length: 100");
        assert!(is_framed(&begun.to_lowercase()), "what was cut must not look whole: {answer:?}");
        shop.ended_until("v2", 1).await;
        assert_charged_to_nobody(&shop.tally("v2"), 1);
    }
    let shop = Shop::open(&[nobody()], &[answers("").await], 100);
    let mut client = TcpStream::connect(shop.address()).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
    until(|| shop.meter("v2").in_flight() == 1).await;
    assert_eq!(shop.lasting_when_old("v2"), 0);
    drop(client);
    shop.idle("v2").await;
}

async fn until(mut is: impl FnMut() -> bool) {
    let until = Instant::now() + LONG;
    while !is() {
        assert!(Instant::now() < until, "it never came to that");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn an_upload_that_is_ended_is_answered_with_when_to_come_again() {
    let shop = Shop::open(&[nobody()], &[answers("").await], 100);
    let mut client = TcpStream::connect(shop.address()).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 100000\r\n\r\nhello").await.unwrap();
    until(|| shop.lasting_when_old("v2") == 1).await;
    assert_eq!(shop.end_lasting_when_old("v2"), 1);
    let answer = read_until(&mut client, "try again").await.to_lowercase();
    assert!(answer.starts_with("http/1.1 503 ") && answer.contains("retry-after: 1\r\n"), "{answer}");
    shop.ended_until("v2", 1).await;
    assert_charged_to_nobody(&shop.tally("v2"), 1);
}

#[tokio::test]
async fn a_tunnel_of_another_protocol_is_cut() {
    let switched = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat/2\r\n\r\n<tunnel>";
    let mut configuration = configuration(&[answers(switched).await], &[nobody()], "");
    configuration.services[0].upgrades = vec!["chat/2".to_owned()];
    let shop = Shop::serve(1, 0, &configuration, ClientTimeouts::default());
    let mut client = TcpStream::connect(shop.address()).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: chat/2\r\n\r\n").await.unwrap();
    read_until(&mut client, "<tunnel>").await;
    assert_eq!((shop.lasting("v1"), shop.end_lasting("v1")), (1, 1));
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(LONG, client.read_to_end(&mut rest)).await.expect("an end in time");
    assert!(rest.is_empty(), "{rest:?}");
    shop.ended_until("v1", 1).await;
    assert_charged_to_nobody(&shop.tally("v1"), 1);
}

#[tokio::test]
async fn what_lasts_on_a_version_that_a_reload_has_removed_is_counted_and_ended() {
    let ((v1, _closes), (v2, _others)) = (chat("v1").await, chat("v2").await);
    let whole = configuration(&[v1], &[v2], "");
    let mut shop = Shop::serve(1, 100, &whole, ClientTimeouts::default());
    let mut socket = join(&shop).await;
    let mut without = whole.clone();
    without.services[0].versions.pop();
    for _ in 0..3 {
        shop.publisher.install(&without, &addresses(&without), |_| None, Instant::now());
        assert_eq!(say(&mut socket, "still").await, "v2: still");
        assert_eq!(shop.lasting("v2"), 1);
    }
    assert_eq!(shop.end_lasting("v2"), 1);
    assert!(matches!(next(&mut socket).await, Some(Message::Close(Some(_)))));
    assert_eq!(next(&mut socket).await, None);
    shop.ended_until("v2", 1).await;
    // Nothing is kept of it for ever.
    until(|| {
        shop.publisher.install(&without, &addresses(&without), |_| None, Instant::now());
        shop.publisher.ended_lasting(&name("shop"), &name("v2")) == 0
    })
    .await;
}

#[tokio::test]
async fn what_lasts_on_a_version_that_a_reload_has_removed_ends_when_the_time_of_its_plan_is_over() {
    let ((v1, _closes), (v2, _others)) = (chat("v1").await, chat("v2").await);
    let mut whole = configuration(&[v1], &[v2], "");
    whole.services[0].plan.drain = Some(Duration::ZERO);
    let mut shop = Shop::serve(1, 100, &whole, ClientTimeouts::default());
    let mut socket = join(&shop).await;
    let mut without = whole.clone();
    without.services[0].versions.pop();
    shop.publisher.install(&without, &addresses(&without), |_| None, Instant::now());
    assert!(matches!(next(&mut socket).await, Some(Message::Close(Some(_)))));
    assert_eq!(next(&mut socket).await, None);
}

#[tokio::test]
async fn what_was_young_when_its_version_was_told_to_end_all_ends_once_it_lasts() {
    let (shop, _origins) = grpc().await;
    let mut shop = shop;
    let mut client = Client::to(shop.address());
    let (send, receive) = mpsc::channel(1);
    let mut replies = client.talk(ReceiverStream::new(receive)).await.unwrap();
    send.send(words("one")).await.unwrap();
    assert_eq!(replies.message().await.unwrap().unwrap().text, "v2: one");
    shop.split(0);
    assert_eq!(shop.end_lasting("v2"), 0);
    // In real time: it takes the 5 s that make it old.
    let status = tokio::time::timeout(LONG, replies.message()).await.expect("an end in time").unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    shop.ended_until("v2", 1).await;
}

/// Two versions that speak h2c, with all of the traffic on v2.
async fn grpc() -> (Shop, [GrpcOrigin; 2]) {
    let origins = [GrpcOrigin::start("v1").await, GrpcOrigin::start("v2").await];
    let mut configuration = configuration(&[origins[0].address], &[origins[1].address], "");
    for version in &mut configuration.services[0].versions {
        version.protocol = Protocol::H2c;
    }
    (Shop::serve(1, 100, &configuration, ClientTimeouts::default()), origins)
}

#[tokio::test]
async fn a_call_that_streams_ends_as_unavailable_and_the_others_of_its_connection_go_on() {
    let (mut shop, _origins) = grpc().await;
    let mut client = Client::to(shop.address());
    let (send, receive) = mpsc::channel(1);
    let mut replies = client.talk(ReceiverStream::new(receive)).await.unwrap();
    send.send(words("one")).await.unwrap();
    assert_eq!(replies.message().await.unwrap().unwrap().text, "v2: one");
    shop.split(0);
    let (other, receive) = mpsc::channel(1);
    let mut stays = client.talk(ReceiverStream::new(receive)).await.unwrap();
    other.send(words("one")).await.unwrap();
    assert_eq!(stays.message().await.unwrap().unwrap().text, "v1: one");

    assert_eq!((shop.lasting("v2"), shop.end_lasting("v2")), (0, 0), "it is young");
    assert_eq!((shop.lasting_when_old("v2"), shop.end_lasting_when_old("v2")), (1, 1));
    let status = tokio::time::timeout(LONG, replies.message()).await.expect("an end in time").unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains("try again"), "{status:?}");

    other.send(words("two")).await.unwrap();
    assert_eq!(stays.message().await.unwrap().unwrap().text, "v1: two");
    shop.ended_until("v2", 1).await;
    assert_charged_to_nobody(&shop.tally("v2"), 1);
    drop((other, stays));
    shop.idle("v1").await;
}

#[tokio::test]
async fn calls_that_share_connections_end_as_all_others() {
    let (shop, origins) = grpc().await;
    let mut calls = Vec::new();
    // A client may have a hundred streams on a connection.
    let mut clients: Vec<_> = (0..2).map(|_| Client::to(shop.address())).collect();
    for place in 0..150 {
        let (send, receive) = mpsc::channel(1);
        let mut replies = clients[place % 2].talk(ReceiverStream::new(receive)).await.unwrap();
        send.send(words("one")).await.unwrap();
        assert!(replies.message().await.unwrap().is_some());
        calls.push((send, replies));
    }
    assert_eq!((origins[1].calls(), shop.lasting_when_old("v2")), (150, 150));
    assert_eq!(shop.end_lasting_when_old("v2"), 150);
    for (_send, replies) in &mut calls {
        let status = tokio::time::timeout(LONG, replies.message()).await.expect("an end in time").unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    }
    shop.ended_until("v2", 150).await;
    assert_charged_to_nobody(&shop.tally("v2"), 150);
}
