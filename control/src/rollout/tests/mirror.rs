//! Steps that send the canary copies of stable's requests, and no users.

use super::*;

const MIRRORS: &str = "steps: [{ mirror: 10%, hold: 10s }, { mirror: 100%, hold: 10s }, { approval: true }, \
                       { weight: 5%, hold: 10s }], gates: [{ errors: {} }, { mirror: { status: 1% } }]";

/// The share of stable's requests that is copied, in basis points; 0 is none.
fn mirror(world: &World) -> u16 {
    world.release.state().split().mirror.map_or(0, Weight::basis_points)
}

/// What copies alone show: no user had the canary.
fn copied(compared: u64) -> Judgement {
    let copies = Copies { ended: compared + 1, compared, failed: 1, status: 0, body: 0 };
    let of_stable = Arms { stable: 1_000, canary: 0 };
    Judgement { copies, copies_in_step: copies, step_requests: of_stable, requests: of_stable, ..good() }
}

fn held(world: &mut World) {
    world.seconds += 10;
    world.judged(copied(50));
    world.sync();
}

#[test]
fn copies_come_before_users_and_belong_to_their_steps() {
    let mut world = World::under(MIRRORS);
    let now = |world: &World| (world.step(), mirror(world), world.weight("v2"));
    assert_eq!(now(&world), (1, 1_000, 0));
    let canary = world.release.state().split().canary;
    assert_eq!(canary, Some((name("v2"), Weight::ZERO)), "the data plane is told whom they go to");
    held(&mut world);
    assert_eq!(now(&world), (2, 10_000, 0));
    held(&mut world);
    assert_eq!((now(&world), world.phase()), ((3, 0, 0), Phase::AwaitingApproval));
    world.act(Action::Approve).unwrap();
    world.sync();
    assert_eq!(now(&world), (4, 0, 500));
    let told = world.told().join("\n");
    assert!(
        told.contains("v2 at step 2 of 4: copies of 100% of v1's requests, and no users; its hold is over"),
        "{told}"
    );
}

#[test]
fn copies_begin_when_the_disk_has_it_and_not_before() {
    let shop = format!("stable: v1, {VERSIONS}, plan: {{ {MIRRORS} }}");
    let mut world = World::of(Arc::new(configuration(&shop).services.remove(0)));
    world.start("v2").unwrap();
    assert_eq!(mirror(&world), 0);
    world.sync();
    assert_eq!(mirror(&world), 1_000);
    assert!(world.effects.contains(&Effect::Steer));
}

#[test]
fn a_rollout_that_ends_leaves_no_copying_on_whatever_the_disk_does() {
    for end in [Phase::RolledBack, Phase::Aborted, Phase::Superseded, Phase::Promoted] {
        let mut world = World::under(MIRRORS);
        let refuses = matches!(end, Phase::RolledBack | Phase::Aborted);
        world.problem = refuses.then(|| "no space".into());
        match end {
            Phase::RolledBack => world.judged(bad()),
            Phase::Superseded => _ = world.start("v3").unwrap(),
            Phase::Promoted => {
                world.act(Action::Promote).unwrap();
                world.sync();
            }
            Phase::Aborted => _ = world.act(Action::Abort).unwrap(),
            Phase::Progressing | Phase::Paused | Phase::AwaitingApproval | Phase::Promoting => {
                panic!("{end:?} is no end")
            }
        }
        assert_eq!((world.phase(), mirror(&world)), (end, 0));
        assert_eq!(world.release.rollout_view(&moment(1, None)).unwrap().mirror, None);
        if end != Phase::Promoted {
            assert_eq!(world.effects.first(), Some(&Effect::Steer), "{end:?}");
        }
    }
}

#[test]
fn a_step_ends_by_copies_alone_and_waits_for_enough_that_were_compared() {
    let mut world = World::under(MIRRORS);
    world.seconds += 9;
    world.judged(copied(1_000));
    assert!(world.release.proposed().is_none(), "its hold is not over");
    world.seconds += 100;
    for (judgement, said) in [
        (Judgement { has_data: false, ..copied(0) }, "waiting for copies: v2 has answered none of v1's requests"),
        (
            copied(49),
            "waiting for 50 copied requests that could be compared in this step: there were 49 of 50 that ended",
        ),
        (Judgement { suspicion: true, ..copied(50) }, "suspicion"),
    ] {
        world.judged(judgement);
        assert!(world.release.proposed().is_none(), "{said}");
        assert!(world.reason().contains(said), "{}", world.reason());
    }
    world.judged(copied(50));
    assert!(world.release.proposed().is_some());
}

