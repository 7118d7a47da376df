//! From names to addresses: once before a configuration is taken into use, and again whenever an answer is over.
//!
//! One thread with a runtime of its own does all of it; the data path never waits for a name. What changes goes through
//! the control loop, which is the one that publishes. A name that fails keeps its last addresses.

mod asking;
mod book;
mod kept;
mod rounds;
mod servers;
mod system;
mod telling;
mod wire;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use config::{Configuration, Dns, Endpoint, Service, Version};
use control::command::Command;
use control::plane::{self, Addresses, Resolved};
use parking_lot::Mutex;
use tokio::runtime::{self, Handle};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use self::asking::{Answer, Asker, NoAnswer};
use self::book::{Book, Learned, News, Now};
use self::system::{Files, System};

/// Names that are asked for at once before a configuration is taken into use.
const AT_ONCE: usize = 64;
/// How long all of them may take where some were never known.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a disk may take for what is just being written.
const DISK_PATIENCE: Duration = Duration::from_secs(1);
/// How long they may take where their last addresses are known: those will do until there are others.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);

/// Resolves names. Cheap to clone; its thread ends with the last one.
#[derive(Debug, Clone)]
pub struct Names {
    known: Arc<Known>,
    files: Files,
    runtime: Handle,
    _last: Arc<Last>,
}

/// What the thread and whoever asks it have in common.
#[derive(Debug)]
struct Known {
    state: Mutex<State>,
    /// Something is to be looked at.
    wake: Notify,
    /// Where changes go; none before they are wanted.
    commands: Mutex<Option<Sender<Command>>>,
    /// Where the last good answers are kept.
    state_directory: PathBuf,
    /// Whether that is ours to write. Held while it is written.
    is_ours: Mutex<bool>,
}

#[derive(Debug)]
struct State {
    book: Book,
    /// What asking for names came to, for a configuration that is not in use yet.
    fresh: HashMap<Arc<str>, Learned>,
    /// How to ask.
    dns: Dns,
    /// The endpoints in use that are written with each name.
    endpoints: HashMap<Arc<str>, Vec<Endpoint>>,
    /// What was not told yet.
    news: Vec<(Arc<str>, News)>,
    /// The last good answers differ from those on disk.
    is_unwritten: bool,
    /// The disk did not take them the last time.
    is_refused: bool,
    ended: bool,
}

/// Ends the thread when it is dropped.
#[derive(Debug)]
struct Last(Arc<Known>);

impl Drop for Last {
    fn drop(&mut self) {
        self.0.state.lock().ended = true;
        self.0.wake.notify_one();
    }
}

