//! Clients that attack before their first request: with TLS handshakes and with PROXY protocol headers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::{Listener, Rules, Timeouts};
use loadtest::{Origin, OriginOptions};
use proxy::tls::HandshakeFailure;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::fixture::{LONG, Shop, exchange, status};
use crate::secure::{Secure, plain};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n";

async fn origin() -> Origin {
    Origin::start("v1", OriginOptions::default()).await.unwrap()
}

/// A shop behind TLS alone.
async fn behind_tls(change: impl FnOnce(&mut Rules)) -> (Shop, Secure, Origin) {
    let (origin, secure) = (origin().await, Secure::new(None));
    let mut rules = Rules::default();
    change(&mut rules);
    let shop = Shop::listening(std::slice::from_ref(&secure.listener), rules, origin.address());
    (shop, secure, origin)
}

/// How many handshakes failed for this.
fn failed(shop: &Shop, why: HandshakeFailure) -> u64 {
    shop.secure.failures().into_iter().filter(|(_, of, _)| *of == why).map(|(.., count)| count).sum()
}

/// Waits until so many handshakes have failed for this.
async fn failed_until(shop: &Shop, why: HandshakeFailure, wanted: u64) {
    let until = Instant::now() + LONG;
    while failed(shop, why) < wanted {
        assert!(Instant::now() < until, "{why:?}: {:?}", shop.secure.failures());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(failed(shop, why), wanted, "{why:?}: {:?}", shop.secure.failures());
}

/// Sends bytes, and reads what comes until the other side closes.
async fn answer(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may be closed before all is written.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.expect("an end in time");
    answer
}

async fn next_is_served(shop: &Shop, secure: &Secure) {
    let mut stream = secure.connect(shop.address(), &[]).await;
    stream.write_all(REQUEST).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.expect("an answer in time");
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "the next client is served");
}

/// A record of TLS that holds a part of a handshake (RFC 8446, section 5.1).
fn record(part: &[u8]) -> Vec<u8> {
    let length = u16::try_from(part.len()).unwrap().to_be_bytes();
    [&[0x16, 3, 1][..], &length, part].concat()
}

/// The greeting of a client that knows no version beyond this one, and no extension at all.
fn greeting(version: [u8; 2]) -> Vec<u8> {
    let body = [&version[..], &[7; 32], &[0, 0, 2, 0xc0, 0x2f, 1, 0]].concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1][..], &length[1..], &body].concat()
}

#[tokio::test]
async fn old_versions_of_tls_are_refused_with_an_alert_and_counted() {
    let (shop, secure, _origin) = behind_tls(|_| {}).await;
    for (done, version) in [[3, 0], [3, 1], [3, 2]].into_iter().enumerate() {
        let answer = answer(shop.address(), &record(&greeting(version))).await;
        assert_eq!(answer.first(), Some(&0x15), "an alert: {answer:?}");
        // Fatal: handshake_failure, since they lack what came with 1.2, or protocol_version.
        assert!(matches!(answer.get(5..7), Some([2, 40 | 70])), "{answer:?}");
        failed_until(&shop, HandshakeFailure::Version, done as u64 + 1).await;
    }
    shop.unmatched_until(3).await;
    next_is_served(&shop, &secure).await;
}

#[tokio::test]
async fn every_failed_handshake_is_counted_by_why() {
    let (shop, secure, _origin) = behind_tls(|rules| rules.timeouts.handshake = Duration::from_millis(300)).await;
    let address = shop.address();
    assert!(answer(address, REQUEST).await.starts_with(b"HTTP/1.1 400 "));
    failed_until(&shop, HandshakeFailure::NotTls, 1).await;
    answer(address, b"\x16\x03\x01\xff\xff\x01").await;
    failed_until(&shop, HandshakeFailure::Malformed, 1).await;
    // A part of a greeting, and then nothing; and one that goes away.
    answer(address, &record(&greeting([3, 3])[..20])).await;
    failed_until(&shop, HandshakeFailure::Timeout, 1).await;
    let mut leaving = TcpStream::connect(address).await.unwrap();
    leaving.write_all(&record(&greeting([3, 3])[..20])).await.unwrap();
    leaving.shutdown().await.unwrap();
    failed_until(&shop, HandshakeFailure::Closed, 1).await;
    // A client that believes nobody.
    let mut stranger = secure.client.clone();
    let nobody = rustls::client::WebPkiServerVerifier::builder_with_provider(
        Arc::new(Secure::new(None).roots()),
        Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
    );
    stranger.dangerous().set_certificate_verifier(nobody.build().unwrap());
    let name = ServerName::try_from("shop.test").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    assert!(TlsConnector::from(Arc::new(stranger)).connect(name, stream).await.is_err());
    failed_until(&shop, HandshakeFailure::RefusedByClient, 1).await;
    // One that says nothing at all is a probe of the port.
    drop(TcpStream::connect(address).await.unwrap());
    shop.unmatched_until(5).await;
    next_is_served(&shop, &secure).await;
    assert_eq!(shop.secure.failures().iter().map(|(.., count)| count).sum::<u64>(), 5);
    assert!(shop.secure.failures().iter().all(|(listener, ..)| listener == "127.0.0.1:0"), "as it is written");
}

