//! Where the old process waits for the new one: a socket in a directory that only their user can enter.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::wire::{Broken, LOOK, Wire};

/// The directory, in the state directory.
const NAME: &str = "upgrade";
const SOCKET: &str = "socket";

/// A place where one process waits for one other. Removed when dropped.
#[derive(Debug)]
pub(super) struct Meeting {
    directory: PathBuf,
    socket: OwnedFd,
}

impl Meeting {
    /// Makes the place anew. What is there was left by a process that was killed: who holds the state directory is the
    /// only one to make it.
    pub(super) fn in_state(state: &Path) -> io::Result<Self> {
        let directory = std::path::absolute(state)?.join(NAME);
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        DirBuilder::new().mode(0o700).create(&directory)?;
        let socket = socket()?;
        let opened = File::open(&directory)?;
        net::bind(&socket, &address(&opened)?)?;
        net::listen(&socket, 1)?;
        sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(LOOK))?;
        Ok(Self { directory, socket })
    }

    /// What the new process is told.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whoever comes; none where nobody does within [`LOOK`].
    pub(super) fn wait(&self) -> Result<Option<Wire>, Broken> {
        match net::accept_with(&self.socket, SocketFlags::CLOEXEC) {
            Ok(connection) => Wire::new(connection).map(Some),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        // What is left is removed by the next upgrade.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Comes to the place in this directory.
pub(super) fn come_to(directory: &Path) -> io::Result<OwnedFd> {
    let opened = File::open(directory)?;
    let socket = socket()?;
    net::connect(&socket, &address(&opened)?)?;
    Ok(socket)
}

fn socket() -> io::Result<OwnedFd> {
    Ok(net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// By the open directory: the path of a socket has at most 107 bytes, and that of a state directory may have more.
fn address(directory: &File) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    use crate::upgrade::wire::Message;

    #[test]
    fn two_meet_in_a_directory_of_their_own_however_long_its_path_and_nothing_is_left_of_it() {
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join("x".repeat(200));
        fs::create_dir(&state).unwrap();
        // Left by a process that was killed.
        fs::create_dir(state.join(NAME)).unwrap();
        fs::write(state.join(NAME).join(SOCKET), "").unwrap();

        let meeting = Meeting::in_state(&state).unwrap();
        let mode = fs::metadata(meeting.directory()).unwrap().mode();
        let new = Wire::new(come_to(meeting.directory()).unwrap()).unwrap();
        let old = meeting.wait().unwrap().unwrap();
        new.say(&Message::Serving).unwrap();

        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(old.hear().unwrap().unwrap().0, Message::Serving);
        assert!(meeting.wait().unwrap().is_none());
        drop(meeting);
        assert!(!state.join(NAME).exists());
    }
}
