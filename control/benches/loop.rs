//! What the control loop costs with a thousand services under rollout: a tick is a tenth of a second of traffic for
//! each of them, folded into the default gates and recorded, and once in ten what people see and what is saved.
//!
//! A second is ten ticks: 150 ms for them are 15 % of one core. The times are of the control loop's thread alone, by the
//! clock; what it and the thread that writes the records took of a processor is printed beside them (Linux), which
//! others on the same machine disturb less.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use config::Name;
use control::command::Command;
use control::control_loop::{ControlCore, Evidence, Now, Recording, TICK};
use control::journal::{Answer, Replayed, Request};
use control::plane::{DataPlane, EndpointState, Resolved, Split};
use divan::Bencher;
use jiff::Timestamp;
use meter::{Class, GroupCounts, Tally, Window};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// As in the executable.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SERVICES: usize = 1_000;
/// So few bytes of records may wait for the disk when a second begins: as many as make the writing thread hurry.
const WRITTEN: usize = 8 << 20;
/// Seconds that are measured.
const SECONDS: u32 = 20;

fn main() {
    divan::main();
}

/// A data plane that gives every version the same window at each tick, and nothing else.
#[derive(Debug)]
struct Steady {
    stable: Window,
    canary: Window,
}

impl Steady {
    fn new(requests_a_tick: u64) -> Self {
        let canary = window(requests_a_tick / 20);
        Self { stable: window(requests_a_tick - requests_a_tick / 20), canary }
    }

    fn of(&self, version: &Name) -> &Window {
        if version.as_str() == "v1" { &self.stable } else { &self.canary }
    }
}

/// A tick of 100 ms: latencies from 5 to 50 ms, one failure in a thousand, in 16 groups and 4 endpoints.
fn window(requests: u64) -> Window {
    let mut window = Window::default();
    for request in 0..requests {
        let bad = request % 1_000 == 999;
        let class = if bad { Class::ServerError } else { Class::Success };
        window.judged[class as usize] += 1;
        let us = 5_000 + request * 7_919 % 45_000;
        let latencies = if bad { &mut window.latency_bad } else { &mut window.latency_good };
        latencies.record_us(us);
        window.duration.record_us(us);
        let count = |group: &mut GroupCounts| {
            group.requests += 1;
            group.timed += 1;
            group.bad += u64::from(bad);
            group.over[0] += u64::from(us > 27_000);
            group.over[1] += u64::from(us > 47_000);
        };
        count(&mut window.groups[(request % 16) as usize]);
        count(&mut window.endpoints[(request % 4) as usize]);
    }
    (window.drawn.all, window.drawn.at_random, window.drawn.ended) = (requests, requests, requests);
    window
}

impl DataPlane for Steady {
    fn install(&mut self, _: &Resolved, _: &HashMap<Name, Split>) {}

    fn steer(&mut self, _: &Name, _: &Split) {}

    fn begin_exposure(&mut self, _: &Name, _: &Name) {}

    fn take(&mut self, _: &Name, version: &Name, window: &mut Window) {
        window.clear();
        window.merge(self.of(version));
    }

    fn take_slice(&mut self, _: &Name, window: &mut Window) {
        window.clear();
    }

    fn watch_latencies(&mut self, _: &Name, _: &Name, _: [u64; 2]) {}

    fn tally(&self, _: &Name, version: &Name, read: &mut dyn FnMut(&Tally)) {
        read(self.of(version));
    }

    fn responses(&self, _: Option<&Name>) -> [u64; Class::ALL.len()] {
        Default::default()
    }

    fn in_flight(&self, _: &Name, _: &Name) -> u64 {
        0
    }

    fn endpoints(&self, _: &Name, _: &Name) -> Vec<EndpointState> {
        Vec::new()
    }
}

/// A loop with its services, and the time.
struct World {
    core: ControlCore,
    now: Now,
    /// Where it records.
    _place: TempDir,
}

