//! The connections of a load.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::Protocol;
use super::passage::{Ending, Failure};

type Body = Full<Bytes>;

/// Requests at a time on one HTTP/2 connection. Servers commonly allow 100 or more.
const STREAMS: usize = 100;

/// The connections to one address.
#[derive(Debug)]
pub(super) struct Client {
    target: SocketAddr,
    protocol: Protocol,
    idle_limit: usize,
    /// HTTP/1 connections without a request, the last used at the end.
    idle: Mutex<Vec<Http1>>,
    /// HTTP/2 connections; each holder of a clone has a request on it.
    shared: Mutex<Vec<Arc<Http2>>>,
}

/// An HTTP/1 connection. hyper closes it once this is dropped, whatever is under way on it.
type Http1 = http1::SendRequest<Body>;
/// An HTTP/2 connection.
type Http2 = http2::SendRequest<Body>;

/// A connection in use. Dropping it closes it (HTTP/1) or gives its place free (HTTP/2).
#[derive(Debug)]
pub(super) struct Lease(Leased);

#[derive(Debug)]
enum Leased {
    Http1(Http1),
    Http2(#[expect(dead_code, reason = "held, never read: clones count the requests on a connection")] Arc<Http2>),
}

impl Client {
    pub(super) fn new(target: SocketAddr, protocol: Protocol, idle_limit: usize) -> Self {
        Self { target, protocol, idle_limit, idle: Mutex::default(), shared: Mutex::default() }
    }

    /// Sends a request and returns with the response's head.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<(Response<Incoming>, Lease), Ending> {
        match self.protocol {
            Protocol::Http1 => self.send_http1(request).await,
            Protocol::H2c => self.send_http2(request).await,
        }
    }

    /// Takes a connection back whose response was read to its end.
    pub(super) async fn give_back(&self, lease: Lease) {
        if let Leased::Http1(mut connection) = lease.0
            // An error: the server wants the connection closed.
            && connection.ready().await.is_ok()
        {
            let mut idle = self.idle.lock();
            if idle.len() < self.idle_limit {
                idle.push(connection);
            }
        }
    }

    async fn send_http1(&self, mut request: Request<Body>) -> Result<(Response<Incoming>, Lease), Ending> {
        loop {
            let kept = self.take_idle();
            let was_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.open_http1().await?,
            };
            match connection.try_send_request(request).await {
                Ok(response) => return Ok((response, Lease(Leased::Http1(connection)))),
                Err(mut error) => match error.take_message() {
                    // The server had closed this idle connection, and not one byte was sent: no retry, just another.
                    Some(unsent) if was_kept => request = unsent,
                    _ => return Err(Ending::Failed(failure(error.error()))),
                },
            }
        }
    }

    fn take_idle(&self) -> Option<Http1> {
        let mut idle = self.idle.lock();
        while let Some(connection) = idle.pop() {
            if connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    async fn open_http1(&self) -> Result<Http1, Ending> {
        let io = self.connect().await?;
        let (sender, connection) = http1::handshake(io).await.map_err(|error| Ending::Failed(failure(&error)))?;
        // What ends the connection is told to its request.
        tokio::spawn(async { drop(connection.await) });
        Ok(sender)
    }

    async fn send_http2(&self, mut request: Request<Body>) -> Result<(Response<Incoming>, Lease), Ending> {
        loop {
            let kept = self.share();
            let was_kept = kept.is_some();
            let connection = match kept {
                Some(connection) => connection,
                None => self.open_http2().await?,
            };
            match Http2::clone(&connection).try_send_request(request).await {
                Ok(response) => return Ok((response, Lease(Leased::Http2(connection)))),
                Err(mut error) => match error.take_message() {
                    Some(unsent) if was_kept && connection.is_closed() => request = unsent,
                    _ => return Err(Ending::Failed(failure(error.error()))),
                },
            }
        }
    }

    /// A connection with a free place. Closed ones are forgotten.
    fn share(&self) -> Option<Arc<Http2>> {
        let mut shared = self.shared.lock();
        shared.retain(|connection| !connection.is_closed());
        // One count is the list's own.
        shared.iter().find(|connection| Arc::strong_count(connection) <= STREAMS).cloned()
    }

    async fn open_http2(&self) -> Result<Arc<Http2>, Ending> {
        let io = self.connect().await?;
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), io).await.map_err(|error| Ending::Failed(failure(&error)))?;
        tokio::spawn(async { drop(connection.await) });
        let connection = Arc::new(sender);
        let mut shared = self.shared.lock();
        if shared.len() < self.idle_limit {
            shared.push(Arc::clone(&connection));
        }
        Ok(connection)
    }

    async fn connect(&self) -> Result<TokioIo<TcpStream>, Ending> {
        let stream = TcpStream::connect(self.target).await.map_err(|error| not_connected(&error))?;
        // Without it small requests wait for acknowledgements; a socket that cannot is slow, not wrong.
        drop(stream.set_nodelay(true));
        Ok(TokioIo::new(stream))
    }
}

/// Why there is no connection: the target's fault, or ours.
fn not_connected(error: &io::Error) -> Ending {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::EADDRNOTAVAIL | libc::ENOBUFS) => Ending::NoSocket,
        _ if error.kind() == io::ErrorKind::ConnectionRefused => Ending::Failed(Failure::Refused),
        _ if error.kind() == io::ErrorKind::ConnectionReset => Ending::Failed(Failure::Reset),
        _ => Ending::Failed(Failure::NotConnected),
    }
}

/// Why there is no complete response.
pub(super) fn failure(error: &hyper::Error) -> Failure {
    let mut cause = error.source();
    while let Some(inner) = cause {
        match inner.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted) => {
                return Failure::Reset;
            }
            Some(io::ErrorKind::UnexpectedEof) => return Failure::CutShort,
            Some(_) | None => cause = inner.source(),
        }
    }
    if error.is_parse() {
        Failure::NotHttp
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        Failure::CutShort
    } else {
        Failure::Other
    }
}
