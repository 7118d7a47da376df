//! The judge's sentences: for somebody who was just woken up.

mod blocks;
mod checks;
mod copies;
mod figures;
mod latency;

pub(super) use self::blocks::InBlocks;
pub(super) use self::copies::CopiesSeen;
use self::figures::{before, chance, duration, grouped, latency, percent, percent_of, quantile, span, stretch};
pub(super) use self::latency::{Compared, LookAt};
use super::FRESH_SECONDS;
use super::background::ENOUGH_LATENCIES;
use super::counting::PROVEN_EDGES;
use super::profile::Reach;
use super::settings::{Above, GateSetting, Part, Rule, Settings, margin_beside, tolerated};
use super::sightings::Sighting;
use crate::statistics::Batcher;
use crate::statistics::edges::Longer;
use crate::statistics::levels::EDGE_QUANTILES;
use crate::statistics::ratio::Between;
use crate::view::Arms;

/// Speaks of one rollout's versions by their names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words<'a> {
    /// Whom the canary is compared with.
    stable: &'a str,
    /// All of stable, whoever that is.
    all: &'a str,
    canary: &'a str,
    paths: &'a [String],
}

/// What one gate saw: over its whole time, or in the span in which its evidence rose.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) gate: &'a GateSetting,
    pub(super) seen: Sighting,
    /// Where the gate compares latencies.
    pub(super) compared: Option<Compared<'a>>,
}

/// Why nothing can be proven yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProofWaits {
    /// The canary warms up for so long.
    WarmUp { seconds: u64 },
    /// It has been exposed like this for less time than an answer may take, which is so many seconds.
    NewStep { patience: u64 },
    /// The proxy has run for less time than that.
    Restart { patience: u64 },
}

impl<'a> Words<'a> {
    pub(super) fn new(settings: &'a Settings) -> Self {
        let Settings { stable, canary, compared, paths, .. } = settings;
        Self { stable: compared, all: stable, canary, paths }
    }

    /// The same where the canary is compared with all of stable, whatever the plan's baseline.
    pub(super) const fn beside_all(self) -> Self {
        Self { stable: self.all, ..self }
    }

    /// A gate established harm. It is told as it was then, however long ago that is when it is read. `is_measured` says
    /// whether the dispersion is.
    pub(super) fn harm(self, told: Told<'_>, seconds: u64, log_evidence: f64, is_measured: bool) -> String {
        let bursts = match told.gate.rule {
            _ if is_measured => "",
            Rule::Errors { .. } | Rule::ErrorLimit { .. } | Rule::Copies { part: Part::Errors, .. } => {
                "; dispersion unmeasured: failures in bursts could explain it"
            }
            Rule::Copies { .. } => "; dispersion unmeasured: differences in bursts could explain it",
            Rule::Shape { .. } | Rule::Quantile { .. } | Rule::LatencyLimit { .. } => {
                "; dispersion unmeasured: slow answers in bursts could explain it"
            }
        };
        format!(
            "{}: harm is established (chance of seeing this without harm: {}{bursts})",
            self.lately(told, &before(seconds)),
            chance(log_evidence)
        )
    }

    /// The breaker fired. It compares with all of stable.
    pub(super) fn broken(self, seen: Sighting, log_evidence: f64) -> String {
        let Self { all: stable, canary, .. } = self;
        let Sighting { requests, events } = seen;
        let of_stable = format!("{} of {}", grouped(events.stable), grouped(requests.stable));
        // "Well" is a promise: less than one failure in a hundred.
        let meanwhile = if events.stable.saturating_mul(100) < requests.stable {
            format!("while {stable} is well ({of_stable})")
        } else {
            format!("while {stable} failed {of_stable}")
        };
        format!(
            "{} of the last {} requests to {canary} failed {meanwhile}: it is broken (chance of seeing this without harm: {})",
            grouped(events.canary),
            grouped(requests.canary),
            chance(log_evidence)
        )
    }

    /// The canary is over a limit, and it is not established that it is worse than stable.
    pub(super) fn over_limit_too(self, told: Told<'_>, seconds: u64) -> String {
        let advice = match limit_of(&told.gate.rule) {
            Some(limit) if rates(told.seen).stable > limit => "; look at what both depend on",
            Some(_) | None => "",
        };
        format!(
            "{}: {} is over the limit, but it is not established that it is worse than {}, so it is not taken back{advice}",
            self.lately(told, &span(seconds)),
            self.canary,
            self.stable
        )
    }

    /// Nothing is suspected, and nothing can pass.
    pub(super) fn no_standard(self, told: Told<'_>) -> String {
        format!("{}: nothing passes while the baseline {} is worse than {}", self.figures(told), self.stable, self.all)
    }

