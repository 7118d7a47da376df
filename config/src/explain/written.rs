//! Values as an operator writes them.

use std::path::Path;

/// A text; in quotes where YAML would take it for something else.
pub(super) fn text(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '%' | '+');
    let begins_plainly = text.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.'));
    let is_nothing = text.eq_ignore_ascii_case("null");
    if begins_plainly && text.chars().all(plain) && !text.ends_with(':') && !is_nothing {
        return text.to_owned();
    }
    serde_json::Value::from(text).to_string()
}

/// The path of a file.
pub(super) fn path(path: &Path) -> String {
    text(&path.to_string_lossy())
}

/// A list of values that are written already.
pub(super) fn list(values: &[String]) -> String {
    format!("[{}]", values.join(", "))
}

/// A mapping of values that are written already.
pub(super) fn mapping<'a>(entries: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let entries: Vec<String> = entries.into_iter().map(|(key, value)| format!("{}: {value}", text(key))).collect();
    format!("{{ {} }}", entries.join(", "))
}
