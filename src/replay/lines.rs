//! What a replay says to programs: a JSON line after each line of the record, and one at the end.

use std::io::{self, Write};

use control::record::{Line, Tallied};
use control::view::{Phase, Verdict};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::course::Course;

/// Writes JSON lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    outcome: Option<Phase>,
}

#[derive(Serialize)]
struct After<'a> {
    /// The line of the record, counted from 1.
    line: u64,
    t: Option<f64>,
    kind: &'static str,
    /// Whether the evidence is to the last bit what the rollout had, or would have had.
    exact: bool,
    verdict: Verdict,
    reason: Option<&'a str>,
    signal: Option<&'a str>,
    hold: Option<&'a str>,
    traffic: Option<&'a str>,
    requests: Value,
    failed: Value,
    tests: Map<String, Value>,
    gates: Value,
    dispersion: Value,
}

impl Lines {
    pub(super) fn after(&mut self, number: u64, line: &Line, course: &Course, out: &mut dyn Write) -> io::Result<()> {
        let (judgement, judge) = (course.judgement(), course.replay().judge());
        if let Line::End(_, outcome) = line {
            self.outcome = *outcome;
        }
        let tests = judge.evidence().into_iter().map(|test| {
            let figures = json!({ "log_evidence": test.log_evidence, "threshold": test.threshold });
            (test.test, figures)
        });
        let after = After {
            line: number,
            t: line.at().map(control::record::Moment::seconds),
            kind: kind(line),
            exact: course.replay().is_exact(),
            verdict: course.verdict(),
            reason: judgement.harm.as_ref().map(|harm| harm.explain.as_str()),
            signal: judgement.signal.as_ref().map(|harm| harm.explain.as_str()),
            hold: judgement.hold.as_deref(),
            traffic: judgement.traffic.as_deref(),
            requests: json!(judgement.requests),
            failed: json!(judgement.failed),
            tests: tests.collect(),
            gates: json!(course.gates()),
            dispersion: json!(judge.dispersion()),
        };
        write(out, &after)
    }

    /// `complete` tells whether the record was judged to its last line.
    pub(super) fn end(&self, course: &Course, complete: bool, out: &mut dyn Write) -> io::Result<()> {
        let Tallied { windows, merged, missing, checkpoints: (same, different), restarts } = course.replay().tallied();
        let harm = course.first_harm().map(|(at, harm)| {
            json!({
                "t": at.at.seconds(), "after_s": at.after, "exact": at.exact, "gate": harm.gate, "reason": harm.explain
            })
        });
        let pause = course
            .first_pause()
            .map(|(at, why)| json!({ "t": at.at.seconds(), "after_s": at.after, "exact": at.exact, "reason": why }));
        write(
            out,
            &json!({ "summary": {
                "complete": complete,
                "verdict": course.verdict(),
                "judged": course.has_judged(),
                "rolls_back": harm,
                "pauses": pause,
                "times": course.harms(),
                "outcome": self.outcome,
                "same_gates": course.replay().has_same_gates(),
                "exact": course.replay().is_exact(),
                "windows": windows,
                "merged": merged,
                "missing": missing,
                "restarts": restarts,
                "checkpoints": { "same": same, "different": different },
            }}),
        )
    }
}

const fn kind(line: &Line) -> &'static str {
    match line {
        Line::Counted(_) => "window",
        Line::Marked(_, mark) => mark.word(),
        Line::Checkpoint(_) => "checkpoint",
        Line::Gap(_) => "gap",
        Line::End(..) => "end",
    }
}

fn write(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}
