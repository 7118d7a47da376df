//! How long the verdicts of a plan's steps take at the present traffic.

use std::time::Duration;

use config::{Plan, Step, Weight};

use crate::judge::{Waits, forecast, forecast_copies};
use crate::view::{Dispersion, StepEstimate};

/// Where it was not measured how bursty events are, requests are taken for independent.
const INDEPENDENT: Dispersion = Dispersion { errors: 1.0, latency: 1.0 };

/// Figures that differ by less than this part of them give estimates that nobody can tell apart.
const LIKENESS: f64 = 0.02;

/// The estimates that people see, and what they were made of.
#[derive(Debug)]
pub(super) struct Estimates {
    shown: Vec<StepEstimate>,
    basis: Option<Basis>,
    /// Whether they are to be made as soon as a second is over, and not when it is the service's turn.
    pub(super) due: bool,
}

#[derive(Debug, Clone)]
struct Basis {
    plan: Plan,
    present: Present,
    figures: [f64; 5],
}

impl Default for Estimates {
    /// None yet, and soon some.
    fn default() -> Self {
        Self { shown: Vec::new(), basis: None, due: true }
    }
}

impl Estimates {
    /// None yet; they are made when it is the service's turn.
    pub(super) fn in_turn() -> Self {
        Self { due: false, ..Self::default() }
    }

    pub(super) fn shown(&self) -> &[StepEstimate] {
        &self.shown
    }

    /// Makes them anew, unless nobody could see the difference.
    pub(super) fn renew(&mut self, plan: &Plan, present: Present, traffic: Traffic, phi: Option<Dispersion>) {
        self.due = false;
        let Dispersion { errors, latency } = phi.unwrap_or(INDEPENDENT);
        let first_byte = traffic.first_byte.as_secs_f64();
        let figures = [traffic.requests_per_second, traffic.error_rate, errors, latency, first_byte];
        let is_alike = |(a, b): (&f64, &f64)| (a - b).abs() <= LIKENESS * b.abs();
        let stays = self.basis.as_ref().is_some_and(|basis| {
            basis.present == present && figures.iter().zip(&basis.figures).all(is_alike) && basis.plan == *plan
        });
        if !stays {
            self.shown = of_steps(plan, present, traffic, phi);
            self.basis = Some(Basis { plan: plan.clone(), present, figures });
        }
    }
}

/// Where a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Present {
    /// Its step, counted from 0.
    pub(super) step: usize,
    /// What the canary has of the traffic, whatever the step says: somebody may have set it by hand. None where no rollout
    /// runs.
    pub(super) weight: Option<Weight>,
}

/// The traffic that the estimates assume goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Traffic {
    /// Of the whole service.
    pub(super) requests_per_second: f64,
    /// The fraction of stable's requests that fail.
    pub(super) error_rate: f64,
    /// How long the service waits for the head of a response.
    pub(super) first_byte: Duration,
}

