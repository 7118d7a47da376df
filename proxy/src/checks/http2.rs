//! A check over HTTP/2.

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{Connection, ResponseFuture};
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};

use super::asking::Asked;

/// The longest list of fields, as HTTP/2 counts them.
const HEAD: u32 = 64 * 1024;
/// What an endpoint may send of a body before it is told that some was read.
const WINDOW: u32 = 16 * 1024;

/// The status of the answer. What follows its head is not read.
pub(super) async fn status(stream: impl AsyncRead + AsyncWrite + Unpin, asked: &Asked<'_>) -> Result<u16, String> {
    let request = request("GET", asked)?;
    let (connection, response) = send(stream, request, None).await?;
    let answer = async { response.await.map(|response| response.status().as_u16()).map_err(|error| no_answer(&error)) };
    with(connection, answer).await
}

/// A request without further fields.
pub(super) fn request(method: &str, asked: &Asked<'_>) -> Result<Request<()>, String> {
    let uri = format!("{}://{}{}", asked.scheme, asked.host, asked.path);
    let request = Request::builder().method(method).uri(uri).header("user-agent", "tidegate-health").body(());
    request.map_err(|error| format!("its path or host is none for HTTP/2: {error}"))
}

/// Sends a request on a new connection, which does nothing until it is driven by [`with`].
pub(super) async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: Request<()>,
    body: Option<Bytes>,
) -> Result<(Connection<S, Bytes>, ResponseFuture), String> {
    let handshake = h2::client::Builder::new()
        .enable_push(false)
        .max_header_list_size(HEAD)
        .initial_window_size(WINDOW)
        .handshake::<_, Bytes>(stream);
    let (mut requests, connection) = handshake.await.map_err(|error| no_answer(&error))?;
    let (response, mut sent) = requests.send_request(request, body.is_none()).map_err(|error| no_answer(&error))?;
    if let Some(body) = body {
        sent.send_data(body, true).map_err(|error| no_answer(&error))?;
    }
    Ok((connection, response))
}

/// What comes of `answer` while its connection is driven.
pub(super) async fn with<S: AsyncRead + AsyncWrite + Unpin, T>(
    connection: Connection<S, Bytes>,
    answer: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            // What was read to the end of the connection is there.
            Ok(()) => answer.await,
            Err(error) => Err(no_answer(&error)),
        },
    }
}

/// A response's body up to `most` bytes; more is an error.
pub(super) async fn body(response: Response<RecvStream>, most: usize) -> Result<(Vec<u8>, RecvStream), String> {
    let mut stream = response.into_body();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece.map_err(|error| no_answer(&error))?;
        if body.len() + piece.len() > most {
            return Err(format!("its answer is longer than {most} bytes"));
        }
        body.extend_from_slice(&piece);
        // An error means that the stream is over.
        let _ = stream.flow_control().release_capacity(piece.len());
    }
    Ok((body, stream))
}

pub(super) fn no_answer(error: &h2::Error) -> String {
    format!("no answer over HTTP/2: {error}")
}
