//! What a service tries again.

use super::{fields_or_off, number};
use crate::cursor::{Cursor, Report};
use crate::keys;
use crate::model::Retries;
use crate::problem::{did_you_mean, listed, quoted};
use crate::read::different;

pub(in crate::read) fn retries(written: &Cursor<'_>, report: &mut Report) -> Option<Retries> {
    let usual = Retries::default();
    let Some(fields) = fields_or_off(written, &keys::RETRIES, "{ most: 2, budget: 20% }", report)? else {
        return Some(Retries::off());
    };
    let most = fields.or("most", usual.most, |written| number(written, 0..=5, report));
    let budget =
        fields.or("budget", usual.budget, |written| written.literal(report, "a percentage, like 20%", str::parse));
    let floor = fields.or("floor", usual.floor, |written| number(written, 0..=10_000, report));
    let on = fields.or("on", (usual.unavailable, usual.broken), |written| failures(written, report));
    let (unavailable, broken) = on?;
    let retries = Retries { most: most?, budget: budget?, floor: floor?, unavailable, broken };
    let wanted = retries.most > 0 && (unavailable || broken);
    if wanted && retries.floor == 0 && retries.budget.get() <= 0.0 {
        let message = "a `budget` of 0% and a `floor` of 0 allow none but those of connections that could not be made; write \
                       `on: []` for these alone, or `retries: off`";
        report.warning(written.place, &written.path, message);
    }
    Some(retries)
}

/// A failure that may be tried again.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Failure {
    Unavailable,
    Broken,
}

/// Whether answers that say "not now" are tried again, and whether broken connections are.
fn failures(written: &Cursor<'_>, report: &mut Report) -> Option<(bool, bool)> {
    const WORDS: [&str; 2] = ["unavailable", "broken"];
    let items = written.items(report, "a list of `unavailable` and `broken`; `[]` is neither")?;
    let failures = different(&items, report, |item, report| {
        let word = item.text(report, &listed(WORDS))?;
        let near = match word {
            "unavailable" => return Some(Failure::Unavailable),
            "broken" => return Some(Failure::Broken),
            "connect" => "; a connection that could not be made is always tried again; leave it out".to_owned(),
            "502" | "503" | "504" => "; 502, 503 and 504 are `unavailable`".to_owned(),
            "reset" => "; did you mean `broken`?".to_owned(),
            other => did_you_mean(other, WORDS),
        };
        item.wrong(report, format!("{} is nothing to try again; legal is {}{near}", quoted(word), listed(WORDS)));
        None
    })?;
    Some((failures.contains(&Failure::Unavailable), failures.contains(&Failure::Broken)))
}
