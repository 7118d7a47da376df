//! Dry runs: verdicts are told, and nothing follows from them.

use super::*;

const PLAN: &str = "dry_run: true, advance: proof, steps: [{ weight: 1%, hold: 10s, early: true, deadline: 20s, \
                    on_deadline: roll-back }, { weight: 10%, hold: 10s }]";

#[test]
fn established_harm_is_counted_told_and_moves_nothing() {
    let mut world = World::under(PLAN);
    world.judged(bad());
    assert_eq!((world.phase(), world.weight("v2")), (Phase::Progressing, 100));
    assert_eq!(world.rollout().would_have_rolled_back, 1);
    assert_eq!(world.told(), ["dry run: would have rolled back v2: errors: v2 fails 9 %"]);
    assert_eq!((world.count(&Effect::BeginAnew), world.count(&Effect::Steer)), (0, 0), "it stays to be seen");
    let journalled = world.journal.last().unwrap().clone();
    let mut world = world.restart(&journalled, "stable: v1");
    world.judged(bad());
    let view = world.release.rollout_view(&moment(0, None)).unwrap();
    assert_eq!((view.dry_run, view.would_have_rolled_back), (true, 1), "after a restart too, and not counted twice");
}

#[test]
fn harm_that_stays_is_counted_and_told_once_a_minute_and_judged_anew_in_between() {
    let mut world = World::under("dry_run: true, steps: [{ weight: 1%, hold: 1h }]");
    for (second, (counts, anew)) in [(0, (1, 0)), (1, (1, 0)), (59, (1, 0)), (60, (1, 1)), (61, (2, 1)), (120, (2, 1))]
    {
        world.seconds = second;
        world.judged(bad());
        let told = world.told().len();
        assert_eq!((told, world.count(&Effect::BeginAnew)), (counts, anew), "after {second} s");
        assert_eq!(world.rollout().would_have_rolled_back, u64::try_from(counts).unwrap());
    }
}

#[test]
fn a_new_step_judges_anew_and_the_minute_goes_on() {
    let mut world = World::under(PLAN);
    world.judged(bad());
    world.seconds = 10;
    world.judged(bad());
    world.sync();
    assert_eq!((world.step(), world.count(&Effect::BeginAnew)), (2, 0), "harm holds no step back");
    world.effects.clear();
    world.judged(bad());
    world.judged(bad());
    assert_eq!((world.count(&Effect::BeginAnew), world.told().len()), (1, 0), "{:?}", world.told());
}

#[test]
fn a_dry_run_that_is_over_counts_and_tells_nothing_more() {
    let mut world = World::under(PLAN);
    for _ in 0..2 {
        world.act(Action::Skip).unwrap();
        world.sync();
    }
    world.effects.clear();
    for second in [0, 100, 200] {
        world.seconds = second;
        world.judged(bad());
        world.judged(Judgement { traffic: Some("lost".into()), ..bad() });
    }
    assert_eq!((world.rollout().would_have_rolled_back, &world.effects[..]), (0, &[][..]));
}

#[test]
fn its_steps_end_by_time_and_data_alone() {
    let mut world = World::under(PLAN);
    world.seconds += 9;
    world.judged(proven());
    assert!(world.release.proposed().is_none(), "not early");
    world.seconds += 1_000;
    world.judged(Judgement { has_data: false, ..good() });
    assert_eq!((world.phase(), world.release.proposed().is_some()), (Phase::Progressing, false), "no deadline");
    world.judged(Judgement { suspicion: true, ..good() });
    world.sync();
    assert_eq!(world.step(), 2, "neither proof nor suspicion counts");
}

#[test]
fn at_its_end_it_pauses_and_asks_and_only_a_person_promotes() {
    let mut world = World::under(PLAN);
    world.judged(bad());
    for _ in 0..2 {
        world.pass(10);
        world.sync();
    }
    assert_eq!((world.phase(), world.step(), world.weight("v2")), (Phase::Paused, 2, 1_000));
    assert_eq!(world.reason(), "the dry run is over: it would have rolled back once; promote or abort");
    world.act(Action::Promote).unwrap();
    world.sync();
    assert_eq!(world.release.state().stable, name("v2"));
}

#[test]
fn a_skip_of_its_last_step_promotes_nothing_either() {
    let mut world = World::under(PLAN);
    for _ in 0..2 {
        world.act(Action::Skip).unwrap();
        world.sync();
    }
    assert_eq!((world.phase(), world.weight("v2")), (Phase::Paused, 1_000));
    assert!(world.reason().contains("never"), "{}", world.reason());
}

#[test]
fn signals_and_broken_limits_are_told_once_and_pause_nothing() {
    let signal = Some(Harm { gate: "slow".into(), explain: "v2 is slower".into() });
    let found = Judgement { signal, hold: Some("both are over the limit".into()), ..good() };
    let mut world = World::under(PLAN);
    world.judged(found.clone());
    world.judged(found.clone());
    let expected =
        ["dry run: would have paused v2: slow: v2 is slower", "dry run: would have paused v2: both are over the limit"];
    assert_eq!((world.phase(), world.told()), (Phase::Progressing, expected.map(str::to_owned).to_vec()));
    world.judged(good());
    world.judged(found);
    assert_eq!(world.told().len(), 4, "what comes again is told again");
}

#[test]
fn harm_does_not_cancel_a_step_that_is_on_its_way_to_the_disk_and_is_counted_after_it() {
    let mut world = World::under(PLAN);
    world.pass(10);
    assert!(world.release.proposed().is_some());
    world.judged(bad());
    assert!(world.release.proposed().is_some() && world.rollout().would_have_rolled_back == 0);
    world.sync();
    world.judged(bad());
    assert_eq!((world.step(), world.rollout().would_have_rolled_back), (2, 1));
}
