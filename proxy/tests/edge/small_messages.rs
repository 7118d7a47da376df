//! Streams of many small messages over HTTP/2, as gRPC has them: far more frames than h2 would put up with by itself.

use proxy::client_stream::ClientTimeouts;

use crate::fixture::{Shop, configuration, exchange, nobody};
use crate::http2::http2_server;
use crate::raw_http2::{DATA, END_HEADERS, END_STREAM, HEADERS, Raw, Seen, WINDOW_UPDATE, fields, frame};
use crate::sparing::origin;

/// So many messages are sent at once.
const MESSAGES: usize = 4_000;
/// Each with so many bytes.
const MESSAGE: &[u8] = b"fifteen bytes!\n";

#[tokio::test]
async fn an_endpoint_may_answer_with_thousands_of_small_messages() {
    let address = http2_server(|mut connection, _| async move {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut body = respond.send_response(http::Response::new(()), false).unwrap();
            for _ in 0..MESSAGES {
                body.send_data(MESSAGE.into(), false).unwrap();
            }
            body.send_data(Default::default(), true).unwrap();
        }
    })
    .await;
    let mut configuration = configuration(&[address], &[nobody()], "");
    configuration.services[0].versions[0].protocol = config::Protocol::H2c;
    let shop = Shop::serve(1, 0, &configuration, ClientTimeouts::default());
    for _ in 0..3 {
        let answer = exchange(shop.address(), b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").await;
        assert_eq!(answer.matches("fifteen bytes!").count(), MESSAGES);
    }
    shop.idle("v1").await;
    assert_eq!(shop.tally("v1").bad(), 0, "nothing is charged to the version");
}

#[tokio::test]
async fn a_client_may_send_thousands_of_small_messages_and_give_windows_back_for_each() {
    let origin = origin("v1").await;
    let shop = Shop::under(&[origin.address()], |_| {});
    let mut client = Raw::connect(&shop).await;
    let head = fields(&[(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "shop")]);
    let mut bytes = frame(HEADERS, END_HEADERS, 1, &head);
    for _ in 0..MESSAGES {
        bytes.extend(frame(DATA, 0, 1, MESSAGE));
        bytes.extend(frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()));
    }
    bytes.extend(frame(DATA, END_STREAM, 1, b""));
    client.send(&bytes).await;
    assert_eq!(client.next().await, Some(Seen::Response(1, 200)));
}
