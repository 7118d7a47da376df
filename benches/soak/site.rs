//! What is proved: the executable, its configuration, and the origins behind it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use control::plane::EndpointHealth;
use control::view::{RolloutView, ServiceView};
use futures::{SinkExt, StreamExt};
use loadtest::{Latency, Origin, OriginOptions, Setting};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;
use ureq::Agent;
use ureq::http::{Method, Request};

/// How long whatever must happen may take.
const LONG: Duration = Duration::from_secs(60);

/// A running executable with its origins.
pub(crate) struct Site {
    process: Child,
    agent: Agent,
    admin: SocketAddr,
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    /// The endpoints of v1.
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
        let origin = |name: &str| {
            let options = OriginOptions { setting: well(), ..OriginOptions::default() };
            runtime.block_on(Origin::start(name, options)).context("an origin")
        };
        let v1 = ["a", "b", "c"].map(origin).into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        let v2 = ["d", "e"].map(origin).into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        let chat = runtime.block_on(echo())?;
        let place = tempfile::Builder::new().prefix("tidegate-soak-").tempdir()?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(15)))
            .proxy(None)
            .build()
            .new_agent();
        let (address, admin) = (free_address()?, free_address()?);
        let file = place.path().join("site.yaml");
        std::fs::write(&file, written(address, admin, place.path(), &v1, &v2, chat, 0, "{ first: 2s }"))?;
        let process = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["run", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(place.path().join("log"))?)
            .spawn()?;
        let site = Self { process, agent, admin, address, v1, v2, chat, reloads: 0, place };
        site.until("the executable to serve", || site.ask::<Value>(Method::GET, "/api/v1/services", None).ok())?;
        Ok(site)
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether its process runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// What it has said last.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read_to_string(self.place.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    pub(crate) fn shop(&self) -> anyhow::Result<ServiceView> {
        self.ask(Method::GET, "/api/v1/services/shop", None)
    }

    pub(crate) fn rollout(&self) -> anyhow::Result<RolloutView> {
        self.ask(Method::GET, "/api/v1/services/shop/rollout", None)
    }

    pub(crate) fn start_rollout(&self) -> anyhow::Result<()> {
        self.ask::<Value>(Method::POST, "/api/v1/services/shop/rollout", Some(&json!({ "canary": "v2" }))).map(drop)
    }

    pub(crate) fn act(&self, action: &str) -> anyhow::Result<()> {
        let path = format!("/api/v1/services/shop/rollout/{action}");
        self.ask::<Value>(Method::POST, &path, Some(&json!({ "reason": "soak" }))).map(drop)
    }

    /// Sets the weight of v2 by hand.
    pub(crate) fn weigh(&self, weight: u16) -> anyhow::Result<()> {
        let body = json!({ "canary": "v2", "weight": weight });
        self.ask::<Value>(Method::PUT, "/api/v1/services/shop/weights", Some(&body)).map(drop)
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
        let file = self.place.path().join("site.yaml");
        let (place, variant) = (self.place.path(), self.reloads % 7);
        let text = written(self.address, self.admin, place, &self.v1, &self.v2, self.chat, variant, ejection);
        std::fs::write(file, text)?;
        self.ask::<Value>(Method::POST, "/api/v1/reload", Some(&json!({}))).map(drop)
    }

    /// Waits until every endpoint of v1 takes its whole share.
    pub(crate) fn until_well(&self) -> anyhow::Result<()> {
        self.until("v1 to be well", || {
            let shop = self.shop().ok()?;
            let v1 = shop.versions.iter().find(|version| version.name == "v1")?;
            let is_well = v1.endpoints.iter().all(|it| it.state == EndpointHealth::Well && it.share >= 1.0);
            is_well.then_some(())
        })
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

    fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<T> {
        let what = format!("{method} {path}");
        let request = Request::builder().method(method).uri(format!("http://{}{path}", self.admin));
        let request = request.header("content-type", "application/json");
        let mut response = self.agent.run(request.body(body.map(ToString::to_string).unwrap_or_default())?)?;
        let (status, text) = (response.status(), response.body_mut().read_to_string()?);
        if !status.is_success() {
            bail!("{what} was refused with {status}: {text}");
        }
        Ok(serde_json::from_str(&text)?)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The configuration; `variant` makes it another one.
#[expect(clippy::too_many_arguments, reason = "all that is written")]
fn written(
    address: SocketAddr,
    admin: SocketAddr,
    place: &std::path::Path,
    v1: &[Origin],
    v2: &[Origin],
    chat: SocketAddr,
    variant: u64,
    ejection: &str,
) -> String {
    let endpoints = |origins: &[Origin]| {
        origins.iter().map(|origin| format!("'{}'", origin.address())).collect::<Vec<_>>().join(", ")
    };
    let state: PathBuf = place.join("state");
    let (v1, v2, state, head) = (endpoints(v1), endpoints(v2), state.display(), 10 + variant);
    // One endpoint of v1 is ill at a time, and soon well again.
    let care = format!("slow_start: 2s, ejection: {ejection}");
    format!(
        "listeners: [{{ address: '{address}' }}]\nadmin: {{ address: '{admin}' }}\nstate: '{state}'\ntimeouts: {{ head: {head}s }}\n\
         limits: {{ connections_per_client: 1000000 }}\n\
         services:\n  shop:\n    timeouts: {{ first_byte: 5s }}\n    stable: v1\n    versions:\n      \
         v1: {{ endpoints: [{v1}], {care}, health: {{ path: /healthz, interval: 1s }} }}\n      \
         v2: {{ endpoints: [{v2}], {care} }}\n    \
         plan: {{ warmup: 0s, steps: [{{ weight: 5%, hold: 4s }}, {{ weight: 30%, hold: 4s }}] }}\n  \
         chat:\n    path: /socket\n    versions:\n      v1: {{ endpoints: ['{chat}'] }}\n"
    )
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