impl Names {
    /// Starts the thread. Nothing is asked for yet. The last good answers are kept in this directory, once
    /// [`publish`](Self::publish) says that it is ours.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(state_directory: &Path) -> io::Result<Self> {
        Self::with(Files::default(), state_directory)
    }

    fn with(files: Files, state_directory: &Path) -> io::Result<Self> {
        let state = State {
            book: Book::new(fastrand::u64(..)),
            fresh: HashMap::new(),
            dns: Dns::default(),
            endpoints: HashMap::new(),
            news: Vec::new(),
            is_unwritten: false,
            is_refused: false,
            ended: false,
        };
        let known = Arc::new(Known {
            state: Mutex::new(state),
            wake: Notify::new(),
            commands: Mutex::new(None),
            state_directory: state_directory.to_owned(),
            is_ours: Mutex::new(false),
        });
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (theirs, of_system) = (Arc::clone(&known), files.clone());
        thread::Builder::new()
            .name("tidegate-names".to_owned())
            .spawn(move || runtime.block_on(rounds::run(&theirs, of_system)))?;
        Ok(Self { _last: Arc::new(Last(Arc::clone(&known))), known, files, runtime: handle })
    }

    /// From now on changes are sent there, and answers are kept in the state directory.
    pub fn publish(&self, commands: Sender<Command>) {
        *self.known.is_ours.lock() = true;
        *self.known.commands.lock() = Some(commands);
        self.known.wake.notify_one();
    }

    /// Nobody wants changes any more, and the state directory is another's from now on: no name is asked for, and
    /// nothing is written there. [`publish`](Self::publish) begins anew. Waits for what is just being written, unless the
    /// disk does not answer.
    pub(crate) fn rest(&self) {
        *self.known.commands.lock() = None;
        if let Some(mut is_ours) = self.known.is_ours.try_lock_for(DISK_PATIENCE) {
            *is_ours = false;
        }
    }

    /// Resolves every endpoint of a configuration, and looks at the certificates that it names for them and at its
    /// secrets. A name that does not resolve keeps its last addresses: those in use, or those that were kept in the state
    /// directory. One that never did has none, and is asked for again. Blocks for as long as servers take, at most half a
    /// minute.
    ///
    /// # Errors
    /// Each endpoint of a version that `must` have its addresses whose name is new and does not resolve, and each file that
    /// is of no use.
    pub fn resolve(
        &self,
        configuration: Configuration,
        must: impl Fn(&Service, &Version) -> bool,
    ) -> Result<Resolved, Vec<String>> {
        let mut problems = proxy::endpoint::check(&configuration);
        problems.extend(proxy::selection::check(&configuration));
        let endpoints: BTreeSet<&Endpoint> =
            configuration.services.iter().flat_map(|s| &s.versions).flat_map(|version| &version.endpoints).collect();
        let names: BTreeSet<&str> = endpoints.iter().filter_map(|endpoint| endpoint.name()).collect();
        let Found { mut last, learned } = self.ask_for(&names, &configuration.dns);
        let (mut addresses, mut notes) = (Addresses::new(), Vec::new());
        for name in &names {
            let Some(Err(NoAnswer { reason, .. })) = learned.get(*name).map(|learned| &learned.came_of_it) else {
                continue;
            };
            if last.contains_key(*name) {
                notes.push(format!("the name {name} does not resolve ({reason}); its last addresses stay in use"));
            }
        }
        let mut state = self.known.state.lock();
        for (name, learned) in &learned {
            if let Ok(answer) = &learned.came_of_it
                && last.get(name).is_none_or(|last| answer.replaces(last))
            {
                last.insert(Arc::clone(name), state.book.few(Arc::clone(&answer.addresses)));
            }
        }
        for endpoint in endpoints {
            if let Endpoint::Tcp { .. } = endpoint {
                // None where its name never resolved.
                addresses.insert(endpoint.clone(), addresses_of(endpoint, &last).unwrap_or_default());
            }
        }
        let why = |endpoint: &Endpoint| {
            let learned = learned.get(endpoint.name()?).and_then(|learned| learned.came_of_it.as_ref().err());
            let reason = learned.map_or("there was no time left to ask for it", |no| &no.reason);
            Some(format!("endpoint {endpoint}: no address found for this name ({reason})"))
        };
        let is_new = |endpoint: &Endpoint| endpoint.name().is_some_and(|name| !state.book.is_in_use(name));
        let (refused, unknown): (Vec<_>, Vec<_>) = without_address(&configuration, &addresses)
            .partition(|(service, version, endpoint)| must(service, version) && is_new(endpoint));
        problems.extend(refused.into_iter().filter_map(|(.., endpoint)| why(endpoint)).collect::<BTreeSet<_>>());
        notes.extend(unknown.into_iter().filter_map(|(service, version, endpoint)| {
            let (service, version) = (&service.name, &version.name);
            Some(format!("{service}: {version}: {}; nothing is sent there until it resolves", why(endpoint)?))
        }));
        state.learn(learned);
        drop(state);
        self.known.wake.notify_one();
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Resolved { configuration: Arc::new(configuration), addresses, notes })
    }

    /// From now on the names of this configuration are in use, with these addresses. Never waits.
    pub(crate) fn follow(&self, Resolved { configuration, addresses, .. }: &Resolved) {
        let mut in_use: HashMap<Arc<str>, Arc<[IpAddr]>> = HashMap::new();
        let mut endpoints: HashMap<Arc<str>, Vec<Endpoint>> = HashMap::new();
        for (endpoint, addresses) in addresses {
            let Some(name) = endpoint.name() else { continue };
            if let Some(others) = endpoints.get_mut(name) {
                others.push(endpoint.clone());
                continue;
            }
            let name: Arc<str> = name.into();
            in_use.insert(Arc::clone(&name), addresses.iter().map(SocketAddr::ip).collect());
            endpoints.insert(name, vec![endpoint.clone()]);
        }
        let state = &mut *self.known.state.lock();
        state.dns = configuration.dns.clone();
        state.endpoints = endpoints;
        state.is_unwritten = !state.endpoints.is_empty();
        let news = state.book.follow(in_use, &mut state.fresh, &state.dns, now(), fastrand::f64);
        state.news.extend(news);
        self.known.wake.notify_one();
    }

    /// How they are resolved, for people. Never waits.
    pub(crate) fn states(&self) -> plane::Names {
        let state = self.known.state.lock();
        plane::Names { resolutions: state.book.counts(), known: state.book.states() }
    }

    /// Asks for these names, all at once as far as that goes.
    fn ask_for(&self, names: &BTreeSet<&str>, dns: &Dns) -> Found {
        if names.is_empty() {
            return Found::default();
        }
        let kept = OnceLock::new();
        let last = names.iter().filter_map(|name| {
            let in_use = self.known.state.lock().book.addresses_of(name);
            let kept = || kept.get_or_init(|| kept::read(&self.known.state_directory)).get(*name).map(Arc::clone);
            Some((Arc::from(*name), in_use.or_else(kept)?))
        });
        let last: HashMap<Arc<str>, Arc<[IpAddr]>> = last.collect();
        let asker = Arc::new(Asker::new(dns.clone(), System::read(&self.files)));
        let names: Vec<Arc<str>> = names.iter().map(|name| Arc::from(*name)).collect();
        let never_known = |name: &Arc<str>| !last.contains_key(name);
        let mut missing: HashSet<Arc<str>> = names.iter().filter(|name| never_known(name)).map(Arc::clone).collect();
        let (told, answers) = mpsc::channel();
        let all = names.len();
        let asking = self.runtime.spawn(ask_each(names, asker, told));
        let (began, mut learned) = (now().at, HashMap::new());
        while learned.len() < all {
            let patience = if missing.is_empty() { SHORT_PATIENCE } else { PATIENCE };
            let Some(left) = patience.checked_sub(now().at.duration_since(began)) else { break };
            let Ok((name, came_of_it)) = answers.recv_timeout(left) else { break };
            missing.remove(&name);
            learned.insert(name, Learned { came_of_it, now: now() });
        }
        asking.abort();
        Found { last, learned }
    }
}

