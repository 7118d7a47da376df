//! Encoded characters (`%61`) of paths in one form, the same for what a file says and for what a request asks: else a
//! service behind a longer path could be walked round.

/// The path with its letters, digits and `-._~` as they are, which mean the same encoded, and the digits of all other
/// encoded characters in upper case (RFC 3986, sections 6.2.2.1 and 6.2.2.2): `/%61dmin` is `/admin`, and `/caf%c3%a9` is
/// `/caf%C3%A9`. None where there is nothing to change.
#[must_use]
pub fn in_one_form(path: &str) -> Option<String> {
    let bytes = path.as_bytes();
    let mut changed: Option<Vec<u8>> = None;
    let mut at = 0;
    while at < bytes.len() {
        let byte = triplet(&bytes[at..]);
        let length = if byte.is_some() { 3 } else { 1 };
        let read = &bytes[at..at + length];
        // Behind a bare `%` it would be the end of another such triplet.
        let is_behind_percent = |read: &[u8]| read.iter().rev().take(2).any(|byte| *byte == b'%');
        match byte.filter(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte)) {
            Some(byte) if !is_behind_percent(changed.as_deref().unwrap_or(&bytes[..at])) => {
                changed.get_or_insert_with(|| bytes[..at].to_vec()).push(byte);
            }
            Some(_) | None if length == 3 && read.iter().any(u8::is_ascii_lowercase) => {
                changed.get_or_insert_with(|| bytes[..at].to_vec()).extend(read.to_ascii_uppercase());
            }
            Some(_) | None => {
                if let Some(changed) = &mut changed {
                    changed.extend_from_slice(read);
                }
            }
        }
        at += length;
    }
    // What was ASCII is ASCII still, and the rest is as it was.
    changed.and_then(|changed| String::from_utf8(changed).ok())
}

/// The byte that these begin with, encoded.
fn triplet(bytes: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match bytes {
        [b'%', high, low, ..] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_needs_no_encoding_is_as_it_is_and_the_rest_in_upper_case() {
        for (written, wanted) in [
            ("/%61dm%49n/%7e%2D%5f%30", "/admIn/~-_0"),
            ("/a%2561/%3a%c3%a9", "/a%2561/%3A%C3%A9"),
            ("/%%361%6/%6g%", "/%%361%6/%6g%"),
            ("/%25%61", "/%25a"),
            ("/é%2f", "/é%2F"),
            ("%", "%"),
            ("", ""),
        ] {
            assert_eq!(in_one_form(written).as_deref().unwrap_or(written), wanted, "{written}");
        }
        assert_eq!(in_one_form("/plain/%20/%C3"), None);
    }

    proptest! {
        #[test]
        fn a_path_in_one_form_stays_so(written in "(/|%2e|%2E|a|%2f|%|é|%6|%61|36|1|%c3){0,12}") {
            let once = in_one_form(&written).unwrap_or(written);
            prop_assert_eq!(in_one_form(&once), None, "{}", once);
        }
    }
}
