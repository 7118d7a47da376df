//! The judge's sentences: for somebody who was just woken up.

use libm::{exp, floor, log10};

use super::family::DEFAULT_TOLERANCE;
use super::settings::{Rule, Settings};
use super::sightings::Sighting;
use crate::statistics::Batcher;
use crate::view::Arms;

/// Speaks of one rollout's versions by their names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words<'a> {
    stable: &'a str,
    canary: &'a str,
}

impl<'a> Words<'a> {
    pub(super) fn new(settings: &'a Settings) -> Self {
        Self { stable: &settings.stable, canary: &settings.canary }
    }

    /// A gate established harm.
    pub(super) fn harm(self, rule: Rule, seen: Sighting, seconds: u64, log_evidence: f64) -> String {
        let (rates, counts) = (self.rates(rule, seen), counts(seen));
        format!(
            "{rates} ({}, {counts}): harm is established (chance of seeing this without harm: {})",
            span(seconds),
            chance(log_evidence)
        )
    }

    /// The breaker fired.
    pub(super) fn broken(self, seen: Sighting, log_evidence: f64) -> String {
        let Self { stable, canary } = self;
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
    pub(super) fn over_limit_too(self, rule: Rule, seen: Sighting, seconds: u64) -> String {
        let (rates, counts) = (self.rates(rule, seen), counts(seen));
        format!(
            "{rates} ({}, {counts}): {} is over the limit, but it is not established that it is worse than {}, so it is \
             not taken back; look at what both depend on",
            span(seconds),
            self.canary,
            self.stable
        )
    }

    /// Evidence has gathered and does not suffice.
    pub(super) fn suspicion(self, rule: Rule, seen: Sighting, seconds: u64) -> String {
        let (rates, counts) = (self.rates(rule, seen), counts(seen));
        format!("{rates} ({}, {counts}): harm is suspected, not established", span(seconds))
    }

    /// Nothing is suspected so far. Where the rates alone look like harm (a few requests, failures of one moment, no
    /// stable traffic beside them), it says that this is not enough.
    pub(super) fn well(self, rule: Rule, seen: Sighting) -> String {
        let (ratio, points) = match rule {
            Rule::Errors { ratio, points } => (ratio, points),
            Rule::LatencyShape | Rule::ErrorLimit { .. } | Rule::LatencyLimit { .. } => DEFAULT_TOLERANCE,
        };
        let rate = |events: u64, requests: u64| if requests == 0 { 0.0 } else { events as f64 / requests as f64 };
        let of_stable = rate(seen.events.stable, seen.requests.stable);
        let looks_worse = rate(seen.events.canary, seen.requests.canary) > ratio * of_stable + points;
        let ending = if looks_worse { "worse so far, not enough evidence of harm" } else { "no harm seen yet" };
        format!("{}: {ending}", self.rates(rule, seen))
    }

    /// No batch closed lately. `unseen_for` is for how many seconds a version had no request; none where it never had
    /// one. `open` is what waits for the next batch.
    pub(super) fn no_data(self, unseen_for: Arms<Option<u64>>, open: Arms<u64>, fresh_seconds: u64) -> String {
        let idle = |version: &str, unseen_for: Option<u64>| match unseen_for {
            None => Some(format!("{version} has had no request yet")),
            Some(seconds) if seconds >= fresh_seconds => {
                Some(format!("{version} has had no request {}", span(seconds)))
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
            "{} requests to {} and {} to {} wait to be judged: {} are needed, at least one of each",
            grouped(open.canary),
            self.canary,
            grouped(open.stable),
            self.stable,
            Batcher::MIN_TOTAL
        )
    }

    fn rates(self, rule: Rule, seen: Sighting) -> String {
        let Self { stable, canary } = self;
        let of_canary = percent(seen.events.canary, seen.requests.canary);
        let of_stable = percent(seen.events.stable, seen.requests.stable);
        match rule {
            Rule::Errors { .. } | Rule::LatencyShape => {
                format!("{canary} fails {of_canary} of requests, {stable} {of_stable}")
            }
            Rule::ErrorLimit { limit } => format!(
                "{canary} fails {of_canary} of requests (the limit is {}), {stable} {of_stable}",
                percent_of(limit)
            ),
            Rule::LatencyLimit { quantile, limit_us } => format!(
                "{of_canary} of requests to {canary} fail or take over {} (the limit allows {}), {of_stable} to {stable}",
                duration(limit_us),
                percent_of(1.0 - quantile)
            ),
        }
    }
}

fn counts(seen: Sighting) -> String {
    let of = |events: u64, requests: u64| format!("{} of {}", grouped(events), grouped(requests));
    format!("{} against {}", of(seen.events.canary, seen.requests.canary), of(seen.events.stable, seen.requests.stable))
}

/// `4.1 %`, `0.13 %`, `100 %`: two digits, and 0 or 100 only where it is exact.
fn percent(events: u64, requests: u64) -> String {
    if requests == 0 {
        return "none".to_owned();
    }
    let percent = 100.0 * events as f64 / requests as f64;
    if events > 0 && percent < 0.001 {
        return "under 0.001 %".to_owned();
    }
    if events < requests && percent >= 99.5 {
        return if percent < 99.95 { format!("{percent:.1} %") } else { "over 99.9 %".to_owned() };
    }
    two_digits(percent)
}

/// A limit as the operator wrote it: `5 %`, `0.1 %`.
fn percent_of(rate: f64) -> String {
    // To a millionth of a percent: 1 - 0.99 is not 0.01 in binary.
    format!("{} %", (rate * 1e8).round() / 1e6)
}

fn two_digits(percent: f64) -> String {
    let decimals = if percent <= 0.0 { 0 } else { (1.0 - floor(log10(percent))).clamp(0.0, 6.0) as usize };
    let text = format!("{percent:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} %")
}

/// A latency limit as it was written: `300 ms`, `2.5 s`.
fn duration(us: u64) -> String {
    if us < 1_000_000 { format!("{} ms", us as f64 / 1e3) } else { format!("{} s", us as f64 / 1e6) }
}

/// `12 000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `in the last 12 s`; rounded up, so that what was seen was seen within it.
fn span(seconds: u64) -> String {
    match seconds {
        0 | 1 => "in the last second".to_owned(),
        2..=119 => format!("in the last {seconds} s"),
        120..=7_199 => format!("in the last {} min", seconds.div_ceil(60)),
        7_200.. => format!("in the last {} h", seconds.div_ceil(3_600)),
    }
}

/// `at most 1 in 12 000`: by Ville's inequality, rounded to the safe side.
fn chance(log_evidence: f64) -> String {
    const MILLIARD: f64 = 1e9;
    let odds = exp(log_evidence.clamp(0.0, 50.0));
    if odds >= MILLIARD {
        return format!("less than 1 in {}", grouped(MILLIARD as u64));
    }
    let odds = floor(odds) as u64;
    let rounding = 10_u64.pow(odds.max(1).ilog10().saturating_sub(1));
    format!("at most 1 in {}", grouped(odds / rounding * rounding))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_said_with_two_digits_and_are_never_nicer_or_worse_than_they_are() {
        let said: Vec<String> = [
            (0, 10),
            (10, 10),
            (41, 1_000),
            (13, 10_000),
            (1, 1_000),
            (1, 3),
            (1_999, 2_000),
            (99_999, 100_000),
            (1, 1_000_000),
            (0, 0),
        ]
        .iter()
        .map(|(events, requests)| percent(*events, *requests))
        .collect();
        assert_eq!(
            said,
            ["0 %", "100 %", "4.1 %", "0.13 %", "0.1 %", "33 %", "over 99.9 %", "over 99.9 %", "under 0.001 %", "none"]
        );
    }

    #[test]
    fn rates_that_look_like_harm_are_never_called_harmless() {
        let said = |failed: u64| {
            let requests = Arms { stable: 1_000, canary: 100 };
            let seen = Sighting { requests, events: Arms { stable: 10, canary: failed } };
            let rule = Rule::Errors { ratio: 1.1, points: 0.0005 };
            Words { stable: "v1", canary: "v2" }.well(rule, seen)
        };
        assert_eq!(said(1), "v2 fails 1 % of requests, v1 1 %: no harm seen yet");
        assert_eq!(said(45), "v2 fails 45 % of requests, v1 1 %: worse so far, not enough evidence of harm");
    }

    #[test]
    fn limits_are_said_as_they_were_written() {
        assert_eq!([percent_of(0.05), percent_of(1.0 - 0.99), percent_of(1.0 - 0.999)], ["5 %", "1 %", "0.1 %"]);
    }

    #[test]
    fn latency_limits_are_said_in_the_unit_that_fits() {
        assert_eq!([1_000, 300_000, 2_500_000, 60_000_000].map(duration), ["1 ms", "300 ms", "2.5 s", "60 s"]);
    }

    #[test]
    fn chances_are_rounded_to_the_safe_side() {
        let said: Vec<String> = [0.0, 4.75, 9.4, 16.0, 300.0].iter().map(|nats| chance(*nats)).collect();
        assert_eq!(
            said,
            [
                "at most 1 in 1",
                "at most 1 in 110",
                "at most 1 in 12 000",
                "at most 1 in 8 800 000",
                "less than 1 in 1 000 000 000"
            ]
        );
    }

    #[test]
    fn spans_are_rounded_up() {
        assert_eq!(
            [span(0), span(12), span(121), span(7_201)],
            ["in the last second", "in the last 12 s", "in the last 3 min", "in the last 3 h"]
        );
    }
}
