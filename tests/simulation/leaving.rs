//! Clients that leave before they have their whole answer.

use control::command::Action;
use control::view::Phase;
use meter::Class;

use crate::traffic::Manner;
use crate::world::World;
use crate::{SHOP, with_seeds};

const DRIPPING: Manner = Manner { errors: 0.98, failure: Class::ClientAbort, ..Manner::GOOD };

#[test]
fn a_canary_that_keeps_its_clients_waiting_is_paused_and_never_promoted() {
    with_seeds("a_canary_that_keeps_its_clients_waiting_is_paused_and_never_promoted", 10, |seed| {
        let mut world = World::new(seed, SHOP, 100);
        world.traffic.answers("v2", DRIPPING);
        world.start("v2");
        world.run_until(120, |world| world.phase() == Some(Phase::Paused)).expect("it is paused");
        let rollout = world.rollout().unwrap();
        let reason = rollout.reason.unwrap();
        assert!(reason.starts_with("clients: clients left ") && reason.contains(" of v2's requests"), "{reason}");
        assert_eq!(rollout.step, 1, "{reason}");
        world.act(Action::Resume);
        world.run_until(120, |world| world.phase() == Some(Phase::Paused)).expect("it is paused again");
        assert_eq!(world.stable(), "v1");
    });
}

#[test]
fn clients_that_leave_both_versions_hold_nobody_up() {
    with_seeds("clients_that_leave_both_versions_hold_nobody_up", 10, |seed| {
        let mut world = World::new(seed, SHOP, 500);
        for version in ["v1", "v2"] {
            world.traffic.answers(version, Manner { errors: 0.05, ..DRIPPING });
        }
        world.start("v2");
        world.run_until(120, |world| world.phase() == Some(Phase::Promoted)).expect("it is promoted");
    });
}
