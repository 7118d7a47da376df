//! The real API over real sockets, in front of a control loop that answers by a script.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up fails")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use config::{Admin, Configuration};
use control::api::{self, ApiOptions, ApiServer, Reload};
use control::command::{Command, Refused, Reloaded};
use control::control_loop::{Clock, Now};
use control::events::EventLog;
use control::handle::{Handle, Pulse};
use control::plane::Resolved;
use control::view::{
    Arms, EndpointView, Event, Matched, Phase, RolloutView, ServiceSnapshot, ServiceView, Snapshot, VersionView,
};
use jiff::Timestamp;
use serde_json::Value;

/// Nothing here takes this long unless it hangs.
const HANGS: Duration = Duration::from_secs(30);

/// A running API, and what its control loop was asked.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle,
    pub(crate) clock: Arc<ByHand>,
    pub(crate) draining: Arc<AtomicBool>,
    /// One line for each command, in order.
    pub(crate) asked: mpsc::Receiver<String>,
    server: Option<ApiServer>,
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub(crate) struct ByHand(AtomicU64);

impl ByHand {
    pub(crate) fn pass(&self, milliseconds: u64) {
        self.0.fetch_add(milliseconds, Ordering::Relaxed);
    }
}

impl Clock for ByHand {
    fn now(&self) -> Now {
        Now { elapsed: Duration::from_millis(self.0.load(Ordering::Relaxed)), wall: Timestamp::UNIX_EPOCH }
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(ApiOptions::default())
    }

    pub(crate) fn with(options: ApiOptions) -> Self {
        Self::reloading(options, Arc::new(|| Ok(resolved())))
    }

    /// One that reads its configuration like this.
    pub(crate) fn reloading(options: ApiOptions, reload: Reload) -> Self {
        let (commands, received) = mpsc::channel();
        let (tell, asked) = mpsc::channel();
        thread::spawn(move || {
            for command in received {
                // A test that is over reads no more.
                let _ = tell.send(answer(command));
            }
        });
        Self::around(options, commands, asked, reload)
    }

    /// One whose control loop has ended.
    pub(crate) fn without_a_control_loop() -> Self {
        Self::around(ApiOptions::default(), mpsc::channel().0, mpsc::channel().1, Arc::new(|| Ok(resolved())))
    }

    /// One whose control loop takes commands and never answers.
    pub(crate) fn with_a_silent_control_loop() -> Self {
        let (commands, received) = mpsc::channel();
        let (tell, asked) = mpsc::channel();
        thread::spawn(move || {
            // Kept until the world ends: to drop a command is an answer of a kind.
            let kept: Vec<Command> = received.into_iter().inspect(|_| drop(tell.send("a command".into()))).collect();
            drop(kept);
        });
        Self::around(ApiOptions::default(), commands, asked, Arc::new(|| Ok(resolved())))
    }

