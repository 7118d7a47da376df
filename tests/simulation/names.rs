//! Endpoints by name, whose addresses come and go.

use control::view::Phase;

use crate::traffic::Manner;
use crate::with_seeds;
use crate::world::World;

const SHOP: &str = "services: { shop: { stable: v1, \
    versions: { v1: { endpoints: ['a:1'] }, v2: { endpoints: ['b:1'] } }, \
    plan: { warmup: 10s, steps: [{ weight: 20%, hold: 40s }, { weight: 50%, hold: 40s }] } } }";

fn reason(world: &World) -> String {
    world.rollout().and_then(|rollout| rollout.reason).unwrap_or_default()
}

/// For two minutes the canary has now one, now two addresses.
fn flap(world: &mut World) {
    for addresses in [1, 2].into_iter().cycle().take(60) {
        world.resolves("b:1", addresses);
        world.run(2);
    }
}

#[test]
fn a_slow_canary_whose_addresses_come_and_go_for_ever_is_taken_back() {
    with_seeds("a_slow_canary_whose_addresses_come_and_go_for_ever_is_taken_back", 5, |seed| {
        let mut world = World::new(seed, SHOP, 1_000);
        world.traffic.answers("v2", Manner::SLOW);
        world.start("v2");
        flap(&mut world);
        assert_eq!(world.phase(), Some(Phase::RolledBack), "{}", reason(&world));
        assert!(reason(&world).starts_with("latency: "), "{}", reason(&world));
    });
}

#[test]
fn no_step_ends_while_the_gates_warm_up_again() {
    let mut world = World::new(1, SHOP, 1_000);
    world.resolves("b:1", 1);
    world.start("v2");
    world.run(38);
    world.resolves("b:1", 2);
    world.run(4);
    let rollout = world.rollout().unwrap();
    assert_eq!((rollout.step, rollout.phase), (1, Phase::Progressing));
    assert!(
        reason(&world).starts_with("waiting for v2 to warm up: its latencies are compared in "),
        "{}",
        reason(&world)
    );
    let waited = world.run_until(20, |world| world.rollout().unwrap().step == 2).expect("it goes on when it is warm");
    assert!((4.0..9.0).contains(&waited), "{waited} s");
}
