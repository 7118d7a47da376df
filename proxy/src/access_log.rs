//! The access log: a line of JSON for each request, with the field names of the Elastic Common Schema.
//!
//! The data path never waits for it. A core writes a line into a buffer of its own thread and appends it to one that
//! all share, which is bounded in bytes; one thread writes that to its target. Where the target is slower than the
//! requests, lines are dropped and counted. Where no log is wanted, a request costs one look at its rules.

mod clock;
mod json;
mod line;
mod target;
mod writer;

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use config::{LogTarget, Rules};
use parking_lot::{Condvar, Mutex};
use pingora_proxy::Session;

pub use self::line::Line;
use self::target::Target;
use crate::request::Request;
use crate::routing::Routing;

/// Bytes of lines that wait for the writer, at most; about a second of ten thousand requests. What comes beyond is
/// dropped.
const ROOM: usize = 8 << 20;

/// Where lines go. Cheap to clone; all clones are one log, which is off until it is told a target.
#[derive(Debug, Clone, Default)]
pub struct AccessLog(Arc<Shared>);

/// Why a log cannot be begun, in plain words.
#[derive(Debug, thiserror::Error)]
pub enum CannotLog {
    /// The file cannot be written to.
    #[error("access_log: cannot write to {file}: {reason}")]
    File {
        /// The file wanted.
        file: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// The system gives no thread.
    #[error("access_log: cannot start its thread: {0}")]
    Thread(io::Error),
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Something waits, or was asked for.
    asked: Condvar,
    /// The writer has ended.
    ended: Condvar,
    dropped: AtomicU64,
}

/// What waits for the writer.
#[derive(Debug, Default)]
struct Waiting {
    /// Whole lines, each with its end.
    lines: Vec<u8>,
    /// What is to be done, and before which byte of `lines`; in order, few at a time.
    turns: Vec<(usize, Turn)>,
    /// A target that was opened and not taken into use yet.
    prepared: Option<Target>,
    /// Where lines go, and will, as far as was asked.
    wanted: Option<LogTarget>,
    /// Whether the writer has been started.
    runs: bool,
    /// The process ends.
    ends: bool,
    /// The writer has written all that it could.
    over: bool,
}

/// What is to be done between two lines.
#[derive(Debug)]
enum Turn {
    /// The next lines go there; none where nothing is logged any more.
    To(Option<Target>),
    /// The file was moved away: it is opened anew.
    Reopen,
}

/// Whether these rules' log could be begun, as far as that can be said without writing anything.
///
/// # Errors
/// Where it certainly cannot: there is no such folder, or a folder in place of the file.
pub fn check(rules: &Rules) -> Result<(), CannotLog> {
    rules.access_log.as_ref().map_or(Ok(()), |log| target::look(&log.to))
}

impl AccessLog {
    /// Opens what these rules want, so that [`follow`](Self::follow) cannot fail. To be called on a thread that may
    /// wait for a disk.
    ///
    /// # Errors
    /// Where the file cannot be written to, or the system gives no thread. Nothing is changed then.
    pub fn prepare(&self, rules: &Rules) -> Result<(), CannotLog> {
        let Some(wanted) = &rules.access_log else { return Ok(()) };
        if self.0.waiting.lock().wanted.as_ref() == Some(&wanted.to) {
            return Ok(());
        }
        let target = Target::open(&wanted.to)?;
        self.start_writer().map_err(CannotLog::Thread)?;
        self.0.waiting.lock().prepared = Some(target);
        Ok(())
    }

