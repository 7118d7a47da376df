//! Starting up and ending: both planes, wired together. The executable, the demo and the tests all start here.

use std::fmt;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow, bail};
use config::{Canary, Configuration, Endpoint, Name, Service, Version, Weight};
use control::api::Reload;
use control::control_loop::Opened;
use control::handle::Handle;
use control::plane::Resolved;
use control::process::{Process, UpgradeView};
use jiff::Timestamp;
use proxy::access_log::AccessLog;
use proxy::server::why_not_bound;
use proxy::tls::Finding;
use proxy::{DataPlane, Limits, Listeners, Publisher};
use tracing::info;

use crate::control_plane::{ControlPlane, NotResumed, Outline, Rested};
use crate::drain::{Cut, Ending, drain};
use crate::plane::LivePlane;
use crate::reload::Reloader;
use crate::remembered::{self, Keeper};
use crate::resolve::{Names, without_address};
use crate::upgrade::{Elders, Executable, Following, Heir, Offer, Own, Taken};

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
}

/// How long the end waits for whoever reads the access log.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

/// A process that serves.
pub struct Tidegate {
    outline: Outline,
    /// None while it rests.
    control: Option<ControlPlane>,
    /// What is left of it while it rests.
    rested: Option<Rested>,
    /// The admin address as it is written.
    admin: SocketAddr,
    data: Option<DataPlane>,
    log: AccessLog,
    /// Keeps what is known of endpoints.
    health: Keeper,
    /// Processes before this one that still drain.
    elders: Elders,
}

impl fmt::Debug for Tidegate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tidegate").field("control", &self.control).field("data", &self.data).finish_non_exhaustive()
    }
}

impl Tidegate {
    /// Takes the state directory, replays its journal, opens every address and the access log, and serves. An error
    /// means that nothing is left open. Where an old process hands over, its sockets and its state directory are taken.
    pub fn start(settings: Settings, mut heir: Option<Heir>) -> anyhow::Result<Self> {
        let started = Self::try_start(settings, heir.as_mut());
        if let (Some(heir), Err(error)) = (&heir, &started) {
            heir.refuse(error);
        }
        started
    }

    fn try_start(settings: Settings, mut heir: Option<&mut Heir>) -> anyhow::Result<Self> {
        let Settings { configuration, source, token, limits } = settings;
        let admin = configuration.admin.address;
        let token = admin_token(&configuration, token)?;
        let listeners = configuration.listeners.clone();
        let state = configuration.state.clone();
        if let Some(heir) = &heir {
            heir.shares(&state)?;
        }
        let names = Names::start(&state).context("cannot start to resolve names")?;
        // All that can serve serves: a name that does not resolve takes its own endpoints away, and no others. But whoever
        // takes over leaves it to the old process, before that has given up anything.
        let takes_over = heir.is_some();
        let must = |service: &Service, version: &Version| takes_over && gives_users(service, version);
        let resolved = names.resolve(configuration, must).map_err(|problems| anyhow!(problems.join("\n")))?;
        // Every address is taken before the state directory is touched; who connects now waits until all is in place.
        let mut handed = heir.as_mut().map(|heir| std::mem::take(&mut heir.listeners)).unwrap_or_default();
        let handed_admin = heir.as_mut().and_then(|heir| heir.admin.take());
        let their_admin = handed_admin.as_ref().and_then(|(_, socket)| socket.local_addr().ok());
        let theirs: Vec<_> = handed.iter().filter_map(|handed| handed.bound.tcp()).chain(their_admin).collect();
        let listeners = Listeners::take_over(&listeners, &mut handed, &theirs)?;
        let admin_listener = admin_listener(admin, handed_admin, &theirs)?;

        let mut publisher = Publisher::new(limits.cores);
        let log = publisher.access_log();
        log.prepare(&resolved.configuration.rules)?;
        let reader = publisher.reader();
        let process = Process::new(std::process::id(), env!("CARGO_PKG_VERSION"));
        let routing = publisher.shared();
        let has_users = move |service: &Name, version: &Name| {
            routing.load().service(service).is_some_and(|service| service.has_users(version))
        };
        let outline = Outline {
            token,
            process,
            draining: Arc::default(),
            admin: admin_listener,
            read: read(source, &log, names.clone(), has_users),
            names: names.clone(),
            state,
        };
        // All that may fail for reasons of ours is done: an old process gives up its control loop for this one.
        let lock = heir.as_ref().map(|heir| heir.get_ready(&handed)).transpose()?.flatten();
        drop(handed);
        let opened = outline.open(lock)?;
        if heir.is_some() {
            let mut refused = opened.refusals(&resolved.configuration);
            refused.extend(without_users_address(&resolved, &opened));
            if !refused.is_empty() {
                bail!("{}; a restart would carry it out all the same", refused.join("; "));
            }
        }
        // Whoever wrote it last has done so: the directory is this process's.
        publisher.remember(remembered::read(opened.directory().path()));
        let routing = publisher.shared();
        let elders = heir.as_mut().map(|heir| heir.elders()).unwrap_or_default();
        let plane = LivePlane::new(publisher, listeners.secured()).resolving(names).before(elders.clone());
        let plane = Box::new(plane);
        let begun = Outline::begin(opened, plane, resolved)?;

        // Last: the journal is replayed and the split in force is published before the first connection is accepted.
        let mut data = match DataPlane::start(listeners, &limits, &reader) {
            Ok(data) => data,
            Err(error) => {
                begun.end();
                return Err(error.into());
            }
        };
        let control = outline.serve(begun)?;
        for address in data.listening() {
            info!(%address, "serving");
        }
        info!(address = %control.address(), "control API");
        if let Some(heir) = heir {
            outline.process.upgraded(UpgradeView { at: now(), failed: None });
            heir.serves();
            data.own_files();
            elders.begin(outline.process.clone());
        }
        let health = Keeper::start(&outline.state, move |now| routing.load().remembered(now));
        Ok(Self { outline, control: Some(control), rested: None, admin, data: Some(data), log, health, elders })
    }

