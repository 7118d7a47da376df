//! Signals, as operators of nginx and HAProxy know them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::exit::Exit;

/// What a person asks by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// `TERM`, `QUIT`: end gently.
    Drain,
    /// `INT`: end at once.
    End,
    /// `HUP`: read the configuration again.
    Reload,
    /// `USR1`: open the access log anew.
    ReopenLog,
    /// `USR2`: let a new process take over.
    Upgrade,
}

/// The signals of a process that is to serve. Watched from before it starts, so that one which comes early is not
/// missed, and none of those that ask for something else ends it.
#[derive(Debug)]
pub struct Watch {
    signals: Signals,
    last: LastWord,
}

/// Whether the next signal that asks for an end is the last word.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastWord(Arc<AtomicBool>);

impl LastWord {
    /// From now on one more ends the process at once, wherever it stands.
    pub(crate) fn is_next(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Watch {
    /// Begins watching.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn begin() -> io::Result<Self> {
        let last = LastWord::default();
        for signal in [SIGINT, SIGQUIT, SIGTERM] {
            // It ends the process wherever the drain stands; the journal is safe, since nothing in it waits for an
            // orderly end.
            let code = i32::from(Exit::Forced.code());
            signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&last.0))?;
        }
        let signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2])?;
        Ok(Self { signals, last })
    }

    /// Tells what is asked, from now on and of what came before, on a thread of its own. It ends with the process.
    pub(crate) fn tell(mut self, tell: impl Fn(Asked) + Send + 'static) -> LastWord {
        let last = self.last.clone();
        drop(thread::spawn(move || {
            for signal in &mut self.signals {
                tell(match signal {
                    SIGHUP => Asked::Reload,
                    SIGUSR1 => Asked::ReopenLog,
                    SIGUSR2 => Asked::Upgrade,
                    SIGINT => Asked::End,
                    _ => Asked::Drain,
                });
            }
        }));
        last
    }
}
