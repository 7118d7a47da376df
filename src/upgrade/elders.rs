//! The new process's side after it has taken over: the old processes that still drain. They are told what is decided, and
//! tell what they still have. An old process that is itself replaced leaves those before it to its successor, so that who
//! decides is one step away from each.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use config::{Name, Service};
use control::plane::Split;
use control::process::{PredecessorView, Process, VersionLeft};
use parking_lot::{Condvar, Mutex};
use tracing::info;

use super::course::{Courses, Left};
use super::now;
use super::wire::{Broken, Message, Wire};

/// How often it is looked whether they said anything. What is decided is told at once.
const LOOK: Duration = Duration::from_millis(200);
/// How often people see what they said.
const SHOW: Duration = Duration::from_secs(1);
/// More of them are not followed: nobody upgrades so often while so much drains.
pub(super) const MOST: usize = 64;
/// So much is heard of one in a row.
const MOST_IN_A_ROW: usize = 8;

/// The old processes that still drain. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Elders(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Something was decided, or it is over.
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    elders: Vec<Elder>,
    courses: Courses,
    /// How many exchanges that last were ended there, since this process began.
    ended: HashMap<(String, String), u64>,
}

#[derive(Debug)]
struct Elder {
    pid: u32,
    wire: Wire,
    /// How many changes it was told of.
    told: u64,
    /// What it said last, and when the rest is cut.
    left: Option<(Left, Instant)>,
    /// What it said of those that were ended.
    ended: HashMap<(String, String), u64>,
}

impl Elders {
    /// Those at the other ends.
    pub(super) fn at(wires: impl IntoIterator<Item = Wire>) -> Self {
        let elder = |wire: Wire| {
            let (pid, _) = wire.peer().ok()?;
            let pid = u32::try_from(pid).ok()?;
            Some(Elder { pid, wire, told: 0, left: None, ended: HashMap::new() })
        };
        let elders = wires.into_iter().filter_map(elder).take(MOST).collect();
        let state = State { elders, ..State::default() };
        Self(Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new() }))
    }

    /// Tells them and hears them from now on, and shows what they say. To be called once this process serves.
    pub(crate) fn begin(&self, process: Process) {
        if self.0.state.lock().elders.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.0);
        // Without a thread they drain with the split that they have.
        let _ = thread::Builder::new().name("tidegate-elders".to_owned()).spawn(move || shared.run(&process));
    }

    /// A configuration is in force.
    pub(crate) fn install(&self, services: &[Service], splits: &HashMap<Name, Split>) {
        self.decide(|courses| courses.install(services, splits));
    }

    /// A split is in force.
    pub(crate) fn steer(&self, service: &Name, split: &Split) {
        self.decide(|courses| courses.steer(service, split));
    }

    /// The time of a version that has left is over.
    pub(crate) fn end_lasting(&self, service: &Name, version: &Name) {
        self.decide(|courses| courses.end(service, version));
    }

    /// Exchanges that last at this version, in all of them.
    pub(crate) fn lasting(&self, service: &Name, version: &Name) -> u64 {
        let state = self.0.state.lock();
        let versions = state.elders.iter().filter_map(|elder| elder.left.as_ref()).flat_map(|(left, _)| &left.versions);
        let there = versions.filter(|there| there.service == service.as_str() && there.version == version.as_str());
        there.fold(0, |sum, there| sum.saturating_add(there.lasting))
    }

    /// How many of them were ended by us and are over, since this process began.
    pub(crate) fn ended_lasting(&self, service: &Name, version: &Name) -> u64 {
        let state = self.0.state.lock();
        if state.ended.is_empty() {
            return 0;
        }
        state.ended.get(&(service.to_string(), version.to_string())).copied().unwrap_or(0)
    }

    /// The connections to them, for the process that takes over from this one. This one goes on until it [leaves](Self::leave).
    pub(crate) fn hand_over(&self) -> Vec<OwnedFd> {
        self.0.state.lock().elders.iter().filter_map(|elder| elder.wire.try_clone().ok()).collect()
    }

    /// Another process decides from now on, or nobody does.
    pub(crate) fn leave(&self) {
        *self.0.state.lock() = State::default();
        self.0.wake.notify_all();
    }

    fn decide(&self, decide: impl FnOnce(&mut Courses)) {
        let mut state = self.0.state.lock();
        if state.elders.is_empty() {
            return;
        }
        decide(&mut state.courses);
        drop(state);
        self.0.wake.notify_all();
    }
}

