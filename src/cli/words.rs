//! How single values are written on the command line.

use std::fmt;
use std::str::FromStr;

use config::{Name, Weight};

/// A legal name, or what would be one.
pub(super) fn name(text: &str) -> Result<Name, String> {
    Name::new(text).ok_or_else(|| format!("legal are {}", Name::LEGAL))
}

/// A weight for a version: `v2=10%`, or `10%` where only one version other than the stable exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetWeight {
    /// The version, where it was named.
    pub version: Option<Name>,
    /// Its weight.
    pub weight: Weight,
}

impl FromStr for TargetWeight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (version, weight) = match text.split_once('=') {
            Some((version, weight)) => {
                (Some(name(version).map_err(|legal| format!("{version:?} is no name of a version: {legal}"))?), weight)
            }
            None => (None, text),
        };
        Ok(Self { version, weight: weight.parse::<Weight>().map_err(|illegal| illegal.to_string())? })
    }
}

/// The base URL of a control API: plain HTTP, a host and a port, without a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminUrl(String);

impl AdminUrl {
    /// `http://HOST:PORT`, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for AdminUrl {
    fn default() -> Self {
        Self("http://127.0.0.1:9900".to_owned())
    }
}

impl fmt::Display for AdminUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AdminUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const LEGAL: &str = "legal is http://HOST:PORT, like http://127.0.0.1:9900";
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => return Err(format!("the admin address speaks plain HTTP; {LEGAL}")),
            Some(_) => return Err(LEGAL.to_owned()),
            None => text,
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        if authority.is_empty() || !authority.bytes().all(legal) {
            return Err(LEGAL.to_owned());
        }
        // The port of an IPv6 address stands behind its brackets.
        let port = authority.rsplit_once(']').map_or(authority, |(_, behind)| behind).rsplit_once(':');
        match port {
            Some((_, port)) if port.parse::<u16>().is_ok_and(|port| port != 0) => {
                Ok(Self(format!("http://{authority}")))
            }
            Some(_) | None => Err(format!("the port is missing or none; {LEGAL}")),
        }
    }
}
