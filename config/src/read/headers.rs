//! What a request's headers must be: to lead to a service, or to go to a canary whatever its weight.

use std::collections::HashMap;

use crate::cursor::{Cursor, Entry, Report};
use crate::literal::{Illegal, is_token};
use crate::model::{CookieMatch, HeaderMatch};
use crate::problem::quoted;
use crate::read::refused::warn_of_header;
use crate::tree::Place;

/// The headers that lead to a service, in the order of their names.
pub(super) fn headers(written: &Cursor<'_>, report: &mut Report) -> Option<Vec<HeaderMatch>> {
    let legal = "a mapping from each header's name to its value, like { x-tenant: blue }, where `\"*\"` is any value";
    let entries = written.entries(report, legal)?;
    if entries.is_empty() {
        written.wrong(report, "no header is written here; write at least one, or leave `headers` out");
        return None;
    }
    each(&entries, "is matched by `hosts`; write it there", report)
}

/// What those have who go to a canary whatever its weight.
#[derive(Debug)]
pub(super) struct Wanted {
    /// In the order of their names.
    pub(super) headers: Vec<HeaderMatch>,
    pub(super) cookie: Option<CookieMatch>,
}

/// As [`headers`], with one cookie besides: a browser sends all of its own in one header, so that one is never matched
/// whole.
pub(super) fn wanted(written: &Cursor<'_>, legal: &str, report: &mut Report) -> Option<Wanted> {
    let mut headers = written.entries(report, legal)?;
    if headers.is_empty() {
        written.wrong(report, format!("no header is written here; legal is {legal}"));
        return None;
    }
    let cookies: Vec<Entry<'_>> =
        headers.extract_if(.., |entry| entry.key.text.eq_ignore_ascii_case("cookie")).collect();
    let headers = each(&headers, "cannot choose who goes to the canary: it leads to the service, by `hosts`", report);
    let cookie = match cookies.as_slice() {
        [] => Some(None),
        [Entry { value, .. }] => value.literal(report, LEGAL_COOKIE, cookie).map(Some),
        [first, second, ..] => {
            let first = report.place(first.key.place);
            let message = format!("`cookie` is written twice; keep one, the other is at {first}");
            report.problem(second.key.place, &second.value.path, message);
            None
        }
    };
    Some(Wanted { headers: headers?, cookie: cookie? })
}

/// Each header once. `of_host` says what is to be done about the host, which is none of them.
fn each(entries: &[Entry<'_>], of_host: &str, report: &mut Report) -> Option<Vec<HeaderMatch>> {
    let mut first: HashMap<String, Place> = HashMap::new();
    let read: Vec<_> = entries
        .iter()
        .map(|Entry { key, value }| {
            let name = match header_name(&key.text, of_host) {
                Ok(name) => {
                    warn_of_header(&name, key.place, &value.path, report);
                    Some(name)
                }
                Err(illegal) => {
                    report.problem(key.place, &value.path, illegal.to_string());
                    None
                }
            };
            let matched = header_value(value, report);
            let name = name?;
            if let Some(first) = first.get(&name) {
                let first = report.place(*first);
                let message = format!("{} is written twice; keep one, the other is at {first}", quoted(&name));
                report.problem(key.place, &value.path, message);
                return None;
            }
            first.insert(name.clone(), key.place);
            Some(HeaderMatch { name, value: matched? })
        })
        .collect();
    let mut headers: Vec<HeaderMatch> = read.into_iter().collect::<Option<_>>()?;
    headers.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Some(headers)
}

/// The name of a header that is matched, in lower case.
fn header_name(text: &str, of_host: &str) -> Result<String, Illegal> {
    if text.eq_ignore_ascii_case("host") {
        return Err(Illegal::new(format!("{} {of_host}", quoted(text))));
    }
    if is_token(text) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Illegal::new(format!("{} cannot name a header; legal is letters, digits, - and _", quoted(text))))
}

/// The value that is matched; none is any.
fn header_value(written: &Cursor<'_>, report: &mut Report) -> Option<Option<String>> {
    const LEGAL: &str = "a value, like blue, or \"*\" for any";
    let text = written.text(report, LEGAL)?;
    if text == "*" {
        return Some(None);
    }
    if text.is_empty() || text.trim() != text || !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        let what = "can be no header's value, which has neither control characters nor spaces at its ends and is ASCII";
        written.wrong(report, format!("{} {what}; legal is {LEGAL}", quoted(text)));
        return None;
    }
    if text.contains('*') {
        let message = format!("{} is compared as it stands: only \"*\" alone means any value", quoted(text));
        report.warning(written.place, &written.path, message);
    }
    Some(Some(text.to_owned()))
}

const LEGAL_COOKIE: &str = "NAME=VALUE, like beta=1, or NAME=* for any value";

/// A cookie by its name and value; none is any value.
fn cookie(text: &str) -> Result<CookieMatch, Illegal> {
    let wrong = || Illegal::new(format!("{} is no cookie; legal is {LEGAL_COOKIE}", quoted(text)));
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    // What separates cookies is in none (RFC 6265, section 4.1.1).
    let may_hold = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b';' | b',');
    if !is_token(name) || value.is_empty() || !value.bytes().all(may_hold) {
        return Err(wrong());
    }
    let value = (value != "*").then(|| value.to_owned());
    Ok(CookieMatch { name: name.to_owned(), value })
}
