//! Plans.

use std::time::Duration;

use crate::cursor::{Cursor, Fields, Report};
use crate::keys;
use crate::literal::{self, Illegal, spelt};
use crate::model::{Advance, Baseline, Gate, GateRule, Match, Name, PathPrefix, Plan, Step};
use crate::problem::quoted;
use crate::read::gate::gates;
use crate::read::step::{ProofAt, Usual, steps};
use crate::units::{Alpha, Beta};

/// A plan, and those of its values that only a service can tell right from wrong.
pub(super) struct Planned<'a> {
    /// The plan, where nothing else is wrong with it.
    pub(super) plan: Option<Plan>,
    /// The version that it names as its baseline.
    pub(super) baseline: Option<(Name, Cursor<'a>)>,
    /// The paths that its gates judge by themselves.
    pub(super) paths: Vec<(PathPrefix, Cursor<'a>)>,
}

/// Reads a plan. `first_byte` is how long its service waits for the head of a response.
pub(super) fn plan<'a>(written: &Cursor<'a>, first_byte: Duration, report: &mut Report) -> Planned<'a> {
    let mut planned = Planned { plan: None, baseline: None, paths: Vec::new() };
    let Some(fields) = written.fields(report, &keys::PLAN) else { return planned };
    planned.plan = read(&fields, first_byte, &mut planned, report).filter(|plan| fits_together(plan, &fields, report));
    planned
}

/// A plan by which a record is judged again: its gates count, and what says when steps end does not.
pub(super) fn gates_of_a_replay(written: &Cursor<'_>, report: &mut Report) -> Option<Plan> {
    const OF_STEPS: [&str; 7] = ["steps", "advance", "early", "deadline", "on_deadline", "min_requests", "drain"];
    let fields = written.fields(report, &keys::PLAN)?;
    let plan = read(&fields, Duration::ZERO, &mut Planned { plan: None, baseline: None, paths: Vec::new() }, report)?;
    for (key, written) in OF_STEPS.iter().filter_map(|key| Some((key, fields.get(key)?))) {
        let message = format!(
            "`{key}` changes nothing here: a record is judged again in the steps that it was made in, and what counts are \
             `gates`, `alpha`, `beta`, `warmup`, `baseline` and `dry_run`"
        );
        report.warning(written.place, &written.path, message);
    }
    Some(plan)
}

fn read<'a>(fields: &Fields<'a>, first_byte: Duration, planned: &mut Planned<'a>, report: &mut Report) -> Option<Plan> {
    let alpha =
        fields.or("alpha", Alpha::DEFAULT, |written| written.literal(report, "a percentage, like 1%", str::parse));
    let beta = fields.or("beta", Beta::DEFAULT, |written| written.literal(report, "a percentage, like 5%", str::parse));
    let min_requests = fields.or("min_requests", Plan::MIN_REQUESTS, |written| {
        written.literal(report, "a whole number, like 50", min_requests)
    });
    let warmup = fields.or("warmup", Plan::WARMUP, |written| written.literal(report, "a time, like 30s", warmup));
    let advance = fields.or("advance", Advance::default(), |written| {
        written.choice(report, "is no way to advance", &[("time", Advance::Time), ("proof", Advance::Proof)])
    });
    let baseline = fields.or("baseline", Baseline::default(), |written| baseline(written, planned, report));
    let dry_run = fields.or("dry_run", false, |written| written.switch(report));
    let drain =
        fields.or("drain", Some(Plan::DRAIN), |written| written.literal(report, "a time, like 10m, or `never`", drain));
    let usual = Usual::read(fields, report);
    let proof = ProofAt { always: advance == Some(Advance::Proof), warmup: warmup.unwrap_or_default(), first_byte };
    let steps = match dry_run {
        Some(true) => steps(fields.get("steps"), &usual, None, report),
        Some(false) | None => steps(fields.get("steps"), &usual, Some(proof), report),
    };
    let gates = match fields.get("gates") {
        Some(written) => gates(written, &mut planned.paths, report),
        None => Some(Gate::defaults()),
    };
    Some(Plan {
        alpha: alpha?,
        beta: beta?,
        min_requests: min_requests?,
        warmup: warmup?,
        advance: advance?,
        baseline: baseline?,
        dry_run: dry_run?,
        drain: drain?,
        steps: steps?,
        gates: gates?,
    })
}

fn min_requests(text: &str) -> Result<u64, Illegal> {
    const MOST: u64 = 1_000_000_000;
    let wrong = || Illegal::new(format!("{} is no number of requests; legal is 1 to {MOST}", quoted(text)));
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && (1..=MOST).contains(number)).ok_or_else(wrong)
}

fn warmup(text: &str) -> Result<Duration, Illegal> {
    let warmup = literal::duration(text)?;
    if warmup <= Duration::from_secs(3600) {
        return Ok(warmup);
    }
    Err(Illegal::new(format!("{} is longer than an hour; legal is 0s to 1h", quoted(text))))
}

/// How long connections that last may stay on a version that has left; none for as long as they like.
fn drain(text: &str) -> Result<Option<Duration>, Illegal> {
    const MOST: Duration = Duration::from_secs(24 * 3600);
    if text == "never" {
        return Ok(None);
    }
    if literal::duration(text).is_ok_and(|time| time > MOST) {
        return Err(Illegal::new(format!("{} is longer than a day; legal is 0s to 24h, or `never`", quoted(text))));
    }
    let or_never = |illegal: Illegal| illegal.to_string().replacen("legal is ", "legal is `never`, or ", 1);
    literal::duration(text).map(Some).map_err(|illegal| Illegal::new(or_never(illegal)))
}

