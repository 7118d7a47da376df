//! How long a verdict will take.
//!
//! A test grows, on average, by its expected increment: with harm of a given size, and so many requests a second, by
//! so many nats a second. By Wald's identity (Annals of Mathematical Statistics 15, 1944) the mean time to a threshold
//! is the threshold, less what the test starts with, over that growth; of a mixture, that of the component that gets
//! there first. What it leaves out (the overshoot, chance in the counts) makes real delays a little longer.
//!
//! Latencies are taken for log-normal, which is what the alternatives of the tests are made for.

use std::time::Duration;

use config::{Plan, Weight};
use libm::{erfc, log, log1p, sqrt};

use super::counting::PROVEN_EDGES;
use super::family::{DEFAULT_TOLERANCE, threshold, tolerance_beside};
use super::settings::{Above, GateSetting, Rule, Settings};
use super::sightings::Sighting;
use super::{Judge, PATIENCE_SECONDS};
use crate::statistics::levels::{EDGE_NORMALS, EDGE_QUANTILES, Harms, LEVELS};
use crate::statistics::mixture::kappa;
use crate::statistics::quantile::two_levels;
use crate::statistics::{Batcher, OverQuantile, START_SHARE, excess, limit, proof};
use crate::view::{Arms, Dispersion, GateEstimate};

/// A gate with a limit has no margin: the harm that is looked for is so many times what the limit allows.
const OVER_LIMIT: f64 = 2.0;
/// Where it is not known how much of stable's traffic is over a latency limit: this part of what the limit allows.
const UNDER_LIMIT: f64 = 0.5;
/// The standard deviation of a latency's logarithm, where it is not known.
pub(super) const USUAL_SPREAD: f64 = 0.7;
/// A test with a cap takes so many seconds at the least.
const CAPPED_SECONDS: f64 = 3.0;
/// What takes longer than so many seconds (a year) is as good as never.
const NEVER: f64 = 31_536_000.0;

/// What a gate has to expect.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outlook {
    /// Requests a second.
    pub(super) requests: Arms<f64>,
    /// The part of stable's requests that are what the gate counts: failures, or over its limit. None where unknown.
    pub(super) events: Option<f64>,
    /// The dispersion, at least 1.
    pub(super) phi: Dispersion,
    /// The standard deviation of the logarithm of stable's latency.
    pub(super) spread: f64,
    /// For so many seconds latencies are not compared yet.
    pub(super) cold_for: f64,
    /// For so many seconds nothing is proven yet.
    pub(super) unproven_for: f64,
}

impl Judge {
    /// Looks how long verdicts will take at the traffic of the present step.
    pub(super) fn estimate(&mut self) {
        let [errors, latency] = self.bursts.phi();
        let seconds = self.record.step_seconds().max(1) as f64;
        let warmup = self.settings.warmup_seconds;
        let cold_for = self.record.cold_for(warmup).unwrap_or(warmup);
        let unproven_for = self.record.unproven_for(warmup).unwrap_or_else(|| warmup.max(self.record.patience()));
        let shares = self.settings.shares();
        for (place, share) in shares.into_iter().enumerate() {
            let gate = &self.settings.gates[place];
            let Sighting { requests, events } = self.record.gates[place].counts;
            let counts_events = match gate.rule {
                Rule::Errors { .. } | Rule::ErrorLimit { .. } | Rule::LatencyLimit { .. } => requests.stable > 0,
                Rule::Shape { .. } | Rule::Quantile { .. } | Rule::Copies { .. } => false,
            };
            let in_step = self.in_step_of(gate);
            let lens = self.measure.lens(gate).and_then(|lens| lens.recent(&self.background).spread());
            let unproven_for = if gate.rule.is_of_copies() { self.record.unsteady_for() } else { unproven_for };
            let outlook = Outlook {
                requests: Arms { stable: in_step.stable as f64 / seconds, canary: in_step.canary as f64 / seconds },
                events: counts_events.then(|| events.stable as f64 / requests.stable as f64),
                phi: Dispersion { errors, latency },
                spread: lens.unwrap_or(USUAL_SPREAD),
                cold_for: cold_for as f64,
                unproven_for: unproven_for as f64,
            };
            let mut estimate = estimate(&self.settings, gate, share, outlook);
            // What was proven already is not to be proven again.
            let left = 1.0 - self.family.proven(place).log_evidence / log(1.0 / self.settings.beta);
            estimate.pass_s = estimate.pass_s.map(|seconds| seconds * left.clamp(0.0, 1.0));
            self.record.gates[place].estimate = Some(estimate);
        }
    }
}

/// For how long a step says nothing, whatever the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// What is left of the warm-up when the step begins.
    pub cold_for: Duration,
    /// How long the service waits for the head of a response.
    pub first_byte: Duration,
}

