//! The stream between pairs of pipes and a paused clock.

use super::*;
use std::task::Poll;

use pingora_core::protocols::Peek;
use tokio::io::{AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

impl Carrier for DuplexStream {}
impl Carrier for Sends {}

fn stream<S: Carrier>(inner: S) -> ClientStream<S> {
    let unmatched = Unmatched { meter: Arc::new(ServiceMeter::new(1)), core: 0, log: Unread::default() };
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
    // pingora finds the end of the connection, and has seen nothing of the head.
    let given = tokio::select! {
        () = dripping => unreachable!(),
        given = stream.read(&mut buf) => given.unwrap(),
    };
    assert_eq!(given, 0);
    assert_eq!(begun.elapsed().as_secs(), 11, "ten for the head, one to hear the answer");
    assert_eq!(stream.unmatched.meter.responses()[Class::Local as usize], 1);
    drop(stream);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

const POST: &[u8] = b"POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 8\r\n\r\n";
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n";

/// Reads as much as one read gives, and takes it for the beginning of a request.
async fn begin(stream: &mut ClientStream<DuplexStream>) -> Vec<u8> {
    let mut buf = vec![0; 4096];
    let count = stream.read(&mut buf).await.unwrap();
    stream.begin_request();
    buf.truncate(count);
    buf
}

#[tokio::test(start_paused = true)]
async fn a_body_may_take_longer_than_a_head_and_the_next_head_has_its_own_time() {
    let (mut client, mut stream) = connected();
    let mut buf = [0u8; 64];
    client.write_all(POST).await.unwrap();
    assert_eq!(begin(&mut stream).await, POST);
    for _ in 0..2 {
        let (read, ()) = tokio::join!(stream.read(&mut buf), async {
            tokio::time::sleep(Duration::from_secs(29)).await;
            client.write_all(b"body").await.unwrap();
        });
        assert_eq!(read.unwrap(), 4);
    }
    stream.end_request();
    let (next, ()) = tokio::join!(begin(&mut stream), async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        client.write_all(&GET[..10]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(9)).await;
        client.write_all(&GET[10..]).await.unwrap();
    });
    assert_eq!(next, GET);
}

#[tokio::test(start_paused = true)]
async fn what_there_is_of_a_response_is_sent_while_the_rest_of_the_body_is_waited_for() {
    let (mut client, mut stream) = connected();
    client.write_all(POST).await.unwrap();
    begin(&mut stream).await;
    let said = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello";
    stream.write_all(said).await.unwrap();
    let (mut body, mut seen) = ([0; 8], vec![0; said.len()]);
    tokio::select! {
        read = stream.read(&mut body) => panic!("nothing was sent: {read:?}"),
        came = client.read_exact(&mut seen) => assert_eq!(came.unwrap(), said.len()),
    }
    assert_eq!(seen, said);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_is_given_up_after_its_silence() {
    let (mut client, mut stream) = connected();
    client.write_all(&[POST, b"bod"].concat()).await.unwrap();
    begin(&mut stream).await;
    let begun = Instant::now();
    assert!(stream.read(&mut [0; 64]).await.is_err());
    assert_eq!((begun.elapsed().as_secs(), stream.refused().unwrap().status), (30, 408));
}

#[tokio::test(start_paused = true)]
async fn silence_counts_while_somebody_wants_to_read_and_not_before() {
    let (mut client, mut stream) = connected();
    client.write_all(&[POST, b"bod"].concat()).await.unwrap();
    begin(&mut stream).await;
    // Nobody reads: the origin has not taken what came.
    tokio::time::sleep(Duration::from_secs(300)).await;
    let (read, ()) = tokio::join!(async { stream.read(&mut [0; 64]).await }, async {
        tokio::time::sleep(Duration::from_secs(29)).await;
        client.write_all(b"y").await.unwrap();
    });
    assert_eq!(read.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_to_be_told_to_go_on_is_told_and_silent_only_from_then_on() {
    const LEAVE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    for by_the_endpoint in [true, false] {
        let (mut client, mut stream) = connected();
        let head = b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n";
        client.write_all(head).await.unwrap();
        begin(&mut stream).await;
        assert!(stream.awaits_leave());
        let began = Instant::now();
        let waited = timeout(Duration::from_millis(900), stream.read(&mut [0; 64])).await;
        assert!(waited.is_err(), "{waited:?}");
        if by_the_endpoint {
            stream.write_all(LEAVE).await.unwrap();
            stream.flush().await.unwrap();
            assert!(!stream.awaits_leave());
        }
        // Where nobody else tells it within a second, the stream does; and then the body has its time.
        assert!(stream.read(&mut [0; 64]).await.is_err());
        assert_eq!(stream.refused().unwrap().status, 408);
        let told_after = if by_the_endpoint { Duration::from_millis(900) } else { Duration::from_secs(1) };
        assert_eq!(began.elapsed().as_secs(), (told_after + ClientTimeouts::default().body).as_secs());
        drop(stream);
        let mut told = Vec::new();
        client.read_to_end(&mut told).await.unwrap();
        assert_eq!(told, LEAVE);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_left_and_one_that_takes_little_is_not() {
    let (mut client, server) = duplex(1024);
    let mut stream = stream(server);
    let slowly = async {
        let mut buf = [0; 1024];
        for _ in 0..19 {
            tokio::time::sleep(Duration::from_secs(29)).await;
            client.read_exact(&mut buf).await.unwrap();
        }
        Instant::now()
    };
    let writing = async {
        stream.write_all(&[0; 20 * 1024 + 1]).await?;
        stream.flush().await
    };
    let (error, last) = tokio::join!(writing, slowly);
    assert_eq!((error.unwrap_err().kind(), last.elapsed().as_secs()), (io::ErrorKind::TimedOut, 30));
}

#[tokio::test]
async fn a_head_in_pieces_is_given_whole_and_what_is_sent_ahead_at_its_turn() {
    let (mut client, mut stream) = connected();
    let all = [GET, POST, b"12345678", GET].concat();
    let writing = async {
        for byte in &all {
            client.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let reading = async {
        assert_eq!(begin(&mut stream).await, GET);
        stream.end_request();
        let mut post = begin(&mut stream).await;
        assert!(post.starts_with(POST));
        while post.len() < POST.len() + 8 {
            post.push(stream.read_u8().await.unwrap());
        }
        assert!(post.ends_with(b"\r\n\r\n12345678"));
        stream.end_request();
        assert_eq!(begin(&mut stream).await, GET);
    };
    tokio::join!(writing, reading);
}

/// What comes of reading on behind a request.
async fn beyond(stream: &mut ClientStream<DuplexStream>) -> Option<usize> {
    let mut byte = [0];
    let read = timeout(Duration::from_secs(3600), stream.read(&mut byte)).await;
    read.ok().map(|read| read.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sent_a_request_ahead_and_left_is_noticed_and_one_that_waits_is_not() {
    for ahead in [&b""[..], b"G", GET, &[GET; 20].concat()] {
        let (mut client, mut stream) = connected();
        client.write_all(&[GET, ahead].concat()).await.unwrap();
        assert_eq!(begin(&mut stream).await, GET);
        assert_eq!(beyond(&mut stream).await, None, "it waits for its answer");
        drop(client);
        assert_eq!(beyond(&mut stream).await, Some(0), "it left");
    }
}

#[tokio::test(start_paused = true)]
async fn of_what_a_client_sends_ahead_no_more_is_held_than_may_be_and_nothing_is_lost() {
    let (mut client, mut stream) = connected();
    let all = GET.repeat(48 * 1024 / GET.len());
    client.write_all(&all).await.unwrap();
    assert_eq!(begin(&mut stream).await, GET);
    assert_eq!(beyond(&mut stream).await, None);
    assert!(stream.inbound.held() <= 17 * 1024, "{} bytes", stream.inbound.held());
    for _ in 1..all.len() / GET.len() {
        stream.end_request();
        assert_eq!(begin(&mut stream).await, GET);
    }
    assert_eq!(stream.inbound.held(), 0);
}

#[tokio::test]
async fn what_is_malformed_is_answered_and_counted_and_pingora_has_none_of_it() {
    let (mut client, mut stream) = connected();
    client.write_all(b"GET / HTTP/1.1\r\nhost : shop\r\n\r\n").await.unwrap();
    let (given, answer) = tokio::join!(async { stream.read(&mut [0; 4096]).await.unwrap() }, async {
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        drop(client);
        answer
    });
    assert_eq!(given, 0);
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("space before its colon\n"), "{answer}");
    assert_eq!(stream.unmatched.meter.responses()[Class::Local as usize], 1);
}

#[tokio::test]
async fn a_head_that_pingora_refuses_by_itself_is_counted() {
    let (mut client, mut stream) = connected();
    client.write_all(GET).await.unwrap();
    assert_eq!(stream.read(&mut [0; 4096]).await.unwrap(), GET.len());
    let meter = Arc::clone(&stream.unmatched.meter);
    drop(stream);
    assert_eq!(meter.responses()[Class::Local as usize], 1);
}

#[tokio::test]
async fn a_flood_of_pings_ends_its_connection_with_a_word_of_why() {
    let (mut client, mut stream) = connected();
    let flood = [&PREFACE[..], &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8].repeat(3_000)].concat();
    client.write_all(&flood).await.unwrap();
    stream.learn_protocol().await.unwrap();
    let mut seen = Vec::new();
    assert_eq!(stream.read_to_end(&mut seen).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert_eq!(stream.unmatched.meter.responses()[Class::Local as usize], 1);
    drop(stream);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11]);
}

#[tokio::test]
async fn what_is_malformed_within_a_request_is_pingoras_to_answer() {
    let (mut client, mut stream) = connected();
    client.write_all(b"POST / HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    begin(&mut stream).await;
    client.write_all(b"no size\r\n").await.unwrap();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert_eq!(stream.unmatched.meter.responses()[Class::Local as usize], 0, "it is a request's, and counted with it");
}

#[tokio::test(start_paused = true)]
async fn a_head_of_http2_that_drips_has_no_more_time_than_any_other() {
    let (mut client, mut stream) = connected();
    let (headers, continuation) = ([0, 0, 0, 1, 1, 0, 0, 0, 1], [0, 0, 0, 9, 0, 0, 0, 0, 1]);
    client.write_all(&[&PREFACE[..], &headers].concat()).await.unwrap();
    stream.learn_protocol().await.unwrap();
    let begun = Instant::now();
    let dripping = async {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(3)).await;
            client.write_all(&continuation).await.unwrap();
        }
    };
    let mut seen = Vec::new();
    let ended = tokio::select! {
        () = dripping => panic!("it was given more time with each frame"),
        ended = stream.read_to_end(&mut seen) => ended,
    };
    assert_eq!((ended.unwrap_err().kind(), begun.elapsed().as_secs()), (io::ErrorKind::TimedOut, 10));
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
    assert!(stream.is_http2());
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
