//! A WebSocket that is asked to close, between a client's pipe and pingora's hands, under a paused clock.

use std::sync::Arc;

use meter::ServiceMeter;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;

use super::super::{ClientStream, ClientTimeouts, Unmatched};
use super::*;
use crate::access_log::Unread;

const UPGRADE: &[u8] = b"GET /chat HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
const SWITCHED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n";

/// A client and the stream that pingora has of it, with a tunnel between them, and what asks it to close.
async fn tunnel() -> (DuplexStream, ClientStream<DuplexStream>, Arc<Parting>) {
    let (mut client, server) = duplex(64 * 1024);
    let unmatched = Unmatched { meter: Arc::new(ServiceMeter::new(1)), core: 0, log: Unread::default() };
    let mut stream = ClientStream::new(server, 1, None, ClientTimeouts::default(), unmatched);
    client.write_all(UPGRADE).await.unwrap();
    assert_eq!(said(&mut stream).await, UPGRADE);
    stream.begin_request();
    let parting = Arc::new(Parting::default());
    stream.begin_tunnel(Some(Arc::clone(&parting)));
    tell(&mut stream, SWITCHED).await;
    assert_eq!(heard(&mut client, SWITCHED.len()).await, SWITCHED);
    (client, stream, parting)
}

/// What pingora reads next.
async fn said(stream: &mut ClientStream<DuplexStream>) -> Vec<u8> {
    let mut buffer = [0; 1024];
    let count = stream.read(&mut buffer).await.unwrap();
    buffer[..count].to_vec()
}

/// pingora writes this, from the endpoint.
async fn tell(stream: &mut ClientStream<DuplexStream>, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
}

/// So many bytes that the client hears.
async fn heard(client: &mut DuplexStream, count: usize) -> Vec<u8> {
    let mut buffer = vec![0; count];
    client.read_exact(&mut buffer).await.unwrap();
    buffer
}

fn goodbye() -> Vec<u8> {
    frames::close(GOING_AWAY, WHY, None)
}

fn of_client(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend(payload);
    frame
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_told_at_once_and_its_answer_is_the_last_thing_that_the_endpoint_hears() {
    let (mut client, mut stream, parting) = tunnel().await;
    let reading = tokio::spawn(async move {
        let (first, second) = (said(&mut stream).await, said(&mut stream).await);
        (first, second, said(&mut stream).await)
    });
    tokio::task::yield_now().await;
    parting.ask();
    let goodbye = goodbye();
    assert_eq!(heard(&mut client, goodbye.len()).await, goodbye);
    // It has not heard it yet.
    client.write_all(&of_client(b"hi")).await.unwrap();
    tokio::task::yield_now().await;
    let answer = frames::close(GOING_AWAY, b"", Some([1, 2, 3, 4]));
    client.write_all(&answer).await.unwrap();
    let began = Instant::now();
    assert_eq!(reading.await.unwrap(), (of_client(b"hi"), answer, vec![]));
    assert_eq!(began.elapsed(), std::time::Duration::ZERO, "nobody is waited for");
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_being_sent_is_sent_to_its_end_and_nothing_after_the_close() {
    let (mut client, mut stream, parting) = tunnel().await;
    let message = [&[0x01, 10][..], b"0123456789"].concat();
    tell(&mut stream, &message[..5]).await;
    parting.ask();
    // Whoever reads finds that it is not the time.
    assert!(tokio::time::timeout(PATIENCE / 2, said(&mut stream)).await.is_err());
    // The end of the frame, a ping, and the next fragment: the first alone is of use.
    tell(&mut stream, &[&message[5..], &[0x89, 0][..], &[0x80, 1, b'x'][..]].concat()).await;
    tell(&mut stream, &[0x81, 1, b'y']).await;
    drop(stream);
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, [message, goodbye()].concat());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_answer_is_left_after_a_while_and_the_endpoint_told_in_its_place() {
    let (mut client, mut stream, parting) = tunnel().await;
    parting.ask();
    let began = Instant::now();
    let told = said(&mut stream).await;
    assert_eq!(began.elapsed(), PATIENCE);
    let mut frames = Frames::of_client();
    frames.pass(&told);
    assert!(frames.has_closed() && frames.is_between(), "{told:?}");
    assert!(said(&mut stream).await.is_empty());
    assert_eq!(heard(&mut client, goodbye().len()).await, goodbye());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_in_the_middle_of_hearing_something_is_not_told_in_between() {
    let (mut client, mut stream, parting) = tunnel().await;
    client.write_all(&of_client(b"0123456789")[..9]).await.unwrap();
    assert_eq!(said(&mut stream).await.len(), 9);
    parting.ask();
    assert!(said(&mut stream).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_endpoint_has_closed_is_not_told_again() {
    let (mut client, mut stream, parting) = tunnel().await;
    let close = frames::close(1000, b"done", None);
    tell(&mut stream, &close).await;
    parting.ask();
    assert!(!said(&mut stream).await.is_empty());
    drop(stream);
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, close);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_before_the_tunnel_has_begun_waits_for_the_end_of_its_head() {
    let (mut client, server) = duplex(64 * 1024);
    let unmatched = Unmatched { meter: Arc::new(ServiceMeter::new(1)), core: 0, log: Unread::default() };
    let mut stream = ClientStream::new(server, 1, None, ClientTimeouts::default(), unmatched);
    client.write_all(UPGRADE).await.unwrap();
    assert_eq!(said(&mut stream).await, UPGRADE);
    stream.begin_request();
    let parting = Arc::new(Parting::default());
    parting.ask();
    stream.begin_tunnel(Some(parting));
    for byte in SWITCHED {
        tell(&mut stream, &[*byte]).await;
    }
    let all = [SWITCHED, &goodbye()].concat();
    assert_eq!(heard(&mut client, all.len()).await, all);
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_that_is_no_websocket_after_all_ends_at_once() {
    let (mut client, mut stream, parting) = tunnel().await;
    tell(&mut stream, b"SSH-2.0-OpenSSH_9.6\r\n").await;
    parting.ask();
    let began = Instant::now();
    assert!(said(&mut stream).await.is_empty());
    assert_eq!(began.elapsed(), std::time::Duration::ZERO);
    drop(stream);
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"SSH-2.0-OpenSSH_9.6\r\n");
}
