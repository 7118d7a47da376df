//! The client's connection as pingora reads and writes it: our own IO type.
//!
//! It brings what pingora's own stream cannot give (docs/decisions/0003):
//! - small responses leave in one send: writes are gathered until the flush, or until the endpoint pauses;
//! - heads and chunks of HTTP/1.1 are checked in their bytes ([`head_check`], [`chunks`]) before pingora has any, and
//!   pingora never has a byte beyond the request that it serves;
//! - floods of HTTP/2 frames are seen in both directions ([`frames`]);
//! - deadlines: for a whole head however slowly it drips, for silence in a body, for a client that takes nothing;
//! - the decision between HTTP/1.1 and HTTP/2 prior knowledge after as few bytes as tell them apart;
//! - no buffer is held while a connection idles;
//! - what is answered here, or by pingora without asking, is counted.

mod as_pingora_asks;
mod begun;
pub(crate) mod characters;
pub mod chunks;
#[cfg(test)]
pub(crate) mod corpus;
pub(crate) mod deadline;
pub(crate) mod field_check;
pub(crate) mod field_lines;
pub mod frames;
pub mod head_check;
pub(crate) mod host;
mod inbound;
mod reading;
mod refusal;
mod unchunk;
mod websocket;
mod writing;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Context;
use std::time::Duration;

use meter::{Class, ServiceMeter};
use parking_lot::Mutex;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{ALPN, SocketDigest, UniqueIDType};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use self::begun::Begun;
pub use self::begun::BegunHeads;
use self::deadline::Deadline;
use self::frames::{Flood, FrameLimits, FrameWatch};
use self::head_check::{HeadLimits, Refused};
use self::inbound::{Awaited, Inbound};
use self::refusal::{Farewell, LATE_HEAD};
use self::unchunk::Unchunk;
use self::websocket::WebSocket;
use crate::access_log::Unread;
use crate::connection::{Connection, UnderWay};
use crate::deadlines::{Hold, Holder};
use crate::parting::Parting;
use crate::routing::Version;
use crate::transport::Carrier;

/// What an HTTP/2 client with prior knowledge sends first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Why there is nothing to tell of a request of HTTP/2 that nobody saw.
const UNHEARD: &str = "refused by the library of HTTP/2, or taken back at once";
/// Writes are gathered up to this many bytes.
const GATHER: usize = 16 * 1024;
/// A write buffer up to this size is kept while the connection idles.
const KEEP: usize = 1024;

/// How long clients may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// For a whole request head, from its first byte; 10 s.
    pub head: Duration,
    /// For the first byte on a new connection, and between requests; 75 s.
    pub idle: Duration,
    /// Between the bytes of a request body, while there is somebody to take them; 30 s.
    pub body: Duration,
    /// For taking anything of what is sent; 30 s.
    pub write: Duration,
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        Self::from(&config::Timeouts::default())
    }
}

impl From<&config::Timeouts> for ClientTimeouts {
    fn from(timeouts: &config::Timeouts) -> Self {
        Self { head: timeouts.head, idle: timeouts.keepalive, body: timeouts.body, write: timeouts.write }
    }
}

/// Where requests that never reached a service are counted.
#[derive(Debug, Clone)]
pub struct Unmatched {
    /// The meter of what matches no service.
    pub meter: Arc<ServiceMeter>,
    /// The core that writes.
    pub core: usize,
    /// Where they are logged.
    pub log: Unread,
}

impl Unmatched {
    /// One more, of this peer; `status` is what it got, and `why` where that is known.
    pub(crate) fn count(&self, status: Option<u16>, why: Option<&'static str>, socket: Option<&SocketDigest>) {
        self.meter.count(self.core, Class::Local);
        self.log.request(status, why, socket.and_then(|socket| Some(socket.peer_addr()?.as_inet()?.ip())));
    }
}

/// A client's connection.
pub struct ClientStream<S: Carrier> {
    inner: S,
    id: UniqueIDType,
    socket: Option<Arc<SocketDigest>>,
    connection: Option<Arc<ProxyDigest>>,
    timeouts: ClientTimeouts,
    unmatched: Unmatched,
    /// Bytes that were read to tell the protocol and not looked at yet.
    peeked: Vec<u8>,
    /// The line that is to end the fields of the next head that is not an interim one.
    told: Mutex<Option<Arc<[u8]>>>,
    /// Gathered writes, from `sent` on.
    gathered: Vec<u8>,
    sent: usize,
    /// Odd while a request is under way (and for HTTP/2, where pingora frames requests), even while a head is awaited
    /// or read; grows at each change.
    turn: AtomicU32,
    /// The turn that what is read belongs to.
    turn_read: u32,
    /// A head of this turn was given to pingora.
    head_given: bool,
    /// A tunnel follows the request under way.
    tunnel: AtomicBool,
    /// The response under way goes without chunks, and is the last one.
    unchunks: AtomicBool,
    unchunk: Option<Box<Unchunk>>,
    /// It is a WebSocket, which this asks to close; taken by whoever reads or writes first.
    parting: Mutex<Option<Arc<Parting>>>,
    websocket: Option<Box<WebSocket>>,
    inbound: Inbound,
    begun: Begun,
    /// None before HTTP/2 is spoken.
    frames: Option<Box<FrameWatch>>,
    frame_limits: FrameLimits,
    /// It speaks for many: whoever serves it hears by this when it is to end.
    ends_gently: Option<Arc<Notify>>,
    began: Instant,
    /// For what is awaited of the client.
    read_by: Deadline,
    /// For it to take something.
    write_by: Deadline,
    /// Who is to know when it takes nothing, and that it does just now.
    holder: Mutex<Option<Holder>>,
    hold: Option<Hold>,
    /// What the request under way was refused for after its head.
    refused: Option<Refused>,
    /// Nothing is read any more: the client is told why, and left.
    farewell: Option<Farewell>,
}

