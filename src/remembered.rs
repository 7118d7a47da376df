//! What speaks against endpoints, kept in the state directory: a process that takes over, or is started again, leaves alone
//! what the one before it left alone (docs/decisions/0051).
//!
//! A thread of its own looks once a second, and writes where something changed. Nothing waits for it but the end of the
//! process and a hand-over, and those not for long.

mod file;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use proxy::routing::Remembered;
use tracing::{info, warn};

/// How often it is looked whether something changed.
const LOOK: Duration = Duration::from_secs(1);
/// What does not change is written again so often, or it would be too old to be believed.
const REFRESH: Duration = Duration::from_mins(1);
/// How long a disk may take for the last word.
const DISK_PATIENCE: Duration = Duration::from_secs(1);

/// What was kept in this state directory, as far as it still holds. Never an error: what cannot be read is learnt anew.
pub(crate) fn read(directory: &Path) -> Vec<Remembered> {
    let (at, wall) = now();
    match file::read(directory, at, wall) {
        Ok(remembered) => {
            if !remembered.is_empty() {
                info!(endpoints = remembered.len(), "what was known of endpoints is taken up again");
            }
            remembered
        }
        Err(error) => {
            let file = directory.join(file::NAME);
            warn!(file = %file.display(), %error, "what was known of endpoints cannot be read, and is learnt anew");
            Vec::new()
        }
    }
}

/// Keeps what is known of endpoints, until it rests or is dropped.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// None where the system gave no thread.
    orders: Option<mpsc::Sender<Order>>,
}

#[derive(Debug)]
enum Order {
    /// The state directory is another's from now on. Told when the last is written.
    Rest(mpsc::Sender<()>),
    /// It is ours again.
    Resume,
}

impl Keeper {
    /// Keeps what `known` tells in this state directory, which is ours.
    pub(crate) fn start(directory: &Path, known: impl Fn(Instant) -> Vec<Remembered> + Send + 'static) -> Self {
        let (orders, ordered) = mpsc::channel();
        let writer = Writer { directory: directory.to_owned(), known, last: None, is_refused: false };
        let thread = thread::Builder::new().name("tidegate-health".to_owned()).spawn(move || writer.run(&ordered));
        if let Err(error) = &thread {
            warn!(%error, "what is known of endpoints is not kept");
        }
        Self { orders: thread.is_ok().then_some(orders) }
    }

    /// Writes once more, and then no more: the state directory is another's. Waits for it, unless the disk does not answer.
    pub(crate) fn rest(&self) {
        let (done, written) = mpsc::channel();
        if let Some(orders) = &self.orders
            && orders.send(Order::Rest(done)).is_ok()
        {
            // An error means that the disk does not answer.
            let _ = written.recv_timeout(DISK_PATIENCE);
        }
    }

    /// The state directory is ours again.
    pub(crate) fn resume(&self) {
        if let Some(orders) = &self.orders {
            // The thread ends with this alone.
            let _ = orders.send(Order::Resume);
        }
    }
}

struct Writer<F> {
    directory: PathBuf,
    known: F,
    /// What was written last, and when; none where the file is another's, or of another life.
    last: Option<(Vec<Remembered>, Instant)>,
    is_refused: bool,
}