impl Waits {
    /// Nothing is proven in so many seconds of a step (docs/decisions/0047).
    fn patience(self) -> f64 {
        self.first_byte.as_secs_f64().max(PATIENCE_SECONDS as f64)
    }
}

/// How long verdicts will take at one weight, by the slowest gate: seconds until harm of the margin's size fails it,
/// and until a canary as good as stable passes it, both from nothing.
///
/// `requests_per_second` is what the service gets, `error_rate` the part of it that fails on stable, `phi` the
/// dispersion ([`Judge::dispersion`](super::Judge::dispersion); 1 where it is not known). Gates on a path of their own
/// are left out: how much traffic that path has is not known before it is counted. None where there is no traffic, no
/// gate, or where a gate never would say it.
#[must_use]
pub fn forecast(
    plan: &Plan,
    weight: Weight,
    requests_per_second: f64,
    error_rate: f64,
    phi: Dispersion,
    waits: Waits,
) -> GateEstimate {
    let settings = Settings::new(plan, "", "");
    let of_canary = requests_per_second * weight.fraction();
    let left = requests_per_second - of_canary;
    let of_baseline = match plan.baseline {
        config::Baseline::Stable => left,
        config::Baseline::Equal => of_canary.min(left),
        config::Baseline::Version(_) => of_canary.min(left / 2.0),
    };
    let estimates = settings.gates.iter().zip(settings.shares());
    let estimates = estimates.filter(|(gate, _)| gate.path.is_none() && !gate.rule.is_of_copies());
    let estimates = estimates.map(|(gate, share)| {
        let events = match gate.rule {
            Rule::Errors { .. } | Rule::ErrorLimit { .. } => Some(error_rate),
            Rule::Shape { .. } | Rule::Quantile { .. } | Rule::LatencyLimit { .. } | Rule::Copies { .. } => None,
        };
        let cold_for = waits.cold_for.as_secs_f64();
        let unproven_for = cold_for.max(waits.patience());
        let requests = Arms { stable: of_baseline, canary: of_canary };
        estimate(
            &settings,
            gate,
            share,
            Outlook { requests, events, phi, spread: USUAL_SPREAD, cold_for, unproven_for },
        )
    });
    slowest(estimates)
}

/// How long verdicts will take in a step that sends the canary copies of this share of the service's requests, by the
/// slowest gate that looks at them; as [`forecast`].
#[must_use]
pub fn forecast_copies(
    plan: &Plan,
    share: Weight,
    requests_per_second: f64,
    phi: Dispersion,
    waits: Waits,
) -> GateEstimate {
    let settings = Settings::new(plan, "", "");
    let copies = requests_per_second * share.fraction();
    let requests = Arms { stable: copies, canary: copies };
    let unproven_for = waits.patience();
    let outlook = Outlook { requests, events: None, phi, spread: USUAL_SPREAD, cold_for: 0.0, unproven_for };
    let gates = settings.gates.iter().zip(settings.shares()).filter(|(gate, _)| gate.rule.is_of_copies());
    slowest(gates.map(|(gate, share)| estimate(&settings, gate, share, outlook)))
}

/// The slowest of several; none where there is none, or where one never would be.
fn slowest(estimates: impl Iterator<Item = GateEstimate>) -> GateEstimate {
    let slower = |a: Option<f64>, b: Option<f64>| Some(a?.max(b?));
    let both = estimates
        .reduce(|a, b| GateEstimate { fail_s: slower(a.fail_s, b.fail_s), pass_s: slower(a.pass_s, b.pass_s) });
    both.unwrap_or(GateEstimate { fail_s: None, pass_s: None })
}

/// The estimate of one gate, which has this share of its family, from nothing.
pub(super) fn estimate(settings: &Settings, gate: &GateSetting, share: f64, outlook: Outlook) -> GateEstimate {
    let Arms { stable, canary } = outlook.requests;
    if !(stable > 0.0 && canary > 0.0 && stable.is_finite() && canary.is_finite()) {
        return GateEstimate { fail_s: None, pass_s: None };
    }
    let batch = (Batcher::MIN_TOTAL as f64 / (stable + canary)).max(1.0 / canary).max(1.0 / stable);
    let (fail, pass) =
        (to_fail(settings, gate, threshold(settings, share), outlook), to_pass(gate, settings.beta, outlook));
    let waits = if gate.sight().is_some() { outlook.cold_for } else { 0.0 };
    // To the millisecond, and that is far more than is known.
    let known = |seconds: f64| (seconds < NEVER).then(|| (1e3 * seconds).round() / 1e3);
    GateEstimate {
        fail_s: fail.and_then(|seconds| known(seconds.max(CAPPED_SECONDS).max(batch) + waits)),
        pass_s: pass.and_then(|seconds| known(seconds.max(batch) + outlook.unproven_for)),
    }
}

