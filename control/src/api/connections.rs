//! Accepts connections and bounds what each may cost: how many there are, how long a head may take, and how long a
//! client may read nothing. Whoever has asked for nothing makes room for who comes, so that nobody keeps an operator, or
//! what watches this process, out by being silent.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Sleep, sleep, timeout};

/// At most this many connections are open. Another one takes the place of the one that has been idle longest; where none
/// is idle it waits in the listener's backlog.
const CONNECTIONS: usize = 256;
/// A request head, and the idle time before it, may take this long.
const HEAD: Duration = Duration::from_secs(10);
/// A client that takes not one byte of a response for this long is gone.
const STALLED: Duration = Duration::from_secs(30);
/// After an error on accept (no file descriptor left, most likely) the next try waits this long.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// What requests under way get at the end.
const FINISH: Duration = Duration::from_secs(1);

/// What a stream of events is.
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Serves until `stopping` turns true (or its sender is gone).
pub(super) async fn serve(listener: TcpListener, router: Router, mut stopping: watch::Receiver<bool>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut taken = VecDeque::new();
    let mut fails = false;
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut stopping) => break,
            accepted = listener.accept() => accepted,
        };
        if seats.available_permits() == 0 {
            make_room(&mut taken);
        }
        // The semaphore is never closed; were it, serving would end rather than spin.
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { break };
        match accepted {
            Ok((stream, _)) => {
                fails = false;
                let (router, stopping, busy) = (router.clone(), stopping.clone(), Arc::<AtomicBool>::default());
                let place = Arc::clone(&busy);
                let conversation = connections.spawn(async move {
                    converse(stream, router, stopping, busy).await;
                    drop(seat);
                });
                taken.push_back(Taken { conversation, busy: place });
            }
            Err(error) => {
                // Told once, however long it goes on.
                if !std::mem::replace(&mut fails, true) {
                    tracing::warn!(%error, "control API: cannot accept");
                }
                sleep(ACCEPT_AGAIN).await;
            }
        }
        while connections.try_join_next().is_some() {}
        taken.retain(|taken| !taken.conversation.is_finished());
    }
    drop(listener);
    // Those that take longer are cut off when the set is dropped.
    let _ = timeout(FINISH, async { while connections.join_next().await.is_some() {} }).await;
}

/// A connection that is open.
struct Taken {
    conversation: AbortHandle,
    /// A request of it is under way.
    busy: Arc<AtomicBool>,
}

/// Ends the connection that came first of those that ask for nothing.
fn make_room(taken: &mut VecDeque<Taken>) {
    let is_idle = |taken: &Taken| !taken.busy.load(Ordering::Relaxed) && !taken.conversation.is_finished();
    if let Some(idle) = taken.iter().position(is_idle).and_then(|place| taken.remove(place)) {
        idle.conversation.abort();
    }
}

/// Waits until the server stops.
pub(super) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that the server was dropped, which stops it as well.
    drop(stopping.wait_for(|stop| *stop).await);
}

/// `busy` is kept true while a request is under way, and for good once a stream of events has begun.
async fn converse(stream: TcpStream, router: Router, mut stopping: watch::Receiver<bool>, busy: Arc<AtomicBool>) {
    // Small answers go out at once; where it cannot be set they go out a little later.
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request| {
        busy.store(true, Ordering::Relaxed);
        let (answer, busy) = (router.call(request), Arc::clone(&busy));
        async move {
            let answer = answer.await;
            let is_stream = |answer: &Response<Body>| answer.headers().get(CONTENT_TYPE) == Some(&EVENTS);
            busy.store(answer.as_ref().is_ok_and(is_stream), Ordering::Relaxed);
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(Patient::new(stream)), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "control API: a connection ended early");
    }
}

/// A stream whose writes fail when the peer takes nothing for [`STALLED`].
struct Patient {
    stream: TcpStream,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn new(stream: TcpStream) -> Self {
        Self { stream, stalled: None }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALLED)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