    /// Where clients connect by TCP, in the order of the configuration.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.data.as_ref().map(DataPlane::addresses).unwrap_or_default()
    }

    /// Where operators connect; none while the control plane rests.
    #[must_use]
    pub fn admin(&self) -> Option<SocketAddr> {
        self.control.as_ref().map(ControlPlane::address)
    }

    /// The control loop; none while it rests.
    #[must_use]
    pub fn handle(&self) -> Option<&Handle> {
        self.control.as_ref().map(ControlPlane::handle)
    }

    /// Reads the configuration again when asked; none while the control plane rests.
    #[must_use]
    pub fn reloader(&self) -> Option<Reloader> {
        self.control.as_ref().map(ControlPlane::reloader)
    }

    /// The access log.
    #[must_use]
    pub const fn access_log(&self) -> &AccessLog {
        &self.log
    }

    /// What the process tells of itself.
    pub(crate) const fn process(&self) -> &Process {
        &self.outline.process
    }

    /// What a new process is given.
    ///
    /// # Errors
    /// Where there is nothing that it could go on from.
    pub(crate) fn offer(&self, executable: Executable) -> anyhow::Result<Offer> {
        self.control.as_ref().context("the control loop has ended")?.is_on_disk()?;
        let listeners = self.data.as_ref().map(DataPlane::hand_over).transpose()?.unwrap_or_default();
        let admin = (self.admin, self.outline.admin.try_clone()?.into());
        Ok(Offer { executable, state: self.outline.state.clone(), listeners, admin, elders: self.elders.hand_over() })
    }

    /// Ends the control plane in good order, for another process to go on from there. The data plane goes on with the
    /// split in force. Gives the lock of the state directory.
    ///
    /// # Errors
    /// Where another process could not go on from there.
    pub(crate) fn rest(&mut self) -> anyhow::Result<Option<File>> {
        let control = self.control.take().context("the control loop has ended")?;
        if let Err(error) = control.is_on_disk() {
            self.control = Some(control);
            return Err(error);
        }
        let rested = control.rest()?;
        self.outline.names.rest();
        self.health.rest();
        self.rested.insert(rested).lock()
    }

    /// Whether the control plane rests.
    pub(crate) const fn rests(&self) -> bool {
        self.rested.is_some()
    }

    /// Starts the control plane again, where it rests: no other process went on from there.
    ///
    /// # Errors
    /// It rests on, and can be tried again.
    pub(crate) fn resume(&mut self) -> anyhow::Result<()> {
        let Some(rested) = self.rested.take() else { return Ok(()) };
        match self.outline.resume(rested) {
            Ok(control) => {
                self.control = Some(control);
                self.health.resume();
                Ok(())
            }
            Err(NotResumed { rested, why }) => {
                self.rested = rested.map(|rested| *rested);
                Err(why)
            }
        }
    }

    /// Another process serves: ends gently, leaves all that they share alone, and follows it until then.
    pub(crate) fn succeeded(mut self, taken: Taken) -> Cut {
        self.elders.leave();
        let rested = self.rested.take().map(Rested::into_plane);
        let _following = taken.wire.zip(rested).map(|(wire, (plane, resolved))| {
            let process = self.outline.process.clone();
            Following::begin(wire, Own { plane, configuration: resolved.configuration, process })
        });
        if let Some(data) = &mut self.data {
            data.leave_files(&taken.listeners);
        }
        self.end(Ending::Succeeded)
    }

    /// Ends gently: `/readyz` says no, connections are accepted for the grace period, then no more, requests in flight
    /// end, the journal is closed. Returns what was cut at the deadline.
    pub fn stop(self) -> Cut {
        self.end(Ending::Told)
    }

    fn end(mut self, ending: Ending) -> Cut {
        self.outline.draining.store(true, Ordering::Release);
        let cut = self.data.take().map(|data| drain(data, ending, &self.outline.process)).unwrap_or_default();
        self.log.end(LOG_PATIENCE);
        self.health.rest();
        if let Some(control) = self.control.take() {
            control.end();
        }
        cut
    }
}

