//! What becomes of a request to which an endpoint of HTTP/2 says farewell (GOAWAY) in place of an answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use config::Protocol;
use meter::Class;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::{Shop, exchange, judged, status};
use crate::http2::http2_origin;
use crate::raw_http2::{GOAWAY, frame};
use crate::sparing::spared;

const POST: &[u8] = b"POST / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;

/// A farewell: the last stream that was looked at, and why (RFC 9113, section 7).
type Farewell = (u32, u32);
const REASONS: [u32; 4] = [0, 2, 7, 11];

/// Reads frames until the head of a request.
async fn head(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.read_exact(&mut [0; 24]).await?;
    loop {
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).await?;
        let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]);
        stream.read_exact(&mut vec![0; length as usize]).await?;
        if frame[3] == HEADERS {
            return Ok(());
        }
    }
}

/// Says farewell to each request, and closes. Counts them.
async fn leaving((last, reason): Farewell) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&requests);
    drop(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let settings = frame(SETTINGS, 0, 0, &[]);
            let farewell = frame(GOAWAY, 0, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat());
            if stream.write_all(&settings).await.is_err() || head(&mut stream).await.is_err() {
                continue;
            }
            counted.fetch_add(1, Ordering::SeqCst);
            stream.write_all(&farewell).await.unwrap();
            stream.shutdown().await.unwrap();
            while stream.read(&mut [0; 256]).await.is_ok_and(|read| read > 0) {}
        }
    }));
    (address, requests)
}

/// A shop whose v2 gets everything and says farewell to it, and which has stable answer in its stead: what a POST comes to,
/// and how often it came to v2.
async fn post_to(farewell: Farewell) -> (Shop, u16, u64) {
    let (v2, requests) = leaving(farewell).await;
    let shop = spared(&[http2_origin(false).await], &[v2], |configuration| {
        configuration.services[0].versions.iter_mut().for_each(|version| version.protocol = Protocol::H2c);
    });
    let answered = status(&exchange(shop.address(), POST).await);
    (shop, answered, requests.load(Ordering::SeqCst))
}

#[tokio::test]
async fn a_request_that_was_not_looked_at_is_another_s_whatever_the_reason() {
    for reason in REASONS {
        let (shop, answered, requests) = post_to((0, reason)).await;
        assert_eq!((answered, requests), (200, 1), "{reason}");
        // The version is charged all the same.
        let tally = shop.tally_until("v2", |tally| tally.requests() == 1).await;
        assert_eq!(judged(&tally, Class::Reset), 1, "{reason}: {tally:?}");
    }
}

#[tokio::test]
async fn a_request_that_may_have_been_looked_at_is_sent_to_nobody_else() {
    for (last, reason) in [1, 0x7fff_ffff].into_iter().flat_map(|last| REASONS.map(|reason| (last, reason))) {
        let (shop, answered, requests) = post_to((last, reason)).await;
        assert_eq!((answered, requests), (502, 1), "{last}, {reason}");
        shop.tally_until("v2", |tally| tally.requests() == 1).await;
        let attempts: u64 = shop.tally("v1").attempts.iter().flatten().sum();
        assert_eq!(attempts, 0, "{last}, {reason}");
    }
}
