//! WebSocket by a real client and a real server, and other upgrades.

use std::net::SocketAddr;
use std::time::Duration;

use config::{Protocol, Timeouts};
use futures::{SinkExt, StreamExt};
use loadtest::{Origin, OriginOptions, RawAnswer, RawOrigin, Then};
use meter::Class;
use proxy::client_stream::ClientTimeouts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{accept_async, client_async};

use crate::fixture::{LONG, Shop, configuration, exchange, judged, nobody, status};

/// A server of WebSockets that says again what it is told, to every client.
pub(crate) async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(tokio::spawn(async move {
                let Ok(mut socket) = accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_close() || socket.send(message).await.is_err() {
                        break;
                    }
                }
            }));
        }
    }));
    address
}

fn serve(v1: SocketAddr, timeouts: Timeouts, change: impl FnOnce(&mut config::Configuration)) -> Shop {
    let mut configuration = configuration(&[v1], &[nobody()], "");
    configuration.rules = config::Rules { timeouts, ..config::Rules::default() }.into();
    change(&mut configuration);
    Shop::serve(2, 0, &configuration, ClientTimeouts::default())
}

#[tokio::test]
async fn a_websocket_carries_messages_both_ways_and_may_be_silent_for_longer_than_a_response() {
    let short = Duration::from_millis(100);
    let timeouts =
        Timeouts { first_byte: 10 * short, response: short, total: Some(short), body: short, ..Timeouts::default() };
    let shop = serve(echo().await, timeouts, |_| {});
    let stream = TcpStream::connect(shop.address()).await.unwrap();
    let (mut socket, response) = client_async("ws://shop/chat", stream).await.unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["tidegate-version"], "v1");
    let big = "x".repeat(300_000);
    for text in ["one", &big, "three"] {
        tokio::time::sleep(3 * short).await;
        socket.send(Message::text(text)).await.unwrap();
        let echoed = tokio::time::timeout(LONG, socket.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(echoed.into_text().unwrap().as_str(), text);
    }
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&tally, Class::Upgrade), tally.bad()), (1, 0), "{tally:?}");
    assert!(tally.latency_good.is_empty());
}

#[tokio::test]
async fn a_tunnel_in_which_nobody_says_anything_ends() {
    let short = Duration::from_millis(100);
    let timeouts = Timeouts { first_byte: short, tunnel: short, ..Timeouts::default() };
    let shop = serve(echo().await, timeouts, |_| {});
    let stream = TcpStream::connect(shop.address()).await.unwrap();
    let (mut socket, _) = client_async("ws://shop/chat", stream).await.unwrap();
    let end = tokio::time::timeout(LONG, socket.next()).await.unwrap();
    assert!(matches!(end, None | Some(Err(Error::Protocol(_) | Error::Io(_) | Error::ConnectionClosed))), "{end:?}");
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&tally, Class::Upgrade), tally.bad()), (1, 0), "{tally:?}");
}

#[tokio::test]
async fn an_upgrade_that_the_service_does_not_list_is_an_ordinary_request() {
    let origin = Origin::start("v1", OriginOptions::default()).await.unwrap();
    for (upgrades, protocol) in [(vec![], "websocket"), (vec!["websocket".to_owned()], "chat/2")] {
        let shop = serve(origin.address(), Timeouts::default(), |c| c.services[0].upgrades = upgrades);
        let request = format!(
            "GET / HTTP/1.1\r\nhost: shop\r\nconnection: upgrade, close\r\nupgrade: {protocol}\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
        );
        let answer = exchange(shop.address(), request.as_bytes()).await;
        assert_eq!(status(&answer), 200, "{protocol}: {answer}");
    }
}

#[tokio::test]
async fn another_protocol_gets_its_tunnel_where_the_service_lists_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat/2\r\n\r\nhi ")
            .await
            .unwrap();
        let mut told = [0_u8; 5];
        stream.read_exact(&mut told).await.unwrap();
        stream.write_all(&told).await.unwrap();
        String::from_utf8(head).unwrap().to_lowercase()
    });
    let shop = serve(address, Timeouts::default(), |c| c.services[0].upgrades = vec!["chat/2".to_owned()]);
    let mut stream = TcpStream::connect(shop.address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: Chat/2\r\n\r\n").await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"hi ") {
        seen.push(tokio::time::timeout(LONG, stream.read_u8()).await.unwrap().unwrap());
    }
    stream.write_all(b"there").await.unwrap();
    let mut told = [0_u8; 5];
    tokio::time::timeout(LONG, stream.read_exact(&mut told)).await.unwrap().unwrap();
    assert_eq!(&told, b"there");
    let head = server.await.unwrap();
    assert!(head.contains("\r\nupgrade: chat/2\r\n") && head.contains("\r\nconnection: upgrade\r\n"), "{head}");
}

