//! How single values are written: weights, fractions, quantiles, durations, sizes, endpoints, addresses, names.
//!
//! Command lines and requests take the same words, so these are public.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::problem::quoted;
use crate::units::{Alpha, Beta, Bytes, Fraction, OutOfRange, Quantile, Stretch, Weight};

mod place;

pub use place::address;
pub(crate) use place::{authority, is_ip};

/// A text that is not what it should be: what is wrong; what is legal; perhaps what was meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Illegal(String);

impl Illegal {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// The longest time that is taken: a year and a day.
const LONGEST_HOURS: u64 = 8784;

/// The digits before and after the point of a plain decimal number.
fn decimal(text: &str) -> Option<(&str, &str)> {
    let (whole, part) = text.split_once('.').map_or((text, None), |(whole, part)| (whole, Some(part)));
    let digits = |text: &str| !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(whole) && part.is_none_or(digits)).then_some((whole, part.unwrap_or_default()))
}

/// A fraction below 1 as a percentage, digit by digit: `0.05` is `5`. None for what is none, and for 0.
fn hundredfold(text: &str) -> Option<String> {
    let (whole, part) = decimal(text)?;
    if whole.bytes().any(|digit| digit != b'0') || part.bytes().all(|digit| digit == b'0') {
        return None;
    }
    let padded = format!("{part:0<2}");
    let (percent, rest) = padded.split_at(2);
    let (percent, rest) = (percent.trim_start_matches('0'), rest.trim_end_matches('0'));
    let percent = if percent.is_empty() { "0" } else { percent };
    Some(if rest.is_empty() { percent.to_owned() } else { format!("{percent}.{rest}") })
}

/// The number before the `%`, as digits before and after the point.
fn percent<'a>(text: &'a str, what: &str, example: &str, legal: &str) -> Result<(&'a str, &'a str), Illegal> {
    let Some(number) = text.strip_suffix('%') else {
        if decimal(text).is_some() {
            // 0.05 is mostly five of a hundred: whoever writes it is to say which.
            let meant = match hundredfold(text) {
                Some(percent) => format!("did you mean `{percent}%` or `{text}%`?"),
                None => format!("did you mean `{text}%`?"),
            };
            return Err(Illegal::new(format!("{} has no %; {what} is written like {example}; {meant}", quoted(text))));
        }
        return Err(Illegal::new(format!("{} is not {what}; legal is {legal}, like {example}", quoted(text))));
    };
    if let Some(number) = decimal(number) {
        return Ok(number);
    }
    let near = match decimal(number.trim()) {
        Some(_) => format!("; did you mean `{}%`?", number.trim()),
        None => String::new(),
    };
    Err(Illegal::new(format!("{} is not {what}; legal is {legal}, like {example}{near}", quoted(text))))
}

/// A percentage as a fraction, rounded once: the nearest number to what is written.
fn percent_as_fraction(text: &str, what: &str, example: &str, legal: &str) -> Result<f64, Illegal> {
    let (whole, part) = percent(text, what, example, legal)?;
    format!("{whole}.{part}e-2")
        .parse()
        .map_err(|_| Illegal::new(format!("{} is not {what}; legal is {legal}", quoted(text))))
}

impl FromStr for Weight {
    type Err = Illegal;

    /// A weight as the operator writes it (`10%`, `0.25%`), exactly; an error for what is finer than 0.01 %.
    fn from_str(text: &str) -> Result<Self, Illegal> {
        const LEGAL: &str = "0% to 100% in steps of 0.01%";
        let (whole, part) = percent(text, "a weight", "10%", LEGAL)?;
        let fine = part.trim_end_matches('0');
        if fine.len() > 2 {
            return Err(Illegal::new(format!("{} is finer than 0.01%; legal is {LEGAL}", quoted(text))));
        }
        let basis_points = format!("{whole}{fine:0<2}").parse::<u16>().ok();
        basis_points
            .and_then(|basis_points| Self::from_basis_points(basis_points).ok())
            .ok_or_else(|| Illegal::new(format!("{} is more than everything; legal is {LEGAL}", quoted(text))))
    }
}

