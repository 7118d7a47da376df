//! What the program says about itself, on standard error.

use std::io::IsTerminal;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// What is logged where `TIDEGATE_LOG` is not set: state changes. pingora logs every broken connection as an error of
/// its own; those are counted by class instead. The TLS library warns of what any stranger may do (renegotiation).
const DEFAULT: &str = "info,pingora_core=off,pingora_proxy=off,pingora_pool=off,h2=off,hyper=off,rustls=off";

/// Begins logging to standard error, never waiting for it: a full pipe drops lines, and no request stalls. Logging ends
/// when the guard is dropped. `TIDEGATE_LOG` chooses otherwise (`debug`, `proxy=debug`).
pub fn begin() -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default().lossy(true).finish(std::io::stderr());
    let filter = EnvFilter::try_from_env("TIDEGATE_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // Begun twice only by tests in one process; the first stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(ansi)
        .with_target(false)
        .with_writer(writer)
        .try_init();
    guard
}