    fn around(
        options: ApiOptions,
        commands: mpsc::Sender<Command>,
        asked: mpsc::Receiver<String>,
        reload: Reload,
    ) -> Self {
        let clock = Arc::new(ByHand::default());
        let handle = Handle {
            commands,
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot(true))),
            events: Arc::new(EventLog::default()),
            ended: Arc::default(),
            pulse: Arc::new(Pulse::new(Arc::clone(&clock) as Arc<dyn Clock>)),
        };
        let draining = Arc::clone(&options.draining);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = api::start(options, listener, handle.clone(), reload).unwrap();
        Self { address: server.address(), handle, clock, draining, asked, server: Some(server) }
    }

    pub(crate) fn stop(&mut self) {
        self.server.take().unwrap().stop();
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    pub(crate) fn put(&self, path: &str, body: &str) -> Answer {
        self.send("PUT", path, &[("content-type", "application/json")], body)
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], body)
    }

    /// A request with `Host: localhost` unless `headers` name another.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str("host: localhost\r\n");
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.raw(&format!("{head}\r\n{body}"))
    }

    /// Sends bytes as they are, and reads the answer.
    pub(crate) fn raw(&self, request: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        Answer::read(&mut BufReader::new(stream))
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(HANGS)).unwrap();
        stream
    }

    /// Opens a stream of events and reads up to the end of its head.
    pub(crate) fn events(&self, path: &str, headers: &str) -> Result<Events, Answer> {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").unwrap();
        let mut reader = BufReader::new(stream);
        let answer = Answer::head(&mut reader);
        if answer.status == 200 {
            assert_eq!(answer.headers["content-type"], "text/event-stream");
            return Ok(Events(reader));
        }
        Err(answer.body(&mut reader))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn read(reader: &mut impl BufRead) -> Self {
        Self::head(reader).body(reader)
    }

    fn head(reader: &mut impl BufRead) -> Self {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("no response but {line:?}")).parse().unwrap();
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_owned(), value.to_owned());
        }
        Self { status, headers, text: String::new() }
    }

    fn body(mut self, reader: &mut impl BufRead) -> Self {
        let length = self.headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut bytes = vec![0; length];
        reader.read_exact(&mut bytes).unwrap();
        self.text = String::from_utf8(bytes).unwrap();
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The body of a problem, after checking that it is one.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["type"].as_str().unwrap().starts_with("urn:tidegate:problem:"));
        assert!(!problem["title"].as_str().unwrap().is_empty());
        problem
    }

    /// The sentence of a problem.
    #[track_caller]
    pub(crate) fn detail(&self, status: u16) -> String {
        self.problem(status)["detail"].as_str().unwrap().to_owned()
    }
}

/// An open stream of events.
pub(crate) struct Events(BufReader<TcpStream>);

/// One of them.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) id: Option<u64>,
    pub(crate) kind: String,
    pub(crate) data: Value,
}

impl Events {
    /// The next event; `None` where the stream ended.
    pub(crate) fn next(&mut self) -> Option<Seen> {
        let (mut id, mut kind) = (None, String::new());
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // Other lines are comments, blanks, and the sizes of chunks.
            match line.trim_end().split_once(": ") {
                Some(("id", value)) => id = value.parse().ok(),
                Some(("event", value)) => kind = value.to_owned(),
                Some(("data", value)) => return Some(Seen { id, kind, data: serde_json::from_str(value).unwrap() }),
                Some(_) | None => {}
            }
        }
    }
}

/// Answers by the script, and says what was asked.
fn answer(command: Command) -> String {
    let words = |reason: Option<String>| reason.unwrap_or_else(|| "-".into());
    match command {
        Command::Start { service, canary, plan, reason, idempotency_key, reply } => {
            let result = match canary.as_str() {
                "v2" => Ok(rollout(Phase::Progressing)),
                "v1" => Err(Refused::Invalid("v1 is the stable".into())),
                "busy" => Err(Refused::Conflict { detail: "busy is in a rollout already".into(), present: None }),
                "nodisk" => Err(Refused::JournalUnwritable("the disk is full".into())),
                _ => Err(Refused::Unknown(format!("shop has no version {canary}"))),
            };
            let _ = reply.send(result);
            format!("start {service} {canary} {} {} {}", words(plan), words(reason), words(idempotency_key))
        }
        Command::Act { service, action, reason, reply } => {
            let result = match action.word() {
                "approve" => Err(Refused::Conflict {
                    detail: "the rollout is progressing and awaits no approval; it can pause, skip, promote, abort"
                        .into(),
                    present: None,
                }),
                "undo" => Err(Refused::Unknown("shop never had a rollout".into())),
                _ => Ok(rollout(Phase::Paused)),
            };
            let _ = reply.send(result);
            format!("{} {service} {}", action.word(), words(reason))
        }
        Command::SetWeight { service, version, weight, if_generation, reason, reply } => {
            let result = if if_generation.is_some_and(|generation| generation != 42) {
                let present = Some(Box::new(view(&service.to_string())));
                Err(Refused::Conflict { detail: "the generation is 42".into(), present })
            } else {
                Ok(ServiceView { weight: weight.basis_points(), ..view(&service.to_string()) })
            };
            let _ = reply.send(result);
            let version = version.map(|version| version.to_string());
            format!("weight {service} {} {weight} {if_generation:?} {}", words(version), words(reason))
        }
        Command::Reload { reply, .. } => {
            let _ = reply.send(Ok(Reloaded {
                needs_restart: vec!["the listeners changed".into()],
                notes: vec!["the plan is kept".into()],
            }));
            "reload".into()
        }
        Command::ReloadFailed { problems } => format!("reload failed: {}", problems.join("; ")),
        Command::Journal(_) => "journal".into(),
        Command::Stop { reply } => {
            let _ = reply.send(());
            "stop".into()
        }
    }
}

