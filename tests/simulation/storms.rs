//! Commands, crashes, reloads and disk faults in any order. The world checks its invariants after every step.

use control::command::Action;
use control::rollout::FileValues;

use crate::disk::Mood;
use crate::traffic::Manner;
use crate::world::World;
use crate::{SHOP, with_seeds};

/// The file in the course of a storm: other canaries, weights, stables, plans.
const FILES: [&str; 5] = [
    "stable: v1",
    "stable: v1, canary: v2, weight: 10%",
    "stable: v1, canary: v3, weight: 30%",
    "stable: v2",
    "stable: v2, canary: v1, weight: 1%",
];

/// What a storm's plan says beside its weights, and before them.
const PLANS: [(&str, &str); 8] = [
    ("", ""),
    ("baseline: equal,", ""),
    ("baseline: v4,", ""),
    ("dry_run: true,", ""),
    ("advance: proof, warmup: 0s,", ""),
    ("min_requests: 1,", ""),
    ("", "{ match: { x-beta: '1' }, hold: 2s },"),
    ("baseline: equal,", "{ match: { x-beta: '1' }, hold: 1s }, { match: { x-team: '*' }, hold: 1s, judged: false },"),
];

fn file((beside, before): (&str, &str), which: usize) -> String {
    SHOP.replace("stable: v1", FILES[which])
        .replace("v3: {", "v4: { endpoints: ['d:1'] }, v3: {")
        .replace("plan: { steps: [", &format!("plan: {{ {beside} steps: [{before}"))
}

/// The file that says what was last taken over.
fn file_with(plan: (&str, &str), values: &FileValues) -> String {
    let says = |text: &String| {
        let service = config::parse(text, "storm.yaml").unwrap().configuration.services.remove(0);
        FileValues::of(&service) == *values
    };
    (0..FILES.len()).map(|which| file(plan, which)).find(says).expect("only these files were ever read")
}

#[test]
fn no_storm_of_commands_breaks_an_invariant() {
    with_seeds("no_storm_of_commands_breaks_an_invariant", 60, |seed| {
        let plan = PLANS[usize::try_from(seed).unwrap() % PLANS.len()];
        let mut world = World::new(seed, &file(plan, 0), 100);
        world.disk_delay = world.random.u32(..5);
        world.traffic.matches(0.05);
        let mut replies = Vec::new();
        for _ in 0..400 {
            storm(&mut world, plan, &mut replies);
        }
        // When the storm is over, the disk agrees with what is in force.
        world.disk.set_mood(Mood::Fine);
        world.disk_delay = 0;
        world.settle_all();
        world.run(10);
        let forgotten = replies.iter_mut().map(|answered| answered()).filter(|answered| !answered).count();
        assert_eq!(forgotten, 0, "askers without an answer");
        let before = world.core.release("shop").unwrap().state().clone();
        world.write_file(&file_with(plan, &before.file));
        world.restart();
        let after = world.core.release("shop").unwrap().state().clone();
        assert_eq!((before.stable, before.canary), (after.stable, after.canary));
        assert_eq!(before.rollout.map(|rollout| rollout.id), after.rollout.map(|rollout| rollout.id));
    });
}

/// Whether an asker has its answer, or its process is gone.
type Answered = Box<dyn FnMut() -> bool>;

fn answered<T: 'static>(mut receiver: tokio::sync::oneshot::Receiver<T>) -> Answered {
    let mut done = false;
    Box::new(move || {
        done |= !matches!(receiver.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Empty));
        done
    })
}

fn storm(world: &mut World, plan: (&str, &str), replies: &mut Vec<Answered>) {
    let version = ["v1", "v2", "v3", "v4", "v9"][world.random.usize(..5)];
    match world.random.u32(..24) {
        0..=7 => (0..world.random.u32(..20)).for_each(|_| world.tick()),
        8..=10 => replies.push(answered(world.start(version))),
        11..=16 => {
            let action = Action::ALL[world.random.usize(..Action::ALL.len())];
            replies.push(answered(world.act(action)));
        }
        17 | 18 => {
            let version = world.random.bool().then_some(version);
            let weight = [0, 1, 100, 5_000, 10_000][world.random.usize(..5)];
            let generation = world.random.bool().then(|| world.view().generation + world.random.u64(..2));
            replies.push(answered(world.set_weight(version, weight, generation)));
        }
        19 => {
            let file = file(plan, world.random.usize(..FILES.len()));
            replies.push(answered(world.reload(&file)));
        }
        20 => {
            let mood = [Mood::Fine, Mood::Fine, Mood::Full, Mood::Flaky][world.random.usize(..4)];
            world.disk.set_mood(mood);
        }
        21 => {
            let manner = [Manner::GOOD, Manner::GOOD, Manner::BAD, Manner::SICKLY][world.random.usize(..4)];
            world.traffic.answers(["v1", "v2", "v3"][world.random.usize(..3)], manner);
        }
        22 => {
            let which = world.random.usize(..FILES.len());
            world.write_file(&file(plan, which));
        }
        _ => world.crash_somehow(),
    }
}
