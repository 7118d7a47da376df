//! One attempt's way to its endpoint: a connection that waits, or a new one.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream as L4Stream;
use pingora_core::protocols::l4::virt::VirtualSocketStream;
use pingora_error::{Error, ErrorType, Result};

use super::UpstreamStream;
use super::line::Line;
use super::pool::Pool;
use crate::client_stream::head_check::HeadLimits;
use crate::endpoint::Endpoint;
use crate::told::Told;

/// What the request of an attempt is like, as far as its connection must know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// It is a HEAD: no body follows the head of its response.
    pub(crate) is_head: bool,
    /// Its body may be sent in chunks, each of which is written in pieces and then flushed.
    pub(crate) in_chunks: bool,
    /// It is sent on a connection of its own, which nobody uses after it.
    pub(crate) is_apart: bool,
    /// How long the endpoint may say nothing while something is awaited of it; none: as long as it wants. It may turn out
    /// that it has longer ([`Link::is_patient`]).
    pub(crate) silence: Option<Duration>,
    /// How much a response head may be.
    pub(crate) limits: HeadLimits,
}

/// What pingora asks for the connection of one attempt.
#[derive(Debug)]
pub(crate) struct Link {
    /// Itself, for the stream that it makes.
    me: Weak<Self>,
    pub(super) pool: Arc<Pool>,
    pub(super) at: Arc<Endpoint>,
    pub(crate) asked: Asked,
    /// What the origin is told beside what pingora writes of the request's head: whole lines.
    told: Mutex<Vec<u8>>,
    /// -1 before there is one.
    fd: AtomicI32,
    is_reused: AtomicBool,
    /// How long the endpoint may say nothing, in milliseconds; 0: what was asked holds.
    patience_ms: AtomicU64,
}

impl Link {
    pub(crate) fn new(pool: &Arc<Pool>, at: Arc<Endpoint>, asked: Asked) -> Arc<Self> {
        let (fd, is_reused) = (AtomicI32::new(-1), AtomicBool::new(false));
        let (pool, told, patience_ms) = (Arc::clone(pool), Mutex::default(), AtomicU64::new(0));
        Arc::new_cyclic(|me| Self { me: Weak::clone(me), pool, at, asked, told, fd, is_reused, patience_ms })
    }

    /// Tells the origin these fields, with the head that pingora is about to write.
    pub(crate) fn tell(&self, told: Told) {
        *self.told.lock() = told.into_lines();
    }

    /// From now on the endpoint may say nothing for so long.
    pub(crate) fn is_patient(&self, silence: Duration) {
        self.patience_ms.store(u64::try_from(silence.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long the endpoint may say nothing; none: as long as it wants.
    pub(super) fn silence(&self) -> Option<Duration> {
        match self.patience_ms.load(Ordering::Relaxed) {
            0 => self.asked.silence,
            millis => Some(Duration::from_millis(millis)),
        }
    }

    /// What the origin is told, once.
    pub(super) fn take_told(&self) -> Vec<u8> {
        std::mem::take(&mut *self.told.lock())
    }

    /// A new connection. Where descriptors are missing for one, one that waits makes room for it.
    async fn dial(&self) -> Result<Line> {
        let dialled = Line::to(self.at.dialled(), self.pool.connector()).await;
        match dialled {
            Err(error) if *error.etype() == ErrorType::SocketError && self.pool.make_room() => {
                Line::to(self.at.dialled(), self.pool.connector()).await
            }
            dialled => dialled,
        }
    }

    /// Whom it leads to.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.at
    }

    /// The connection: one that waits, or a new one. Errors are those of pingora's own connector.
    pub(crate) async fn open(&self) -> Result<UpstreamStream> {
        let waiting = if self.asked.is_apart { None } else { self.pool.take(self.at.pool_key()) };
        self.is_reused.store(waiting.is_some(), Ordering::Relaxed);
        let line = match waiting {
            Some(line) => line,
            // Apart, since it is large with all that a handshake needs: mostly there is none.
            None => Box::pin(self.dial()).await?,
        };
        self.fd.store(line.as_raw_fd(), Ordering::Relaxed);
        // Whoever connects by it holds it.
        let Some(link) = self.me.upgrade() else { return Err(Error::new_in(ErrorType::InternalError)) };
        Ok(UpstreamStream::new(line, link))
    }

    /// The descriptor of its connection; none before there is one. pingora knows none.
    pub(crate) fn fd(&self) -> Option<RawFd> {
        Some(self.fd.load(Ordering::Relaxed)).filter(|fd| *fd >= 0)
    }

    /// Whether its connection had carried requests before.
    pub(crate) fn is_reused(&self) -> bool {
        self.is_reused.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl L4Connect for Link {
    /// Errors are those of pingora's own connector.
    async fn connect(&self, _: &SocketAddr) -> Result<L4Stream> {
        Ok(L4Stream::from(VirtualSocketStream::new(Box::new(self.open().await?))))
    }
}