impl Drop for Tidegate {
    fn drop(&mut self) {
        self.elders.leave();
        drop(self.data.take());
        self.log.end(LOG_PATIENCE);
        self.health.rest();
        if let Some(control) = self.control.take() {
            control.end();
        }
    }
}

/// Reads the configuration again, and prepares for it. A new name must resolve where a version that has users is written
/// with it, or one that the file gives some: else a slip of the pen takes their endpoints away.
fn read(
    source: Source,
    log: &AccessLog,
    names: Names,
    has_users: impl Fn(&Name, &Name) -> bool + Send + Sync + 'static,
) -> Reload {
    let log = log.clone();
    Arc::new(move || {
        let must = |service: &Service, version: &Version| {
            gives_users(service, version) || has_users(&service.name, &version.name)
        };
        let mut resolved = source().and_then(|configuration| names.resolve(configuration, must))?;
        resolved.notes.extend(of_certificates(&resolved.configuration));
        log.prepare(&resolved.configuration.rules).map_err(|refused| vec![refused.to_string()])?;
        Ok(resolved)
    })
}

/// Whether the file gives this version users.
fn gives_users(service: &Service, version: &Version) -> bool {
    let has_weight = |canary: &Canary| canary.version == version.name && canary.weight > Weight::ZERO;
    service.stable == version.name || service.canary.as_ref().is_some_and(has_weight)
}

/// What else speaks against an upgrade to what was resolved, now that the journal is read: endpoints of versions that have
/// users whatever the file says, whose name never resolved.
/// The process that serves has its addresses, or it has none either.
fn without_users_address(resolved: &Resolved, opened: &Opened) -> Vec<String> {
    let has_users = |service: &Service, version: &Version| {
        opened.has_users(&service.name, &version.name).unwrap_or_else(|| gives_users(service, version))
    };
    let without = without_address(&resolved.configuration, &resolved.addresses);
    let without = without.filter(|(service, version, _)| has_users(service, version));
    let told = |(service, version, endpoint): (&Service, &Version, &Endpoint)| {
        format!("{}: {}: endpoint {endpoint}: no address found for this name", service.name, version.name)
    };
    without.map(told).collect()
}

/// Where operators connect: the socket that is handed over, where it listens at this address.
/// `theirs` is where the process listens that is to be replaced.
fn admin_listener(
    wanted: SocketAddr,
    handed: Option<(SocketAddr, TcpListener)>,
    theirs: &[SocketAddr],
) -> anyhow::Result<TcpListener> {
    if let Some((_, listener)) = handed.filter(|(written, _)| *written == wanted) {
        return Ok(listener);
    }
    TcpListener::bind(wanted).map_err(|error| {
        anyhow!("cannot listen on the admin address {wanted}: {}", why_not_bound(&error, wanted, theirs))
    })
}

/// The present moment, for people.
#[expect(clippy::disallowed_methods, reason = "the executable is a shell: moments are told by the wall clock")]
pub(crate) fn now() -> String {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default().to_string()
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
        (Some(token), _) if !can_be_sent(&token) => bail!("TIDEGATE_TOKEN holds {NO_TOKEN}"),
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

/// What a token is refused for.
pub(crate) const NO_TOKEN: &str = "what no token has: spaces, line ends or other than ASCII";

/// Whether a token can stand in a header, as `tidegate` and other clients send it.
pub(crate) fn can_be_sent(token: &str) -> bool {
    token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The token in a file: its first line that is neither empty nor begins with `#`.
pub(crate) fn token_in(file: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(file)
        .map_err(|error| anyhow!("admin.tokens: {}: {}", file.display(), config::unreadable(&error)))?;
    let token = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let token = token.ok_or_else(|| anyhow!("admin.tokens: {} holds no token", file.display()))?;
    if !can_be_sent(token) {
        bail!("admin.tokens: the first line of {} holds {NO_TOKEN}", file.display());
    }
    Ok(token.to_owned())
}
