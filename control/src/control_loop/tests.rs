mod crash;
mod exposure;
mod mirroring;
mod names;
mod pulse;

use std::collections::HashMap;
use std::path::Path;

use config::{Name, Weight};
use meter::{Class, MirrorCounts, Tally, Window};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::*;
use crate::command::{Action, Refused, Reloaded};
use crate::plane::{Addresses, EndpointState, Names, Split};
use crate::view::{Phase, RolloutView, ServiceView};

const TWO_VERSIONS: &str = "services: { shop: { stable: v1, \
    versions: { v1: { endpoints: ['127.0.0.1:1'] }, v2: { endpoints: ['127.0.0.1:2'] } } } }";

/// A data plane without traffic, that remembers its splits.
#[derive(Debug, Clone, Default)]
struct Quiet {
    splits: Arc<Mutex<HashMap<Name, Split>>>,
    /// The versions whose exposure began, in order.
    exposures: Arc<Mutex<Vec<String>>>,
    /// Other addresses, in order.
    changes: Arc<Mutex<Vec<Addresses>>>,
    /// How names are resolved.
    names: Arc<Mutex<Names>>,
    /// What became of copies to v2.
    copies: Arc<Mutex<MirrorCounts>>,
    /// The versions whose connections that last were asked to end, in order. Each has three of them.
    ended: Arc<Mutex<Vec<String>>>,
}

impl DataPlane for Quiet {
    fn take_slice(&mut self, _: &Name, window: &mut Window) {
        window.clear();
    }

    fn watch_latencies(&mut self, _: &Name, _: &Name, _: [u64; 2]) {}

    fn begin_exposure(&mut self, _: &Name, version: &Name) {
        self.exposures.lock().push(version.to_string());
    }

    fn install(&mut self, _resolved: &Resolved, splits: &HashMap<Name, Split>) {
        self.splits.lock().clone_from(splits);
    }

    fn readdress(&mut self, changed: &Addresses) {
        self.changes.lock().push(changed.clone());
    }

    fn names(&self) -> Names {
        self.names.lock().clone()
    }

    fn steer(&mut self, service: &Name, split: &Split) {
        self.splits.lock().insert(service.clone(), split.clone());
    }

    fn take(&mut self, _service: &Name, _version: &Name, window: &mut Window) {
        window.clear();
    }

    fn tally(&self, _service: &Name, _version: &Name, read: &mut dyn FnMut(&Tally)) {
        read(&Tally::default());
    }

    fn responses(&self, _service: Option<&Name>) -> [u64; Class::ALL.len()] {
        Default::default()
    }

    fn in_flight(&self, _service: &Name, _version: &Name) -> u64 {
        0
    }

    fn mirrored(&self, _service: &Name, version: &Name) -> MirrorCounts {
        if version.as_str() == "v2" { *self.copies.lock() } else { MirrorCounts::default() }
    }

    fn lasting(&self, _service: &Name, _version: &Name) -> u64 {
        3
    }

    fn end_lasting(&mut self, _service: &Name, version: &Name) {
        self.ended.lock().push(version.to_string());
    }

    fn endpoints(&self, _service: &Name, _version: &Name) -> Vec<EndpointState> {
        Vec::new()
    }
}

/// A running loop on real files.
struct Running {
    handle: Handle,
    thread: JoinHandle<Ended>,
    plane: Quiet,
}

impl Running {
    fn start(directory: &Path) -> Self {
        Self::try_start(directory).unwrap()
    }

    fn try_start(directory: &Path) -> Result<Self, StartError> {
        Self::try_start_with(directory, resolved(TWO_VERSIONS))
    }

    fn try_start_with(directory: &Path, resolved: Resolved) -> Result<Self, StartError> {
        let plane = Quiet::default();
        let (handle, thread) = start(Options::new(directory.to_owned()), plane.clone(), resolved)?;
        Ok(Self { handle, thread, plane })
    }

    fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> T {
        let (reply, answer) = oneshot::channel();
        self.handle.commands.send(command(reply)).unwrap();
        in_time(answer).unwrap()
    }

    fn start_rollout(&self, key: Option<&str>) -> Result<RolloutView, Refused> {
        self.ask(|reply| Command::Start {
            service: name("shop"),
            canary: name("v2"),
            plan: None,
            reason: None,
            idempotency_key: key.map(ToOwned::to_owned),
            reply,
        })
    }

    fn act(&self, action: Action) -> Result<RolloutView, Refused> {
        self.ask(|reply| Command::Act { service: name("shop"), action, reason: None, reply })
    }

    fn set_weight(&self, basis_points: u16) -> Result<ServiceView, Refused> {
        self.ask(|reply| Command::SetWeight {
            service: name("shop"),
            version: None,
            weight: Weight::from_basis_points(basis_points).unwrap(),
            if_generation: None,
            reason: None,
            reply,
        })
    }

    fn reload(&self, text: &str) -> Result<Reloaded, Refused> {
        self.ask(|reply| Command::Reload { resolved: resolved(text), reply })
    }