#[test]
fn with_advance_proof_it_waits_for_the_gates_that_look_at_copies_and_for_no_others() {
    let mut world = World::under(&format!("advance: proof, {MIRRORS}"));
    world.seconds += 10;
    let gates = || vec![gate("errors", Verdict::NoData, None), gate("mirror-status", Verdict::Inconclusive, Some(0.5))];
    world.shown(copied(50), gates());
    assert!(world.release.proposed().is_none());
    assert_eq!(world.reason(), "waiting for proof: mirror-status");
    world.shown(Judgement { proven: true, ..copied(50) }, gates());
    world.sync();
    assert_eq!(world.step(), 2);
}

#[test]
fn with_advance_proof_and_no_gate_that_looks_at_copies_there_is_nothing_to_prove() {
    let mut world = World::under("advance: proof, steps: [{ mirror: 10%, hold: 10s }, { weight: 5%, hold: 10s }]");
    held(&mut world);
    assert_eq!(world.step(), 2);
    world.seconds += 10;
    let gates = vec![gate("errors", Verdict::Inconclusive, None), gate("mirror-status", Verdict::NoData, None)];
    world.shown(good(), gates);
    assert_eq!((world.step(), world.reason().as_str()), (2, "waiting for proof: errors"), "a weight waits for its own");
}

#[test]
fn weight_0_by_hand_ends_the_copying_too_and_a_resume_gives_it_back() {
    let mut world = World::under(MIRRORS);
    assert_eq!(world.set_weight("v2", 0).unwrap(), None, "a step back waits for nothing");
    assert_eq!((world.phase(), mirror(&world)), (Phase::Paused, 0));
    let restarted = world.restart(world.journal.last().unwrap(), "stable: v1");
    assert_eq!(mirror(&restarted), 0, "a restart gives nothing back");
    world.act(Action::Resume).unwrap();
    world.sync();
    assert_eq!((world.phase(), mirror(&world), world.weight("v2")), (Phase::Progressing, 1_000, 0));
}

#[test]
fn a_weight_by_hand_gives_users_and_a_resume_takes_them_back() {
    let mut world = World::under(MIRRORS);
    world.set_weight("v2", 300).unwrap();
    world.sync();
    assert_eq!((world.phase(), mirror(&world), world.weight("v2")), (Phase::Paused, 1_000, 300));
    world.act(Action::Resume).unwrap();
    world.sync();
    assert_eq!((world.phase(), world.weight("v2")), (Phase::Progressing, 0));
}

#[test]
fn a_rollout_from_a_weight_by_hand_begins_without_users_where_its_plan_begins_with_copies() {
    let shop = format!("stable: v1, canary: v2, weight: 20%, {VERSIONS}, plan: {{ {MIRRORS} }}");
    let mut world = World::of(Arc::new(configuration(&shop).services.remove(0)));
    world.start("v2").unwrap();
    world.sync();
    assert_eq!((mirror(&world), world.weight("v2")), (1_000, 0));
}

#[test]
fn a_restart_goes_on_with_the_copies_of_its_step() {
    let mut world = World::under(MIRRORS);
    held(&mut world);
    let restarted = world.restart(world.journal.last().unwrap(), "stable: v1");
    assert_eq!((restarted.step(), mirror(&restarted), restarted.weight("v2")), (2, 10_000, 0));
}

#[test]
fn people_see_what_is_copied_and_what_became_of_it() {
    let mut world = World::under(MIRRORS);
    world.judged(copied(70));
    let view = world.release.rollout_view(&moment(1, None)).unwrap();
    let copies = Copies { ended: 71, compared: 70, failed: 1, status: 0, body: 0 };
    assert_eq!((view.mirror, view.copies, view.weight), (Some(1_000), Some(copies), 0));
    assert_eq!(view.step_hold_s, Some(10.0));
    world.judged(Judgement { harm: bad().harm, ..copied(80) });
    let view = world.release.rollout_view(&moment(1, None)).unwrap();
    assert_eq!((view.mirror, view.copies.map(|copies| copies.compared)), (None, Some(80)));
    assert_eq!(World::in_phase(Phase::Progressing).release.rollout_view(&moment(1, None)).unwrap().copies, None);
}

#[test]
fn a_dry_run_copies_as_any_other_and_ends_its_step_by_time() {
    let mut world = World::under(&format!("dry_run: true, advance: proof, {MIRRORS}"));
    world.seconds += 10;
    world.judged(Judgement { harm: bad().harm, ..copied(50) });
    world.sync();
    assert_eq!((mirror(&world), world.rollout().would_have_rolled_back), (10_000, 1));
}
