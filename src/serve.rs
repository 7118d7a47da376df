//! Starting up and ending: both planes, wired together. The executable, the demo and the tests all start here.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow, bail};
use config::Configuration;
use control::api::{self, ApiOptions, ApiServer};
use control::command::Command;
use control::control_loop::{self, Options};
use control::handle::Handle;
use proxy::access_log::AccessLog;
use proxy::server::why_not_bound;
use proxy::tls::Finding;
use proxy::{DataPlane, Limits, Listeners, Publisher};
use tokio::sync::oneshot;
use tracing::info;

use crate::plane::LivePlane;
use crate::reload::Reloader;
use crate::resolve::Names;

/// How a reload comes by the new configuration, or by the problems with it.
pub type Source = Arc<dyn Fn() -> Result<Configuration, Vec<String>> + Send + Sync>;

/// What a process serves, and how it ends.
pub struct Settings {
    /// What to serve.
    pub configuration: Configuration,
    /// Where a reload reads.
    pub source: Source,
    /// The token of the environment; goes before the file's.
    pub token: Option<String>,
    /// What the data plane may use.
    pub limits: Limits,
    /// How it ends.
    pub drain: Drain,
}

/// The times of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// For so long after `/readyz` says no, connections are still accepted: whoever sends them may not have looked yet.
    pub grace: Duration,
    /// After so long what is still in flight is cut.
    pub deadline: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { grace: Duration::from_secs(1), deadline: Duration::from_secs(30) }
    }
}

/// How long the end waits for whoever reads the access log.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

/// A process that serves.
#[derive(Debug)]
pub struct Tidegate {
    handle: Handle,
    control: Option<JoinHandle<()>>,
    api: ApiServer,
    data: Option<DataPlane>,
    draining: Arc<AtomicBool>,
    drain: Drain,
    reloader: Reloader,
    log: AccessLog,
}

impl Tidegate {
    /// Takes the state directory, replays its journal, opens every address and the access log, and serves. An error
    /// means that nothing is left open.
    pub fn start(settings: Settings) -> anyhow::Result<Self> {
        let Settings { configuration, source, token, limits, drain } = settings;
        let admin = configuration.admin.clone();
        let token = admin_token(&configuration, token)?;
        let listeners = configuration.listeners.clone();
        let state_directory = configuration.state.clone();
        let names = Names::start(&state_directory).context("cannot start to resolve names")?;
        let resolved = names.resolve(configuration).map_err(|problems| anyhow!(problems.join("\n")))?;
        // Every address is taken before the state directory is touched; who connects now waits until all is in place.
        let listeners = Listeners::bind(&listeners)?;
        let admin_listener = TcpListener::bind(admin.address).map_err(|error| {
            anyhow!("cannot listen on the admin address {}: {}", admin.address, why_not_bound(&error))
        })?;

        let publisher = Publisher::new(limits.cores);
        let log = publisher.access_log();
        log.prepare(&resolved.configuration.rules)?;
        let reader = publisher.reader();
        let options = Options::new(state_directory);
        let plane = LivePlane::new(publisher, listeners.secured()).resolving(names.clone());
        let (handle, control) = control_loop::start(options, plane, resolved)?;
        names.publish(handle.commands.clone());

        // Last: the journal is replayed and the split in force is published before the first connection is accepted.
        let data = DataPlane::start(listeners, &limits, &reader)?;
        let draining = Arc::new(AtomicBool::new(false));
        let prepared = log.clone();
        let read: api::Reload = Arc::new(move || {
            let mut resolved = source().and_then(|configuration| names.resolve(configuration))?;
            resolved.notes.extend(of_certificates(&resolved.configuration));
            prepared.prepare(&resolved.configuration.rules).map_err(|refused| vec![refused.to_string()])?;
            Ok(resolved)
        });
        let api_options = ApiOptions { token, draining: Arc::clone(&draining), ..ApiOptions::default() };
        let reloader = Reloader::new(Arc::clone(&read), handle.clone(), Arc::clone(&api_options.reloading));
        let api =
            api::start(api_options, admin_listener, handle.clone(), read).context("cannot start the control API")?;
        for address in data.listening() {
            info!(%address, "serving");
        }
        info!(address = %api.address(), "control API");
        Ok(Self { handle, control: Some(control), api, data: Some(data), draining, drain, reloader, log })
    }

    /// Where clients connect by TCP, in the order of the configuration.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.data.as_ref().map(DataPlane::addresses).unwrap_or_default()
    }

    /// Where operators connect.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.api.address()
    }

    /// The control loop.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Reads the configuration again when asked.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// The access log.
    #[must_use]
    pub const fn access_log(&self) -> &AccessLog {
        &self.log
    }

    /// Ends gently: `/readyz` says no, connections are accepted for the grace period, then no more, requests in flight
    /// end, the journal is closed. Returns how many connections were cut at the deadline.
    pub fn stop(mut self) -> u64 {
        self.draining.store(true, Ordering::Release);
        if let Some(data) = &self.data {
            data.announce_drain();
        }
        info!(grace = ?self.drain.grace, deadline = ?self.drain.deadline, "draining");
        #[expect(clippy::disallowed_methods, reason = "the grace period is a length of time, not an event")]
        std::thread::sleep(self.drain.grace);
        let cut = self.data.take().map_or(0, |data| data.drain(self.drain.deadline));
        self.log.end(LOG_PATIENCE);
        self.end_control();
        cut
    }

    fn end_control(&mut self) {
        let (reply, done) = oneshot::channel();
        if self.handle.commands.send(Command::Stop { reply }).is_ok() {
            // An error means that the loop has ended: that is what was wanted.
            let _ = done.blocking_recv();
        }
        if let Some(control) = self.control.take() {
            // A panic there has been reported by the thread itself.
            let _ = control.join();
        }
    }
}

impl Drop for Tidegate {
    fn drop(&mut self) {
        drop(self.data.take());
        self.log.end(LOG_PATIENCE);
        self.end_control();
    }
}

/// What there is to say of the certificates that listeners show. A reload leaves those in use alone, which look after
/// themselves; but who reloads should know what the next start will be told.
fn of_certificates(configuration: &Configuration) -> Vec<String> {
    #[expect(clippy::disallowed_methods, reason = "certificates expire: the executable is a shell and knows the time")]
    let now = SystemTime::now();
    let told = |finding: Finding| match finding.fatal {
        true => format!("{finding}. The last good files stay in use; a start would be refused"),
        false => finding.to_string(),
    };
    proxy::tls::check(&configuration.listeners, now).into_iter().map(told).collect()
}

/// The token that the control API wants. An address that others can reach must have one.
fn admin_token(configuration: &Configuration, environment: Option<String>) -> anyhow::Result<Option<String>> {
    let token = match (environment, &configuration.admin.tokens) {
        (Some(token), _) => Some(token),
        (None, Some(file)) => Some(token_in(file)?),
        (None, None) => None,
    };
    if token.is_none() && !configuration.admin.address.ip().is_loopback() {
        bail!(
            "the admin address {} can be reached by others and has no token: set TIDEGATE_TOKEN, or admin.tokens to a \
             file that holds one, or use a loopback address (127.0.0.1:9900)",
            configuration.admin.address
        );
    }
    Ok(token)
}

/// The token in a file: its first line that is neither empty nor begins with `#`.
pub(crate) fn token_in(file: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(file).with_context(|| format!("admin.tokens: cannot read {}", file.display()))?;
    let token = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    token.map(str::to_owned).ok_or_else(|| anyhow!("admin.tokens: {} holds no token", file.display()))
}
