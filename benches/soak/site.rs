//! What is proved: the executable, its configuration, and the origins behind it.

mod answers;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use control::plane::EndpointHealth;
use control::view::{RolloutView, ServiceView, VersionView};
use futures::{SinkExt, StreamExt};
use loadtest::{Latency, Nameserver, Origin, OriginOptions, Reply, Setting};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;
use ureq::Agent;
use ureq::http::{Method, Request};

/// How long whatever must happen may take.
const LONG: Duration = Duration::from_secs(60);

/// What the endpoints of v1 are called.
const NAME: &str = "v1.soak";
/// How many addresses that name has at a time.
const ADDRESSES: usize = 3;

/// A running executable with its origins.
pub(crate) struct Site {
    /// The first process. Those that took over are no children of this one.
    process: Child,
    /// The process that serves.
    serves: Arc<AtomicU32>,
    /// Those that served before it.
    served: Vec<u32>,
    dns: Nameserver,
    agent: Agent,
    admin: SocketAddr,
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    /// The endpoints of v1: its name leads to all but the last of them.
    pub(crate) v1: Vec<Origin>,
    /// The endpoints of v2.
    pub(crate) v2: Vec<Origin>,
    chat: SocketAddr,
    reloads: u64,
    place: TempDir,
}

/// How an origin answers while all is well.
pub(crate) fn well() -> Setting {
    let latency = Latency::log_normal(Duration::from_millis(5), 0.5).unwrap_or_default();
    Setting { latency, ..Setting::default() }
}

