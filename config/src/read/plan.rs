//! Plans and their steps.

use crate::cursor::{Cursor, Report};
use crate::keys;
use crate::literal::{self, Illegal};
use crate::model::{Gate, Plan, Step};
use crate::problem::{did_you_mean, quoted};
use crate::read::gate::gates;
use crate::tree::Place;
use crate::units::{Alpha, Weight};

pub(super) fn plan(written: &Cursor<'_>, report: &mut Report) -> Option<Plan> {
    let fields = written.fields(report, &keys::PLAN)?;
    let alpha = match fields.get("alpha") {
        Some(written) => written.literal(report, "a percentage, like 1%", str::parse),
        None => Some(Alpha::DEFAULT),
    };
    let min_requests = match fields.get("min_requests") {
        Some(written) => written.literal(report, "a whole number, like 50", min_requests),
        None => Some(Plan::MIN_REQUESTS),
    };
    let advance = match fields.get("advance") {
        Some(written) => advance(written, report),
        None => Some(()),
    };
    let steps = match fields.get("steps") {
        Some(written) => steps(written, report),
        None => Some(Step::built_in()),
    };
    let gates = match fields.get("gates") {
        Some(written) => gates(written, report),
        None => Some(Gate::defaults()),
    };
    advance?;
    Some(Plan { alpha: alpha?, min_requests: min_requests?, steps: steps?, gates: gates?, ..Plan::built_in() })
}

fn min_requests(text: &str) -> Result<u64, Illegal> {
    const MOST: u64 = 1_000_000_000;
    let wrong = || Illegal::new(format!("{} is no number of requests; legal is 1 to {MOST}", quoted(text)));
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && (1..=MOST).contains(number)).ok_or_else(wrong)
}

fn advance(written: &Cursor<'_>, report: &mut Report) -> Option<()> {
    let text = written.text(report, "`time`")?;
    match text {
        "time" => return Some(()),
        "proof" => written.wrong(report, "`proof` is known and not built yet; legal is `time`"),
        other => {
            let near = did_you_mean(other, ["time", "proof"]);
            written.wrong(report, format!("{} is no way to advance; legal is `time`{near}", quoted(other)));
        }
    }
    None
}

fn steps(written: &Cursor<'_>, report: &mut Report) -> Option<Vec<Step>> {
    let items = written.items(report, "a list of steps, like [{ weight: 5%, hold: 10m }, { approval: true }]")?;
    let mut highest: Option<(Weight, Place)> = None;
    let read: Vec<_> = items.iter().map(|item| step(item, &mut highest, report)).collect();
    let steps: Vec<Step> = read.into_iter().collect::<Option<_>>()?;
    if highest.is_none() {
        let message = "no step gives the canary a weight; write at least one, like { weight: 5%, hold: 10m }, or leave \
                       `steps` out for 1%, 5%, 25% and 50%";
        written.wrong(report, message);
        return None;
    }
    Some(steps)
}

fn step(item: &Cursor<'_>, highest: &mut Option<(Weight, Place)>, report: &mut Report) -> Option<Step> {
    const LEGAL: &str = "{ weight: 5%, hold: 10m } or { approval: true }";
    let fields = item.fields(report, &keys::STEP)?;
    let hold = match fields.get("hold") {
        Some(hold) => hold.literal(report, "a time, like 10m", literal::duration),
        None => Some(Step::HOLD),
    };
    match (fields.get("weight"), fields.get("approval")) {
        (Some(weight), None) => {
            let weight = step_weight(weight, highest, report);
            Some(Step::of_weight(weight?, hold?))
        }
        (None, Some(_)) if fields.has("hold") => {
            fields.wrong(report, "an approval waits for a person, however long; leave `hold` out");
            None
        }
        (None, Some(approval)) => {
            let text = approval.text(report, "`true`")?;
            if text == "true" {
                return Some(Step::Approval);
            }
            approval.wrong(report, format!("{} is written here; legal is `true`, or leave the step out", quoted(text)));
            None
        }
        (Some(_), Some(approval)) => {
            approval.wrong(report, format!("a step is either a weight or an approval; write two steps, each {LEGAL}"));
            None
        }
        (None, None) => {
            fields.chooses_none(report, format!("is no step; legal is {LEGAL}"));
            None
        }
    }
}

fn step_weight(written: &Cursor<'_>, highest: &mut Option<(Weight, Place)>, report: &mut Report) -> Option<Weight> {
    let weight: Weight = written.literal(report, "a weight, like 5%", str::parse)?;
    if weight == Weight::ZERO {
        written.wrong(report, "`0%` gives the canary nothing; legal is above 0% and below 100%");
        return None;
    }
    if weight == Weight::FULL {
        written.wrong(
            report,
            "`100%` leaves no stable traffic to compare with; legal is above 0% and below 100% (after its last step the \
             canary is promoted by itself)",
        );
        return None;
    }
    if let Some((before, place)) = highest.filter(|(before, _)| weight < *before) {
        let message = format!(
            "{weight} is below the {before} of an earlier step at {}; legal is {before} or more (weights never fall)",
            report.place(place)
        );
        written.wrong(report, message);
        return None;
    }
    *highest = Some((weight, written.place));
    Some(weight)
}
