//! One process in its world: core, journal, disk and traffic under a virtual clock, and what must hold of them always.

mod invariants;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::{Name, Weight};
use control::command::{Action, Command, Refused, Reloaded};
use control::control_loop::{ControlCore, Evidence, Now, Recording, TICK};
use control::journal::{Answer, Journal, Request, Storage};
use control::plane::{Resolved, Split};
use control::rollout::State;
use control::view::{Phase, RolloutView, ServiceView};
use jiff::Timestamp;
use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::disk::Disk;
use crate::traffic::Traffic;

/// How a process ends that does not end in good order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// It is killed: what it wrote is there.
    Kill,
    /// The power fails: of what was not synced a prefix survives.
    PowerLoss,
}

/// One process and all that it touches.
pub(crate) struct World {
    pub(crate) core: ControlCore,
    pub(crate) traffic: Traffic,
    pub(crate) disk: Disk,
    journal: Journal<Disk>,
    /// What the journal's thread has not taken yet.
    queue: VecDeque<Request>,
    /// How many ticks the disk takes for what is sent now.
    pub(crate) disk_delay: u32,
    busy: u32,
    /// The disk takes nothing and answers nothing.
    pub(crate) hangs: bool,
    now: Now,
    pub(crate) random: fastrand::Rng,
    configuration: String,
    seen: Seen,
    wrote_nothing: bool,
}

/// What people could have seen, over all processes.
#[derive(Debug, Default)]
struct Seen {
    split: Option<Split>,
    /// Rollouts whose end is certain to be on disk.
    ended_for_good: BTreeSet<String>,
    /// Highest weight of the canary that any record sent to the disk held, by rollout.
    highest_sent: HashMap<String, u16>,
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

impl World {
    pub(crate) fn new(seed: u64, configuration: &str, requests_per_second: u32) -> Self {
        let traffic = Traffic::new(seed ^ 0x7261_6666, requests_per_second);
        let disk = Disk::new(seed ^ 0x6469_736b);
        let wall = Timestamp::from_second(1_795_310_400).unwrap();
        let now = Now { elapsed: Duration::ZERO, wall };
        let (core, journal) = boot(configuration, &disk, &traffic, seed, now);
        let mut world = Self {
            core,
            traffic,
            disk,
            journal,
            queue: VecDeque::new(),
            disk_delay: 0,
            busy: 0,
            hangs: false,
            now,
            random: fastrand::Rng::with_seed(seed),
            configuration: configuration.to_owned(),
            seen: Seen::default(),
            wrote_nothing: false,
        };
        world.settle();
        world
    }

    /// A tenth of a second passes: traffic, tick, disk.
    pub(crate) fn tick(&mut self) {
        self.traffic.flow();
        self.now = Now { elapsed: self.now.elapsed + TICK, wall: self.now.wall + TICK };
        self.core.tick(self.now);
        self.settle();
    }

    /// So many seconds pass in which the process is stopped.
    pub(crate) fn stand_still(&mut self, seconds: u64) {
        let passed = Duration::from_secs(seconds);
        self.now = Now { elapsed: self.now.elapsed + passed, wall: self.now.wall + passed };
    }

    /// So many seconds pass.
    pub(crate) fn run(&mut self, seconds: u32) {
        (0..seconds * 10).for_each(|_| self.tick());
    }

    /// Time passes until it is so. How many seconds it took; none if it did not come to be.
    pub(crate) fn run_until(&mut self, limit: u32, so: impl Fn(&Self) -> bool) -> Option<f64> {
        let began = self.now.elapsed;
        for _ in 0..limit * 10 {
            if so(self) {
                return Some((self.now.elapsed - began).as_secs_f64());
            }
            self.tick();
        }
        None
    }

    /// The disk does what it has time for, and its answers arrive.
    fn settle(&mut self) {
        self.note_sent();
        self.check();
        if self.hangs {
            return;
        }
        if self.busy > 0 {
            self.busy -= 1;
            return;
        }
        while !self.queue.is_empty() {
            let requests: Vec<Request> = self.queue.drain(..).collect();
            for answer in self.journal.commit(requests.clone()) {
                self.wrote_nothing &= !matches!(answer, Answer::Rewritten { .. });
                self.core.handle(self.now, Command::Journal(answer.clone()));
                self.note_durable(&requests, &answer);
                self.note_sent();
                self.check();
            }
            if self.disk_delay > 0 {
                self.busy = self.random.u32(..=self.disk_delay);
                return;
            }
        }
    }

