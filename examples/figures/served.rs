//! The executable as a child process, with a service and origins for each lane.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use control::view::RolloutView;
use loadtest::{Origin, OriginOptions};
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Agent;

/// How often something is looked at that nothing announces.
const LOOK: Duration = Duration::from_millis(10);

/// A running process. It ends when this is dropped.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    agent: Agent,
    /// For each lane the stable and the canary.
    pub(crate) origins: Vec<(Origin, Origin)>,
    _directory: TempDir,
}

impl Served {
    /// Starts the executable with so many services and waits until it serves.
    pub(crate) fn start(executable: &Path, lanes: u32) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("tidegate-figures-").tempdir()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let origin = |name: &str, seed| {
            runtime.block_on(Origin::start(name, OriginOptions { seed, ..OriginOptions::default() }))
        };
        let origins = (0..u64::from(lanes))
            .map(|lane| Ok((origin("v1", 2 * lane + 1)?, origin("v2", 2 * lane + 2)?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let file = directory.path().join("figures.yaml");
        std::fs::write(&file, configuration(&directory.path().join("state"), &origins))?;
        let mut command = Command::new(executable);
        command.arg("run").arg("-c").arg(&file).env_remove("TIDEGATE_LOG").env_remove("TIDEGATE_TOKEN");
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let addresses = addresses(&mut child);
        if addresses.is_err() {
            // It may have ended by itself already.
            let _ = child.kill();
            let _ = child.wait();
        }
        let (address, admin) = addresses?;
        let agent = Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent();
        Ok(Self { child, address, admin, agent, origins, _directory: directory })
    }

    /// The service of a lane.
    pub(crate) fn service(lane: u32) -> String {
        format!("lane-{lane}")
    }

    /// Begins a rollout of the canary; it is in force on return.
    pub(crate) fn release(&self, service: &str) -> anyhow::Result<RolloutView> {
        let url = format!("http://{}/api/v1/services/{service}/rollout", self.admin);
        let request = self.agent.post(url).header("content-type", "application/json");
        let mut response = request.send(json!({ "canary": "v2" }).to_string())?;
        let body: Value = response.body_mut().read_json()?;
        ensure!(response.status().as_u16() == 201, "the rollout was refused: {body}");
        Ok(serde_json::from_value(body)?)
    }

    /// The latest rollout.
    pub(crate) fn rollout(&self, service: &str) -> anyhow::Result<RolloutView> {
        let url = format!("http://{}/api/v1/services/{service}/rollout", self.admin);
        Ok(self.agent.get(url).call()?.body_mut().read_json()?)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(state: &Path, origins: &[(Origin, Origin)]) -> String {
    // Quoted as JSON, which YAML reads as it is.
    let state = Value::from(state.to_string_lossy());
    let mut text = format!(
        "listeners: [{{ address: '127.0.0.1:0' }}]\nadmin: {{ address: '127.0.0.1:0' }}\nstate: {state}\nservices:\n"
    );
    for (lane, (v1, v2)) in (0..).zip(origins) {
        let service = Served::service(lane);
        text.push_str(&format!(
            "  {service}:\n    hosts: [{service}]\n    stable: v1\n    versions:\n      v1: {{ endpoints: ['{}'] }}\n      \
             v2: {{ endpoints: ['{}'] }}\n    plan: {{ steps: [{{ weight: 5%, hold: 1h }}] }}\n",
            v1.address(),
            v2.address()
        ));
    }
    text
}

/// Where the process says that it serves clients and operators.
fn addresses(child: &mut Child) -> anyhow::Result<(SocketAddr, SocketAddr)> {
    let said = child.stderr.take().context("standard error is not there to read")?;
    let mut lines = BufReader::new(said).lines();
    let (mut serving, mut heard) = (None, String::new());
    for line in &mut lines {
        let line = line?;
        serving = serving.or_else(|| address_in(&line, "serving address="));
        if let (Some(serving), Some(admin)) = (serving, address_in(&line, "control API address=")) {
            // Read on, so that the process never meets a closed pipe.
            thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
            return Ok((serving, admin));
        }
        heard.push_str(&line);
        heard.push('\n');
    }
    bail!("it does not serve; it said:\n{heard}")
}

fn address_in(line: &str, label: &str) -> Option<SocketAddr> {
    line.split_once(label)?.1.split_whitespace().next()?.parse().ok()
}

/// Looks until something is found, for as long as this at most.
#[expect(clippy::disallowed_methods, reason = "a measurement of another process: one bounded poll in real time")]
pub(crate) fn until<T>(
    what: &str,
    longest: Duration,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + longest;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(anyhow!("waited {} s for {what}", longest.as_secs()));
        }
        thread::sleep(LOOK);
    }
}
