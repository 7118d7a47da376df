mod baselines;
mod beyond;
mod blocks;
mod broken;
pub(super) mod clients;
mod copies;
mod going_on;
mod golden;
mod latency;
mod leaving;
mod matching;
mod older;
mod proof;
mod restart;
mod seconds;
mod sentences;
mod signals;
mod simulation;
mod unfit;

use std::time::Duration;

use config::{Alpha, Fraction, Gate, GateRole, GateRule, LatencyOf, Name, Plan, Quantile, Step, Tolerance, Weight};
use libm::log;
use meter::{Class, Window};

use super::settings::Settings;
use super::*;
use crate::view::{GateView, Verdict};

pub(in crate::judge) const DEFAULT_TOLERANCE: (f64, f64) = (1.1, 0.0005);

pub(in crate::judge) fn fraction(value: f64) -> Fraction {
    Fraction::new(value).unwrap()
}

pub(in crate::judge) fn errors((ratio, points): (f64, f64)) -> GateRule {
    GateRule::Errors { tolerance: Tolerance { ratio, points: fraction(points) }, margin: Tolerance::MARGIN }
}

pub(in crate::judge) fn error_limit(limit: f64) -> GateRule {
    GateRule::ErrorLimit { limit: fraction(limit) }
}

pub(in crate::judge) fn latency_limit(quantile: f64, ms: u64) -> GateRule {
    GateRule::LatencyLimit {
        quantile: Quantile::new(quantile).unwrap(),
        limit: Duration::from_millis(ms),
        of: LatencyOf::Head,
    }
}

pub(in crate::judge) fn plan(rules: &[GateRule]) -> Plan {
    let name = |place: usize, rule: &GateRule| {
        let kind = match rule {
            GateRule::Errors { .. } => "errors",
            GateRule::ErrorLimit { .. } => "errors-limit",
            GateRule::LatencyLimit { .. } => "latency-limit",
            GateRule::Latency { .. } => "latency",
            GateRule::Mirror(_) => "mirror",
        };
        let nth = rules[..place].iter().filter(|other| std::mem::discriminant(*other) == std::mem::discriminant(rule));
        let nth = nth.count();
        Name::new(&if nth == 0 { kind.to_owned() } else { format!("{kind}-{}", nth + 1) }).unwrap()
    };
    Plan {
        alpha: Alpha::new(0.01).unwrap(),
        min_requests: 50,
        steps: vec![Step::of_weight(Weight::from_basis_points(500).unwrap(), Duration::from_secs(60))],
        gates: rules
            .iter()
            .enumerate()
            .map(|(place, rule)| Gate { name: name(place, rule), role: GateRole::Guardrail, path: None, rule: *rule })
            .collect(),
        ..Plan::built_in()
    }
}

/// The same, with a step before the others that sends copies.
pub(in crate::judge) fn with_copies(mut plan: Plan) -> Plan {
    plan.steps.insert(0, Step::Mirror { share: Weight::FULL, hold: Duration::ZERO });
    plan
}

/// A judge of v2 against v1.
pub(in crate::judge) fn judge_of(rules: &[GateRule]) -> Judge {
    Judge::new(Trial::of(&plan(rules), "v1", "v2"))
}

/// What a plan without gates of its own has.
pub(in crate::judge) fn default_gates() -> [GateRule; 2] {
    [errors(DEFAULT_TOLERANCE), GateRule::LATENCY]
}

/// So many requests, so many of them failed, at once.
pub(in crate::judge) fn window(requests: u64, bad: u64) -> Window {
    let mut window = Window::default();
    window.judged[Class::Success as usize] = requests - bad;
    window.judged[Class::ServerError as usize] = bad;
    window
}

/// So many requests that took this long and ended this way.
pub(in crate::judge) fn window_of(requests: u64, class: Class, ms: u64) -> Window {
    let mut window = Window::default();
    window.judged[class as usize] = requests;
    (0..requests).for_each(|_| window.latency_good.record_us(ms * 1_000));
    window
}

pub(in crate::judge) fn gate<'a>(gates: &'a [GateView], name: &str) -> &'a GateView {
    gates.iter().find(|gate| gate.name == name).unwrap_or_else(|| panic!("no gate {name} in {gates:?}"))
}