impl World {
    fn new(requests_a_tick: u64) -> Self {
        let services: String = (0..SERVICES)
            .map(|number| {
                format!(
                    "  s{number}: {{ hosts: [h{number}], stable: v1, versions: {{ v1: {{ endpoints: ['a:1', 'b:1', \
                     'c:1', 'd:1'] }}, v2: {{ endpoints: ['e:1'] }} }}, plan: {{ steps: [{{ weight: 5%, hold: 24h }}] \
                     }} }}\n"
                )
            })
            .collect();
        let configuration = config::parse(&format!("services:\n{services}"), "bench.yaml").expect("it is legal");
        let configuration = Arc::new(configuration.configuration);
        let resolved =
            Resolved { configuration: Arc::clone(&configuration), addresses: HashMap::new(), notes: Vec::new() };
        let now = Now { elapsed: Duration::ZERO, wall: Timestamp::UNIX_EPOCH };
        let plane = Box::new(Steady::new(requests_a_tick));
        let (replayed, evidence) = (Replayed::default(), Evidence::default());
        let place = tempfile::tempdir().expect("there is a folder for temporary files");
        let recording = Recording::start(place.path()).expect("the system gives a thread");
        let core = ControlCore::new(plane, resolved, replayed, evidence, recording, 1, now);
        let mut world = Self { core, now, _place: place };
        for service in &configuration.services {
            let (reply, _) = oneshot::channel();
            let canary = Name::new("v2").expect("it is a name");
            let start = Command::Start {
                service: service.name.clone(),
                canary,
                plan: None,
                reason: None,
                idempotency_key: None,
                reply,
            };
            world.core.handle(world.now, start);
            world.settle();
        }
        // Whatever is learnt first is learnt: edges, bursts, estimates.
        for _ in 0..70 {
            (0..10).for_each(|_| world.tick());
            world.wait_for_the_disk();
        }
        world
    }

    /// A second takes much less here than a second: the thread that writes the records is given the time that it has in
    /// truth, so that nothing is dropped.
    #[expect(clippy::disallowed_methods, reason = "a bench waits for a thread that tells nobody when it is done")]
    fn wait_for_the_disk(&self) {
        while self.core.unwritten() > WRITTEN {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn tick(&mut self) {
        self.now = Now { elapsed: self.now.elapsed + TICK, wall: self.now.wall + TICK };
        self.core.tick(self.now);
        self.settle();
    }

    /// A disk that takes everything at once. What is written is not part of the loop's thread.
    fn settle(&mut self) {
        for request in self.core.take_requests() {
            let answer = match request {
                Request::Append(record) => Answer::Journalled { through: record.seq, size: 0 },
                Request::Rewrite(_) => Answer::Rewritten { size: 0 },
                Request::Evidence { .. } | Request::Background(_) | Request::Close { .. } => continue,
            };
            self.core.handle(self.now, Command::Journal(answer));
        }
        self.core.show(self.now);
    }
}

/// A second of ticks, so that what is done once a second has its part; the figure is for ten ticks.
#[divan::bench(args = [0, 20, 100], sample_count = SECONDS, sample_size = 1)]
fn ten_ticks_of_a_thousand_rollouts(bencher: Bencher<'_, '_>, requests_a_tick: u64) {
    let world = RefCell::new(World::new(requests_a_tick));
    let before = processor_times();
    bencher
        .with_inputs(|| world.borrow().wait_for_the_disk())
        .bench_local_values(|()| (0..10).for_each(|_| world.borrow_mut().tick()));
    say_processor_times(&before);
}

/// How long this process's threads have run on a processor, in nanoseconds, by their names. Empty where the system does
/// not say.
fn processor_times() -> BTreeMap<String, u64> {
    let mut times = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let nanoseconds: u64 = read("schedstat").split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0);
        *times.entry(read("comm").trim().to_owned()).or_default() += nanoseconds;
    }
    times
}

#[expect(clippy::print_stderr, reason = "a bench prints what it measured")]
fn say_processor_times(before: &BTreeMap<String, u64>) {
    for (thread, now) in processor_times() {
        let spent = now.saturating_sub(before.get(&thread).copied().unwrap_or(0));
        let of_a_second = Duration::from_nanos(spent / u64::from(SECONDS));
        if of_a_second > Duration::from_millis(1) {
            eprintln!("   processor time of a second, thread {thread}: {of_a_second:.1?}");
        }
    }
}
