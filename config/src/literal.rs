//! How single values are written: weights, fractions, quantiles, durations, endpoints, addresses, names.
//!
//! Command lines and requests take the same words, so these are public.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use crate::model::{Endpoint, HostName, PathPrefix};
use crate::problem::quoted;
use crate::units::{Alpha, Beta, Fraction, OutOfRange, Quantile, Stretch, Weight};

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

/// The number before the `%`, as digits before and after the point.
fn percent<'a>(text: &'a str, what: &str, example: &str, legal: &str) -> Result<(&'a str, &'a str), Illegal> {
    let Some(number) = text.strip_suffix('%') else {
        if decimal(text).is_some() {
            return Err(Illegal::new(format!(
                "{} has no %; {what} is written like {example}; did you mean `{text}%`?",
                quoted(text)
            )));
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

impl FromStr for Endpoint {
    type Err = Illegal;

    /// An endpoint as the operator writes it: `10.0.0.1:8080`, `shop.internal:80`, `[::1]:8080`.
    fn from_str(text: &str) -> Result<Self, Illegal> {
        const LEGAL: &str = "host:port, like 10.0.0.1:8080, shop.internal:80 or [::1]:8080";
        let wrong = |what: &str| Illegal::new(format!("{} {what}; legal is {LEGAL}", quoted(text)));
        if let Some((scheme, rest)) = text.split_once("://") {
            let rest = rest.trim_end_matches('/');
            let near = match Self::from_str(rest) {
                Ok(endpoint) => format!("; did you mean `{endpoint}`?"),
                Err(_) => String::new(),
            };
            return Err(Illegal::new(format!(
                "{} is a URL; legal is {LEGAL}, without {}{near}",
                quoted(text),
                quoted(&format!("{scheme}://"))
            )));
        }
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Err(Illegal::new(format!(
                "{} has no port; legal is {LEGAL}; did you mean `[{address}]:80`?",
                quoted(text)
            )));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("has no port"))?;
        let port = match port.parse::<u16>() {
            Ok(port) if port > 0 && port_is_plain(text) => port,
            Ok(_) | Err(_) => return Err(wrong("has no port from 1 to 65535")),
        };
        let host = match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
            Some(Some(address)) if address.parse::<Ipv6Addr>().is_ok() => address,
            Some(_) => return Err(wrong("has no IPv6 address in its brackets")),
            None if host.is_empty() => return Err(wrong("has no host")),
            None if host.contains(':') => {
                return Err(wrong("holds more than one colon (an IPv6 address needs brackets)"));
            }
            None if is_host(host) => host,
            None => return Err(wrong("has no legal host")),
        };
        Ok(Self::Tcp { host: host.to_owned(), port, tls: false })
    }
}

/// Whether the port is digits alone: `str::parse` takes a sign, too.
fn port_is_plain(text: &str) -> bool {
    text.rsplit(':').next().is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Endpoint {
    /// What makes two endpoints the same, however they are written: case of names and form of addresses aside.
    pub(crate) fn identity(&self) -> String {
        match self {
            Self::Tcp { host, port, .. } => {
                let host = host.parse::<IpAddr>().map_or_else(|_| host.to_ascii_lowercase(), |ip| ip.to_string());
                format!("{host} {port}")
            }
            Self::Unix(path) => path.display().to_string(),
        }
    }
}

/// Whether this is an IPv4 address or a name that DNS could know. What looks like an IPv4 address must be one.
fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let numeric = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if numeric {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    host.len() <= 253 && host.split('.').all(label)
}

/// A socket address to listen on: `0.0.0.0:8080`, `[::]:8080`; port 0 asks the system for one.
pub fn address(text: &str) -> Result<SocketAddr, Illegal> {
    const LEGAL: &str = "IP:PORT, like 0.0.0.0:8080 or [::]:8080";
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let bare = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")).unwrap_or(text);
    let near = if let Ok(port) = bare.parse::<u16>() {
        format!("; did you mean `0.0.0.0:{port}`?")
    } else if let Some(Ok(port)) = text.strip_prefix("localhost:").map(str::parse::<u16>) {
        format!("; did you mean `127.0.0.1:{port}`?")
    } else {
        String::new()
    };
    Err(Illegal::new(format!("{} is no address to listen on; legal is {LEGAL}{near}", quoted(text))))
}

impl FromStr for HostName {
    type Err = Illegal;

    /// An exact host name; upper case is taken as lower case.
    fn from_str(text: &str) -> Result<Self, Illegal> {
        let wrong = |what: String| Illegal::new(format!("{} {what}", quoted(text)));
        if text.contains('*') {
            return Err(wrong("has a wildcard, which is known and not built yet; write each host exactly".to_owned()));
        }
        if is_host(text) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        const LEGAL: &str = "legal is an exact host name, like shop.example.com";
        if !text.is_ascii() {
            return Err(wrong(format!("is not ASCII; {LEGAL}; write an international name as xn--...")));
        }
        let bare = text.rsplit_once("://").map_or(text, |(_, rest)| rest);
        let bare = bare.split([':', '/']).next().unwrap_or_default().trim_end_matches('.');
        let near = if is_host(bare) { format!("; did you mean {}?", quoted(bare)) } else { String::new() };
        Err(wrong(format!("is no host name; {LEGAL}, without scheme, port or path{near}")))
    }
}

impl FromStr for PathPrefix {
    type Err = Illegal;

    /// A path prefix; a trailing `/` is dropped.
    fn from_str(text: &str) -> Result<Self, Illegal> {
        const LEGAL: &str = "legal is a path of whole segments that begins with /, like /checkout";
        let wrong = |what: &str, near: String| Illegal::new(format!("{} {what}; {LEGAL}{near}", quoted(text)));
        if !text.starts_with('/') {
            let near = Self::from_str(&format!("/{text}"));
            let near = near.map_or_else(|_| String::new(), |path| format!("; did you mean {}?", quoted(&path.0)));
            return Err(wrong("does not begin with /", near));
        }
        let bare = text.strip_suffix('/').unwrap_or(text);
        if bare.is_empty() {
            return Ok(Self("/".to_owned()));
        }
        if bare.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'?' | b'#' | b'*' | b'\\')) {
            return Err(wrong(
                "holds a character that no path prefix may (space, ?, #, *, \\, or beyond ASCII)",
                String::new(),
            ));
        }
        if bare.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(wrong("holds an empty segment, . or ..", String::new()));
        }
        Ok(Self(bare.to_owned()))
    }
}

/// Whether this may name a cookie or a header: a token of RFC 9110.
pub(crate) fn is_token(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests;
