//! The control loop: ticks, commands and the journal's answers, one after the other on one thread.
//!
//! The deciding part is [`ControlCore`]: no threads, no clock, no disk. This file is its shell: a thread that ticks it,
//! and one that does the journal's writing. If the loop's thread ends, whatever the reason, the data plane keeps its
//! last split, and senders of commands get an error.

mod addresses;
mod core;
mod effects;
mod estimates;
mod evidence;
mod figures;
mod judged;
mod known;
mod leaving;
mod link;
mod looking;
mod queue;
mod readiness;
mod reload;
mod request;
mod rounds;
mod saving;
mod served;
mod snapshot;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use config::{Configuration, Name, Weight};
use jiff::Timestamp;

pub use self::core::ControlCore;
pub use self::evidence::Evidence;
pub use self::judged::Recording;
use self::queue::Queue;
use crate::command::Command;
use crate::handle::{Handle, Pulse};
use crate::journal::{Files, Journal, OpenError, Record, Replayed, Request, Storage};
use crate::plane::{DataPlane, Resolved};
use crate::rollout::{Moment, Release};
use crate::state_directory::{StateDirectory, UnusableStateDirectory};

/// How often the loop looks at the traffic.
pub const TICK: Duration = Duration::from_millis(100);

/// How long a change waits to be written before people are told of it. A fraction of a tick.
const WRITE_PATIENCE: Duration = Duration::from_millis(20);

/// A moment, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since the process began; never goes back.
    pub elapsed: Duration,
    /// The wall clock.
    pub wall: Timestamp,
}

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Now;
}

/// The clock of the machine.
#[derive(Debug)]
pub struct SystemClock {
    began: Instant,
}

