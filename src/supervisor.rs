//! What a supervisor is told that listens for it: systemd, for services of the type `notify` and `notify-reload`.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use tracing::debug;

/// Names the socket where the supervisor listens.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// Whoever started this process and wants to know how it does; perhaps nobody.
#[derive(Debug, Clone)]
pub(crate) struct Supervisor(Option<OsString>);

impl Supervisor {
    /// The one that the environment names.
    pub(crate) fn from_environment() -> Self {
        Self(env::var_os(VARIABLE).filter(|it| !it.is_empty()))
    }

    /// It serves.
    pub(crate) fn ready(&self) {
        self.say("READY=1");
    }

    /// It reads its configuration again. [`ready`](Self::ready) is to follow.
    pub(crate) fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It ends.
    pub(crate) fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// Another process is the service from now on, and serves. This one has no say any more.
    pub(crate) fn succeeded_by(&mut self, pid: u32) {
        self.say(&format!("MAINPID={pid}\nREADY=1"));
        self.0 = None;
    }

    fn say(&self, text: &str) {
        if let Some(socket) = &self.0
            && let Err(error) = send(socket, text)
        {
            debug!(%error, "the supervisor cannot be told");
        }
    }
}

/// An `@` in front stands for a name that is no file's.
fn send(socket: &OsString, text: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    // A supervisor that does not read is not waited for.
    sender.set_nonblocking(true)?;
    sender.send_to_addr(text.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(listener: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let length = listener.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn it_is_told_what_it_wants_to_know_until_another_process_is_the_service() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let mut supervisor = Supervisor(Some(path.into()));
        supervisor.ready();
        assert_eq!(heard(&listener), "READY=1");
        supervisor.reloading();
        let reloading = heard(&listener);
        let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(micros.parse::<u64>().unwrap() > 0);
        supervisor.succeeded_by(7);
        assert_eq!(heard(&listener), "MAINPID=7\nREADY=1");
        supervisor.stopping();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.recv(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_name_that_is_no_file_is_found_too() {
        let name = format!("tidegate-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        Supervisor(Some(format!("@{name}").into())).stopping();
        assert_eq!(heard(&listener), "STOPPING=1");
    }

    #[test]
    fn a_supervisor_that_is_gone_and_none_at_all_are_no_matter() {
        Supervisor(Some("/nowhere/notify".into())).ready();
        Supervisor(None).ready();
        assert!(Supervisor(None).0.is_none());
    }
}
