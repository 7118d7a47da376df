//! Rules for all traffic.

use std::path::PathBuf;
use std::time::Duration;

use crate::cursor::{Cursor, Fields, Report};
use crate::keys;
use crate::literal::{self, Illegal, spelt};
use crate::model::{AccessLog, Drain, Handling, Limits, LogTarget, Rules, ServiceTimeouts, Strictness, Timeouts};
use crate::problem::{did_you_mean, quoted};
use crate::read::ranges;
use crate::units::{Bytes, Fraction};

pub(super) fn rules(top: &Fields<'_>, report: &mut Report) -> Option<Rules> {
    let timeouts = top.or("timeouts", Timeouts::default(), |written| timeouts(written, report));
    let limits = top.or("limits", Limits::default(), |written| limits(written, report));
    let requests = top.or("requests", Strictness::default(), |written| requests(written, report));
    let trusted = top.or("trusted", Vec::new(), |written| ranges(written, "trusted", "name any client", report));
    let access_log = top.if_written("access_log", |written| access_log(written, report));
    let drain = top.or("drain", Drain::default(), |written| drain(written, report));
    Some(Rules {
        timeouts: timeouts?,
        limits: limits?,
        requests: requests?,
        trusted: trusted?,
        access_log: access_log?,
        drain: drain?,
    })
}

fn drain(written: &Cursor<'_>, report: &mut Report) -> Option<Drain> {
    let fields = written.fields(report, &keys::DRAIN)?;
    let usual = Drain::default();
    let mut time =
        |key, usual| fields.or(key, usual, |written| written.literal(report, "a time, like 30s", literal::duration));
    let (grace, deadline) = (time("grace", usual.grace), time("deadline", usual.deadline));
    Some(Drain { grace: grace?, deadline: deadline? })
}

/// A time that must be some; what holds where none is written.
fn time(fields: &Fields<'_>, key: &str, usual: Duration, report: &mut Report) -> Option<Duration> {
    fields.or(key, usual, |written| some_time(written, report))
}

fn some_time(written: &Cursor<'_>, report: &mut Report) -> Option<Duration> {
    written.literal(report, "a time, like 30s", literal::some_time)
}

fn timeouts(written: &Cursor<'_>, report: &mut Report) -> Option<Timeouts> {
    let fields = written.fields(report, &keys::TIMEOUTS)?;
    let usual = Timeouts::default();
    let handshake = time(&fields, "handshake", usual.handshake, report);
    let head = time(&fields, "head", usual.head, report);
    let body = time(&fields, "body", usual.body, report);
    let connect = time(&fields, "connect", usual.connect, report);
    let first_byte = time(&fields, "first_byte", usual.first_byte, report);
    let response = time(&fields, "response", usual.response, report);
    let write = time(&fields, "write", usual.write, report);
    let keepalive = time(&fields, "keepalive", usual.keepalive, report);
    let http2_idle = time(&fields, "http2_idle", usual.http2_idle, report);
    let tunnel = time(&fields, "tunnel", usual.tunnel, report);
    let connection = time(&fields, "connection", usual.connection, report);
    let upstream_idle = time(&fields, "upstream_idle", usual.upstream_idle, report);
    let total = fields.if_written("total", |written| some_time(written, report));
    if let (Some(first_byte), Some(Some(total))) = (first_byte, total) {
        warn_of_early_end(&fields, first_byte, total, report);
    }
    Some(Timeouts {
        handshake: handshake?,
        head: head?,
        body: body?,
        connect: connect?,
        first_byte: first_byte?,
        response: response?,
        write: write?,
        keepalive: keepalive?,
        http2_idle: http2_idle?,
        tunnel: tunnel?,
        connection: connection?,
        upstream_idle: upstream_idle?,
        total: total?,
    })
}

/// The times of a service that are not those of all; `all` are the latter, where they can be read.
pub(super) fn service_timeouts(
    written: &Cursor<'_>,
    all: Option<&Timeouts>,
    report: &mut Report,
) -> Option<ServiceTimeouts> {
    let fields = written.fields(report, &keys::SERVICE_TIMEOUTS)?;
    let mut own = |key| fields.if_written(key, |written| some_time(written, report));
    let (first_byte, response, tunnel, total) = (own("first_byte"), own("response"), own("tunnel"), own("total"));
    let timeouts = ServiceTimeouts { first_byte: first_byte?, response: response?, tunnel: tunnel?, total: total? };
    if let Some(all) = all
        && let Some(total) = timeouts.total.or(all.total)
    {
        warn_of_early_end(&fields, timeouts.first_byte.unwrap_or(all.first_byte), total, report);
    }
    Some(timeouts)
}

/// Warns where a request is ended before its first byte may be late; at what is written of the two.
fn warn_of_early_end(fields: &Fields<'_>, first_byte: Duration, total: Duration, report: &mut Report) {
    let Some(written) = fields.get("total").or_else(|| fields.get("first_byte")) else { return };
    if total < first_byte {
        let (total, first_byte) = (spelt(total), spelt(first_byte));
        let message = format!(
            "a request ends after {total} in all (`total`), so `first_byte`, which is {first_byte}, never comes to bear; \
             write a `first_byte` of at most {total}"
        );
        report.warning(written.place, &written.path, message);
    }
}