/// A percentage that its unit takes.
fn percentage<T>(
    text: &str,
    example: &str,
    legal: &str,
    unit: impl FnOnce(f64) -> Result<T, OutOfRange>,
) -> Result<T, Illegal> {
    let value = percent_as_fraction(text, "a percentage", example, legal)?;
    unit(value).map_err(|error| Illegal::new(format!("{} is out of range; legal is {}", quoted(text), error.legal)))
}

impl FromStr for Fraction {
    type Err = Illegal;

    /// A fraction of requests as the operator writes it: `0.1%`.
    fn from_str(text: &str) -> Result<Self, Illegal> {
        percentage(text, "0.1%", "0% to 100%", Self::new)
    }
}

impl FromStr for Alpha {
    type Err = Illegal;

    /// An alpha as the operator writes it: `1%`.
    fn from_str(text: &str) -> Result<Self, Illegal> {
        percentage(text, "1%", "0.0001% to 50%", Self::new)
    }
}

impl FromStr for Beta {
    type Err = Illegal;

    /// A beta as the operator writes it: `5%`.
    fn from_str(text: &str) -> Result<Self, Illegal> {
        percentage(text, "5%", "0.0001% to 50%", Self::new)
    }
}

impl FromStr for Stretch {
    type Err = Illegal;

    /// A stretch as the operator writes it: `10%` is a tenth longer.
    fn from_str(text: &str) -> Result<Self, Illegal> {
        percentage(text, "10%", "0% to 10000%", Self::new)
    }
}

impl FromStr for Quantile {
    type Err = Illegal;

    /// A quantile as the operator writes it: `p99`, `p99.9`.
    fn from_str(text: &str) -> Result<Self, Illegal> {
        let illegal = || Illegal::new(format!("{} is not a quantile; legal is p1 to p99.99, like p99", quoted(text)));
        let (whole, part) = text.strip_prefix('p').and_then(decimal).ok_or_else(illegal)?;
        let value: f64 = format!("{whole}.{part}e-2").parse().map_err(|_| illegal())?;
        Self::new(value).map_err(|_| illegal())
    }
}

/// A time as the operator writes it: `500ms`, `10s`, `5m`, `1h30m`; at most 8784 hours. An error for a bare number.
pub fn duration(text: &str) -> Result<Duration, Illegal> {
    const LEGAL: &str = "whole numbers with units, like 500ms, 10s, 5m, 1h30m";
    /// Unit and milliseconds, in the order in which they may follow each other.
    const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    if decimal(text).is_some() {
        return Err(Illegal::new(format!("{} has no unit; legal is {LEGAL}; did you mean `{text}s`?", quoted(text))));
    }
    let illegal = || Illegal::new(format!("{} is not a time; legal is {LEGAL}", quoted(text)));
    let (mut rest, mut units, mut milliseconds) = (text, UNITS.as_slice(), 0_u64);
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
        let (unit, after) = after.split_at(after.bytes().take_while(u8::is_ascii_lowercase).count());
        let place = units.iter().position(|(name, _)| *name == unit).ok_or_else(illegal)?;
        let number: u64 = number.parse().map_err(|_| illegal())?;
        milliseconds = milliseconds.saturating_add(number.saturating_mul(units[place].1));
        (rest, units) = (after, &units[place + 1..]);
    }
    if text.is_empty() {
        return Err(illegal());
    }
    if milliseconds > LONGEST_HOURS * 3_600_000 {
        return Err(Illegal::new(format!("{} is longer than a year; legal is at most {LONGEST_HOURS}h", quoted(text))));
    }
    Ok(Duration::from_millis(milliseconds))
}

