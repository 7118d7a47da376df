//! Warnings of what only such requests have as are refused before they are matched: it would never come.

use crate::cursor::{Cursor, Report};
use crate::model::{Handling, Protocol, Strictness, Version};
use crate::problem::quoted;
use crate::tree::Place;

/// Warns of a header that no request has: its name is written at `place`.
pub(super) fn warn_of_header(name: &str, place: Place, path: &str, report: &mut Report) {
    let refuses = matches!(report.strictness, Some(Strictness { underscores: Handling::Refuse, .. }));
    if refuses && name.contains('_') {
        let message = format!(
            "no request has the header {}: one whose name has an underscore is refused (400); write {}, or \
             `requests: {{ underscores: pass }}` at the top of the file",
            quoted(name),
            quoted(&name.replace('_', "-"))
        );
        report.warning(place, path, message);
    }
    const CLAIMS: [&str; 6] =
        ["forwarded", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip", "tidegate-mirror"];
    if report.trusts == Some(false) && (name.starts_with("x-forwarded") || CLAIMS.contains(&name)) {
        let message = format!(
            "no request has the header {}: what a peer says of where a request came from is taken away unless the peer is \
             trusted; write `trusted: [ADDRESSES]` at the top of the file",
            quoted(name)
        );
        report.warning(place, path, message);
    }
}

/// Warns of a path that no request has.
pub(super) fn warn_of_path(text: &str, written: &Cursor<'_>, report: &mut Report) {
    let refuses = matches!(report.strictness, Some(Strictness { encoded_slashes: Handling::Refuse, .. }));
    let lower = text.to_ascii_lowercase();
    if refuses && ["%2f", "%5c", "\\"].iter().any(|slash| lower.contains(slash)) {
        let message = format!(
            "no request has the path {}: an encoded slash or a backslash is refused (400); write it without, or \
             `requests: {{ encoded_slashes: pass }}` at the top of the file",
            quoted(text)
        );
        report.warning(written.place, &written.path, message);
    }
}

/// Warns of a method that is never served.
pub(super) fn warn_of_method(method: &str, written: &Cursor<'_>, report: &mut Report) {
    let message = match method {
        "CONNECT" => {
            "no request has the method CONNECT: it is refused (405), since this is no forward proxy; leave it out"
        }
        "PRI" => "no request has the method PRI: HTTP/2 connections begin with it; leave it out",
        _ => return,
    };
    report.warning(written.place, &written.path, message);
}

/// Warns of upgrades to what no version can speak.
pub(super) fn warn_of_upgrades(written: &Cursor<'_>, upgrades: &[String], versions: &[Version], report: &mut Report) {
    let speaks_http2 = |version: &Version| match version.protocol {
        Protocol::H1 => false,
        Protocol::H2 | Protocol::H2c => true,
    };
    if !upgrades.is_empty() && !versions.is_empty() && versions.iter().all(speaks_http2) {
        let message = "every version speaks HTTP/2 to its endpoints, where a connection cannot be upgraded, so what asks for \
                       it is refused (501); write `upgrades: []`, or `protocol: h1` for the versions";
        report.warning(written.place, &written.path, message);
    }
}
