//! The client against the real control API, in front of a control loop that answers by a script.

mod asking;
mod following;
mod status;

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::{Arc, mpsc};
use std::thread;

use arc_swap::ArcSwap;
use clap::Parser;
use control::api::{self, ApiOptions, ApiServer};
use control::command::{Command, Refused};
use control::control_loop::SystemClock;
use control::events::EventLog;
use control::handle::{Handle, Pulse};
use control::judge::Copies;
use control::plane::{EndpointHealth, MirrorAnswer};
use control::view::{
    Arms, Dispersion, EndpointView, GateView, LeavingView, MatchView, Matched, MirrorSampleView, MirrorView, NameView,
    NotCopied, Phase, Role, ServiceSnapshot, Snapshot, StepEstimate, Verdict, VersionView,
};

use super::*;
use crate::cli::{AdminUrl, Cli, Command as CliCommand};

/// A server whose state a test sets.
struct World {
    server: Option<ApiServer>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    asked: mpsc::Receiver<String>,
    url: AdminUrl,
}

impl World {
    fn new() -> Self {
        let (commands, received) = mpsc::channel();
        let (tell, asked) = mpsc::channel();
        thread::spawn(move || {
            for command in received {
                // A test that is over reads no more.
                let _ = tell.send(answer(command));
            }
        });
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot { ready: true, ..Snapshot::default() }));
        let handle = Handle {
            commands,
            snapshot: Arc::clone(&snapshot),
            events: Arc::new(EventLog::default()),
            ended: Arc::default(),
            pulse: Arc::new(Pulse::new(Arc::new(SystemClock::new()))),
        };
        let options = ApiOptions { token: Some("sesame".into()), ..ApiOptions::default() };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let problems = || Err(vec!["a.yaml:3:5: services.shop: missing".into(), "a.yaml:9:1: sate: unknown".into()]);
        let server = api::start(options, listener, handle, Arc::new(problems)).unwrap();
        let url = server.address().to_string().parse().unwrap();
        let world = Self { server: Some(server), snapshot, asked, url };
        world.show(rollout(Phase::Progressing), Vec::new());
        world
    }

    /// Sets what the server knows of the service `shop`.
    fn show(&self, rollout: RolloutView, history: Vec<RolloutView>) {
        self.show_whole(service(rollout), history);
    }

    fn show_service(&self, service: ServiceView) {
        self.show_whole(service, Vec::new());
    }

    fn show_whole(&self, view: ServiceView, history: Vec<RolloutView>) {
        let service = ServiceSnapshot {
            view,
            refused_retries: 0,
            counts: HashMap::new().into_iter().collect(),
            responses: [0; meter::Class::ALL.len()],
            outcomes: HashMap::new().into_iter().collect(),
            history: history.into_iter().map(Arc::new).collect(),
        };
        let services = [("shop".to_owned(), Arc::new(service))].into();
        self.snapshot.store(Arc::new(Snapshot { services, ready: true, ..Snapshot::default() }));
    }

    fn connection(&self) -> Connection {
        Connection::new(self.url.clone(), Some("sesame".into()))
    }

    /// Runs a command line: how it ended, and what it printed.
    fn run(&self, line: &str) -> (anyhow::Result<Exit>, String) {
        let CliCommand::Client(command) = Cli::try_parse_from(format!("tidegate {line}").split(' ')).unwrap().command
        else {
            panic!("{line} asks no server")
        };
        let mut out = Vec::new();
        let ended = run(&command, &self.connection(), &mut Screen::new(&mut out));
        (ended, String::from_utf8(out).unwrap())
    }

    #[track_caller]
    fn refused(&self, line: &str) -> String {
        let (ended, out) = self.run(line);
        assert_eq!(out, "");
        ended.unwrap_err().to_string()
    }

    fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
    }
}

