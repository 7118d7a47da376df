//! Canaries that are not ready for users, or for more of them.

use super::*;
use crate::plane::{EndpointHealth, EndpointState};

fn endpoint(health: EndpointHealth) -> EndpointState {
    let is_well = health == EndpointHealth::Well;
    EndpointState {
        endpoint: configuration(VERSIONS_OF_SHOP).services[0].versions[0].endpoints[0].clone(),
        resolved: None,
        health,
        reason: (!is_well).then(|| format!("it is {}", health.word())),
        since: None,
        next_try: None,
        share: 1.0,
        in_flight: 0,
    }
}

const VERSIONS_OF_SHOP: &str = "stable: v1, versions: { v1: { endpoints: ['a:1'] } }";

fn among(endpoints: &[EndpointHealth]) -> Option<Unwell> {
    let endpoints: Vec<_> = endpoints.iter().map(|health| endpoint(*health)).collect();
    Unwell::among(&endpoints)
}

/// None of two endpoints passes its health check.
fn unwell() -> Readiness {
    Readiness { unwell: among(&[EndpointHealth::Unhealthy; 2]), ..Readiness::default() }
}

fn full(drawn: u64, without_room: u64) -> Readiness {
    Readiness { full: Some(Full { drawn, without_room }), ..Readiness::default() }
}

#[test]
fn fewer_than_half_that_are_well_are_not_well() {
    use EndpointHealth::{Down, Ejected, Unhealthy, Well};
    let found = |endpoints: &[EndpointHealth]| among(endpoints).map(|it| (it.well, it.of, it.by_checks));
    assert_eq!(found(&[]), None);
    assert_eq!(found(&[Well]), None);
    assert_eq!(found(&[Well, Unhealthy]), None);
    assert_eq!(found(&[Well, Unhealthy, Unhealthy]), Some((1, 3, true)));
    assert_eq!(found(&[Unhealthy]), Some((0, 1, true)));
    assert_eq!(found(&[Down, Unhealthy]), Some((0, 2, false)));
    assert_eq!(found(&[Down, Down]), Some((0, 2, false)));
    assert_eq!(found(&[Ejected, Ejected]), None);
}

#[test]
fn no_step_forward_while_fewer_than_half_of_the_endpoints_are_well() {
    let mut world = World::in_phase(Phase::Progressing);
    world.release.sees(unwell());
    assert_eq!(world.reason(), "waiting for v2 to be well: 0 of 2 endpoints pass their health check (it is unhealthy)");
    world.pass(1_000);
    assert!(world.release.proposed().is_none());
    world.act(Action::Skip).unwrap();
    world.sync();
    assert_eq!((world.step(), world.weight("v2")), (2, 1_000), "by hand it goes on all the same");
    world.release.sees(Readiness::default());
    world.pass(10);
    assert!(world.release.proposed().is_some());
}

#[test]
fn no_step_forward_while_many_find_no_room() {
    let mut world = World::in_phase(Phase::Progressing);
    for harmless in [full(1_000, 10), full(20, 2)] {
        world.release.sees(harmless);
        assert_eq!(world.reason(), "");
    }
    world.release.sees(full(446, 330));
    world.pass(1_000);
    assert!(world.release.proposed().is_none());
    let said = "waiting for room on v2: 330 of its last 446 requests found none, and v1 had to serve them; raise v2's \
                limits, or add endpoints";
    assert_eq!(world.reason(), said);
    world.release.sees(full(446, 4));
    world.pass(1);
    assert!(world.release.proposed().is_some());
}

#[test]
fn neither_a_proof_nor_a_deadline_that_promotes_goes_past_a_canary_that_is_not_ready() {
    let step = "steps: [{ weight: 1%, hold: 10s, early: true, deadline: 30s, on_deadline: promote }]";
    for readiness in [unwell(), full(100, 50)] {
        let mut world = World::under(step);
        world.release.sees(readiness);
        for seconds in [1, 10, 40] {
            world.seconds += seconds;
            world.judged(proven());
            assert!(world.release.proposed().is_none(), "after {seconds} s");
        }
    }
    let mut world = World::under("steps: [{ weight: 1%, hold: 10s, deadline: 30s, on_deadline: roll-back }]");
    world.release.sees(unwell());
    world.pass(30);
    assert_eq!(world.phase(), Phase::RolledBack);
    assert!(world.reason().contains("0 of 2 endpoints pass their health check"), "{}", world.reason());
}