impl Shared {
    fn run(&self, process: &Process) {
        let (mut shown, mut state) = (None::<Instant>, self.state.lock());
        while !state.elders.is_empty() {
            let now = now();
            let has_changed = state.turn(now);
            if has_changed || shown.is_none_or(|shown| now >= shown + SHOW) {
                process.succeeds(state.views(now));
                shown = Some(now);
            }
            if !state.elders.is_empty() {
                self.wake.wait_for(&mut state, LOOK);
            }
        }
        // What they ended stays counted.
        state.courses = Courses::default();
        drop(state);
        process.succeeds(Vec::new());
    }
}

impl State {
    /// Hears and tells each of them, and forgets those that are gone. Whether any is gone, or said something first.
    fn turn(&mut self, now: Instant) -> bool {
        let Self { elders, courses, ended } = self;
        let before = elders.len();
        let mut is_new = false;
        elders.retain_mut(|elder| {
            let had_spoken = elder.left.is_some();
            let is_there = elder.hear(ended, now).and_then(|()| elder.tell(courses)).is_ok();
            is_new |= !had_spoken && elder.left.is_some();
            if !is_there {
                info!(pid = elder.pid, "upgrade: the old process is gone");
            }
            is_there
        });
        is_new || elders.len() < before
    }

    fn views(&self, now: Instant) -> Vec<PredecessorView> {
        let view = |elder: &Elder| {
            let (left, until) = elder.left.as_ref()?;
            let mut requests: BTreeMap<String, BTreeMap<String, VersionLeft>> = BTreeMap::new();
            for there in left.versions.iter().filter(|there| there.in_flight + there.lasting > 0) {
                let of_version = VersionLeft { in_flight: there.in_flight, long_lived: there.lasting };
                requests.entry(there.service.clone()).or_default().insert(there.version.clone(), of_version);
            }
            Some(PredecessorView {
                pid: elder.pid,
                connections: left.connections,
                in_flight: left.in_flight,
                requests,
                left_s: until.saturating_duration_since(now).as_secs_f64(),
            })
        };
        self.elders.iter().filter_map(view).collect()
    }
}

impl Elder {
    fn hear(&mut self, ended: &mut HashMap<(String, String), u64>, now: Instant) -> Result<(), Broken> {
        for _ in 0..MOST_IN_A_ROW {
            match self.wire.try_hear() {
                Ok(Some((Message::Left(left), _))) => {
                    for there in &left.versions {
                        let version = (there.service.clone(), there.version.clone());
                        // Those from before this process took over are the old one's.
                        let known = if self.left.is_none() { there.ended } else { 0 };
                        let before = mem::replace(self.ended.entry(version.clone()).or_insert(known), there.ended);
                        let ended = ended.entry(version).or_default();
                        *ended = ended.saturating_add(there.ended.saturating_sub(before));
                    }
                    let until = now + Duration::from_millis(left.left_ms.min(u64::from(u32::MAX)));
                    self.left = Some((left, until));
                }
                // Another version may say more than this one understands.
                Ok(Some(_)) | Err(Broken::Strange) => {}
                Ok(None) => return Ok(()),
                Err(broken) => return Err(broken),
            }
        }
        Ok(())
    }