    /// `v2 fails 0.8 to 1.35 times as often as v1 (at 99 % confidence, however often one looks)`.
    pub(super) fn ratio(self, Between { low, high }: Between, alpha: f64) -> String {
        let Self { stable, canary, .. } = self;
        let times = match (low, high) {
            (Some(low), Some(high)) => format!("{low} to {high} times"),
            (Some(low), None) => format!("more than {low} times"),
            (None, Some(high)) => format!("less than {high} times"),
            (None, None) => "any number of times".to_owned(),
        };
        let confidence = percent_of(1.0 - alpha);
        format!("{canary} fails {times} as often as {stable} (at {confidence} confidence, however often one looks)")
    }

    /// Evidence has gathered and does not suffice.
    pub(super) fn suspicion(self, told: Told<'_>, seconds: u64, enough: bool) -> String {
        let stands = if enough { "this gate would take it back, too" } else { "harm is suspected, not established" };
        format!("{}: {stands}", self.lately(told, &span(seconds)))
    }

    /// The canary fails now as one that is broken, and stable does not.
    pub(super) fn looks_broken(self, Sighting { requests, events }: Sighting) -> String {
        let of = |events: u64, requests: u64| format!("{} of its last {} requests", grouped(events), grouped(requests));
        format!(
            "{} failed {}, {} {}: it looks broken",
            self.canary,
            of(events.canary, requests.canary),
            self.all,
            of(events.stable, requests.stable)
        )
    }

    /// By the figures alone the canary fails more than it may in this step. `bursts`: the dispersion, where that is large.
    pub(super) fn beyond(
        self,
        gate: &GateSetting,
        Sighting { requests, events }: Sighting,
        bursts: Option<f64>,
    ) -> String {
        let [canary, stable] = [(events.canary, requests.canary), (events.stable, requests.stable)]
            .map(|(events, requests)| percent(events, requests));
        let what = match gate.rule {
            Rule::ErrorLimit { limit } => format!("limit of {}", percent_of(limit)),
            Rule::Errors { .. }
            | Rule::Shape { .. }
            | Rule::Quantile { .. }
            | Rule::LatencyLimit { .. }
            | Rule::Copies { .. } => "margin".to_owned(),
        };
        let bursts = bursts.map_or_else(String::new, |phi| {
            format!("; a verdict takes longer, as {}'s failures came in bursts (dispersion {phi:.0})", self.all)
        });
        format!(
            "{}: {} fails {canary} of its requests in this step, {} {stable}, which is beyond the {what}{bursts}",
            gate.name, self.canary, self.stable
        )
    }

    /// Nothing is suspected so far. Where the figures alone look like harm (a few requests, failures of one moment, no
    /// stable traffic beside them), it says that this is not enough. `bursts`: the dispersion of what the gate counts, where
    /// that is large.
    pub(super) fn well(self, told: Told<'_>, proof_waits: Option<ProofWaits>, bursts: Option<f64>) -> String {
        let waits = match proof_waits {
            None => String::new(),
            Some(ProofWaits::WarmUp { seconds }) => {
                format!("; {} warms up and is not judged for proof for another {seconds} s", self.canary)
            }
            Some(ProofWaits::NewStep { patience }) => {
                format!("; {} is not judged for proof in the first {patience} s of a step", self.canary)
            }
            Some(ProofWaits::Restart { patience }) => {
                format!("; {} is not judged for proof in the first {patience} s after a restart", self.canary)
            }
        };
        if let Some(over_limit) = self.figures_over_limit(told) {
            return format!("{over_limit}: not established yet{waits}");
        }
        let ending = match (looks_worse(told), bursts) {
            (true, Some(phi)) => format!(
                "worse so far, not enough evidence of harm (evidence counts 1/{phi:.0}, as {}'s came in bursts)",
                self.all
            ),
            (true, None) => "worse so far, not enough evidence of harm".to_owned(),
            (false, _) => "no harm seen yet".to_owned(),
        };
        format!("{}: {ending}{waits}", self.figures(told))
    }

    /// `v2 fails 8 % of requests, over the limit of 5 %, v1 8 %, too`; none where the canary is not over a limit.
    fn figures_over_limit(self, told: Told<'_>) -> Option<String> {
        let limit = limit_of(&told.gate.rule)?;
        let rates = rates(told.seen);
        if rates.canary <= limit {
            return None;
        }
        let Self { stable, canary, .. } = self;
        let Sighting { requests, events } = told.seen;
        let (of_canary, of_stable) = (percent(events.canary, requests.canary), percent(events.stable, requests.stable));
        let too = if rates.stable > limit { ", too" } else { "" };
        let figures = match told.gate.rule {
            Rule::LatencyLimit { limit_us, .. } => format!(
                "{of_canary} of requests to {canary} fail or take over {}, over the {} that the limit allows, {of_stable} \
                 to {stable}{too}",
                duration(limit_us),
                percent_of(limit)
            ),
            Rule::Copies { part, .. } => {
                format!(
                    "{}, over the limit of {}",
                    self.copies(part, events.canary, requests.canary),
                    percent_of(limit)
                )
            }
            Rule::ErrorLimit { .. } | Rule::Errors { .. } | Rule::Shape { .. } | Rule::Quantile { .. } => format!(
                "{canary} fails {of_canary} of requests, over the limit of {}, {stable} {of_stable}{too}",
                percent_of(limit)
            ),
        };
        Some(format!("{}{figures}", self.place(told.gate)))
    }