    fn note_sent(&mut self) {
        for request in self.core.take_requests() {
            let states: Vec<&State> = match &request {
                Request::Append(record) => vec![&record.state],
                Request::Rewrite(records) => records.iter().map(|record| &record.state).collect(),
                Request::Evidence { .. } | Request::Background(_) | Request::Close { .. } => Vec::new(),
            };
            for state in states {
                if let Some(rollout) = state.running() {
                    let highest = self.seen.highest_sent.entry(rollout.id.clone()).or_default();
                    *highest = state.weight_of(&rollout.canary).basis_points().max(*highest);
                }
            }
            self.queue.push_back(request);
        }
        self.core.show(self.now);
    }

    fn note_durable(&mut self, requests: &[Request], answer: &Answer) {
        let Answer::Journalled { through, .. } = answer else { return };
        for request in requests {
            let Request::Append(record) = request else { continue };
            if let Some(rollout) = record.state.rollout.as_ref().filter(|rollout| rollout.phase.has_ended())
                && record.seq <= *through
                && self.core.release("shop").unwrap().state().running().is_none_or(|now| now.id != rollout.id)
            {
                self.seen.ended_for_good.insert(rollout.id.clone());
            }
        }
    }

    /// The process ends without warning, and another begins.
    pub(crate) fn crash(&mut self, crash: Crash) {
        let before = self.core.release("shop").unwrap().state().clone();
        if crash == Crash::Kill {
            // What the journal's thread has in its hands is written or not; what waits in memory is lost.
            if self.random.bool() {
                let requests: Vec<Request> = self.queue.drain(..).collect();
                let answers = self.journal.commit(requests.clone());
                answers.iter().for_each(|answer| self.note_durable(&requests, answer));
            }
        } else {
            self.disk.lose_power();
        }
        self.queue.clear();
        self.busy = 0;
        self.reboot();
        let after = self.core.release("shop").unwrap().state().clone();
        if let Some(rollout) = after.running() {
            let highest = self.seen.highest_sent.get(&rollout.id).copied().unwrap_or_default();
            let weight = after.weight_of(&rollout.canary).basis_points();
            assert!(weight <= highest, "after a crash {weight} in force, at most {highest} was journalled");
        }
        let promoted = before.rollout.as_ref().filter(|rollout| {
            rollout.phase == Phase::Promoted
                && before.stable == rollout.canary
                && self.seen.ended_for_good.contains(&rollout.id)
                && rollout.reason.as_ref().is_none_or(|reason| !reason.starts_with("undone"))
        });
        // The file's own stable may have changed while no process ran, and then it wins.
        if let Some(promoted) = promoted.filter(|_| before.file.stable == after.file.stable) {
            assert_eq!(after.stable, promoted.canary, "a promotion that was visible is gone");
        }
    }

    pub(crate) fn crash_somehow(&mut self) {
        let crash = if self.random.bool() { Crash::Kill } else { Crash::PowerLoss };
        self.crash(crash);
    }

    fn reboot(&mut self) {
        // A process that could not write from its beginning to its end leaves no trace of its generations.
        if self.wrote_nothing {
            self.seen.split = None;
        }
        let seed = self.random.u64(..);
        let (_, replayed) = Journal::open(Disk::of(self.disk.clone().load().unwrap().unwrap_or_default())).unwrap();
        let journalled = replayed.records.get(&name("shop")).map(|record| record.state.clone());
        let (core, journal) = boot(&self.configuration, &self.disk, &self.traffic, seed, self.now);
        (self.core, self.journal) = (core, journal);
        self.check_reboot(journalled.as_ref());
        self.wrote_nothing = self.core.snapshot().load().journal_problem.is_some();
        self.note_sent();
        self.check();
        self.settle();
    }

    /// An orderly end is asked for, and the disk takes its time.
    pub(crate) fn begin_stop(&mut self) -> oneshot::Receiver<()> {
        self.hangs = true;
        self.ask(|reply| Command::Stop { reply })
    }

    /// The disk finishes the end that was asked for, and another process begins.
    pub(crate) fn finish_stop(&mut self) {
        self.hangs = false;
        self.settle_all();
        assert!(self.core.closed());
        self.queue.clear();
        self.reboot();
    }

    /// An orderly end, and another process.
    pub(crate) fn restart(&mut self) {
        let (reply, mut answer) = oneshot::channel();
        self.core.handle(self.now, Command::Stop { reply });
        self.settle_all();
        assert_eq!(answer.try_recv(), Ok(()), "a stop is answered when everything is on disk");
        self.queue.clear();
        self.reboot();
    }