#[test]
fn a_canary_without_a_well_endpoint_gets_no_users_until_one_is() {
    let mut world = World::new();
    world.release.sees(unwell());
    world.start("v2").unwrap();
    world.sync();
    let waits = "waiting for v2 to be well: 0 of 2 endpoints pass their health check (it is unhealthy); until then no \
                 users go to it";
    assert_eq!((world.phase(), world.weight("v2"), world.reason().as_str()), (Phase::Progressing, 0, waits));
    assert!(world.told()[0].ends_with(waits), "{:?}", world.told());
    world.pass(100);
    assert_eq!((world.weight("v2"), world.reason().as_str()), (0, waits));

    // After a restart nobody knows until the endpoints were asked.
    let journalled = world.release.state().clone();
    let mut world = world.restart(&journalled, "stable: v1");
    world.release.sees(Readiness { unasked: true, ..Readiness::default() });
    world.pass(1);
    world.sync();
    assert_eq!(world.weight("v2"), 0);

    world.release.sees(Readiness::default());
    world.pass(1);
    world.sync();
    assert_eq!((world.step(), world.weight("v2")), (1, 100));
    assert!(world.told().contains(&"v2 at step 1 of 4: 1%; its endpoints are well".to_owned()), "{:?}", world.told());
    world.pass(9);
    assert!(world.release.proposed().is_none(), "the hold begins with the first users");
    world.pass(1);
    assert!(world.release.proposed().is_some());
}

#[test]
fn one_well_endpoint_is_enough_to_begin_with() {
    let mut world = World::new();
    let one_of_three = [EndpointHealth::Well, EndpointHealth::Unhealthy, EndpointHealth::Unhealthy];
    world.release.sees(Readiness { unwell: among(&one_of_three), ..Readiness::default() });
    world.start("v2").unwrap();
    world.sync();
    assert_eq!(world.weight("v2"), 100);
    assert_eq!(world.reason(), "waiting for v2 to be well: 1 of 3 endpoints pass their health check (it is unhealthy)");
}

#[test]
fn a_weight_by_hand_does_what_it_says_to_a_canary_that_waits_for_its_endpoints() {
    let mut world = World::new();
    world.release.sees(unwell());
    world.start("v2").unwrap();
    world.sync();
    world.set_weight("v2", 500).unwrap();
    world.sync();
    assert_eq!((world.phase(), world.weight("v2")), (Phase::Paused, 500));
    world.act(Action::Resume).unwrap();
    world.sync();
    world.pass(1);
    assert_eq!((world.phase(), world.weight("v2")), (Phase::Progressing, 100));
}

#[test]
fn those_who_match_wait_too_for_a_canary_without_a_well_endpoint() {
    let plan = "plan: { steps: [{ match: { x-tester: '1' }, hold: 10s }, { weight: 5%, hold: 10s }] }";
    let shop = format!("stable: v1, {VERSIONS}, {plan}");
    let mut world = World::of(Arc::new(configuration(&shop).services.remove(0)));
    world.release.sees(unwell());
    world.start("v2").unwrap();
    world.sync();
    assert!(world.release.state().split().matched.is_none());
    world.release.sees(Readiness::default());
    world.pass(1);
    world.sync();
    assert!(world.release.state().split().matched.is_some());
}

#[test]
fn who_found_no_room_is_remembered_for_a_minute_of_the_same_split() {
    let mut room = Room::default();
    room.turn(6, Full { drawn: 1_000, without_room: 500 });
    assert_eq!(room.full(), Some(Full { drawn: 1_000, without_room: 500 }));
    room.turn(7, Full { drawn: 1_000, without_room: 500 });
    assert_eq!(room.full(), None, "another split");
    room.turn(7, Full { drawn: 1_100, without_room: 530 });
    assert_eq!(room.full(), Some(Full { drawn: 100, without_room: 30 }));
    for second in 1..60 {
        room.turn(7, Full { drawn: 1_100 + second, without_room: 530 });
    }
    assert_eq!(room.full(), Some(Full { drawn: 159, without_room: 30 }));
    room.turn(7, Full { drawn: 1_160, without_room: 530 });
    assert_eq!(room.full(), None);

    room.turn(7, Full { drawn: 1_170, without_room: 540 });
    assert!(room.full().is_some());
    room.turn(8, Full { drawn: 1_180, without_room: 540 });
    assert_eq!(room.full(), None, "another split");
    // A version that came back counts from nothing.
    room.turn(8, Full { drawn: 50, without_room: 20 });
    assert_eq!(room.full(), Some(Full { drawn: 60, without_room: 20 }));
}