/// Seconds until harm of the margin's size crosses `threshold` (nats).
fn to_fail(settings: &Settings, gate: &GateSetting, threshold: f64, outlook: Outlook) -> Option<f64> {
    let Outlook { requests, phi, spread, .. } = outlook;
    let target = threshold - log(START_SHARE);
    match gate.rule {
        Rule::Errors { tolerance, margin } => {
            let of_stable = outlook.events.unwrap_or_default();
            let rates = Arms { stable: of_stable, canary: (margin.ratio * of_stable + margin.points).min(1.0) };
            over_stable(rates, requests, tolerance, target, phi.errors)
        }
        Rule::ErrorLimit { limit } => {
            over_limit(limit, tolerance_beside(settings, gate), outlook.events, requests, target, phi.errors)
        }
        Rule::Copies { limit, .. } => over_limit_alone(limit, requests.canary, target, phi.errors),
        Rule::LatencyLimit { quantile, .. } => {
            over_limit(1.0 - quantile, DEFAULT_TOLERANCE, outlook.events, requests, target, phi.errors.max(phi.latency))
        }
        Rule::Shape { tolerance, body, .. } => {
            let shift = log((1.0 + body) / (1.0 + tolerance)) / spread;
            let canary = level_chances(shift);
            let stable = level_chances(0.0);
            let harms = Harms::usual();
            let target = threshold - log(harms.start_share() / harms.priors().iter().sum::<f64>());
            soonest(
                harms.of_the_body().map(|bet| {
                    let growth = levels_growth(&Arms { stable, canary }, requests, &bet.ratios);
                    (target - log(bet.prior), growth, log(bet.ratios[LEVELS - 1]))
                }),
                phi.latency,
            )
        }
        Rule::Quantile { quantile, tolerance, margin, .. } => {
            let shift = log((1.0 + margin) / (1.0 + tolerance)) / spread;
            let beyond = Arms { stable: 1.0 - quantile, canary: above(normal_quantile(quantile) - shift) };
            let test = OverQuantile::new(quantile, 0.5);
            let prior = log(1.0 / test.weights().len() as f64);
            soonest(
                test.weights()
                    .iter()
                    .map(|h| (target - prior, levels_growth(&two_sided(beyond), requests, h), log(h[1]))),
                phi.latency,
            )
        }
    }
}

/// Seconds until a canary that does as stable does is proven to, at `beta`.
fn to_pass(gate: &GateSetting, beta: f64, outlook: Outlook) -> Option<f64> {
    let Outlook { requests, phi, spread, .. } = outlook;
    let target = log(1.0 / beta) + log(proof::RATIOS.len() as f64);
    let at_quantile = |quantile: f64, margin: f64| {
        let shift = log(1.0 + margin) / spread;
        let beyond = Arms { stable: 1.0 - quantile, canary: above(normal_quantile(quantile) + shift) };
        soonest(
            proof::RATIOS.iter().map(|ratio| {
                let h = two_levels(quantile, *ratio);
                (target, levels_growth(&two_sided(beyond), requests, &h), log(*ratio))
            }),
            phi.latency,
        )
    };
    let below_limit = |limit: f64, of_canary: f64, phi: f64| {
        soonest(
            proof::RATIOS
                .iter()
                .map(|ratio| (target, requests.canary * limit_growth(of_canary, limit, limit * ratio), log(*ratio))),
            phi,
        )
    };
    match gate.rule {
        Rule::Errors { margin: Above { ratio, points }, .. } => {
            let rate = outlook.events.unwrap_or_default();
            let rates = Arms { stable: rate, canary: rate };
            soonest(
                proof::RATIOS
                    .iter()
                    .map(|r| (target, count_growth(rates, requests, (ratio, points), ratio * r), log(*r))),
                phi.errors,
            )
        }
        Rule::ErrorLimit { limit } => below_limit(limit, outlook.events.unwrap_or_default(), phi.errors),
        Rule::Copies { limit, .. } => below_limit(limit, 0.0, phi.errors),
        Rule::LatencyLimit { quantile, .. } => {
            let limit = 1.0 - quantile;
            below_limit(limit, outlook.events.unwrap_or(UNDER_LIMIT * limit), phi.errors.max(phi.latency))
        }
        Rule::Shape { body, tail, .. } => {
            let [median, high, last] = PROVEN_EDGES.map(|edge| EDGE_QUANTILES[edge]);
            Some(at_quantile(median, body)?.max(at_quantile(high, body)?).max(at_quantile(last, tail)?))
        }
        Rule::Quantile { quantile, margin, .. } => at_quantile(quantile, margin),
    }
}

