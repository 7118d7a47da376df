//! Signals, as operators of nginx and HAProxy know them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
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

/// Serves until a signal ends it: `TERM` and `QUIT` drain (a second one ends at once), `INT` ends at once, `HUP` reads
/// the configuration again.
pub fn serve_until_ended(tidegate: Tidegate) -> std::io::Result<Ended> {
    let draining = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGQUIT, SIGTERM] {
        // Registered first, so that it is there before the drain begins. It ends the process wherever the drain stands;
        // the journal is safe, since nothing in it waits for an orderly end.
        signal_hook::flag::register_conditional_shutdown(
            signal,
            i32::from(Exit::Forced.code()),
            Arc::clone(&draining),
        )?;
    }
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    for signal in &mut signals {
        match signal {
            SIGHUP => tidegate.reload(),
            SIGINT => return Ok(Ended::AtOnce),
            _ => break,
        }
    }
    draining.store(true, Ordering::Release);
    let cut = tidegate.stop();
    Ok(if cut == 0 { Ended::Drained } else { Ended::Forced(cut) })
}
