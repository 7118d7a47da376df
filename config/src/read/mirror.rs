//! Which requests may be copied to a canary, and what gates hold the copies against.

use std::time::Duration;

use crate::cursor::{Cursor, Report};
use crate::keys;
use crate::literal::{Illegal, time_within, whole_number};
use crate::model::{MirrorLimits, MirrorPart, MirrorRules};
use crate::problem::{listed, quoted};
use crate::read::different;
use crate::read::route::method;
use crate::units::{Bytes, Fraction};

/// The longest that a copy may take: nothing waits for it, but it has a place among those under way.
const LONGEST: Duration = Duration::from_secs(60);

/// What a service says of copies.
pub(super) fn mirror_rules(written: &Cursor<'_>, report: &mut Report) -> Option<MirrorRules> {
    let fields = written.fields(report, &keys::MIRROR)?;
    let usual = MirrorRules::default();
    let methods = fields.or("methods", usual.methods, |written| methods(written, report));
    let body = fields.or("body", usual.body, |written| written.literal(report, "a size, like 64KiB", body));
    let in_flight = fields.or("in_flight", usual.in_flight, |written| {
        let number = written.literal(report, "a whole number, like 64", |text| whole_number(text, 1..=1_000))?;
        u32::try_from(number).ok()
    });
    let timeout = fields.or("timeout", usual.timeout, |written| {
        written.literal(report, "a time, like 5s", |text| time_within(text, Duration::from_millis(1)..=LONGEST))
    });
    Some(MirrorRules { methods: methods?, body: body?, in_flight: in_flight?, timeout: timeout? })
}

/// The methods that are copied. One that is not safe is done twice, and that is warned of.
fn methods(written: &Cursor<'_>, report: &mut Report) -> Option<Vec<String>> {
    /// RFC 9110, section 9.2.1.
    const SAFE: [&str; 4] = ["GET", "HEAD", "OPTIONS", "TRACE"];
    let items = written.items(report, "a list of methods, like [GET, HEAD]")?;
    if items.is_empty() {
        let usual = listed(MirrorRules::METHODS);
        let message = format!("no method is written here; write at least one, or leave `methods` out for {usual}");
        written.wrong(report, message);
        return None;
    }
    different(&items, report, |item, report| {
        let method = item.literal(report, "a method, like GET", copied)?;
        if !SAFE.contains(&method.as_str()) {
            let message = format!(
                "{} is no safe method: what such a request changes is changed a second time by its copy, unless the canary \
                 has data of its own",
                quoted(&method)
            );
            report.warning(item.place, &item.path, message);
        }
        Some(method)
    })
}

fn copied(text: &str) -> Result<String, Illegal> {
    let method = method(text)?;
    if method == "CONNECT" {
        return Err(Illegal::new("`CONNECT` makes a tunnel, which cannot be copied; leave it out"));
    }
    Ok(method)
}

fn body(text: &str) -> Result<Bytes, Illegal> {
    let body: Bytes = text.parse()?;
    if body <= MirrorRules::MOST_BODY {
        return Ok(body);
    }
    let most = MirrorRules::MOST_BODY;
    Err(Illegal::new(format!("{} is out of range; legal is 1B to {most}: as much is kept for each copy", quoted(text))))
}

/// The limits of a gate on copies; at least one.
pub(super) fn mirror_limits(written: &Cursor<'_>, report: &mut Report) -> Option<MirrorLimits> {
    const LEGAL: &str = "{ errors: 1%, status: 1%, body: 5% } or some of these";
    if written.word().is_some() || written.is_list() || written.is_empty() {
        written.expected(report, LEGAL);
        return None;
    }
    let fields = written.fields(report, &keys::MIRROR_GATE)?;
    if !MirrorPart::ALL.into_iter().any(|part| fields.has(part.word())) {
        fields.chooses_none(report, format!("judges nothing; legal is {LEGAL}"));
        return None;
    }
    let mut limit = |part: MirrorPart| {
        fields.if_written(part.word(), |written| written.literal(report, "a percentage, like 1%", share_limit))
    };
    let (errors, status, body) = (limit(MirrorPart::Errors), limit(MirrorPart::Status), limit(MirrorPart::Body));
    Some(MirrorLimits { errors: errors?, status: status?, body: body? })
}

fn share_limit(text: &str) -> Result<Fraction, Illegal> {
    let limit: Fraction = text.parse()?;
    if limit.get() > 0.0 && limit.get() < 1.0 {
        return Ok(limit);
    }
    Err(Illegal::new(format!("{} cannot be a limit; legal is above 0% and below 100%", quoted(text))))
}
