//! What is not as documented is an error that says where, what is wrong and what is legal.

use proptest::prelude::*;

use super::*;

const HEAD: &str = r#"{"tidegate_record":1,"stable":"v1","canary":"v2"}"#;

/// What is said of a record of these lines behind a good first one; nothing where it is good.
fn said(lines: &str) -> String {
    said_of(&format!("{HEAD}\n{lines}"))
}

fn said_of(record: &str) -> String {
    let read = || -> Result<(), Unreadable> {
        let mut reader = Reader::begin(record.as_bytes())?;
        let mut replay =
            Replay::begin(reader.header(), None).map_err(|impossible| reader.wrong(impossible.to_string()))?;
        while let Some(line) = reader.read()? {
            replay.judge_line(&reader, &line)?;
        }
        Ok(())
    };
    read().map_or_else(|error| error.to_string(), |()| String::new())
}

#[test]
fn a_record_of_another_program_needs_little() {
    let record = format!(
        "{HEAD}\n{}\n{}\n",
        r#"{"t": 1.5, "versions": {"v1": {"requests": 900, "errors": 1}, "v2": {"requests": 100, "errors": 30}}}"#,
        r#"{"t": 2, "versions": {"v1": {"requests": 900}, "v2": {"requests": 100, "errors": 30}}}"#,
    );
    let replay = replayed(record.as_bytes(), None);
    let judgement = replay.judge().judgement();
    assert_eq!(
        (judgement.requests, judgement.failed),
        (Arms { stable: 1_800, canary: 200 }, Arms { stable: 1, canary: 60 },)
    );
    assert!(judgement.harm.is_some());
}

#[test]
fn latencies_in_buckets_of_their_own_are_counted_where_those_begin() {
    let record = concat!(
        r#"{"tidegate_record":1,"stable":"v1","canary":"v2","latency_bounds":[0,1000,5000,250000]}"#,
        "\n",
        r#"{"t":1,"versions":{"v1":{"requests":9,"latency":[[0,1],[2,7],[3,1]]}}}"#,
        "\n",
    );
    let mut reader = Reader::begin(record.as_bytes()).unwrap();
    let Some(Line::Counted(counted)) = reader.read().unwrap() else { panic!() };
    let mut filled = Filled::default();
    reader.fill(&counted, &mut filled).unwrap();
    let counts: Vec<(u64, u64)> = filled
        .arms
        .stable
        .latency_good
        .iter()
        .map(|(bucket, count)| (meter::latency_bound_us(bucket), count))
        .collect();
    assert_eq!(counts.len(), 3);
    assert_eq!((counts[0], counts[1].1, counts[2].1), ((0, 1), 7, 1));
    for (at, us) in [(1, 5_000.0), (2, 250_000.0)] {
        let ratio = us / counts[at].0 as f64;
        assert!((1.0..1.008).contains(&ratio), "{counts:?}");
    }
}