impl Site {
    /// Starts origins and executable. `runtime` runs what answers WebSockets.
    pub(crate) fn open(runtime: &tokio::runtime::Runtime) -> anyhow::Result<Self> {
        let origin = |name: &str, address: SocketAddr| {
            let options = OriginOptions { address, setting: well(), ..OriginOptions::default() };
            runtime.block_on(Origin::start(name, options)).context("an origin")
        };
        let mut v1 = vec![origin("a", SocketAddr::from(([127, 0, 0, 2], 0)))?];
        let port = v1[0].address().port();
        for (name, last) in [("b", 3), ("c", 4), ("f", 5)] {
            v1.push(origin(name, SocketAddr::from(([127, 0, 0, last], port)))?);
        }
        let v2 = ["d", "e"].map(|name| origin(name, SocketAddr::from(([127, 0, 0, 1], 0))));
        let v2 = v2.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        let (dns, chat) = (Nameserver::start()?, runtime.block_on(echo())?);
        dns.say(NAME, answer(&v1));
        let place = tempfile::Builder::new().prefix("tidegate-soak-").tempdir()?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(15)))
            .proxy(None)
            .build()
            .new_agent();
        let (address, admin) = (free_address()?, free_address()?);
        let written = Written { address, admin, v1: port, v2: &v2, chat, dns: dns.address(), place: place.path() };
        std::fs::write(file(&place), written.text(0, "{ first: 2s }"))?;
        let process = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["run", "-c"])
            .arg(file(&place))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(place.path().join("log"))?)
            .spawn()?;
        let (serves, served) = (Arc::new(AtomicU32::new(process.id())), Vec::new());
        let reloads = 0;
        let site = Self { process, serves, served, dns, agent, admin, address, v1, v2, chat, reloads, place };
        site.until("the executable to serve", || site.ask::<Value>(&Method::GET, "/api/v1/services", None).ok())?;
        Ok(site)
    }

    /// The number of the process that serves, now and later.
    pub(crate) fn serves(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.serves)
    }

    /// The number of the process that serves now.
    pub(crate) fn id(&self) -> u32 {
        self.serves.load(Ordering::Acquire)
    }

    /// Whether the process that serves runs.
    pub(crate) fn is_running(&mut self) -> bool {
        // Asks the first one for its end, so that nothing is left of it.
        let _ = self.process.try_wait();
        runs(self.id())
    }

    /// Those of the processes that were taken over from that run still: they drain.
    pub(crate) fn draining(&mut self) -> usize {
        let _ = self.process.try_wait();
        self.served.iter().filter(|pid| runs(**pid)).count()
    }

    /// Has a new process of the executable take over (SIGUSR2), and waits until it serves.
    pub(crate) fn upgrade(&mut self) -> anyhow::Result<()> {
        let old = self.id();
        let put_off = || self.whole_log().matches("the disk of the state directory does not answer").count();
        let mut asked = put_off();
        signal(old, Signal::USR2)?;
        let new = self.until("a new process to serve", || {
            // A disk that hangs puts an upgrade off.
            if put_off() > asked {
                asked = put_off();
                signal(old, Signal::USR2).ok()?;
            }
            let process = self.ask::<Value>(&Method::GET, "/api/v1/process", None).ok()?;
            u32::try_from(process["pid"].as_u64()?).ok().filter(|pid| *pid != old)
        })?;
        self.served.push(old);
        self.serves.store(new, Ordering::Release);
        Ok(())
    }

    /// The name of v1 leads to another address in the place of one of its addresses, and traffic goes there.
    pub(crate) fn move_addresses(&mut self) -> anyhow::Result<()> {
        self.until_well()?;
        self.v1.rotate_left(1);
        self.dns.say(NAME, answer(&self.v1));
        self.until_well()
    }

    /// From now on nothing good is said of that name, or all is well again.
    pub(crate) fn dns_says(&self, reply: Option<Reply>) {
        self.dns.say(NAME, reply.unwrap_or_else(|| answer(&self.v1)));
    }

    /// How many of its processes cut something at the end of their drain.
    pub(crate) fn cuts(&self) -> usize {
        self.whole_log().matches("cut at the drain deadline").count()
    }

    /// What the access log tells of answers to users that were errors: each kind, and how many of it.
    pub(crate) fn errors(&self) -> std::collections::BTreeMap<String, u64> {
        answers::errors(&std::fs::read_to_string(self.place.path().join("access.log")).unwrap_or_default())
    }

    /// What it has said last.
    pub(crate) fn log(&self) -> String {
        let log = self.whole_log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn whole_log(&self) -> String {
        std::fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn shop(&self) -> anyhow::Result<ServiceView> {
        self.ask(&Method::GET, "/api/v1/services/shop", None)
    }

    pub(crate) fn rollout(&self) -> anyhow::Result<RolloutView> {
        self.ask(&Method::GET, "/api/v1/services/shop/rollout", None)
    }

    pub(crate) fn start_rollout(&self) -> anyhow::Result<()> {
        self.ask::<Value>(&Method::POST, "/api/v1/services/shop/rollout", Some(&json!({ "canary": "v2" }))).map(drop)
    }

    pub(crate) fn act(&self, action: &str) -> anyhow::Result<()> {
        let path = format!("/api/v1/services/shop/rollout/{action}");
        self.ask::<Value>(&Method::POST, &path, Some(&json!({ "reason": "soak" }))).map(drop)
    }

    /// Sets the weight of v2 by hand.
    pub(crate) fn weigh(&self, weight: u16) -> anyhow::Result<()> {
        let body = json!({ "canary": "v2", "weight": weight });
        self.ask::<Value>(&Method::PUT, "/api/v1/services/shop/weights", Some(&body)).map(drop)
    }

    /// Changes the file and has it read again.
    pub(crate) fn reload(&mut self) -> anyhow::Result<()> {
        self.reload_with("{ first: 2s }")
    }

    /// Has ejections forgotten: each in a row is twice as long, up to five minutes, which is longer than a run can wait.
    pub(crate) fn forget_ejections(&mut self) -> anyhow::Result<()> {
        self.reload_with("off")?;
        self.reload()
    }

    fn reload_with(&mut self, ejection: &str) -> anyhow::Result<()> {
        self.reloads += 1;
        let (address, admin, v2, chat, place) = (self.address, self.admin, &self.v2[..], self.chat, self.place.path());
        let (v1, dns) = (self.v1[0].address().port(), self.dns.address());
        let written = Written { address, admin, v1, v2, chat, dns, place };
        std::fs::write(file(&self.place), written.text(self.reloads % 7, ejection))?;
        self.ask::<Value>(&Method::POST, "/api/v1/reload", Some(&json!({}))).map(drop)
    }

    /// Waits until every endpoint of v1 takes its whole share, and they are those that its name leads to.
    pub(crate) fn until_well(&self) -> anyhow::Result<()> {
        let mut wanted: Vec<String> = self.in_use().iter().map(|origin| origin.address().to_string()).collect();
        wanted.sort_unstable();
        self.until("v1 to be well", || {
            let v1 = self.v1()?;
            let is_well = v1.endpoints.iter().all(|it| it.state == EndpointHealth::Well && it.share >= 1.0);
            let mut found: Vec<String> = v1.endpoints.into_iter().filter_map(|it| it.resolved).collect();
            found.sort_unstable();
            (is_well && found == wanted).then_some(())
        })
    }

    /// Waits until the name of v1 is told to fail, or to do so no more.
    pub(crate) fn until_named(&self, fails: bool) -> anyhow::Result<()> {
        self.until("what is told of a name", || {
            let names = self.v1()?.names;
            (!names.is_empty() && names.iter().all(|name| name.problem.is_some() == fails)).then_some(())
        })
    }

    fn v1(&self) -> Option<VersionView> {
        self.shop().ok()?.versions.into_iter().find(|version| version.name == "v1")
    }

    /// The origins that the name of v1 leads to.
    pub(crate) fn in_use(&self) -> &[Origin] {
        &self.v1[..ADDRESSES]
    }

    /// Waits until something is found.
    pub(crate) fn until<T>(&self, what: &str, mut find: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
        let until = Instant::now() + LONG;
        loop {
            if let Some(found) = find() {
                return Ok(found);
            }
            ensure!(Instant::now() < until, "waited {} s for {what}; the log ends:\n{}", LONG.as_secs(), self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asks the executable; again where its disk hangs, as it takes no step forward then.
    fn ask<T: DeserializeOwned>(&self, method: &Method, path: &str, body: Option<&Value>) -> anyhow::Result<T> {
        let what = format!("{method} {path}");
        let body = body.map(ToString::to_string).unwrap_or_default();
        let until = Instant::now() + LONG;
        loop {
            let request = Request::builder().method(method).uri(format!("http://{}{path}", self.admin));
            let request = request.header("content-type", "application/json").body(body.clone())?;
            let mut response = self.agent.run(request)?;
            let (status, text) = (response.status(), response.body_mut().read_to_string()?);
            if status.is_success() {
                return Ok(serde_json::from_str(&text)?);
            }
            if !text.contains("journal-unwritable") || Instant::now() >= until {
                bail!("{what} was refused with {status}: {text}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // They may have ended already.
        for pid in self.served.iter().copied().chain([self.id()]).filter(|pid| *pid != self.process.id() && runs(*pid))
        {
            let _ = signal(pid, Signal::KILL);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the configuration says.
struct Written<'a> {
    address: SocketAddr,
    admin: SocketAddr,
    /// The port of v1, whose addresses a name leads to.
    v1: u16,
    v2: &'a [Origin],
    chat: SocketAddr,
    dns: SocketAddr,
    place: &'a Path,
}

impl Written<'_> {
    /// The text of it; `variant` makes it another one.
    fn text(&self, variant: u64, ejection: &str) -> String {
        let Self { address, admin, v1, v2, chat, dns, place } = self;
        let v2 = v2.iter().map(|origin| format!("'{}'", origin.address())).collect::<Vec<_>>().join(", ");
        let (place, head) = (place.display(), 10 + variant);
        // One endpoint of v1 is ill at a time, and soon well again.
        let care = format!("slow_start: 2s, ejection: {ejection}");
        format!(
            "listeners: [{{ address: '{address}' }}]\nadmin: {{ address: '{admin}' }}\nstate: '{place}/state'\n\
             access_log: {{ to: '{place}/access.log', sample: 0% }}\n\
             dns: {{ servers: ['{dns}'], at_least: 200ms, timeout: 500ms }}\n\
             timeouts: {{ head: {head}s }}\nlimits: {{ connections_per_client: 1000000 }}\n\
             services:\n  shop:\n    timeouts: {{ first_byte: 5s }}\n    stable: v1\n    versions:\n      \
             v1: {{ endpoints: ['{NAME}:{v1}'], {care}, health: {{ path: /healthz, interval: 1s }} }}\n      \
             v2: {{ endpoints: [{v2}], {care} }}\n    \
             plan: {{ warmup: 0s, steps: [{{ weight: 5%, hold: 4s }}, {{ weight: 30%, hold: 10s }}] }}\n  \
             chat:\n    path: /socket\n    versions:\n      v1: {{ endpoints: ['{chat}'] }}\n"
        )
    }
}

fn file(place: &TempDir) -> std::path::PathBuf {
    place.path().join("site.yaml")
}

/// What is said of the name of v1 while these are its origins.
fn answer(v1: &[Origin]) -> Reply {
    let addresses: Vec<IpAddr> = v1[..ADDRESSES].iter().map(|origin| origin.address().ip()).collect();
    Reply::Addresses(addresses, 0)
}

fn signal(pid: u32, signal: Signal) -> anyhow::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process has this number")?;
    Ok(kill_process(pid, signal)?)
}

/// Whether a process runs; one that has ended and that nobody asked for its end does not.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// A server that says again what WebSockets tell it.
async fn echo() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    drop(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(tokio::spawn(async move {
                let Ok(mut socket) = accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_close() || socket.send(message).await.is_err() {
                        break;
                    }
                }
            }));
        }
    }));
    Ok(address)
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