    fn stop(self) {
        self.ask(|reply| Command::Stop { reply });
        self.thread.join().unwrap();
    }

    fn split(&self) -> Split {
        self.plane.splits.lock()[&name("shop")].clone()
    }

    fn view(&self) -> ServiceView {
        self.handle.snapshot.load().services["shop"].view.clone()
    }
}

/// A loop that forgets an answer fails its test and does not hang it.
fn in_time<T>(coming: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), coming).await.expect("no answer in 20 s") })
}

fn resolved(text: &str) -> Resolved {
    let configuration = config::parse(text, "test.yaml").unwrap().configuration;
    Resolved { configuration: Arc::new(configuration), addresses: Addresses::new(), notes: Vec::new() }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn canary(basis_points: u16) -> Option<(Name, Weight)> {
    Some((name("v2"), Weight::from_basis_points(basis_points).unwrap()))
}

#[test]
fn what_is_answered_is_in_force_and_visible() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    assert!(running.handle.snapshot.load().ready);
    assert_eq!(running.split().canary, None);

    let rollout = running.start_rollout(None).unwrap();
    assert_eq!((rollout.phase, rollout.weight, rollout.step), (Phase::Progressing, 100, 1));
    assert_eq!(running.split().canary, canary(100));
    assert_eq!(running.view().rollout.map(|rollout| rollout.weight), Some(100));

    let promoted = running.act(Action::Promote).unwrap();
    assert_eq!((promoted.phase, promoted.weight), (Phase::Promoted, 10_000));
    assert_eq!((running.split().stable, running.view().stable), (name("v2"), "v2".to_owned()));
    let (told, _) = running.handle.events.follow(None);
    let kinds: Vec<_> = told.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["rollout-started", "phase"]);
    running.stop();
}

#[test]
fn a_rollout_and_its_generation_survive_an_orderly_restart() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    let before = running.start_rollout(None).unwrap();
    running.stop();

    let again = Running::start(directory.path());
    let rollout = again.view().rollout.unwrap();
    assert_eq!((rollout.id, rollout.phase, rollout.weight), (before.id, Phase::Progressing, 100));
    assert_eq!((again.view().generation, again.split().canary), (before.generation, canary(100)));
    assert_eq!(again.view().warnings, Vec::<String>::new(), "its evidence survived too");
    again.stop();
}

#[test]
fn a_promotion_survives_a_process_that_was_killed() {
    let directory = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    running.start_rollout(None).unwrap();
    let before = running.act(Action::Promote).unwrap();
    // What a kill leaves is what is in the files now.
    std::fs::copy(directory.path().join("journal"), copy.path().join("journal")).unwrap();
    running.stop();

    let again = Running::start(copy.path());
    assert_eq!(again.split().stable, name("v2"));
    assert!(again.view().generation > before.generation, "a generation that somebody saw never means another state");
    assert_eq!(again.view().differs_from_file.len(), 1);
    again.stop();
}

#[test]
fn the_same_key_gives_the_same_rollout_and_no_key_is_a_conflict() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    let first = running.start_rollout(Some("k")).unwrap();
    assert_eq!(running.start_rollout(Some("k")).unwrap().id, first.id);
    assert!(matches!(running.start_rollout(None), Err(Refused::Conflict { .. })));
    running.stop();
    let again = Running::start(directory.path());
    assert_eq!(again.start_rollout(Some("k")).unwrap().id, first.id, "after a restart too");
    again.stop();
}

#[test]
fn a_second_process_on_the_same_directory_is_refused_with_the_holders_number() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    let Err(error) = Running::try_start(directory.path()) else { panic!("both run") };
    let text = error.to_string();
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    running.stop();
    Running::start(directory.path()).stop();
}

#[test]
fn a_state_directory_that_cannot_be_used_is_named_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let Err(error) = Running::try_start(&file.join("state")) else { panic!("it runs") };
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");

    std::fs::create_dir(directory.path().join("journal")).unwrap();
    let Err(error) = Running::try_start(directory.path()) else { panic!("it runs") };
    assert!(error.to_string().contains("journal cannot be read"), "{error}");
}

#[test]
fn a_disk_that_refuses_stops_steps_forward_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    running.set_weight(1_000).unwrap();
    running.stop();
    // A directory in the way of a fresh journal: root, who may run this test, is not stopped by modes.
    let obstacle = directory.path().join("journal.new");
    std::fs::create_dir(&obstacle).unwrap();
    std::fs::remove_file(directory.path().join("journal")).unwrap();

    let running = Running::start(directory.path());
    assert!(running.handle.snapshot.load().journal_problem.is_some());
    assert!(matches!(running.set_weight(2_000), Err(Refused::JournalUnwritable(_))));
    let warnings = running.view().warnings;
    assert!(warnings[0].contains("there is no journal"), "{warnings:?}");
    assert!(warnings.iter().any(|it| it.contains("journal cannot be written")), "{warnings:?}");

    std::fs::remove_dir(&obstacle).unwrap();
    let (kept, mut live) = running.handle.events.follow(None);
    let again = |text: &str| text.contains("can be written again");
    while !kept.iter().any(|event| again(&event.text)) {
        if again(&in_time(live.recv()).unwrap().text) {
            break;
        }
    }
    assert_eq!(running.set_weight(2_000).unwrap().weight, 2_000);
    running.stop();
}

