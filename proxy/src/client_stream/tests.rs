//! The stream between pairs of pipes and a paused clock.

use super::*;
use tokio::io::{DuplexStream, duplex};

impl Carrier for DuplexStream {}
impl Carrier for Sends {}

fn stream<S: Carrier>(inner: S) -> ClientStream<S> {
    let unmatched = Unmatched { meter: Arc::new(ServiceMeter::new(1)), core: 0 };
    ClientStream::new(inner, 1, None, ClientTimeouts::default(), unmatched)
}

fn connected() -> (DuplexStream, ClientStream<DuplexStream>) {
    let (client, server) = duplex(64 * 1024);
    (client, stream(server))
}

/// Counts the sends that reach the system.
#[derive(Default)]
struct Sends(Vec<Vec<u8>>);

impl AsyncRead for Sends {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Sends {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.push(buf.to_vec());
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_small_response_leaves_in_one_send() {
    let mut stream = stream(Sends::default());
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(stream.inner.0[..], [b"HTTP/1.1 200 OK\r\n\r\nhello".to_vec()]);
}

#[tokio::test]
async fn a_large_body_is_sent_whole_and_in_order() {
    let mut stream = stream(Sends::default());
    let body: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
    stream.write_all(b"head").await.unwrap();
    stream.write_all(&body).await.unwrap();
    stream.write_all(b"tail").await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(stream.inner.0.concat(), [b"head", &body[..], b"tail"].concat());
}

#[tokio::test]
async fn what_was_gathered_is_sent_when_the_connection_is_given_up() {
    let (mut client, mut stream) = connected();
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    drop(stream);
    let mut seen = String::new();
    client.read_to_string(&mut seen).await.unwrap();
    assert_eq!(seen, "HTTP/1.1 200 OK\r\n\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_is_answered_408_at_its_deadline() {
    let (mut client, mut stream) = connected();
    client.write_all(b"G").await.unwrap();
    let begun = Instant::now();
    let mut buf = [0u8; 64];
    let dripping = async {
        loop {
            tokio::time::sleep(Duration::from_secs(3)).await;
            client.write_all(b"x").await.unwrap();
        }
    };
    let reading = async {
        loop {
            if let Err(error) = stream.read(&mut buf).await {
                return error;
            }
        }
    };
    let error = tokio::select! {
        () = dripping => unreachable!(),
        error = reading => error,
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(begun.elapsed().as_secs(), 10);
    assert_eq!(stream.unmatched.meter.responses()[Class::Local as usize], 1);
    drop(stream);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_body_may_take_longer_than_a_head_and_the_next_head_has_its_own_time() {
    let (mut client, mut stream) = connected();
    let mut buf = [0u8; 64];
    client.write_all(b"head").await.unwrap();
    assert_eq!(stream.read(&mut buf).await.unwrap(), 4);
    stream.begin_request();
    tokio::time::sleep(Duration::from_secs(60)).await;
    client.write_all(b"body").await.unwrap();
    assert_eq!(stream.read(&mut buf).await.unwrap(), 4);
    stream.end_request();
    tokio::time::sleep(Duration::from_secs(60)).await;
    client.write_all(b"head").await.unwrap();
    assert_eq!(stream.read(&mut buf).await.unwrap(), 4);
}

#[tokio::test]
async fn http1_is_known_by_its_first_bytes_and_loses_none() {
    let (mut client, mut stream) = connected();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut peeked = [0u8; 24];
    assert!(stream.try_peek(&mut peeked).await.unwrap());
    assert_ne!(&peeked, PREFACE);
    let mut read = [0u8; 18];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"GET / HTTP/1.0\r\n\r\n");
}

#[tokio::test]
async fn the_preface_is_known_however_it_is_cut() {
    let (mut client, mut stream) = connected();
    let mut peeked = [0u8; 24];
    let writing = async {
        for byte in PREFACE {
            client.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let (peek, ()) = tokio::join!(stream.try_peek(&mut peeked), writing);
    assert!(peek.unwrap());
    assert_eq!(&peeked, PREFACE);
    assert!(stream.http2);
}

#[tokio::test(start_paused = true)]
async fn a_preface_that_stops_halfway_is_not_waited_for_for_ever() {
    let (mut client, mut stream) = connected();
    client.write_all(b"PRI * HT").await.unwrap();
    let begun = Instant::now();
    let error = stream.try_peek(&mut [0u8; 24]).await.unwrap_err();
    assert_eq!((error.kind(), begun.elapsed().as_secs()), (io::ErrorKind::TimedOut, 10));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_given_up() {
    let (_client, mut stream) = connected();
    let begun = Instant::now();
    assert!(stream.try_peek(&mut [0u8; 24]).await.is_err());
    assert_eq!(begun.elapsed().as_secs(), 75);
}
