//! How endpoints are asked whether they are well.

use std::time::Duration;

use super::{Endpoints, number, time};
use crate::cursor::{Cursor, Fields, Report};
use crate::keys;
use crate::literal::{Illegal, authority, spelt, whole_number};
use crate::model::{HealthCheck, HealthQuestion, Protocol};
use crate::problem::{listed, quoted};
use crate::tree::Place;
use crate::units::Fraction;

const LEGAL: &str = "{ path: /healthz }, { grpc: SERVICE } or { connect: true }";

const LONGEST: Duration = Duration::from_secs(3600);

/// A health check that is written once for many versions, and where; the check is none where it is `off`.
#[derive(Debug, Clone)]
pub(in crate::read) struct ForAll {
    check: Option<HealthCheck>,
    place: Place,
}

impl ForAll {
    /// Reads what is written in a service, or at the top of the file.
    pub(in crate::read) fn read(written: &Cursor<'_>, report: &mut Report) -> Option<Self> {
        // Each version speaks what it speaks.
        let unknown = Endpoints { protocol: None, speak_tls: None, count: None };
        Some(Self { check: health(written, unknown, report)?, place: written.place })
    }

    /// The check of a version that writes none.
    pub(super) fn of(
        &self,
        version: &Fields<'_>,
        endpoints: Endpoints,
        report: &mut Report,
    ) -> Option<Option<HealthCheck>> {
        let Some(check) = &self.check else { return Some(None) };
        if matches!(check.ask, HealthQuestion::Grpc(_)) && endpoints.protocol == Some(Protocol::H1) {
            let instead = if endpoints.speak_tls == Some(true) { "h2" } else { "h2c" };
            let message = format!(
                "this version speaks `h1`, and its health check (at {}) is gRPC, which is spoken over HTTP/2; write `protocol: \
                 {instead}` beside `endpoints`, or a `health` of its own, like health: {{ path: /healthz }} or health: off",
                report.place(self.place)
            );
            version.wrong(report, message);
            return None;
        }
        Some(Some(check.clone()))
    }
}

/// What a version asks its endpoints; none where it is `off`.
pub(super) fn health(written: &Cursor<'_>, endpoints: Endpoints, report: &mut Report) -> Option<Option<HealthCheck>> {
    const LEGAL: &str = "`off`, { path: /healthz }, { grpc: SERVICE } or { connect: true }";
    if let Some(word) = written.word() {
        let near = match word {
            "off" | "none" | "false" => return Some(None),
            "no" | "never" | "disabled" => "; did you mean `off`?".to_owned(),
            path if path.starts_with('/') => format!("; did you mean {}?", quoted(&format!("{{ path: {path} }}"))),
            _ => String::new(),
        };
        written.wrong(report, format!("{} is no health check; legal is {LEGAL}{near}", quoted(word)));
        return None;
    }
    if written.is_list() || written.is_empty() {
        written.expected(report, LEGAL);
        return None;
    }
    let fields = written.fields(report, &keys::HEALTH)?;
    let ask = question(&fields, endpoints, report);
    let usual = HealthCheck::of(HealthQuestion::Connect);
    let interval = fields.or("interval", usual.interval, |written| {
        time(written, "a time, like 5s", Duration::from_millis(100)..=LONGEST, report)
    });
    let timeout = timeout(&fields, interval, usual.timeout, report);
    let jitter =
        fields.or("jitter", usual.jitter, |written| written.literal(report, "a percentage, like 10%", up_to_half));
    let mut in_a_row = |key, usual| fields.or(key, usual, |written| number(written, 1..=100, report));
    let (unhealthy, healthy) = (in_a_row("unhealthy", usual.unhealthy), in_a_row("healthy", usual.healthy));
    Some(Some(HealthCheck {
        ask: ask?,
        interval: interval?,
        jitter: jitter?,
        timeout: timeout?,
        unhealthy: unhealthy?,
        healthy: healthy?,
    }))
}

/// How long one check may take: never longer than the interval, so that they do not pile up.
fn timeout(fields: &Fields<'_>, interval: Option<Duration>, usual: Duration, report: &mut Report) -> Option<Duration> {
    let Some(written) = fields.get("timeout") else { return interval.map(|interval| usual.min(interval)) };
    let timeout = time(written, "a time, like 2s", Duration::from_millis(1)..=LONGEST, report)?;
    let interval = interval?;
    if timeout > interval {
        let default = if fields.has("interval") { "" } else { ", the default" };
        let (timeout, interval) = (spelt(timeout), spelt(interval));
        let message = format!(
            "{timeout} is longer than the interval of {interval}{default}; legal is at most {interval}, or write a longer \
             `interval`"
        );
        written.wrong(report, message);
        return None;
    }
    Some(timeout)
}

fn up_to_half(text: &str) -> Result<Fraction, Illegal> {
    let jitter: Fraction = text.parse()?;
    if jitter.get() <= 0.5 {
        return Ok(jitter);
    }
    Err(Illegal::new(format!("{} is out of range; legal is 0% to 50%", quoted(text))))
}

