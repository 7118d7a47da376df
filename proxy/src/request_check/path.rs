//! A path made plain, so that a rule for a path cannot be walked round.

use config::encoded;

use super::{Refusal, bad, no_path};

/// The path without dot segments, however they are written, and with the characters as they are that need no encoding;
/// none where it is plain already. `slashes` says whether encoded slashes and backslashes are passed.
pub(crate) fn plain(path: &str, slashes: bool) -> Result<Option<String>, Refusal> {
    if !path.starts_with('/') {
        return Err(bad("the target of this request is not a path"));
    }
    // Most paths have none of these.
    if !path.as_bytes().iter().any(|byte| matches!(byte, b'%' | b'\\')) && !path.contains("/.") {
        return Ok(None);
    }
    let decoded = encoded::in_one_form(path);
    let path = decoded.as_deref().unwrap_or(path);
    let bytes = path.as_bytes();
    for at in 0..bytes.len() {
        if !slashes && bytes[at] == b'\\' {
            return Err(SLASH);
        }
        match bytes.get(at..at + 3) {
            Some(b"%00") => return Err(no_path("the path of this request has a NUL character")),
            Some([b'%', b'2', b'f' | b'F'] | [b'%', b'5', b'c' | b'C']) if !slashes => return Err(SLASH),
            Some(_) | None => {}
        }
    }
    if slashes && path[1..].split('/').any(hides_dots) {
        return Err(no_path("the path of this request has dots beside an encoded slash or a backslash"));
    }
    let segments = path[1..].split('/');
    if segments.clone().all(|segment| dots(segment) == Dots::None) {
        return Ok(decoded);
    }
    resolve(segments).map(Some)
}

const SLASH: Refusal = no_path("the path of this request has an encoded slash or a backslash");

/// Whether a segment in which slashes are encoded, or backslashes, has dots between them: for a server that takes them
/// for slashes it is several segments, and one of these is a step to another place.
fn hides_dots(segment: &str) -> bool {
    let is_slash = |at: usize| match segment.as_bytes().get(at..) {
        Some([b'\\', ..]) => Some(1),
        Some([b'%', b'2', b'f' | b'F', ..] | [b'%', b'5', b'c' | b'C', ..]) => Some(3),
        Some(_) | None => None,
    };
    let (mut begin, mut at, mut is_split) = (0, 0, false);
    while at < segment.len() {
        match is_slash(at) {
            None => at += 1,
            Some(length) => {
                is_split = true;
                if segment.get(begin..at).is_some_and(|part| dots(part) != Dots::None) {
                    return true;
                }
                at += length;
                begin = at;
            }
        }
    }
    is_split && segment.get(begin..).is_some_and(|part| dots(part) != Dots::None)
}

/// RFC 3986, section 5.2.4. A step above the root is refused where that would stay at the root: whoever sends it means
/// another place.
fn resolve<'a>(segments: impl Iterator<Item = &'a str>) -> Result<String, Refusal> {
    let mut plain: Vec<&str> = Vec::new();
    let mut is_directory = false;
    for segment in segments {
        let dots = dots(segment);
        is_directory = dots != Dots::None;
        match dots {
            Dots::None => plain.push(segment),
            Dots::Here => {}
            Dots::Up if plain.pop().is_none() => return Err(no_path("the path of this request leads above the root")),
            Dots::Up => {}
            Dots::Disguised => {
                return Err(no_path("the path of this request has dots that are not a segment of their own"));
            }
        }
    }
    if is_directory {
        plain.push("");
    }
    Ok(format!("/{}", plain.join("/")))
}

/// What a segment does to the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dots {
    None,
    /// `.`
    Here,
    /// `..`
    Up,
    /// Dots with parameters (`..;a=b`), which some servers take for `..`.
    Disguised,
}

fn dots(segment: &str) -> Dots {
    let mut rest = segment;
    let mut count = 0;
    while count < 3 {
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
        } else if let (Some("%2e" | "%2E"), Some(after)) = (rest.get(..3), rest.get(3..)) {
            rest = after;
        } else {
            break;
        }
        count += 1;
    }
    match (count, rest) {
        (1, "") => Dots::Here,
        (2, "") => Dots::Up,
        (1 | 2, _) if rest.starts_with(';') || rest.starts_with("%3b") || rest.starts_with("%3B") => Dots::Disguised,
        _ => Dots::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(path: &str) -> Result<String, u16> {
        plain(path, false).map(|plain| plain.unwrap_or_else(|| path.to_owned())).map_err(|refusal| refusal.status)
    }

    #[test]
    fn dot_segments_are_resolved_however_they_are_written() {
        for (written, wanted) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/./b", "/a/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a//b", "/a//b"),
            ("/a//../b", "/a/b"),
            ("/a/...", "/a/..."),
            ("/a/.b/..c/d..", "/a/.b/..c/d.."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a%20b/%e2%82%ac", "/a%20b/%E2%82%AC"),
            ("/100%", "/100%"),
            // Encoded characters are in one form.
            ("/%61dm%49n/%c3", "/admIn/%C3"),
        ] {
            assert_eq!(path(written).as_deref(), Ok(wanted), "{written}");
        }
    }

    #[test]
    fn what_could_be_taken_for_another_path_is_refused() {
        for written in [
            "/..",
            "/../a",
            "/a/../../b",
            "/%2e%2e/a",
            "/a/..;/b",
            "/a/..;x=y/b",
            "/a/.;/b",
            "/a/%2e%2e%3b/b",
            "/a%00",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "a",
            "",
        ] {
            assert_eq!(path(written), Err(400), "{written}");
        }
        assert_eq!(plain("/a%2fb\\c%5C", true), Ok(Some("/a%2Fb\\c%5C".to_owned())));
        assert_eq!(plain("/a%2Fb\\c%5C", true), Ok(None));
    }

    /// An endpoint that takes them for slashes would find a step there that the route was not chosen by.
    #[test]
    fn dots_beside_slashes_that_are_passed_are_refused() {
        for written in [
            "/a/..%2fb",
            "/a/b%2f..",
            "/a/b%2F%2e%2E%2fc",
            "/..%5c..%5cetc",
            "/a\\..\\b",
            "/a/..\\b",
            "/a%2f./b",
            "/a/..;x%2fb",
            "/%2f..",
        ] {
            assert_eq!(plain(written, true).map_err(|refusal| refusal.status), Err(400), "{written}");
        }
        for written in ["/a%2fb", "/a%2f..b/c", "/a..%2fb", "/%2f", "/a%2f...%2fb", "/é%2fb"] {
            assert_eq!(plain(written, true), Ok(Some(written.replace("%2f", "%2F"))), "{written}");
        }
    }

    proptest! {
        #[test]
        fn a_plain_path_is_plain_and_stays_so(written in "(/|/\\.|\\.\\.|%2e|%2E|a|b;|;|%2f|%|é|%6|%61|36|1){0,12}") {
            let written = format!("/{written}");
            if let Ok(once) = path(&written) {
                prop_assert!(once.starts_with('/'));
                prop_assert_eq!(path(&once), Ok(once.clone()));
                let steps = once.split('/').any(|segment| matches!(&*segment.to_lowercase().replace("%2e", "."), "." | ".."));
                prop_assert!(!steps, "{} became {}", written, once);
            }
        }
    }
}
