//! The plans under which canaries are judged here.

use std::time::Duration;

use anyhow::Context;
use config::{Fraction, Gate, GateRule, LatencyMargin, LatencyOf, Plan, Stretch, Tolerance};
use control::judge::{Background, Judge, Trial};

use crate::watch::Judged;

/// The plan that has every default.
pub(crate) fn default_plan() -> Plan {
    Plan::built_in()
}

/// The default gates, except that nothing is tolerated: every real difference is found sooner or later.
pub(crate) fn tolerating_nothing() -> Plan {
    let mut plan = default_plan();
    plan.gates = plan.gates.into_iter().map(strict).collect();
    plan
}

fn strict(gate: Gate) -> Gate {
    let rule = match gate.rule {
        GateRule::Errors { margin, .. } => {
            GateRule::Errors { tolerance: Tolerance { ratio: 1.0, points: Fraction::ZERO }, margin }
        }
        GateRule::Latency { quantile, margin, of, .. } => {
            GateRule::Latency { quantile, tolerance: Stretch::ZERO, margin, of }
        }
        GateRule::ErrorLimit { .. } | GateRule::LatencyLimit { .. } | GateRule::Mirror(_) => gate.rule,
    };
    Gate { rule, ..gate }
}

/// One gate alone that tolerates exactly what it must rule out to pass: its proof is judged undisturbed at its margin.
pub(crate) fn at_the_margin(rule: GateRule) -> Plan {
    let mut plan = without_warmup(default_plan());
    plan.gates.retain(|gate| std::mem::discriminant(&gate.rule) == std::mem::discriminant(&rule));
    plan.gates.iter_mut().for_each(|gate| gate.rule = rule);
    plan
}

/// Errors: tolerance and margin are the default margin.
pub(crate) const ERRORS_AT_MARGIN: GateRule =
    GateRule::Errors { tolerance: Tolerance::MARGIN, margin: Tolerance::MARGIN };

/// Latency: so much is tolerated, and must be ruled out, everywhere.
pub(crate) const fn latency_at(stretch: Stretch) -> GateRule {
    let margin = LatencyMargin { body: stretch, tail: stretch };
    GateRule::Latency { quantile: None, tolerance: stretch, margin, of: LatencyOf::Head }
}

/// The same plan, judging latency from the first request on: for what is measured from a known moment.
pub(crate) fn without_warmup(plan: Plan) -> Plan {
    Plan { warmup: Duration::ZERO, ..plan }
}

/// A judge under this plan that knows this of stable.
pub(crate) fn judge(plan: &Plan, background: &Background) -> Judge {
    Judge::new(Trial { background: background.clone(), ..Trial::of(plan, "v1", "v2") })
}

/// As [`judged`], by a judge whose gates of errors have no test of blocks of time: as a rollout is judged to its end that
/// began under a Tidegate which had none.
pub(crate) fn judged_without_blocks(plan: &Plan, background: &Background) -> anyhow::Result<Box<Judged>> {
    let mut state = serde_json::to_value(judge(plan, background))?;
    for (part, key) in [("settings", "blocks"), ("family", "blocks_of_time")] {
        let part = state[part].as_object_mut().with_context(|| format!("a judge is saved without {part}"))?;
        part.remove(key).with_context(|| format!("a judge is saved without {key}"))?;
    }
    Ok(Box::new(Judged::new(serde_json::from_value(state)?)))
}

/// The same, as a watcher.
pub(crate) fn judged(plan: &Plan, background: &Background) -> Box<Judged> {
    Box::new(Judged::new(judge(plan, background)))
}