    /// From now on lines go where these rules want them. Does not wait: what was not prepared is opened by the writer,
    /// and if it cannot be, that is told and lines are dropped until it can.
    pub fn follow(&self, rules: &Rules) {
        let wanted = rules.access_log.as_ref().map(|log| log.to.clone());
        let mut waiting = self.0.waiting.lock();
        let prepared = waiting.prepared.take();
        if waiting.wanted == wanted {
            return;
        }
        let prepared = prepared.filter(|target| Some(target.place()) == wanted.as_ref());
        let target = wanted.clone().map(|place| prepared.unwrap_or_else(|| Target::closed(place)));
        waiting.turn(Turn::To(target));
        waiting.wanted = wanted;
        drop(waiting);
        if let Err(error) = self.start_writer() {
            tracing::warn!(%error, "no access log: its thread cannot be started");
        }
        self.0.asked.notify_one();
    }

    /// Opens the file anew, as after it was moved away. Lines from before go to the old one.
    pub fn reopen(&self) {
        self.0.waiting.lock().turn(Turn::Reopen);
        self.0.asked.notify_one();
    }

    /// Lines that were dropped since the start: the target was too slow, or could not be written to.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Appends a line, or drops it where too many wait.
    pub fn write(&self, line: &Line<'_>) {
        thread_local! {
            /// Lines of this thread are written here, so that the shared buffer is held for a copy alone.
            static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            line.write(scratch);
            self.append(scratch);
        });
    }

    fn append(&self, line: &[u8]) {
        let mut waiting = self.0.waiting.lock();
        if waiting.ends || waiting.lines.len() + line.len() > ROOM {
            drop(waiting);
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let was_empty = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if was_empty {
            self.0.asked.notify_one();
        }
    }

    /// Ends the log: what waits is written, for so long at most. A reader that has stopped reading is not waited for.
    pub fn end(&self, patience: Duration) {
        let mut waiting = self.0.waiting.lock();
        waiting.ends = true;
        self.0.asked.notify_one();
        if waiting.runs {
            self.0.ended.wait_while_for(&mut waiting, |waiting| !waiting.over, patience);
        }
    }

    fn start_writer(&self) -> io::Result<()> {
        let mut waiting = self.0.waiting.lock();
        if !waiting.runs {
            let shared = Arc::clone(&self.0);
            // Not joined: it may wait for a reader for ever.
            drop(thread::Builder::new().name("tidegate-log".into()).spawn(move || writer::write_all(&shared))?);
            waiting.runs = true;
        }
        Ok(())
    }

    /// Logs a request that is over, where these rules want it. Failed ones are always logged, the others by their
    /// share.
    pub(crate) fn request(&self, rules: &Rules, session: &Session, request: &Request) {
        let Some(wanted) = &rules.access_log else { return };
        let line = Line::of(session, request, since_1970());
        if line.has_failed() || is_sampled(wanted.sample.get()) {
            self.write(&line);
        }
    }
}

/// Logs requests that were answered before pingora understood their heads. Off by default.
#[derive(Debug, Clone, Default)]
pub struct Unread(Option<(AccessLog, Arc<ArcSwap<Routing>>)>);

impl Unread {
    pub(crate) fn new(log: &AccessLog, routing: &Arc<ArcSwap<Routing>>) -> Self {
        Self(Some((log.clone(), Arc::clone(routing))))
    }

    /// Logs a request of this peer that got this status, if any, where the rules in force want it.
    pub(crate) fn request(&self, status: Option<u16>, why: Option<&'static str>, peer: Option<IpAddr>) {
        let Some((log, routing)) = &self.0 else { return };
        let routing = routing.load();
        let Some(wanted) = &routing.rules.access_log else { return };
        if is_sampled(wanted.sample.get()) {
            log.write(&Line::unread(status, why, peer, since_1970()));
        }
    }
}

impl Waiting {
    /// Something is to be done after the lines that wait already.
    fn turn(&mut self, turn: Turn) {
        /// A writer that waits for a slow target is asked for no more than this.
        const MOST: usize = 16;
        if self.turns.len() == MOST {
            self.turns.pop();
        }
        self.turns.push((self.lines.len(), turn));
    }
}

fn is_sampled(share: f64) -> bool {
    // A number below 1 is never below a share of 0, and always below one of 1.
    fastrand::f64() < share
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests;
