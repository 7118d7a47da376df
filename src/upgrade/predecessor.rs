//! The old process's side: starts the new one, offers it what it needs, and waits for it to serve.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use proxy::server::Handed;
use tracing::info;

use super::executable::NotStarted;
use super::meeting::Meeting;
use super::wire::{Broken, Message, Received, Wire};
use super::{Executable, PROTOCOL, VARIABLE, now};

/// So long the new process may take to be ready: names may resolve slowly.
const GET_READY: Duration = Duration::from_secs(30);
/// So long it may take from then on to serve: only the journal is to be replayed, and nobody judges meanwhile.
const TAKE_OVER: Duration = Duration::from_secs(15);
/// A process that says that it ends may take so long for it.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// What a new process is given.
#[derive(Debug)]
pub(crate) struct Offer {
    /// What is started.
    pub(crate) executable: Executable,
    /// The state directory.
    pub(crate) state: PathBuf,
    /// The listeners, in the order of the configuration.
    pub(crate) listeners: Vec<Handed>,
    /// The control API's address, as it is written, and its socket.
    pub(crate) admin: (SocketAddr, OwnedFd),
    /// The connections to processes before this one that still drain.
    pub(crate) elders: Vec<OwnedFd>,
}

/// What an upgrade tells while it is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// The new process can take over: the state directory is wanted now ([`Upgrade::hand_over`]).
    Ready,
    /// It is over, one way or the other ([`Upgrade::outcome`]).
    Over,
}

/// A new process that serves.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Its number.
    pub(crate) pid: u32,
    /// The listeners that it took, by their places.
    pub(crate) listeners: Vec<usize>,
    /// The connection to it, where it stays in touch.
    pub(crate) wire: Option<Wire>,
}

/// Why a new process does not serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error("the place to meet cannot be made in the state directory: {0}")]
    NoPlace(std::io::Error),
    #[error(transparent)]
    NotStarted(#[from] NotStarted),
    #[error("the new process {0} before it took over; what it said last is in this log")]
    Ended(String),
    #[error("the new process refused: {0}")]
    Refused(String),
    #[error("the new process was not ready within {} s", GET_READY.as_secs())]
    NotReady,
    #[error("the new process was ready, and did not serve within {} s", TAKE_OVER.as_secs())]
    NotServing,
    #[error("the new process: {0}")]
    Broken(#[from] Broken),
    #[error("somebody else (process {0}) came in place of the new process")]
    Stranger(i32),
    #[error("it was given up")]
    GivenUp,
}

/// An upgrade that is under way, on a thread of its own. It is given up when this is dropped.
#[derive(Debug)]
pub(crate) struct Upgrade {
    given_up: Arc<AtomicBool>,
    hand_over: Option<mpsc::Sender<Option<File>>>,
    thread: Option<JoinHandle<Result<Taken, Failed>>>,
}

impl Upgrade {
    /// Begins it, and tells how it goes on.
    pub(crate) fn begin(offer: Offer, tell: impl Fn(News) + Send + 'static) -> Self {
        let given_up = Arc::new(AtomicBool::new(false));
        let (hand_over, handed) = mpsc::channel();
        let watched = Arc::clone(&given_up);
        let thread = thread::spawn(move || {
            let outcome = attempt(&offer, &watched, &handed, || tell(News::Ready));
            tell(News::Over);
            outcome
        });
        Self { given_up, hand_over: Some(hand_over), thread: Some(thread) }
    }

    /// The state directory is free; this is its lock, where it has one.
    pub(crate) fn hand_over(&mut self, lock: Option<File>) {
        if let Some(hand_over) = self.hand_over.take() {
            // An error means that it is over meanwhile.
            let _ = hand_over.send(lock);
        }
    }

    /// What came of it. Waits for its end.
    pub(crate) fn outcome(mut self) -> Result<Taken, Failed> {
        self.end()
    }

    /// Gives it up, if it is not too late: what came of it then.
    pub(crate) fn give_up(mut self) -> Result<Taken, Failed> {
        self.given_up.store(true, Ordering::Release);
        self.hand_over = None;
        self.end()
    }

    fn end(&mut self) -> Result<Taken, Failed> {
        let outcome = self.thread.take().and_then(|thread| thread.join().ok());
        outcome.unwrap_or(Err(Failed::GivenUp))
    }
}

impl Drop for Upgrade {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Release);
        self.hand_over = None;
        drop(self.end());
    }
}

/// The new process, killed when this is dropped unless it was let go.
struct Started {
    child: Child,
    is_free: bool,
}