#[test]
fn a_bad_first_line_says_what_a_record_begins_with() {
    for (record, told) in [
        ("", "line 1: nothing is written here"),
        ("\n", "line 1: the line is empty"),
        ("{}\n", "line 1: this is no record"),
        ("# notes\n", "this is no JSON"),
        (r#"{"tidegate_record":2,"canary":7}"#, "the record is of version 2; this Tidegate reads version 1"),
        (r#"{"tidegate_record":1,"stable":"v1"}"#, "missing field `canary`"),
        (r#"{"tidegate_record":1,"stable":"v1","canary":"v1"}"#, "they are two versions"),
        (r#"{"tidegate_record":1,"stable":"v 1","canary":"v2"}"#, "which is no name"),
        (
            r#"{"tidegate_record":1,"stable":"v1","canary":"v2","rollout":"\u001b[2J"}"#,
            "`rollout` is \"\\u{1b}[2J\", which is no name",
        ),
        (
            r#"{"tidegate_record":1,"stable":"v1","canary":"v2","service":"a b"}"#,
            "`service` is \"a b\", which is no name",
        ),
        (
            r#"{"tidegate_record":1,"stable":"v1","canary":"v2","started_at":"today"}"#,
            "`started_at` is \"today\", which is no time",
        ),
        (
            r#"{"tidegate_record":1,"stable":"v1","canary":"v2","started_at":"2026-11-22T00:00:00Z\n"}"#,
            "which is no time",
        ),
        (r#"{"tidegate_record":1,"stable":"v1","canary":"v2","colour":1}"#, "unknown field `colour`"),
        (
            r#"{"tidegate_record":1,"stable":"v1","canary":"v2","latency_bounds":"mine"}"#,
            "\"tidegate-1\", or where each",
        ),
        (r#"{"tidegate_record":1,"stable":"v1","canary":"v2","latency_bounds":[5,5]}"#, "ascending"),
        (r#"{"tidegate_record":1,"stable":"v1","canary":"v2","latency_bounds":[]}"#, "ascending"),
        (r#"{"tidegate_record":1,"stable":"v1","canary":"v2","latency_of":["tail"]}"#, "legal are [\"head\"]"),
        (r#"{"tidegate_record":1,"stable":"v1","canary":"v2","paths":["cart"]}"#, "no path prefix"),
        (r#"{"tidegate_record":1,"stable":"v1","canary":"v2","plan":{"alpha":1}}"#, "`plan`: missing field"),
        (r#"{"tidegate_record":1,"stable":"v1","canary":"v2","state":{}}"#, "a `state` needs the `plan`"),
        (r#"{"tidegate_record":1,"stable":"v1","canary":"v2","baseline":"v2"}"#, "the canary itself"),
    ] {
        let said = said_of(record);
        assert!(said.starts_with("line 1: ") && said.contains(told), "{record}: {said}");
    }
}

#[test]
fn a_bad_line_says_where_it_is_and_what_is_legal() {
    for (line, told) in [
        ("", "the line is empty"),
        ("{\"t\":1", "this is no JSON"),
        ("[]", "column"),
        ("[5]", "expected an object"),
        (r#"{"t":1,"versions":{"v1":[5,1]}}"#, "expected an object"),
        ("{}", "`t` is missing"),
        (r#"{"t":1795305600000}"#, "no Unix time in seconds"),
        (r#"{"t":-1}"#, "no Unix time in seconds"),
        (r#"{"t":"now"}"#, "column"),
        (r#"{"t":1,"speed":2}"#, "unknown field `speed`"),
        (r#"{"t":1,"versions":{"v3":{"requests":1}}}"#, "\"v3\" is none of this record's versions; legal are v1, v2"),
        (r#"{"t":1,"versions":{"v1":{},"v1":{}}}"#, "`v1` is written twice"),
        (r#"{"t":1,"t":2}"#, "duplicate field"),
        (r#"{"t":1,"versions":{"v1":{"requests":1.5}}}"#, "a whole number from 0 to"),
        (r#"{"t":1,"versions":{"v1":{"requests":-1}}}"#, "a whole number from 0 to"),
        (r#"{"t":1,"versions":{"v1":{"requests":NaN}}}"#, "this is no JSON"),
        (r#"{"t":1,"versions":{"v1":{"requests":9000000000000000}}}"#, "a whole number from 0 to 1000000000000"),
        (r#"{"t":1e999}"#, "column"),
        (r#"{"t":1,"versions":{"v1":{"requests":1,"errors":2}}}"#, "v1: `errors` (2) are more than `requests` (1)"),
        (r#"{"t":1,"versions":{"v2":{"by_class":{"2xx":1,"6xx":1}}}}"#, "\"6xx\" is no class; legal are 2xx, 3xx"),
        (
            r#"{"t":1,"versions":{"v2":{"requests":3,"by_class":{"2xx":1}}}}"#,
            "`requests` is 3 and `by_class` adds up to 1",
        ),
        (r#"{"t":1,"versions":{"v2":{"errors":1,"by_class":{"2xx":1}}}}"#, "`errors` is 1 and"),
        (
            r#"{"t":1,"versions":{"v2":{"requests":1,"latency":[[9999,1]]}}}"#,
            "there is no bucket 9999; legal are 0 to 2559",
        ),
        (r#"{"t":1,"versions":{"v2":{"requests":1,"latency":[[7,2]]}}}"#, "has 2 requests, and there are only 1"),
        (r#"{"t":1,"versions":{"v2":{"requests":2,"latency":[[7,1],[7,1]]}}}"#, "buckets ascend"),
        (r#"{"t":1,"versions":{"v2":{"requests":2,"latency_failed":[[7,1]]}}}"#, "there are only 0"),
        (r#"{"t":1,"versions":{"v2":{"requests":2,"total":[[7,1]]}}}"#, "need \"latency_of\""),
        (r#"{"t":1,"versions":{"v2":{"requests":2,"by_key":[[16,1]]}}}"#, "no group 16; legal are 0 to 15"),
        (r#"{"t":1,"versions":{"v2":{"requests":2,"by_key":[[1,3]]}}}"#, "adds up to 3 requests"),
        (r#"{"t":1,"versions":{"v2":{"requests":2,"by_endpoint":[[1,1,2]]}}}"#, "more of a kind"),
        (r#"{"t":1,"versions":{"v2":{"requests":2,"by_endpoint":[[]]}}}"#, "an empty group"),
        (
            r#"{"t":1,"versions":{"v2":{"requests":2,"paths":{"/a":{"requests":1}}}}}"#,
            "none of those in the first line",
        ),
        (r#"{"t":1,"slice":{"requests":2}}"#, "needs \"baseline\": \"equal\""),
        (r#"{"t":1,"weight":10001}"#, "`weight` is 10001; legal is 0 to 10000"),
        (r#"{"t":1,"draws":{"weight":0,"canary":0,"all":1}}"#, "legal is 1 to 9999"),
        (r#"{"t":1,"draws":{"weight":5,"canary":2,"all":1}}"#, "more than 1 in all"),
        (r#"{"t":1,"versions":{"v2":{"drawn":{"all":1,"at_random":2}}}}"#, "a part is more than the whole"),
        (r#"{"t":1,"times":2,"versions":{"v2":{"requests":1}}}"#, "for ticks in which nothing was counted"),
        (r#"{"t":1,"times":1001}"#, "`times` is 1001; legal is 1 to 1000"),
        (r#"{"t":1,"mark":"pause"}"#, "is no mark; legal are new_step"),
        (r#"{"t":1,"mark":"new_step","weight":5}"#, "`weight` does not belong here"),
        (r#"{"t":1,"mark":"new_step","end":"promoted"}"#, "of two kinds at once"),
        (r#"{"mark":"new_step"}"#, "`t` is missing"),
        (r#"{"t":1,"end":"paused"}"#, "is no outcome; legal are promoted, rolled-back"),
        (r#"{"t":1,"gap":1}"#, "`t` does not belong here"),
        (r#"{"t":1,"checkpoint":{}}"#, "the state of the tests in the record cannot be used"),
        (r#"{"t":1,"why":"gap"}"#, "belongs to a checkpoint"),
        ("{\"t\":1,\"versions\":{\"v1\":{\"requests\":\"\u{0}\"}}}", "column"),
    ] {
        let said = said(&format!("{line}\n"));
        assert!(said.starts_with("line 2: ") && said.contains(told), "{line}\nsays: {said}\nnot:  {told}");
    }
}

#[test]
fn time_that_goes_back_is_an_error_unless_it_is_said() {
    let back = said("{\"t\":5}\n{\"t\":4.9}\n");
    assert!(back.starts_with("line 3: time goes back from 5.000 to 4.900"), "{back}");
    assert_eq!(said("{\"t\":5}\n{\"t\":4.9,\"mark\":\"clock_set_back\"}\n{\"t\":4.9}\n"), "");
}

#[test]
fn nothing_but_a_restart_follows_the_end() {
    let after = said("{\"t\":5,\"end\":\"promoted\"}\n{\"t\":6}\n");
    assert!(after.starts_with("line 3: a line after the one that says `end`"), "{after}");
}

#[test]
fn a_record_that_is_cut_short_says_after_which_line() {
    let cut = said("{\"t\":5}\n{\"t\":6,\"ver");
    assert!(cut.contains("cut short: line 3 was not written to its end"), "{cut}");
    // The end of the line alone is missing: nothing is lost.
    assert_eq!(said("{\"t\":5}\n{\"t\":6}"), "");
}

#[test]
fn a_state_that_is_not_of_this_tidegate_needs_other_gates() {
    let mut story = Story::of(&Plan::built_in());
    let record = String::from_utf8(story.end()).unwrap();
    let broken = record.replacen("\"state\":{", "\"state\":{\"x\":1,\"version\":99,\"y\":", 1).replacen(
        ":\"version\"",
        ":1,\"z\"",
        1,
    );
    let said = said_of(&broken);
    assert!(said.starts_with("line 1: "), "{said}");
}

/// What is said of a record of the built-in plan whose first line was changed.
fn said_where(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let record = String::from_utf8(Story::of(&Plan::built_in()).end()).unwrap();
    let (first, rest) = record.split_once('\n').unwrap();
    let mut first: serde_json::Value = serde_json::from_str(first).unwrap();
    change(&mut first);
    said_of(&format!("{first}\n{rest}"))
}

#[test]
fn a_plan_that_no_file_could_have_is_no_plan_of_a_record_either() {
    assert_eq!(said_where(|_| ()), "");
    let errors = |key: &str, value: f64| {
        let key = key.to_owned();
        move |head: &mut serde_json::Value| head["plan"]["gates"][0]["rule"]["errors"][&key] = value.into()
    };
    for (said, told) in [
        (said_where(|head| head["plan"]["alpha"] = 0.into()), "`alpha` is not legal; legal is"),
        (said_where(|head| head["plan"]["colour"] = 1.into()), "no such key: \"colour\""),
        (said_where(|head| head["plan"]["gates"][1]["colour"] = 1.into()), "no such key: \"colour\""),
        (said_where(|head| head["plan"]["gates"][1]["name"] = "errors".into()), "`gates[1]`: its name `errors` is"),
        (said_where(|head| head["plan"]["gates"][1]["name"] = "breaker".into()), "`gates[1]`: its name `breaker` is"),
        (said_where(errors("ratio", 1e308)), "`gates[0]` (errors): legal is a tolerance with a ratio of 1 to 1000"),
        (said_where(errors("points", 0.5)), "a margin with neither below the tolerance's"),
        (
            said_where(|head| head["plan"]["gates"][1]["rule"]["latency"]["tolerance"] = 0.4.into()),
            "`gates[1]` (latency): legal is a tolerance of 0 to 10, margins above it",
        ),
        (
            said_where(|head| head["plan"]["gates"][0]["rule"] = serde_json::json!({ "error_limit": { "limit": 0 } })),
            "`gates[0]` (errors): legal is a limit above 0",
        ),
        (
            said_where(|head| head["plan"]["gates"] = vec![head["plan"]["gates"][0].clone(); 65].into()),
            "it has 65 gates; legal are at most 64",
        ),
    ] {
        assert!(said.starts_with("line 1: `plan`: ") && said.contains(told), "{said}");
    }
}

#[test]
fn a_plan_beside_the_state_of_another_is_refused() {
    for said in [
        said_where(|head| head["plan"]["alpha"] = 0.5.into()),
        said_where(|head| drop(head["plan"]["gates"].as_array_mut().unwrap().pop())),
    ] {
        assert!(said.contains("is of other gates than its `plan`"), "{said}");
    }
}

/// A short record with everything in it.
fn rich() -> Vec<u8> {
    let plan = with_baseline(plan_of(every_gate()), "equal");
    let mut random = fastrand::Rng::with_seed(8);
    let mut story = Story::of(&plan);
    for tick in 0..12 {
        if tick == 6 {
            story.mark(Mark::NewStep);
        }
        let traffic = random_traffic(&mut random, &plan, 0.1);
        story.tick(100, &traffic);
    }
    story.end()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn bytes_at_random_in_a_record_are_judged_or_refused_and_never_worse(
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut record = rich();
        for (place, byte) in places {
            let place = place.index(record.len());
            record[place] = byte;
        }
        let text = String::from_utf8_lossy(&record).into_owned();
        let said = said_of(&text);
        prop_assert!(said.is_empty() || said.starts_with("line ") || said.starts_with("the record is cut short"), "{}", said);
    }

    #[test]
    fn a_record_that_is_cut_anywhere_is_judged_up_to_the_cut(place: prop::sample::Index) {
        let mut record = rich();
        record.truncate(place.index(record.len() - 1) + 1);
        let said = said_of(&String::from_utf8(record.clone()).unwrap());
        let whole = record.ends_with(b"\n") || record.ends_with(b"}") && said.is_empty();
        prop_assert!(whole || said.contains("cut short"), "{}", said);
    }

    #[test]
    fn lines_at_random_are_refused_in_words(line in "\\PC*") {
        let said = said(&format!("{line}\n"));
        prop_assert!(said.starts_with("line "), "{}", said);
    }
}
