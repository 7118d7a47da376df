//! When traffic itself shows that an endpoint is ill.

use std::time::Duration;

use super::{fields_or_off, number, time, time_within};
use crate::cursor::{Cursor, Fields, Report};
use crate::keys;
use crate::literal::Illegal;
use crate::model::Ejection;
use crate::problem::quoted;
use crate::units::Fraction;

/// The least endpoints whose shares of success can be compared.
const COMPARED: usize = 5;

/// Whether and when an endpoint is ejected; `count` is how many there are, where that can be known.
pub(super) fn ejection(written: &Cursor<'_>, count: Option<usize>, report: &mut Report) -> Option<Option<Ejection>> {
    let Some(fields) = fields_or_off(written, &keys::EJECTION, "{ failures: 5, first: 10s }", report)? else {
        return Some(None);
    };
    let usual = Ejection::default();
    let failures = fields.or("failures", usual.failures, |written| number(written, 1..=1_000, report));
    let first = fields.or("first", usual.first, |written| {
        time(written, "a time, like 10s", Duration::from_millis(100)..=Duration::from_secs(300), report)
    });
    let most =
        fields.or("most", usual.most, |written| written.literal(report, "a percentage, like 50%", some_endpoints));
    let by_success_rate = fields.or("success_rate", usual.by_success_rate, |written| written.switch(report));
    let hang = fields.or("hang", usual.hang, |written| written.literal(report, "a time, like 3s, or `off`", hang));
    let ejection =
        Ejection { failures: failures?, first: first?, most: most?, by_success_rate: by_success_rate?, hang: hang? };
    if let Some(count) = count {
        warn_of_no_effect(written, &fields, ejection, count, report);
    }
    Some(Some(ejection))
}

/// From when on silence is a hang; none for never.
fn hang(text: &str) -> Result<Option<Duration>, Illegal> {
    if text == "off" {
        return Ok(None);
    }
    let or_off = |illegal: Illegal| illegal.to_string().replacen("legal is ", "legal is `off`, or ", 1);
    let legal = Duration::from_millis(250)..=Duration::from_secs(300);
    time_within(text, legal).map(Some).map_err(|illegal| Illegal::new(or_off(illegal)))
}

fn some_endpoints(text: &str) -> Result<Fraction, Illegal> {
    let most: Fraction = text.parse()?;
    if most.get() > 0.0 {
        return Ok(most);
    }
    Err(Illegal::new(format!(
        "{} is no endpoint at all; legal is above 0% to 100%; for no ejection write `ejection: off`",
        quoted(text)
    )))
}

/// Warns of what is written and never comes to bear on so many endpoints.
fn warn_of_no_effect(written: &Cursor<'_>, fields: &Fields<'_>, ejection: Ejection, count: usize, report: &mut Report) {
    if count == 1 {
        let message = "this version has one endpoint, and the only one is never ejected, so this does nothing; leave \
                       `ejection` out, or write more endpoints";
        report.warning(written.place, &written.path, message);
        return;
    }
    if let Some(most) = fields.get("most")
        && !ejection.ejects_some_of(count)
    {
        let least =
            (1..=100).map(Fraction::percent).find(|most| Ejection { most: *most, ..ejection }.ejects_some_of(count));
        let instead = least.map_or_else(|| "more endpoints".to_owned(), |least| format!("at least {least}"));
        let message = format!(
            "{} of {count} endpoints is less than one, so none is ever ejected; write {instead}, or `ejection: off`",
            ejection.most
        );
        report.warning(most.place, &most.path, message);
    }
    if let Some(switch) = fields.get("success_rate")
        && ejection.by_success_rate
        && count < COMPARED
    {
        let message = format!(
            "the shares of success of {count} endpoints tell nothing: they are compared from {COMPARED} on, so this does \
             nothing; leave `success_rate` out"
        );
        report.warning(switch.place, &switch.path, message);
    }
}