#[tokio::test]
async fn an_upgrade_that_connection_does_not_name_was_meant_for_another_hop() {
    for connection in ["", "connection: close\r\n", "connection: keep-alive\r\n", "connection: x-upgrade\r\n"] {
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let origin = RawOrigin::start(vec![RawAnswer::new(answer)]).await.unwrap();
        let shop = serve(origin.address(), Timeouts::default(), |_| ());
        let request = format!("GET / HTTP/1.1\r\nhost: shop\r\n{connection}upgrade: websocket\r\n\r\n");
        let mut stream = TcpStream::connect(shop.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        tokio::time::timeout(LONG, stream.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200", "{connection}");
        let received = String::from_utf8_lossy(&origin.connections()[0].received).to_lowercase();
        assert!(!received.contains("upgrade"), "{connection}: {received}");
    }
}

#[tokio::test]
async fn a_tunnel_of_another_protocol_than_was_asked_for_is_a_broken_answer() {
    for named in ["", "upgrade: h2c\r\n", "upgrade: websocket, h2c\r\n", "upgrade: websocket\r\nupgrade: h2c\r\n"] {
        let switched = format!("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n{named}\r\nraw");
        let origin = RawOrigin::start(vec![RawAnswer::new(switched)]).await.unwrap();
        let shop = serve(origin.address(), Timeouts::default(), |_| {});
        let request = b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
        let answer = exchange(shop.address(), request).await;
        assert!(answer.starts_with("HTTP/1.1 502 ") && !answer.contains("raw"), "{named:?}: {answer}");
        let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
        assert_eq!((judged(&tally, Class::ProtocolError), tally.bad()), (1, 1), "{named:?}: {tally:?}");
    }
}

/// Else a canary that drops every WebSocket would fail nobody.
#[tokio::test]
async fn a_tunnel_that_its_endpoint_ends_at_once_without_a_word_is_a_failure() {
    const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let request = b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
    // "Going away", as a server says that is restarted.
    let farewell = b"\x88\x02\x03\xe9";
    for (then, said, class) in [
        (Then::Close, &b""[..], Class::Reset),
        (Then::Reset, b"", Class::Reset),
        (Then::Close, farewell, Class::Upgrade),
    ] {
        let answer = RawAnswer { then, ..RawAnswer::new([SWITCHED.as_bytes(), said].concat()) };
        let origin = RawOrigin::start(vec![answer]).await.unwrap();
        let shop = serve(origin.address(), Timeouts::default(), |_| {});
        assert!(exchange(shop.address(), request).await.starts_with("HTTP/1.1 101 "));
        let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
        assert_eq!(judged(&tally, class), 1, "{then:?} {said:?}: {tally:?}");
        shop.idle("v1").await;
        assert_eq!(shop.responses(class), 1, "{then:?} {said:?}: as it is logged");
    }
    // A client that ends it is no failure, however soon.
    let shop = serve(echo().await, Timeouts::default(), |_| {});
    let mut client = TcpStream::connect(shop.address()).await.unwrap();
    client.write_all(request).await.unwrap();
    let mut head = [0; 12];
    client.read_exact(&mut head).await.unwrap();
    drop(client);
    let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
    assert_eq!((judged(&tally, Class::Upgrade), tally.bad()), (1, 0), "{tally:?}");
}

#[tokio::test]
async fn an_upgrade_to_endpoints_that_speak_http2_is_refused_with_the_reason() {
    let origin = Origin::start("v1", OriginOptions::default()).await.unwrap();
    let shop = serve(origin.address(), Timeouts::default(), |c| c.services[0].versions[0].protocol = Protocol::H2c);
    let request = b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
    let answer = exchange(shop.address(), request).await;
    assert_eq!(status(&answer), 501, "{answer}");
    assert!(answer.contains("HTTP/2") && answer.contains("upgraded"), "{answer}");
    assert_eq!(origin.arrivals().requests, 0);
}

/// One client could have a sound canary taken back else, by nothing but what it sends.
#[tokio::test]
async fn a_tunnel_that_its_endpoint_ends_for_what_the_client_said_is_no_failure() {
    const SWITCHED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shop = serve(listener.local_addr().unwrap(), Timeouts::default(), |_| {});
    let request = b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
    // A close frame as it must be, a frame that is not masked, and no frame at all.
    for (count, said) in [&b"\x88\x82\0\0\0\0\x03\xe8"[..], b"\x81\x02hi", b"\xff\xff\xff\xff"].into_iter().enumerate()
    {
        let mut client = TcpStream::connect(shop.address()).await.unwrap();
        client.write_all(request).await.unwrap();
        let (mut endpoint, _) = listener.accept().await.unwrap();
        let mut heard = [0; 4096];
        assert!(endpoint.read(&mut heard).await.unwrap() > 0);
        endpoint.write_all(SWITCHED).await.unwrap();
        client.read_exact(&mut [0; 12]).await.unwrap();
        client.write_all(said).await.unwrap();
        assert!(endpoint.read(&mut heard).await.unwrap() > 0);
        drop(endpoint);
        tokio::time::timeout(LONG, client.read_to_end(&mut Vec::new())).await.unwrap().unwrap();
        let tally = shop.tally_until("v1", |tally| tally.requests() > count as u64).await;
        assert_eq!((judged(&tally, Class::Upgrade), tally.bad()), (count as u64 + 1, 0), "{said:?}: {tally:?}");
    }
}