fn question(fields: &Fields<'_>, endpoints: Endpoints, report: &mut Report) -> Option<HealthQuestion> {
    const KINDS: [&str; 3] = ["path", "grpc", "connect"];
    let mut kinds = KINDS.into_iter().filter_map(|kind| Some((kind, fields.get(kind)?)));
    let Some((kind, asked)) = kinds.next() else {
        fields.chooses_none(report, format!("asks nothing; legal is {LEGAL}"));
        return None;
    };
    if let Some((_, second)) = kinds.next() {
        second.wrong(report, format!("`{kind}` is written as well; keep one of {}", listed(KINDS)));
        return None;
    }
    if kind == "path" {
        let path = asked.literal(report, "a path, like /healthz", request_path);
        let host = fields.if_written("host", |written| written.literal(report, "a host, like shop.internal", host));
        let status = fields
            .or("status", (200, 299), |written| written.literal(report, "a status or a range, like 200-299", status));
        return Some(HealthQuestion::Http { path: path?, host: host?, status: status? });
    }
    let mut in_vain = ["host", "status"].into_iter().filter_map(|key| fields.get(key)).peekable();
    if in_vain.peek().is_some() {
        for written in in_vain {
            written.wrong(report, format!("is for a `path`, and this asks by `{kind}`; leave it out"));
        }
        return None;
    }
    if kind == "grpc" {
        let service = asked.literal(report, "the name of a service, or \"\" for the server as a whole", grpc_service);
        return speaks_http2(asked, endpoints, report).and(service).map(HealthQuestion::Grpc);
    }
    let text = asked.text(report, "`true`")?;
    if text == "true" {
        return Some(HealthQuestion::Connect);
    }
    asked.wrong(report, format!("{} is written here; legal is `true`, or health: off for none", quoted(text)));
    None
}

/// Whether gRPC can be spoken to the endpoints; it can where that cannot be read.
fn speaks_http2(
    written: &Cursor<'_>,
    Endpoints { protocol, speak_tls, .. }: Endpoints,
    report: &mut Report,
) -> Option<()> {
    match protocol {
        Some(Protocol::H2 | Protocol::H2c) | None => return Some(()),
        Some(Protocol::H1) => {}
    }
    let instead = if speak_tls == Some(true) { "h2" } else { "h2c" };
    let message = format!(
        "gRPC is spoken over HTTP/2, and this version speaks `h1`; write `protocol: {instead}` beside `endpoints`, or ask \
         another way: {{ path: /healthz }} or {{ connect: true }}"
    );
    written.wrong(report, message);
    None
}

/// A path with its query, as a request line can hold it (RFC 3986, section 3).
fn request_path(text: &str) -> Result<String, Illegal> {
    const LEGAL: &str = "legal is a path that begins with /, like /healthz or /healthz?full=1";
    const LONGEST: usize = 2048;
    let wrong = |what: &str, near: String| Err(Illegal::new(format!("{} {what}; {LEGAL}{near}", quoted(text))));
    let is_plain = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
        let encoded = |rest: &str| rest.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        text.bytes().all(plain) && text.split('%').skip(1).all(encoded)
    };
    if !text.starts_with('/') {
        let bare = text.split_once("://").map_or(text, |(_, rest)| rest.find('/').map_or("", |path| &rest[path + 1..]));
        let near = if !bare.is_empty() && is_plain(bare) {
            format!("; did you mean {}?", quoted(&format!("/{bare}")))
        } else {
            String::new()
        };
        return wrong("does not begin with /", near);
    }
    if text.starts_with("//") {
        return wrong("begins with two /, which some servers take for a host", String::new());
    }
    if text.len() > LONGEST {
        return wrong("is longer than 2048 bytes", String::new());
    }
    if !is_plain(text) {
        let what = "holds a character that no request line may, like a space or # (write %20 and the like)";
        return wrong(what, String::new());
    }
    Ok(text.to_owned())
}

fn host(text: &str) -> Result<String, Illegal> {
    authority(text).ok_or_else(|| {
        Illegal::new(format!(
            "{} is no host; legal is a name or an address, perhaps with a port, like shop.internal",
            quoted(text)
        ))
    })
}

/// The lowest and the highest status that passes.
fn status(text: &str) -> Result<(u16, u16), Illegal> {
    let wrong = |what: &str, near: String| {
        Err(Illegal::new(format!(
            "{} {what}; legal is a status from 100 to 599 or a range, like 200-299{near}",
            quoted(text)
        )))
    };
    let (least, most) = text.split_once('-').unwrap_or((text, text));
    let one = |text: &str| whole_number(text, 100..=599).ok().and_then(|status| u16::try_from(status).ok());
    let (Some(least), Some(most)) = (one(least), one(most)) else {
        let class = text.strip_suffix("xx").filter(|class| matches!(*class, "1" | "2" | "3" | "4" | "5"));
        let near = class.map_or_else(String::new, |class| format!("; did you mean `{class}00-{class}99`?"));
        return wrong("is no status", near);
    };
    if least > most {
        return wrong("ends before it begins", format!("; did you mean `{most}-{least}`?"));
    }
    Ok((least, most))
}

fn grpc_service(text: &str) -> Result<String, Illegal> {
    const LEGAL: &str =
        "legal is the name that the server knows it by, like shop.v1.Orders, or \"\" for the server as a whole";
    if matches!(text, "true" | "false") {
        return Err(Illegal::new(format!("{} names no gRPC service; {LEGAL}", quoted(text))));
    }
    if text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(Illegal::new(format!(
        "{} cannot name a gRPC service, which has at most 256 visible ASCII characters; {LEGAL}",
        quoted(text)
    )))
}