impl<S: Carrier> fmt::Debug for ClientStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream").field("id", &self.id).field("http2", &self.is_http2()).finish_non_exhaustive()
    }
}

impl<S: Carrier> ClientStream<S> {
    /// Wraps a connection that a client made. `id` tells it from other open ones (its file descriptor);
    /// `socket` is what pingora may read of the socket.
    pub fn new(
        inner: S,
        id: UniqueIDType,
        socket: Option<Arc<SocketDigest>>,
        timeouts: ClientTimeouts,
        unmatched: Unmatched,
    ) -> Self {
        Self {
            inner,
            id,
            socket,
            connection: None,
            timeouts,
            unmatched,
            peeked: Vec::new(),
            told: Mutex::default(),
            gathered: Vec::new(),
            sent: 0,
            turn: AtomicU32::new(0),
            turn_read: 0,
            head_given: false,
            tunnel: AtomicBool::new(false),
            unchunks: AtomicBool::new(false),
            unchunk: None,
            parting: Mutex::default(),
            websocket: None,
            inbound: Inbound::new(HeadLimits::default()),
            begun: Begun::default(),
            frames: None,
            frame_limits: FrameLimits::default(),
            ends_gently: None,
            began: Instant::now(),
            read_by: Deadline::default(),
            write_by: Deadline::default(),
            holder: Mutex::default(),
            hold: None,
            refused: None,
            farewell: None,
        }
    }

    /// The same stream, of which every request knows this.
    #[must_use]
    pub fn with_connection(mut self, connection: Connection) -> Self {
        self.connection = Some(connection.into_digest());
        self
    }

    /// The same stream, which counts its heads among these while they have begun and not ended.
    #[must_use]
    pub fn with_heads(mut self, heads: BegunHeads) -> Self {
        self.begun = Begun::among(heads);
        self
    }

    /// The same stream, which takes as much as these limits say. To be called before anything is read.
    #[must_use]
    pub fn with_limits(mut self, limits: &config::Limits) -> Self {
        self.inbound = Inbound::new(HeadLimits::from(limits));
        self.frame_limits = FrameLimits { resets: limits.http2_resets, glitches: limits.http2_glitches };
        self
    }

    /// The same stream, of a hop that speaks for many: it may do what many do, and where that is too much it is not cut, but
    /// asked to end. To be called after its limits are known.
    #[must_use]
    pub(crate) fn for_many(mut self) -> Self {
        self.frame_limits = self.frame_limits.for_many();
        self.ends_gently = Some(Arc::default());
        self
    }

    /// What tells whoever serves it that it is to end; none where it is cut at once.
    pub(crate) fn ends_gently(&self) -> Option<Arc<Notify>> {
        self.ends_gently.clone()
    }

    const fn is_http2(&self) -> bool {
        self.frames.is_some()
    }

    /// What is under way on it, where it carries several requests at a time.
    pub(crate) fn under_way(&self) -> Option<UnderWay> {
        self.connection.as_deref().filter(|_| self.is_http2()).and_then(Connection::under_way)
    }

    /// pingora has taken the head of a request for one.
    pub fn begin_request(&self) {
        self.turn.fetch_or(1, Ordering::Relaxed);
    }

