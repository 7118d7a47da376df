//! Who goes to a canary whatever its weight.

use std::fmt;

use super::HeaderMatch;

/// Whom a plan's step gives to the canary: requests that have all of this. At least one header or a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Headers, in the order of their names; no two have the same name, and none is `cookie`.
    pub headers: Vec<HeaderMatch>,
    /// A cookie.
    pub cookie: Option<CookieMatch>,
    /// Whether every gate judges them. By default only limits and the circuit breaker do: people who choose themselves
    /// are unlike all others.
    pub judged: bool,
}

/// A cookie that a request must have, among whichever others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieMatch {
    /// Its name, as it is written.
    pub name: String,
    /// Its whole value, byte for byte; none means any, the empty one as well.
    pub value: Option<String>,
}

impl Match {
    /// What a request must have, in the order of the headers' names: each name with its value, `*` for any. A cookie is
    /// last, under the name `cookie`.
    pub fn wanted(&self) -> impl Iterator<Item = (&str, String)> {
        let any = |value: &Option<String>| value.clone().unwrap_or_else(|| "*".to_owned());
        let headers = self.headers.iter().map(move |header| (header.name.as_str(), any(&header.value)));
        let cookie =
            self.cookie.iter().map(move |cookie| ("cookie", format!("{}={}", cookie.name, any(&cookie.value))));
        headers.chain(cookie)
    }
}

impl fmt::Display for Match {
    /// As the operator writes it: `x-beta: 1, cookie: beta=*`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (name, value)) in self.wanted().enumerate() {
            let before = if number > 0 { ", " } else { "" };
            write!(f, "{before}{name}: {value}")?;
        }
        Ok(())
    }
}
