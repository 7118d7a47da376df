//! Signals, as operators of nginx and HAProxy know them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::exit::Exit;
use crate::serve::Tidegate;

/// How a process that serves came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything that was in flight ended.
    Drained,
    /// So many connections were cut.
    Forced(u64),
    /// `INT`: at once.
    AtOnce,
}

/// The signals of a process that is to serve. Watched from before it starts, so that one which comes early is not
/// missed, and neither a `HUP` nor a `USR1` ends it.
#[derive(Debug)]
pub struct Watch {
    signals: Signals,
    draining: Arc<AtomicBool>,
}

impl Watch {
    /// Begins watching.
    pub fn begin() -> std::io::Result<Self> {
        let draining = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGQUIT, SIGTERM] {
            // A second one ends the process wherever the drain stands; the journal is safe, since nothing in it waits
            // for an orderly end.
            let code = i32::from(Exit::Forced.code());
            signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&draining))?;
        }
        Ok(Self { signals: Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1])?, draining })
    }

    /// Serves until a signal ends it: `TERM` and `QUIT` drain (a second one ends at once), `INT` ends at once, `HUP`
    /// reads the configuration again, `USR1` opens the access log anew.
    pub fn serve_until_ended(mut self, tidegate: Tidegate) -> Ended {
        // On a thread of its own: a name that resolves slowly must not keep `TERM` waiting. It ends with the sender.
        let reloader = tidegate.reloader();
        let (ask, asked) = mpsc::sync_channel(1);
        drop(thread::spawn(move || asked.iter().for_each(|()| reloader.reload())));
        for signal in &mut self.signals {
            match signal {
                // One that waits already will read the file as it is by then.
                SIGHUP => drop(ask.try_send(())),
                SIGUSR1 => tidegate.access_log().reopen(),
                SIGINT => return Ended::AtOnce,
                _ => break,
            }
        }
        self.draining.store(true, Ordering::Release);
        match tidegate.stop() {
            0 => Ended::Drained,
            cut => Ended::Forced(cut),
        }
    }
}
