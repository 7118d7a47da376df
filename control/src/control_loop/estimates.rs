//! How long the verdicts of a plan's steps take at the present traffic.

use config::{Plan, Step};

use crate::judge::forecast;
use crate::view::{Dispersion, StepEstimate};

/// Where it was not measured how bursty events are, requests are taken for independent.
const INDEPENDENT: Dispersion = Dispersion { errors: 1.0, latency: 1.0 };

/// The traffic that the estimates assume goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Traffic {
    /// Of the whole service.
    pub(super) requests_per_second: f64,
    /// The fraction of stable's requests that fail.
    pub(super) error_rate: f64,
}

/// An estimate for each weight step from `first` (counted from 0) on; none without traffic.
pub(super) fn of_steps(plan: &Plan, first: usize, traffic: Traffic, phi: Option<Dispersion>) -> Vec<StepEstimate> {
    let Traffic { requests_per_second, error_rate } = traffic;
    if requests_per_second <= 0.0 {
        return Vec::new();
    }
    let of_step = |(place, step): (usize, &Step)| match step {
        Step::Weight { weight, .. } => {
            let times = forecast(plan, *weight, requests_per_second, error_rate, phi.unwrap_or(INDEPENDENT));
            let weight = weight.basis_points();
            Some(StepEstimate { step: place + 1, weight, fail_s: times.fail_s, pass_s: times.pass_s })
        }
        Step::Approval => None,
    };
    plan.steps.iter().enumerate().skip(first).filter_map(of_step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let text = "services: { shop: { stable: v1, versions: { v1: { endpoints: ['a:1'] } }, \
            plan: { steps: [{ weight: 1%, hold: 1m }, { approval: true }, { weight: 50%, hold: 1m }] } } }";
        config::parse(text, "test.yaml").unwrap().configuration.services.remove(0).plan
    }

    fn at(requests_per_second: f64) -> Traffic {
        Traffic { requests_per_second, error_rate: 0.001 }
    }

    #[test]
    fn each_weight_step_ahead_has_an_estimate_and_more_canary_is_judged_sooner() {
        let estimates = of_steps(&plan(), 0, at(1_000.0), None);
        assert_eq!(estimates.iter().map(|it| (it.step, it.weight)).collect::<Vec<_>>(), [(1, 100), (3, 5_000)]);
        assert!(estimates[1].fail_s < estimates[0].fail_s && estimates[1].pass_s < estimates[0].pass_s);
        assert_eq!(of_steps(&plan(), 1, at(1_000.0), None), estimates[1..], "what is past needs none");
    }

    #[test]
    fn bursty_traffic_takes_longer_and_no_traffic_says_nothing() {
        let phi = Some(Dispersion { errors: 14.0, latency: 14.0 });
        let (bursty, plain) = (of_steps(&plan(), 0, at(1_000.0), phi), of_steps(&plan(), 0, at(1_000.0), None));
        assert!(bursty[0].fail_s > plain[0].fail_s, "{bursty:?} {plain:?}");
        assert_eq!(of_steps(&plan(), 0, at(0.0), None), []);
    }
}