    /// Harm of the margin's size is ruled out in the present step: of the whole shape at three quantiles, no others.
    pub(super) fn passes(self, told: Told<'_>) -> String {
        let Self { stable, canary, .. } = self;
        let ending = match told.gate.rule {
            Rule::Errors { margin, .. } => format!("{} is ruled out", more_than(margin, stable)),
            Rule::ErrorLimit { limit } | Rule::Copies { limit, .. } => {
                format!("{} or more is ruled out", percent_of(limit))
            }
            Rule::LatencyLimit { quantile, limit_us, .. } => {
                format!("{} or more over {} is ruled out", percent_of(1.0 - quantile), duration(limit_us))
            }
            Rule::Shape { tolerance, body, tail, .. } => {
                let [median, high, last] = PROVEN_EDGES.map(|edge| quantile(EDGE_QUANTILES[edge]));
                let [body, tail] =
                    [body, tail].map(|margin| longer(margin_beside(tolerance, margin), told.compared, tolerance));
                if body == tail {
                    format!("that {canary} takes {body} longer at {median}, {high} or {last} is ruled out")
                } else {
                    format!(
                        "that {canary} takes {body} longer at {median} or {high}, or {tail} longer at {last}, is ruled out"
                    )
                }
            }
            Rule::Quantile { quantile: at, tolerance, margin, .. } => {
                let margin = longer(margin_beside(tolerance, margin), told.compared, tolerance);
                format!("that {canary} takes {margin} longer at {} is ruled out", quantile(at))
            }
        };
        format!("{}: {ending}", self.figures(told))
    }

    /// The canary's latencies are not compared yet.
    pub(super) fn warms_up(self, gate: &GateSetting, cold_for: u64) -> String {
        format!("{}{} warms up: its latencies are compared in {cold_for} s", self.place(gate), self.canary)
    }

    /// Where stable's latencies lie is not known yet.
    pub(super) fn too_few_latencies(self, gate: &GateSetting, total: f64) -> String {
        let place = self.place(gate);
        if total >= ENOUGH_LATENCIES {
            // Edges are chosen between two batches, and none has closed since there were enough.
            return format!("{place}{} has answered nothing since there is enough to compare with", self.canary);
        }
        format!(
            "{place}{} has had {} answers with a latency so far: {} are needed before any are compared",
            self.stable,
            grouped(total as u64),
            grouped(ENOUGH_LATENCIES as u64)
        )
    }

    /// No batch closed lately. `unseen_for` is for how many seconds a version had no request; none where it never had
    /// one. `open` is what waits for the next batch.
    pub(super) fn no_data(self, gate: &GateSetting, unseen_for: Arms<Option<u64>>, open: Arms<u64>) -> String {
        let place = self.place(gate);
        let idle = |version: &str, unseen_for: Option<u64>| match unseen_for {
            None => Some(format!("{place}{version} has answered no request yet")),
            Some(seconds) if seconds >= FRESH_SECONDS => {
                Some(format!("{place}{version} has answered no request {}", span(seconds)))
            }
            Some(_) => None,
        };
        if let Some(idle) = idle(self.canary, unseen_for.canary) {
            return format!("{idle}: nothing to judge");
        }
        if let Some(idle) = idle(self.stable, unseen_for.stable) {
            return format!("{idle}: nothing to compare {} with", self.canary);
        }
        format!(
            "{place}{} requests to {} and {} to {} wait to be judged: {} are needed, at least one of each",
            grouped(open.canary),
            self.canary,
            grouped(open.stable),
            self.stable,
            Batcher::MIN_TOTAL
        )
    }

