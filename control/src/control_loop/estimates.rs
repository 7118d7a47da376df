//! How long the verdicts of a plan's steps take at the present traffic.

use config::{Plan, Step};

use crate::judge::Background;
use crate::view::StepEstimate;

/// The traffic that the estimates assume goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Traffic {
    /// Of the whole service.
    pub(super) requests_per_second: f64,
    /// The fraction of stable's requests that fail.
    pub(super) error_rate: f64,
}

/// An estimate for each weight step from `first` (counted from 0) on.
pub(super) fn of_steps(plan: &Plan, first: usize, traffic: Traffic, background: &Background) -> Vec<StepEstimate> {
    let steps = plan.steps.iter().enumerate().skip(first);
    steps
        .filter_map(|(place, step)| match step {
            Step::Weight { weight, .. } => of_weight(plan, *weight, traffic, background).map(|(fail_s, pass_s)| {
                StepEstimate { step: place + 1, weight: weight.basis_points(), fail_s, pass_s }
            }),
            Step::Approval => None,
        })
        .collect()
}

/// Seconds to fail and to pass.
fn of_weight(
    _plan: &Plan,
    _weight: config::Weight,
    _traffic: Traffic,
    _background: &Background,
) -> Option<(Option<f64>, Option<f64>)> {
    None
}
