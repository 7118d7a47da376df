//! A reload that a signal asks for. The control API asks for its own; both take turns.

use std::fmt;
use std::sync::Arc;

use control::api::Reload;
use control::command::{Command, Reloaded};
use control::handle::Handle;
use tokio::sync::{Mutex, oneshot};
use tracing::{info, warn};

/// Reads the configuration again and has it taken into use. Cheap to clone.
#[derive(Clone)]
pub struct Reloader {
    read: Reload,
    handle: Handle,
    /// Held from the reading of the file until it is in force, by whoever reloads.
    turn: Arc<Mutex<()>>,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reloader")
    }
}

impl Reloader {
    /// Reloads what `read` reads, one reload at a time with everybody else who holds `turn`.
    #[must_use]
    pub const fn new(read: Reload, handle: Handle, turn: Arc<Mutex<()>>) -> Self {
        Self { read, handle, turn }
    }

    /// Reads the configuration again, as `HUP` asks. A bad one changes nothing; what came of it is logged. Blocks while
    /// names are resolved and while another reload is under way.
    pub fn reload(&self) {
        match self.take_configuration() {
            Ok(Reloaded { needs_restart, notes }) => {
                info!("configuration reloaded");
                for note in notes {
                    info!("{note}");
                }
                for what in needs_restart {
                    warn!("not in force yet: {what}");
                }
            }
            Err(problems) => {
                warn!("configuration not reloaded, the last good one stays in force");
                for problem in problems {
                    warn!("{problem}");
                }
            }
        }
    }

    /// What is to be known of it, or every problem.
    fn take_configuration(&self) -> Result<Reloaded, Vec<String>> {
        let _turn = self.turn.blocking_lock();
        let gone = || vec!["the control loop has ended".to_owned()];
        let resolved = (self.read)().inspect_err(|problems| {
            // Told to the control loop, which shows it; where that has ended there is nobody to show it.
            let _ = self.handle.commands.send(Command::ReloadFailed { problems: problems.clone() });
        })?;
        let (reply, answer) = oneshot::channel();
        self.handle.commands.send(Command::Reload { resolved, reply }).map_err(|_| gone())?;
        answer.blocking_recv().map_err(|_| gone())?.map_err(|refused| vec![refused.to_string()])
    }
}