#[test]
fn nobody_promotes_a_version_without_a_well_endpoint() {
    for (steps, action) in [
        ("{ weight: 10%, hold: 1m }, { weight: 20%, hold: 1m }", Action::Promote),
        ("{ weight: 10%, hold: 1m }", Action::Skip),
    ] {
        let mut world = World::under(&format!("steps: [{steps}]"));
        let before = world.release.sees(unwell());
        let Err(Refused::Conflict { detail, .. }) = world.act(action) else { panic!("{action:?}: it was promoted") };
        assert!(detail.starts_with("shop: v2 has no endpoint that is well, of 2 (it is unhealthy)"), "{detail}");
        assert_eq!(world.release.state().stable, name("v1"));
        world.release.sees(before);
        world.act(action).unwrap();
        world.sync();
        assert_eq!(world.release.state().stable, name("v2"));
    }
    // A step before the last gives it a part.
    let mut world = World::under("steps: [{ weight: 10%, hold: 1m }, { weight: 20%, hold: 1m }]");
    world.release.sees(unwell());
    assert!(world.act(Action::Skip).is_ok());
}

#[test]
fn an_undo_to_a_version_without_a_well_endpoint_is_refused_and_says_what_to_do() {
    let mut world = World::in_phase(Phase::Promoted);
    let before = world.release.sees(unwell());
    let Err(Refused::Conflict { detail, .. }) = world.act(Action::Undo) else { panic!("it was undone") };
    let said = "shop: v1, the previous stable, has no endpoint that is well, of 2 (it is unhealthy), and would have all traffic";
    assert!(detail.starts_with(said), "{detail}");
    assert_eq!(world.release.state().stable, name("v2"));
    world.release.sees(before);
    world.act(Action::Undo).unwrap();
    assert_eq!(world.release.state().stable, name("v1"));
}

#[test]
fn what_a_reload_is_refused_for_is_known_of_a_state_alone() {
    let world = World::in_phase(Phase::Promoted);
    let (state, shop) = (world.release.state(), name("shop"));
    let refused = |text: &str| {
        let service = configuration(text).services.remove(0);
        Release::refuses(state, &shop, Some(&service), &moment(0, None))
    };
    assert_eq!(refused(&format!("stable: v1, {VERSIONS}")), None);
    let without = refused("stable: v1, versions: { v1: { endpoints: ['a:1'] } }").unwrap();
    assert!(without.contains("v2 is the stable in force"), "{without}");
    assert_eq!(Release::refuses(state, &shop, None, &moment(0, None)), None, "nothing runs");
    let running = World::in_phase(Phase::Progressing);
    assert!(Release::refuses(running.release.state(), &shop, None, &moment(0, None)).is_some());
}

#[test]
fn a_step_back_is_taken_whoever_is_there_to_serve_and_says_where_nobody_is() {
    let said = "; stable v1 has no endpoint that is well, of 2 (it is down): users get errors";
    let dead = || among(&[EndpointHealth::Down; 2]);
    let mut world = World::in_phase(Phase::Progressing);
    world.release.sees_stable(dead());
    world.act(Action::Abort).unwrap();
    assert_eq!((world.phase(), world.weight("v2")), (Phase::Aborted, 0));
    assert_eq!(world.reason(), format!("aborted by hand{said}"));
    assert!(world.told().contains(&format!("v2 aborted by hand{said}")), "{:?}", world.told());

    let mut world = World::in_phase(Phase::Progressing);
    world.release.sees_stable(dead());
    world.judged(bad());
    assert_eq!((world.phase(), world.weight("v2")), (Phase::RolledBack, 0));
    assert!(world.reason().ends_with(said), "{}", world.reason());

    let mut world = World::in_phase(Phase::Progressing);
    world.release.sees_stable(dead());
    world.set_weight("v2", 10).unwrap();
    assert_eq!(world.weight("v2"), 10);
    assert!(world.told().iter().any(|told| told.ends_with(said)), "{:?}", world.told());
}

#[test]
fn a_canary_whose_names_have_no_address_gets_no_users_until_they_do() {
    let mut world = World::new();
    let why = "the name v2.internal does not resolve: 10.0.0.2:53: there is no such name";
    let unwell = Some(Unwell::without_endpoints(why.to_owned()));
    world.release.sees(Readiness { unwell, ..Readiness::default() });
    world.start("v2").unwrap();
    world.sync();
    let waits = format!("waiting for v2 to be well: it has no endpoint ({why}); until then no users go to it");
    assert_eq!((world.weight("v2"), world.reason()), (0, waits));
}
