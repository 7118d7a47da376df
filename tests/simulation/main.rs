//! Whole rollouts in milliseconds: state machine, judge and journal under a virtual clock, with seeds and no sockets.
//!
//! A failure prints the command that runs the same seed again.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod crashes;
mod disk;
mod disks;
mod judgements;
mod leaving;
mod matching;
mod names;
mod reloads;
mod rollouts;
mod storms;
mod traffic;
mod world;

/// Three short steps under the default gates.
const SHOP: &str = "services: { shop: { stable: v1, \
    versions: { v1: { endpoints: ['a:1'] }, v2: { endpoints: ['b:1'] }, v3: { endpoints: ['c:1'] } }, \
    plan: { warmup: 1s, steps: [{ weight: 5%, hold: 5s }, { weight: 20%, hold: 5s }, { weight: 50%, hold: 5s }] } } }";

/// Runs a simulation under so many seeds, or under the one that `TIDEGATE_SEED` names.
fn with_seeds(test: &str, seeds: u64, simulation: impl Fn(u64)) {
    let one = std::env::var("TIDEGATE_SEED").ok().map(|seed| seed.parse().expect("TIDEGATE_SEED is a number"));
    for seed in one.map_or(0..seeds, |seed| seed..seed + 1) {
        let _replay = Replay { test, seed };
        simulation(seed);
    }
}

/// Says how to run a failed seed again.
struct Replay<'a> {
    test: &'a str,
    seed: u64,
}

impl Drop for Replay<'_> {
    #[expect(clippy::print_stderr, reason = "a failing test talks to whoever runs it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { test, seed } = self;
            eprintln!("replay: TIDEGATE_SEED={seed} cargo test --test simulation {test}");
        }
    }
}