/// A time in the fewest words that [`duration`] reads: `1h30m`, `500ms`, `0s`. Parts of a millisecond are left out.
pub(crate) fn spelt(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let parts = [
        (milliseconds / 3_600_000, "h"),
        (milliseconds / 60_000 % 60, "m"),
        (milliseconds / 1_000 % 60, "s"),
        (milliseconds % 1_000, "ms"),
    ];
    let spelt: String =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, unit)| format!("{number}{unit}")).collect();
    if spelt.is_empty() { "0s".to_owned() } else { spelt }
}

impl FromStr for Bytes {
    type Err = Illegal;

    /// A number of bytes as the operator writes it: `8KiB`, `10MiB`, `512B`; an error for a bare number.
    fn from_str(text: &str) -> Result<Self, Illegal> {
        const LEGAL: &str = "a whole number with B, KiB, MiB, GiB or TiB, like 8KiB or 10MiB";
        let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
        let bytes = |factor: u64| {
            let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
            bytes.filter(|bytes| *bytes <= Self::MOST).and_then(|bytes| Self::new(bytes).ok())
        };
        if let Some((_, factor)) = Self::UNITS.iter().find(|(name, _)| *name == unit) {
            let out_of_range = || Illegal::new(format!("{} is out of range; legal is 1B to 1024TiB", quoted(text)));
            return if number.is_empty() {
                Err(Illegal::new(format!("{} is no size; legal is {LEGAL}", quoted(text))))
            } else {
                bytes(*factor).ok_or_else(out_of_range)
            };
        }
        let meant = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" | "bytes" => bytes(1),
            "k" | "kb" | "kib" => bytes(1 << 10),
            "m" | "mb" | "mib" => bytes(1 << 20),
            "g" | "gb" | "gib" => bytes(1 << 30),
            "t" | "tb" | "tib" => bytes(1 << 40),
            _ => None,
        };
        let near = meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
        if unit.is_empty() && !number.is_empty() {
            return Err(Illegal::new(format!("{} has no unit; legal is {LEGAL}{near}", quoted(text))));
        }
        Err(Illegal::new(format!("{} is no size; legal is {LEGAL}{near}", quoted(text))))
    }
}

/// A whole number within what is legal for it.
pub(crate) fn whole_number(text: &str, legal: RangeInclusive<u64>) -> Result<u64, Illegal> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && legal.contains(number));
    number.ok_or_else(|| {
        let (what, least, most) = (if digits { "out of range" } else { "no whole number" }, legal.start(), legal.end());
        Illegal::new(format!("{} is {what}; legal is {least} to {most}", quoted(text)))
    })
}

/// A time within what is legal for it.
pub(crate) fn time_within(text: &str, legal: RangeInclusive<Duration>) -> Result<Duration, Illegal> {
    let time = duration(text)?;
    if legal.contains(&time) {
        return Ok(time);
    }
    let (least, most) = (spelt(*legal.start()), spelt(*legal.end()));
    Err(Illegal::new(format!("{} is out of range; legal is {least} to {most}", quoted(text))))
}

/// A time that is not zero.
pub(crate) fn some_time(text: &str) -> Result<Duration, Illegal> {
    let time = duration(text)?;
    if time.is_zero() {
        return Err(Illegal::new(format!("{} is no time at all; legal is 1ms to {LONGEST_HOURS}h", quoted(text))));
    }
    Ok(time)
}

/// A time in whole seconds, as a header field can say it.
pub(crate) fn seconds(text: &str) -> Result<Duration, Illegal> {
    let time = duration(text)?;
    if time.subsec_millis() > 0 {
        return Err(Illegal::new(format!(
            "{} is no whole number of seconds; legal is a time like 1s, 12h or 8760h",
            quoted(text)
        )));
    }
    Ok(time)
}

/// Whether this may name a cookie or a header: a token of RFC 9110.
pub(crate) fn is_token(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests;