    /// Figures with the span and the counts that they are of.
    fn lately(self, told: Told<'_>, span: &str) -> String {
        let Sighting { requests, events } = told.seen;
        let of = |events: u64, requests: u64| format!("{} of {}", grouped(events), grouped(requests));
        let counts = match told.gate.rule {
            Rule::Errors { .. } | Rule::ErrorLimit { .. } | Rule::LatencyLimit { .. } => {
                format!("{} against {}", of(events.canary, requests.canary), of(events.stable, requests.stable))
            }
            Rule::Shape { .. } | Rule::Quantile { .. } => {
                format!("{} requests against {}", grouped(requests.canary), grouped(requests.stable))
            }
            Rule::Copies { .. } => of(events.canary, requests.canary),
        };
        let tolerated = match told.gate.rule {
            Rule::Shape { tolerance, .. } | Rule::Quantile { tolerance, .. } if tolerance > 0.0 => {
                format!("at most {} more is tolerated; ", longer(tolerated(tolerance), told.compared, tolerance))
            }
            Rule::Shape { .. } | Rule::Quantile { .. } => "nothing more is tolerated; ".to_owned(),
            Rule::Errors { .. } | Rule::ErrorLimit { .. } | Rule::LatencyLimit { .. } | Rule::Copies { .. } => {
                String::new()
            }
        };
        format!("{} ({tolerated}{span}, {counts})", self.figures(told))
    }

    fn figures(self, told: Told<'_>) -> String {
        let Self { stable, canary, .. } = self;
        let Sighting { requests, events } = told.seen;
        let of_canary = percent(events.canary, requests.canary);
        let of_stable = percent(events.stable, requests.stable);
        let figures = match told.gate.rule {
            Rule::Errors { .. } => format!("{canary} fails {of_canary} of requests, {stable} {of_stable}"),
            Rule::ErrorLimit { limit } => format!(
                "{canary} fails {of_canary} of requests (the limit is {}), {stable} {of_stable}",
                percent_of(limit)
            ),
            Rule::LatencyLimit { quantile, limit_us, .. } => format!(
                "{of_canary} of requests to {canary} fail or take over {} (the limit allows {}), {of_stable} to {stable}",
                duration(limit_us),
                percent_of(1.0 - quantile)
            ),
            Rule::Copies { part, limit } => {
                let copies = self.copies(part, events.canary, requests.canary);
                format!("{copies} (the limit is {})", percent_of(limit))
            }
            Rule::Shape { tolerance, of, .. } | Rule::Quantile { tolerance, of, .. } => {
                self.latencies(told.compared, tolerance, of)
            }
        };
        format!("{}{figures}", self.place(told.gate))
    }

    /// `on /checkout: ` where a gate judges a path by itself.
    fn place(self, gate: &GateSetting) -> String {
        let path = gate.path.and_then(|path| self.paths.get(path));
        path.map_or_else(String::new, |path| format!("on {path}: "))
    }
}

/// `5 %`, or `5 % or 0.25 ms` where the time is more of a latency that is told.
fn longer(by: Longer, compared: Option<Compared<'_>>, tolerance: f64) -> String {
    let shortest = compared.and_then(|compared| compared.shortest_us(tolerance));
    if shortest.is_some_and(|us| us * by.stretch < by.at_least_us) {
        format!("{} or {}", stretch(by.stretch), latency(Reach::Us(by.at_least_us)))
    } else {
        stretch(by.stretch)
    }
}

/// The rate that a gate with a limit allows.
fn limit_of(rule: &Rule) -> Option<f64> {
    match *rule {
        Rule::ErrorLimit { limit } | Rule::Copies { limit, .. } => Some(limit),
        Rule::LatencyLimit { quantile, .. } => Some(1.0 - quantile),
        Rule::Errors { .. } | Rule::Shape { .. } | Rule::Quantile { .. } => None,
    }
}

pub(super) fn rates(Sighting { requests, events }: Sighting) -> Arms<f64> {
    let rate = |events: u64, requests: u64| if requests == 0 { 0.0 } else { events as f64 / requests as f64 };
    Arms { stable: rate(events.stable, requests.stable), canary: rate(events.canary, requests.canary) }
}

/// Whether the figures alone are beyond what is tolerated, under a gate that compares with stable.
fn looks_worse(told: Told<'_>) -> bool {
    match told.gate.rule {
        Rule::Errors { tolerance: Above { ratio, points }, .. } => {
            let Arms { stable, canary } = rates(told.seen);
            canary > ratio * stable + points
        }
        Rule::ErrorLimit { .. } | Rule::LatencyLimit { .. } | Rule::Copies { .. } => false,
        Rule::Shape { tolerance, .. } | Rule::Quantile { tolerance, .. } => {
            told.compared.is_some_and(|compared| compared.looks_slower(tolerance))
        }
    }
}

/// `more than 1.5 times v1's rate plus 0.1 points`.
fn more_than(Above { ratio, points }: Above, stable: &str) -> String {
    let points = percent_of(points).replace(" %", " points");
    match (ratio > 1.0, points.as_str()) {
        (true, "0 points") => format!("more than {ratio} times {stable}'s rate"),
        (true, points) => format!("more than {ratio} times {stable}'s rate plus {points}"),
        (false, points) => format!("more than {points} above {stable}'s rate"),
    }
}

#[cfg(test)]
mod tests;
