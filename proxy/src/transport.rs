//! What carries a client's connection: TCP, a Unix socket, or TLS over either.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pingora_core::protocols::{ALPN, tls::SslDigest};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

/// What is read early at a time: a PROXY protocol header, or most of a TLS client's greeting.
const EARLY: usize = 1024;

/// What a client's stream asks of what carries it.
pub trait Carrier: AsyncRead + AsyncWrite + Unpin {
    /// The protocol that was agreed on in a TLS handshake: HTTP/1.1 where nothing was. None without TLS.
    fn alpn(&self) -> Option<ALPN> {
        None
    }

    /// What pingora may know of the TLS session.
    fn tls_digest(&self) -> Option<Arc<SslDigest>> {
        None
    }
}

/// A client's connection as bytes.
#[derive(Debug)]
pub enum Transport {
    /// Without TLS.
    Plain(Socket),
    /// With TLS.
    Tls(Box<Secured>),
}

/// A connection after its TLS handshake.
#[derive(Debug)]
pub struct Secured {
    pub(crate) stream: TlsStream<Socket>,
    pub(crate) http2: bool,
    pub(crate) digest: Arc<SslDigest>,
}

/// A client's socket, with what was read of it before its protocol began.
#[derive(Debug)]
pub struct Socket {
    wire: Wire,
    /// Bytes that were read and belong to whoever reads next.
    early: Vec<u8>,
}

/// The socket itself.
#[derive(Debug)]
pub enum Wire {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

impl Socket {
    /// A socket of which nothing was read yet.
    #[must_use]
    pub const fn new(wire: Wire) -> Self {
        Self { wire, early: Vec::new() }
    }

    /// What was read early and belongs to whoever reads next.
    pub(crate) fn early(&self) -> &[u8] {
        &self.early
    }

    /// Reads on, early; 0 at the end. May be given up at any time.
    pub(crate) async fn read_early(&mut self) -> io::Result<usize> {
        self.early.reserve(EARLY);
        match &mut self.wire {
            Wire::Tcp(stream) => stream.read_buf(&mut self.early).await,
            Wire::Unix(stream) => stream.read_buf(&mut self.early).await,
        }
    }

    /// The first bytes of what was read early were for us.
    pub(crate) fn skip_early(&mut self, count: usize) {
        self.early.drain(..count);
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        match &self.wire {
            Wire::Tcp(stream) => stream.as_raw_fd(),
            Wire::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

impl Carrier for Transport {
    fn alpn(&self) -> Option<ALPN> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(secured) => Some(if secured.http2 { ALPN::H2 } else { ALPN::H1 }),
        }
    }

    fn tls_digest(&self) -> Option<Arc<SslDigest>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(secured) => Some(Arc::clone(&secured.digest)),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.early.is_empty() {
            let count = this.early.len().min(buf.remaining());
            buf.put_slice(&this.early[..count]);
            this.early.drain(..count);
            if this.early.is_empty() {
                this.early = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        match &mut this.wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Wire::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Wire::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Wire::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(secured) => secured.stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_shutdown(cx),
        }
    }
}