fn limits(written: &Cursor<'_>, report: &mut Report) -> Option<Limits> {
    let fields = written.fields(report, &keys::LIMITS)?;
    let usual = Limits::default();
    let connections = count(&fields, "connections", usual.connections, Limits::MOST_CONNECTIONS, report);
    let per_client =
        count(&fields, "connections_per_client", usual.connections_per_client, Limits::MOST_CONNECTIONS, report);
    let requests = count(&fields, "requests_per_client", usual.requests_per_client, Limits::MOST_CONNECTIONS, report);
    let head = fields.or("head", usual.head, |written| size(written, Limits::LEAST_HEAD, Limits::MOST_HEAD, report));
    let request_line = match fields.get("request_line") {
        Some(written) => size(written, Limits::LEAST_HEAD, Limits::MOST_LINE, report),
        None => head.map(|head| head.min(usual.request_line)),
    };
    let headers = count(&fields, "headers", usual.headers, Limits::MOST_HEADERS, report);
    let body = fields.if_written("body", |written| body(written, report));
    let streams = count(&fields, "http2_streams", usual.http2_streams.into(), Limits::MOST_STREAMS, report);
    let header_list = fields.or("http2_header_list", usual.http2_header_list, |written| {
        size(written, Limits::LEAST_HEAD, Limits::MOST_HEAD, report)
    });
    let resets = count(&fields, "http2_resets", usual.http2_resets.into(), Limits::MOST_FRAMES, report);
    let glitches = count(&fields, "http2_glitches", usual.http2_glitches.into(), Limits::MOST_FRAMES, report);
    let small = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
    let limits = Limits {
        connections: connections?,
        connections_per_client: per_client?,
        requests_per_client: requests?,
        request_line: request_line?,
        head: head?,
        headers: headers?,
        body: body?,
        http2_streams: small(streams)?,
        http2_header_list: header_list?,
        http2_resets: small(resets)?,
        http2_glitches: small(glitches)?,
    };
    fit_together(&limits, &fields, report).then_some(limits)
}

fn count(fields: &Fields<'_>, key: &str, usual: u64, most: u64, report: &mut Report) -> Option<u64> {
    fields.or(key, usual, |written| {
        written.literal(report, "a whole number, like 100", |text| literal::whole_number(text, 1..=most))
    })
}

fn size(written: &Cursor<'_>, least: Bytes, most: Bytes, report: &mut Report) -> Option<Bytes> {
    written.literal(report, "a size, like 8KiB", |text| {
        let size: Bytes = text.parse()?;
        if (least..=most).contains(&size) {
            return Ok(size);
        }
        Err(Illegal::new(format!("{} is out of range; legal is {least} to {most}", quoted(text))))
    })
}

/// The most that a body may have.
pub(super) fn body(written: &Cursor<'_>, report: &mut Report) -> Option<Bytes> {
    written.literal(report, "a size, like 10MiB", str::parse)
}

/// Whether no limit is in the way of another.
fn fit_together(limits: &Limits, fields: &Fields<'_>, report: &mut Report) -> bool {
    if let Some(written) = fields.get("connections_per_client")
        && limits.connections_per_client > limits.connections
    {
        let message = format!("is more than `connections` in all, {}, so it does nothing", limits.connections);
        report.warning(written.place, &written.path, message);
    }
    if let Some(written) = fields.get("http2_resets").or_else(|| fields.get("http2_streams"))
        && limits.http2_resets < limits.http2_streams
    {
        let message = format!(
            "a browser that leaves a page resets all its streams at once, up to {} (`http2_streams`), and loses its \
             connection above {} (`http2_resets`); write `http2_resets` of at least {0}",
            limits.http2_streams, limits.http2_resets
        );
        report.warning(written.place, &written.path, message);
    }
    match fields.get("request_line") {
        Some(written) if limits.request_line > limits.head => {
            let (line, head) = (limits.request_line, limits.head);
            let message = format!("{line} is more than the whole head, {head} (`head`); legal is at most {head}");
            written.wrong(report, message);
            false
        }
        Some(_) | None => true,
    }
}

fn requests(written: &Cursor<'_>, report: &mut Report) -> Option<Strictness> {
    const WORDS: [(&str, Handling); 2] = [("refuse", Handling::Refuse), ("pass", Handling::Pass)];
    let fields = written.fields(report, &keys::REQUESTS)?;
    let mut handling = |key| {
        fields.or(key, Handling::default(), |written| written.choice(report, "is not one of the two ways", &WORDS))
    };
    let (underscores, encoded_slashes) = (handling("underscores"), handling("encoded_slashes"));
    Some(Strictness { underscores: underscores?, encoded_slashes: encoded_slashes? })
}

fn access_log(written: &Cursor<'_>, report: &mut Report) -> Option<AccessLog> {
    const TO: &str = "`stdout` or the path of a file, like /var/log/tidegate/access.log";
    let fields = written.fields(report, &keys::ACCESS_LOG)?;
    let to = fields
        .need(report, "to", "where to, like to: stdout or to: /var/log/tidegate/access.log")
        .and_then(|written| written.literal(report, TO, |text| log_target(text, TO)));
    let everything = Fraction::ONE;
    let sample =
        fields.or("sample", everything, |written| written.literal(report, "a percentage, like 10%", str::parse));
    Some(AccessLog { to: to?, sample: sample? })
}

/// A file is told from a word by its slash, so that a slip of the pen is no file.
fn log_target(text: &str, legal: &str) -> Result<LogTarget, Illegal> {
    if text == "stdout" {
        return Ok(LogTarget::Stdout);
    }
    if text.contains('/') && !text.ends_with('/') && !text.chars().any(char::is_control) {
        return Ok(LogTarget::File(PathBuf::from(text)));
    }
    let near = match did_you_mean(text, ["stdout"]) {
        near if near.is_empty() && !text.is_empty() && !text.contains('/') && text.contains('.') => {
            format!("; did you mean {}?", quoted(&format!("./{text}")))
        }
        near => near,
    };
    Err(Illegal::new(format!("{} is no place for a log; legal is {legal}{near}", quoted(text))))
}
