//! Text from a record, made safe for a terminal: a record may come from anywhere.

use std::borrow::Cow;

/// The text in one line, with everything escaped that a terminal would act on instead of showing it.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if acts(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Controls, ends of line, and what turns the direction of the text around it.
fn acts(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_escaped_and_all_else_is_shown() {
        assert_eq!(printable("a\u{1b}[2J\r\nb\u{9b}31m\u{202e}"), "a\\u{1b}[2J\\r\\nb\\u{9b}31m\\u{202e}");
        assert_eq!(printable("5 % of Bücher, \"v1\" – £"), "5 % of Bücher, \"v1\" – £");
    }
}