    /// The request is over: the next byte begins another head.
    pub fn end_request(&self) {
        if !self.is_http2() && self.turn.load(Ordering::Relaxed) % 2 == 1 {
            self.turn.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The request under way became a tunnel: what follows it is not HTTP. `parting` asks it to close, where it is a
    /// WebSocket.
    pub(crate) fn begin_tunnel(&self, parting: Option<Arc<Parting>>) {
        *self.parting.lock() = parting;
        self.tunnel.store(true, Ordering::Relaxed);
    }

    /// The client of the request under way knows no chunks, and pingora is about to send it some. The connection must
    /// end after that.
    pub(crate) fn leave_out_chunks(&self) {
        self.unchunks.store(true, Ordering::Relaxed);
    }

    /// Tells this deadline, until another one comes, when the client does not take what it is sent.
    pub(crate) fn tell(&self, holder: Option<Holder>) {
        *self.holder.lock() = holder;
    }

    /// Tells the client, in the next head that is not an interim one, that this version served it, or nothing of the kind.
    pub(crate) fn tell_version(&self, version: Option<&Version>) {
        *self.told.lock() = version.map(|version| Arc::clone(&version.line));
    }

    /// Whether the client waits to be told to go on before it sends its body.
    pub fn awaits_leave(&self) -> bool {
        self.inbound.awaited() == Awaited::Leave
    }

    /// Why the request under way cannot be read to its end: its client's fault.
    pub const fn refused(&self) -> Option<Refused> {
        self.refused
    }

    /// Reads the connection's first bytes, as many as tell whether it is HTTP/2, and keeps them for pingora. Waits for
    /// the first one as long as a connection may idle. To be called once, before pingora has the stream.
    pub async fn learn_protocol(&mut self) -> io::Result<()> {
        let first = read_some(&mut self.inner, &mut self.peeked, PREFACE.len());
        if timeout(self.timeouts.idle, first).await?? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let due = Instant::now() + self.timeouts.head;
        self.read_by.set(due);
        while self.peeked.len() < PREFACE.len() && PREFACE.starts_with(&self.peeked) {
            let missing = PREFACE.len() - self.peeked.len();
            let more = read_some(&mut self.inner, &mut self.peeked, missing);
            match timeout_at(due, more).await {
                // The client ended: HTTP/1.1 will find what is wrong with what there is.
                Ok(Ok(0)) => break,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    // Sent as the stream is dropped: a client that does not read is not waited for.
                    self.refuse(LATE_HEAD);
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
        // What a TLS handshake agreed on holds, whatever comes then.
        if self.inner.alpn().map_or(self.peeked == PREFACE, |agreed| agreed == ALPN::H2) {
            self.read_by.clear();
            let watch = FrameWatch::new(self.frame_limits);
            self.frames = Some(Box::new(if self.ends_gently.is_some() { watch.warning() } else { watch }));
            self.begin_request();
        }
        Ok(())
    }

    /// Answers in place of pingora, which has seen nothing of the request.
    fn refuse(&mut self, refused: Refused) {
        self.unmatched.count(Some(refused.status), Some(refused.why), self.socket.as_deref());
        self.gathered.extend_from_slice(refusal::answer(refused).as_bytes());
        self.farewell = Some(Farewell::default());
    }

    /// When the connection's life is over.
    fn ends(&self) -> Option<Instant> {
        self.connection.as_deref().and_then(Connection::ends).map(Instant::from)
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The connection ends: its client is told so where that is possible at once.
    fn end_flood(&mut self, cx: &mut Context<'_>, flood: Flood) -> io::Error {
        self.unmatched.count(None, Some(flood.why()), self.socket.as_deref());
        self.say_goodbye(cx);
        io::Error::new(io::ErrorKind::InvalidData, flood.why())
    }

    /// Where there was too much, and it is not cut for that yet, it is asked to end.
    fn heed_warning(&mut self) {
        if let Some(flood) = self.frames.as_mut().and_then(|frames| frames.take_warning())
            && let Some(ends) = &self.ends_gently
        {
            self.unmatched.count(None, Some(flood.why()), self.socket.as_deref());
            ends.notify_one();
        }
    }

    fn say_goodbye(&mut self, cx: &mut Context<'_>) {
        if let Some(frame) = self.frames.as_ref().and_then(|frames| frames.farewell()) {
            let _ = Pin::new(&mut self.inner).poll_write(cx, &frame);
            let _ = Pin::new(&mut self.inner).poll_flush(cx);
        }
    }
}

/// Reads what is there, up to `most` bytes; 0 at the end.
async fn read_some(inner: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    inner.take(most as u64).read_buf(into).await
}

impl<S: Carrier> Drop for ClientStream<S> {
    /// A head whose body never came is sent all the same, where the system takes it at once: a client that got nothing
    /// would take the connection for a stale one, and ask again.
    fn drop(&mut self) {
        let _ = self.poll_send(&mut Context::from_waker(std::task::Waker::noop()));
        let is_http2 = self.is_http2();
        let unheard = match &self.frames {
            // pingora or h2 refused what the client opened, or the client took it back before pingora saw it.
            Some(frames) => {
                let begun = self.connection.as_deref().and_then(Connection::begun);
                begun.map_or(0, |begun| frames.opened().saturating_sub(begun))
            }
            // pingora refused the head, and told nobody but the client.
            None => u64::from(self.head_given && self.turn.load(Ordering::Relaxed) == self.turn_read),
        };
        for _ in 0..unheard {
            // What h2 answered, by a status or a reset, it tells nobody else.
            let (status, why) = if is_http2 { (None, Some(UNHEARD)) } else { (Some(400), None) };
            self.unmatched.count(status, why, self.socket.as_deref());
        }
    }
}

#[cfg(test)]
mod tests;