fn answer(command: Command) -> String {
    let words = |reason: Option<String>| reason.unwrap_or_else(|| "-".into());
    match command {
        Command::Start { service, canary, plan, reason, reply, .. } => {
            let _ = reply.send(Ok(rollout(Phase::Progressing)));
            format!("start {service} {canary} {} {}", words(plan), words(reason))
        }
        Command::Act { service, action, reason, reply } => {
            let _ = reply.send(Ok(rollout(Phase::Paused)));
            format!("{} {service} {}", action.word(), words(reason))
        }
        Command::SetWeight { service: name, version, weight, if_generation, reason, reply } => {
            let present = Some(Box::new(service(rollout(Phase::Paused))));
            let _ = reply.send(match if_generation {
                Some(41) => Err(Refused::Conflict { detail: "the generation moved".into(), present }),
                Some(_) | None => Ok(service(rollout(Phase::Paused))),
            });
            format!("weight {name} {} {weight} {}", words(version.map(|it| it.to_string())), words(reason))
        }
        Command::Reload { .. }
        | Command::ReloadFailed { .. }
        | Command::Readdress { .. }
        | Command::Stop { .. }
        | Command::Journal(_) => "something else".into(),
    }
}

/// One of v1 is well and one comes back, all of v2 are away.
fn endpoint(version: &str, address: &str) -> EndpointView {
    let well = EndpointView::well(address.into());
    match (version, address) {
        ("v1", "127.0.0.1:9001") => well,
        ("v1", _) => EndpointView { share: 0.55, since: Some("2026-11-22T01:20:00Z".into()), ..well },
        _ => EndpointView {
            healthy: false,
            state: EndpointHealth::Ejected,
            reason: Some("requests in a row failed".into()),
            since: Some("2026-11-22T01:20:00Z".into()),
            next_try: Some("2026-11-22T01:20:10Z".into()),
            ..well
        },
    }
}

fn service(rollout: RolloutView) -> ServiceView {
    let version = |name: &str, weight, latency| VersionView {
        name: name.into(),
        weight,
        endpoints: ["127.0.0.1:9001", "127.0.0.1:9002"].map(|address| endpoint(name, address)).into(),
        in_flight: 3,
        requests: 0,
        failed: 0,
        saved: 0,
        retried: 0,
        requests_per_second: f64::from(weight) / 10.0,
        error_rate: latency,
        latency_p50_ms: latency.map(|it| it * 2_000.0),
        latency_p99_ms: latency.map(|it| it * 90_000.0),
        panic: name == "v2",
        ejections: 0,
        overflows: 0,
        malformed_responses: control::plane::MalformedCounts::default(),
        health_checks: None,
        names: Vec::new(),
        mirror: None,
        long_lived: 0,
        long_lived_ended: 0,
        leaving: None,
    };
    ServiceView {
        service: "shop".into(),
        stable: "v1".into(),
        canary: Some("v2".into()),
        weight: 500,
        generation: 42,
        versions: vec![version("v1", 9_500, Some(0.001_2)), version("v2", 500, None), version("v3", 0, None)],
        rollout: Some(rollout),
        differs_from_file: vec!["stable is v1, the file says v0".into()],
        warnings: vec!["no\x1b[31m gates".into()],
        estimates: Vec::new(),
    }
}

fn rollout(phase: Phase) -> RolloutView {
    let gate = |name: &str, verdict, progress, explain: &str| GateView {
        path: None,
        proof: None,
        counts: None,
        estimate: None,
        ratio: None,
        name: name.into(),
        role: Role::Guardrail,
        verdict,
        log_evidence: Some(0.31),
        threshold: 4.71,
        progress,
        explain: explain.into(),
    };
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
        step: 2,
        steps: 4,
        weight: 500,
        generation: 42,
        started_at: "2026-11-22T01:20:00Z".into(),
        ended_at: None,
        step_elapsed_s: 31.4,
        step_hold_s: Some(120.0),
        requests: Arms { stable: 28_411, canary: 1_502 },
        failed: Arms { stable: 31, canary: 2 },
        matching: None,
        matched: Matched::default(),
        mirror: None,
        copies: None,
        gates: vec![
            gate("errors", Verdict::Inconclusive, 0.069, "v2 fails 0.13 % of requests, v1 0.11 %: no harm seen yet"),
            gate("latency", Verdict::NoData, 0.0, "no requests in the last 30 s"),
        ],
    }
}
