//! The client against the real control API, in front of a control loop that answers by a script.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::TcpListener;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use clap::Parser;
use control::api::{self, ApiOptions, ApiServer};
use control::command::{Command, Refused};
use control::control_loop::SystemClock;
use control::events::EventLog;
use control::handle::{Handle, Pulse};
use control::view::{
    Arms, Dispersion, EndpointView, GateView, Phase, Role, ServiceSnapshot, Snapshot, StepEstimate, Verdict,
    VersionView,
};
use expect_test::expect;

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
        Command::Reload { .. } | Command::ReloadFailed { .. } | Command::Stop { .. } | Command::Journal(_) => {
            "something else".into()
        }
    }
}

fn service(rollout: RolloutView) -> ServiceView {
    let version = |name: &str, weight, latency| VersionView {
        name: name.into(),
        weight,
        endpoints: ["127.0.0.1:9001", "127.0.0.1:9002"]
            .map(|address| EndpointView { address: address.into(), healthy: name == "v1", in_flight: 0 })
            .into(),
        in_flight: 3,
        requests: 0,
        failed: 0,
        requests_per_second: f64::from(weight) / 10.0,
        error_rate: latency,
        latency_p50_ms: latency.map(|it| it * 2_000.0),
        latency_p99_ms: latency.map(|it| it * 90_000.0),
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
        gates: vec![
            gate("errors", Verdict::Inconclusive, 0.069, "v2 fails 0.13 % of requests, v1 0.11 %: no harm seen yet"),
            gate("latency", Verdict::NoData, 0.0, "no requests in the last 30 s"),
        ],
    }
}

/// Hands each printed line to the test.
struct Lines(mpsc::Sender<String>, Vec<u8>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.extend_from_slice(bytes);
        while let Some(end) = self.1.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.1.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            self.0.send(line).map_err(io::Error::other)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A rollout that is being followed.
struct Followed {
    lines: mpsc::Receiver<String>,
    interrupt: mpsc::Sender<()>,
    ended: thread::JoinHandle<anyhow::Result<Exit>>,
}

fn following(world: &World, following: Following) -> Followed {
    let (tell, lines) = mpsc::channel();
    let (interrupt, interrupts) = mpsc::channel();
    let connection = world.connection();
    let ended = thread::spawn(move || {
        let mut out = Lines(tell, Vec::new());
        follow(rollout(Phase::Progressing), following, &connection, &mut Screen::new(&mut out), &interrupts)
    });
    Followed { lines, interrupt, ended }
}

const WITHOUT_END: Following = Following { timeout: None, json: false };

impl Followed {
    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(30)).unwrap()
    }

    fn end(self) -> anyhow::Result<Exit> {
        self.ended.join().unwrap()
    }
}

