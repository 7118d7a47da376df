//! What decides the version of a request beside the split: affinity, and who may force it.

use std::time::Duration;

use crate::cursor::{Cursor, Fields, Report};
use crate::keys;
use crate::literal::{Illegal, is_token};
use crate::model::{Affinity, Forced, Name};
use crate::problem::{did_you_mean, listed, quoted};
use crate::read::refused::warn_of_header;
use crate::read::{file_path, ranges, seconds_of};

/// What keeps a client on one version; `trusted` says whether any hop's word on a user is believed.
pub(super) fn affinity(written: &Cursor<'_>, trusted: bool, report: &mut Report) -> Option<Affinity> {
    const LEGAL: &str = "`random`, `client-address`, { cookie: NAME }, { header: NAME } or { user: NAME }";
    const KINDS: [&str; 3] = ["cookie", "header", "user"];
    if let Some(word) = written.word() {
        return match word {
            "random" => Some(Affinity::Random),
            "client-address" => Some(Affinity::ClientAddress),
            other => {
                let near = did_you_mean(other, ["random", "client-address"]);
                written.wrong(report, format!("{} is no affinity; legal is {LEGAL}{near}", quoted(other)));
                None
            }
        };
    }
    if written.is_list() || written.is_empty() {
        written.expected(report, LEGAL);
        return None;
    }
    let fields = written.fields(report, &keys::AFFINITY)?;
    let mut kinds = KINDS.into_iter().filter_map(|kind| Some((kind, fields.get(kind)?)));
    let Some((kind, name)) = kinds.next() else {
        fields.chooses_none(report, format!("names no cookie, header or user; legal is {LEGAL}"));
        return None;
    };
    if let Some((_, second)) = kinds.next() {
        let all = listed(KINDS);
        second.wrong(report, format!("`{kind}` is written as well; keep one of {all}"));
        return None;
    }
    if let (Some(issue), true) = (fields.get("issue"), kind != "cookie") {
        issue.wrong(report, format!("is for a cookie, and this is a `{kind}`; leave it out"));
        return None;
    }
    if kind == "cookie" {
        let cookie = name.literal(report, "a cookie's name", cookie_name);
        let issue = fields.or("issue", None, |written| issue(written, report));
        return Some(Affinity::Cookie { name: cookie?, issue: issue? });
    }
    let header = named_header(name, header_name, report)?;
    if kind == "header" {
        return Some(Affinity::Header(header));
    }
    if !trusted {
        let message = format!(
            "nobody is believed, so every request draws at random: `{header}` names the user only where it comes from a \
             hop in front; write `trusted: [ADDRESSES]` at the top of the file"
        );
        report.warning(name.place, &name.path, message);
    }
    Some(Affinity::User(header))
}

pub(super) fn cookie_name(text: &str) -> Result<String, Illegal> {
    is_token(text).then(|| text.to_owned()).ok_or_else(|| no_token(text, "cookie"))
}

/// The name of a header, which is warned of where no request has such a one.
pub(super) fn named_header(
    written: &Cursor<'_>,
    read: fn(&str) -> Result<String, Illegal>,
    report: &mut Report,
) -> Option<String> {
    let name = written.literal(report, "a header's name", read)?;
    warn_of_header(&name, written.place, &written.path, report);
    Some(name)
}

/// In lower case.
pub(super) fn header_name(text: &str) -> Result<String, Illegal> {
    is_token(text).then(|| text.to_ascii_lowercase()).ok_or_else(|| no_token(text, "header"))
}

fn no_token(text: &str, what: &str) -> Illegal {
    Illegal::new(format!("{} cannot name a {what}; legal is letters, digits, - and _", quoted(text)))
}

/// For how long a cookie of ours lives; none where it is not ours.
fn issue(written: &Cursor<'_>, report: &mut Report) -> Option<Option<Duration>> {
    if written.word().is_some() {
        let ours = written.switch(report)?;
        return Some(ours.then_some(Affinity::MAX_AGE));
    }
    if written.is_list() || written.is_empty() {
        written.expected(report, "`true`, `false` or { max_age: 720h }");
        return None;
    }
    let fields = written.fields(report, &keys::ISSUE)?;
    let max_age = fields.or("max_age", Affinity::MAX_AGE, |written| {
        let max_age = seconds_of(written, report)?;
        if max_age.is_zero() {
            written.wrong(report, "a cookie of no time is never kept; legal is 1s to 8784h");
            return None;
        }
        Some(max_age)
    });
    Some(Some(max_age?))
}

/// Who may choose the version of a request. `versions` are the legal names of the service's versions.
pub(super) fn forced(written: &Cursor<'_>, versions: &[Name], report: &mut Report) -> Option<Forced> {
    const SECRET: &str = "the path of a file that holds the secret";
    let fields = written.fields(report, &keys::FORCED)?;
    let header = fields.if_written("header", |written| named_header(written, forcing_header, report));
    let cookie = fields.if_written("cookie", |written| written.literal(report, "a cookie's name", cookie_name));
    let from = fields.or("from", Vec::new(), |written| ranges(written, "from", "choose the version", report));
    let secret = fields.if_written("secret", |written| file_path(written, SECRET, report));
    let judged = fields.or("judged", false, |written| written.switch(report));
    let by = one_of(&fields, ["header", "cookie"], "by what a version is named", "header: tidegate-force", report);
    let who = one_of(&fields, ["from", "secret"], "who may do so", "from: [10.0.0.0/8]", report);
    for word in ["always", "never"] {
        if versions.iter().any(|name| name.as_str() == word) {
            let message =
                format!("the version `{word}` cannot be named so: `{word}` is the word for {}", meaning(word));
            report.warning(written.place, &written.path, message);
        }
    }
    let forced = Forced { header: header?, cookie: cookie?, from: from?, secret: secret?, judged: judged? };
    by.and(who).map(|()| forced)
}

fn meaning(word: &str) -> &'static str {
    if word == "always" { "the canary" } else { "the stable" }
}

/// Whether one of two keys is written, of which one is needed.
fn one_of(fields: &Fields<'_>, keys: [&str; 2], what: &str, example: &str, report: &mut Report) -> Option<()> {
    if keys.iter().any(|key| fields.has(key)) {
        return Some(());
    }
    let [one, other] = keys;
    fields.chooses_none(report, format!("does not say {what}; write `{one}` or `{other}`, like {example}"));
    None
}

fn forcing_header(text: &str) -> Result<String, Illegal> {
    let name = header_name(text)?;
    if name == Forced::SECRET_HEADER {
        return Err(Illegal::new(format!("{} holds the secret; write another header", quoted(text))));
    }
    Ok(name)
}
