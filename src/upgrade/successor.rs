//! The new process's side: comes to where the old one waits, and takes over.

use std::env;
use std::fs::{self, File};
use std::mem;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use proxy::server::Handed;

use super::meeting::come_to;
use super::wire::{Broken, Message, Received, Wire, shortened};
use super::{Elders, PROTOCOL, VARIABLE};

/// What an old process hands over to this one.
#[derive(Debug)]
pub struct Heir {
    wire: Wire,
    /// The old one's state directory.
    state: PathBuf,
    /// How many listeners were offered.
    offered: usize,
    /// The listening sockets.
    pub(crate) listeners: Vec<Handed>,
    /// The control API's address, as it was written, and its socket.
    pub(crate) admin: Option<(SocketAddr, TcpListener)>,
    /// The connections to processes before the old one that still drain.
    elders: Vec<Wire>,
}

impl Heir {
    /// Comes to the old process that waits for this one; none where this one was started by nobody of the kind.
    ///
    /// # Errors
    /// Where nobody waits there, or what is handed over cannot be understood.
    pub fn from_environment() -> anyhow::Result<Option<Self>> {
        let Some(directory) = env::var_os(VARIABLE).filter(|it| !it.is_empty()).map(PathBuf::from) else {
            return Ok(None);
        };
        let nobody = || {
            format!(
                "{VARIABLE} says that an old process waits in {}, and it does not; start without this variable, which \
                 an upgrade alone sets",
                directory.display()
            )
        };
        let wire = Wire::new(come_to(&directory).with_context(nobody)?)?;
        let (_, user) = wire.peer()?;
        if user != rustix::process::geteuid().as_raw() {
            bail!("upgrade: who waits in {} is another user's process", directory.display());
        }
        wire.say(&Message::Hello { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned(), stays: true })?;
        let state = directory.parent().map(Path::to_owned).unwrap_or_default();
        Self::offered(wire, state).map(Some)
    }

    /// What is offered.
    fn offered(wire: Wire, state: PathBuf) -> anyhow::Result<Self> {
        let mut heir = Self { wire, state, offered: 0, listeners: Vec::new(), admin: None, elders: Vec::new() };
        loop {
            let (message, socket) = heir.hear()?;
            if let (Message::Listener { written, bound, file }, Some(socket)) = (&message, &socket) {
                let (written, bound) = (written.clone().into(), bound.clone().into());
                let socket = socket.try_clone()?;
                heir.listeners.push(Handed { place: heir.offered, written, bound, socket, file: *file });
                heir.offered += 1;
            } else if let (Message::Admin { written }, Some(socket)) = (&message, &socket) {
                heir.admin = Some((*written, socket.try_clone()?.into()));
            } else if let (Message::Elder, Some(socket)) = (&message, &socket) {
                heir.elders.push(Wire::new(socket.try_clone()?)?);
            } else if message == Message::Offered {
                return Ok(heir);
            } else {
                return Err(Broken::Strange.into());
            }
        }
    }

    /// That this state directory is the old one's: in another nobody knows what was decided, and a canary that was taken
    /// back would have the file's weight again.
    pub(crate) fn shares(&self, state: &Path) -> anyhow::Result<()> {
        let place = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
        if place(&self.state).is_some_and(|old| place(state) == Some(old)) {
            return Ok(());
        }
        bail!(
            "the file's state directory is {}, and that of the process that serves is {}: all that was decided would be \
             forgotten; write `state: {}`, or stop it, move its state directory and start anew",
            state.display(),
            self.state.display(),
            self.state.display()
        )
    }

    /// Says that this process can take over at once, with these sockets left, and waits for the state directory. Gives
    /// its lock, where it has one.
    pub(crate) fn get_ready(&self, left: &[Handed]) -> anyhow::Result<Option<File>> {
        let took = (0..self.offered).filter(|place| left.iter().all(|handed| handed.place != *place)).collect();
        self.wire.say(&Message::Ready { took })?;
        let (Message::Yours, lock) = self.hear()? else { return Err(Broken::Strange.into()) };
        Ok(lock.map(File::from))
    }

    /// The old processes, with whom this one stays in touch: the one that hands over, and those before it that still drain.
    pub(crate) fn elders(&mut self) -> Elders {
        let last = self.wire.try_clone().ok().and_then(|wire| Wire::new(wire).ok());
        // The youngest first: where there are too many, the others end before it.
        Elders::at(last.into_iter().chain(mem::take(&mut self.elders)))
    }

    /// Says that this process serves. Where the old one is gone meanwhile, this one serves all the same.
    pub(crate) fn serves(&self) {
        let _ = self.wire.say(&Message::Serving);
    }

    /// Says why this process does not take over, and ends.
    pub fn refuse(&self, why: &anyhow::Error) {
        // An error means that nobody is left to hear it.
        let _ = self.wire.say(&Message::Refused { why: shortened(format!("{why:#}")) });
    }

    /// The old one has a deadline, and ends this process when it is over.
    fn hear(&self) -> anyhow::Result<Received> {
        loop {
            match self.wire.hear() {
                Ok(Some(received)) => return Ok(received),
                Ok(None) => {}
                Err(Broken::Gone) => return Err(anyhow!("upgrade: the old process gave it up, or ended")),
                Err(broken) => return Err(anyhow!("upgrade: {broken}")),
            }
        }
    }
}
