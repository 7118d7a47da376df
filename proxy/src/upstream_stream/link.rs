//! One attempt's way to its endpoint: a connection that waits, or a new one.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, header};
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

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// How `Keep-Alive` says for how many seconds.
const TIMEOUT: &[u8] = b"timeout=";
/// A connection is given up so long before its endpoint does, or in the middle of its time where that is shorter.
const AHEAD: Duration = Duration::from_secs(1);

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
    /// The same before it has all of the request, where that is not there yet: it may have nothing to say.
    pub(crate) silence_before_the_end: Option<Duration>,
    /// How long the endpoint may take nothing of what waits for it; none: as long as it wants.
    pub(crate) uptake: Option<Duration>,
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
    /// The rest of the request is still to come.
    is_uploading: AtomicBool,
    /// Since when the endpoint has taken nothing of what waits for it, if something does.
    untaken_since: Mutex<Option<Instant>>,
    /// For how long the endpoint keeps its connection behind this response, in milliseconds; as long as it may wait at all,
    /// where it does not say.
    kept_ms: AtomicU64,
}

impl Link {
    pub(crate) fn new(pool: &Arc<Pool>, at: Arc<Endpoint>, asked: Asked) -> Arc<Self> {
        let (fd, is_reused) = (AtomicI32::new(-1), AtomicBool::new(false));
        let (pool, told, patience_ms) = (Arc::clone(pool), Mutex::default(), AtomicU64::new(0));
        let (is_uploading, kept_ms) =
            (AtomicBool::new(asked.silence_before_the_end.is_some()), AtomicU64::new(u64::MAX));
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            pool,
            at,
            asked,
            told,
            fd,
            is_reused,
            patience_ms,
            is_uploading,
            untaken_since: Mutex::default(),
            kept_ms,
        })
    }

    /// Tells the origin these fields, with the head that pingora is about to write.
    pub(crate) fn tell(&self, told: Told) {
        *self.told.lock() = told.into_lines();
    }

    /// From now on the endpoint may say nothing for so long.
    pub(crate) fn is_patient(&self, silence: Duration) {
        self.patience_ms.store(u64::try_from(silence.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The endpoint is about to have all of the request.
    pub(crate) fn is_told_all(&self) {
        self.is_uploading.store(false, Ordering::Relaxed);
    }

    pub(super) fn set_untaken_since(&self, since: Option<Instant>) {
        *self.untaken_since.lock() = since;
    }

    /// Since when the endpoint has taken nothing of what waits for it, if something does.
    pub(crate) fn untaken_since(&self) -> Option<Instant> {
        *self.untaken_since.lock()
    }

    /// How long the endpoint may say nothing; none: as long as it wants.
    pub(super) fn silence(&self) -> Option<Duration> {
        if self.is_uploading.load(Ordering::Relaxed) {
            return self.asked.silence_before_the_end;
        }
        match self.patience_ms.load(Ordering::Relaxed) {
            0 => self.asked.silence,
            millis => Some(Duration::from_millis(millis)),
        }
    }

    /// A response head came: for how long its connection may wait for the next request is what these fields say of it,
    /// where they say less than is set. pingora reads the first `Connection` alone.
    pub(crate) fn hear(&self, fields: &HeaderMap) {
        if let Some(kept) = kept(fields) {
            self.kept_ms.store(u64::try_from(kept.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// For how long its connection may wait for the next request; no time where it may not.
    pub(super) fn rest(&self) -> Duration {
        self.at.patience().min(Duration::from_millis(self.kept_ms.load(Ordering::Relaxed)))
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
        let waiting = if self.asked.is_apart { None } else { self.pool.take(self.at.pool_key(), Instant::now()) };
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

/// For how long an endpoint keeps a connection, by what it says in these fields; none where it does not say. Less than it
/// says, so that it is not about to close the connection under a request: nobody could tell whether it has read that.
fn kept(fields: &HeaderMap) -> Option<Duration> {
    let closes = |value: &HeaderValue| options(value).any(|option| option.eq_ignore_ascii_case(b"close"));
    if fields.get_all(header::CONNECTION).iter().any(closes) {
        return Some(Duration::ZERO);
    }
    let timeout = |option: &[u8]| {
        let (name, value) = option.split_at_checked(TIMEOUT.len())?;
        let seconds = std::str::from_utf8(value).ok().filter(|_| name.eq_ignore_ascii_case(TIMEOUT))?;
        seconds.trim_matches('"').parse::<u32>().ok()
    };
    let said = fields.get(KEEP_ALIVE).and_then(|value| options(value).find_map(timeout));
    said.map(|seconds| Duration::from_secs(seconds.into())).map(|said| said - said.min(2 * AHEAD) / 2)
}

/// The options of a list.
fn options(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[async_trait]
impl L4Connect for Link {
    /// Errors are those of pingora's own connector.
    async fn connect(&self, _: &SocketAddr) -> Result<L4Stream> {
        Ok(L4Stream::from(VirtualSocketStream::new(Box::new(self.open().await?))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_waits_for_a_second_less_than_its_endpoint_says() {
        for (fields, wanted) in [
            (&[][..], None),
            (&[("connection", "keep-alive")], None),
            (&[("connection", "close")], Some(0)),
            (&[("connection", "x"), ("connection", "y, Close")], Some(0)),
            (&[("connection", "closed")], None),
            (&[("keep-alive", "timeout=5, max=100")], Some(4_000)),
            (&[("keep-alive", "max=100,Timeout=72")], Some(71_000)),
            (&[("keep-alive", "timeout=\"5\"")], Some(4_000)),
            (&[("keep-alive", "timeout=2")], Some(1_000)),
            (&[("keep-alive", "timeout=1")], Some(500)),
            (&[("keep-alive", "timeout=0")], Some(0)),
            (&[("keep-alive", "timeout=-1")], None),
            (&[("keep-alive", "timeout=99999999999")], None),
            (&[("keep-alive", "timeout")], None),
            (&[("keep-alive", "300")], None),
            (&[("keep-alive", "timeout=5"), ("connection", "close")], Some(0)),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in fields {
                map.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(kept(&map), wanted.map(Duration::from_millis), "{fields:?}");
        }
    }
}
