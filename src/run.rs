//! `tidegate run`: serves until a signal ends it.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use config::{Configuration, Problems, Read};
use proxy::Limits;
use tracing::{info, warn};

use crate::cli::Run;
use crate::exit::Exit;
use crate::life::{Ended, serve_until_ended};
use crate::serve::{Settings, Source, Tidegate};
use crate::signals::Watch;
use crate::upgrade::{Executable, Heir};

/// Serves in the foreground.
///
/// # Errors
/// Where the configuration is bad, or something that it names cannot be had: each says what, and what is legal.
pub fn run(arguments: &Run) -> anyhow::Result<Exit> {
    let _log = crate::log::begin();
    let watch = Watch::begin().context("cannot watch for signals")?;
    let executable = Executable::of_this_process().context("cannot find the executable of this process")?;
    let heir = Heir::from_environment()?;
    let (read, source) = match configuration(arguments) {
        Ok(configuration) => configuration,
        Err(problems) => {
            let problems = anyhow!("{problems}");
            if let Some(heir) = &heir {
                heir.refuse(&problems);
            }
            return Err(problems);
        }
    };
    for warning in &read.warnings {
        warn!("{warning}");
    }
    let settings = Settings { configuration: read.configuration, source, token: token(), limits: limits() };
    let tidegate = Tidegate::start(settings, heir)?;
    let exit = match serve_until_ended(watch, tidegate, Some(executable)) {
        Ended::Drained | Ended::AtOnce => Exit::Done,
        Ended::Forced(_) => Exit::Forced,
    };
    info!("ended");
    Ok(exit)
}

/// The token of the environment.
pub(crate) fn token() -> Option<String> {
    std::env::var("TIDEGATE_TOKEN").ok().filter(|token| !token.is_empty())
}

/// As many descriptors as the system gives, and no more clients than they suffice for: one that could be accepted and
/// not served would look like a failure of its version.
fn limits() -> Limits {
    /// What is not for clients: listeners, files, the control API, idle connections to endpoints.
    const RESERVED: u64 = 256;
    let mut limits = Limits::default();
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(descriptors) => {
            // A client takes two, its own and one upstream.
            limits.connections = (descriptors.saturating_sub(RESERVED) / 2).max(64);
            info!(descriptors, connections = limits.connections, "limits");
        }
        Err(error) => warn!(%error, "the limit of file descriptors stays as it is"),
    }
    limits
}

/// What to serve, and how to read it again.
fn configuration(arguments: &Run) -> Result<(Read, Source), Problems> {
    if let Some(file) = &arguments.config {
        let read = config::read_file(file)?;
        let file = file.clone();
        let source =
            move || config::read_file(&file).map(|read| read.configuration).map_err(|problems| lines(&problems));
        return Ok((read, Arc::new(source)));
    }
    let read = config::without_file(
        arguments.stable.as_deref().unwrap_or_default(),
        arguments.canary.as_deref(),
        arguments.weight.as_deref(),
        arguments.listen.as_deref(),
        arguments.admin_address.as_deref(),
        arguments.state.as_deref(),
    )?;
    // There is no file to read again: a reload resolves the names anew.
    let same: Configuration = read.configuration.clone();
    Ok((read, Arc::new(move || Ok(same.clone()))))
}

fn lines(problems: &Problems) -> Vec<String> {
    problems.as_slice().iter().map(ToString::to_string).collect()
}
