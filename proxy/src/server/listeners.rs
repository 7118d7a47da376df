//! Addresses that are taken, and the certificates that are shown there.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use config::{ListenAddress, Listener};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::StartError;
use super::acceptor::AcceptedStream;
use super::handing::{Handed, taken};
use crate::tls::{SecureListeners, Tls};

/// How many connections wait to be accepted.
pub(super) const QUEUE: i32 = 4096;
/// Who may connect to a Unix socket: the user and the group that Tidegate runs as.
const MODE: u32 = 0o660;

/// Addresses that are taken: clients may connect, and wait until a data plane accepts them.
#[derive(Debug)]
pub struct Listeners(pub(super) Vec<Open>);

/// A listener that is open.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) socket: Listening,
    /// The file of a Unix socket.
    pub(super) file: Option<SocketFile>,
    /// Where it listens; port 0 has become a real one.
    pub(super) address: ListenAddress,
    pub(super) kind: Kind,
}

/// What the connections of a listener have in common.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    pub(super) written: Arc<Listener>,
    pub(super) tls: Option<Arc<Tls>>,
}

/// A listening socket.
#[derive(Debug)]
pub(super) enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listening {
    /// A connection that waits; an error of the kind `WouldBlock` where none does.
    pub(super) fn accept(&self) -> io::Result<(AcceptedStream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept()?;
                stream.set_nonblocking(true)?;
                Ok((AcceptedStream::Tcp(stream), Some(peer)))
            }
            Self::Unix(socket) => {
                let (stream, _) = socket.accept()?;
                stream.set_nonblocking(true)?;
                Ok((AcceptedStream::Unix(stream), None))
            }
        }
    }

    /// Another descriptor of the same socket.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(socket) => socket.try_clone().map(Self::Tcp),
            Self::Unix(socket) => socket.try_clone().map(Self::Unix),
        }
    }
}

impl From<Listening> for OwnedFd {
    fn from(listening: Listening) -> Self {
        match listening {
            Listening::Tcp(socket) => socket.into(),
            Listening::Unix(socket) => socket.into(),
        }
    }
}

impl Listeners {
    /// Takes all of these addresses and reads all of their certificates, or none.
    pub fn bind(listeners: &[Listener]) -> Result<Self, StartError> {
        Self::take_over(listeners, &mut Vec::new(), &[])
    }

    /// The same, with sockets that another process hands over in place of new ones, where they listen at these
    /// addresses. What is left in the list was of no use. The files of Unix sockets stay the other process's until
    /// [`DataPlane::own_files`](super::DataPlane::own_files). `theirs` is where the other
    /// process listens, with its control API.
    pub fn take_over(
        listeners: &[Listener],
        handed: &mut Vec<Handed>,
        theirs: &[SocketAddr],
    ) -> Result<Self, StartError> {
        let now = SystemTime::now();
        let (mut tls, mut findings) = (Vec::new(), Vec::new());
        for (at, listener) in listeners.iter().enumerate() {
            match Tls::open(&format!("listeners[{at}]"), listener, now) {
                Ok(opened) => tls.push(opened.map(Arc::new)),
                Err(found) => findings.extend(found.into_iter().filter(|finding| finding.fatal)),
            }
        }
        if !findings.is_empty() {
            return Err(StartError::Certificates(findings));
        }
        let mut open = |(listener, tls): (&Listener, Option<Arc<Tls>>)| {
            let (socket, file, address) = match taken(listener, handed) {
                Some(taken) => taken,
                None => open(&listener.address, theirs)?,
            };
            Ok(Open { socket, file, address, kind: Kind { written: Arc::new(listener.clone()), tls } })
        };
        listeners.iter().zip(tls).map(&mut open).collect::<Result<_, _>>().map(Self)
    }

    /// Those that speak TLS: their certificates, and the handshakes that fail.
    #[must_use]
    pub fn secured(&self) -> SecureListeners {
        SecureListeners(self.0.iter().filter_map(|open| open.kind.tls.clone()).collect())
    }
}

