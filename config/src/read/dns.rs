//! How the names of endpoints are resolved.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::cursor::{Cursor, Fields, Report};
use crate::keys;
use crate::literal::{Illegal, spelt, time_within};
use crate::model::{Dns, IpFamily};
use crate::problem::quoted;
use crate::read::different;

const HOLDS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(24 * 3600);
const ANSWERS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(30);
const PORT: u16 = 53;

pub(super) fn dns(written: &Cursor<'_>, report: &mut Report) -> Option<Dns> {
    const FAMILIES: [(&str, IpFamily); 2] = [("ipv4", IpFamily::V4), ("ipv6", IpFamily::V6)];
    let fields = written.fields(report, &keys::DNS)?;
    let usual = Dns::default();
    let servers = fields.or("servers", Vec::new(), |written| servers(written, report));
    let mut time = |key, usual, legal: RangeInclusive<Duration>| {
        fields.or(key, usual, |written| written.literal(report, "a time, like 5s", |text| time_within(text, legal)))
    };
    let (at_least, at_most) = (time("at_least", usual.at_least, HOLDS), time("at_most", usual.at_most, HOLDS));
    let timeout = time("timeout", usual.timeout, ANSWERS);
    let prefer =
        fields.or("prefer", usual.prefer, |written| written.choice(report, "is no kind of addresses", &FAMILIES));
    let (at_least, at_most) = (at_least?, at_most?);
    hold_together(at_least, at_most, &fields, report)?;
    Some(Dns { servers: servers?, at_least, at_most, timeout: timeout?, prefer: prefer? })
}

/// Whether there is a time between the two bounds.
fn hold_together(at_least: Duration, at_most: Duration, fields: &Fields<'_>, report: &mut Report) -> Option<()> {
    let written = fields.get("at_most").or_else(|| fields.get("at_least")).filter(|_| at_least > at_most);
    let Some(written) = written else { return Some(()) };
    let (least, most) = (spelt(at_least), spelt(at_most));
    written.wrong(
        report,
        format!("an answer cannot hold for at least {least} (`at_least`) and at most {most} (`at_most`); write a longer `at_most`"),
    );
    None
}

fn servers(written: &Cursor<'_>, report: &mut Report) -> Option<Vec<SocketAddr>> {
    let legal = "a list of DNS servers, like [10.0.0.2, \"10.0.0.3:5353\"]";
    let items = written.items(report, legal)?;
    if items.len() > Dns::MOST_SERVERS {
        written.wrong(
            report,
            format!("{} servers are written here; legal are at most {}", items.len(), Dns::MOST_SERVERS),
        );
        return None;
    }
    if items.is_empty() {
        written.wrong(report, "no server is written here; leave `servers` out for those of /etc/resolv.conf");
        return None;
    }
    different(&items, report, |item, report| item.literal(report, "a DNS server, like 10.0.0.2", server))
}

/// An address, perhaps with a port. A name would have to be resolved first.
fn server(text: &str) -> Result<SocketAddr, Illegal> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let alone = bracketed.unwrap_or(text).parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT));
    let server = alone.or_else(|_| text.parse::<SocketAddr>()).ok();
    server.filter(|server| server.port() != 0 && !server.ip().is_unspecified()).ok_or_else(|| {
        Illegal::new(format!(
            "{} is no DNS server; legal is an IP address, perhaps with a port, like 10.0.0.2, 10.0.0.2:5353 or \
             \"[fd00::2]:53\"",
            quoted(text)
        ))
    })
}
