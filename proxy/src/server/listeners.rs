//! Addresses that are taken, and the certificates that are shown there.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use config::{ListenAddress, Listener};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::StartError;
use crate::tls::{SecureListeners, Tls};

/// How many connections wait to be accepted.
const QUEUE: i32 = 4096;
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

impl Listeners {
    /// Takes all of these addresses and reads all of their certificates, or none.
    pub fn bind(listeners: &[Listener]) -> Result<Self, StartError> {
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
        let open = |(listener, tls): (&Listener, Option<Arc<Tls>>)| {
            let (socket, file, address) = open(&listener.address)?;
            Ok(Open { socket, file, address, kind: Kind { written: Arc::new(listener.clone()), tls } })
        };
        listeners.iter().zip(tls).map(open).collect::<Result<_, _>>().map(Self)
    }

    /// Those that speak TLS: their certificates, and the handshakes that fail.
    #[must_use]
    pub fn secured(&self) -> SecureListeners {
        SecureListeners(self.0.iter().filter_map(|open| open.kind.tls.clone()).collect())
    }
}

fn open(address: &ListenAddress) -> Result<(Listening, Option<SocketFile>, ListenAddress), StartError> {
    match address {
        ListenAddress::Tcp(wanted) => {
            let (socket, bound) = tcp(*wanted).map_err(|error| refused(address, why_not_bound(&error)))?;
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

/// Why an address cannot be taken, and what to do.
#[must_use]
#[expect(clippy::wildcard_enum_match_arm, reason = "the standard library's kinds of errors are open")]
pub fn why_not_bound(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is in use by another process; stop that one (ss -ltnp shows it) or choose another port".into()
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
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.into(), inode: inode(path)? })
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|there| (there.dev(), there.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another process may have replaced it meanwhile.
        if inode(&self.path).is_ok_and(|present| present == self.inode) {
            // There is nobody left to tell.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