impl<F: Fn(Instant) -> Vec<Remembered>> Writer<F> {
    fn run(mut self, ordered: &mpsc::Receiver<Order>) {
        let mut is_ours = true;
        loop {
            match ordered.recv_timeout(LOOK) {
                Ok(Order::Rest(done)) => {
                    if std::mem::take(&mut is_ours) {
                        self.keep();
                    }
                    // Nobody waits any more.
                    let _ = done.send(());
                }
                // Another may have written meanwhile.
                Ok(Order::Resume) => (is_ours, self.last) = (true, None),
                Err(RecvTimeoutError::Timeout) if is_ours => self.keep(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Writes what is known, where that is not what was written last.
    fn keep(&mut self) {
        let (at, wall) = now();
        let remembered = (self.known)(at);
        let is_written = match &self.last {
            Some((last, when)) => *last == remembered && (last.is_empty() || at < *when + REFRESH),
            None => remembered.is_empty() && !self.directory.join(file::NAME).exists(),
        };
        if is_written {
            return;
        }
        match file::write(&self.directory, &remembered, at, wall) {
            Ok(()) => {
                self.is_refused = false;
                self.last = Some((remembered, at));
            }
            // Tried again and again, and told once.
            Err(error) if !std::mem::replace(&mut self.is_refused, true) => {
                warn!(%error, "what is known of endpoints cannot be kept in the state directory");
            }
            Err(_) => {}
        }
    }
}

/// This moment by both clocks.
#[expect(clippy::disallowed_methods, reason = "the executable is a shell: what is kept is as of now")]
fn now() -> (Instant, SystemTime) {
    (Instant::now(), SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy::endpoint::{Memory, Unhealthy};

    /// An endpoint that is unhealthy for this.
    fn unhealthy(since: Instant, why: &str) -> Remembered {
        let unhealthy = Unhealthy { since, why: why.to_owned(), check: String::new() };
        Remembered {
            service: "shop".into(),
            version: "v1".into(),
            written: "a:1".into(),
            address: "10.0.0.1:1".into(),
            memory: Memory { unhealthy: Some(unhealthy), ..Memory::default() },
        }
    }

    #[test]
    fn it_is_written_while_the_directory_is_ours_and_not_while_it_is_anothers() {
        let place = tempfile::tempdir().unwrap();
        let (began, _) = now();
        let keeper = Keeper::start(place.path(), move |_| vec![unhealthy(began, "503")]);
        let is_written = || place.path().join(file::NAME).exists();
        keeper.rest();
        assert!(is_written());
        assert_eq!(read(place.path()).len(), 1);
        std::fs::remove_file(place.path().join(file::NAME)).unwrap();
        keeper.rest();
        assert!(!is_written(), "another's");
        keeper.resume();
        keeper.rest();
        assert!(is_written(), "ours again, and nobody knows what is there");
    }

    #[test]
    fn what_was_written_before_and_is_over_is_forgotten_though_nothing_else_is_known() {
        let place = tempfile::tempdir().unwrap();
        let (began, wall) = now();
        file::write(place.path(), &[unhealthy(began, "503")], began, wall).unwrap();
        let knows_nothing = Keeper::start(place.path(), |_| Vec::new());
        knows_nothing.rest();
        assert!(read(place.path()).is_empty(), "of another life");
        file::write(place.path(), &[unhealthy(began, "503")], began, wall).unwrap();
        knows_nothing.resume();
        knows_nothing.rest();
        assert!(read(place.path()).is_empty(), "of another process");
    }

    #[test]
    fn what_did_not_change_is_not_written_again_and_nothing_only_where_there_was_something() {
        let place = tempfile::tempdir().unwrap();
        let (began, _) = now();
        let known = std::cell::RefCell::new(Vec::new());
        let mut writer = Writer {
            directory: place.path().to_owned(),
            known: |_| known.borrow().clone(),
            last: None,
            is_refused: false,
        };
        let mut writes = |what: Vec<Remembered>| {
            *known.borrow_mut() = what;
            writer.keep();
            std::fs::remove_file(place.path().join(file::NAME)).is_ok()
        };
        let one = |why: &str| vec![unhealthy(began, why)];
        let all = [Vec::new(), one("503"), one("503"), one("504"), Vec::new(), Vec::new()];
        assert_eq!(all.map(&mut writes), [false, true, false, true, true, false]);
    }

    #[test]
    fn a_directory_that_cannot_be_written_or_read_is_no_matter() {
        let (began, _) = now();
        let keeper = Keeper::start(Path::new("/nowhere/state"), move |_| vec![unhealthy(began, "503")]);
        keeper.rest();
        assert!(read(Path::new("/nowhere/state")).is_empty());
    }
}