pub(crate) fn resolved() -> Resolved {
    let configuration = Configuration {
        listeners: Vec::new(),
        rules: Arc::default(),
        admin: Admin { address: ([127, 0, 0, 1], 0).into(), tokens: None },
        state: PathBuf::new(),
        services: Vec::new(),
        plans: Vec::new(),
    };
    Resolved { configuration: Arc::new(configuration), addresses: HashMap::new(), notes: Vec::new() }
}

pub(crate) fn snapshot(ready: bool) -> Snapshot {
    let service = |name: &str, rollout: Option<RolloutView>| {
        let snapshot = ServiceSnapshot {
            view: ServiceView { rollout: rollout.clone(), ..view(name) },
            refused_retries: 0,
            counts: HashMap::new().into_iter().collect(),
            responses: [0; meter::Class::ALL.len()],
            outcomes: HashMap::new().into_iter().collect(),
            history: rollout
                .into_iter()
                .map(|rollout| Arc::new(RolloutView { phase: Phase::RolledBack, ..rollout }))
                .collect(),
        };
        (name.to_owned(), Arc::new(snapshot))
    };
    Snapshot {
        services: [service("shop", Some(rollout(Phase::Progressing))), service("mail", None)].into(),
        last_reload_success: true,
        ready,
        ..Snapshot::default()
    }
}

fn view(name: &str) -> ServiceView {
    let version = |name: &str, weight| VersionView {
        name: name.into(),
        weight,
        endpoints: vec![EndpointView::well("127.0.0.1:9001".into())],
        in_flight: 0,
        requests: 0,
        failed: 0,
        saved: 0,
        retried: 0,
        requests_per_second: 0.0,
        error_rate: None,
        latency_p50_ms: None,
        latency_p99_ms: None,
        panic: false,
        ejections: 0,
        overflows: 0,
        malformed_responses: control::plane::MalformedCounts::default(),
        health_checks: None,
        mirror: None,
        long_lived: 0,
        long_lived_ended: 0,
        leaving: None,
    };
    ServiceView {
        service: name.into(),
        stable: "v1".into(),
        canary: Some("v2".into()),
        weight: 500,
        generation: 42,
        versions: vec![version("v1", 9_500), version("v2", 500)],
        rollout: None,
        differs_from_file: Vec::new(),
        warnings: Vec::new(),
        estimates: Vec::new(),
    }
}

pub(crate) fn rollout(phase: Phase) -> RolloutView {
    RolloutView {
        baseline: None,
        dry_run: false,
        would_have_rolled_back: 0,
        dispersion: None,
        estimates: Vec::new(),
        id: "01JDTIDE".into(),
        service: "shop".into(),
        stable: "v1".into(),
        canary: "v2".into(),
        plan: "default".into(),
        phase,
        reason: None,
        step: 1,
        steps: 4,
        weight: 500,
        generation: 42,
        started_at: "2026-11-22T01:20:00Z".into(),
        ended_at: None,
        step_elapsed_s: 31.4,
        step_hold_s: Some(120.0),
        requests: Arms { stable: 28_411, canary: 1_502 },
        failed: Arms::default(),
        matching: None,
        matched: Matched::default(),
        mirror: None,
        copies: None,
        gates: Vec::new(),
    }
}

pub(crate) fn event(service: Option<&str>, text: &str) -> Event {
    Event {
        id: 1,
        at: "2026-11-22T01:20:00Z".into(),
        service: service.map(str::to_owned),
        kind: "weight".into(),
        text: text.into(),
        rollout: None,
    }
}
