//! A difference, as operators see it: heads alone, and those without their secrets.

use std::time::SystemTime;

use http::HeaderMap;
use meter::{Class, Comparison};

use super::pair::{Answer, End, Pair};

/// What stands where a secret stood.
const REMOVED: &str = "(removed)";
/// The longest value that is shown, in characters.
const LONGEST: usize = 256;
/// Headers that hold secrets, whatever they are called otherwise.
const SECRET: [&str; 5] = ["authorization", "cookie", "proxy-authorization", "set-cookie", "tidegate-secret"];
/// What a header's name holds where its value may be a secret. What is removed in vain harms nobody.
const TELLING: [&str; 13] = [
    "auth",
    "cookie",
    "credential",
    "csrf",
    "jwt",
    "key",
    "passw",
    "secret",
    "session",
    "signature",
    "ticket",
    "token",
    "xsrf",
];

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// The canary gave no whole answer.
    Failed,
    /// The statuses.
    Status,
    /// The bodies.
    Body,
}

impl Difference {
    /// The word for it, as metrics and the API have it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Status => "status",
            Self::Body => "body",
        }
    }
}

/// A request whose copy the canary answered otherwise than stable answered the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// When that was found.
    pub at: SystemTime,
    /// What differs.
    pub what: Difference,
    /// The method.
    pub method: String,
    /// The path, without its query: who looks at samples need not be one of those who may read the access log.
    pub path: String,
    /// What stable answered.
    pub stable: Told,
    /// What the canary answered; what became of it instead where it gave no whole answer.
    pub canary: Result<Told, Class>,
}

/// What is told of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its status.
    pub status: u16,
    /// What a gRPC call came to.
    pub grpc: Option<u32>,
    /// Its headers, without secrets.
    pub headers: Vec<(String, String)>,
    /// XXH3 (64 bits) of the first 8 MiB of its body.
    pub body_hash: u64,
    /// Bytes of its body that were looked at; one above 8 MiB stands for all that are longer. A body that goes on after
    /// stable's has ended is not read to its end.
    pub body_bytes: u64,
}

impl Sample {
    /// What is told of a pair whose answers differ.
    pub(super) fn of(pair: &Pair, at: SystemTime) -> Option<Self> {
        let what = match pair.comparison()? {
            Comparison::Status { .. } => Difference::Status,
            Comparison::Body => Difference::Body,
            Comparison::NoAnswer => Difference::Failed,
            Comparison::Alike | Comparison::BothFailed | Comparison::StableFailed => return None,
        };
        let End::Answered(stable) = pair.stable.get()? else { return None };
        let canary = match pair.canary.get()? {
            End::Answered(canary) => Ok(Told::of(canary)),
            End::Failed(class) => Err(*class),
            End::Unknown => return None,
        };
        Some(Self {
            at,
            what,
            method: pair.method.to_string(),
            path: shown(pair.target.path().as_bytes()),
            stable: Told::of(stable),
            canary,
        })
    }
}

impl Told {
    fn of(answer: &Answer) -> Self {
        let Answer { status, grpc, fields, body } = answer;
        let headers = without_secrets(fields);
        Self { status: *status, grpc: *grpc, headers, body_hash: body.hash, body_bytes: body.length }
    }
}

fn without_secrets(fields: &HeaderMap) -> Vec<(String, String)> {
    let told = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let value = if may_be_secret(name.as_str()) { REMOVED.to_owned() } else { without_queries(value.as_bytes()) };
        (name.to_string(), value)
    };
    fields.iter().map(told).collect()
}

/// Names are in lower case.
fn may_be_secret(name: &str) -> bool {
    SECRET.contains(&name) || TELLING.iter().any(|telling| name.contains(telling))
}

/// A value without the queries and fragments of the addresses in it: where a client is sent next (`Location`, `Refresh`,
/// `Link`, ...) often holds what lets it in.
fn without_queries(value: &[u8]) -> String {
    let mut kept = Vec::with_capacity(value.len());
    let mut is_within = false;
    for byte in value {
        if is_within {
            is_within = !matches!(byte, b' ' | b',' | b';' | b'>' | b'"');
        }
        if !is_within {
            kept.push(*byte);
        }
        if matches!(byte, b'?' | b'#') && !is_within {
            is_within = true;
            kept.extend(b"...");
        }
    }
    shown(&kept)
}

/// What can be printed, and no more than fits on a few lines.
fn shown(value: &[u8]) -> String {
    let printable = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '?' };
    let mut text: String = value.iter().take(LONGEST).map(printable).collect();
    if value.len() > LONGEST {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        for name in [
            "authorization",
            "proxy-authorization",
            "cookie",
            "set-cookie",
            "tidegate-secret",
            "x-api-key",
            "x-auth-token",
            "x-csrf-token",
            "x-amz-security-token",
            "x-session-id",
        ] {
            let fields = HeaderMap::from_iter([(name.parse().unwrap(), "hush".parse().unwrap())]);
            assert_eq!(without_secrets(&fields), [(name.to_owned(), REMOVED.to_owned())]);
        }
    }

    #[test]
    fn where_a_client_is_sent_next_is_shown_without_what_lets_it_in() {
        for (value, shown) in [
            ("https://a.example/cb?code=hush&state=hush", "https://a.example/cb?..."),
            ("/done#access_token=hush?hush", "/done#..."),
            ("0; url=/in?ticket=hush", "0; url=/in?..."),
            ("</a?sig=hush>; rel=next, </b?sig=hush>; rel=prev", "</a?...>; rel=next, </b?...>; rel=prev"),
            ("text/html; charset=utf-8", "text/html; charset=utf-8"),
        ] {
            let fields = HeaderMap::from_iter([(http::header::LOCATION, value.parse().unwrap())]);
            assert_eq!(without_secrets(&fields), [("location".to_owned(), shown.to_owned())]);
        }
    }

    #[test]
    fn what_is_shown_is_short_and_can_be_printed() {
        assert_eq!(shown(b"a\x1b[31m\xff"), "a?[31m?");
        assert_eq!(shown(&[b'x'; 1_000]).len(), LONGEST + 3);
        let fields = HeaderMap::from_iter([(http::header::ACCEPT, "text/html".parse().unwrap())]);
        assert_eq!(without_secrets(&fields), [("accept".to_owned(), "text/html".to_owned())]);
    }
}
