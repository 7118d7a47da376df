//! The control plane of a process: the loop, its API, and who reads the configuration again. It can rest, and be
//! started again, while the data plane goes on.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;

use anyhow::{Context, bail};
use control::api::{self, ApiOptions, ApiServer, Reload};
use control::command::Command;
use control::control_loop::{self, Ended, Opened, Options};
use control::handle::Handle;
use control::plane::{DataPlane, Resolved};
use control::process::Process;
use tokio::sync::oneshot;

use crate::reload::Reloader;
use crate::resolve::Names;

/// What a control plane is made of, each time that it starts.
pub(crate) struct Outline {
    /// Opens the API.
    pub(crate) token: Option<String>,
    /// What the process tells of itself.
    pub(crate) process: Process,
    /// Set when the process drains.
    pub(crate) draining: Arc<AtomicBool>,
    /// Where the API listens.
    pub(crate) admin: TcpListener,
    /// Reads the configuration again.
    pub(crate) read: Reload,
    /// Resolves the names of endpoints.
    pub(crate) names: Names,
    /// The state directory.
    pub(crate) state: PathBuf,
}

/// A control loop that runs, and answers nobody yet.
pub(crate) struct Begun {
    handle: Handle,
    thread: JoinHandle<Ended>,
    lock: Option<File>,
}

/// A control plane that runs.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    handle: Handle,
    thread: JoinHandle<Ended>,
    api: ApiServer,
    reloader: Reloader,
    /// The lock of the state directory, to be handed over.
    lock: Option<File>,
}

/// A control plane that rests.
pub(crate) struct Rested {
    ended: Ended,
    lock: Option<File>,
}

/// A control plane that could not be started again.
pub(crate) struct NotResumed {
    /// It rests on, and can be tried again. None where it is lost.
    pub(crate) rested: Option<Box<Rested>>,
    pub(crate) why: anyhow::Error,
}

impl Outline {
    /// Starts it for the first time: takes the state directory, with its lock where that is held already, replays its
    /// journal, and publishes the split in force.
    pub(crate) fn open(&self, lock: Option<File>) -> anyhow::Result<Opened> {
        Ok(control_loop::open(Options { lock, ..Options::new(self.state.clone()) })?)
    }

    /// Begins to judge what was opened: the split in force is published. Nobody is answered yet.
    pub(crate) fn begin(opened: Opened, plane: Box<dyn DataPlane>, resolved: Resolved) -> anyhow::Result<Begun> {
        let lock = opened.directory().lock().context("cannot keep the lock of the state directory")?;
        let (handle, thread) = opened.start(plane, resolved)?;
        Ok(Begun { handle, thread, lock })
    }

    /// Answers people, too.
    pub(crate) fn serve(&self, begun: Begun) -> anyhow::Result<ControlPlane> {
        let Begun { handle, thread, lock } = begun;
        let options = ApiOptions {
            token: self.token.clone(),
            draining: Arc::clone(&self.draining),
            process: self.process.clone(),
            ..ApiOptions::default()
        };
        let reloader = Reloader::new(Arc::clone(&self.read), handle.clone(), Arc::clone(&options.reloading));
        let listener = self.admin.try_clone().context("cannot start the control API")?;
        let api = api::start(options, listener, handle.clone(), Arc::clone(&self.read))
            .context("cannot start the control API")?;
        self.names.publish(handle.commands.clone());
        Ok(ControlPlane { handle, thread, api, reloader, lock })
    }

    /// Starts it again, from the journal. Where that fails it rests on, and can be tried again.
    pub(crate) fn resume(&self, rested: Rested) -> Result<ControlPlane, NotResumed> {
        let Rested { mut ended, lock } = rested;
        if let Some(writer) = ended.writer.take() {
            if !writer.is_finished() {
                ended.writer = Some(writer);
                let why = anyhow::anyhow!("the disk of the state directory still does not answer");
                return Err(NotResumed { rested: Some(Box::new(Rested { ended, lock })), why });
            }
            // A panic there has been reported by the thread itself.
            let _ = writer.join();
        }
        let again = lock.as_ref().map(File::try_clone).transpose();
        let booted = Some(Arc::clone(&ended.booted));
        let opened = again
            .map_err(anyhow::Error::from)
            .and_then(|lock| Ok(control_loop::open(Options { lock, booted, ..Options::new(self.state.clone()) })?));
        match opened {
            Ok(opened) => Self::begin(opened, ended.plane, ended.resolved)
                .and_then(|begun| self.serve(begun))
                .map_err(|why| NotResumed { rested: None, why }),
            Err(why) => Err(NotResumed { rested: Some(Box::new(Rested { ended, lock })), why }),
        }
    }
}

impl Begun {
    /// Ends it again: what is to be served cannot be.
    pub(crate) fn end(self) {
        end(&self.handle);
        // A panic there has been reported by the thread itself.
        let _ = self.thread.join();
    }
}

impl ControlPlane {
    /// Where operators connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.api.address()
    }

    /// The control loop.
    pub(crate) const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Reads the configuration again when asked.
    pub(crate) fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Whether everything that is in force is on disk, so that another process could go on from there; else why not.
    pub(crate) fn is_on_disk(&self) -> anyhow::Result<()> {
        match &self.handle.snapshot.load().journal_problem {
            Some(problem) => bail!("the journal cannot be written, and a new process would go on from it: {problem}"),
            None => Ok(()),
        }
    }

    /// Ends it in good order: its evidence is saved and its journal is closed. The API goes first, so that nobody is
    /// told of what is not there any more.
    pub(crate) fn rest(self) -> anyhow::Result<Rested> {
        let Self { handle, thread, api, lock, .. } = self;
        api.stop();
        end(&handle);
        match thread.join() {
            Ok(ended) => Ok(Rested { ended, lock }),
            Err(_) => bail!("the control loop panicked"),
        }
    }

    /// Ends it for good. The API answers until the last moment.
    pub(crate) fn end(self) {
        end(&self.handle);
        // A panic there has been reported by the thread itself.
        let _ = self.thread.join();
    }
}

impl Rested {
    /// The lock of the state directory, for another process. An error says why it cannot have it.
    pub(crate) fn lock(&self) -> anyhow::Result<Option<File>> {
        if self.ended.writer.is_some() {
            bail!("the disk of the state directory does not answer");
        }
        Ok(self.lock.as_ref().map(File::try_clone).transpose()?)
    }

    /// What it steered, and what was in force. The state directory is another process's.
    pub(crate) fn into_plane(self) -> (Box<dyn DataPlane>, Resolved) {
        (self.ended.plane, self.ended.resolved)
    }
}

fn end(handle: &Handle) {
    let (reply, done) = oneshot::channel();
    if handle.commands.send(Command::Stop { reply }).is_ok() {
        // An error means that the loop has ended: that is what was wanted.
        let _ = done.blocking_recv();
    }
}
