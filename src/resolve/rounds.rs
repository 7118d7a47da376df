//! The thread that asks for names again and again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::Dns;
use control::command::Command;
use control::plane::Addresses;
use tokio::sync::oneshot;
use tokio::task::{Id, JoinError, JoinSet, spawn_blocking};
use tokio::time::sleep_until;

use super::asking::{Answer, Asker, NoAnswer, Outcome};
use super::system::{Files, Stamp, System};
use super::{Known, State, at_port, kept, now, telling};

/// Names that are asked for at once.
const AT_ONCE: usize = 32;
/// From the begin of one question to that of the next: 1000 names a second, however many are due.
const APART: Duration = Duration::from_millis(1);
/// How often it is looked whether the system's files changed.
const LOOK: Duration = Duration::from_secs(2);
/// For so long what is to be told is gathered: where a server fails, so do many names.
const GATHER: Duration = Duration::from_millis(500);
/// Answers are not written more often.
const WRITTEN_APART: Duration = Duration::from_secs(1);

/// Asks for whatever is due, until the end.
pub(super) async fn run(known: &Arc<Known>, files: Files) {
    let mut rounds = Rounds::new(Arc::clone(known), files);
    loop {
        let now = now().at;
        if known.state.lock().ended {
            return;
        }
        rounds.look_at_the_system(now);
        rounds.ask(now);
        rounds.publish();
        rounds.keep(now);
        rounds.tell(now);
        let next = rounds.next(now);
        let Rounds { asked, in_use, written, .. } = &mut rounds;
        tokio::select! {
            () = known.wake.notified() => {}
            () = sleep_until(next.into()) => {}
            Some(answer) = asked.join_next_with_id() => rounds.learn(answer),
            () = over(in_use) => rounds.in_use = None,
            () = over(written) => rounds.written = None,
        }
    }
}

/// Waits for the end of what is under way; for ever where nothing is.
async fn over<T>(under_way: &mut Option<oneshot::Receiver<T>>) {
    match under_way {
        // An error means that nobody does it any more.
        Some(under_way) => drop(under_way.await),
        None => std::future::pending().await,
    }
}

struct Rounds {
    known: Arc<Known>,
    files: Files,
    asker: Arc<Asker>,
    stamp: Stamp,
    looks_next: Instant,
    asked: JoinSet<Result<Answer, NoAnswer>>,
    names: HashMap<Id, Arc<str>>,
    asks_next: Instant,
    /// Until the control loop has taken the last changes into use.
    in_use: Option<oneshot::Receiver<()>>,
    /// Until the last good answers are on disk.
    written: Option<oneshot::Receiver<()>>,
    writes_next: Instant,
    /// When what was gathered is told.
    tells_at: Option<Instant>,
}

impl Rounds {
    fn new(known: Arc<Known>, files: Files) -> Self {
        let now = now().at;
        let stamp = files.stamp();
        Self {
            known,
            asker: Arc::new(Asker::new(Dns::default(), System::read(&files))),
            files,
            stamp,
            looks_next: now,
            asked: JoinSet::new(),
            names: HashMap::new(),
            asks_next: now,
            in_use: None,
            written: None,
            writes_next: now,
            tells_at: None,
        }
    }

    /// Asks as is written, and by what the system knows: where that changed, what was known is in doubt.
    fn look_at_the_system(&mut self, now: Instant) {
        let state = &mut *self.known.state.lock();
        let has_changed = now >= self.looks_next && {
            self.looks_next = now + LOOK;
            let before = std::mem::replace(&mut self.stamp, self.files.stamp());
            before != self.stamp
        };
        if has_changed || *self.asker.dns() != state.dns {
            self.asker = Arc::new(Asker::new(state.dns.clone(), System::read(&self.files)));
            state.book.ask_all(now);
        }
    }

    /// Whether anybody wants to hear of changes.
    fn is_wanted(&self) -> bool {
        self.known.commands.lock().is_some()
    }

    /// Begins to ask for what is due.
    fn ask(&mut self, now: Instant) {
        while self.is_wanted() && self.asked.len() < AT_ONCE && now >= self.asks_next {
            let Some(name) = self.known.state.lock().book.take_due(now) else { return };
            let (asker, asked_for) = (Arc::clone(&self.asker), Arc::clone(&name));
            let task = self.asked.spawn(async move { asker.resolve(&asked_for).await });
            self.names.insert(task.id(), name);
            self.asks_next = now + APART;
        }
    }