impl SystemClock {
    /// A clock that begins now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the shell's clock: everything below takes time as an argument")]
    pub fn new() -> Self {
        Self { began: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the shell's clock: everything below takes time as an argument")]
    fn now(&self) -> Now {
        Now { elapsed: self.began.elapsed(), wall: Timestamp::now() }
    }
}

/// How a control loop is started.
pub struct Options {
    /// Where the journal and the evidence are kept.
    pub state_directory: PathBuf,
    /// The directory's lock, where it is held already.
    pub lock: Option<File>,
    /// What the process began with, where this is not its first control loop: addresses stay as they were then.
    pub booted: Option<Arc<Configuration>>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

impl Options {
    /// With the clock of the machine.
    #[must_use]
    pub fn new(state_directory: PathBuf) -> Self {
        Self { state_directory, lock: None, booted: None, clock: Arc::new(SystemClock::new()) }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("state_directory", &self.state_directory).finish_non_exhaustive()
    }
}

/// Why a control loop does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory cannot be used.
    #[error(transparent)]
    StateDirectory(#[from] UnusableStateDirectory),
    /// The journal in it cannot be used.
    #[error("{path}: {error}", path = path.display())]
    Journal {
        /// The state directory.
        path: PathBuf,
        /// Why.
        error: OpenError,
    },
    /// The system gives no thread.
    #[error("the control loop's threads cannot be started: {0}")]
    Thread(std::io::Error),
}

/// A control loop whose journal is open and replayed, and that has begun nothing yet.
pub struct Opened {
    directory: StateDirectory,
    journal: Journal<Files>,
    replayed: Replayed,
    evidence: Evidence,
    booted: Option<Arc<Configuration>>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// What a control loop leaves behind when it is over.
pub struct Ended {
    /// What it steered, with its last split.
    pub plane: Box<dyn DataPlane>,
    /// What was in force.
    pub resolved: Resolved,
    /// What the process began with.
    pub booted: Arc<Configuration>,
    /// The journal's thread, where the disk did not answer in time: it may still write, and holds the state directory.
    pub writer: Option<JoinHandle<()>>,
}

/// Takes the state directory and replays its journal.
pub fn open(options: Options) -> Result<Opened, StartError> {
    let Options { state_directory, lock, booted, clock } = options;
    let (directory, mut warnings) = StateDirectory::open_with(&state_directory, lock)?;
    let files = Files::new(directory.path().to_owned());
    let (mut journal, mut replayed) =
        Journal::open(files).map_err(|error| StartError::Journal { path: state_directory, error })?;
    warnings.append(&mut replayed.warnings);
    replayed.warnings = warnings;
    let evidence = Evidence::load(&mut journal, &mut replayed.warnings);
    Ok(Opened { directory, journal, replayed, evidence, booted, clock })
}

/// Starts the control loop. On return the journal is replayed, the configuration is installed in the data plane with
/// the splits in force, and the snapshot is ready. The thread ends after [`Command::Stop`]; join it then, so that the
/// state directory's lock is free.
pub fn start(
    options: Options,
    plane: impl DataPlane + 'static,
    resolved: Resolved,
) -> Result<(Handle, JoinHandle<Ended>), StartError> {
    open(options)?.start(Box::new(plane), resolved)
}

impl Opened {
    /// The state directory.
    #[must_use]
    pub const fn directory(&self) -> &StateDirectory {
        &self.directory
    }

    /// What a reload of this configuration would be refused for by what the journal says, a sentence each.
    #[must_use]
    pub fn refusals(&self, configuration: &Configuration) -> Vec<String> {
        let now = self.clock.now();
        let moment = Moment { elapsed: now.elapsed, wall: now.wall, journal_problem: None };
        let refusal = |(name, record): (&Name, &Record)| {
            let service = configuration.services.iter().find(|service| service.name == *name);
            Release::refuses(&record.state, name, service, &moment)
        };
        self.replayed.records.iter().filter_map(refusal).collect()
    }

    /// Whether a version has users, by what the journal says: their part, or those who match. None where it says nothing of
    /// the service.
    #[must_use]
    pub fn has_users(&self, service: &Name, version: &Name) -> Option<bool> {
        let state = &self.replayed.records.get(service)?.state;
        let by_match =
            state.split().matched.is_some() && state.split().canary.is_some_and(|(canary, _)| canary == *version);
        Some(state.share_of(version) > Weight::ZERO || by_match)
    }

    /// Starts the loop, as [`start`] does.
    pub fn start(
        self,
        plane: Box<dyn DataPlane>,
        resolved: Resolved,
    ) -> Result<(Handle, JoinHandle<Ended>), StartError> {
        let Self { directory, mut journal, replayed, evidence, booted, clock } = self;
        let recording = Recording::start(directory.path()).map_err(StartError::Thread)?;
        let mut core = ControlCore::new(plane, resolved, replayed, evidence, recording, fastrand::u64(..), clock.now());
        if let Some(booted) = booted {
            core.booted = booted;
        }
        journal.begin();
        let (commands, received) = mpsc::channel();
        let ended = Arc::new(AtomicBool::new(false));
        let pulse = Arc::new(Pulse::new(Arc::clone(&clock)));
        let handle = Handle {
            commands: commands.clone(),
            snapshot: Arc::clone(core.snapshot()),
            events: Arc::clone(core.events()),
            ended: Arc::clone(&ended),
            pulse: Arc::clone(&pulse),
        };
        let queue = Arc::new(Queue::default());
        let writer = spawn("tidegate-journal", {
            let queue = Arc::clone(&queue);
            move || write_journal(journal, &directory, &queue, &commands)
        })?;
        let looping = spawn("tidegate-control", move || {
            let _end = End { ended, queue: Arc::clone(&queue) };
            run(&mut core, clock.as_ref(), &pulse, &received, &queue);
            core.end_recording();
            queue.close();
            let writer = if core.closed() {
                if writer.join().is_err() {
                    tracing::error!("the journal's thread panicked");
                }
                None
            } else {
                Some(writer)
            };
            let (plane, resolved, booted) = core.into_parts();
            Ended { plane, resolved, booted, writer }
        })?;
        Ok((handle, looping))
    }
}

/// Says that the loop is over, also where it panicked: the journal's thread ends, and `/livez` says no, so that whoever
/// supervises the process starts it again.
struct End {
    ended: Arc<AtomicBool>,
    queue: Arc<Queue>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        self.queue.close();
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StartError> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(StartError::Thread)
}

fn run(core: &mut ControlCore, clock: &dyn Clock, pulse: &Pulse, received: &mpsc::Receiver<Command>, queue: &Queue) {
    let mut next_tick = clock.now().elapsed + TICK;
    loop {
        write_then_show(core, clock.now(), queue);
        if core.has_stopped() {
            return;
        }
        let now = clock.now();
        if now.elapsed >= next_tick {
            core.tick(now);
            pulse.beat(now);
            // A tick that came late is not made up for: its window is longer, that is all.
            next_tick = (next_tick + TICK).max(clock.now().elapsed);
            continue;
        }
        match received.recv_timeout(next_tick - now.elapsed) {
            Ok(command) => core.handle(clock.now(), command),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            // The journal's thread holds a sender for as long as it lives, and tells when it ends.
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// A change is written before anyone is told of it, so that a process which is killed right after goes on from what
/// people saw. It is in force already: a disk that takes longer than a moment is not waited for.
fn write_then_show(core: &mut ControlCore, now: Now, queue: &Queue) {
    let requests = core.take_requests();
    let changes = requests.iter().any(|request| matches!(request, Request::Append(_)));
    queue.push(requests);
    if changes {
        queue.wait(WRITE_PATIENCE);
    }
    core.show(now);
}

/// The journal's thread. `_directory` is held for its lock: it is free when everything is on disk.
fn write_journal<S: Storage>(
    mut journal: Journal<S>,
    _directory: &StateDirectory,
    queue: &Queue,
    answers: &mpsc::Sender<Command>,
) {
    while let Some((requests, taken)) = queue.take() {
        let closes = requests.iter().any(|request| matches!(request, Request::Close { .. }));
        let answers_now = journal.commit(requests);
        queue.finish(taken);
        for answer in answers_now {
            if answers.send(Command::Journal(answer)).is_err() {
                return;
            }
        }
        if closes {
            return;
        }
    }
}
