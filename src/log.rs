//! What the program says about itself, on standard error.

use std::fmt;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};

/// What is logged where `TIDEGATE_LOG` is not set: state changes. pingora logs every broken connection as an error of
/// its own; those are counted by class instead. The TLS library warns of what any stranger may do (renegotiation).
const DEFAULT: &str = "info,pingora_core=off,pingora_proxy=off,pingora_pool=off,h2=off,hyper=off,rustls=off";

/// Whether lines bear the number of this process. One for the process, as the log is.
static IS_NUMBERED: AtomicBool = AtomicBool::new(false);

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
        .fmt_fields(Numbered(DefaultFields::new()))
        .with_writer(writer)
        .try_init();
    guard
}

/// From now on each line ends with the number of this process, or does no more: another one writes to the same log, which
/// takes over or has.
pub(crate) fn number_lines(numbered: bool) {
    IS_NUMBERED.store(numbered, Ordering::Relaxed);
}

/// Fields as usual, and the number of the process behind them where lines bear it.
struct Numbered(DefaultFields);

impl<'writer> FormatFields<'writer> for Numbered {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        self.0.format_fields(writer.by_ref(), fields)?;
        if IS_NUMBERED.load(Ordering::Relaxed) {
            write!(writer, " process={}", std::process::id())?;
        }
        Ok(())
    }
}