fn baseline<'a>(written: &Cursor<'a>, planned: &mut Planned<'a>, report: &mut Report) -> Option<Baseline> {
    const LEGAL: &str = "`stable`, `equal` or the name of another version";
    match written.text(report, LEGAL)? {
        "stable" => Some(Baseline::Stable),
        "equal" => Some(Baseline::Equal),
        other => {
            let Some(version) = Name::new(other) else {
                written.wrong(report, format!("{} names no version; legal is {LEGAL}", quoted(other)));
                return None;
            };
            planned.baseline = Some((version.clone(), written.clone()));
            Some(Baseline::Version(version))
        }
    }
}

/// Whether nothing in the plan waits for what cannot come. What has no effect is warned of.
fn fits_together(plan: &Plan, fields: &Fields<'_>, report: &mut Report) -> bool {
    if !baseline_has_traffic(plan, fields, report) {
        return false;
    }
    copies_are_judged(plan, fields, report);
    latencies_are_compared(plan, fields, report);
    let early = plan.steps.iter().any(|step| matches!(step, Step::Weight { early: true, .. }));
    let waits = match (plan.advance, early) {
        (Advance::Proof, _) => "`advance: proof`",
        (Advance::Time, true) => "`early: true`",
        (Advance::Time, false) => return true,
    };
    if let (Some(gates), true) = (fields.get("gates"), plan.gates.iter().all(is_of_copies)) {
        let of_users = if plan.gates.is_empty() { "" } else { " of a canary with users" };
        let message = format!(
            "no gate is written here that could prove anything{of_users}, and {waits} waits for proof; write a gate, or leave \
             {waits} out"
        );
        gates.wrong(report, message);
        return false;
    }
    if let (Some(dry_run), true) = (fields.get("dry_run"), plan.dry_run) {
        let message = format!("a dry run waits for no proof, so {waits} does nothing: its steps end by time");
        report.warning(dry_run.place, &dry_run.path, message);
    }
    true
}

fn is_of_copies(gate: &Gate) -> bool {
    matches!(gate.rule, GateRule::Mirror(_))
}

/// Warns of copies that nobody looks at, and of gates that look at copies which nobody sends.
fn copies_are_judged(plan: &Plan, fields: &Fields<'_>, report: &mut Report) {
    let first = plan.gates.iter().find(|gate| is_of_copies(gate));
    if let (Some(gate), Some(written), false) = (first, fields.get("gates"), plan.mirrors()) {
        let message = format!(
            "the gate `{}` judges copies of requests, and no step sends any; write a step like {{ mirror: 10%, hold: 5m }} \
             before the first weight, or leave the gate out",
            gate.name
        );
        report.warning(written.place, &written.path, message);
    }
    let step = plan.steps.iter().position(|step| matches!(step, Step::Mirror { .. }));
    if let (Some(number), Some(written), None) = (step, fields.get("steps"), first) {
        let message = format!(
            "no gate looks at the copies of step {}, so it ends by its hold whatever the canary answers; write a gate like \
             {{ mirror: {{ errors: 1%, status: 1% }} }}",
            number + 1
        );
        report.warning(written.place, &written.path, message);
    }
    let of_users = plan.gates.iter().any(|gate| !is_of_copies(gate));
    if let (Some(_), Some(written), false) = (first, fields.get("gates"), of_users) {
        let message = "every gate judges copies alone: once the canary has users nothing but the circuit breaker takes it \
                       back; write a gate like { errors: {} } beside them";
        report.warning(written.place, &written.path, message);
    }
}

/// Warns of gates that compare nothing: by time alone the plan is over before the canary has warmed up.
fn latencies_are_compared(plan: &Plan, fields: &Fields<'_>, report: &mut Report) {
    let compares = |gate: &&Gate| matches!(gate.rule, GateRule::Latency { .. });
    let Some(gate) = plan.gates.iter().find(compares) else { return };
    // Where the steps are those that nobody wrote, the warm-up is what somebody did.
    let Some(written) = fields.get("steps").or_else(|| fields.get("warmup")) else { return };
    let lasts = |step: &Step| match step {
        Step::Weight { hold, .. } | Step::Match { who: Some(Match { judged: true, .. }), hold, .. } => Some(*hold),
        Step::Match { .. } | Step::Mirror { .. } => Some(Duration::ZERO),
        // It takes as long as people take.
        Step::Approval => None,
    };
    let all = plan.steps.iter().try_fold(Duration::ZERO, |sum, step| Some(sum.saturating_add(lasts(step)?)));
    let Some(lasting) = all else { return };
    if plan.advance == Advance::Time && lasting <= plan.warmup {
        let message = format!(
            "the gate `{}` compares no latency: the canary warms up for {} (`warmup`), and by then all steps are over, which \
             last for {} together; write longer holds or a shorter `warmup`, or leave the gate out",
            gate.name,
            spelt(plan.warmup),
            spelt(lasting)
        );
        report.warning(written.place, &written.path, message);
    }
}

/// Whether those who match and are judged can be compared: a baseline of its own has as much traffic as the canary draws,
/// which before the first weight is none.
fn baseline_has_traffic(plan: &Plan, fields: &Fields<'_>, report: &mut Report) -> bool {
    let mut before = plan.steps.iter().take_while(|step| !matches!(step, Step::Weight { .. }));
    let judges = |step: &Step| matches!(step, Step::Match { who: Some(Match { judged: true, .. }), .. });
    let (Some(number), Some(written)) = (before.position(judges), fields.get("steps")) else { return true };
    if plan.baseline == Baseline::Stable {
        return true;
    }
    let message = format!(
        "step {} judges who matches before the canary has a weight, and until then this plan's baseline has no traffic to \
         compare with; write `baseline: stable`, write a weight before it, or leave `judged` out",
        number + 1
    );
    written.wrong(report, message);
    false
}