/// The endpoints whose name never resolved, with whom they are of.
pub(crate) fn without_address<'a>(
    configuration: &'a Configuration,
    addresses: &'a Addresses,
) -> impl Iterator<Item = (&'a Service, &'a Version, &'a Endpoint)> {
    let versions =
        configuration.services.iter().flat_map(|service| service.versions.iter().map(move |it| (service, it)));
    let endpoints =
        versions.flat_map(|(service, version)| version.endpoints.iter().map(move |it| (service, version, it)));
    endpoints.filter(|(.., endpoint)| addresses.get(endpoint).is_some_and(|found| found.is_empty()))
}

/// What asking for names came to.
#[derive(Debug, Default)]
struct Found {
    /// The last addresses of those that ever had some, from before.
    last: HashMap<Arc<str>, Arc<[IpAddr]>>,
    /// What came of asking, as far as there was time.
    learned: HashMap<Arc<str>, Learned>,
}

impl State {
    /// Names were asked for, for a configuration that may be refused yet: nothing that is in use changes by it.
    fn learn(&mut self, learned: HashMap<Arc<str>, Learned>) {
        learned.values().for_each(|learned| self.book.count(&learned.came_of_it));
        self.fresh = learned;
    }
}

/// Asks for names, so many at a time, until nobody listens.
async fn ask_each(names: Vec<Arc<str>>, asker: Arc<Asker>, told: Sender<(Arc<str>, Result<Answer, NoAnswer>)>) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut asking = JoinSet::new();
    for name in names {
        // Never closed.
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
        let (asker, told) = (Arc::clone(&asker), told.clone());
        asking.spawn(async move {
            let came_of_it = asker.resolve(&name).await;
            drop(turn);
            // Whoever asked may have gone on without it.
            let _ = told.send((name, came_of_it));
        });
        while asking.try_join_next().is_some() {}
    }
    drop(told);
    while asking.join_next().await.is_some() {}
}

/// The addresses of an endpoint, whose name has these; none where it has none. A Unix socket needs none.
fn addresses_of(endpoint: &Endpoint, of_names: &HashMap<Arc<str>, Arc<[IpAddr]>>) -> Option<Arc<[SocketAddr]>> {
    let Endpoint::Tcp { host, port, .. } = endpoint else { return None };
    match host.parse::<IpAddr>() {
        Ok(address) => Some(Arc::from([SocketAddr::new(address, *port)])),
        Err(_) => of_names.get(host.as_str()).map(|found| at_port(found, *port)),
    }
}

fn at_port(addresses: &[IpAddr], port: u16) -> Arc<[SocketAddr]> {
    addresses.iter().map(|address| SocketAddr::new(*address, port)).collect()
}

#[expect(clippy::disallowed_methods, reason = "the shell's clock: the book takes time as an argument")]
fn now() -> Now {
    Now { at: Instant::now(), wall: SystemTime::now() }
}

#[cfg(test)]
mod tests;