impl Started {
    /// How it ended; none while it runs.
    fn end(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.is_free {
            // An error means that it has ended.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits for the new process, and for nothing longer than is of use.
struct Patience<'a> {
    given_up: &'a AtomicBool,
    due: Instant,
    late: fn() -> Failed,
}

impl<'a> Patience<'a> {
    fn new(given_up: &'a AtomicBool, longest: Duration, late: fn() -> Failed) -> Self {
        Self { given_up, due: now() + longest, late }
    }

    /// Looks again and again for what is waited for.
    fn until<T>(&self, mut look: impl FnMut() -> Result<Option<T>, Failed>) -> Result<T, Failed> {
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            if self.given_up.load(Ordering::Acquire) {
                return Err(Failed::GivenUp);
            }
            if now() >= self.due {
                return Err((self.late)());
            }
        }
    }
}

fn attempt(
    offer: &Offer,
    given_up: &AtomicBool,
    handed: &mpsc::Receiver<Option<File>>,
    ready: impl FnOnce(),
) -> Result<Taken, Failed> {
    let patience = Patience::new(given_up, GET_READY, || Failed::NotReady);
    let meeting = Meeting::in_state(&offer.state).map_err(Failed::NoPlace)?;
    let child = offer.executable.start(VARIABLE, meeting.directory())?;
    let mut new = Started { child, is_free: false };
    let pid = new.child.id();
    info!(pid, "upgrade: the new process is started");
    let wire = patience.until(|| match meeting.wait()? {
        Some(wire) => Ok(Some(wire)),
        None => new.end().map_or(Ok(None), |status| Err(Failed::Ended(in_words(status)))),
    })?;
    is_the_one(&wire, pid)?;
    // It has come: the place is free for its own successor.
    drop(meeting);
    let mut hear = |patience: &Patience<'_>| hear(&wire, &mut new, patience);
    let (Message::Hello { protocol: PROTOCOL, version, stays }, _) = hear(&patience)? else {
        return Err(Broken::Strange.into());
    };
    info!(pid, version, "upgrade: the new process is there");
    give_sockets(&wire, offer, stays)?;
    let (Message::Ready { took: listeners }, _) = hear(&patience)? else { return Err(Broken::Strange.into()) };
    ready();
    // Whoever stops the control loop takes a moment. Nobody does where it is given up.
    let lock = handed.recv().map_err(|_| Failed::GivenUp)?;
    let patience = Patience::new(given_up, TAKE_OVER, || Failed::NotServing);
    wire.give(&Message::Yours, lock.as_ref().map(AsFd::as_fd))?;
    let (Message::Serving, _) = hear(&patience)? else { return Err(Broken::Strange.into()) };
    new.is_free = true;
    Ok(Taken { pid, listeners, wire: Some(wire).filter(|_| stays) })
}

/// Only the process that was started is given anything, and only under the same user.
fn is_the_one(wire: &Wire, pid: u32) -> Result<(), Failed> {
    let (peer, user) = wire.peer()?;
    let is_it = u32::try_from(peer) == Ok(pid) && user == rustix::process::geteuid().as_raw();
    if is_it { Ok(()) } else { Err(Failed::Stranger(peer)) }
}

fn give_sockets(wire: &Wire, offer: &Offer, stays: bool) -> Result<(), Broken> {
    for Handed { written, bound, socket, file, .. } in &offer.listeners {
        let message = Message::Listener { written: written.clone().into(), bound: bound.clone().into(), file: *file };
        wire.give(&message, Some(socket.as_fd()))?;
    }
    let (written, socket) = &offer.admin;
    wire.give(&Message::Admin { written: *written }, Some(socket.as_fd()))?;
    // One that would not know what to do with them is not given any.
    for elder in offer.elders.iter().filter(|_| stays) {
        wire.give(&Message::Elder, Some(elder.as_fd()))?;
    }
    wire.say(&Message::Offered)
}

/// What the new process says next. A refusal, and its end, are failures.
fn hear(wire: &Wire, new: &mut Started, patience: &Patience<'_>) -> Result<Received, Failed> {
    let heard = patience.until(|| match wire.hear() {
        Ok(heard) => Ok(heard.map(Ok)),
        Err(broken) => Ok(Some(Err(broken))),
    })?;
    match heard {
        Ok((Message::Refused { why }, _)) => {
            await_end(new, patience.given_up);
            Err(Failed::Refused(why))
        }
        Ok(received) => Ok(received),
        // It is ending: how is known in a moment.
        Err(Broken::Gone) => Err(await_end(new, patience.given_up)
            .map_or(Failed::Broken(Broken::Gone), |status| Failed::Ended(in_words(status)))),
        Err(broken) => Err(broken.into()),
    }
}

fn await_end(new: &mut Started, given_up: &AtomicBool) -> Option<ExitStatus> {
    let patience = Patience::new(given_up, LAST_MOMENT, || Failed::NotReady);
    let ended = patience.until(|| {
        let ended = new.end();
        if ended.is_none() {
            #[expect(
                clippy::disallowed_methods,
                reason = "a bounded poll: the system tells of a child's end by a signal"
            )]
            thread::sleep(Duration::from_millis(5));
        }
        Ok(ended)
    });
    ended.ok()
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn only_the_process_that_was_started_is_the_one() {
        let (ours, _theirs) = UnixDatagram::pair().unwrap();
        let (wire, own) = (Wire::new(ours.into()).unwrap(), std::process::id());
        assert!(is_the_one(&wire, own).is_ok());
        let stranger = is_the_one(&wire, own + 1).unwrap_err().to_string();
        assert_eq!(stranger, format!("somebody else (process {own}) came in place of the new process"));
    }
}