    /// The disk finishes whatever it was asked.
    pub(crate) fn settle_all(&mut self) {
        let delay = std::mem::take(&mut self.disk_delay);
        self.busy = 0;
        self.settle();
        self.disk_delay = delay;
    }

    fn ask<T>(&mut self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> oneshot::Receiver<T> {
        let (reply, answer) = oneshot::channel();
        self.core.handle(self.now, command(reply));
        self.settle();
        answer
    }

    pub(crate) fn start(&mut self, canary: &str) -> oneshot::Receiver<Result<RolloutView, Refused>> {
        let (service, canary) = (name("shop"), name(canary));
        self.ask(|reply| Command::Start { service, canary, plan: None, reason: None, idempotency_key: None, reply })
    }

    pub(crate) fn act(&mut self, action: Action) -> oneshot::Receiver<Result<RolloutView, Refused>> {
        self.ask(|reply| Command::Act { service: name("shop"), action, reason: None, reply })
    }

    pub(crate) fn set_weight(
        &mut self,
        version: Option<&str>,
        weight: u16,
        if_generation: Option<u64>,
    ) -> oneshot::Receiver<Result<ServiceView, Refused>> {
        let version = version.map(name);
        let weight = Weight::from_basis_points(weight).unwrap();
        self.ask(|reply| Command::SetWeight {
            service: name("shop"),
            version,
            weight,
            if_generation,
            reason: None,
            reply,
        })
    }

    pub(crate) fn reload(&mut self, configuration: &str) -> oneshot::Receiver<Result<Reloaded, Refused>> {
        self.ask(|reply| Command::Reload { resolved: resolved(configuration), reply })
    }

    /// The name of this endpoint has so many addresses from here on.
    pub(crate) fn resolves(&mut self, endpoint: &str, addresses: u8) {
        let found = (1..=addresses).map(|last| ([10, 0, 0, last], 1).into()).collect();
        let changed = [(endpoint.parse().unwrap(), found)].into();
        self.ask(|reply| Command::Readdress { changed, reply });
    }

    /// The file that the next process reads.
    pub(crate) fn write_file(&mut self, configuration: &str) {
        configuration.clone_into(&mut self.configuration);
    }

    pub(crate) fn rollout(&self) -> Option<RolloutView> {
        self.view().rollout
    }

    /// How many events of this process begin with these words.
    pub(crate) fn told(&self, words: &str) -> usize {
        let (told, _) = self.core.events().follow(None);
        told.iter().filter(|event| event.text.starts_with(words)).count()
    }

    pub(crate) fn view(&self) -> ServiceView {
        self.core.snapshot().load().services["shop"].view.clone()
    }

    pub(crate) fn phase(&self) -> Option<Phase> {
        self.core.release("shop").unwrap().phase()
    }

    pub(crate) fn weight(&self) -> u16 {
        let split = self.traffic.split(&name("shop")).unwrap();
        split.canary.map_or(0, |(_, weight)| weight.basis_points())
    }

    pub(crate) fn stable(&self) -> String {
        self.traffic.split(&name("shop")).unwrap().stable.to_string()
    }
}

/// What was answered; none while it waits.
pub(crate) fn answered<T>(answer: &mut oneshot::Receiver<T>) -> Option<T> {
    match answer.try_recv() {
        Ok(answer) => Some(answer),
        Err(TryRecvError::Empty) => None,
        Err(TryRecvError::Closed) => panic!("an asker was forgotten"),
    }
}

fn resolved(configuration: &str) -> Resolved {
    let configuration = config::parse(configuration, "simulation.yaml").unwrap().configuration;
    let endpoints = configuration.services.iter().flat_map(|service| &service.versions).flat_map(|of| &of.endpoints);
    let one: Arc<[SocketAddr]> = Arc::from([([10, 0, 0, 1], 1).into()]);
    let addresses = endpoints.map(|endpoint| (endpoint.clone(), Arc::clone(&one))).collect();
    Resolved { configuration: Arc::new(configuration), addresses, notes: Vec::new() }
}

fn boot(configuration: &str, disk: &Disk, traffic: &Traffic, seed: u64, now: Now) -> (ControlCore, Journal<Disk>) {
    let (mut journal, mut replayed) = Journal::open(disk.clone()).unwrap();
    let evidence = Evidence::load(&mut journal, &mut replayed.warnings);
    let (plane, resolved) = (Box::new(traffic.clone()), resolved(configuration));
    let core = ControlCore::new(plane, resolved, replayed, evidence, Recording::default(), seed, now);
    (core, journal)
}
