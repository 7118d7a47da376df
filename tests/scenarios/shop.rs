//! A service named `shop`: its origins, its configuration, and the process that serves it.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use loadtest::{Length, Load, Origin, OriginOptions, Rate};
use tempfile::TempDir;

use crate::admin::Admin;
use crate::process::{End, Process, Signal, tidegate};

/// A process that serves.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Process,
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    pub(crate) admin: Admin,
}

impl Server {
    /// Starts the executable and waits until it says where it listens.
    pub(crate) fn start(command: std::process::Command) -> Self {
        Self::of(Process::start(command))
    }

    /// Waits until a process says where it listens.
    pub(crate) fn of(mut process: Process) -> Self {
        let address = process.said("where it serves", |line| address_in(line, "serving address="));
        let admin = process.said("where its control API is", |line| address_in(line, "control API address="));
        // What listens on every address is reached on this one.
        let reachable = |address: SocketAddr| SocketAddr::from(([127, 0, 0, 1], address.port()));
        Self { process, address: reachable(address), admin: Admin::new(reachable(admin)) }
    }

    /// A command of the executable that asks this process.
    pub(crate) fn command(&self, arguments: &[&str]) -> Process {
        let mut command = tidegate();
        command.args(["--admin", &self.admin.url()]).args(arguments);
        Process::start(command)
    }

    /// What became of such a command.
    pub(crate) fn tidegate(&self, arguments: &[&str]) -> End {
        self.command(arguments).end()
    }

    /// A load on it at this rate, not started.
    pub(crate) fn load(&self, rate: f64) -> Load {
        Load { rate: Rate::per_second(rate).unwrap(), ..Load::new(self.address) }
    }

    /// Sends so many requests and returns how many each version answered.
    pub(crate) fn answers(&self, requests: u64) -> impl Fn(&str) -> u64 + use<> {
        let load = Load { length: Length::Count(requests), ..self.load(500.0) };
        let report = load.start().unwrap().wait();
        assert_eq!((loadtest::failures(&report), report.answered), (0, requests), "{report}");
        move |version| report.by_version.get(version).map_or(0, |answers| answers.responses)
    }

    /// An orderly end, and that it was one.
    pub(crate) fn stop(self) {
        self.process.signal(Signal::Term);
        let end = self.process.end();
        assert_eq!(end.code, Some(0), "{end:?}");
    }
}

fn address_in(line: &str, label: &str) -> Option<SocketAddr> {
    line.split_once(label)?.1.split_whitespace().next()?.parse().ok()
}

/// A directory for configuration and state.
#[derive(Debug)]
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::Builder::new().prefix("tidegate-scenario-").tempdir().unwrap())
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.path().join("shop.yaml")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    pub(crate) fn write(&self, configuration: &str) {
        fs::write(self.file(), configuration).unwrap();
    }

    /// Free ports, and the state in this place.
    pub(crate) fn head(&self) -> String {
        let state = self.state();
        let state = state.to_str().unwrap();
        format!(
            "listeners: [{{ address: '127.0.0.1:0' }}]\nadmin: {{ address: '127.0.0.1:0' }}\nstate: '{state}'\nservices:\n"
        )
    }

    /// The command that serves what is written here.
    pub(crate) fn command(&self) -> std::process::Command {
        let mut command = tidegate();
        command.arg("run").arg("-c").arg(self.file());
        command
    }

    pub(crate) fn serve(&self) -> Server {
        Server::start(self.command())
    }
}

/// The lines of a service named `shop`: its versions, and its plan in one line.
pub(crate) fn shop(stable: &str, versions: &[(&str, &[SocketAddr])], plan: &str) -> String {
    let mut text = format!("  shop:\n    stable: {stable}\n    versions:\n");
    for (name, addresses) in versions {
        let addresses = addresses.iter().map(|address| format!("'{address}'")).collect::<Vec<_>>().join(", ");
        text.push_str(&format!("      {name}: {{ endpoints: [{addresses}] }}\n"));
    }
    text.push_str(&format!("    plan: {plan}\n"));
    text
}

/// A running `shop` with the versions v1 (stable) and v2.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) server: Server,
    pub(crate) v1: Origin,
    pub(crate) v2: Origin,
    pub(crate) place: Place,
}

impl Shop {
    /// Opens it with this plan, written in one line of YAML.
    pub(crate) fn open(plan: &str) -> Self {
        let (v1, v2, place) = (origin("v1"), origin("v2"), Place::new());
        place.write(&configuration(&place, &v1, &v2, plan));
        Self { server: place.serve(), v1, v2, place }
    }

    pub(crate) fn admin(&self) -> &Admin {
        &self.server.admin
    }

    /// Begins a rollout of v2.
    pub(crate) fn release_v2(&self) {
        let started = self.admin().start("shop", "v2");
        assert_eq!(started.status, 201, "{started:?}");
    }

    /// `kill -9`, and a new process on the same state.
    pub(crate) fn kill_and_restart(self) -> Self {
        let Self { server, v1, v2, place } = self;
        server.process.kill();
        Self { server: place.serve(), v1, v2, place }
    }
}

/// The configuration of a `shop` of two versions.
pub(crate) fn configuration(place: &Place, v1: &Origin, v2: &Origin, plan: &str) -> String {
    place.head() + &shop("v1", &[("v1", &[v1.address()]), ("v2", &[v2.address()])], plan)
}

/// An origin on a free port that answers well and at once.
pub(crate) fn origin(name: &str) -> Origin {
    origin_with(name, OriginOptions::default())
}

pub(crate) fn origin_with(name: &str, options: OriginOptions) -> Origin {
    now(Origin::start(name, options)).unwrap()
}

/// Waits for what an origin does in a moment.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