#[test]
fn a_service_that_leaves_the_file_and_comes_back_is_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    let without = TWO_VERSIONS.replace("shop:", "cart:");
    running.start_rollout(None).unwrap();
    let Err(Refused::Conflict { detail, .. }) = running.reload(&without) else { panic!("a rollout was removed") };
    assert!(detail.contains("shop") && detail.contains("v2"), "{detail}");
    assert!(!running.handle.snapshot.load().last_reload_success);

    let promoted = running.act(Action::Promote).unwrap();
    running.reload(&without).unwrap();
    assert_eq!(running.handle.snapshot.load().services.keys().collect::<Vec<_>>(), ["cart"]);
    running.reload(TWO_VERSIONS).unwrap();
    assert_eq!(running.split().stable, name("v2"), "the promotion outlived the service's absence");
    running.reload(&without).unwrap();
    running.stop();

    let again = Running::start(directory.path());
    assert_eq!(again.split().stable, name("v2"), "the promotion outlived the service's absence, and a restart");
    assert!(again.view().generation >= promoted.generation);
    again.stop();
}

#[test]
fn a_reload_that_could_not_be_read_is_shown_until_a_good_one() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    let problems = vec!["t.yaml:1:1: no services".to_owned(), "t.yaml:2:1: stat: unknown".to_owned()];
    running.handle.commands.send(Command::ReloadFailed { problems }).unwrap();
    let (kept, mut live) = running.handle.events.follow(None);
    let said = |text: &str| text == "the reload changed nothing: t.yaml:1:1: no services (and 1 more)";
    while !kept.iter().any(|event| said(&event.text)) {
        if said(&in_time(live.recv()).unwrap().text) {
            break;
        }
    }
    // The snapshot follows the event at the latest with the next answer.
    running.set_weight(100).unwrap();
    assert!(!running.handle.snapshot.load().last_reload_success);
    running.reload(TWO_VERSIONS).unwrap();
    assert!(running.handle.snapshot.load().last_reload_success);
    running.stop();
}

#[test]
fn what_needs_a_restart_is_measured_against_what_the_process_began_with() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    let elsewhere = format!("{TWO_VERSIONS}\nstate: /elsewhere");
    for _ in 0..2 {
        let taken = running.reload(&elsewhere).unwrap();
        assert!(taken.needs_restart.iter().any(|what| what.contains("/elsewhere")), "{taken:?}");
    }
    assert_eq!(running.reload(TWO_VERSIONS).unwrap(), Reloaded::default());
    running.stop();
}

#[test]
fn a_rollout_that_keeps_its_plan_over_a_reload_is_noted_and_needs_no_restart() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    running.start_rollout(None).unwrap();
    let planned = TWO_VERSIONS.replace("stable: v1,", "stable: v1, plan: { steps: [{ weight: 2%, hold: 1m }] },");
    let notes = vec!["shop: the running rollout of v2 keeps the plan it began with".to_owned()];
    assert_eq!(running.reload(&planned).unwrap(), Reloaded { needs_restart: Vec::new(), notes });
    running.stop();
}

#[test]
fn a_reload_raises_a_weight_once_it_is_on_disk_and_names_what_needs_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    let raised = TWO_VERSIONS.replace("stable: v1,", "stable: v1, canary: v2, weight: 10%,") + "\nstate: /elsewhere";
    let taken = running.reload(&raised).unwrap();
    assert!(taken.needs_restart.iter().any(|what| what.contains("/elsewhere")), "{taken:?}");
    assert_eq!(running.split().canary, canary(1_000));
    let written = std::fs::read_to_string(directory.path().join("journal")).unwrap();
    assert!(written.lines().last().is_some_and(|line| line.contains(r#""canary":{"version":"v2","weight":1000}"#)));
    running.stop();
}

#[test]
fn a_journal_that_grew_long_is_written_anew_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    let journal = directory.path().join("journal");
    let size = || std::fs::metadata(&journal).unwrap().len();
    let (mut largest, mut weight) = (0, 0);
    // A long reason makes a long record: a few thousand are more than the journal grows to.
    while size() >= largest {
        largest = size();
        assert!(largest < 20 << 20, "it only grows");
        weight = weight % 5_000 + 1;
        let (service, reason) = (name("shop"), Some("x".repeat(1_000)));
        let set = |reply| Command::SetWeight {
            service,
            version: None,
            weight: Weight::from_basis_points(weight).unwrap(),
            if_generation: None,
            reason,
            reply,
        };
        running.ask(set).unwrap();
    }
    let generation = running.view().generation;
    running.stop();
    let again = Running::start(directory.path());
    assert_eq!((again.split().canary, again.view().generation), (canary(weight), generation));
    again.stop();
}
