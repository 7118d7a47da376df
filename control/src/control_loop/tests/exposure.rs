//! Requests in flight that say nothing of what is judged now (after a lower weight, and after a restart), and files that
//! the disk refused.

use super::*;
use crate::journal::{Answer, Record, Replayed};
use crate::judge::Judge;

/// A loop without threads, whose disk takes everything at once.
pub(super) struct Core {
    pub(super) core: ControlCore,
    pub(super) plane: Quiet,
    now: Now,
}

impl Core {
    fn new(replayed: Replayed, evidence: Evidence, now: Now) -> Self {
        Self::of(TWO_VERSIONS, replayed, evidence, now)
    }

    fn of(text: &str, replayed: Replayed, evidence: Evidence, now: Now) -> Self {
        let plane = Quiet::default();
        let resolved = resolved(text);
        let recording = Recording::default();
        let core = ControlCore::new(Box::new(plane.clone()), resolved, replayed, evidence, recording, 1, now);
        Self { core, plane, now }
    }

    fn fresh() -> Self {
        let now = Now { elapsed: Duration::ZERO, wall: Timestamp::from_second(1_795_305_600).unwrap() };
        Self::new(Replayed::default(), Evidence::default(), now)
    }

    /// A service of this configuration, and the first rollout of its v2.
    pub(super) fn rolling_out(text: &str) -> Self {
        let now = Now { elapsed: Duration::ZERO, wall: Timestamp::from_second(1_795_305_600).unwrap() };
        let mut world = Self::of(text, Replayed::default(), Evidence::default(), now);
        world.start();
        world
    }

    fn in_a_rollout() -> Self {
        let mut world = Self::fresh();
        world.start();
        world
    }

    pub(super) fn start(&mut self) {
        let (reply, _) = oneshot::channel();
        let (service, canary) = (name("shop"), name("v2"));
        self.handle(Command::Start { service, canary, plan: None, reason: None, idempotency_key: None, reply });
    }

    pub(super) fn handle(&mut self, command: Command) {
        self.core.handle(self.now, command);
        self.take_to_disk();
    }

    pub(super) fn set_weight(&mut self, basis_points: u16) {
        let (reply, _) = oneshot::channel();
        let weight = Weight::from_basis_points(basis_points).unwrap();
        let (version, if_generation, reason) = (None, None, None);
        self.handle(Command::SetWeight { service: name("shop"), version, weight, if_generation, reason, reply });
    }

    pub(super) fn seconds(&mut self, seconds: u32) {
        for _ in 0..seconds * 10 {
            self.now = Now { elapsed: self.now.elapsed + TICK, wall: self.now.wall + TICK };
            self.core.tick(self.now);
        }
    }

    /// Seconds in which the disk takes everything at once.
    pub(super) fn go_on(&mut self, seconds: u32) {
        for _ in 0..seconds * 10 {
            self.now = Now { elapsed: self.now.elapsed + TICK, wall: self.now.wall + TICK };
            self.core.tick(self.now);
            self.take_to_disk();
            self.core.show(self.now);
        }
    }

    fn take_to_disk(&mut self) {
        for request in self.core.take_requests() {
            if let Request::Append(record) = request {
                self.core.handle(self.now, Command::Journal(Answer::Journalled { through: record.seq, size: 0 }));
            }
        }
    }

    /// Whether a file of what is known of stable traffic was asked for since the last time.
    fn saves_background(&mut self) -> bool {
        self.core.take_requests().iter().any(|request| matches!(request, Request::Background(_)))
    }

    fn exposures(&self) -> Vec<String> {
        std::mem::take(&mut *self.plane.exposures.lock())
    }

    fn judge(&self) -> &Judge {
        self.core.services["shop"].judged.as_ref().unwrap().judge()
    }
}

#[test]
fn a_lower_weight_leaves_what_is_in_flight_unjudged_and_a_higher_one_does_not() {
    let mut world = Core::in_a_rollout();
    assert_eq!(world.exposures(), ["v1", "v2"], "a rollout begins");
    world.set_weight(3_000);
    assert_eq!(world.exposures(), Vec::<String>::new());
    world.set_weight(1_000);
    assert_eq!(world.exposures(), ["v1", "v2"]);
}

#[test]
fn tests_that_go_on_in_another_process_settle_first() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = Core::in_a_rollout();
    world.seconds(40);
    let (before, state) = (world.judge().clone(), world.core.release("shop").unwrap().state().clone());
    let bytes = world.core.saved_whole(world.now).0;
    std::fs::write(directory.path().join("evidence.json"), bytes).unwrap();
    let (mut journal, mut replayed) = Journal::open(Files::new(directory.path().to_owned())).unwrap();
    let record = Record { seq: 1, at: world.now.wall, service: name("shop"), cause: String::new(), state };
    replayed.records.insert(name("shop"), record);
    let evidence = Evidence::load(&mut journal, &mut Vec::new());

    let again = Core::new(replayed, evidence, world.now);

    let mut settled = before.clone();
    settled.settle();
    assert_ne!(settled, before);
    assert_eq!(again.judge(), &settled);
}

#[test]
fn a_file_that_the_disk_refused_is_written_again_though_nothing_changes() {
    let mut world = Core::fresh();
    world.seconds(2);
    assert!(world.saves_background());
    // From here on the tests of the rollout have what is known, and this file stays as it is.
    world.start();
    world.seconds(120);
    assert!(!world.saves_background());
    world.handle(Command::Journal(Answer::BackgroundNotSaved { problem: "full".to_owned() }));
    world.seconds(61);
    assert!(world.saves_background());
}
