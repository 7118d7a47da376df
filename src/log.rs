//! What the program says about itself, on standard error.

use std::ffi::OsStr;
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
    let wanted = std::env::var_os("TIDEGATE_LOG").filter(|wanted| !wanted.is_empty());
    let (filter, wrong) = match wanted.as_deref().map(chosen) {
        None => (EnvFilter::new(DEFAULT), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(wrong)) => (EnvFilter::new(DEFAULT), Some(wrong)),
    };
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // Begun twice only by tests in one process; the first stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(ansi)
        .with_target(false)
        .fmt_fields(Numbered(DefaultFields::new()))
        .with_writer(writer)
        .try_init();
    // What pingora says at this level it makes into text before anybody is asked whether it is wanted, and panics at a
    // header that is no UTF-8 (0.9.1, protocols/http/v1/client.rs). Its lines alone come this way.
    log::set_max_level(log::max_level().min(log::LevelFilter::Debug));
    if let Some(wrong) = wrong {
        tracing::warn!(
            "TIDEGATE_LOG is not understood: {wrong}; the usual is logged; legal is a level (`error`, `warn`, `info`, \
             `debug`, `trace`, `off`), or levels by part, like `info,proxy=debug`"
        );
    }
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

/// What `TIDEGATE_LOG` asks for.
fn chosen(wanted: &OsStr) -> Result<EnvFilter, String> {
    let wanted = wanted.to_str().ok_or_else(|| "it is no UTF-8".to_owned())?;
    EnvFilter::try_new(wanted).map_err(|wrong| wrong.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_filter_is_refused() {
        for wrong in ["proxy=debugg", "bogus=nonsense", "info,=", "a=b=c"] {
            assert!(chosen(wrong.as_ref()).is_err(), "{wrong}");
        }
        assert_eq!(chosen("info,proxy=debug".as_ref()).unwrap().to_string(), "proxy=debug,info");
    }
}