/// `theirs` is where the process listens that is to be replaced.
fn open(
    address: &ListenAddress,
    theirs: &[SocketAddr],
) -> Result<(Listening, Option<SocketFile>, ListenAddress), StartError> {
    match address {
        ListenAddress::Tcp(wanted) => {
            let (socket, bound) =
                tcp(*wanted).map_err(|error| refused(address, why_not_bound(&error, *wanted, theirs)))?;
            Ok((Listening::Tcp(socket), None, ListenAddress::Tcp(bound)))
        }
        ListenAddress::Unix(path) => {
            let (socket, file) = unix(path).map_err(|reason| refused(address, reason))?;
            Ok((Listening::Unix(socket), Some(file), address.clone()))
        }
    }
}

fn refused(address: &ListenAddress, reason: String) -> StartError {
    StartError::Listen { address: address.clone(), reason }
}

fn tcp(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart may take the address while old connections linger. Not SO_REUSEPORT: see the head of `server`.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(QUEUE)?;
    let listener = TcpListener::from(socket);
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Why an address cannot be taken, and what to do. `theirs` is where the process listens that is to be replaced, if any.
#[must_use]
#[expect(clippy::wildcard_enum_match_arm, reason = "the standard library's kinds of errors are open")]
pub fn why_not_bound(error: &io::Error, wanted: SocketAddr, theirs: &[SocketAddr]) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            if let Some(address) = theirs.iter().find(|address| address.port() == wanted.port()) {
                return format!(
                    "the process that is to be replaced listens on {address}, which an upgrade takes over as it is or not \
                     at all; keep it so, choose another port, or restart"
                );
            }
            "the port is in use by another process; stop that one (ss -ltnp shows it) or choose another port; if it is a \
             tidegate after an upgrade (USR2), whoever started this process does not follow upgrades (docs/operating.md)"
                .into()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address; 0.0.0.0 means all that it has".into(),
        io::ErrorKind::PermissionDenied => {
            "not permitted; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE".into()
        }
        _ => error.to_string(),
    }
}

/// Listens on a path. A socket file that nobody listens on any more is replaced; anything else there is left alone.
fn unix(path: &Path) -> Result<(UnixListener, SocketFile), String> {
    match std::fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err("there is something that is no socket; choose another path, or remove it".into());
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => return Err("in use: another process listens there (ss -lxp shows it); stop that one first".into()),
            // Left by a process that was killed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(|error| in_words(&error))?;
            }
            Err(error) => return Err(format!("a socket is there, and cannot be tried: {}", in_words(&error))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(in_words(&error)),
    }
    let open = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = SocketFile::of(path)?;
        // Before it listens: nobody can connect earlier.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))?;
        socket.listen(QUEUE)?;
        Ok((UnixListener::from(socket), file))
    };
    open().map_err(|error| in_words(&error))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the standard library's kinds of errors are open")]
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "its directory does not exist".into(),
        io::ErrorKind::PermissionDenied => "permission denied; its directory must be writable for Tidegate".into(),
        io::ErrorKind::InvalidInput => "the path is too long for a socket; the system takes 107 bytes".into(),
        _ => error.to_string(),
    }
}

/// The file of a Unix socket; removed when this is dropped, if it is still the same.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
    /// Whether it is this process's to remove.
    is_ours: bool,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.into(), inode: inode(path)?, is_ours: true })
    }

    /// The file of a socket that another process hands over.
    pub(super) fn of_another(path: &Path, inode: (u64, u64)) -> Self {
        Self { path: path.into(), inode, is_ours: false }
    }

    /// Device and number.
    pub(super) const fn inode(&self) -> (u64, u64) {
        self.inode
    }

    /// It is ours to remove from now on.
    pub(super) const fn own(&mut self) {
        self.is_ours = true;
    }

    /// It is another process's.
    pub(super) fn leave(mut self) {
        self.is_ours = false;
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|there| (there.dev(), there.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another process may have replaced it meanwhile.
        if self.is_ours && inode(&self.path).is_ok_and(|present| present == self.inode) {
            // There is nobody left to tell.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
