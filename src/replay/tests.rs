use std::fs;

use clap::Parser;
use expect_test::expect;
use serde_json::Value;

use super::*;
use crate::cli::{Cli, Command};

/// A record of another program, in which the canary turns bad.
const BAD: &str = r#"{"tidegate_record": 1, "stable": "v1", "canary": "v2"}
{"t": 1795310400, "weight": 500, "versions": {"v1": {"requests": 950, "errors": 1}, "v2": {"requests": 50}}}
{"t": 1795310401.5, "versions": {"v1": {"requests": 948}, "v2": {"requests": 52, "errors": 20}}}
{"t": 1795310402, "mark": "new_step"}
{"t": 1795310402.2, "weight": 1000, "versions": {"v1": {"requests": 951, "errors": 2}, "v2": {"requests": 49, "errors": 30}}}
"#;

fn judged(record: &str, gates: Option<&str>, json: bool) -> (anyhow::Result<Exit>, String) {
    let gates = gates.map(|text| config::parse_plan(text, "gates.yaml").unwrap().plan);
    let mut out = Vec::new();
    let exit = judge(record.as_bytes(), "record.jsonl", gates, json, &mut out);
    (exit, String::from_utf8(out).unwrap())
}

#[test]
fn people_read_what_happened_and_a_summary() {
    let (exit, text) = judged(BAD, None, false);
    assert_eq!(exit.unwrap(), Exit::RolledBack);
    expect![[r#"
        rollout: v2 against v1
        judged by the default gates: errors, latency; alpha 1 %; compared with all of v1

            0:00.0  v2 at 5%
            0:00.0  errors: inconclusive
            0:00.0  latency: inconclusive
            0:01.5  ROLL BACK by breaker: 20 of the last 52 requests to v2 failed while v1 is well (0 of 948): it is broken (chance of seeing this without harm: at most 1 in 3 200)
            0:02.0  a step begins
            0:02.2  v2 at 10%

        GATE     ROLE       VERDICT       EVIDENCE        PROOF  COUNTED
        errors   guardrail  inconclusive  4.35 of 5.30        -  50 of 151 against 3 of 2849
        latency  guardrail  inconclusive  -                   -  -
        breaker  guardrail  fail          8.08 of 6.91        -  -
        requests: baseline 2849, 3 failed; v2 151, 50 failed; dispersion: unmeasured
        windows: 3 over 0:02.2; the record has no end
        verdict: the gates roll back after 0:01.5, by breaker: 20 of the last 52 requests to v2 failed while v1 is well (0 of 948): it is broken (chance of seeing this without harm: at most 1 in 3 200)
    "#]].assert_eq(&text);
}

#[test]
fn programs_read_the_evidence_of_every_test_after_each_line() {
    let (exit, text) = judged(BAD, None, true);
    assert_eq!(exit.unwrap(), Exit::RolledBack);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5);
    let kinds: Vec<&str> = lines.iter().filter_map(|line| line["kind"].as_str()).collect();
    assert_eq!(kinds, ["window", "window", "new_step", "window"]);
    for line in &lines[..4] {
        for test in ["family/guardrails", "breaker", "errors", "errors/proof", "latency", "latency/proof"] {
            assert!(line["tests"][test]["log_evidence"].is_f64(), "{test}: {line}");
            assert!(line["tests"][test]["threshold"].as_f64().unwrap() > 0.0, "{test}: {line}");
        }
        assert_eq!(line["exact"], true);
    }
    assert_eq!((&lines[0]["verdict"], &lines[3]["verdict"]), (&"inconclusive".into(), &"fail".into()));
    let summary = &lines[4]["summary"];
    assert_eq!(summary["complete"], true);
    assert_eq!((&summary["verdict"], &summary["windows"]), (&"fail".into(), &3.into()), "{summary}");
    assert!(summary["rolls_back"]["reason"].as_str().unwrap().contains("v2"), "{summary}");
}

#[test]
fn other_gates_say_something_else() {
    let (exit, text) = judged(BAD, Some("gates: [{ latency: {} }]\nalpha: 0.0001%\n"), false);
    assert!(text.contains("judged by other gates: latency; alpha 0.0001 %"), "{text}");
    // The breaker is always on.
    assert_eq!(exit.unwrap(), Exit::RolledBack, "{text}");
    let good = BAD.replace("\"errors\": 20", "\"errors\": 1").replace("\"errors\": 30", "\"errors\": 0");
    let (exit, text) = judged(&good, Some("gates: [{ errors: { limit: 50% } }]"), false);
    assert_eq!(exit.unwrap(), Exit::Done, "{text}");
    assert!(text.contains("verdict: these gates do not roll back"), "{text}");
}

#[test]
fn gates_that_need_what_the_record_has_not_are_refused_in_words() {
    let (exit, text) = judged(BAD, Some("gates: [{ errors: {}, path: /cart }]"), false);
    let refused = exit.unwrap_err().to_string();
    assert_eq!(text, "");
    assert!(refused.starts_with("record.jsonl: ") && refused.contains("/cart"), "{refused}");
}

#[test]
fn what_was_judged_before_a_bad_line_is_printed_and_the_line_is_named() {
    let torn = format!("{BAD}{{\"t\": 17953");
    for json in [false, true] {
        let (exit, text) = judged(&torn, None, json);
        let error = exit.unwrap_err().to_string();
        assert!(error.starts_with("record.jsonl: the record is cut short: line 6"), "{error}");
        let judged = if json { "\"complete\":false" } else { "as far as line 5: the gates roll back after 0:01.5" };
        assert!(text.contains(judged) && !text.contains("verdict: "), "{text}");
    }
    let wrong = BAD.replace("\"errors\": 2}", "\"errors\": 2000}");
    let (exit, _) = judged(&wrong, None, false);
    let error = exit.unwrap_err().to_string();
    assert!(error.starts_with("record.jsonl: line 5: v1: `errors` (2000) are more than"), "{error}");
}

#[test]
fn a_record_without_windows_is_not_judged_and_says_so() {
    let head = BAD.lines().next().unwrap();
    for record in [format!("{head}\n"), format!("{head}\n{{\"t\": 1795310402, \"mark\": \"new_step\"}}\n")] {
        for json in [false, true] {
            let (exit, text) = judged(&record, None, json);
            assert_eq!(exit.unwrap_err().to_string(), "record.jsonl: nothing was judged: the record has no windows");
            let said = if json { "\"windows\":0" } else { "verdict: none; nothing was judged" };
            assert!(text.contains(said) && !text.contains("roll back"), "{text}");
        }
    }
    let (exit, text) = judged(&format!("{head}\n{{\"t\": 17953"), None, false);
    assert!(exit.unwrap_err().to_string().contains("cut short: line 2"));
    assert!(text.contains("nothing was judged"), "{text}");
}

#[test]
fn nothing_in_a_record_reaches_a_terminal_as_a_command() {
    let escape = "\u{1b}]0;mine\u{7}";
    for key in ["rollout", "service", "started_at"] {
        let record = BAD.replacen('{', &format!("{{\"{key}\": \"01K\\u001b[2J\\u009b1m\", "), 1);
        let (exit, text) = judged(&record, None, false);
        let error = exit.unwrap_err().to_string();
        assert!(error.starts_with(&format!("record.jsonl: line 1: `{key}` is ")), "{error}");
        assert!(!error.contains(char::is_control) && text.is_empty(), "{error}{text}");
    }
    // What a program that reads JSON says of a key, it says in the words of the record.
    for line in
        [format!("{{\"{escape}\": 1}}\n").replace(['\u{1b}', '\u{7}'], "\\u001b"), format!("{{\"a{escape}\": 1}}\n")]
    {
        let (exit, text) = judged(&format!("{BAD}{line}"), None, false);
        let error = exit.unwrap_err().to_string();
        assert!(error.contains("line 6") && !error.contains(char::is_control), "{error}");
        assert!(!text.replace('\n', "").contains(char::is_control), "{text}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let place = tempfile::tempdir().unwrap();
    let run = |line: &str| {
        let Command::Replay(arguments) = Cli::try_parse_from(line.split(' ')).unwrap().command else {
            panic!("{line}")
        };
        let mut out = Vec::new();
        (replay(&arguments, &mut out), String::from_utf8(out).unwrap())
    };
    let (exit, _) = run("tidegate replay /nowhere/record.jsonl");
    let error = format!("{:#}", exit.unwrap_err());
    assert!(error.starts_with("/nowhere/record.jsonl: "), "{error}");

    let (record, gates) = (place.path().join("record.jsonl"), place.path().join("gates.yaml"));
    fs::write(&record, BAD).unwrap();
    fs::write(&gates, "gates: [{ errors: { tolerance: 3x } }]").unwrap();
    let (exit, text) = run(&format!("tidegate replay {} --gates {}", record.display(), gates.display()));
    // Standard output is for what programs read.
    assert_eq!(text, "");
    let error = exit.unwrap_err().to_string();
    assert!(error.contains("gates.yaml:1:"), "{error}");

    fs::write(&gates, "gates: []").unwrap();
    let (exit, text) = run(&format!("tidegate replay {} --gates {}", record.display(), gates.display()));
    assert_eq!(exit.unwrap(), Exit::RolledBack, "{text}");
}

/// The records that docs/records.md shows, in their order.
fn documented() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/records.md");
    let text = fs::read_to_string(path).unwrap();
    let blocks = text.split("```jsonl record\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_records_of_the_documentation_are_judged_as_it_says() {
    let records = documented();
    assert_eq!(records.len(), 2);
    for (record, verdict) in records.iter().zip([Exit::Done, Exit::RolledBack]) {
        let (exit, text) = judged(record, None, false);
        assert_eq!(exit.unwrap_or_else(|error| panic!("{error}: {record}")), verdict, "{text}");
    }
}

#[test]
fn every_key_of_a_record_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/records.md");
    let text = fs::read_to_string(path).unwrap();
    for key in [
        "tidegate_record",
        "rollout",
        "service",
        "stable",
        "canary",
        "baseline",
        "started_at",
        "latency_of",
        "latency_bounds",
        "paths",
        "plan",
        "state",
        "t",
        "generation",
        "weight",
        "times",
        "span",
        "draws",
        "endpoints",
        "compared",
        "versions",
        "slice",
        "mark",
        "why",
        "checkpoint",
        "gap",
        "end",
        "requests",
        "errors",
        "by_class",
        "latency",
        "latency_failed",
        "total",
        "total_failed",
        "by_key",
        "by_endpoint",
        "drawn",
        "clients",
        "new_step",
        "acknowledge",
        "begin_anew",
        "warm_up_again",
        "clock_set_back",
        "routine",
        "restart",
    ] {
        assert!(text.contains(&format!("`{key}`")) || text.contains(&format!("\"{key}\"")), "{key}");
    }
}

/// Thirty seconds, in each of which 1 of 950 requests fails on stable, 8 of 50 on the canary, and a part of stable that is
/// as large as the canary has what is given here.
fn with_slice(first: &str, slice: &str) -> String {
    let second = |at: u64| {
        format!(
            "{{\"t\": {at}, \"versions\": {{\"v1\": {{\"requests\": 950, \"errors\": 1}}, \"v2\": {{\"requests\": 50, \
             \"errors\": 8}}}}{slice}}}\n"
        )
    };
    let lines: String = (1_795_310_400..1_795_310_430).map(second).collect();
    format!("{{\"tidegate_record\": 1, \"stable\": \"v1\", \"canary\": \"v2\"{first}}}\n{lines}")
}

#[test]
fn a_record_without_a_plan_says_whom_it_compares_with() {
    let slice = ", \"slice\": {\"requests\": 50, \"errors\": 0}";
    let (exit, text) = judged(&with_slice(", \"baseline\": \"equal\"", slice), None, false);
    assert!(text.contains("compared with a slice of v1 of the same size"), "{text}");
    assert_eq!(exit.unwrap(), Exit::RolledBack, "{text}");
    let (exit, text) = judged(&with_slice("", ""), None, false);
    assert!(text.contains("compared with all of v1"), "{text}");
    assert_eq!(exit.unwrap(), Exit::RolledBack, "{text}");
}

#[test]
fn where_no_gate_had_anything_to_judge_nothing_was_judged() {
    let few = "{\"tidegate_record\": 1, \"stable\": \"v1\", \"canary\": \"v2\"}\n{\"t\": 1795310400, \"versions\": \
               {\"v1\": {\"requests\": 9}}}\n";
    let (exit, text) = judged(few, None, false);
    assert!(text.ends_with("verdict: none; nothing was judged\n"), "{text}");
    let error = exit.unwrap_err().to_string();
    assert!(error.starts_with("record.jsonl: nothing was judged: no gate ever had"), "{error}");
    assert!(judged(few, None, true).0.is_err());
    // Without gates there is the breaker.
    assert_eq!(judged(few, Some("gates: []"), false).0.unwrap(), Exit::Done);
}

#[test]
fn copies_in_a_record_without_a_plan_are_judged_by_gates_of_copies() {
    let second =
        |at: u64| format!("{{\"t\": {at}, \"copies\": {{\"ended\": 50, \"compared\": 50, \"status\": 50}}}}\n");
    let lines: String = (1_795_310_400..1_795_310_430).map(second).collect();
    let record = format!("{{\"tidegate_record\": 1, \"stable\": \"v1\", \"canary\": \"v2\"}}\n{lines}");
    let (exit, text) = judged(&record, Some("gates: [{ mirror: { status: 1% } }]"), false);
    assert_eq!(exit.unwrap(), Exit::RolledBack, "{text}");
}

/// A record of other programs, of so many seconds with ten windows in each, in which the canary fails one request in ten.
fn failing(seconds: u32) -> String {
    let mut record = r#"{"tidegate_record": 1, "stable": "v1", "canary": "v2"}"#.to_owned();
    for tenth in 0..seconds * 10 {
        let at = 1_795_310_400.0 + f64::from(tenth) / 10.0;
        record += &format!(
            "\n{{\"t\": {at:.1}, \"versions\": {{\"v1\": {{\"requests\": 90}}, \"v2\": {{\"requests\": 10, \"errors\": 1}}}}}}"
        );
    }
    record + "\n"
}

#[test]
fn a_dry_run_counts_harm_once_a_minute_as_a_rollout_does() {
    let (exit, text) = judged(&failing(200), Some("dry_run: true"), true);
    assert_eq!(exit.unwrap(), Exit::RolledBack, "{text}");
    let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    // Established within seconds, and again within seconds after each minute.
    assert_eq!(summary["summary"]["times"], 4, "{summary}");
    // A step that begins lets its tests begin anew, and not the minute.
    let whole = failing(200);
    let (first, rest) = whole.split_at(failing(20).len());
    let stepped = format!("{first}{{\"t\": 1795310420, \"mark\": \"new_step\"}}\n{rest}");
    let (_, text) = judged(&stepped, Some("dry_run: true"), true);
    let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(summary["summary"]["times"], 4, "{summary}");
}

#[test]
fn a_clock_that_was_set_back_takes_no_time_away() {
    let mut record = failing(2);
    record += "{\"t\": 1795310300, \"mark\": \"clock_set_back\"}\n";
    record +=
        &failing(4).lines().skip(1).map(|line| format!("{line}\n").replace("17953104", "17953103")).collect::<String>();
    let (exit, text) = judged(&record, None, false);
    assert_eq!(exit.unwrap(), Exit::RolledBack, "{text}");
    assert!(text.contains("over 0:05.8") && !text.contains("-0:") && !text.contains("-1:"), "{text}");
}

#[test]
fn what_is_wrong_is_not_shown_whole_where_it_is_long_and_a_first_line_is_named_for_what_it_is() {
    let long = BAD.replace("\"weight\": 500", &format!("\"{}\": 500", "x".repeat(1_000_000)));
    let said = judged(&long, None, false).0.unwrap_err().to_string();
    assert!(said.starts_with("record.jsonl: line 2: ") && said.len() < 2_000, "{said}");
    let said = judged("hello world", None, false).0.unwrap_err().to_string();
    assert!(said.starts_with("record.jsonl: line 1: this is no whole JSON: no record"), "{said}");
}

#[test]
fn a_verdict_says_whether_the_evidence_was_exact_where_it_was_found() {
    let exact = |record: &str| {
        let (_, text) = judged(record, None, true);
        let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        summary["summary"]["rolls_back"]["exact"].as_bool().unwrap()
    };
    assert!(exact(BAD));
    let with_gap = BAD.replacen("\n{\"t\": 1795310401.5", "\n{\"gap\": 3}\n{\"t\": 1795310401.5", 1);
    assert!(!exact(&with_gap));
    assert!(
        judged(&with_gap, None, false).1.contains("roll back after 0:01.5 (where the evidence is approximate), by")
    );
}