/// An estimate for each step of a weight or of copies from the present one on; none without traffic.
fn of_steps(plan: &Plan, present: Present, traffic: Traffic, phi: Option<Dispersion>) -> Vec<StepEstimate> {
    let Traffic { requests_per_second, error_rate, first_byte } = traffic;
    if requests_per_second <= 0.0 {
        return Vec::new();
    }
    let phi = phi.unwrap_or(INDEPENDENT);
    // The canary warms up from its first users on, while the steps before are held.
    let mut warm_for: Option<Duration> = None;
    let of_step = |(place, step): (usize, &Step)| match step {
        Step::Weight { weight, hold, .. } => {
            let cold_for = plan.warmup.saturating_sub(warm_for.unwrap_or_default());
            warm_for = Some(warm_for.unwrap_or_default().saturating_add(*hold));
            let waits = Waits { cold_for, first_byte };
            let weight = present.weight.filter(|_| place == present.step).unwrap_or(*weight);
            let times = forecast(plan, weight, requests_per_second, error_rate, phi, waits);
            let weight = weight.basis_points();
            Some(StepEstimate { step: place + 1, weight, mirror: None, fail_s: times.fail_s, pass_s: times.pass_s })
        }
        Step::Mirror { share, .. } => {
            let waits = Waits { cold_for: Duration::ZERO, first_byte };
            let times = forecast_copies(plan, *share, requests_per_second, phi, waits);
            let (weight, mirror) = (0, Some(share.basis_points()));
            Some(StepEstimate { step: place + 1, weight, mirror, fail_s: times.fail_s, pass_s: times.pass_s })
        }
        Step::Match { .. } | Step::Approval => None,
    };
    let all = plan.steps.iter().enumerate().filter_map(of_step);
    all.filter(|estimate| estimate.step > present.step).collect()
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
        Traffic { requests_per_second, error_rate: 0.001, first_byte: Duration::ZERO }
    }

    fn step(step: usize) -> Present {
        Present { step, weight: None }
    }

    #[test]
    fn the_present_step_is_judged_at_the_weight_that_is_in_force() {
        let at_hand =
            |basis_points| Present { step: 0, weight: Some(Weight::from_basis_points(basis_points).unwrap()) };
        let (by_plan, more) =
            (of_steps(&plan(), step(0), at(1e3), None), of_steps(&plan(), at_hand(5_000), at(1e3), None));
        assert_eq!((more[0].weight, more[0].fail_s < by_plan[0].fail_s), (5_000, true));
        assert_eq!(more[1], by_plan[1], "the next one as the plan has it");
        let all = of_steps(&plan(), at_hand(10_000), at(1e3), None);
        assert_eq!((all[0].fail_s, all[0].pass_s), (None, None), "nobody is left to compare it with");
    }

    #[test]
    fn each_weight_step_ahead_has_an_estimate_and_more_canary_is_judged_sooner() {
        let estimates = of_steps(&plan(), step(0), at(1_000.0), None);
        assert_eq!(estimates.iter().map(|it| (it.step, it.weight)).collect::<Vec<_>>(), [(1, 100), (3, 5_000)]);
        assert!(estimates[1].fail_s < estimates[0].fail_s && estimates[1].pass_s < estimates[0].pass_s);
        assert_eq!(of_steps(&plan(), step(1), at(1_000.0), None), estimates[1..], "what is past needs none");
    }

    #[test]
    fn the_warm_up_is_waited_for_once_and_a_first_answer_that_may_be_late_in_each_step() {
        let plan = Plan { warmup: Duration::from_secs(90), ..plan() };
        let estimates = |traffic| of_steps(&plan, step(0), traffic, None);
        let (usual, late) =
            (estimates(at(1e6)), estimates(Traffic { first_byte: Duration::from_secs(600), ..at(1e6) }));
        let pass = |estimates: &[StepEstimate]| [0, 1].map(|place: usize| estimates[place].pass_s.unwrap().floor());
        // A minute of it is over when the second step begins.
        assert_eq!((pass(&usual), pass(&late)), ([90.0, 30.0], [600.0, 600.0]));
        assert!(usual[1].fail_s.unwrap() > 30.0 && late[1].fail_s == usual[1].fail_s);
        assert_eq!(of_steps(&plan, step(1), at(1e6), None), usual[1..], "whatever the present step");
    }

    #[test]
    fn estimates_stay_until_what_they_are_made_of_has_changed_enough_to_be_seen() {
        let mut estimates = Estimates::default();
        estimates.renew(&plan(), step(0), at(1_000.0), None);
        let first = estimates.shown().to_vec();
        estimates.renew(&plan(), step(0), at(1_010.0), None);
        assert_eq!(estimates.shown(), first);
        estimates.renew(&plan(), step(0), at(1_030.0), None);
        assert_eq!(estimates.shown(), of_steps(&plan(), step(0), at(1_030.0), None));
        estimates.renew(&plan(), step(1), at(1_030.0), None);
        assert_eq!(estimates.shown().len(), 1);
        estimates.renew(&plan(), step(1), at(0.0), None);
        assert_eq!(estimates.shown(), []);
    }

    #[test]
    fn bursty_traffic_takes_longer_and_no_traffic_says_nothing() {
        let phi = Some(Dispersion { errors: 14.0, latency: 14.0 });
        let (bursty, plain) =
            (of_steps(&plan(), step(0), at(1_000.0), phi), of_steps(&plan(), step(0), at(1_000.0), None));
        assert!(bursty[0].fail_s > plain[0].fail_s, "{bursty:?} {plain:?}");
        assert_eq!(of_steps(&plan(), step(0), at(0.0), None), []);
    }
}
