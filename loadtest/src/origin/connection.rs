//! One connection of an origin, to its end, orderly or not.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{Shared, answer};
use crate::background::Stop;

/// How a connection ends in place of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// With a TCP reset.
    Reset,
    /// With these bytes, then closed.
    Bytes(Bytes),
}

/// What a request tells hyper so that it gives the connection back without answering.
#[derive(Debug)]
pub(super) struct NoAnswer;

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the dial says not to answer")
    }
}

impl std::error::Error for NoAnswer {}

/// Serves a connection until the client closes it, a request meets a fate, or one of these says to end.
pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>, ends: [Stop; 2]) {
    let [mut stop, mut leave] = ends;
    let fate = Arc::new(Mutex::new(None));
    let met = Arc::clone(&fate);
    let service = service_fn(move |request| {
        let (shared, met) = (Arc::clone(&shared), Arc::clone(&met));
        // Boxed, because taking the connection back wants futures that can be moved.
        Box::pin(async move {
            answer::answer(&shared, request).await.map_err(|fate| {
                *met.lock() = Some(fate);
                NoAnswer
            })
        })
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut draining = false;
    loop {
        tokio::select! {
            // An error is the client's leaving or a fate.
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => {
                drop(ended);
                break;
            }
            () = async { tokio::select! { () = stop.wanted() => (), () = leave.wanted() => () } }, if !draining => {
                draining = true;
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
        }
    }
    let mut stream = connection.into_parts().io.into_inner();
    // From here on an error means that the client is gone already.
    let fate = fate.lock().take();
    match fate {
        Some(Fate::Reset) => drop(stream.set_zero_linger()),
        Some(Fate::Bytes(bytes)) => {
            if stream.write_all(&bytes).await.is_ok() {
                drop(stream.shutdown().await);
            }
        }
        None => drop(stream.shutdown().await),
    }
}
