//! Rules for all traffic.

use super::at::At;
use super::{Telling, written};
use crate::literal::spelt;
use crate::model::{Drain, Handling, Limits, LogTarget, Rules, Strictness, Timeouts};

pub(super) fn tell(rules: &Rules, root: &At<'_>, telling: &mut Telling<'_>) {
    let Rules { timeouts, limits, requests, trusted, access_log, drain } = rules;
    tell_timeouts(timeouts, &root.key("timeouts"), telling);
    tell_limits(limits, &root.key("limits"), telling);
    let Strictness { underscores, encoded_slashes } = requests;
    let at = root.key("requests");
    telling.value(&at.key("underscores"), handling(*underscores));
    telling.value(&at.key("encoded_slashes"), handling(*encoded_slashes));
    let hops = trusted.iter().map(|range| written::text(&range.to_string()));
    telling.list(&root.key("trusted"), hops, "nobody");
    let at = root.key("access_log");
    match access_log {
        Some(log) => {
            let to = match &log.to {
                LogTarget::Stdout => "stdout".to_owned(),
                LogTarget::File(path) => written::path(path),
            };
            telling.value(&at.key("to"), to);
            telling.value(&at.key("sample"), log.sample);
        }
        None => telling.value(&at, "(none)"),
    }
    let Drain { grace, deadline } = drain;
    let at = root.key("drain");
    telling.time(&at.key("grace"), *grace);
    telling.time(&at.key("deadline"), *deadline);
}

const fn handling(handling: Handling) -> &'static str {
    match handling {
        Handling::Refuse => "refuse",
        Handling::Pass => "pass",
    }
}

fn tell_timeouts(timeouts: &Timeouts, at: &At<'_>, telling: &mut Telling<'_>) {
    let Timeouts {
        handshake,
        head,
        body,
        connect,
        first_byte,
        response,
        write,
        keepalive,
        http2_idle,
        tunnel,
        connection,
        upstream_idle,
        total,
    } = timeouts;
    for (key, time) in [
        ("handshake", handshake),
        ("head", head),
        ("body", body),
        ("connect", connect),
        ("first_byte", first_byte),
        ("response", response),
        ("write", write),
        ("keepalive", keepalive),
        ("http2_idle", http2_idle),
        ("tunnel", tunnel),
        ("connection", connection),
        ("upstream_idle", upstream_idle),
    ] {
        telling.time(&at.key(key), *time);
    }
    telling.if_some(&at.key("total"), total.map(spelt), "none");
}

fn tell_limits(limits: &Limits, at: &At<'_>, telling: &mut Telling<'_>) {
    let Limits {
        connections,
        connections_per_client,
        requests_per_client,
        request_line,
        head,
        headers,
        body,
        http2_streams,
        http2_header_list,
        http2_resets,
        http2_glitches,
    } = limits;
    telling.value(&at.key("connections"), connections);
    telling.value(&at.key("connections_per_client"), connections_per_client);
    telling.value(&at.key("requests_per_client"), requests_per_client);
    telling.value(&at.key("request_line"), request_line);
    telling.value(&at.key("head"), head);
    telling.value(&at.key("headers"), headers);
    telling.if_some(&at.key("body"), body.as_ref(), "none");
    telling.value(&at.key("http2_streams"), http2_streams);
    telling.value(&at.key("http2_header_list"), http2_header_list);
    telling.value(&at.key("http2_resets"), http2_resets);
    telling.value(&at.key("http2_glitches"), http2_glitches);
}
