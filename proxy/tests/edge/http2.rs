//! Servers that speak HTTP/2 without TLS.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use tokio::net::{TcpListener, TcpStream};

/// A server that does this with each connection, of which it is told the number.
pub(crate) async fn http2_server<F>(
    serve: impl Fn(Connection<TcpStream, Bytes>, u64) -> F + Send + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(tokio::spawn(async move {
        for place in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            let Ok(connection) = h2::server::handshake(stream).await else { continue };
            drop(tokio::spawn(serve(connection, place)));
        }
    }));
    address
}

/// An empty 200.
pub(crate) fn answer(respond: &mut SendResponse<Bytes>) {
    respond.send_response(hyper::Response::new(()), true).unwrap();
}

/// A server that answers each request when it is whole, or never.
pub(crate) async fn http2_origin(hangs: bool) -> SocketAddr {
    http2_server(move |mut connection, _| async move {
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            drop(tokio::spawn(async move {
                let mut body = request.into_body();
                while let Some(Ok(piece)) = body.data().await {
                    body.flow_control().release_capacity(piece.len()).unwrap();
                }
                if hangs {
                    std::future::pending::<()>().await;
                }
                answer(&mut respond);
            }));
        }
    })
    .await
}
