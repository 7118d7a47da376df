//! A replay has what the rollout had, to the last bit.

use proptest::prelude::*;

use super::*;

/// A rollout with everything that may happen to one; its record, and its tests as they ended.
fn eventful(seed: u64, plan: &Plan, ticks: usize) -> (Vec<u8>, Judge) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut story = Story::of(plan);
    let mut saved = story.saved();
    for _ in 0..ticks {
        match random.u8(..100) {
            0 => story.mark(Mark::NewStep),
            1 => story.mark(Mark::Acknowledge),
            2 => story.mark(Mark::BeginAnew),
            3 => story.mark(Mark::WarmUpAgain),
            4 => story.clock_ms -= random.i64(0..5_000),
            5 => story.clock_ms += random.i64(0..40_000),
            6 => story.endpoints.canary += 1,
            7 => story.weight = random.u16(1..10_000),
            8 => story.keep(),
            9 => saved = story.saved(),
            10 if random.u8(..4) == 0 => {
                if random.bool() {
                    story.keep();
                }
                story.restart(&saved);
            }
            _ => {}
        }
        let traffic = if random.u8(..4) == 0 { Traffic::default() } else { random_traffic(&mut random, plan, 0.04) };
        story.tick(random.i64(80..130), &traffic);
    }
    (story.end(), story.judge)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_replay_under_the_same_gates_ends_in_the_very_state_of_the_rollout(
        seed: u64,
        baseline in prop::sample::select(vec!["stable", "equal", "v0"]),
        with_every_gate: bool,
        leaves_people_out: bool,
        sends_copies: bool,
    ) {
        let plan = if with_every_gate { plan_of(every_gate()) } else { Plan::built_in() };
        let plan = if leaves_people_out { with_people(plan) } else { plan };
        let plan = if sends_copies { with_copies(plan) } else { plan };
        let plan = with_baseline(plan, baseline);
        let (record, judge) = eventful(seed, &plan, 250);

        let replay = replayed(&record, None);

        prop_assert!(replay.is_exact());
        prop_assert_eq!(serde_json::to_string(replay.judge()).unwrap(), serde_json::to_string(&judge).unwrap());
        let again = replayed(&record, Some(plan));
        prop_assert!(again.has_same_gates());
        prop_assert_eq!(again.judge(), &judge);
    }
}

#[test]
fn a_replay_has_what_the_rollout_had_at_each_tick() {
    let plan = plan_of(every_gate());
    let mut random = fastrand::Rng::with_seed(3);
    let mut story = Story::of(&plan);
    let mut had = Vec::new();
    for _ in 0..300 {
        let traffic = random_traffic(&mut random, &plan, 0.2);
        story.tick(100, &traffic);
        had.push(evidence(&story.judge));
    }
    let record = story.end();

    let mut reader = Reader::begin(&record[..]).unwrap();
    let mut replay = Replay::begin(reader.header(), None).unwrap();
    let mut has = Vec::new();
    while let Some(line) = reader.read().unwrap() {
        replay.judge_line(&reader, &line).unwrap();
        if let Line::Counted(counted) = line {
            has.extend((0..counted.times).map(|_| evidence(replay.judge())));
        }
    }
    assert_eq!(has.len(), had.len());
    // Where several ticks without anything are one line, only the evidence after the last of them is seen.
    let same = has.iter().zip(&had).filter(|(has, had)| has == had).count();
    assert!(same > 290, "{same}");
    assert_eq!(has.last(), had.last());
}

fn evidence(judge: &Judge) -> Vec<Option<u64>> {
    judge.gates().iter().map(|gate| gate.log_evidence.map(f64::to_bits)).collect()
}

#[test]
fn other_gates_are_judged_from_nothing_and_with_what_was_known_of_stable() {
    let plan = plan_of(every_gate());
    let (record, judge) = eventful(11, &plan, 200);
    let other = plan_of(vec![gate("only", GateRole::Guardrail, Some("/cart"), GateRule::ERRORS)]);

    let replay = replayed(&record, Some(other));

    assert!(!replay.has_same_gates());
    let gates = replay.judge().gates();
    assert_eq!(gates[0].name, "only");
    assert!(gates[0].log_evidence.is_some(), "{gates:?}");
    assert_ne!(replay.judge(), &judge);
}

#[test]
fn gates_that_need_what_was_not_recorded_are_refused() {
    let header = header_of(&Plan::built_in());
    let refused = |plan: Plan| Replay::begin(&header, Some(plan)).unwrap_err().to_string();

    let path = refused(plan_of(vec![gate("errors", GateRole::Guardrail, Some("/cart"), GateRule::ERRORS)]));
    assert!(path.contains("/cart") && path.contains("did not count it; it has none"), "{path}");
    let total =
        GateRule::LatencyLimit { quantile: Quantile::P99, limit: Duration::from_millis(300), of: LatencyOf::Total };
    let total = refused(plan_of(vec![gate("slow", GateRole::Guardrail, None, total)]));
    assert!(total.contains("`of: total`"), "{total}");
    for baseline in ["equal", "v0"] {
        let refused = refused(with_baseline(Plan::built_in(), baseline));
        assert!(refused.contains(baseline) && refused.contains("legal is `stable`"), "{refused}");
    }
}

#[test]
fn a_quiet_second_is_one_short_line() {
    let mut story = Story::of(&Plan::built_in());
    for _ in 0..50 {
        story.tick(100, &Traffic::default());
    }
    let record = String::from_utf8(story.end()).unwrap();

    let quiet: Vec<&str> = record.lines().filter(|line| line.contains("\"times\"")).collect();
    assert!((5..=7).contains(&quiet.len()), "{record}");
    assert!(quiet[1].len() < 60, "{}", quiet[1]);
    assert_eq!(replayed(record.as_bytes(), None).tallied().windows, 50);
}

/// What was in flight when a process died is lost, under whichever gates.
#[test]
fn other_gates_prove_nothing_for_a_while_after_a_restart_either() {
    let proof = |restarts: bool| {
        let mut story = Story::of(&plan_of(vec![gate("errors", GateRole::Guardrail, None, GateRule::ERRORS)]));
        let run = |story: &mut Story, ticks: usize| {
            let mut well = Window::default();
            well.judged[Class::Success as usize] = 40;
            let traffic = Traffic { stable: well.clone(), canary: well, ..Traffic::default() };
            (0..ticks).for_each(|_| story.tick(100, &traffic));
        };
        run(&mut story, 250);
        if restarts {
            story.keep();
            let saved = story.saved();
            story.restart(&saved);
        }
        run(&mut story, 140);
        let other = plan_of(vec![gate("only", GateRole::Guardrail, None, GateRule::ERRORS)]);
        replayed(&story.end(), Some(other)).judge().gates()[0].proof
    };
    assert!(proof(true).is_none_or(|proof| proof <= 0.0), "{:?}", proof(true));
    assert!(proof(false).is_some_and(|proof| proof > 0.0), "{:?}", proof(false));
}