#[tokio::test]
async fn a_greeting_that_is_huge_or_in_many_pieces_is_bounded() {
    let (shop, secure, _origin) = behind_tls(|rules| rules.timeouts.handshake = Duration::from_secs(5)).await;
    // It says that it is 16 MiB long, and sends as much of that as it may.
    let huge: Vec<u8> = [&[1, 0xff, 0xff, 0xff][..], &vec![0; 1 << 20]].concat();
    let pieces: Vec<u8> = huge.chunks(1 << 14).flat_map(record).collect();
    answer(shop.address(), &pieces).await;
    failed_until(&shop, HandshakeFailure::Malformed, 1).await;
    // Cut into records of one byte, it is a greeting all the same, or is refused.
    let bytes: Vec<u8> = greeting([3, 1]).chunks(1).flat_map(record).collect();
    assert_eq!(answer(shop.address(), &bytes).await.first(), Some(&0x15));
    shop.unmatched_until(2).await;
    // And empty records without end.
    answer(shop.address(), &record(&[]).repeat(200_000)).await;
    shop.unmatched_until(3).await;
    next_is_served(&shop, &secure).await;
}

#[tokio::test]
async fn handshakes_that_stall_are_ended_in_time_and_others_go_on_meanwhile() {
    let (shop, secure, _origin) = behind_tls(|rules| rules.timeouts.handshake = Duration::from_secs(1)).await;
    let mut stalled = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(shop.address()).await.unwrap();
        stream.write_all(&record(&greeting([3, 3])[..20])).await.unwrap();
        stalled.push(stream);
    }
    next_is_served(&shop, &secure).await;
    failed_until(&shop, HandshakeFailure::Timeout, 300).await;
    for mut stream in stalled {
        assert_eq!(stream.read(&mut [0; 64]).await.unwrap_or(0), 0, "it was closed");
    }
    next_is_served(&shop, &secure).await;
}

#[tokio::test]
async fn a_name_that_is_missing_unknown_or_other_than_the_host_chooses_the_certificate_alone() {
    let (shop, secure, origin) = behind_tls(|_| {}).await;
    // By an address no name is sent.
    for (name, host) in [("192.0.2.1", "shop.test"), ("nobody.test", "shop.test"), ("shop.test", "other.test")] {
        let mut client = secure.client.clone();
        client.dangerous().set_certificate_verifier(Secure::believing_anybody());
        let stream = TcpStream::connect(shop.address()).await.unwrap();
        let name = ServerName::try_from(name).unwrap();
        let mut stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let _ = tokio::time::timeout(LONG, stream.read_to_string(&mut answer)).await.unwrap();
        assert_eq!(status(&answer), 200, "{answer}");
    }
    assert_eq!(origin.arrivals().requests, 3);
}

/// A binary header (version 2): this command and family, and these bytes.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
}

#[tokio::test]
async fn headers_of_the_proxy_protocol_are_read_to_their_end_or_end_their_connection() {
    let (origin, secure) = (origin().await, Secure::new(None));
    let ours = || vec!["127.0.0.0/8".parse().unwrap()];
    let announced = Listener { proxy_protocol: ours(), ..plain() };
    let over_tls = Listener { proxy_protocol: ours(), ..secure.listener.clone() };
    let timeouts = Timeouts { head: Duration::from_millis(300), ..Timeouts::default() };
    let shop = Shop::listening(&[announced, over_tls], Rules { timeouts, ..Rules::default() }, origin.address());
    let [address, tls] = shop.data.addresses()[..] else { panic!("two listeners") };

    let four = [192, 0, 2, 1, 127, 0, 0, 1, 0x30, 0x39, 0, 80];
    // PP2_TYPE_AUTHORITY, and a type that nobody knows, as long as all may be.
    let extended = [&four[..], &[2, 0, 3, b'a', b'.', b'b'], &[0xe5, 1, 0xff], &[0; 511]].concat();
    let served: [&[u8]; 7] = [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
        b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
        &binary(0x20, 0, &[]),
        &binary(0x20, 0x11, &four),
        &binary(0x21, 0x31, &[0; 216]),
        &binary(0x21, 0x11, &extended),
    ];
    for header in served {
        let answer = exchange(address, &[header, REQUEST].concat()).await;
        assert_eq!(status(&answer), 200, "{header:?}: {answer}");
    }
    let long = format!("PROXY TCP4 192.0.2.1 127.0.0.1 1 {}\r\n", "2".repeat(108));
    let refused: [&[u8]; 9] = [
        long.as_bytes(),
        &b"PROXY ".repeat(1_000),
        b"PROXY TCP4 2001:db8::1 127.0.0.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 127.0.0.1 1 65536\r\n",
        b"PROXY TCP4 192.0.2.1 127.0.0.1 1\r\n",
        &binary(0x21, 0x11, &four[..11]),
        &binary(0x21, 0x31, &[0; 215]),
        &binary(0x21, 0x11, &[0; 537]),
        &binary(0x11, 0x11, &four),
    ];
    for (done, header) in refused.into_iter().enumerate() {
        for address in [address, tls] {
            assert_eq!(answer(address, &[header, REQUEST].concat()).await, b"", "{header:?}");
        }
        shop.unmatched_until(2 * (done as u64 + 1)).await;
    }
    // A length that is not kept, and one that never comes.
    for part in [&binary(0x21, 0x11, &four)[..20], b"PROXY TCP4 192.0.2.1"] {
        assert_eq!(answer(address, part).await, b"", "{part:?}");
    }
    shop.unmatched_until(20).await;
    assert_eq!(origin.arrivals().requests, 7);
}
