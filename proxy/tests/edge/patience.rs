//! Every time of the list, whichever way a request takes: with a body or without one, from a client of either protocol.

use std::time::Duration;

use config::Timeouts;
use loadtest::{Origin, OriginOptions, RawAnswer, RawOrigin};
use meter::Class;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::fixture::{LONG, Shop, judged};
use crate::ways::Way;

const SHORT: Duration = Duration::from_millis(150);

/// An endpoint that says this and then nothing, or a byte now and then.
async fn endpoint(says: &'static str, drips: bool) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            drop(tokio::spawn(async move {
                let mut buffer = [0; 4096];
                assert!(stream.read(&mut buffer).await.unwrap() > 0);
                let mut said = stream.write_all(says.as_bytes()).await;
                while said.is_ok() {
                    if !drips {
                        // Until the other side has had enough.
                        while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
                        return;
                    }
                    tokio::time::sleep(SHORT / 10).await;
                    said = stream.write_all(b"x").await;
                }
            }));
        }
    }));
    address
}

#[tokio::test]
async fn an_endpoint_has_the_same_time_for_every_request() {
    let usual = Timeouts::default();
    let (first_byte, response) =
        (Timeouts { first_byte: SHORT, ..usual }, Timeouts { first_byte: SHORT, response: SHORT, ..usual });
    let total = Timeouts { total: Some(2 * SHORT), ..usual };
    let cases: [(&str, Timeouts, &str, bool, u16); 9] = [
        ("no head", first_byte, "", false, 504),
        ("a head that drips", first_byte, "HTTP/1.1 200 OK\r\nx: ", true, 504),
        ("an interim head alone", first_byte, "HTTP/1.1 103 Early Hints\r\n\r\n", false, 504),
        (
            "a body with a length that falls silent",
            response,
            "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhalf",
            false,
            200,
        ),
        (
            "chunks that fall silent",
            response,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            false,
            200,
        ),
        ("a body without a length that falls silent", response, "HTTP/1.1 200 OK\r\n\r\nhalf", false, 200),
        ("no head in all of its time", total, "", false, 504),
        (
            "a body that drips for longer than all of its time",
            total,
            "HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n",
            true,
            200,
        ),
        ("one without a length", total, "HTTP/1.1 200 OK\r\n\r\n", true, 200),
    ];
    for (what, timeouts, says, drips, status) in cases {
        let v1 = endpoint(says, drips).await;
        for way in Way::ALL {
            let shop = Shop::under(&[v1], |rules| rules.timeouts = timeouts);
            let answer = way.get(shop.address()).await;
            assert_eq!(answer.status, status, "{what}, {way:?}: {answer:?}");
            assert!(status == 504 || !answer.is_whole, "{what}, {way:?}: it does not pass for a whole one: {answer:?}");
            let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
            assert_eq!((judged(&tally, Class::Timeout), tally.bad()), (1, 1), "{what}, {way:?}: {:?}", tally.judged);
            shop.idle("v1").await;
        }
    }
}

/// An address where a connection is begun and never made: the queue of who listens there is full.
async fn full() -> (std::net::SocketAddr, Vec<TcpStream>, TcpListener) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(SHORT, TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    (address, waiting, listener)
}

#[tokio::test]
async fn a_connection_to_an_endpoint_is_waited_for_as_long_as_it_may_take() {
    let (v1, _waiting, _listener) = full().await;
    for way in Way::ALL {
        let shop = Shop::under(&[v1], |rules| rules.timeouts.connect = SHORT);
        let answer = way.get(shop.address()).await;
        assert_eq!(answer.status, 502, "{way:?}: {answer:?}");
        let tally = shop.tally_until("v1", |tally| tally.requests() == 1).await;
        assert_eq!(judged(&tally, Class::ConnectError), 1, "{way:?}: {:?}", tally.judged);
    }
}

#[tokio::test]
async fn a_connection_of_http1_is_closed_that_idles_before_its_first_request_or_behind_one() {
    let origin = Origin::start("v1", OriginOptions::default()).await.unwrap();
    let shop = Shop::under(&[origin.address()], |rules| rules.timeouts.keepalive = SHORT);
    let mut silent = TcpStream::connect(shop.address()).await.unwrap();
    assert_eq!(timeout(LONG, silent.read(&mut [0])).await.expect("an end").unwrap(), 0);
    for body in [false, true] {
        let mut client = TcpStream::connect(shop.address()).await.unwrap();
        client.write_all(&Way { http2: false, body }.bytes("GET", &[])).await.unwrap();
        let mut answer = String::new();
        timeout(LONG, client.read_to_string(&mut answer)).await.expect("an end").unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.to_lowercase().contains("connection: keep-alive"),
            "{answer}"
        );
    }
    assert_eq!(shop.unmatched(), 0, "nobody who idles is refused");
}

#[tokio::test]
async fn an_endpoint_that_says_how_long_it_keeps_a_connection_is_asked_on_a_new_one_after_that() {
    // Half of a second is left of one: nobody is to ask in the moment in which it closes.
    let says = "HTTP/1.1 200 OK\r\nconnection: keep-alive\r\nkeep-alive: timeout=1\r\ncontent-length: 2\r\n\r\nok";
    for way in Way::ALL {
        let origin = RawOrigin::start(vec![RawAnswer::new(says)]).await.unwrap();
        let shop = Shop::open_on(1, &[origin.address()], &[crate::fixture::nobody()]);
        assert_eq!(way.get(shop.address()).await.status, 200);
        // It is closed by us.
        origin.until(LONG, |all| all.iter().all(|connection| connection.closed)).await.expect("an end");
        assert_eq!(way.get(shop.address()).await.status, 200);
        assert_eq!(origin.connections().len(), 2, "{way:?}");
    }
}
