//! How a connection to an endpoint is made: the socket, and which descriptors it may keep. What is above it (TLS, HTTP/2)
//! is made by others.

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream as L4Stream;
use pingora_error::{Error, ErrorType, Result};
use rustix::io::Errno;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::descriptors::{Descriptors, KeptBack};

/// For whom a connection is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// For a request or a copy of one, or ahead of them: it keeps none of the last descriptors.
    Requests,
    /// For a health check, which must work when requests find none.
    Checks,
}

/// A connection that was made.
#[derive(Debug)]
pub(super) enum Dialled {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Connects in pingora's place.
#[derive(Debug)]
struct Dial(For);

impl For {
    /// What pingora is given to connect by.
    pub(crate) fn connector(self) -> Arc<dyn L4Connect + Send + Sync> {
        Arc::new(Dial(self))
    }
}

#[async_trait]
impl L4Connect for Dial {
    async fn connect(&self, address: &SocketAddr) -> Result<L4Stream> {
        Ok(match dial(address, self.0).await? {
            Dialled::Tcp(stream) => stream.into(),
            Dialled::Unix(stream) => stream.into(),
        })
    }
}

/// A new connection. Its errors are named as pingora's own connector names them; what is missing here, and not there, is a
/// [`ErrorType::SocketError`] or [`ErrorType::BindError`].
pub(super) async fn dial(address: &SocketAddr, whom: For) -> Result<Dialled> {
    let made = match address {
        SocketAddr::Inet(address) => tcp(*address, whom).await.map(Dialled::Tcp),
        SocketAddr::Unix(address) => match address.as_pathname() {
            Some(path) => unix(path, whom).await.map(Dialled::Unix),
            None => return Err(Error::new(ErrorType::ConnectNoRoute)),
        },
    };
    made.map_err(|error| Error::because(kind_of(&error), format!("no connection to {address}"), error))
}

async fn tcp(address: std::net::SocketAddr, whom: For) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Before it connects, which may take long.
    may_keep(&socket, whom)?;
    socket.set_nodelay(true)?;
    SockRef::from(&socket).set_tcp_keepalive(&keepalive())?;
    socket.connect(address).await
}

/// A peer that is gone without a word is found out within a minute and a half, while nothing is under way that a timeout
/// would end: by the system, since what HTTP/2 has for it is abuse to gRPC servers (docs/decisions/0063).
fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10)).with_retries(3)
}

async fn unix(path: &Path, whom: For) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path).await?;
    may_keep(&stream, whom)?;
    Ok(stream)
}

fn may_keep(socket: &impl AsRawFd, whom: For) -> io::Result<()> {
    let may = match whom {
        For::Requests => Descriptors::of_this_process().is_for_an_endpoint(socket.as_raw_fd()),
        For::Checks => true,
    };
    if may { Ok(()) } else { Err(io::Error::other(KeptBack)) }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the system's errors are open: what is not known is no connection")]
fn kind_of(error: &io::Error) -> ErrorType {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let is_ours = matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM));
    if is_ours || error.get_ref().is_some_and(|inner| inner.is::<KeptBack>()) {
        return ErrorType::SocketError;
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
        io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => ErrorType::ConnectNoRoute,
        // No local port is left.
        io::ErrorKind::AddrNotAvailable => ErrorType::BindError,
        io::ErrorKind::PermissionDenied | io::ErrorKind::AddrInUse => ErrorType::InternalError,
        _ => ErrorType::ConnectError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_asks_whether_a_peer_is_still_there() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = SocketAddr::Inet(listener.local_addr().unwrap());
        for whom in [For::Requests, For::Checks] {
            let Dialled::Tcp(stream) = dial(&address, whom).await.unwrap() else { panic!("an address of the network") };
            let socket = SockRef::from(&stream);
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        }
    }

    #[test]
    fn what_is_missing_here_is_no_failure_of_the_endpoint() {
        use crate::attempt::class_of_connect;
        use meter::Class;
        let os = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        for (error, class) in [
            (io::Error::other(KeptBack), Class::Local),
            (os(Errno::MFILE), Class::Local),
            (os(Errno::NFILE), Class::Local),
            (os(Errno::NOBUFS), Class::Local),
            (os(Errno::NOMEM), Class::Local),
            (os(Errno::ADDRNOTAVAIL), Class::Local),
            (os(Errno::ACCESS), Class::ConnectError),
            (os(Errno::CONNREFUSED), Class::ConnectError),
            (os(Errno::HOSTUNREACH), Class::ConnectError),
            (os(Errno::NOENT), Class::ConnectError),
            (os(Errno::AGAIN), Class::ConnectError),
        ] {
            let words = error.to_string();
            let failed = Error::because(kind_of(&error), "no connection", error).into_up();
            assert_eq!(class_of_connect(&failed), class, "{words}");
        }
    }
}
