//! Listening sockets that go from one process to the next, so that nobody who connects meanwhile is refused.

use std::io;
use std::os::fd::OwnedFd;

use config::{ListenAddress, Listener};
use socket2::{Domain, Socket, Type};

use super::listeners::{Listening, Open, SocketFile};

/// A listening socket of another process, which goes on listening until both have closed it.
#[derive(Debug)]
pub struct Handed {
    /// Its place among those that are handed over.
    pub place: usize,
    /// Where it was to listen, as it was written: port 0 is still 0.
    pub written: ListenAddress,
    /// Where it listens.
    pub bound: ListenAddress,
    /// The socket.
    pub socket: OwnedFd,
    /// Device and number of a Unix socket's file.
    pub file: Option<(u64, u64)>,
}

/// What a data plane keeps of a listener while it serves: to hand it over, and to remove its file at the end.
#[derive(Debug)]
pub(super) struct Kept {
    written: ListenAddress,
    pub(super) bound: ListenAddress,
    /// None once it accepts no more: a socket that is kept open would let clients wait for nobody.
    socket: Option<Listening>,
    file: Option<SocketFile>,
}

impl Kept {
    pub(super) fn of(open: &mut Open) -> io::Result<Self> {
        Ok(Self {
            written: open.kind.written.address.clone(),
            bound: open.address.clone(),
            socket: Some(open.socket.try_clone()?),
            file: open.file.take(),
        })
    }

    pub(super) fn hand(&self, place: usize) -> io::Result<Option<Handed>> {
        let Some(socket) = &self.socket else { return Ok(None) };
        let (written, bound) = (self.written.clone(), self.bound.clone());
        let file = self.file.as_ref().map(SocketFile::inode);
        Ok(Some(Handed { place, written, bound, socket: socket.try_clone()?.into(), file }))
    }

    /// It accepts no more.
    pub(super) fn close(&mut self) {
        self.socket = None;
    }

    /// Its file is another process's from now on.
    pub(super) fn leave_file(&mut self) {
        if let Some(file) = self.file.take() {
            file.leave();
        }
    }

    /// Its file is this process's from now on.
    pub(super) fn own_file(&mut self) {
        if let Some(file) = &mut self.file {
            file.own();
        }
    }
}

/// The one of these sockets that listens where this listener is to, taken out of the list. One that turns out to be
/// something else is left there.
pub(super) fn taken(
    listener: &Listener,
    handed: &mut Vec<Handed>,
) -> Option<(Listening, Option<SocketFile>, ListenAddress)> {
    let at = handed.iter().position(|handed| handed.written == listener.address && is_what_it_says(handed))?;
    let Handed { bound, socket, file, .. } = handed.remove(at);
    let (socket, file) = match &bound {
        ListenAddress::Tcp(_) => (Listening::Tcp(socket.into()), None),
        ListenAddress::Unix(path) => {
            (Listening::Unix(socket.into()), file.map(|inode| SocketFile::of_another(path, inode)))
        }
    };
    Some((socket, file, bound))
}

/// Whether this is a socket that listens at the address that it is said to.
fn is_what_it_says(handed: &Handed) -> bool {
    let listens = || -> io::Result<bool> {
        let socket = Socket::from(handed.socket.try_clone()?);
        let local = socket.local_addr()?;
        let is_there = match &handed.bound {
            ListenAddress::Tcp(address) => local.as_socket() == Some(*address),
            ListenAddress::Unix(_) => local.domain() == Domain::UNIX,
        };
        socket.set_nonblocking(true)?;
        Ok(is_there && socket.r#type()? == Type::STREAM && socket.is_listener()?)
    };
    listens().unwrap_or(false)
}