    fn tell(&mut self, courses: &Courses) -> Result<(), Broken> {
        for (change, course) in courses.since(self.told) {
            match self.wire.try_say(&Message::Course(course)) {
                Ok(true) => self.told = change,
                // It takes nothing just now.
                Ok(false) => return Ok(()),
                Err(Broken::Gone) => return Err(Broken::Gone),
                // One that does not fit would never.
                Err(Broken::Lost(_) | Broken::Strange) => self.told = change,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::course::There;
    use super::super::wire::tests::pair;
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn services() -> Vec<Service> {
        let text =
            "services: { shop: { stable: v1, versions: { v1: { endpoints: ['a:1'] }, v2: { endpoints: ['b:1'] } } } }";
        config::parse(text, "test.yaml").unwrap().configuration.services
    }

    fn split(canary: Option<u16>) -> Split {
        let weight = |basis_points| config::Weight::from_basis_points(basis_points).unwrap();
        Split {
            stable: name("v1"),
            canary: canary.map(|basis_points| (name("v2"), weight(basis_points))),
            baseline: None,
            matched: None,
            mirror: None,
            paths: Arc::default(),
            generation: 1,
        }
    }

    fn left(lasting: u64, ended: u64) -> Message {
        let there = There { service: "shop".into(), version: "v2".into(), in_flight: lasting, lasting, ended };
        Message::Left(Left::new(lasting, 60_000, vec![there]))
    }

    /// What the old process hears of `shop`, as far as it was told.
    fn heard(old: &Wire) -> Vec<Split> {
        let mut heard = Vec::new();
        while let Some((message, _)) = old.try_hear().unwrap() {
            let Message::Course(course) = message else { panic!("{message:?}") };
            heard.extend(course.split().map(|(_, split)| split));
        }
        heard
    }

    fn turn(elders: &Elders) -> Vec<PredecessorView> {
        let (mut state, now) = (elders.0.state.lock(), now());
        state.turn(now);
        state.views(now)
    }

    #[test]
    fn each_old_process_is_told_what_is_decided_and_who_comes_later_hears_all_of_it() {
        let ((old, new), (other, its)) = (pair(), pair());
        let first = Elders::at([new]);
        first.install(&services(), &[(name("shop"), split(Some(500)))].into());
        turn(&first);
        assert_eq!(heard(&old), [split(Some(500))]);
        first.steer(&name("shop"), &split(Some(0)));
        turn(&first);
        turn(&first);
        assert_eq!(heard(&old), [split(Some(0))]);

        // The next process has both, and the one in between has none.
        let handed = first.hand_over().into_iter().map(|wire| Wire::new(wire).unwrap());
        let second = Elders::at(handed.chain([its]));
        first.leave();
        first.steer(&name("shop"), &split(Some(9_000)));
        second.install(&services(), &[(name("shop"), split(None))].into());
        assert_eq!((turn(&first).len(), heard(&old).len()), (0, 0));
        turn(&second);
        assert_eq!((heard(&old), heard(&other)), (vec![split(None)], vec![split(None)]));
    }

    #[test]
    fn what_old_processes_have_is_shown_and_counted_until_they_are_gone() {
        let ((old, new), (other, its)) = (pair(), pair());
        let elders = Elders::at([new, its]);
        assert_eq!(turn(&elders), []);
        old.say(&left(3, 5)).unwrap();
        other.say(&left(1, 0)).unwrap();
        let views = turn(&elders);
        assert_eq!((views.len(), views[0].connections, views[0].requests["shop"]["v2"].long_lived), (2, 3, 3));
        assert!(views[0].left_s > 50.0 && views[0].pid == std::process::id());
        let lasting = || elders.lasting(&name("shop"), &name("v2"));
        let ended = || elders.ended_lasting(&name("shop"), &name("v2"));
        // What was ended before is the old one's.
        assert_eq!((lasting(), ended()), (4, 0));
        old.say(&left(1, 7)).unwrap();
        turn(&elders);
        assert_eq!((lasting(), ended()), (2, 2));
        old.say(&left(0, 8)).unwrap();
        drop(old);
        assert_eq!(turn(&elders).len(), 1);
        assert_eq!((lasting(), ended()), (1, 3));
        drop(other);
        assert_eq!((turn(&elders).len(), lasting(), ended()), (0, 0, 3));
    }

    #[test]
    fn an_old_process_that_takes_nothing_holds_up_nobody_and_hears_the_last_word_once_it_does() {
        let (old, new) = pair();
        let elders = Elders::at([new]);
        elders.install(&services(), &[(name("shop"), split(None))].into());
        let mut last = 0;
        for weight in (0..=10_000).cycle().take(20_000) {
            elders.steer(&name("shop"), &split(Some(weight)));
            turn(&elders);
            last = weight;
        }
        let mut said = Vec::new();
        while said.last() != Some(&split(Some(last))) {
            said.extend(heard(&old));
            turn(&elders);
        }
        assert!(said.len() < 20_000, "the socket took all of them");
    }
}
