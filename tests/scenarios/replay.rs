//! The record of a rollout says again what the rollout said.

use std::fs;
use std::path::{Path, PathBuf};

use control::view::Phase;
use loadtest::Fraction;
use serde_json::Value;

use crate::patience::until;
use crate::process::{Process, tidegate};
use crate::shop::Shop;

/// The only record in a state directory.
fn record_in(state: &Path) -> PathBuf {
    let files = fs::read_dir(state.join("records/shop")).unwrap();
    let files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.into_iter().next().unwrap()
}

/// Waits until the record has its last line, which comes within a second of the rollout's end.
fn ended(state: &Path) -> PathBuf {
    until("the end of the record", || {
        let record = record_in(state);
        fs::read_to_string(&record).unwrap().trim_end().ends_with("\"end\":\"rolled-back\"}").then_some(record)
    })
}

/// What a replay prints as JSON: the lines, and the summary.
fn replayed(record: &Path) -> (Vec<Value>, Value) {
    let mut command = tidegate();
    command.args(["replay", record.to_str().unwrap(), "--json"]);
    let end = Process::start(command).end();
    assert_eq!((end.code, end.err.as_str()), (Some(10), ""), "{end:?}");
    let mut lines: Vec<Value> = end.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().unwrap()["summary"].take();
    (lines, summary)
}

#[test]
fn a_rollout_that_was_rolled_back_is_rolled_back_again_by_its_record_at_the_same_window() {
    let shop = Shop::open("{ steps: [{ weight: 20%, hold: 10m }] }");
    let load = shop.server.load(400.0).start().unwrap();
    shop.release_v2();
    shop.admin().until("shop", "good traffic on v2", |rollout| rollout.requests.canary >= 100);
    shop.v2.dial().set_errors(Fraction::new(0.3).unwrap());
    let rollout = shop.admin().until_phase("shop", Phase::RolledBack);
    drop(load.stop());

    let (lines, summary) = replayed(&ended(&shop.place.state()));

    assert_eq!(
        (&summary["exact"], &summary["missing"], &summary["outcome"]),
        (&true.into(), &0.into(), &"rolled-back".into())
    );
    let reason = summary["rolls_back"]["reason"].as_str().unwrap();
    assert!(rollout.reason.as_ref().unwrap().contains(reason), "{reason}: {rollout:?}");
    // The rollout was over with the very window that established the harm.
    let windows: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "window").collect();
    let fails: Vec<bool> = windows.iter().map(|line| line["verdict"] == "fail").collect();
    assert_eq!(fails.iter().position(|fails| *fails), Some(windows.len() - 1), "{fails:?}");
    let last = windows.last().unwrap();
    assert_eq!(last["requests"], serde_json::to_value(rollout.requests).unwrap());
    for gate in &rollout.gates {
        let again = last["gates"].as_array().unwrap().iter().find(|again| again["name"] == gate.name.as_str()).unwrap();
        assert_eq!(again["log_evidence"].as_f64(), gate.log_evidence, "{}", gate.name);
        assert_eq!(again["explain"], gate.explain.as_str());
    }
}

#[test]
fn the_record_of_a_rollout_whose_process_was_killed_is_still_exact() {
    let shop = Shop::open("{ steps: [{ weight: 20%, hold: 10m }] }");
    let load = shop.server.load(400.0).start().unwrap();
    shop.release_v2();
    shop.admin().until("shop", "three seconds", |rollout| rollout.step_elapsed_s >= 3.0);
    drop(load.stop());

    let shop = shop.kill_and_restart();
    let load = shop.server.load(400.0).start().unwrap();
    let before = shop.admin().rollout("shop").requests.canary;
    shop.admin().until("shop", "more traffic on v2", |rollout| rollout.requests.canary >= before + 100);
    shop.v2.dial().set_errors(Fraction::new(0.3).unwrap());
    let rollout = shop.admin().until_phase("shop", Phase::RolledBack);
    drop(load.stop());

    let (lines, summary) = replayed(&ended(&shop.place.state()));

    assert_eq!((&summary["exact"], &summary["restarts"]), (&true.into(), &1.into()), "{summary}");
    let last = lines.iter().rfind(|line| line["kind"] == "window").unwrap();
    assert_eq!(last["requests"], serde_json::to_value(rollout.requests).unwrap());
    for gate in &rollout.gates {
        let again = last["gates"].as_array().unwrap().iter().find(|again| again["name"] == gate.name.as_str()).unwrap();
        assert_eq!(again["log_evidence"].as_f64(), gate.log_evidence, "{}", gate.name);
    }
    assert!(rollout.reason.unwrap().contains(summary["rolls_back"]["reason"].as_str().unwrap()));
}
