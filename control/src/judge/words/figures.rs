//! Figures in words: two digits, and never nicer or worse than they are.

use libm::{exp, floor, log10};

use crate::judge::profile::Reach;

/// `4.1 %`, `0.13 %`, `100 %`: two digits, and 0 or 100 only where it is exact.
pub(super) fn percent(events: u64, requests: u64) -> String {
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
pub(super) fn percent_of(rate: f64) -> String {
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
pub(super) fn duration(us: u64) -> String {
    if us < 1_000_000 { format!("{} ms", us as f64 / 1e3) } else { format!("{} s", us as f64 / 1e6) }
}

/// `12 000`.
pub(super) fn grouped(number: u64) -> String {
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
pub(super) fn span(seconds: u64) -> String {
    format!("in the last {}", length(seconds))
}

/// `in the 12 s before`: of what is read long after it was said.
pub(super) fn before(seconds: u64) -> String {
    format!("in the {} before", length(seconds))
}

fn length(seconds: u64) -> String {
    match seconds {
        0 | 1 => "second".to_owned(),
        2..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds.div_ceil(60)),
        7_200.. => format!("{} h", seconds.div_ceil(3_600)),
    }
}

/// `at most 1 in 12 000`: by Ville's inequality, rounded to the safe side.
pub(super) fn chance(log_evidence: f64) -> String {
    const MILLIARD: f64 = 1e9;
    let odds = exp(log_evidence.clamp(0.0, 50.0));
    if odds >= MILLIARD {
        return format!("less than 1 in {}", grouped(MILLIARD as u64));
    }
    let odds = floor(odds) as u64;
    let rounding = 10_u64.pow(odds.max(1).ilog10().saturating_sub(1));
    format!("at most 1 in {}", grouped(odds / rounding * rounding))
}

/// `25 %`: a stretch or a weight, as the operator wrote it.
pub(super) fn stretch(of: f64) -> String {
    percent_of(of)
}

/// `p99.9`, as the operator writes it.
pub(super) fn quantile(of: f64) -> String {
    // Rounded to the finest digit that is legal: 0.999 * 100 is not 99.9 in binary.
    format!("p{}", (of * 1e6).round() / 1e4)
}

/// A measured latency, to the digits that it is known to: `0.85 ms`, `4.2 ms`, `412 ms`, `12 s`.
pub(super) fn latency(reach: Reach) -> String {
    let us = match reach {
        Reach::Timeout => return "a timeout".to_owned(),
        Reach::Us(us) => us,
    };
    match us {
        ..1_000.0 => format!("{:.2} ms", us / 1e3),
        1_000.0..9_950.0 => format!("{:.1} ms", us / 1e3),
        9_950.0..999_500.0 => format!("{:.0} ms", us / 1e3),
        999_500.0..9_950_000.0 => format!("{:.1} s", us / 1e6),
        _ => format!("{:.0} s", us / 1e6),
    }
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
        assert_eq!([before(1), before(12)], ["in the second before", "in the 12 s before"]);
    }

    #[test]
    fn latencies_are_said_to_the_digits_that_they_are_known_to() {
        let said = [850.0, 4_210.0, 9_990.0, 412_300.0, 1_240_000.0, 12_300_000.0].map(|us| latency(Reach::Us(us)));
        assert_eq!(said, ["0.85 ms", "4.2 ms", "10 ms", "412 ms", "1.2 s", "12 s"]);
        assert_eq!(latency(Reach::Timeout), "a timeout");
        assert_eq!([0.5, 0.99, 0.999].map(quantile), ["p50", "p99", "p99.9"]);
    }
}
