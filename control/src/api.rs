//! The control API: what people and programs ask of a running Tidegate over HTTP.
//!
//! It runs on a thread and a runtime of its own, so that a saturated data plane cannot silence it. Reads come from
//! the snapshot that the control loop last published and wait for nothing; changes go to the control loop and wait
//! for its answer. Every error is an `application/problem+json` (RFC 9457) that says what is wrong and what is legal.
//!
//! Who may ask: a request needs the bearer token where one is set (the probes `/livez` and `/readyz` excepted). A
//! request without a valid token must name a host that no foreign DNS can point here, and every change must be
//! `application/json`, which a browser does not send across sites without asking first.

mod body;
mod changes;
mod connections;
mod guard;
mod nearest;
mod openapi;
mod problem;
mod reads;
mod routes;
mod stream;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};

use tokio::sync::{Mutex, Semaphore, watch};

use crate::handle::Handle;
use crate::plane::Resolved;
use crate::process::Process;

/// Reads the configuration again and resolves its endpoints; may block. Fails with every problem, one a line.
pub type Reload = Arc<dyn Fn() -> Result<Resolved, Vec<String>> + Send + Sync>;

/// How the control API is served.
#[derive(Clone, Default)]
pub struct ApiOptions {
    /// What opens the API as `Authorization: Bearer TOKEN`; never empty. None: no token is needed, which is fit for a
    /// loopback address alone.
    pub token: Option<String>,
    /// Set when the process drains: `/readyz` turns 503.
    pub draining: Arc<AtomicBool>,
    /// What the process tells of itself.
    pub process: Process,
    /// Held by whoever reloads, from the reading of the file until it is in force: one at a time, so that an older file
    /// can never be installed over a newer one. A reload by signal takes its turn here too.
    pub reloading: Arc<Mutex<()>>,
}

impl fmt::Debug for ApiOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is a secret: a log shows whether there is one.
        f.debug_struct("ApiOptions")
            .field("token", &self.token.is_some())
            .field("draining", &self.draining)
            .finish_non_exhaustive()
    }
}

/// What every request sees.
#[derive(Clone)]
struct Api(Arc<Shared>);

struct Shared {
    options: ApiOptions,
    handle: Handle,
    reload: Reload,
    /// A permit for each reader of events.
    readers: Arc<Semaphore>,
    /// Turns true when the server stops.
    stopping: watch::Receiver<bool>,
}

impl std::ops::Deref for Api {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// A running control API. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct ApiServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// Serves the control API on `listener`, on a thread of its own, until [`ApiServer::stop`].
///
/// # Errors
/// Where a token is empty, the listener is not usable, or the system gives no thread or runtime.
pub fn start(options: ApiOptions, listener: TcpListener, handle: Handle, reload: Reload) -> io::Result<ApiServer> {
    if options.token.as_deref() == Some("") {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the token of the control API is empty"));
    }
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let (stop, stopping) = watch::channel(false);
    let api = Api(Arc::new(Shared {
        options,
        handle,
        reload,
        readers: Arc::new(Semaphore::new(stream::READERS)),
        stopping: stopping.clone(),
    }));
    let router = routes::router(api);
    let thread = thread::Builder::new().name("control-api".into()).spawn(move || {
        runtime.block_on(connections::serve(listener, router, stopping));
        // A reload that still resolves names must not hold up the end.
        runtime.shutdown_background();
    })?;
    Ok(ApiServer { address, stop, thread: Some(thread) })
}

impl ApiServer {
    /// The address it is bound to, with the port that the system chose where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, ends event streams, lets requests under way finish for up to a second, and returns when the
    /// thread is gone.
    pub fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the control API's thread panicked");
        }
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}
