//! Gates, and how long their verdicts take, for people.

use control::view::{Dispersion, GateView, Role, StepEstimate, Verdict};

use super::screen::{Screen, Tone, plain};
use super::status::weight;

/// How many characters a progress bar has.
const BAR: usize = 20;

/// A line a gate: how far it is on the way to fail and to pass, its verdict, and the sentence.
pub(super) fn lines(gates: &[GateView], screen: &Screen<'_>) -> Vec<String> {
    let names: Vec<String> = gates.iter().map(name).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    names.iter().zip(gates).map(|(name, gate)| format!("{name:<width$}  {}", reading(gate, screen))).collect()
}

/// The name, and what is unusual about the gate.
fn name(gate: &GateView) -> String {
    let path = gate.path.as_ref().map(|path| format!(" {}", plain(path))).unwrap_or_default();
    let role = match gate.role {
        Role::Guardrail => "",
        Role::Signal => " (signal)",
    };
    format!("{}{path}{role}", plain(&gate.name))
}

fn reading(gate: &GateView, screen: &Screen<'_>) -> String {
    let progress = gate.progress.clamp(0.0, 1.0);
    // Rounded down: a full bar is harm established and nothing less.
    let full = (progress * BAR as f64).floor() as usize;
    let bar = format!("[{}{}]", "#".repeat(full), "-".repeat(BAR - full));
    let (word, tone) = match gate.verdict {
        Verdict::Fail => ("fail", Tone::Bad),
        Verdict::NoData => ("no-data", Tone::Heed),
        Verdict::Inconclusive => ("inconclusive", Tone::Heed),
        Verdict::Pass => ("pass", Tone::Good),
    };
    let verdict = screen.toned(tone, &format!("{word:<12}"));
    let percent = |part: f64| format!("{:.0}%", (part.clamp(0.0, 1.0) * 100.0).floor());
    let proof = gate.proof.map_or_else(|| "-".to_owned(), percent);
    let ratio = gate.ratio.as_ref().map_or_else(String::new, |ratio| format!("; {}", plain(&ratio.explain)));
    format!("{bar} {:>4} to fail  {proof:>4} to pass  {verdict}  {}{ratio}", percent(progress), plain(&gate.explain))
}

/// How bursty stable's events are.
pub(super) fn dispersion(measured: Option<Dispersion>) -> String {
    match measured {
        None => "dispersion: unmeasured".to_owned(),
        Some(Dispersion { errors, latency }) => {
            format!("dispersion: errors {errors:.1}, latency {latency:.1} (1 is independent requests)")
        }
    }
}

/// Whether there was traffic to estimate from.
pub(super) const fn says_something(estimate: &StepEstimate) -> bool {
    estimate.fail_s.is_some() || estimate.pass_s.is_some()
}

/// How long the verdicts of a step take.
pub(super) fn estimate(estimate: &StepEstimate) -> String {
    let size = if estimate.mirror.is_some() {
        "twice as many differences as are allowed"
    } else {
        "harm of the margin's size"
    };
    let harm = match (estimate.fail_s, estimate.mirror) {
        (Some(time), Some(_)) => format!("{size} show in about {}", about(time)),
        (Some(time), None) => format!("{size} shows in about {}", about(time)),
        (None, _) => format!("{size} would not show"),
    };
    let proof = match estimate.pass_s {
        Some(time) => format!("a healthy canary passes in about {}", about(time)),
        None => "no canary would pass".to_owned(),
    };
    let what = estimate.mirror.map_or_else(|| weight(estimate.weight), |share| format!("copies of {}", weight(share)));
    format!("step {} ({what}): {harm}, {proof}", estimate.step)
}

/// A time that is only about right: `40 s`, `2 min`, `3 h`, `5 d`.
fn about(time: f64) -> String {
    const MINUTE: f64 = 60.0;
    const HOUR: f64 = 60.0 * MINUTE;
    const DAY: f64 = 24.0 * HOUR;
    let time = time.max(0.0);
    if time < 10.0 {
        format!("{:.0} s", time.ceil())
    } else if time < 1.5 * MINUTE {
        format!("{:.0} s", (time / 5.0).round() * 5.0)
    } else if time < 1.5 * HOUR {
        format!("{:.0} min", time / MINUTE)
    } else if time < 2.0 * DAY {
        format!("{:.0} h", time / HOUR)
    } else if time < 1_000.0 * DAY {
        format!("{:.0} d", time / DAY)
    } else {
        "years".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_no_more_exact_than_it_is_right() {
        let said = [0.2, 9.1, 42.0, 89.0, 100.0, 3_700.0, 10_000.0, 400_000.0, 1e12].map(about);
        assert_eq!(said, ["1 s", "10 s", "40 s", "90 s", "2 min", "62 min", "3 h", "5 d", "years"]);
    }
}