#[test]
fn status_is_a_table_with_the_rollout_and_what_to_know() {
    let (ended, out) = World::new().run("status");
    assert_eq!(ended.unwrap(), Exit::Done);
    expect![[r#"
        shop  (generation 42)
          VERSION  ROLE    WEIGHT  REQ/S  ERRORS     P50     P99  HEALTHY  IN FLIGHT
          v1       stable     95%  950.0   0.12%  2.4 ms  108 ms      2/2          3
          v2       canary      5%   50.0       -       -       -      0/2          3
          v3       -           0%    0.0       -       -       -      0/2          3
          rollout of v2 (plan default): progressing, step 2 of 4, canary 5%, held 31 s of 2 min
            judged: 28411 requests on stable (31 failed), 1502 on v2 (2 failed)
            errors   [#-------------------]   6% to fail     - to pass  inconclusive  v2 fails 0.13 % of requests, v1 0.11 %: no harm seen yet
            latency  [--------------------]   0% to fail     - to pass  no-data       no requests in the last 30 s
            dispersion: unmeasured
          differs from the file: stable is v1, the file says v0
          warning: no [31m gates
    "#]]
    .assert_eq(&out);
}

#[test]
fn status_of_one_service_says_what_is_judged_how_and_how_long_it_will_take() {
    let estimate = |step, weight, fail_s, pass_s| StepEstimate { step, weight, fail_s, pass_s };
    let mut rollout = rollout(Phase::Progressing);
    rollout.dry_run = true;
    rollout.would_have_rolled_back = 2;
    rollout.baseline = Some("v3".into());
    rollout.dispersion = Some(Dispersion { errors: 1.0, latency: 3.24 });
    rollout.estimates = vec![
        estimate(2, 500, Some(41.7), Some(125.0)),
        estimate(4, 5_000, Some(4.1), None),
        estimate(4, 1, None, None),
    ];
    rollout.gates[0].proof = Some(0.345);
    rollout.gates[1].role = Role::Signal;
    rollout.gates[1].path = Some("/checkout".into());
    let world = World::new();
    world.show(rollout.clone(), Vec::new());
    let (ended, out) = world.run("status shop");
    assert_eq!(ended.unwrap(), Exit::Done);
    expect![[r#"
        shop  (generation 42)
          VERSION  ROLE      WEIGHT  REQ/S  ERRORS     P50     P99  HEALTHY  IN FLIGHT
          v1       stable       95%  950.0   0.12%  2.4 ms  108 ms      2/2          3
          v2       canary        5%   50.0       -       -       -      0/2          3
          v3       baseline      0%    0.0       -       -       -      0/2          3
          rollout of v2 (plan default): progressing, step 2 of 4, canary 5%, held 31 s of 2 min
            dry run: would have rolled back 2 times
            judged: 28411 requests on the baseline v3 (31 failed), 1502 on v2 (2 failed)
            errors                      [#-------------------]   6% to fail   34% to pass  inconclusive  v2 fails 0.13 % of requests, v1 0.11 %: no harm seen yet
            latency /checkout (signal)  [--------------------]   0% to fail     - to pass  no-data       no requests in the last 30 s
            dispersion: errors 1.0, latency 3.2 (1 is independent requests)
            at this traffic, step 2 (5%): harm of the margin's size shows in about 40 s, a healthy canary passes in about 2 min
            at this traffic, step 4 (50%): harm of the margin's size shows in about 5 s, no canary would pass
          differs from the file: stable is v1, the file says v0
          warning: no [31m gates
    "#]].assert_eq(&out);
    let (_, brief) = world.run("status");
    assert_eq!(brief.matches("at this traffic").count(), 1, "only the present step");

    rollout.baseline = Some("equal".into());
    rollout.would_have_rolled_back = 0;
    world.show(rollout, Vec::new());
    let (_, out) = world.run("rollout status shop");
    assert!(out.contains("dry run: would not have rolled back\n"), "{out}");
    assert!(out.contains("requests on an equal slice of stable ("), "{out}");
}

#[test]
fn status_of_one_service_says_what_a_rollout_would_take() {
    let world = World::new();
    let mut ended = rollout(Phase::RolledBack);
    ended.gates.clear();
    world.show_service(ServiceView {
        estimates: vec![StepEstimate { step: 1, weight: 100, fail_s: Some(200.0), pass_s: Some(900.0) }],
        ..service(ended)
    });
    let (_, out) = world.run("status shop");
    let said = "  a rollout at this traffic, step by step:\n    step 1 (1%): harm of the margin's size shows in about 3 min, \
                a healthy canary passes in about 15 min\n";
    assert!(out.contains(said), "{out}");
    assert!(!world.run("status").1.contains("at this traffic"), "only where it is asked for");
}

#[test]
fn status_as_json_is_what_the_api_says() {
    let world = World::new();
    let all: Value = serde_json::from_str(&world.run("status --json").1).unwrap();
    assert_eq!(all[0]["versions"][0]["weight"], 9_500);
    let one: ServiceView = serde_json::from_str(&world.run("status shop --json").1).unwrap();
    assert_eq!(one, service(rollout(Phase::Progressing)));
}

#[test]
fn a_refusal_says_why_and_nothing_is_printed() {
    let refused = World::new().refused("status shpo");
    assert_eq!(refused, "refused: there is no service \"shpo\"; did you mean \"shop\"?; the services are shop");
}

#[test]
fn an_action_reaches_the_control_loop_with_its_reason() {
    let world = World::new();
    let (ended, out) = world.run("rollout pause shop --reason lunch");
    assert_eq!(ended.unwrap(), Exit::Done);
    assert!(out.starts_with("shop: paused\nrollout of v2 (plan default): paused, step 2 of 4"), "{out}");
    assert_eq!(world.asked.recv().unwrap(), "pause shop lunch");
    for action in Action::ALL {
        let (ended, out) = world.run(&format!("rollout {} shop --json", action.word()));
        assert_eq!(ended.unwrap(), Exit::Done);
        assert_eq!(serde_json::from_str::<RolloutView>(&out).unwrap(), rollout(Phase::Paused));
        assert_eq!(world.asked.recv().unwrap(), format!("{} shop -", action.word()));
    }
}

#[test]
fn a_rollout_is_started_with_its_plan_and_reason() {
    let world = World::new();
    let (ended, out) = world.run("rollout start shop --canary v2 --plan slow --reason release");
    assert_eq!(ended.unwrap(), Exit::Done);
    assert!(out.starts_with("shop: started\n"), "{out}");
    assert_eq!(world.asked.recv().unwrap(), "start shop v2 slow release");
}

#[test]
fn a_weight_is_set_by_hand_and_a_moved_generation_is_told() {
    let world = World::new();
    assert_eq!(world.run("weight shop v2=0.25% --reason look").0.unwrap(), Exit::Done);
    assert_eq!(world.asked.recv().unwrap(), "weight shop v2 0.25% look");
    assert_eq!(world.run("weight shop 10% --json").0.unwrap(), Exit::Done);
    assert_eq!(world.asked.recv().unwrap(), "weight shop - 10% -");
    let refused = world.refused("weight shop 10% --if-generation 41");
    assert_eq!(refused, "refused: the generation moved (present generation: 42)");
}

#[test]
fn a_reload_prints_every_problem() {
    expect![[r#"
        refused: the configuration has problems, nothing was changed
        a.yaml:3:5: services.shop: missing
        a.yaml:9:1: sate: unknown"#]]
    .assert_eq(&World::new().refused("reload"));
}

#[test]
fn a_probe_needs_no_token_and_fails_where_the_server_is_not_ready() {
    let mut world = World::new();
    let bare = Connection::new(world.url.clone(), None);
    assert!(bare.probe("/readyz").is_ok());
    assert!(bare.get::<Value>("/api/v1/services").unwrap_err().to_string().contains("TIDEGATE_TOKEN"));
    world.snapshot.store(Arc::new(Snapshot::default()));
    assert!(world.refused("healthcheck").starts_with("refused: "));
    world.stop();
    assert!(world.refused("healthcheck").starts_with("cannot reach the control API at http://127.0.0.1:"));
}

#[test]
fn a_server_that_is_not_there_is_named_with_the_way_to_another() {
    let mut world = World::new();
    world.stop();
    let url = world.url.clone();
    assert_eq!(
        world.refused("status"),
        format!(
            "cannot reach the control API at {url}: connection refused; is the server running? Another address: \
             --admin URL or TIDEGATE_ADMIN"
        )
    );
}

#[test]
fn somebody_else_on_the_admin_address_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url: AdminUrl = listener.local_addr().unwrap().to_string().parse().unwrap();
    let other = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").unwrap();
    });
    let failure = Connection::new(url, None).get::<Value>("/api/v1/services").unwrap_err();
    assert!(failure.to_string().contains("is no control API"), "{failure}");
    other.join().unwrap();
}

#[test]
fn following_prints_each_change_and_ends_with_the_outcome() {
    for (phase, exit) in
        [(Phase::Promoted, Exit::Done), (Phase::RolledBack, Exit::RolledBack), (Phase::Aborted, Exit::Aborted)]
    {
        let world = World::new();
        let followed = following(&world, WITHOUT_END);
        assert_eq!(followed.line(), "shop: v2 at 5%, step 2 of 4, to hold 2 min, progressing");
        assert!(followed.line().starts_with("  gate errors: inconclusive: v2 fails 0.13 %"));
        assert!(followed.line().starts_with("  gate latency: no-data"));
        world.show(rollout(Phase::AwaitingApproval), Vec::new());
        assert_eq!(
            followed.line(),
            "shop: v2 at 5%, step 2 of 4, awaiting-approval; approve with: tidegate rollout approve shop"
        );
        world.show(RolloutView { reason: Some("it was\nso".into()), ..rollout(phase) }, Vec::new());
        let last = followed.line();
        assert!(last.contains(phase.word()) && last.ends_with(": it was so"), "{last}");
        assert_eq!(followed.end().unwrap(), exit);
    }
}

#[test]
fn following_as_json_is_a_line_for_each_change() {
    let world = World::new();
    let followed = following(&world, Following { json: true, ..WITHOUT_END });
    let phase = |line: &str| serde_json::from_str::<RolloutView>(line).unwrap().phase;
    assert_eq!(phase(&followed.line()), Phase::Progressing);
    world.show(rollout(Phase::RolledBack), Vec::new());
    assert_eq!(phase(&followed.line()), Phase::RolledBack);
    assert_eq!(followed.end().unwrap(), Exit::RolledBack);
}

#[test]
fn a_rollout_that_another_replaced_is_found_in_the_history() {
    for (history, exit) in [
        (vec![rollout(Phase::RolledBack)], Exit::RolledBack),
        (vec![rollout(Phase::Superseded)], Exit::Aborted),
        (Vec::new(), Exit::Aborted),
    ] {
        let world = World::new();
        let followed = following(&world, WITHOUT_END);
        world.show(RolloutView { id: "01JNEXT".into(), ..rollout(Phase::Progressing) }, history);
        assert_eq!(followed.end().unwrap(), exit);
    }
}

#[test]
fn ctrl_c_ends_the_following_and_says_that_the_rollout_goes_on() {
    let world = World::new();
    let followed = following(&world, WITHOUT_END);
    (0..3).for_each(|_| drop(followed.line()));
    followed.interrupt.send(()).unwrap();
    assert_eq!(followed.line(), "interrupted; the rollout of v2 goes on: tidegate rollout watch shop");
    assert_eq!(followed.end().unwrap(), Exit::Interrupted);
}

#[test]
fn following_gives_up_at_its_timeout() {
    let world = World::new();
    let followed = following(&world, Following { timeout: Some(Duration::ZERO), json: false });
    (0..3).for_each(|_| drop(followed.line()));
    assert!(followed.line().starts_with("no end within 0 s; the rollout of v2 goes on"));
    assert_eq!(followed.end().unwrap(), Exit::NoEnd);
}

#[test]
fn a_server_that_goes_away_ends_the_following_in_failure() {
    let mut world = World::new();
    let followed = following(&world, WITHOUT_END);
    (0..3).for_each(|_| drop(followed.line()));
    world.stop();
    // Kept, as Ctrl-C stays possible while the server is gone.
    let Followed { lines: _lines, interrupt: _interrupt, ended } = followed;
    assert!(ended.join().unwrap().unwrap_err().to_string().starts_with("cannot reach the control API"));
}
