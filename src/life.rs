//! The life of a process that serves: what signals and upgrades make of it, one thing after the other.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use control::process::UpgradeView;
use proxy::access_log::AccessLog;
use tracing::{error, info, warn};

use crate::drain::Cut;
use crate::log;
use crate::reload::Reloader;
use crate::serve::{Tidegate, now};
use crate::signals::{Asked, LastWord, Watch};
use crate::supervisor::Supervisor;
use crate::upgrade::{self, Executable, News, Upgrade};

/// How often a control plane that could not be started again is tried.
const AGAIN: Duration = Duration::from_secs(1);

/// How a process that serves came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Everything that was in flight ended.
    Drained,
    /// So much was cut.
    Forced(Cut),
    /// `INT`: at once.
    AtOnce,
}

/// Something that concerns the whole process.
#[derive(Debug)]
enum Happening {
    Asked(Asked),
    Reloaded,
    Upgrade(News),
    Drained(Cut),
}

/// Serves until it is told to end, or another process serves in its stead. `executable` is what an upgrade starts; none
/// where there can be no upgrade.
#[must_use]
pub fn serve_until_ended(watch: Watch, tidegate: Tidegate, executable: Option<Executable>) -> Ended {
    let (tell, happenings) = mpsc::channel();
    let signals = tell.clone();
    // An error means that the process is at its end.
    let last_word = watch.tell(move |asked| drop(signals.send(Happening::Asked(asked))));
    // On a thread of its own: a name that resolves slowly must not keep `TERM` waiting. It ends with the sender.
    let (ask, asked) = mpsc::sync_channel::<Reloader>(1);
    let reloaded = tell.clone();
    drop(thread::spawn(move || {
        for reloader in asked {
            reloader.reload();
            drop(reloaded.send(Happening::Reloaded));
        }
    }));
    let log = tidegate.access_log().clone();
    let supervisor = Supervisor::from_environment();
    supervisor.ready();
    Life {
        tidegate: Some(tidegate),
        executable,
        upgrade: None,
        reload_waits: false,
        told_to_end: false,
        ask,
        log,
        last_word,
        supervisor,
        tell,
    }
    .go_on(&happenings)
}

struct Life {
    /// None once it drains.
    tidegate: Option<Tidegate>,
    executable: Option<Executable>,
    /// One that is under way.
    upgrade: Option<Upgrade>,
    /// A reload was asked for while an upgrade was under way.
    reload_waits: bool,
    /// A person asked for the end.
    told_to_end: bool,
    ask: mpsc::SyncSender<Reloader>,
    log: AccessLog,
    last_word: LastWord,
    supervisor: Supervisor,
    tell: mpsc::Sender<Happening>,
}

impl Life {
    fn go_on(mut self, happenings: &mpsc::Receiver<Happening>) -> Ended {
        loop {
            let happening = if self.is_without_control() {
                match happenings.recv_timeout(AGAIN) {
                    Err(RecvTimeoutError::Timeout) => {
                        self.resume();
                        continue;
                    }
                    received => received.ok(),
                }
            } else {
                happenings.recv().ok()
            };
            match happening {
                Some(Happening::Asked(Asked::Reload)) => self.reload(),
                Some(Happening::Reloaded) => self.supervisor.ready(),
                Some(Happening::Asked(Asked::ReopenLog)) => self.log.reopen(),
                Some(Happening::Asked(Asked::Upgrade)) => self.upgrade(),
                Some(Happening::Asked(Asked::Drain)) => self.drain(),
                Some(Happening::Upgrade(News::Ready)) => self.hand_over(),
                Some(Happening::Upgrade(News::Over)) => self.upgraded(),
                Some(Happening::Drained(cut)) if cut == Cut::default() => return Ended::Drained,
                Some(Happening::Drained(cut)) => return Ended::Forced(cut),
                // Nobody is left to tell anything only at the very end.
                Some(Happening::Asked(Asked::End)) | None => {
                    self.supervisor.stopping();
                    drop(self.upgrade.take());
                    return Ended::AtOnce;
                }
            }
        }
    }

    /// Whether the control plane rests though no upgrade is under way: it could not be started again.
    fn is_without_control(&self) -> bool {
        self.upgrade.is_none() && self.tidegate.as_ref().is_some_and(Tidegate::rests)
    }

    fn reload(&mut self) {
        if self.upgrade.is_some() {
            info!("reload: waits for the upgrade that is under way");
            self.reload_waits = true;
            return;
        }
        match self.tidegate.as_ref().map(Tidegate::reloader) {
            Some(Some(reloader)) => {
                self.supervisor.reloading();
                // One that waits already will read the file as it is by then.
                drop(self.ask.try_send(reloader));
            }
            Some(None) => warn!("not reloaded: the control loop does not run"),
            None => warn!("not reloaded: this process drains and ends"),
        }
    }

