//! Figures as people read them.

use std::time::Duration;

/// Thousands apart: `10 000`.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Three digits and a unit: `850 µs`, `1.25 ms`, `12.5 s`.
pub(crate) fn time(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    let (value, unit) = match micros {
        ..1e3 => return format!("{micros:.0} µs"),
        ..1e6 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$} {unit}")
}

/// One number as a percentage of another: `0.12 %`; `-` of nothing.
pub(crate) fn percentage(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.2} %", part as f64 * 100.0 / whole as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_have_a_unit() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1 000", "1 234 567"]);
        let times =
            [0, 850, 1_250, 12_500, 125_000, 1_250_000, 3_600_000_000].map(|us| time(Duration::from_micros(us)));
        assert_eq!(times, ["0 µs", "850 µs", "1.25 ms", "12.5 ms", "125 ms", "1.25 s", "3600 s"]);
        assert_eq!((percentage(1, 800).as_str(), percentage(0, 0).as_str()), ("0.12 %", "-"));
    }
}