/// A test of events against stable.
fn over_stable(rates: Arms<f64>, requests: Arms<f64>, tolerance: Above, target: f64, phi: f64) -> Option<f64> {
    let Above { ratio, points } = tolerance;
    soonest(
        excess::RATIOS.iter().zip(excess::PRIOR).map(|(r, prior)| {
            (target - log(prior), count_growth(rates, requests, (ratio, points), ratio * r), log(*r))
        }),
        phi,
    )
}

/// A test of events against a limit, and against stable as well: both have to get there.
fn over_limit(
    limit: f64,
    tolerance: Above,
    of_stable: Option<f64>,
    requests: Arms<f64>,
    target: f64,
    phi: f64,
) -> Option<f64> {
    let of_canary = (OVER_LIMIT * limit).min(1.0);
    let absolute = over_limit_alone(limit, requests.canary, target, phi)?;
    let rates = Arms { stable: of_stable.unwrap_or(UNDER_LIMIT * limit), canary: of_canary };
    let relative = over_stable(rates, requests, tolerance, target, phi)?;
    Some(absolute.max(relative))
}

/// A limit on the canary alone, whatever stable does.
fn over_limit_alone(limit: f64, of_canary: f64, target: f64, phi: f64) -> Option<f64> {
    let rate_of_canary = (OVER_LIMIT * limit).min(1.0);
    let odds = limit / (1.0 - limit);
    let prior = log(1.0 / limit::ODDS.len() as f64);
    soonest(
        limit::ODDS.iter().map(|times| {
            let rate = odds * times / (1.0 + odds * times);
            (target - prior, of_canary * limit_growth(rate_of_canary, limit, rate), log(rate / limit))
        }),
        phi,
    )
}

/// The soonest time of components: what each has to gain, its growth in nats a second, and its score.
fn soonest(components: impl Iterator<Item = (f64, f64, f64)>, phi: f64) -> Option<f64> {
    let seconds = components.filter_map(|(target, growth, score)| {
        let tempered = growth / (1.0 + (phi - 1.0) * kappa(score));
        (tempered > 0.0).then(|| target / tempered)
    });
    seconds.min_by(f64::total_cmp).filter(|seconds| seconds.is_finite())
}

/// The growth of [`ll_count`](crate::statistics::increment::ll_count), in nats a second.
fn count_growth(rates: Arms<f64>, requests: Arms<f64>, (rho0, delta): (f64, f64), rho1: f64) -> f64 {
    let Arms { stable, canary } = requests;
    let for_stable = log((canary * rho0 + stable) / (canary * rho1 + stable));
    let for_canary = log(rho1 / rho0) + for_stable;
    let tolerated = canary * delta * libm::expm1(for_canary);
    canary * rates.canary * for_canary + stable * rates.stable * for_stable - tolerated
}

/// The growth of [`ll_bern`](crate::statistics::increment::ll_bern), in nats a request.
fn limit_growth(rate: f64, p0: f64, p1: f64) -> f64 {
    if !(p0 > 0.0 && p0 < 1.0) {
        return 0.0;
    }
    rate * log(p1 / p0) + (1.0 - rate) * log1p((p0 - p1) / (1.0 - p0))
}

/// The growth of [`ll_levels`](crate::statistics::increment::ll_levels), in nats a second.
fn levels_growth<const N: usize>(chances: &Arms<[f64; N]>, requests: Arms<f64>, h: &[f64; N]) -> f64 {
    let Arms { stable, canary } = requests;
    let all = stable + canary;
    let of_level = |level: usize| {
        let (c, b) = (canary * chances.canary[level], stable * chances.stable[level]);
        c * log(h[level]) - (c + b) * log((canary * h[level] + stable) / all)
    };
    (0..N).map(of_level).sum()
}

fn two_sided(beyond: Arms<f64>) -> Arms<[f64; 2]> {
    let levels = |beyond: f64| [1.0 - beyond, beyond];
    Arms { stable: levels(beyond.stable), canary: levels(beyond.canary) }
}

/// The chances of the levels for latencies that are longer by so many standard deviations.
fn level_chances(shift: f64) -> [f64; LEVELS] {
    let mut beyond_last = 1.0;
    let mut chances = [0.0; LEVELS];
    for (chance, z) in chances.iter_mut().zip(EDGE_NORMALS) {
        let beyond = above(z - shift);
        *chance = beyond_last - beyond;
        beyond_last = beyond;
    }
    chances[LEVELS - 1] = beyond_last;
    chances
}

/// The chance that a standard normal variable is above `z`.
fn above(z: f64) -> f64 {
    0.5 * erfc(z / sqrt(2.0))
}

/// The value that a standard normal variable is at or below with this chance (strictly between 0 and 1): by halving,
/// to nine digits.
pub(super) fn normal_quantile(chance: f64) -> f64 {
    let (mut low, mut high) = (-10.0, 10.0);
    for _ in 0..36 {
        let middle = 0.5 * (low + high);
        if above(middle) > 1.0 - chance {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests;