    fn upgrade(&mut self) {
        if self.upgrade.is_some() {
            warn!("not upgraded again: an upgrade is under way; look at what comes of it in this log first");
            return;
        }
        let Some(tidegate) = &self.tidegate else {
            warn!("not upgraded: this process drains and ends; ask the one that serves");
            return;
        };
        // Before the new process reads the file: a reload that nobody would keep is refused from now on.
        tidegate.process().upgrades();
        // The new one writes to the same log.
        log::number_lines(true);
        match begin(tidegate, self.executable.clone(), self.tell.clone()) {
            Ok(upgrade) => {
                info!("upgrade: a new process is to take over");
                self.upgrade = Some(upgrade);
            }
            Err(error) => self.not_upgraded(&error),
        }
    }

    /// The new process is ready: it gets the state directory.
    fn hand_over(&mut self) {
        let (Some(upgrade), Some(tidegate)) = (&mut self.upgrade, &mut self.tidegate) else { return };
        match tidegate.rest() {
            Ok(lock) => upgrade.hand_over(lock),
            Err(error) => {
                // Before anything is started again: there is but one who writes.
                drop(self.upgrade.take());
                self.not_upgraded(&error);
            }
        }
    }

    /// The upgrade is over.
    fn upgraded(&mut self) {
        let Some(upgrade) = self.upgrade.take() else { return };
        match upgrade.outcome() {
            Ok(taken) => self.succeeded(taken),
            Err(failed) => self.not_upgraded(&failed.into()),
        }
    }

    fn succeeded(&mut self, taken: upgrade::Taken) {
        let Some(tidegate) = self.tidegate.take() else { return };
        let pid = taken.pid;
        info!(pid, "upgraded: the new process serves; this one drains and ends");
        self.supervisor.succeeded_by(pid);
        if std::mem::take(&mut self.reload_waits) {
            pass_on_reload(pid);
        }
        self.end_on_a_thread(move || tidegate.succeeded(taken));
    }

    /// This process serves on, and says why.
    fn not_upgraded(&mut self, why: &anyhow::Error) {
        error!("not upgraded, this process serves on: {why:#}");
        log::number_lines(false);
        if let Some(tidegate) = &self.tidegate {
            tidegate.process().upgraded(UpgradeView { at: now(), failed: Some(format!("{why:#}")) });
        }
        self.resume();
        if std::mem::take(&mut self.reload_waits) {
            self.reload();
        }
    }

    fn resume(&mut self) {
        let Some(tidegate) = self.tidegate.as_mut().filter(|tidegate| tidegate.rests()) else { return };
        match tidegate.resume() {
            Ok(()) => info!("the control loop goes on"),
            Err(error) => error!("the control loop cannot go on, traffic keeps its last split: {error:#}"),
        }
    }

    fn drain(&mut self) {
        if let Some(upgrade) = self.upgrade.take() {
            match upgrade.give_up() {
                // It was too late: the new process has the state, and is told by whoever told this one.
                Ok(taken) => self.succeeded(taken),
                Err(_) => {
                    info!("upgrade: given up, since this process is told to end");
                    log::number_lines(false);
                }
            }
        }
        if !self.told_to_end {
            self.told_to_end = true;
            self.last_word.is_next();
        }
        match self.tidegate.take() {
            Some(tidegate) => {
                self.supervisor.stopping();
                self.end_on_a_thread(move || tidegate.stop());
            }
            None => info!("this process drains already; one more signal ends it at once"),
        }
    }

    fn end_on_a_thread(&self, end: impl FnOnce() -> Cut + Send + 'static) {
        let tell = self.tell.clone();
        // An error means that the process has ended otherwise.
        drop(thread::spawn(move || drop(tell.send(Happening::Drained(end())))));
    }
}

fn begin(
    tidegate: &Tidegate,
    executable: Option<Executable>,
    tell: mpsc::Sender<Happening>,
) -> anyhow::Result<Upgrade> {
    let executable = executable.context("this process cannot be upgraded: what it serves lives in it alone")?;
    if let Some(why_not) = upgrade::why_not() {
        anyhow::bail!("{why_not}");
    }
    let offer = tidegate.offer(executable)?;
    // An error means that the process is at its end.
    Ok(Upgrade::begin(offer, move |news| drop(tell.send(Happening::Upgrade(news)))))
}

/// The new process may have read the file before it was changed.
fn pass_on_reload(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::HUP)
    {
        warn!(%error, "the reload that was asked for during the upgrade could not be passed on");
    }
}