    fn learn(&mut self, answer: Result<(Id, Result<Answer, NoAnswer>), JoinError>) {
        let (id, came_of_it) = match answer {
            Ok(answer) => answer,
            Err(lost) => {
                let reason = "asking for it was not brought to its end".into();
                (lost.id(), Err(NoAnswer { result: Outcome::Failed, reason }))
            }
        };
        let Some(name) = self.names.remove(&id) else { return };
        let state = &mut *self.known.state.lock();
        let news = state.book.learned(&name, came_of_it, self.asker.dns(), now(), fastrand::f64());
        state.news.extend(news.into_iter().map(|news| (Arc::clone(&name), news)));
    }

    /// Sends what changed to whoever publishes; not before the last change is in use, so that no queue grows.
    fn publish(&mut self) {
        let Some(commands) = self.known.commands.lock().clone().filter(|_| self.in_use.is_none()) else { return };
        let changed = self.known.state.lock().take_moved();
        if changed.is_empty() {
            return;
        }
        let (reply, done) = oneshot::channel();
        // An error means that the loop has ended, and with it the need for addresses.
        if commands.send(Command::Readdress { changed, reply }).is_ok() {
            self.in_use = Some(done);
        }
    }

    /// Writes the last good answers where they changed, on a thread that may wait for the disk.
    fn keep(&mut self, now: Instant) {
        if !self.has_to_write() || now < self.writes_next {
            return;
        }
        self.writes_next = now + WRITTEN_APART;
        let names = {
            let state = &mut *self.known.state.lock();
            state.is_unwritten = false;
            state.book.addresses()
        };
        let (done, written) = oneshot::channel();
        self.written = Some(written);
        let known = Arc::clone(&self.known);
        spawn_blocking(move || {
            let is_ours = known.is_ours.lock();
            let result = if *is_ours { kept::write(&known.state_directory, &names) } else { Ok(()) };
            drop(is_ours);
            let state = &mut *known.state.lock();
            match result {
                Ok(()) => state.is_refused = false,
                Err(error) => {
                    // Tried again and again, and told once.
                    if !std::mem::replace(&mut state.is_refused, true) {
                        tracing::warn!(%error, "the addresses of names cannot be kept in the state directory");
                    }
                    state.is_unwritten = true;
                }
            }
            let _ = done.send(());
        });
    }

    /// Whether what is on disk differs from what is known. Before changes are wanted the directory is perhaps another
    /// process's.
    fn has_to_write(&self) -> bool {
        self.written.is_none() && self.is_wanted() && self.known.state.lock().is_unwritten
    }

    fn tell(&mut self, now: Instant) {
        let state = &mut *self.known.state.lock();
        match self.tells_at {
            None if !state.news.is_empty() => self.tells_at = Some(now + GATHER),
            Some(at) if now >= at => {
                self.tells_at = None;
                telling::tell(&std::mem::take(&mut state.news));
            }
            None | Some(_) => {}
        }
    }

    /// When something is to be done, whatever happens meanwhile.
    fn next(&self, now: Instant) -> Instant {
        let can_ask = self.is_wanted() && self.asked.len() < AT_ONCE;
        let due = self.known.state.lock().book.next_due().filter(|_| can_ask);
        let due = due.map(|due| due.max(self.asks_next));
        let writes = self.has_to_write().then_some(self.writes_next);
        let next = [due, writes, self.tells_at].into_iter().flatten().min();
        next.unwrap_or(self.looks_next).min(self.looks_next).max(now)
    }
}

impl State {
    /// The endpoints that have other addresses than whoever publishes was told.
    fn take_moved(&mut self) -> Addresses {
        let mut changed = Addresses::new();
        for (name, addresses) in self.book.take_moved() {
            self.is_unwritten = true;
            for endpoint in self.endpoints.get(&name).into_iter().flatten() {
                if let config::Endpoint::Tcp { port, .. } = endpoint {
                    changed.insert(endpoint.clone(), at_port(&addresses, *port));
                }
            }
        }
        changed
    }
}
