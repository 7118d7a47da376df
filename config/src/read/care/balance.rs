//! Which of its endpoints a version gives a request to.

use crate::cursor::{Cursor, Report};
use crate::keys;
use crate::model::{Balance, HashKey};
use crate::problem::{did_you_mean, listed, quoted};
use crate::read::affinity::{cookie_name, header_name, named_header};

const LEGAL: &str = "`peak_ewma`, `least_requests` or { hash: ... }, like { hash: client_address }";

pub(super) fn balance(written: &Cursor<'_>, report: &mut Report) -> Option<Balance> {
    if let Some(word) = written.word() {
        let near = match word {
            "peak_ewma" => return Some(Balance::PeakEwma),
            "least_requests" => return Some(Balance::LeastRequests),
            "hash" => "; by what is hashed is missing".to_owned(),
            other => did_you_mean(other, ["peak_ewma", "least_requests"]),
        };
        written.wrong(report, format!("{} is no balance; legal is {LEGAL}{near}", quoted(word)));
        return None;
    }
    if written.is_list() || written.is_empty() {
        written.expected(report, LEGAL);
        return None;
    }
    let fields = written.fields(report, &keys::BALANCE)?;
    let Some(hash) = fields.get("hash") else {
        fields.chooses_none(report, format!("chooses nothing; legal is {LEGAL}"));
        return None;
    };
    hash_key(hash, report).map(Balance::Hash)
}

fn hash_key(written: &Cursor<'_>, report: &mut Report) -> Option<HashKey> {
    const LEGAL: &str = "`client_address`, `path`, { header: NAME } or { cookie: NAME }";
    if let Some(word) = written.word() {
        let near = match word {
            "client_address" => return Some(HashKey::ClientAddress),
            "path" => return Some(HashKey::Path),
            "header" | "cookie" => format!("; did you mean `{{ {word}: NAME }}`?"),
            other => did_you_mean(other, ["client_address", "path"]),
        };
        written.wrong(report, format!("{} is nothing to hash by; legal is {LEGAL}{near}", quoted(word)));
        return None;
    }
    if written.is_list() || written.is_empty() {
        written.expected(report, LEGAL);
        return None;
    }
    let fields = written.fields(report, &keys::HASH)?;
    match (fields.get("header"), fields.get("cookie")) {
        (Some(header), None) => named_header(header, header_name, report).map(HashKey::Header),
        (None, Some(cookie)) => cookie.literal(report, "a cookie's name", cookie_name).map(HashKey::Cookie),
        (Some(_), Some(cookie)) => {
            cookie.wrong(report, format!("`header` is written as well; keep one of {}", listed(["header", "cookie"])));
            None
        }
        (None, None) => {
            fields.chooses_none(report, format!("names no header or cookie; legal is {LEGAL}"));
            None
        }
    }
}
